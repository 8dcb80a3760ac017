"""Drift: chance is not called drift, drift is, and neither a weekend nor a trend counts as one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.drift import brought, bursts, holm, miscalibration, other_mix, overdispersion, shift

MONDAY = 20_458  # 2026-01-05, in days since 1970
SHARES = np.array([0.3, 0.25, 0.2, 0.12, 0.08, 0.05])


def drawn(rng, first, n_days, size=400, *, shares=SHARES, alike=0.01, weekend=None, trend=None):
    """Counts by day: every day has shares of its own about the usual ones, as days of real attempts have."""
    counts = []
    for day in range(first, first + n_days):
        usual = shares if weekend is None or (day + 3) % 7 < 5 else weekend
        usual = usual if trend is None else usual + (day - MONDAY) * trend
        counts.append(rng.multinomial(size, rng.dirichlet(usual * (1.0 - alike) / alike)))
    return np.array(counts)


def looked_at(rng, days, window, first=MONDAY + 28, ordered=True):
    """`window` (days, bins) against `days` from MONDAY on; all attempts spread evenly over the day."""
    now = window.sum(axis=0)
    when = np.repeat(first + np.arange(len(window)), window.sum(axis=1))
    hours = np.tile(days.sum(axis=0) / 6.0, (6, 1))
    return shift(days, MONDAY, hours, now, np.tile(now / 6.0, (6, 1)), when, ordered=ordered, rng=rng)


def false_alarms(weeks, level=0.05, **told):
    found = []
    for world in range(weeks):
        rng = np.random.default_rng([4, world])
        seen = looked_at(rng, drawn(rng, MONDAY, 28, **told), drawn(rng, MONDAY + 28, 7, **told))
        found.append((seen.p_psi < level, seen.p_ks < level))
    return np.mean(found, axis=0)


@pytest.mark.parametrize(
    "told",
    [
        {"alike": 1e-6},
        {"alike": 0.02},
        {"weekend": SHARES[::-1]},
        {"trend": np.array([0.002, 0.0, 0.0, -0.001, -0.0005, -0.0005])},
    ],
    ids=["independent attempts", "days of their own", "other weekends", "a trend"],
)
def test_chance_weekends_and_trends_raise_no_more_alarms_than_promised(told):
    psi, ks = false_alarms(150, **told)
    # 150 weeks at 5 %: a share above 0.113 happens once in a thousand times
    assert psi <= 0.113
    assert ks <= 0.113


def test_a_window_of_part_of_the_day_is_held_against_those_hours():
    rng = np.random.default_rng(8)
    nights, days_ = SHARES[::-1], SHARES
    hours = np.array([nights, nights, days_, days_, days_, days_]) * 2_000.0
    mixed = hours.sum(axis=0) / hours.sum()
    now = rng.multinomial(1_500, nights)
    here = np.vstack([now, np.zeros((5, 6))])
    when = np.repeat(MONDAY + 28 + np.arange(7), 250)[: now.sum()]
    found = shift(drawn(rng, MONDAY, 28, shares=mixed), MONDAY, hours, now, here, when, ordered=True, rng=rng)
    assert found.p_psi > 0.01


@pytest.mark.parametrize("ordered", [True, False])
def test_shares_that_move_are_seen_and_named(ordered):
    rng = np.random.default_rng(2)
    other = SHARES + np.array([-0.1, 0.0, 0.0, 0.0, 0.0, 0.1])
    found = looked_at(rng, drawn(rng, MONDAY, 28), drawn(rng, MONDAY + 28, 7, shares=other), ordered=ordered)
    assert found.p_psi < 1e-4
    assert found.psi > found.limit(1e-3)[0]
    bin_, expected, share, standing = found.moved[0]
    assert bin_ == 5
    assert (expected, share) == (pytest.approx(0.05, abs=0.02), pytest.approx(0.15, abs=0.04))
    assert standing > 4.0
    assert (found.ks is not None) == ordered


def test_a_value_that_takes_over_is_seen_though_the_reference_hardly_had_it():
    rng = np.random.default_rng(2)
    rare = np.array([0.4, 0.3, 0.2, 0.0999, 0.00005, 0.00005])
    risen = np.array([0.35, 0.3, 0.2, 0.1, 0.05, 0.0])
    found = looked_at(rng, drawn(rng, MONDAY, 28, shares=rare), drawn(rng, MONDAY + 28, 7, shares=risen + 1e-9))
    assert found.p_psi < 1e-6


def test_the_limit_is_where_p_is_what_it_says():
    rng = np.random.default_rng(6)
    found = looked_at(rng, drawn(rng, MONDAY, 28), drawn(rng, MONDAY + 28, 7))
    assert found.limit(found.p_psi)[0] == pytest.approx(found.psi)
    assert found.limit(found.p_ks)[1] == pytest.approx(found.ks, rel=0.05)


def test_six_days_are_no_reference():
    rng = np.random.default_rng(6)
    assert looked_at(rng, drawn(rng, MONDAY, 6), drawn(rng, MONDAY + 28, 7)) is None


def test_new_values_are_held_against_how_often_they_came_before():
    assert brought(0, 500, 0, 500) == 1.0
    assert brought(12, 500, 0, 500) < 1e-3
    assert brought(12, 500, 10, 500) > 0.2
    assert brought(1, 500, 0, 500) == pytest.approx(0.5)


def test_blocks_that_are_alike_make_bursts_less_surprising():
    n = np.full(400, 20)
    rng = np.random.default_rng(1)
    steady = rng.binomial(20, 0.05, 400)
    spells = rng.binomial(20, rng.beta(0.5, 9.5, 400))
    share = np.full(400, 0.05)
    assert overdispersion(n, steady, share) < 0.02
    assert overdispersion(n, spells, share) == pytest.approx(1 / 11, abs=0.04)
    one = (np.array([20]), np.array([6]), np.array([0.05]))
    assert bursts(*one, 0.0)[0] < 1e-3
    assert bursts(*one, 0.09)[0] > 10 * bursts(*one, 0.0)[0]


def residuals(rng, off, blocks=40, groups=5):
    n = rng.poisson(30, (groups, blocks)) + 1
    predicted = np.full((groups, 1), 0.8)
    return n.astype(float), rng.binomial(n, predicted + np.array(off)[:, None]) - n * predicted


def test_predictions_as_good_as_when_they_were_judged_raise_no_more_alarms_than_promised():
    alarms = 0
    for world in range(300):
        rng = np.random.default_rng([7, world])
        bias = rng.normal(0, 0.03, 5)  # a model is off a little, then as now
        alarms += miscalibration(residuals(rng, bias), residuals(rng, bias))[0] < 0.05
    assert alarms <= 27


def test_predictions_that_no_longer_come_are_seen_where_they_do_not():
    rng = np.random.default_rng(3)
    p, off, _ = miscalibration(residuals(rng, [0.0] * 5), residuals(rng, [0.0, 0.0, 0.0, 0.0, -0.15]))
    assert p < 1e-4
    assert off.argmin() == 4
    assert miscalibration(residuals(rng, [0.0] * 5, blocks=3), residuals(rng, [0.0] * 5)) is None


def mixes(rng, shares, trend, days=28, size=12):
    """Few counts by day, of shares that move by `trend` a day."""
    return np.array([rng.multinomial(size, np.clip(shares + day * trend, 0, 1)) for day in range(days)])


@pytest.mark.parametrize("rate", [0.0, 0.003], ids=["steady", "a trend"])
def test_a_mix_that_stays_or_moves_as_it_did_is_no_other_one(rate):
    trend = np.array([-rate, 0.0, 0.0, rate])
    shares, alarms = np.array([0.5, 0.3, 0.15, 0.05]), 0
    for world in range(200):
        rng = np.random.default_rng([5, world])
        now = rng.multinomial(90, shares + 45 * trend)
        alarms += other_mix(mixes(rng, shares, trend), now, 45 - 13.5)[0] < 0.05
    # 200 at 5 %: more than 21 happen once in a thousand times
    assert alarms <= 21


def test_a_mix_that_changes_places_is_another_one_however_long_ago_it_was():
    rng = np.random.default_rng(5)
    days, now = mixes(rng, np.array([0.5, 0.3, 0.15, 0.05]), 0.0), rng.multinomial(90, [0.05, 0.15, 0.3, 0.5])
    p, most, was = other_mix(days, now, 60.0)
    assert p < 1e-4
    assert (most, was) == (3, pytest.approx(0.05, abs=0.03))
    assert other_mix(days, np.array([1, 0, 0, 0]), 20.0)[0] > 0.05


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_is_no_smaller_than_p_no_larger_than_bonferroni_and_keeps_the_order(p):
    adjusted = holm(p)
    for one, other in zip(p, adjusted, strict=True):
        assert one <= other + 1e-12
        assert other <= min(1.0, len(p) * max(p)) + 1e-12
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
    assert adjusted[int(order[0])] == pytest.approx(min(1.0, len(p) * min(p)))
