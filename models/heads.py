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
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from features.columns import CATEGORIES
from models import kernel
from models.additive import Additive, arrays_of
from models.booster import Booster

__all__ = ["STAGES", "Blend", "Calibration", "Head", "OutcomeModel"]

Array = npt.NDArray[Any]

STAGES = ("technical", "user_abandonment", "authentication", "bank_decline")
"""The stages, in the order in which an attempt meets them, by the category of what falls there."""

_PLACES = np.array([STAGES.index(category) for category in CATEGORIES])


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
        moved: Array = kernel.mapped(scores, self.weights, self.bias)
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
        kernel.share_out(scores)
        return scores


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

    @property
    def tells_all(self) -> bool:
        """Whether P(success) comes of the same scores as the other outcomes do."""
        return bool(self.blend.staged) and self.stages is not None

    def success_probability(self, matrix: Array, *, few: bool = False) -> Array:
        """P(success), shape (n,)."""
        if self.tells_all:
            told: Array = self.outcome_probability(matrix, few=few)[:, 0]
            return told
        alone = np.empty(len(matrix))
        kernel.probable(self.success.scores(matrix, few=few)[:, 0], self.blend.bias, self.blend.direct, alone)
        return alone

    def outcome_probability(self, matrix: Array, *, more: Array | None = None, few: bool = False) -> Array:
        """P(outcome), shape (n, 5), in the order of OUTCOMES; rows sum to 1. `more` rows come after those of `matrix`."""
        if self.stages is None:
            matrix = matrix if more is None else np.concatenate([matrix, more])
            success = self.success_probability(matrix, few=few)[:, None]
            return np.hstack([success, (1.0 - success) * np.array(self.category_shares)])
        blend, together = self._blended, self._together
        if few and together is not None:
            rest = matrix[:0] if more is None else more
            told = np.empty((len(matrix) + len(rest), 5))
            kernel.outcomes(matrix, rest, together.booster.in_order, *together[1:], blend, _PLACES, told)
            return told
        matrix = matrix if more is None else np.concatenate([matrix, more])
        out = np.empty((len(matrix), 5))
        kernel.settle(self._scores(matrix, few=few), *blend, _PLACES, out)
        return out

    def log_odds(self, matrix: Array) -> tuple[Array, Array]:
        """Log-odds of success as the success head has them, and as the stages do, each (n,): what is blended."""
        direct: Array = self.success.scores(matrix)[:, 0]
        if self.stages is None:
            return direct, np.zeros_like(direct)
        staged = np.empty(len(matrix))
        kernel.passing(self._scores(matrix, few=False), staged)
        return direct, staged

    @cached_property
    def _together(self) -> _Together | None:
        """The heads that are blended as one; None if they cannot be."""
        heads = [self.success, *(self.stages or ())] if self.blend.direct else list(self.stages or ())
        if not all(isinstance(head.booster, Booster) for head in heads):
            return None
        return _Together(
            Booster.joined([head.booster for head in heads]),
            np.array([head.calibration.weights[0, 0] for head in heads]),
            np.array([head.calibration.bias[0] for head in heads]),
            arrays_of([head.additive for head in heads]),
        )

    @cached_property
    def _blended(self) -> tuple[float, float, float]:
        return float(self.blend.bias), float(self.blend.direct), float(self.blend.staged)

    def _scores(self, matrix: Array, *, few: bool) -> Array:
        """Log-odds of success as the success head has them, where it counts, and of falling at each stage, once there.

        Shape (n, 5), or (n, 4) where the success head does not count.
        """
        if self._together is None:
            heads = [self.success, *(self.stages or ())] if self.blend.direct else (self.stages or ())
            return np.hstack([head.scores(matrix, few=few) for head in heads])
        booster, weights, biases, curves = self._together
        scores = booster.few(matrix) if few else booster.many(matrix)
        kernel.straighten(scores, weights, biases)
        kernel.add_curves(matrix, *curves, scores)
        return scores

    def reason_probability(self, matrix: Array, evidence: Array, *, few: bool = False) -> tuple[Sequence[str], Array]:
        """Reasons, and P(reason | failed, evidence), shape (n, n_reasons). `evidence` as Encoder.evidence gives it."""
        if self.reason is None:
            raise ValueError("this model has no reason head")
        head, booster, calibration = self.reason, self.reason.booster, self.reason.calibration
        if few and isinstance(booster, Booster) and booster.classes > 1 and head.additive is None:
            told = np.empty((len(matrix), len(calibration.bias)))
            kernel.classes(matrix, evidence, booster.in_order, calibration.weights, calibration.bias, told)
            return head.classes, told
        return head.classes, head.probabilities(np.hstack([matrix, evidence]), few=few)


class _Together(NamedTuple):
    """Heads that are asked together: their trees, the weights and biases of their calibrations, and their curves."""

    booster: Booster
    weights: Array
    biases: Array
    curves: tuple[Array, ...]
