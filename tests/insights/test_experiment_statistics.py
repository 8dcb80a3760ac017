"""The statistics of experiments against known answers, and against chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, ttest_ind

from benchmarks.experiments import caught, false_positives, found_share, traffic
from insights.experiment_effect import Moments, always_valid, compared
from insights.experiment_health import sample_ratio
from insights.experiment_plan import days_for, sample_size, sample_size_looking, smallest_effect
from insights.experiment_sequential import reach

MOST = 0.15  # 5 % of 60 tests, and what chance adds once in a thousand
HALVES = {"a": 0.5, "b": 0.5}


def test_the_difference_is_welch_s():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.0, 1.0, 300), rng.normal(0.2, 2.0, 500)
    told = compared(Moments.of(a), Moments.of(b))
    known = ttest_ind(b, a, equal_var=False)
    interval = known.confidence_interval(0.95)
    assert told.p_value == pytest.approx(known.pvalue)
    assert (told.difference.low, told.difference.high) == pytest.approx((interval.low, interval.high))


def test_a_covariate_that_tells_half_of_the_variance_saves_it():
    rng = np.random.default_rng(1)
    x = rng.normal(size=40_000)
    y = x + rng.normal(size=40_000)
    halves = [Moments.of(y[place::2], x[place::2]) for place in (0, 1)]
    plain, adjusted = compared(*halves), compared(*halves, adjusted=True)
    assert (adjusted.error / plain.error) ** 2 == pytest.approx(0.5, abs=0.02)


def test_arms_that_never_vary_differ_for_sure_or_not_at_all():
    same, other = Moments(10, 1.0, 0.0), Moments(10, 0.0, 0.0)
    assert (compared(same, same).p_value, compared(same, other).p_value) == (1.0, 0.0)


def test_the_sequence_s_width_is_the_paper_s_where_it_is_narrowest():
    # Waudby-Smith et al., equation (11), with rho from Appendix B.2, written out for n = t = 1000 and alpha = 0.05
    rho2 = (-2 * np.log(0.05) + np.log(-2 * np.log(0.05)) + 1) / 1000
    half = np.sqrt(2 * (1000 * rho2 + 1) / (1000**2 * rho2) * np.log(np.sqrt(1000 * rho2 + 1) / 0.05))
    assert reach(1000, 1000) / np.sqrt(1000) == pytest.approx(half)


@given(st.floats(10, 1e7), st.floats(10, 1e7), st.floats(0.001, 0.2))
def test_looking_whenever_one_likes_costs_width(n, tuned, alpha):
    assert reach(n, tuned, alpha) > norm.ppf(1 - alpha / 2)


@given(st.floats(0.3, 0.95), st.floats(0.005, 0.04), st.floats(0.6, 0.95))
def test_the_planned_size_shows_just_the_planned_effect(baseline, effect, power):
    size = sample_size(baseline, effect, HALVES, power, 0.05)
    assert smallest_effect(baseline, size, HALVES, power, 0.05) == pytest.approx(effect, rel=0.01)


def test_uneven_arms_and_more_of_them_need_more_payments():
    even = sample_size(0.8, 0.02, HALVES, 0.8, 0.05)
    assert sample_size(0.8, 0.02, {"a": 0.9, "b": 0.1}, 0.8, 0.05) > 2 * even
    assert sample_size(0.8, 0.02, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, 0.8, 0.05) > 1.5 * even


def test_the_size_for_looking_is_where_the_sequence_has_the_power():
    size = sample_size_looking(30_000, HALVES, 0.8, 0.05)
    one_look = (norm.ppf(0.975) + norm.ppf(0.8)) / np.sqrt(30_000)
    assert (reach(size, 30_000) + norm.ppf(0.8)) / np.sqrt(size) == pytest.approx(one_look, rel=1e-3)


def test_tests_last_whole_weeks():
    assert [days_for(n, 10.0) for n in (1, 70, 71)] == [7, 7, 14]
    assert days_for(100, 0.0) is None


def test_the_sample_ratio_is_pearson_s():
    assert sample_ratio(np.array([50.0, 70.0]), np.array([0.5, 0.5])) == pytest.approx(2 * norm.sf(20 / np.sqrt(120)))


def test_a_hundredth_too_many_is_caught():
    assert caught(0.505, 200_000, 1000, seed=3) >= 0.95
    assert caught(0.5, 200_000, 1000, seed=4) <= 0.02


def test_the_planned_size_has_the_planned_power():
    assert found_share(0.85, 0.01, 600, seed=5) == pytest.approx(0.8, abs=0.06)


@pytest.fixture(scope="module")
def rates():
    return false_positives(traffic(9000, 2), 60)


def test_a_a_tests_read_once_show_as_little_as_promised(rates):
    assert rates.fixed <= MOST
    assert rates.adjusted <= MOST


def test_a_a_tests_looked_at_daily_show_as_little_and_fixed_intervals_would_not(rates):
    assert rates.daily <= MOST
    assert rates.daily_fixed > rates.daily


def test_an_always_valid_interval_is_around_the_difference():
    told = compared(Moments(1000, 0.5, 0.25), Moments(1000, 0.6, 0.24))
    valid = always_valid(told, 20_000)
    assert valid.low < told.difference.low < valid.value == told.difference.value < told.difference.high < valid.high
