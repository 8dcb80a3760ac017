"""Calibration of a head's raw scores: a regularised multinomial logistic map, kept only if it helps on attempts held out.

Structured matrix scaling (Kull et al. 2019, regularised towards the identity); for two classes it is Platt's scaling.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from models.heads import Calibration
from training.metrics import Resampler

__all__ = ["blend_of", "calibrate", "log_losses"]

Array = npt.NDArray[Any]
_PENALTY = 0.01  # per squared distance from the identity, against the mean log loss
_FEWEST = 400  # attempts; with fewer, noise is all that would be fitted


def calibrate(scores: Array, answer: Array, payment: Array, *, resamples: int, seed: int) -> tuple[Calibration, str]:
    """The calibration of raw `scores` (n, k) whose true answers are `answer` (n,), in order of time; and what was found.

    Fitted on the earlier half and tried on the later one: kept, then fitted on all, only if the later half's log loss
    improves with 95 % of bootstrap resamples. With k = 1 the score is the log-odds of answer 0.
    """
    k = scores.shape[1]
    none = Calibration.none(k)
    if len(scores) < _FEWEST or len(np.unique(answer)) < max(2, k):
        return none, f"left as it is: {len(scores)} attempts are too few to calibrate on"
    half = len(scores) // 2
    tried = _fit(scores[:half], answer[:half])
    gain = _losses(none(scores[half:]), answer[half:]) - _losses(tried(scores[half:]), answer[half:])
    found = Resampler(payment[half:], resamples, seed).mean(gain)
    said = f"log loss {-found.value:+.5f} [{-found.high:+.5f}, {-found.low:+.5f}] on {half:,} attempts held out"
    if found.low > 0.0:
        return _fit(scores, answer), f"kept: {said}"
    return none, f"left as it is: {said}"


def log_losses(log_odds: Array, happened: Array) -> Array:
    """−log P(what happened) of each attempt, nats, from the log-odds (n,) that it would."""
    losses: Array = np.logaddexp(0.0, np.where(happened, -log_odds, log_odds))
    return losses


def blend_of(direct: Array, staged: Array, won: Array) -> tuple[float, float, float]:
    """Bias and weights of the two log-odds of success, both (n,), that fit who `won` best: a regularised logistic map.

    It starts from, and is held to, the stages alone; no weight is negative.
    """
    start = np.array([0.0, 0.0, 1.0])
    inputs = np.stack([np.ones_like(direct), direct, staged])

    def loss(weights: Array) -> tuple[float, Array]:
        odds, away = weights @ inputs, weights - start
        slope = inputs @ (1.0 / (1.0 + np.exp(-odds)) - won) / len(won)
        return float(log_losses(odds, won).mean() + _PENALTY * (away @ away)), slope + 2 * _PENALTY * away

    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(None, None), (0.0, None), (0.0, None)]).x
    return float(found[0]), float(found[1]), float(found[2])


def _losses(scores: Array, answer: Array) -> Array:
    if scores.shape[1] == 1:
        return log_losses(scores[:, 0], answer == 0)
    top: Array = np.logaddexp.reduce(scores, axis=1) - scores[np.arange(len(answer)), answer]
    return top


def _fit(scores: Array, answer: Array) -> Calibration:
    k = scores.shape[1]
    start = np.concatenate([np.eye(k).ravel(), np.zeros(k)])

    def loss(packed: Array) -> tuple[float, Array]:
        weights, bias = packed[: k * k].reshape(k, k), packed[k * k :]
        moved = scores @ weights + bias
        if k == 1:
            slope = (1.0 / (1.0 + np.exp(-moved)) - (answer == 0)[:, None]) / len(answer)
        else:
            shares = np.exp(moved - np.logaddexp.reduce(moved, axis=1)[:, None])
            shares[np.arange(len(answer)), answer] -= 1.0
            slope = shares / len(answer)
        away = packed - start
        value = _losses(moved, answer).mean() + _PENALTY * (away @ away)
        return float(value), np.concatenate([(scores.T @ slope).ravel(), slope.sum(axis=0)]) + 2 * _PENALTY * away

    found = minimize(loss, start, jac=True, method="L-BFGS-B").x
    return Calibration(found[: k * k].reshape(k, k), found[k * k :])
