"""Payments as an experiment counts them: one row each, with what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.columns import CATEGORIES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DAY_US", "GUARDRAILS", "METRICS", "RIPE_HOURS", "Payments", "payments_of"]

Array = npt.NDArray[Any]

DAY_US = 86_400_000_000
RIPE_HOURS = 24.0
"""A payment younger than this at the table's end may still be tried again: it is not counted yet."""

METRICS: Mapping[str, str] = {
    "paid": "payments that were paid in the end",
    "first_try": "payments that went through at the first attempt",
}
"""What an experiment can be about; more is better."""

GUARDRAILS: Mapping[str, str] = {
    "attempts": "attempts for each payment",
    **{category: f"payments with a failure by {category.replace('_', ' ')}" for category in CATEGORIES},
}
"""What must not rise."""


@dataclass(frozen=True)
class Payments:
    """Payments in order of their first attempts.

    `first` is the row of each one's first attempt in the table; `begun` its moment (microseconds since 1970); `values` what
    each metric and guardrail counts, by name; `ripe` whether it is known what became of the payment.
    """

    payment_id: Array
    first: Array
    row_payment: Array
    begun: Array
    values: Mapping[str, Array]
    ripe: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.begun)


def payments_of(attempts: pd.DataFrame, ripe_hours: float = RIPE_HOURS) -> Payments:
    """The payments of a checked table of attempts.

    A payment is ripe if it began `ripe_hours` before the table's end, and was paid or has no attempt that is still pending.
    """
    import pandas as pd

    created = attempts["created_at"].to_numpy("datetime64[us]").astype(np.int64)
    codes, names = pd.factorize(attempts["payment_id"])
    order = np.lexsort((created, codes))
    first_in_code = order[np.r_[True, np.diff(codes[order]) > 0]] if len(order) else order
    by_time = np.argsort(created[first_in_code], kind="stable")
    place = np.empty(len(by_time), np.int64)
    place[by_time] = np.arange(len(by_time))
    payment, first, n = place[codes], first_in_code[by_time], len(by_time)
    outcome = attempts["outcome"].astype(object).to_numpy() if "outcome" in attempts else np.full(len(attempts), None)
    won, known = outcome == "success", pd.notna(outcome)

    def ever(mask: Array) -> Array:
        return (np.bincount(payment[mask], minlength=n) > 0).astype(float)

    paid = ever(won)
    values = {
        "paid": paid,
        "first_try": won[first].astype(float),
        "attempts": np.bincount(payment, minlength=n).astype(float),
        **{category: ever(outcome == category) for category in CATEGORIES},
    }
    end = created.max() if n else 0
    settled = (paid > 0) | (np.bincount(payment[~known], minlength=n) == 0)
    ripe = settled & (created[first] <= end - ripe_hours * 3.6e9)
    return Payments(np.asarray(names, object)[by_time], first, payment, created[first], values, ripe)
