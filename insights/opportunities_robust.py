"""The gain of a change, doubly robust: what attempts on one side would have come to on the other.

The estimand is the effect on those that would change (the "treated", here the attempts as `before` says). For each of them
m(x) is what was to be expected on the other side, and the other side's errors, weighted to look like them, correct it:

    gain = 1/n · Σ [ before · (m(x) − y) + after · w(x) · (y − m(x)) ],    w(x) = P(before | x) / P(after | x)

It is right if either m or w is, and its error is the product of theirs (Robins, Rotnitzky, Zhao 1994; for the effect on the
treated, Chernozhukov et al. 2018, DOI 10.1111/ectj.12097, section 5). Both are cross-fitted: an attempt's come from models
that saw neither it nor any other attempt of its customer. Weights sum to the number of attempts on the other side. Standard
errors are those of sums over customers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from insights.measure import Measure
from insights.rates import Z95

__all__ = ["LEAST_CHANCE", "Gain", "Question", "Weighted", "gain", "naive", "weigh"]

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

LEAST_CHANCE = 0.02
"""Attempts whose chance of having been on the other side is below this have no like there, and are left out."""

_FOLDS = 3
_MOST_LEARNT = 12_000  # attempts on each side that a model learns from; the averages are over all
_RIDGE = 0.03  # inverse strength, of standardised columns
_FEWEST = 30


@dataclass(frozen=True)
class Question:
    """Attempts on both sides of a change: covariates (n, m), standardised; which side; customers (codes); a fold for each."""

    design: Array
    before: Mask
    customer: Array
    fold: Array

    @classmethod
    def of(cls, design: Array, before: Mask, customer: Array, rng: np.random.Generator) -> Question:
        """With customers drawn into folds."""
        codes = np.unique(customer, return_inverse=True)[1]
        return cls(design, before, codes, rng.integers(0, _FOLDS, int(codes.max()) + 1)[codes])

    def fitted(self, learnt: Mask, label: Array, rng: np.random.Generator) -> Array:
        """P(label) of every attempt, from attempts `learnt` of other folds, by a ridge-penalised logistic regression."""
        told = np.empty(len(label))
        for fold in range(_FOLDS):
            mine = self.fold == fold
            rows = _some(np.flatnonzero(learnt & ~mine), rng)
            told[mine] = _logistic(self.design[rows], label[rows], self.design[mine])
        return told


@dataclass(frozen=True)
class Weighted:
    """`w` (n,): 1 for attempts that would change and have their like, their likes' weights, 0 elsewhere.

    `reached`: the share of the attempts that would change which have their like. `size` is the effective number of attempts
    of the other side. `imbalance` is the largest difference of means left, in standard deviations.
    """

    w: Array
    reached: float
    size: float
    imbalance: float


@dataclass(frozen=True)
class Gain:
    """What is gained for each attempt that would change, with its standard error by customer."""

    value: float
    error: float
    n: int

    @property
    def measure(self) -> Measure:
        """With its 95 % interval."""
        return Measure(self.value, self.value - Z95 * self.error, self.value + Z95 * self.error, self.n)


def weigh(question: Question, rng: np.random.Generator, logged: Array | None = None) -> Weighted:
    """Weights that make the other side look like those that would change.

    `logged` (n,) are the propensities with which each was chosen, if chance chose: then the chance of what was done is known,
    and that of what was not comes from a regression of those that were logged for it.
    """
    before = question.before
    chance = question.fitted(np.ones(len(before), bool), before.astype(float), rng)
    like = (1.0 - chance >= LEAST_CHANCE) & ((chance >= LEAST_CHANCE) | before) & ~_alone(question.design, before)
    odds = chance / np.maximum(1.0 - chance, LEAST_CHANCE)
    if logged is not None:
        odds = np.exp(_expected_log(question, np.log(logged))) / logged
    w = np.where(like, np.where(before, 1.0, odds), 0.0)
    reached = int((before & like).sum())
    other = w[~before]
    if not reached or other.sum() <= 0.0:
        return Weighted(np.zeros(len(before)), 0.0, 0.0, float("inf"))
    w[~before] *= reached / other.sum()
    other = w[~before]
    return Weighted(
        w,
        reached / int(before.sum()),
        float(other.sum() ** 2 / (other**2).sum()),
        _imbalance(question.design, before, w),
    )


def gain(question: Question, weighted: Weighted, value: Array, rng: np.random.Generator) -> Gain:
    """How much more of `value` (n,), 0 or 1, the attempts that would change would come to on the other side."""
    before, w = question.before, weighted.w
    expected = question.fitted(~before & (w > 0.0), value, rng)
    n = int((before & (w > 0.0)).sum())
    error = np.where(w > 0.0, value - expected, 0.0)
    mine, other = -error[before].sum() / n, float((w * error)[~before].sum()) / n
    parts = np.where(before, np.where(w > 0.0, -error - mine, 0.0), w * (error - other))
    by_customer = np.bincount(question.customer, parts)
    return Gain(mine + other, float(np.sqrt((by_customer**2).sum())) / n, n)


def naive(before: Mask, value: Array) -> Measure:
    """What a plain comparison of the two sides shows, with Welch's interval."""
    a, b = value[~before], value[before]
    difference = float(a.mean() - b.mean())
    half = Z95 * float(np.sqrt(a.var() / len(a) + b.var() / len(b)))
    return Measure(difference, difference - half, difference + half, len(value))


def _alone(design: Array, before: Mask) -> Mask:
    """Attempts with something, told by yes or no, that no attempt of the other side has: a penalised fit would not see it."""
    found = np.zeros(len(design), bool)
    for column in design.T:
        high = column == column.max()
        if (high | (column == column.min())).all():
            for group in (high, ~high):
                if group.any() and not (group & ~before).any():
                    found |= group
    return found


def _some(rows: Array, rng: np.random.Generator) -> Array:
    return rows if len(rows) <= _MOST_LEARNT else rng.choice(rows, _MOST_LEARNT, replace=False)


def _logistic(design: Array, label: Array, asked: Array) -> Array:
    """P(label) of the rows asked. Where one label is rare or absent, its share."""
    from sklearn.linear_model import LogisticRegression

    positive = int(label.sum())
    if min(positive, len(label) - positive) < _FEWEST:
        return np.full(len(asked), (positive + 0.5) / (len(label) + 1.0))
    model = LogisticRegression(C=_RIDGE, max_iter=200, tol=1e-3).fit(design, label)
    score = asked @ model.coef_[0] + model.intercept_[0]
    told: Array = 1.0 / (1.0 + np.exp(-score))
    return told


def _expected_log(question: Question, log_propensity: Array) -> Array:
    """What the log of the propensity would have been had those that would change been chosen, (n,), by ridge regression."""
    from sklearn.linear_model import Ridge

    told = np.empty(len(log_propensity))
    for fold in range(_FOLDS):
        mine = question.fold == fold
        rows = np.flatnonzero(question.before & ~mine)
        told[mine] = Ridge(alpha=1.0).fit(question.design[rows], log_propensity[rows]).predict(question.design[mine])
    return told.clip(log_propensity.min(), log_propensity.max())


def _imbalance(design: Array, before: Mask, w: Array) -> float:
    """The largest standardised difference of a covariate's means, those that would change against the weighted others."""
    a, b = design[before], design[~before]
    difference = np.average(a, axis=0, weights=w[before]) - np.average(b, axis=0, weights=w[~before])
    spread = np.sqrt((a.var(axis=0) + b.var(axis=0)) / 2.0)
    return float(np.max(np.abs(difference) / np.maximum(spread, 1e-9), initial=0.0, where=spread > 0.05))
