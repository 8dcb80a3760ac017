"""What to do about an experiment, in words: ship, stop, keep running until a date, or do not read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil
from typing import Literal

from insights.experiment_plan import LEAST_DAYS
from insights.measure import Measure

__all__ = ["Standing", "Verdict", "verdict_of"]

Verdict = Literal["ship", "stop", "keep running", "broken: do not read"]


@dataclass(frozen=True)
class Standing:
    """How an experiment stands.

    `fixed` and `sequential` are the intervals of the arm that does best against the control; `planned` the payments that
    were planned, or that the smallest effect worth having takes; `counted` those that there are, over `days` since `since`.
    """

    arm: str
    fixed: Measure
    sequential: Measure
    minimum_effect: float
    planned: int
    counted: int
    since: date
    days: float


def verdict_of(
    standing: Standing, faults: Sequence[str], broken_guardrails: Sequence[str]
) -> tuple[Verdict, str, date | None]:
    """The verdict, why, and until when to go on where it is to run on."""
    now = standing
    if faults:
        return "broken: do not read", "; ".join(faults), None
    if broken_guardrails:
        return "stop", f"{now.arm}: {', '.join(broken_guardrails)} got worse, beyond chance", None
    if now.sequential.high < 0.0:
        return (
            "stop",
            f"{now.arm} does worse than the control: {_points(now.sequential)}, on whatever day one looks",
            None,
        )
    if now.days < LEAST_DAYS:
        return _on(f"a test lasts {LEAST_DAYS} days at least, so that each day of the week counts", now)
    if now.sequential.low > 0.0:
        return (
            "ship",
            f"{now.arm} does better than the control: {_points(now.sequential)}, on whatever day one looks",
            None,
        )
    if now.counted >= now.planned:
        if now.fixed.low > 0.0:
            return "ship", f"{now.arm} does better than the control: {_points(now.fixed)}, at the planned size", None
        if now.fixed.high < 0.0:
            return "stop", f"{now.arm} does worse than the control: {_points(now.fixed)}, at the planned size", None
        return "stop", f"the planned size is reached and no effect is shown: {_points(now.fixed)}", None
    return _on(f"nothing is sure yet: {_points(now.sequential)}", now)


def _on(why: str, now: Standing) -> tuple[Verdict, str, date | None]:
    per_day = now.counted / max(now.days, 1.0)
    days = max(ceil(now.planned / max(per_day, 1e-9) / LEAST_DAYS) * LEAST_DAYS, LEAST_DAYS)
    until = now.since + timedelta(days=min(days, 3650))
    return (
        "keep running",
        f"{why}; {now.counted:,} of {now.planned:,} payments, enough about {until.isoformat()}",
        until,
    )


def _points(effect: Measure) -> str:
    """An effect in percentage points with its interval."""
    low, high = effect.low * 100.0, effect.high * 100.0
    return f"{effect.value * 100.0:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}"
