"""The difference that an arm makes: fixed and always-valid intervals, with what was known beforehand taken out (CUPED).

Means, variances and covariances of both arms are all that goes in, so that a million payments cost what ten do. Welch's
interval, CUPED (Deng et al. 2013, DOI 10.1145/2433396.2433413) and the interval of the relative effect are tea-tasting's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from insights.experiment_sequential import reach
from insights.measure import Measure

__all__ = ["Moments", "Told", "always_valid", "compared"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Moments:
    """What a comparison needs to know of an arm: count, and mean, variance and covariance of a value and its covariate."""

    n: int
    mean: float
    variance: float
    x_mean: float = 0.0
    x_variance: float = 0.0
    covariance: float = 0.0

    @classmethod
    def of(cls, value: Array, covariate: Array | None = None) -> Moments:
        """Those of values (n,), with a covariate (n,) if there is one; n of 2 or more."""
        mean, variance = float(value.mean()), float(value.var(ddof=1))
        if covariate is None:
            return cls(len(value), mean, variance)
        together = np.cov(value, covariate)
        return cls(len(value), mean, variance, float(covariate.mean()), float(together[1, 1]), float(together[0, 1]))


@dataclass(frozen=True)
class Told:
    """A difference of means with its interval, its standard error, its p-value (two-sided), and relative to the control."""

    difference: Measure
    error: float
    p_value: float
    relative: Measure


def compared(control: Moments, arm: Moments, *, alpha: float = 0.05, adjusted: bool = False) -> Told:
    """An arm's mean less the control's. `adjusted` by the covariates, where these vary."""
    from tea_tasting.aggr import Aggregates

    def aggregates(moments: Moments) -> Any:
        return Aggregates(
            count_=moments.n,
            mean_={"y": moments.mean, "x": moments.x_mean},
            var_={"y": moments.variance, "x": moments.x_variance},
            cov_={("x", "y"): moments.covariance},
        )

    n = control.n + arm.n
    if control.variance == 0.0 and arm.variance == 0.0:
        same = Measure(arm.mean - control.mean, arm.mean - control.mean, arm.mean - control.mean, n)
        return Told(same, 0.0, 1.0 if same.value == 0.0 else 0.0, Measure(float("nan"), float("nan"), float("nan"), n))
    by_covariate = adjusted and control.x_variance + arm.x_variance > 0.0
    found = _mean(alpha, by_covariate).analyze_aggregates(aggregates(control), aggregates(arm))
    difference = Measure(found.effect_size, found.effect_size_ci_lower, found.effect_size_ci_upper, n)
    relative = Measure(found.rel_effect_size, found.rel_effect_size_ci_lower, found.rel_effect_size_ci_upper, n)
    error = found.effect_size / found.statistic if found.statistic else _error(control, arm)
    return Told(difference, error, found.pvalue, relative)


@cache
def _mean(alpha: float, by_covariate: bool) -> Any:
    from tea_tasting import Mean

    return Mean("y", "x" if by_covariate else None, equal_var=False, confidence_level=1.0 - alpha)


def _error(control: Moments, arm: Moments) -> float:
    return float(np.sqrt(control.variance / control.n + arm.variance / arm.n))


def always_valid(told: Told, tuned_for: float, alpha: float = 0.05) -> Measure:
    """The interval that may be looked at on any day (`insights.experiment_sequential`)."""
    difference = told.difference
    half = told.error * reach(difference.n, tuned_for, alpha)
    return Measure(difference.value, difference.value - half, difference.value + half, difference.n)
