"""Drivers name what the simulated market fails by, with intervals, curves and the test that would prove it."""

import json
from datetime import UTC, datetime
from importlib.resources import files

import numpy as np
import pytest

from features.attempts import check_attempts
from features.columns import CATEGORIES
from features.definitions import feature_names, features
from insights.drivers import drivers
from insights.drivers_asked import asked, known
from insights.drivers_curves import stretches
from insights.drivers_said import contributions, log_odds
from insights.opportunities_firsts import first_attempts
from training.settings import TrainSettings
from training.simulator import simulate
from training.train import train

NOW = datetime(2027, 1, 1, tzinfo=UTC)
QUICK = TrainSettings(
    max_rounds=60, early_stopping_rounds=10, learning_rate=0.15, resamples=20, select_below_rows=0, threads=1,
    refit_below_rows=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def attempts():
    return check_attempts(simulate(9000, 8, "gateway").attempts, now=NOW, for_training=True)


@pytest.fixture(scope="module")
def model(attempts):
    return train(attempts, QUICK).artefact


@pytest.fixture(scope="module")
def told(attempts, model):
    return drivers(attempts, model, np.random.default_rng(0))


@pytest.fixture(scope="module")
def by_category(told):
    return {one.category: one for one in told.categories}


def test_every_kind_of_failure_is_told_the_most_frequent_first(told):
    assert {one.category for one in told.categories} == set(CATEGORIES)
    counts = [one.failures for one in told.categories]
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize(
    ("category", "feature"),
    [
        ("technical", "network_rtt_ms"),
        ("user_abandonment", "form_seconds"),
        ("bank_decline", "amount_against_usual"),
        ("authentication", "auth_flow"),
    ],
)
def test_what_the_market_fails_by_is_among_the_first_three(by_category, category, feature):
    first = [driver.feature for driver in by_category[category].drivers[:3]]
    assert feature in first or "auth_steps" in first


def test_shap_values_and_their_base_add_up_to_the_head_s_log_odds(attempts, model):
    there = known(attempts, model, np.random.default_rng(0))
    for one in asked(there, model, np.random.default_rng(0)):
        matrix = there.matrix[one.rows]
        base = log_odds(one, matrix) - contributions(one, matrix).sum(axis=1)
        assert np.ptp(base) < 1e-6


def test_shares_are_shares_and_lie_in_their_intervals(told):
    for category in told.categories:
        assert sum(driver.permutation.value for driver in category.drivers) == pytest.approx(1.0)
        assert sum(group.shap.value for group in category.groups) == pytest.approx(1.0)
        for driver in category.drivers:
            for share in (driver.shap, driver.permutation):
                assert 0.0 <= share.low <= share.value <= share.high <= 1.0
            assert len(driver.folds) == len(told.folds) == 4


def test_a_curve_s_stretches_hold_each_attempt_once(told):
    for category in told.categories:
        for driver in category.drivers:
            assert sum(stretch.share for stretch in driver.curve) == pytest.approx(1.0, abs=1e-3)
            reached = sum(stretch.observed.n for stretch in driver.curve)
            assert reached == pytest.approx(category.rate.n, rel=1e-3)


def test_a_slow_network_breaks_more(by_category):
    (network,) = (one for one in by_category["technical"].drivers if one.feature == "network_rtt_ms")
    known_stretches = [stretch for stretch in network.curve if stretch.label is not None]
    assert known_stretches[-1].effect.low > 0.0 > known_stretches[0].effect.high
    assert known_stretches[-1].observed.value > known_stretches[0].observed.value


def test_only_what_can_be_given_by_lot_has_a_test_of_its_own(told):
    texts = json.loads(files("insights").joinpath("driver_tests.json").read_text(encoding="utf-8"))
    for driver in (driver for category in told.categories for driver in category.drivers):
        assert driver.test in texts
        assert driver.actionable or driver.test == "context"
    assert all(set(text) == {"en", "ko"} for text in texts.values())


def test_every_actionable_feature_has_a_test():
    from insights.drivers import _test

    assert [one.name for one in features() if one.actionable and _test(one.name, one.group, True) == "context"] == []


def test_segments_count_their_own_attempts(by_category, attempts):
    segments = by_category["user_abandonment"].segments
    assert {segment.column for segment in segments} >= {"country", "first_time"}
    assert all(0 < segment.attempts < len(attempts) for segment in segments)


def test_what_was_judged_on_is_later_than_what_was_learnt_from(told):
    assert told.unseen in {True, False}
    assert told.attempts == told.of


def test_the_machine_s_form_has_no_number_that_json_lacks(told):
    assert json.loads(json.dumps(told.as_dict(), allow_nan=False))["categories"]


@pytest.mark.parametrize("rows", [0, 10])
def test_too_few_attempts_have_no_drivers(attempts, model, rows):
    assert drivers(attempts.iloc[:rows].reset_index(drop=True), model, np.random.default_rng(0)).categories == ()


def test_failures_without_reasons_have_drivers_as_such(attempts):
    outcome = attempts["outcome"].astype(object)
    unexplained = attempts.assign(
        outcome=outcome.mask(outcome.notna() & (outcome != "success"), "unclassified"), reason=None
    )
    plain = check_attempts(unexplained, now=NOW, for_training=True)
    (only,) = drivers(plain, train(plain, QUICK).artefact, np.random.default_rng(0)).categories
    assert only.category == "failure"
    slow = next(one for one in only.drivers if one.feature == "network_rtt_ms").curve
    assert [stretch for stretch in slow if stretch.label is not None][-1].effect.value > 0.0


def test_a_feature_with_many_values_has_a_stretch_for_the_others():
    feature = features()[feature_names().index("issuer")]
    values = np.array([*range(12), *range(8), np.nan], float)
    found = stretches(feature, values, tuple(f"bank {k}" for k in range(12)))
    assert [one.label for one in found][-2:] == ["others", None]
    assert sum(int(one.of(values).sum()) for one in found) == len(values)


def test_a_merchant_s_own_columns_are_drivers_like_any_other(with_own, own_artefact):
    found = drivers(with_own, own_artefact, np.random.default_rng(0))
    for category in found.categories:
        wobble = next(driver for driver in category.drivers if driver.feature == "wobble")
        assert (wobble.label, wobble.unit, wobble.group) == ("a number that success rises with", "points", "amount")
        assert len(wobble.curve) > 2
        assert sum(group.shap.value for group in category.groups) == pytest.approx(1.0)


def test_attempts_in_another_order_have_the_same_features_beside_the_same_outcomes(table, artefact):
    ordered = table.sort_values("created_at", kind="stable", ignore_index=True)
    newest_first = ordered.iloc[::-1].reset_index(drop=True)
    one, other = (known(attempts, artefact, np.random.default_rng(0)) for attempts in (ordered, newest_first))
    assert one.created.tolist() == other.created.tolist()
    np.testing.assert_array_equal(one.outcome, other.outcome)
    np.testing.assert_array_equal(one.matrix, other.matrix)
    first, again = (first_attempts(attempts, artefact) for attempts in (ordered, newest_first))
    assert first.table["attempt_id"].tolist() == again.table["attempt_id"].tolist()
    np.testing.assert_array_equal(first.matrix, again.matrix)
    np.testing.assert_array_equal(first.success, again.success)
