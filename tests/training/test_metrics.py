"""Metrics agree with scikit-learn, and their intervals hold what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from training.metrics import Resampler, auc, binary_log_loss, calibration_error, log_loss


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_binary_metrics_equal_scikit_learns(seed, weighted):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.01, 0.99, 60).round(1 + int(rng.integers(0, 3)))
    p = p.clip(0.01, 0.99)
    happened = np.append([True, False], rng.random(58) < 0.5)
    w = rng.integers(1, 4, 60).astype(float) if weighted else None
    assert auc(happened, p, w) == pytest.approx(roc_auc_score(happened, p, sample_weight=w))
    assert binary_log_loss(happened, p, w) == pytest.approx(sklearn_log_loss(happened, p, sample_weight=w))


def test_log_loss_of_many_outcomes_equals_scikit_learns():
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(5), 200)
    outcome = rng.integers(0, 5, 200)
    assert log_loss(outcome, p) == pytest.approx(sklearn_log_loss(outcome, p, labels=range(5)))


def test_auc_is_not_a_number_with_one_class():
    assert np.isnan(auc(np.ones(5, bool), np.linspace(0, 1, 5)))


def test_calibration_error_is_small_for_true_probabilities_and_large_for_wrong_ones():
    rng = np.random.default_rng(2)
    p = rng.uniform(0, 1, 50_000)
    happened = rng.random(50_000) < p
    assert calibration_error(happened, p) < 0.01
    assert calibration_error(happened, p**3) > 0.1


def test_intervals_hold_the_truth_nineteen_times_in_twenty():
    rng = np.random.default_rng(3)
    held = 0
    for world in range(200):
        payment = np.repeat(np.arange(150), 2)
        effect = np.repeat(rng.normal(0, 1, 150), 2)  # attempts of a payment resemble each other
        found = Resampler(payment, 200, world).mean(effect + rng.normal(0, 0.5, 300))
        held += found.low <= 0.0 <= found.high
    assert 0.88 <= held / 200 <= 0.99


def test_the_same_draws_serve_every_figure():
    payment = np.arange(100) // 2
    values = np.random.default_rng(4).normal(size=100)
    resampler = Resampler(payment, 50, 9)
    by_mean = resampler.mean(values)
    by_figure = resampler.estimate(lambda w: float(np.average(values, weights=w)))
    assert (by_mean.value, by_mean.low, by_mean.high) == pytest.approx((by_figure.value, by_figure.low, by_figure.high))
