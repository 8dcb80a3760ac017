"""Rates with intervals: Wilson's where attempts are independent, wider where they come in clusters."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from insights.rates import jackknife, rate_of, rates_by, wilson


def test_wilson_is_what_statsmodels_has():
    hits, n = np.array([0, 3, 50, 97, 100]), np.full(5, 100)
    _, low, high = wilson(hits, n)
    expected = proportion_confint(hits, n, method="wilson")
    assert low == pytest.approx(expected[0], abs=1e-12)
    assert high == pytest.approx(expected[1], abs=1e-12)


def test_nothing_has_no_rate():
    found = rate_of(np.zeros(0, bool), np.zeros(0, int))
    assert (found.n, found.value) == (0, pytest.approx(np.nan, nan_ok=True))


def test_the_same_attempts_four_times_over_are_as_sure_as_once():
    rng = np.random.default_rng(1)
    success = rng.random(500) < 0.8
    once = rate_of(success, np.arange(500))
    four = rate_of(np.repeat(success, 4), np.repeat(np.arange(500), 4))
    assert four.value == once.value
    assert four.high - four.low == pytest.approx(once.high - once.low, rel=0.02)


def test_rates_of_groups_are_those_of_each_alone():
    rng = np.random.default_rng(2)
    groups, success, cluster = rng.integers(-1, 4, 400), rng.random(400) < 0.6, rng.integers(0, 90, 400)
    for group, found in enumerate(rates_by(groups, 4, success, cluster)):
        assert found == rate_of(success[groups == group], cluster[groups == group])


def test_intervals_of_clustered_rates_hold_the_truth_as_often_as_they_say():
    rng, held, worlds = np.random.default_rng(5), 0, 300
    for _ in range(worlds):
        of_cluster = rng.beta(4, 1, 120)  # mean 0.8
        cluster = np.repeat(np.arange(120), 5)
        found = rate_of(rng.random(600) < of_cluster[cluster], cluster)
        held += found.low <= 0.8 <= found.high
    assert 0.92 <= held / worlds <= 0.98


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(4).normal(size=40)
    without = (values.sum() - values)[:, None] / 39
    low, high = jackknife(np.array([values.mean()]), without)
    assert (high - low)[0] / 2 == pytest.approx(2.0227 * values.std(ddof=1) / np.sqrt(40), rel=1e-4)
