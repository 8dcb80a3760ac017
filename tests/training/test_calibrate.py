"""Calibration is kept where it helps, and only there."""

import numpy as np
import pytest

from training.calibrate import blend_of, calibrate


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


class TestTheBlend:
    """Truth is 1 x the stages; the direct head is told with another sign, or not at all."""

    @pytest.fixture
    def staged(self):
        return np.random.default_rng(5).normal(1.0, 1.5, 8000)

    @pytest.fixture
    def won(self, staged):
        return np.random.default_rng(6).random(len(staged)) < 1 / (1 + np.exp(-staged))

    def test_a_head_that_says_nothing_counts_for_nothing(self, staged, won):
        bias, direct, stages = blend_of(np.random.default_rng(7).normal(0, 1.5, len(staged)), staged, won)
        assert bias == pytest.approx(0.0, abs=0.1)
        assert direct == pytest.approx(0.0, abs=0.06)
        assert stages == pytest.approx(1.0, abs=0.1)

    def test_a_head_that_is_wrong_is_not_turned_round(self, staged, won):
        hidden = np.random.default_rng(8).normal(0, 1.0, len(staged))
        _, direct, stages = blend_of(hidden - staged, staged - hidden / 2, won)
        assert direct >= 0.0
        assert stages > 0.0
        assert blend_of(-staged, hidden, won)[1] == 0.0

    def test_two_heads_that_each_know_a_part_both_count(self):
        rng = np.random.default_rng(9)
        one, two = rng.normal(0, 1, (2, 8000))
        won = rng.random(8000) < 1 / (1 + np.exp(-(one + two)))
        _, direct, stages = blend_of(one, two, won)
        assert direct > 0.7  # held back towards none
        assert stages == pytest.approx(1.0, abs=0.15)
