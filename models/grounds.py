"""What a ranking rests on: how many attempts like a candidate were seen, and what speaks for it against another.

A reason is given only if it moved the score: the features that it speaks of, put back to those of the other candidate,
lower the log-odds of success. Its numbers are those of the past that the model keeps, older attempts counting less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import log
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from features.definitions import feature_names
from models.phrases import Seen, Side, told_by

if TYPE_CHECKING:
    from features.past import Looked
    from features.rows import Encoded
    from models.phrases import Attempt

__all__ = ["FEW", "MOST_REASONS", "Asked", "Chances"]

Array = npt.NDArray[Any]

MOST_REASONS = 3
FEW = 30
"""Fewer attempts than this are few."""

_LEAST_MOVE = 0.02  # in log-odds: less than half a point of probability moves nobody
_TINY = 1e-9
_MONTH = 2  # of the half-lives
_METHOD, _WAY = 3, 7
_WAY_AND_METHOD = (_WAY, _METHOD)
_KEYS_READ = {"all": 0, "issuer": 1, "route": 2, "method": _METHOD, "customer_method": 6}

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "payment": (
        "last_", "same_method", "same_route", "same_flow", "method_tries", "route_tries", "way_tries",
        "method_last_reason", "method_same_",
    ),
    "customer": ("customer_method_",),
    "route": ("route", "route_success_", "route_technical_"),
    "issuer": (
        "issuer", "issuer_country", "issuer_success_", "issuer_technical_", "issuer_bank_", "issuer_route_", "cross_border",
        "card_", "network_token",
    ),
    "method": ("method", "method_success_", "way_success_"),
    "authentication": ("auth_",),
    "stored": ("stored",),
    "wait": ("hour", "weekend", "day_of_month", "seconds_since_"),
}  # fmt: skip
"""The features that each kind of reason speaks of: a name, or, ending in an underscore, how it begins."""

_KINDS = tuple(_COLUMNS)


class Model(Protocol):
    """Scores rows."""

    def success_probability(self, matrix: Array, *, few: bool = False) -> Array:
        """P(success), shape (n,)."""


@cache
def _members(width: int) -> Array:
    """Which columns of the matrix each kind of reason speaks of, shape (n_kinds, width); of a merchant's own, none does."""
    names = [*feature_names(), *[""] * (width - len(feature_names()))]
    return np.array([[any(_fits(name, one) for one in wanted) for name in names] for wanted in _COLUMNS.values()])


def _fits(name: str, wanted: str) -> bool:
    return name.startswith(wanted) if wanted.endswith("_") else name == wanted


class Attempts(Protocol):
    """The attempts that candidates would be, by place."""

    def one(self, place: int, /) -> Attempt:
        """One of them."""

    def method(self, place: int, /) -> str:
        """How one pays."""


class Asked(NamedTuple):
    """What was scored: the attempts that candidates would be, also encoded, what they look back on, their features."""

    attempts: Attempts
    encoded: Sequence[Encoded]
    looked: Looked
    matrix: Array
    model: Model


class _SeenBy:
    """The past of one candidate, read where somebody asks."""

    def __init__(self, looked: Looked, place: int) -> None:
        self._looked, self._keys = looked, looked.keys[place].tolist()

    def get(self, kind: str, /) -> Seen | None:
        """Of what nothing was ever known there is nothing to say."""
        slot, looked = self._keys[_KEYS_READ[kind]], self._looked
        if slot < 0 or not looked.times[slot]:
            return None
        outcomes = looked.sums[slot, _MONTH].tolist()
        return Seen(outcomes[0], sum(outcomes), int(looked.streaks[slot]))


class _TriesBy:
    """The payment's earlier tries, as one candidate's features count them."""

    def __init__(self, row: Array) -> None:
        self._row = row

    def __getitem__(self, name: str, /) -> int:
        return int(self._row[_tries_columns()[name]])


class Chances(list[float]):
    """Success probabilities of candidates, that can say what they rest on."""

    def __init__(self, told: Sequence[float], asked: Asked) -> None:
        super().__init__(told)
        self._asked, (keys, sums, times, _) = asked, asked.looked
        _, still_counting = _compiled()
        left = np.empty((len(keys), 2))
        # No part of these names can be missing
        still_counting(
            keys,
            _WAY_AND_METHOD,
            np.fromiter((one.created for one in asked.encoded), np.int64, len(keys)),
            sums,
            times,
            left,
        )
        self.evidence: list[str] = [
            _many(way) if way >= FEW else _few(way, method, asked.attempts.method(i))
            for i, (way, method) in enumerate(left.tolist())
        ]
        """In words, how many attempts that paid the same way (country, method, brand, route, authentication) were seen."""

    def why(self, place: int, against: int) -> tuple[str, ...]:
        """What speaks for one candidate against another, in plain words, what moved the score most first; three at most."""
        put_back, _ = _compiled()
        asked = self._asked
        width = asked.matrix.shape[1]
        kinds, rows = np.empty(len(_KINDS), np.int64), np.empty((len(_KINDS), width), np.float32)
        n = put_back(asked.matrix, place, against, _members(width), kinds, rows)
        sides = self._side(place), self._side(against)
        texts = [(told_by(_KINDS[kind], *sides), row) for row, kind in enumerate(kinds[:n].tolist())]
        told = [(text, row) for text, row in texts if text is not None]
        if not told:
            return ()
        if len(told) < len(rows):
            rows = rows[[row for _, row in told]]
        mine = _log_odds(self[place])
        without = asked.model.success_probability(rows, few=True).tolist()
        moved = [(mine - _log_odds(one), text) for one, (text, _) in zip(without, told, strict=True)]
        moved.sort(key=itemgetter(0), reverse=True)
        return tuple(text for by, text in moved[:MOST_REASONS] if by > _LEAST_MOVE)

    def _side(self, place: int) -> Side:
        asked = self._asked
        return Side(asked.attempts.one(place), _SeenBy(asked.looked, place), _TriesBy(asked.matrix[place]))


@cache
def _compiled() -> tuple[Callable[..., int], Callable[..., None]]:
    """Compiled code is imported with a model, and never without."""
    from models.kernel import put_back, still_counting

    return put_back, still_counting


def _log_odds(probability: float) -> float:
    inside = min(max(probability, _TINY), 1.0 - _TINY)
    return log(inside / (1.0 - inside))


@cache
def _tries_columns() -> dict[str, int]:
    return {name: feature_names().index(f"{name}_tries") for name in ("method", "route", "way")}


def _many(way: float) -> str:
    """What a ranking rests on.

    >>> _many(1240.4)
    '1,240 attempts like this'
    """
    return f"{way:,.0f} attempts like this"


def _few(way: float, method: float, name: str) -> str:
    """What a ranking rests on where that is little.

    >>> _few(12.0, 8000.0, "card")
    'few attempts like this: 12; 8,000 by card'
    """
    return f"few attempts like this: {way:.0f}; {method:,.0f} by {name}"
