"""What a ranking rests on: how many attempts like a candidate were seen, and what speaks for it against another.

A reason is given only if it moved the score: the features that it speaks of, put back to those of the other candidate,
lower the log-odds of success. Its numbers are those of the past that the model keeps, older attempts counting less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from math import log
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from features.definitions import feature_names
from models.phrases import Seen, Side, told_by

if TYPE_CHECKING:
    from features.history import Looked

__all__ = ["FEW", "MOST_REASONS", "Asked", "Chances"]

Array = npt.NDArray[Any]
Row = Mapping[str, Any]

MOST_REASONS = 3
FEW = 30
"""Fewer attempts than this are few."""

_LEAST_MOVE = 0.02  # in log-odds: less than half a point of probability moves nobody
_TINY = 1e-9
_MONTH, _MONTH_US = 2, 2_592_000_000_000  # 30 days
_WAY_AND_METHOD = [7, 3]
_KEYS_READ = {"all": 0, "issuer": 1, "route": 2, "method": 3, "customer_method": 6}
_PLACES_READ = [*_KEYS_READ.values()]

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


class Asked(NamedTuple):
    """What was scored: the attempts that candidates would be, what they look back on, their features."""

    attempts: Sequence[Row]
    looked: Looked
    matrix: Array
    model: Model


class Chances(list[float]):
    """Success probabilities of candidates, that can say what they rest on."""

    def __init__(self, told: Sequence[float], asked: Asked) -> None:
        super().__init__(told)
        self._asked = asked
        self.evidence: list[str] = [
            _evidence(way, method, attempt["method"])
            for (way, method), attempt in zip(self._seen(), asked.attempts, strict=True)
        ]
        """In words, how many attempts that paid the same way (country, method, brand, route, authentication) were seen."""

    def _seen(self) -> list[list[float]]:
        """How many attempts of each candidate's way and of its method were seen, fading by half in 30 days."""
        looked = self._asked.looked
        pairs = looked.keys[:, _WAY_AND_METHOD].tolist()  # no part of these names can be missing
        seen, times = looked.sums[:, _MONTH].sum(axis=-1).tolist(), looked.times.tolist()
        return [
            [seen[slot] * 2.0 ** (min(times[slot] - attempt["created_at"], 0) / _MONTH_US) for slot in pair]
            for pair, attempt in zip(pairs, self._asked.attempts, strict=True)
        ]

    def why(self, place: int, against: int) -> tuple[str, ...]:
        """What speaks for one candidate against another, in plain words, what moved the score most first; three at most."""
        asked = self._asked
        ours, theirs = asked.matrix[place], asked.matrix[against]
        differ = (ours != theirs) & ((ours == ours) | (theirs == theirs))
        members = _members(len(ours))
        sides = self._sides(place, against)
        kinds = zip(_COLUMNS, (members & differ).any(axis=1).tolist(), strict=True)
        texts = [told_by(kind, *sides) if moved else None for kind, moved in kinds]
        told = [i for i, text in enumerate(texts) if text is not None]
        if not told:
            return ()
        rows = np.where(members[told], theirs, ours)
        mine = _log_odds(self[place])
        moved = [mine - _log_odds(without) for without in asked.model.success_probability(rows, few=True).tolist()]
        order = sorted(range(len(moved)), key=lambda i: -moved[i])[:MOST_REASONS]
        return tuple(str(texts[told[i]]) for i in order if moved[i] > _LEAST_MOVE)

    def _sides(self, *places: int) -> list[Side]:
        asked, looked = self._asked, self._asked.looked
        keys = looked.keys[list(places)][:, _PLACES_READ]
        month = looked.sums[keys, _MONTH]
        known = (keys, looked.times[keys], month[..., 0], month.sum(axis=-1), looked.streaks[keys])
        # Of what nothing was ever known there is nothing to say
        seen = [
            {
                kind: Seen(paid, everything, streak)
                for kind, slot, at, paid, everything, streak in zip(_KEYS_READ, *told, strict=True)
                if slot >= 0 and at
            }
            for told in zip(*(one.tolist() for one in known), strict=True)
        ]
        columns = _tries_columns()
        tries = asked.matrix[list(places)][:, [*columns.values()]].astype(int).tolist()
        return [
            Side(asked.attempts[place], of_side, dict(zip(columns, counted, strict=True)))
            for place, of_side, counted in zip(places, seen, tries, strict=True)
        ]


def _log_odds(probability: float) -> float:
    inside = min(max(probability, _TINY), 1.0 - _TINY)
    return log(inside / (1.0 - inside))


@cache
def _tries_columns() -> dict[str, int]:
    return {name: feature_names().index(f"{name}_tries") for name in ("method", "route", "way")}


def _evidence(way: float, method: float, name: str) -> str:
    """What a ranking rests on.

    >>> _evidence(1240.4, 8000.0, "card"), _evidence(12.0, 8000.0, "card")
    ('1,240 attempts like this', 'few attempts like this: 12; 8,000 by card')
    """
    if way >= FEW:
        return f"{way:,.0f} attempts like this"
    return f"few attempts like this: {way:.0f}; {method:,.0f} by {name}"
