"""Folds roll forward in time, learn only from what was known, and their comparison tells noise from change."""

from dataclasses import replace

import numpy as np
import pytest

from features.errors import BadInput
from features.kernel import PENDING
from training.backtest import Difference, compare_folds, figures, fold_difference, verdict
from training.folds import Told, rolling_folds, told_by_folds
from training.metrics import Estimate
from training.settings import TrainSettings
from training.split import split_by_time
from training.train import prepare

HOUR_US = 3.6e9


@pytest.fixture(scope="module")
def data(table):
    return prepare(table, mature_minutes=30.0)


@pytest.fixture(scope="module")
def asked(settings):
    return replace(settings, folds=4, gap_hours=6.0, threads=2)


@pytest.fixture(scope="module")
def folds(data, asked):
    return rolling_folds(data, asked, before_test=True)


def test_blocks_follow_each_other_and_share_no_payment(data, folds):
    blocks = [set(data.payment[fold["test"]].tolist()) for fold in folds]
    assert all(blocks)
    assert sum(map(len, blocks)) == len(set.union(*blocks))
    lasts = [data.rows.created[fold["test"]].min() for fold in folds]
    assert lasts == sorted(lasts)


def test_nothing_is_learnt_from_that_was_not_known_when_the_block_began(data, folds, asked):
    for fold in folds:
        learnt = (fold.slices >= 0) & ~fold["test"]
        begin = data.rows.created[fold["test"]].min()
        starts = np.full(data.payment.max() + 1, PENDING)
        np.minimum.at(starts, data.payment, data.rows.created)
        assert (starts[data.payment[learnt]] < begin - asked.gap_hours * HOUR_US + 1).all()
        known = data.known_at[learnt]
        assert (known[known != PENDING] < begin).all()


def test_within_a_fold_what_stops_and_calibrates_comes_after_what_is_fitted(data, folds):
    for fold in folds:
        ends = [data.rows.created[fold[name]].max() for name in ("fit", "stop", "calibrate", "test")]
        assert ends == sorted(ends)


def test_a_search_never_sees_the_slice_that_judges(data, folds, asked):
    shares = (asked.stop_share, asked.calibrate_share, asked.test_share)
    begin = split_by_time(data.payment, data.rows.created, data.known_at, shares).begins[3]
    for fold in folds:
        seen = fold.slices >= 0
        assert data.rows.created[seen].max() < begin
        known = data.known_at[seen]
        assert (known[known != PENDING] < begin).all()


def test_a_backtest_may_go_up_to_the_end(data, asked):
    last = rolling_folds(data, asked, before_test=False)[-1]
    assert last["test"].sum() > 0
    assert data.rows.created[last["test"]].max() > np.quantile(data.rows.created, 0.99)


def test_a_gap_longer_than_the_time_there_is_is_refused(data, asked):
    with pytest.raises(BadInput, match="gap_hours"):
        rolling_folds(data, replace(asked, gap_hours=720.0), before_test=True)


@pytest.fixture(scope="module")
def told(data, asked, folds):
    return list(told_by_folds(data, asked, folds[:2]))


def test_each_fold_s_model_knows_more_than_nothing(data, told, folds, asked):
    found = figures(data, told, folds[:2], asked)
    for fold in found["folds"]:
        assert fold["success_auc"]["low"] > 0.6
        assert fold["judged_on"] == fold["success_log_loss"]["n"]
    assert found["all"]["success_log_loss"]["n"] == sum(fold["judged_on"] for fold in found["folds"])
    assert found["spread"]["success_log_loss"] > 0.0


def test_a_model_does_not_differ_from_itself(data, told, asked):
    same = compare_folds(data, told, told, asked)
    assert (same.pooled.value, same.folds.value) == (0.0, 0.0)
    assert not same.real


def test_a_model_that_tells_less_is_worse_beyond_noise_whichever_way_it_is_asked(data, told, asked):
    flat = [Told(one.rows, np.tile(one.probabilities.mean(axis=0), (len(one.rows), 1)), 0) for one in told]
    halves = [part for one in told for part in _halved(one)], [part for one in flat for part in _halved(one)]
    worse, better = compare_folds(data, halves[1], halves[0], asked), compare_folds(data, *halves, asked)
    assert (verdict(worse), verdict(better)) == ("worse, beyond noise", "better, beyond noise")
    assert worse.pooled.value == pytest.approx(-better.pooled.value)


def _halved(one):
    half = len(one.rows) // 2
    return Told(one.rows[:half], one.probabilities[:half], 0), Told(one.rows[half:], one.probabilities[half:], 0)


def test_folds_of_other_attempts_are_not_compared(data, told, asked):
    with pytest.raises(ValueError, match="different attempts"):
        compare_folds(data, told, told[::-1], asked)


def test_one_lucky_fold_makes_no_gain():
    pooled = Estimate(-0.01, -0.012, -0.008, 10_000)
    lucky = Difference(pooled, (), fold_difference([-0.04, 0.0, 0.0, 0.0]))
    steady = Difference(pooled, (), fold_difference([-0.011, -0.009, -0.01, -0.01]))
    assert (lucky.real, steady.real) == (False, True)


def test_two_folds_of_one_figure_each_need_a_spread():
    assert fold_difference([-0.01]).low == -np.inf


def test_settings_of_folds_are_bounded():
    with pytest.raises(BadInput, match="folds"):
        TrainSettings(folds=1)
