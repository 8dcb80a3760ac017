"""Experiments: how many payments one needs and how long that takes, and what came of it, with a verdict in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.errors import BadInput, Fault
from insights.experiment_covariate import expected_beforehand
from insights.experiment_health import Exposed, Health, expose, health_of
from insights.experiment_parts import ALPHA, Drawn, by_segment, day_by_day, effect, watch
from insights.experiment_plan import (
    days_for,
    equal_arms,
    sample_size,
    sample_size_looking,
    smallest_effect,
)
from insights.experiment_results import ArmRead, Day, Effect, Guardrail, Plan, ReadOut, SegmentRead
from insights.experiment_units import DAY_US, GUARDRAILS, METRICS, Payments, payments_of
from insights.experiment_verdict import Standing, verdict_of
from insights.measure import Measure, wilson
from insights.opportunities_sides import Side, matches

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ArmRead", "Day", "Effect", "Guardrail", "Health", "Plan", "ReadOut", "SegmentRead", "plan", "read"]

Array = npt.NDArray[Any]

TUNED_FOR = 20_000
"""Payments at which the always-valid interval is narrowest where no size was planned: fixed, never taken from the data."""

_POWER = 0.8
_WEEKS = (1, 2, 4, 8)


def plan(
    attempts: pd.DataFrame,
    *,
    metric: str = "paid",
    minimum_effect: float = 0.01,
    power: float = _POWER,
    alpha: float = ALPHA,
    arms: Mapping[str, float] | None = None,
    segment: Side | None = None,
    guardrails: tuple[str, ...] | None = None,
) -> Plan:
    """How long a test of that metric takes on the traffic of a checked table of attempts.

    `minimum_effect` is the smallest rise of the share that is worth finding; `segment` the first attempts that would take
    part. Raises BadInput where nothing of the kind happened.
    """
    label, watched, shares = _metric(metric), _guardrails(guardrails), equal_arms(arms)
    payments = payments_of(attempts)
    within = matches(attempts, segment or {})[payments.first]
    ripe = within & payments.ripe
    if not ripe.any():
        raise BadInput("attempts", message="no payment of that kind has an outcome; want some to plan by")
    values, n = payments.values, int(ripe.sum())
    baseline = wilson(float(values[metric][ripe].sum()), n)
    if not 0.0 < minimum_effect < 1.0 - baseline.value:
        most = f"above 0 and below {100.0 * (1.0 - baseline.value):.1f} points, which is all there is to gain"
        raise BadInput("--minimum-effect", [Fault("effect", most, seen=f"{100.0 * minimum_effect:g}")])
    size = sample_size(baseline.value, minimum_effect, shares, power, alpha)
    looking = sample_size_looking(size, shares, power, alpha)
    per_day = int(within.sum()) / max(float(np.ptp(payments.begun)) / DAY_US, 1.0) * min(sum(shares.values()), 1.0)
    return Plan(
        metric=metric,
        metric_label=label,
        baseline=baseline,
        minimum_effect=minimum_effect,
        power=power,
        alpha=alpha,
        arms=shares,
        sample_size=size,
        sample_size_looking=looking,
        payments_per_day=per_day,
        days=days_for(size, per_day),
        days_looking=days_for(looking, per_day),
        smallest={
            weeks: smallest_effect(baseline.value, 7.0 * weeks * per_day, shares, power, alpha) for weeks in _WEEKS
        },
        guardrails={name: _mean_of(values[name][ripe]) for name in watched},
        guardrail_effects={name: _visible(values[name][ripe], size, shares, power, alpha) for name in watched},
    )


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
    """The read-out of an experiment in a checked table of attempts with `experiment` and `variant`.

    `assigned` gives the arm of any payment id (None: in no arm), as the service does by its salted hash: with it, every
    payment begun while the experiment ran counts where it was assigned, whatever was then done (by intention to treat).
    `shares` are the arms' shares of the payments, equal if not told. `planned` is the size that was planned, payments of all
    arms. Raises BadInput where the attempts know of no such experiment.
    """
    label, watched = _metric(metric), _guardrails(guardrails)
    payments = payments_of(attempts)
    exposed = expose(attempts, payments, experiment, control, assigned)
    ripe = payments.ripe[exposed.place]
    health = health_of(exposed, payments, shares, ripe)
    counts = np.bincount(exposed.arm[ripe], minlength=len(exposed.names))
    if counts.min() < 2:
        few = ", ".join(f"{name} {count}" for name, count in zip(exposed.names, counts, strict=True))
        raise BadInput(
            "attempts", message=f"experiment {experiment}: want 2 payments with an outcome in each arm; {few}"
        )
    place, arm = exposed.place[ripe], exposed.arm[ripe]
    expected = _expected(attempts, payments, metric, exposed, place, rng)
    drawn = Drawn(arm, payments.values[metric][place], expected, _days(payments.begun[place]))
    others = range(1, len(exposed.names))
    tuned = float(planned or TUNED_FOR)
    moments = drawn.moments()
    monthly = len(exposed.place) / max(float(np.ptp(payments.begun[exposed.place])) / DAY_US, 1.0) * 30.0
    whole = sum(shares.values()) if shares is not None else 1.0
    adjust, monthly = expected is not None, monthly / min(whole, 1.0)
    effects = tuple(
        effect(exposed.names[k], moments[0], moments[k], len(others), tuned, adjust, monthly) for k in others
    )
    watched_read = tuple(watch(payments, place, arm, exposed.names, watched, tuned))
    best = max(effects, key=lambda one: one.adjusted.value)
    size = planned or _size(moments[0].mean, minimum_effect, exposed, shares)
    since = _date(payments.begun[exposed.place].min())
    standing = Standing(
        best.arm, best.adjusted, best.sequential, minimum_effect, size, len(place), since.date(), health.days
    )
    broken = [f"{guard.label} ({guard.arm})" for guard in watched_read if guard.broken and guard.arm == best.arm]
    verdict, why, until = verdict_of(standing, health.faults, broken)
    return ReadOut(
        experiment=experiment,
        metric=metric,
        metric_label=label,
        since=since.isoformat(timespec="seconds"),
        until=_date(payments.begun[place].max()).isoformat(timespec="seconds"),
        verdict=verdict,
        why=why,
        keep_until=until.isoformat() if until is not None else None,
        health=health,
        arms=_arms(exposed, shares, drawn),
        effects=effects,
        guardrails=watched_read,
        segments=tuple(by_segment(attempts, payments.first[place], drawn, exposed.names)),
        days=tuple(day_by_day(drawn, exposed.names, since, ALPHA / len(others), tuned, adjust)),
        planned=size,
        minimum_effect=minimum_effect,
    )


def _metric(name: str) -> str:
    if name not in METRICS:
        raise BadInput("--metric", [Fault("metric", ", ".join(METRICS), seen=name)])
    return METRICS[name]


def _guardrails(names: tuple[str, ...] | None) -> tuple[str, ...]:
    unknown = [name for name in names or () if name not in GUARDRAILS]
    if unknown:
        raise BadInput("--guardrail", [Fault("guardrail", ", ".join(GUARDRAILS), seen=unknown[0])])
    return tuple(GUARDRAILS) if names is None else names


def _mean_of(values: Array) -> Measure:
    mean, half = float(values.mean()), 1.96 * float(values.std()) / float(np.sqrt(len(values)))
    return Measure(mean, mean - half, mean + half, len(values))


def _visible(values: Array, size: int, arms: Mapping[str, float], power: float, alpha: float) -> float:
    """The smallest rise of a guardrail that a test of that size shows (one-sided)."""
    from statistics import NormalDist

    control, *others = (share / sum(arms.values()) for share in arms.values())
    spread = float(values.std()) * float(np.sqrt(1.0 / (control * size) + 1.0 / (min(others) * size)))
    return (NormalDist().inv_cdf(1.0 - alpha) + NormalDist().inv_cdf(power)) * spread


def _expected(
    attempts: pd.DataFrame, payments: Payments, metric: str, exposed: Exposed, place: Array, rng: np.random.Generator
) -> Array | None:
    resolved = attempts["resolved_at"].to_numpy("datetime64[us]") if "resolved_at" in attempts else None
    if resolved is None:
        return None
    # A payment's last outcome has to be known before the first payment of the experiment begins
    known = np.where(np.isnat(resolved), np.iinfo(np.int64).max, resolved.astype(np.int64))
    latest = np.zeros(len(payments), np.int64)
    np.maximum.at(latest, payments.row_payment, known)
    earlier = latest < payments.begun[exposed.place].min()
    return expected_beforehand(attempts, payments.first, payments.values[metric], earlier, place, rng)


def _size(baseline: float, effect: float, exposed: Exposed, shares: Mapping[str, float] | None) -> int:
    told = {name: 1.0 / len(exposed.names) if shares is None else shares[name] for name in exposed.names}
    least, most = 0.001, 0.999
    rate = min(max(baseline, least), most - effect) if effect < most - least else least
    return sample_size(rate, effect, told, _POWER, ALPHA)


def _arms(exposed: Exposed, shares: Mapping[str, float] | None, drawn: Drawn) -> tuple[ArmRead, ...]:
    told = np.array([1.0 if shares is None else shares[name] for name in exposed.names])
    return tuple(
        ArmRead(name, n := int((drawn.arm == k).sum()), share, wilson(float(drawn.value[drawn.arm == k].sum()), n))
        for k, (name, share) in enumerate(zip(exposed.names, (told / told.sum()).tolist(), strict=True))
    )


def _days(begun: Array) -> Array:
    """Which day (UTC) since the first each moment is on."""
    days: Array = begun // DAY_US - begun.min() // DAY_US
    return days


def _date(microseconds: int) -> datetime:
    return datetime.fromtimestamp(int(microseconds) / 1e6, UTC)
