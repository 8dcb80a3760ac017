"""How good probabilities are, with the interval that the sample leaves open.

Intervals are 95 % intervals of a Poisson bootstrap over payments (every attempt of a payment shares its weight;
Chamandy et al. 2012), so that retries do not pass for independent evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "Estimate",
    "Resampler",
    "auc",
    "binary_log_loss",
    "bins_of",
    "calibration_error",
    "log_loss",
    "wilson",
]

Array = npt.NDArray[Any]
_TINY = 1e-12
_Z = 1.959963984540054  # of a 95 % interval
_BLOCK = 10  # draws that are multiplied together


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval and the number of attempts behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}] (n={self.n:,})"

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def log_loss(outcome: Array, probabilities: Array, weights: Array | None = None) -> float:
    """Mean −log P(what happened), in nats. `outcome` (n,) holds columns of `probabilities` (n, k)."""
    told = probabilities[np.arange(len(outcome)), outcome]
    return float(np.average(-np.log(np.maximum(told, _TINY)), weights=weights))


def binary_log_loss(happened: Array, probability: Array, weights: Array | None = None) -> float:
    """Mean −log P(what happened), in nats, for yes or no."""
    told = np.where(happened, probability, 1.0 - probability)
    return float(np.average(-np.log(np.maximum(told, _TINY)), weights=weights))


def auc(happened: Array, probability: Array, weights: Array | None = None) -> float:
    """Chance that a case that happened was given more than one that did not; ties count half. NaN with one class only.

    >>> auc(np.array([True, False, True]), np.array([0.9, 0.2, 0.2]))
    0.75
    """
    weights = np.ones(len(happened)) if weights is None else weights
    order = np.argsort(probability, kind="stable")
    scores, hits, w = probability[order], happened[order], weights[order]
    ends = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    positive = np.add.reduceat(w * hits, np.append(0, ends[:-1] + 1)) if len(ends) else np.zeros(0)
    negative = np.add.reduceat(w * ~hits, np.append(0, ends[:-1] + 1)) if len(ends) else np.zeros(0)
    below = np.cumsum(negative) - negative
    total = positive.sum() * negative.sum()
    return float((positive * (below + negative / 2)).sum() / total) if total > 0 else float("nan")


def wilson(hits: float, n: float, effective: float | None = None) -> Estimate:
    """A share with Wilson's 95 % interval (1927, DOI 10.1080/01621459.1927.10502953); NaN of nothing.

    `effective` is how many independent cases the `n` are worth.

    >>> print(wilson(8, 10))
    0.8000 [0.4902, 0.9433] (n=10)
    """
    if not n:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    share, m = hits / n, n if effective is None else effective
    middle = (share + _Z**2 / (2 * m)) / (1 + _Z**2 / m)
    half = _Z / (1 + _Z**2 / m) * float(np.sqrt(share * (1 - share) / m + _Z**2 / (4 * m * m)))
    low, high = max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))
    return Estimate(share, low, high, int(n))


def bins_of(probability: Array, bins: int = 10) -> Array:
    """Which of `bins` of equally many attempts each probability is in."""
    edges = np.quantile(probability, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges, probability, side="right")


def calibration_error(
    happened: Array, probability: Array, weights: Array | None = None, which: Array | None = None
) -> float:
    """Mean distance between what was promised and what came, over ten bins of equally many attempts.

    `which` says the bin of each attempt where it was found before (`bins_of`).
    """
    which = bins_of(probability) if which is None else which
    weights = np.ones(len(happened)) if weights is None else weights
    off = np.bincount(which, weights * (probability - happened))
    return float(np.abs(off).sum() / max(weights.sum(), _TINY))


class Resampler:
    """Draws payments with replacement, the same draws for every figure, so that differences are paired."""

    def __init__(self, payment: Array, resamples: int, seed: int) -> None:
        self._codes = np.unique(payment, return_inverse=True)[1]
        self._n = int(self._codes.max()) + 1 if len(payment) else 0
        self._resamples, self._seed = resamples, seed

    @cached_property
    def _draws(self) -> npt.NDArray[np.uint8]:
        """How often each payment was drawn, (resamples, payments): drawn once for all figures, since that takes longest."""
        rng = np.random.default_rng(self._seed)
        draws = np.empty((self._resamples, self._n), np.uint8)  # none is drawn 256 times
        for draw in draws:
            draw[:] = rng.poisson(1.0, self._n)
        return draws

    def estimate(self, figure: Callable[[Array | None], float]) -> Estimate:
        """A figure of weights (None: all weigh 1), with its interval.

        The draws are centred on the figure: one that noise can only enlarge, such as a calibration error, is larger in
        every resample than in the sample, which says nothing of how sure it is.
        """
        drawn = np.array([figure(draw[self._codes].astype(float)) for draw in self._draws])
        value = figure(None)
        if not np.isfinite(drawn).any():
            return Estimate(value, np.nan, np.nan, len(self._codes))
        low, middle, high = np.nanpercentile(drawn, [2.5, 50.0, 97.5])
        return Estimate(value, float(value + low - middle), float(value + high - middle), len(self._codes))

    def mean(self, values: Array) -> Estimate:
        """The mean of a value per attempt, with its interval; a good deal faster than `estimate`."""
        totals = np.column_stack(
            [np.bincount(self._codes, values, self._n), np.bincount(self._codes, minlength=self._n).astype(float)]
        )
        sums = np.concatenate([draws @ totals for draws in self._blocks()])
        drawn = sums[:, 0] / np.maximum(sums[:, 1], 1.0)
        low, middle, high = np.percentile(drawn, [2.5, 50.0, 97.5])
        value = float(values.mean()) if len(values) else float("nan")
        return Estimate(value, float(value + low - middle), float(value + high - middle), len(values))

    def _blocks(self) -> Iterator[Array]:
        """The draws as floats, some at a time: whole numbers would be multiplied one by one."""
        for first in range(0, self._resamples, _BLOCK):
            yield self._draws[first : first + _BLOCK].astype(float)
