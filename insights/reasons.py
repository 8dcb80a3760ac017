"""The figures of Reasons: failures by category and reason, in count and money, by every pair of segments.

A payment is lost for the reason of its last attempt, and with it its amount; an attempt that failed and was rescued by
another one counts as a failed attempt only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from insights.frame import CAUSES, Frame
from insights.rates import rate_of, wilson

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["UNTOLD", "Explained", "Reasons", "explained", "reasons"]

Array = npt.NDArray[Any]

UNTOLD = "untold"
"""The reason of a failure of which only the category is known."""

_SURE = 0.8
_MOST_DIAGNOSED = 10_000


@dataclass(frozen=True)
class Explained:
    """What the model makes of failures without a reason: `asked` of them, the latest, of `unknown` in all.

    `sure` have a reason of which it is at least 80 % sure, `by_category` is what it expects of all of them, shares that add
    up to at most 1; `agreed` of `checked` failures whose category is known were given that category by the same diagnosis.
    """

    unknown: int
    asked: int
    sure: int
    by_category: Mapping[str, float]
    decided_by: Mapping[str, int]
    checked: int
    agreed: int


@dataclass(frozen=True)
class Reasons:
    """Failures, ready to be looked at from any side.

    `causes` are (category, reason) pairs that occur, the most frequent first. `ended` holds how many attempts ended and how
    many payments were decided, by pair of segments and their values; `failed` the same by cause, with the money of lost
    payments by currency. Every segment has a row `all`.
    """

    frame: Frame
    causes: tuple[tuple[str, str], ...]
    cause: Array
    effect: float

    @cached_property
    def lost(self) -> Array:
        """The attempts that ended a lost payment, as places in the frame."""
        units = self.frame.units("payment")
        found: Array = units.last[~units.success]
        return found

    @cached_property
    def lost_first(self) -> Array:
        """The first attempts of the lost payments, which say in which segment a payment is."""
        units = self.frame.units("payment")
        found: Array = units.row[~units.success]
        return found

    def cells(self, one: str, other: str) -> dict[str, list[list[float]]]:
        """The cells of a pair of segments, sparse: `ended` rows [i, j, attempts, payments], `failed` rows
        [i, j, cause, attempts, payments, money of each currency…, sum of its squares…]."""
        frame = self.frame
        a, b = frame.segments[one], frame.segments[other]
        wide, k = len(b.values), len(self.causes)
        pair = a.codes * wide + b.codes
        size = len(a.values) * wide
        ended = frame.outcome >= 0
        decided = frame.units("payment").row
        attempts = np.bincount(pair[ended], minlength=size)
        payments = np.bincount(pair[decided], minlength=size)
        failed = self.cause >= 0
        cell = pair * k + self.cause
        cell_lost = pair[self.lost_first] * k + self.cause[self.lost]
        n_failed = np.bincount(cell[failed], minlength=size * k)
        n_lost = np.bincount(cell_lost, minlength=size * k)
        amount, currency = frame.money[self.lost_first], frame.currency[self.lost_first]
        money = [np.bincount(cell_lost, amount * (currency == c), size * k) for c in range(len(frame.currencies))]
        squares = [np.bincount(cell_lost, amount**2 * (currency == c), size * k) for c in range(len(frame.currencies))]
        some = np.flatnonzero((n_failed > 0) | (n_lost > 0))
        there = np.flatnonzero((attempts > 0) | (payments > 0))
        return {
            "ended": [[int(c // wide), int(c % wide), int(attempts[c]), int(payments[c])] for c in there],
            "failed": [
                [
                    int(c // k // wide), int(c // k % wide), int(c % k), int(n_failed[c]), int(n_lost[c]),
                    *(round(float(one[c])) for one in money), *(float(f"{one[c]:.3g}") for one in squares),
                ]
                for c in some
            ],
        }  # fmt: skip

    def table(self) -> pd.DataFrame:
        """Every segment's failures by category and reason, one row each, with the share of attempts and its interval."""
        import pandas as pd

        frame, rows = self.frame, []
        units = frame.units("payment")
        for name, segment in {**frame.segments, "all": None}.items():
            codes = segment.codes if segment is not None else np.zeros(len(frame), np.int64)
            values = segment.values if segment is not None else ("all",)
            for place, value in enumerate(values):
                mine = codes == place
                n = int((mine & (frame.outcome >= 0)).sum())
                payments = int(mine[units.row].sum())
                failed = np.bincount(self.cause[mine & (self.cause >= 0)], minlength=len(self.causes))
                at = mine[self.lost_first]
                lost = np.bincount(self.cause[self.lost[at]], minlength=len(self.causes))
                share, low, high = wilson(failed, np.full(len(failed), n), np.full(len(failed), n / self.effect))
                for cause in np.flatnonzero((failed > 0) | (lost > 0)):
                    category, reason = self.causes[cause]
                    row = {
                        "segment": name,
                        "value": value,
                        "category": category,
                        "reason": reason,
                        "attempts": n,
                        "failed_attempts": int(failed[cause]),
                        "share_of_attempts": float(share[cause]),
                        "low": float(low[cause]),
                        "high": float(high[cause]),
                        "payments": payments,
                        "lost_payments": int(lost[cause]),
                    }
                    gone = self.lost_first[at][self.cause[self.lost[at]] == cause]
                    for code, currency in enumerate(frame.currencies):
                        row[f"lost_{currency}"] = float(frame.money[gone][frame.currency[gone] == code].sum())
                    rows.append(row)
        names = [
            "segment", "value", "category", "reason", "attempts", "failed_attempts", "share_of_attempts", "low", "high",
            "payments", "lost_payments", *(f"lost_{currency}" for currency in frame.currencies),
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=names)


def reasons(frame: Frame) -> Reasons:
    """Failures by cause. A frame without failures has none."""
    k = len(frame.reasons) + 1  # the first is for untold
    code = np.where(frame.cause >= 0, frame.cause.astype(np.int64) * k + frame.reason + 1, -1)
    found, counts = np.unique(code[code >= 0], return_counts=True)
    order = found[np.argsort(-counts, kind="stable")]
    place = np.full(len(CAUSES) * k, -1, np.int64)
    place[order] = np.arange(len(order))
    causes = tuple((CAUSES[one // k], (UNTOLD, *frame.reasons)[one % k]) for one in order.tolist())
    return Reasons(frame, causes, np.where(code >= 0, place[code], -1), _effect(frame))


def _effect(frame: Frame) -> float:
    """The design effect of failed attempts: how much less than as many independent ones they tell."""
    units = frame.units("attempt")
    if not len(units):
        return 1.0
    rate = rate_of(~units.success, frame.cluster[units.row])
    _, low, high = wilson(np.array([rate.hits]), np.array([rate.n]))
    alone = float(high[0] - low[0])
    return max(1.0, ((rate.high - rate.low) / alone) ** 2) if alone > 0.0 else 1.0


def explained(table: pd.DataFrame, artefact: Any, rng: np.random.Generator) -> Explained:
    """What the diagnosis makes of failures that have no reason; with a model, from all that they left behind.

    At most 10,000 of them are asked about, drawn at random, and as many whose category is known, to check it by.
    """
    from models.tables import diagnose_table

    if "outcome" not in table:
        return Explained(0, 0, 0, {}, {}, 0, 0)
    outcome = table["outcome"].astype(object)
    failed = (outcome.notna() & (outcome != "success")).to_numpy()
    named = table["reason"].notna().to_numpy() if "reason" in table else np.zeros(len(table), bool)
    unknown = failed & (~named | (outcome == "unclassified").to_numpy())
    known = failed & ~unknown
    drawn = {name: _draw(mask, _MOST_DIAGNOSED, rng) for name, mask in (("unknown", unknown), ("known", known))}
    told = diagnose_table(artefact, table.iloc[drawn["unknown"]].reset_index(drop=True))
    shares = {name: float(told[f"p_{name}"].astype(float).fillna(0.0).sum()) / max(len(told), 1) for name in CAUSES[:4]}
    checked = diagnose_table(artefact, table.iloc[drawn["known"]].reset_index(drop=True))
    truth = outcome.iloc[drawn["known"]].to_numpy()
    answered = checked["category"].notna().to_numpy()
    sure = told["confidence"].astype(float).fillna(0.0) >= _SURE
    return Explained(
        unknown=int(unknown.sum()),
        asked=len(told),
        sure=int(sure.sum()),
        by_category=shares,
        decided_by={str(name): int(count) for name, count in told["decided_by"].value_counts().items()},
        checked=int(answered.sum()),
        agreed=int((checked["category"].to_numpy()[answered] == truth[answered]).sum()),
    )


def _draw(mask: Array, most: int, rng: np.random.Generator) -> Array:
    places = np.flatnonzero(mask)
    if len(places) > most:
        places = np.sort(rng.choice(places, most, replace=False))
    return places
