"""What a plan and a read-out of an experiment say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from insights.experiment_health import Health
from insights.experiment_verdict import Verdict
from insights.measure import Measure, plain

__all__ = ["ArmRead", "Day", "Effect", "Guardrail", "Plan", "ReadOut", "SegmentRead"]


@dataclass(frozen=True)
class Plan:
    """What a test needs. Rates are shares of payments; `sample_size` counts payments of all arms.

    `baseline` is the metric as it is. `payments_per_day` are those that would take part. `days` are whole weeks, None where
    nothing of the kind happens. `smallest` is the smallest effect that 1, 2, 4 and 8 weeks would show. `sample_size_looking`
    is for reading by the always-valid interval, whenever one likes.
    """

    metric: str
    metric_label: str
    baseline: Measure
    minimum_effect: float
    power: float
    alpha: float
    arms: Mapping[str, float]
    sample_size: int
    sample_size_looking: int
    payments_per_day: float
    days: int | None
    days_looking: int | None
    smallest: Mapping[int, float]
    guardrails: Mapping[str, Measure]
    guardrail_effects: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        told: dict[str, Any] = plain(self)
        return told


@dataclass(frozen=True)
class ArmRead:
    """One arm: its payments, the share that it was to have, and its metric."""

    name: str
    payments: int
    expected_share: float
    metric: Measure


@dataclass(frozen=True)
class Effect:
    """An arm against the control, in shares of payments. `fixed` may be read once, at the planned end; `sequential` any day.

    `adjusted` is `fixed` with the variance that was known beforehand taken out (CUPED); `saved` is the share of the variance
    that this took. `p_value` goes with `adjusted`, corrected for the number of arms. `per_month`: payments per 30 days if all
    got it.
    """

    arm: str
    fixed: Measure
    adjusted: Measure
    saved: float
    sequential: Measure
    p_value: float
    relative: Measure
    per_month: Measure


@dataclass(frozen=True)
class Guardrail:
    """What must not get worse. `difference` is the arm's less the control's; `broken`: worse, beyond chance."""

    name: str
    label: str
    arm: str
    control: float
    difference: Measure
    p_value: float
    broken: bool


@dataclass(frozen=True)
class SegmentRead:
    """The effect in one segment. `p_value` is corrected for the number of segments (Holm)."""

    column: str
    value: str
    arm: str
    effect: Measure
    p_value: float


@dataclass(frozen=True)
class Day:
    """The effect as it stood at a day's end (ISO date), by both intervals."""

    day: str
    arm: str
    payments: int
    fixed: Measure
    sequential: Measure


@dataclass(frozen=True)
class ReadOut:
    """What came of an experiment. `verdict` is one of four; `why` says it in a sentence, with the date to wait for.

    `planned` is the size that was planned, or that `minimum_effect` takes: payments of all arms.
    """

    experiment: str
    metric: str
    metric_label: str
    since: str
    until: str
    verdict: Verdict
    why: str
    keep_until: str | None
    health: Health
    arms: tuple[ArmRead, ...]
    effects: tuple[Effect, ...]
    guardrails: tuple[Guardrail, ...]
    segments: tuple[SegmentRead, ...]
    days: tuple[Day, ...]
    planned: int
    minimum_effect: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        told: dict[str, Any] = plain(self)
        return told
