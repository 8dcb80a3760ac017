"""The heads: does an attempt succeed, at which stage does it fall if not, and, once it has failed, for what reason.

An attempt passes four stages in turn: the technology, the customer who stays, authentication, the bank. A head for each
tells how likely it falls there, given that it came so far; what passes all four succeeds. Beside them one head tells success
directly: it learns from failures that nobody explained, too. P(success) is a blend of the two, in log-odds; of what is left
over, each category has the share that the stages give it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from features.columns import CATEGORIES
from models.additive import Additive
from models.booster import Booster

__all__ = ["STAGES", "Blend", "Calibration", "Head", "OutcomeModel"]

Array = npt.NDArray[Any]

STAGES = ("technical", "user_abandonment", "authentication", "bank_decline")
"""The stages, in the order in which an attempt meets them, by the category of what falls there."""

_PLACES = [STAGES.index(category) for category in CATEGORIES]
_TINY = 1e-12


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

    The trees know the positions of their features in the feature matrix (and, beyond it, in the evidence); `classes` are the
    answers. For two answers the score is the log-odds of the first; `additive`, if there is one, adds to it.
    """

    booster: Booster
    classes: tuple[str, ...]
    calibration: Calibration
    additive: Additive | None = None

    def scores(self, matrix: Array, *, few: bool = False) -> Array:
        """Calibrated scores, shape (n, n_classes), or (n, 1) for two answers."""
        scores = self.calibration(self.booster.few(matrix) if few else self.booster.many(matrix))
        if self.additive is not None:
            scores[:, 0] += self.additive(matrix)
        return scores

    def probabilities(self, matrix: Array, *, few: bool = False) -> Array:
        """Probabilities, shape (n, n_classes); rows sum to 1."""
        scores = self.scores(matrix, few=few)
        if self.booster.classes == 1:
            first = np.exp(-np.logaddexp(0.0, -scores))
            return np.hstack([first, 1.0 - first])
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: Array = weights / weights.sum(axis=1, keepdims=True)
        return shares


@dataclass(frozen=True)
class Blend:
    """Log-odds of success: bias + direct · (those of the success head) + staged · (those of the stages together)."""

    bias: float = 0.0
    direct: float = 1.0
    staged: float = 0.0

    def __call__(self, direct: Array, staged: Array) -> Array:
        """The blend of log-odds, same shape."""
        moved: Array = self.bias + self.direct * direct + self.staged * staged
        return moved


@dataclass(frozen=True)
class OutcomeModel:
    """The heads together. `stages`, in the order of STAGES, and `reason` are None where too few failures were explained.

    Without stages the success head speaks alone, and every failure is shared out by `category_shares`, in the order of
    CATEGORIES.
    """

    success: Head
    stages: tuple[Head, ...] | None
    reason: Head | None
    category_shares: tuple[float, float, float, float]
    blend: Blend = Blend()

    def success_probability(self, matrix: Array, *, few: bool = False) -> Array:
        """P(success), shape (n,)."""
        return self._success(matrix, self._falling(matrix, few=few) if self.blend.staged else None, few=few)

    def outcome_probability(self, matrix: Array, *, few: bool = False) -> Array:
        """P(outcome), shape (n, 5), in the order of OUTCOMES; rows sum to 1."""
        falling = self._falling(matrix, few=few)
        success = self._success(matrix, falling, few=few)[:, None]
        if falling is None:
            why: Array = np.broadcast_to(np.array(self.category_shares), (len(matrix), 4))
        else:
            # log P(came so far) + log P(falls there), each −log(1 + e^…)
            came = -np.cumsum(np.logaddexp(0.0, falling), axis=1)
            shares = -np.logaddexp(0.0, -falling)
            shares[:, 1:] += came[:, :-1]
            weights = np.exp(shares - shares.max(axis=1, keepdims=True))
            why = (weights / weights.sum(axis=1, keepdims=True))[:, _PLACES]
        return np.hstack([success, (1.0 - success) * why])

    @cached_property
    def _together(self) -> tuple[Booster, Array, Array] | None:
        """The stages' trees as one booster, with the weights and the biases of their calibrations; None if they cannot be."""
        boosters = [head.booster for head in self.stages or ()]
        if not boosters or any(not np.array_equal(one.places, boosters[0].places) for one in boosters):
            return None
        calibrations = [head.calibration for head in self.stages or ()]
        weights = np.array([calibration.weights[0, 0] for calibration in calibrations])
        return Booster.joined(boosters), weights, np.array([calibration.bias[0] for calibration in calibrations])

    def log_odds(self, matrix: Array) -> tuple[Array, Array]:
        """Log-odds of success as the success head has them, and as the stages do, each (n,): what is blended."""
        falling = self._falling(matrix, few=False)
        direct: Array = self.success.scores(matrix)[:, 0]
        return direct, np.zeros_like(direct) if falling is None else _passing(falling)

    def _falling(self, matrix: Array, *, few: bool) -> Array | None:
        """Log-odds of falling at each stage, once there, shape (n, 4)."""
        if self.stages is None:
            return None
        if self._together is None:
            return np.hstack([head.scores(matrix, few=few) for head in self.stages])
        booster, weights, bias = self._together
        scores = (booster.few(matrix) if few else booster.many(matrix)) * weights + bias
        for place, head in enumerate(self.stages):
            if head.additive is not None:
                scores[:, place] += head.additive(matrix)
        return scores

    def _success(self, matrix: Array, falling: Array | None, *, few: bool) -> Array:
        direct = self.success.scores(matrix, few=few)[:, 0] if self.blend.direct else np.zeros(len(matrix))
        staged = _passing(falling) if falling is not None and self.blend.staged else np.zeros(len(matrix))
        p: Array = np.exp(-np.logaddexp(0.0, -self.blend(direct, staged)))
        return p

    def reason_probability(self, matrix: Array, evidence: Array, *, few: bool = False) -> tuple[Sequence[str], Array]:
        """Reasons, and P(reason | failed, evidence), shape (n, n_reasons). `evidence` as Encoder.evidence gives it."""
        if self.reason is None:
            raise ValueError("this model has no reason head")
        return self.reason.classes, self.reason.probabilities(np.hstack([matrix, evidence]), few=few)


def _passing(falling: Array) -> Array:
    """Log-odds of passing every stage, from those of falling at each."""
    passes = -np.logaddexp(0.0, falling).sum(axis=1)
    odds: Array = passes - np.log(np.maximum(-np.expm1(passes), _TINY))
    return odds
