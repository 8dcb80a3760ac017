"""Success rates with intervals, for attempts that come in clusters: a customer's attempts are not independent of each other.

The interval is Wilson's (1927) on the effective sample size, n over the design effect, as survey statistics have it (Korn &
Graubard 1998; Franco, Little, Louis & Slud 2019); the design effect is the linearised variance between clusters over that
of as many independent attempts, and never counts as less than 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["GROUPS", "Z95", "Rate", "jackknife", "rate_of", "rates_by", "wilson"]

Array = npt.NDArray[Any]

Z95 = 1.959963984540054
"""How many standard errors a 95 % interval reaches to each side."""

GROUPS = 40
"""Groups of clusters that the jackknife leaves out in turn."""


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval; `hits` of `n`. All three are NaN where n is 0."""

    value: float
    low: float
    high: float
    n: int
    hits: int

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n, "hits": self.hits}


def wilson(hits: Array, n: Array, effective: Array | None = None) -> tuple[Array, Array, Array]:
    """Shares and the bounds of their 95 % intervals; NaN where `n` is 0. `effective` is the effective sample size.

    >>> [round(float(bound[0]), 4) for bound in wilson(np.array([8]), np.array([10]))]
    [0.8, 0.4902, 0.9433]
    """
    hits, n = np.asarray(hits, float), np.asarray(n, float)
    m = n if effective is None else np.asarray(effective, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = hits / n
        middle = (p + Z95**2 / (2 * m)) / (1 + Z95**2 / m)
        half = Z95 / (1 + Z95**2 / m) * np.sqrt(p * (1 - p) / m + Z95**2 / (4 * m**2))
    return p, np.minimum(middle - half, p), np.maximum(middle + half, p)


def rates_by(groups: Array, k: int, success: Array, cluster: Array) -> list[Rate]:
    """The rate of each of `k` groups: `groups`, `success` and `cluster` have one entry per attempt, shape (n,).

    A group of −1 counts nowhere.
    """
    kept = groups >= 0
    groups, success, cluster = groups[kept].astype(np.int64), success[kept].astype(float), cluster[kept]
    n = np.bincount(groups, minlength=k).astype(float)
    hits = np.bincount(groups, success, minlength=k)
    effective = _effective(groups, k, success, cluster, n, hits)
    p, low, high = wilson(hits, n, effective)
    return [Rate(float(p[g]), float(low[g]), float(high[g]), int(n[g]), round(float(hits[g]))) for g in range(k)]


def rate_of(success: Array, cluster: Array) -> Rate:
    """The rate of all of them.

    >>> rate_of(np.array([True, True, False, True]), np.array([0, 1, 2, 3])).value
    0.75
    """
    return rates_by(np.zeros(len(success), np.int64), 1, success, cluster)[0]


def _effective(groups: Array, k: int, success: Array, cluster: Array, n: Array, hits: Array) -> Array:
    """The effective sample size of each group, shape (k,)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        p = hits / n
    if not len(groups):
        return n
    clusters = int(cluster.max()) + 1
    cells, place = np.unique(groups * clusters + cluster, return_inverse=True)
    residual = np.bincount(place, success - p[groups], minlength=len(cells))
    of = cells // clusters
    m = np.bincount(of, minlength=k).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = np.bincount(of, residual**2, minlength=k) * m / (m - 1.0)
        effect = variance / (n * p * (1.0 - p))
    effect = np.where(np.isfinite(effect), np.maximum(effect, 1.0), 1.0)
    return np.asarray(n / effect)


def jackknife(values: Array, without: Array) -> tuple[Array, Array]:
    """The bounds of 95 % intervals by the delete-a-group jackknife (Kott 2001).

    `values` are the figures, shape (k,); `without` the same with each group of clusters left out, shape (groups, k). The
    quantile is Student's, of one degree of freedom less than there are groups.
    """
    from scipy.stats import t

    groups = len(without)
    error = np.sqrt((groups - 1) / groups * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    half = float(t.ppf(0.975, groups - 1)) * error
    return values - half, values + half
