"""The heads: does an attempt succeed; if it fails, in which category; and, once it has failed, for what reason.

P(success) from every attempt, P(category | failed) from the explained ones,
P(outcome) = P(success) for success, (1 − P(success)) · P(category | failed) for the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.booster import Booster

__all__ = ["Calibration", "Head", "OutcomeModel"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Calibration:
    """A multinomial logistic map of raw scores: scores @ weights + bias, shapes (k, k) and (k,); k is 1 for two classes.

    Structured matrix scaling, regularised towards the identity, which is what `none` is.
    """

    weights: Array
    bias: Array

    @classmethod
    def none(cls, k: int) -> Calibration:
        """Leaves scores as they are."""
        return cls(np.eye(k), np.zeros(k))

    def __call__(self, scores: Array) -> Array:
        """Calibrated scores, same shape."""
        moved: Array = scores @ self.weights + self.bias
        return moved


@dataclass(frozen=True)
class Head:
    """One question: trees over some of the features, and a calibration.

    `columns` are positions in the feature matrix (and, beyond it, in the evidence); `classes` are the answers. For two
    answers the score is the log-odds of the first.
    """

    booster: Booster
    columns: Array
    classes: tuple[str, ...]
    calibration: Calibration

    def probabilities(self, matrix: Array, *, few: bool = False) -> Array:
        """Probabilities, shape (n, n_classes); rows sum to 1."""
        chosen = np.ascontiguousarray(matrix[:, self.columns], np.float32)
        scores = self.calibration(self.booster.few(chosen) if few else self.booster.many(chosen))
        if self.booster.classes == 1:
            first = 1.0 / (1.0 + np.exp(-scores))
            return np.hstack([first, 1.0 - first])
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: Array = weights / weights.sum(axis=1, keepdims=True)
        return shares


@dataclass(frozen=True)
class OutcomeModel:
    """The heads together. `category` and `reason` are None where too few failures were explained to learn from.

    Without a category head every failure is shared out by `category_shares`, in the order of CATEGORIES.
    """

    success: Head
    category: Head | None
    reason: Head | None
    category_shares: tuple[float, float, float, float]

    def success_probability(self, matrix: Array, *, few: bool = False) -> Array:
        """P(success), shape (n,)."""
        first: Array = self.success.probabilities(matrix, few=few)[:, 0]
        return first

    def outcome_probability(self, matrix: Array, *, few: bool = False) -> Array:
        """P(outcome), shape (n, 5), in the order of OUTCOMES; rows sum to 1."""
        success = self.success_probability(matrix, few=few)[:, None]
        why = (
            self.category.probabilities(matrix, few=few)
            if self.category is not None
            else np.broadcast_to(np.array(self.category_shares), (len(matrix), 4))
        )
        return np.hstack([success, (1.0 - success) * why])

    def reason_probability(self, matrix: Array, evidence: Array, *, few: bool = False) -> tuple[Sequence[str], Array]:
        """Reasons, and P(reason | failed, evidence), shape (n, n_reasons). `evidence` as Encoder.evidence gives it."""
        if self.reason is None:
            raise ValueError("this model has no reason head")
        return self.reason.classes, self.reason.probabilities(np.hstack([matrix, evidence]), few=few)
