"""How many payments a test needs, and how long the traffic takes to bring them."""

from __future__ import annotations

from collections.abc import Mapping
from math import asin, ceil, sin, sqrt

from features.errors import BadInput, Fault
from insights.experiment_sequential import reach

__all__ = ["LEAST_DAYS", "days_for", "equal_arms", "sample_size", "sample_size_looking", "smallest_effect"]

LEAST_DAYS = 7
"""A test lasts whole weeks: a Monday is no Sunday."""

_LARGEST = 10**12


def equal_arms(arms: Mapping[str, float] | None) -> dict[str, float]:
    """The arms' shares of the payments, the control first. Raises BadInput unless there are two that fit into 1."""
    told = dict(arms) if arms is not None else {"control": 0.5, "challenger": 0.5}
    if len(told) < 2 or any(share <= 0.0 for share in told.values()) or sum(told.values()) > 1.0 + 1e-9:
        seen = ", ".join(f"{name}={share:g}" for name, share in told.items())
        raise BadInput("arms", [Fault("arms", "two or more, with shares above 0 that sum to at most 1", seen=seen)])
    return told


def sample_size(baseline: float, effect: float, arms: Mapping[str, float], power: float, alpha: float) -> int:
    """Payments of all arms together that show an effect on a share with that power (two-sided, Bonferroni over arms).

    By Cohen's h, as statsmodels solves it. The smallest arm is compared with the first, the control.

    >>> sample_size(0.85, 0.01, {"a": 0.5, "b": 0.5}, power=0.8, alpha=0.05)
    38912
    """
    from statsmodels.stats.power import NormalIndPower

    control, arm, total = _compared(arms)
    h = abs(_h(baseline, effect))
    first = NormalIndPower().solve_power(h, alpha=alpha / (len(arms) - 1), power=power, ratio=arm / control)
    return min(ceil(float(first) / control * total), _LARGEST)


def smallest_effect(baseline: float, payments: float, arms: Mapping[str, float], power: float, alpha: float) -> float:
    """The smallest rise of a share that so many payments of all arms show with that power."""
    from statsmodels.stats.power import NormalIndPower

    control, arm, total = _compared(arms)
    h = NormalIndPower().solve_power(
        None,
        nobs1=max(payments * control / total, 2.0),
        alpha=alpha / (len(arms) - 1),
        power=power,
        ratio=arm / control,
    )
    return sin(min(asin(sqrt(baseline)) + float(h) / 2.0, asin(1.0))) ** 2 - baseline


def sample_size_looking(fixed: int, arms: Mapping[str, float], power: float, alpha: float) -> int:
    """Payments that show as much by an always-valid interval tuned for the fixed size, from the size `fixed` of one look."""
    from statistics import NormalDist

    each = alpha / (len(arms) - 1)
    normal = NormalDist()
    one_look = normal.inv_cdf(1.0 - each / 2.0) + normal.inv_cdf(power)
    n = float(fixed)
    for _ in range(50):
        n = fixed * ((reach(n, fixed, each) + normal.inv_cdf(power)) / one_look) ** 2
    return ceil(n)


def days_for(payments: float, per_day: float) -> int | None:
    """Whole weeks in which so many payments come; None if none do."""
    return ceil(payments / per_day / LEAST_DAYS) * LEAST_DAYS if per_day > 0.0 else None


def _compared(arms: Mapping[str, float]) -> tuple[float, float, float]:
    """Shares of the control and of the smallest other arm, and all together."""
    control, *others = arms.values()
    return control, min(others), sum(arms.values())


def _h(baseline: float, effect: float) -> float:
    return 2.0 * (asin(sqrt(baseline + effect)) - asin(sqrt(baseline)))
