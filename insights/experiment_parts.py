"""The parts of a read-out: each arm's effect, guardrails, segments, and how it stood day by day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from insights.experiment_effect import Moments, always_valid, compared
from insights.experiment_results import Day, Effect, Guardrail, SegmentRead
from insights.experiment_sequential import FEWEST
from insights.experiment_units import GUARDRAILS, Payments

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ALPHA", "SEGMENTED_BY", "Drawn", "by_segment", "day_by_day", "effect", "watch"]

Array = npt.NDArray[Any]

ALPHA = 0.05
SEGMENTED_BY = ("country", "channel", "merchant_category", "first_time")


@dataclass(frozen=True)
class Drawn:
    """Payments that count: their arms (0 is the control), the metric, what was to be expected of it, the day since the first."""

    arm: Array
    value: Array
    expected: Array | None
    day: Array

    def moments(self, among: Array | None = None) -> list[Moments]:
        """Each arm's, of the payments `among` (mask)."""
        kept = np.ones(len(self.arm), bool) if among is None else among
        return [self._of(kept & (self.arm == k)) for k in range(int(self.arm.max()) + 1)]

    def _of(self, mask: Array) -> Moments:
        return Moments.of(self.value[mask], None if self.expected is None else self.expected[mask])


def effect(name: str, control: Moments, arm: Moments, arms: int, tuned: float, adjust: bool, monthly: float) -> Effect:
    """One arm of `arms` against the control, Bonferroni over them; `monthly` payments per 30 days could get it."""
    alpha = ALPHA / arms
    fixed = compared(control, arm, alpha=alpha)
    adjusted = compared(control, arm, alpha=alpha, adjusted=adjust)
    return Effect(
        arm=name,
        fixed=fixed.difference,
        adjusted=adjusted.difference,
        saved=1.0 - (adjusted.error / fixed.error) ** 2 if fixed.error > 0.0 else 0.0,
        sequential=always_valid(adjusted, tuned, alpha),
        p_value=min(adjusted.p_value * arms, 1.0),
        relative=adjusted.relative,
        per_month=adjusted.difference.times(monthly),
    )


def watch(
    payments: Payments, place: Array, arm: Array, names: tuple[str, ...], watched: tuple[str, ...], tuned: float
) -> list[Guardrail]:
    """Each guardrail of each arm; broken where it is worse by an always-valid interval, Bonferroni over all of them."""
    found = []
    m = max(len(watched) * (len(names) - 1), 1)
    for guardrail in watched:
        values = payments.values[guardrail][place]
        moments = [Moments.of(values[arm == k]) for k in range(len(names))]
        for k in range(1, len(names)):
            told = compared(moments[0], moments[k], alpha=ALPHA / m)
            valid = always_valid(told, tuned, 2.0 * ALPHA / m)  # only one side of it counts
            found.append(
                Guardrail(
                    name=guardrail,
                    label=GUARDRAILS[guardrail],
                    arm=names[k],
                    control=moments[0].mean,
                    difference=told.difference,
                    p_value=min(told.p_value * m, 1.0),
                    broken=valid.low > 0.0 and min(moments[0].n, moments[k].n) >= FEWEST,
                )
            )
    return found


def by_segment(attempts: pd.DataFrame, first: Array, drawn: Drawn, names: tuple[str, ...]) -> list[SegmentRead]:
    """The effect by each column, where both arms have enough; intervals and p-values for all of them together."""
    from statsmodels.stats.multitest import multipletests

    asked: list[tuple[str, str, str, list[Moments]]] = []
    for column in SEGMENTED_BY:
        values = _values(attempts, column, first)
        for value in sorted({*values.tolist()} - {""}):
            among = values == value
            if min(np.bincount(drawn.arm[among], minlength=len(names))) >= FEWEST:
                asked += [(column, value, names[k], drawn.moments(among)) for k in range(1, len(names))]
    if not asked:
        return []
    alpha = ALPHA / len(asked)
    adjust = drawn.expected is not None
    told = [
        compared(moments[0], moments[names.index(arm)], alpha=alpha, adjusted=adjust) for _, _, arm, moments in asked
    ]
    corrected = multipletests([one.p_value for one in told], method="holm")[1]
    return [
        SegmentRead(column, value, arm, one.difference, float(p))
        for (column, value, arm, _), one, p in zip(asked, told, corrected, strict=True)
    ]


def _values(attempts: pd.DataFrame, column: str, first: Array) -> Array:
    """A column of first attempts as text, empty where missing."""
    if column == "first_time":
        if "prior_payments" not in attempts:
            return np.full(len(first), "")
        before = attempts["prior_payments"].to_numpy(np.float64, na_value=np.nan)[first]
        return np.where(np.isnan(before), "", np.where(before == 0, "first time", "returning"))
    if column not in attempts:
        return np.full(len(first), "")
    values = attempts[column].astype(object)
    return values.where(values.notna(), "").to_numpy()[first].astype(str)


def day_by_day(
    drawn: Drawn, names: tuple[str, ...], since: datetime, alpha: float, tuned: float, adjust: bool
) -> list[Day]:
    """How each arm stood at each day's end, from the day on which all arms have enough payments."""
    found = []
    for day in range(int(drawn.day.max()) + 1):
        so_far = drawn.day <= day
        if min(np.bincount(drawn.arm[so_far], minlength=len(names))) < FEWEST:
            continue
        moments = drawn.moments(so_far)
        date = (since + timedelta(days=day)).date().isoformat()
        for k in range(1, len(names)):
            told = compared(moments[0], moments[k], alpha=alpha, adjusted=adjust)
            found.append(Day(date, names[k], told.difference.n, told.difference, always_valid(told, tuned, alpha)))
    return found
