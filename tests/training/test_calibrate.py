"""Calibration is kept where it helps, and only there."""

import numpy as np
import pytest

from training.calibrate import calibrate


def _binary(n, slope, seed):
    rng = np.random.default_rng(seed)
    truth = rng.normal(1.0, 1.5, n)
    failed = (rng.random(n) > 1 / (1 + np.exp(-truth))).astype(int)
    return (truth * slope)[:, None], failed


def test_overconfident_scores_are_mended():
    scores, failed = _binary(6000, 2.0, 1)
    found, said = calibrate(scores, failed, np.arange(6000), resamples=100, seed=1)
    assert said.startswith("kept")
    assert found.weights[0, 0] == pytest.approx(0.5, abs=0.08)


def test_good_scores_are_left_alone():
    scores, failed = _binary(4000, 1.0, 2)
    found, said = calibrate(scores, failed, np.arange(4000), resamples=100, seed=1)
    assert said.startswith("left as it is")
    assert (found.weights == np.eye(1)).all()


def test_multiclass_scores_with_a_bias_are_mended():
    rng = np.random.default_rng(3)
    scores = rng.normal(0, 1, (6000, 4))
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    answer = (shares.cumsum(axis=1) > rng.random((6000, 1))).argmax(axis=1)
    found, said = calibrate(scores + np.array([1.0, 0.0, 0.0, -1.0]), answer, np.arange(6000), resamples=100, seed=1)
    assert said.startswith("kept")
    moved = found(scores + np.array([1.0, 0.0, 0.0, -1.0]))
    assert (
        np.abs((moved - moved.mean(axis=1, keepdims=True)) - (scores - scores.mean(axis=1, keepdims=True))).mean()
        < 0.15
    )


@pytest.mark.parametrize("n", [0, 5, 300])
def test_too_few_attempts_change_nothing(n):
    scores, failed = _binary(n, 3.0, 4)
    found, said = calibrate(scores, failed, np.arange(n), resamples=20, seed=1)
    assert "too few" in said
    assert (found(scores) == scores).all()
