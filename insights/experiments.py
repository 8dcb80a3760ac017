"""Experiments: how many payments one needs and how long that takes, and what came of it, with a verdict in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from insights.measure import Measure

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ArmRead", "Day", "Effect", "Guardrail", "Health", "Plan", "ReadOut", "SegmentRead", "plan", "read"]

Verdict = Literal["ship", "stop", "keep running", "broken: do not read"]


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
        return asdict(self)


@dataclass(frozen=True)
class ArmRead:
    """One arm: its payments, the share that it was to have, and its metric."""

    name: str
    payments: int
    expected_share: float
    metric: Measure


@dataclass(frozen=True)
class Health:
    """Whether the experiment can be read. `faults` are in words, empty if it can.

    `sample_ratio_p`: how likely so uneven arms are by chance. `multiple`: share of payments seen in more than one arm.
    `misassigned`: share whose arm is not the one that the hash of their id gives; None where the assignment is not known.
    """

    sample_ratio_p: float
    multiple: float
    misassigned: float | None
    unripe: int
    days: float
    faults: tuple[str, ...]


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
    """What came of an experiment. `verdict` is one of four; `why` says it in a sentence, with the date to wait for."""

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
    minimum_effect: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def plan(
    attempts: pd.DataFrame,
    *,
    metric: str = "paid",
    minimum_effect: float = 0.01,
    power: float = 0.8,
    alpha: float = 0.05,
    arms: Mapping[str, float] | None = None,
    segment: Mapping[str, object] | None = None,
    guardrails: tuple[str, ...] | None = None,
) -> Plan:
    """How long a test of that metric takes on the traffic of a checked table of attempts."""
    raise NotImplementedError


def read(
    attempts: pd.DataFrame,
    experiment: str,
    rng: np.random.Generator,
    *,
    metric: str = "paid",
    minimum_effect: float = 0.01,
    control: str | None = None,
    shares: Mapping[str, float] | None = None,
    assigned: Callable[[str], str | None] | None = None,
    planned: int | None = None,
    guardrails: tuple[str, ...] | None = None,
) -> ReadOut:
    """The read-out of an experiment in a checked table of attempts with `experiment` and `variant`."""
    raise NotImplementedError
