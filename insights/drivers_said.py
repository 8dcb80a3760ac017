"""What each feature says in a head's answers: SHAP values, and what shuffling it costs.

The head's log-odds are a sum: of trees, whose SHAP values LightGBM computes exactly (Lundberg et al. 2020, DOI
10.1038/s42256-019-0138-9), and of one curve per feature, whose value less its mean is its SHAP value. Shuffling a feature
(Breiman 2001, Fisher et al. 2019) tells what the head loses without it; features that say the same lose nothing by it one at
a time, and share out their SHAP values. Where the two differ, that is why.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from insights.drivers_asked import Asked
from insights.measure import Measure
from models.additive import Additive

__all__ = ["Resamples", "contributions", "log_odds", "losses_by_shuffling"]

Array = npt.NDArray[Any]

_RESAMPLES = 200


class Resamples:
    """Payments drawn with replacement (Poisson bootstrap), the same draws for every figure. `weight` (n,) of each row."""

    def __init__(self, payment: Array, weight: Array, rng: np.random.Generator) -> None:
        codes = np.unique(payment, return_inverse=True)[1]
        self.weight = weight
        self._drawn = rng.poisson(1.0, (_RESAMPLES, int(codes.max()) + 1)).astype(np.float64)[:, codes] * weight

    def shares(self, amounts: Array, among: Array | None = None) -> list[Measure]:
        """Each column's share of all columns' weighted means, `amounts` (n, k); negative means count as nothing."""
        rows = slice(None) if among is None else among
        value = self._shares(self.weight[None, rows] @ amounts[rows])[0]
        drawn = self._shares(self._drawn[:, rows] @ amounts[rows])
        low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
        n = len(amounts[rows])
        return [
            Measure(float(v), float(min(a, v)), float(max(b, v)), n) for v, a, b in zip(value, low, high, strict=True)
        ]

    def mean(self, values: Array, among: Array) -> Measure:
        """The weighted mean of values (n,) over the rows `among` (mask)."""
        n = int(among.sum())
        value = float(self.weight[among] @ values[among] / self.weight[among].sum())
        mass = self._drawn[:, among]
        means = (mass @ values[among]) / np.maximum(mass.sum(axis=1), 1e-300)
        low, high = np.percentile(means[mass.sum(axis=1) > 0.0], [2.5, 97.5])
        return Measure(value, float(min(low, value)), float(max(high, value)), n)

    @staticmethod
    def _shares(sums: Array) -> Array:
        kept = np.maximum(sums, 0.0)
        shares: Array = kept / np.maximum(kept.sum(axis=1, keepdims=True), 1e-300)
        return shares


def contributions(one: Asked, matrix: Array) -> Array:
    """SHAP values of every feature, shape (n, n_features), in log-odds of falling; `matrix` (n, n_features)."""
    import lightgbm as lgb

    head = one.head
    trees = lgb.Booster(model_str=one.text)
    told = np.asarray(
        trees.predict(matrix[:, head.booster.places].astype(np.float64), pred_contrib=True, num_threads=2)
    )
    said = np.zeros(matrix.shape)
    said[:, head.booster.places] = told[:, :-1] * float(head.calibration.weights[0, 0]) * one.sign
    for curve in head.additive.curves if head.additive is not None else ():
        value = Additive(0.0, (curve,))(matrix)
        said[:, curve.place] += one.sign * (value - one.weight @ value)
    return said


def log_odds(one: Asked, matrix: Array) -> Array:
    """Log-odds of falling, shape (n,)."""
    told: Array = one.sign * one.head.scores(matrix)[:, 0]
    return told


def losses_by_shuffling(one: Asked, matrix: Array, fell: Array, columns: list[int], rng: np.random.Generator) -> Array:
    """How much more log loss each row has with each of the columns shuffled, shape (n, columns), nats."""
    matrix = np.ascontiguousarray(matrix, np.float32)
    found = np.empty((len(matrix), len(columns)))
    before = _loss(log_odds(one, matrix), fell)
    for place, column in enumerate(columns):
        other = matrix.copy()
        other[:, column] = matrix[rng.choice(len(matrix), len(matrix), p=one.weight), column]
        found[:, place] = _loss(log_odds(one, other), fell) - before
    return found


def _loss(score: Array, fell: Array) -> Array:
    loss: Array = np.logaddexp(0.0, np.where(fell, -score, score))
    return loss
