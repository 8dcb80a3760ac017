"""The estimator on data whose answer is known, and what it is allowed to say."""

import numpy as np
import pytest

from features.definitions import feature_names
from features.own import OwnColumn, all_features
from insights.opportunities_covariates import covariates, design
from insights.opportunities_evidence import is_randomised
from insights.opportunities_robust import Question, gain, naive, weigh

EFFECT = 0.1


def drawn(seed, n=2500, confounded=2.0):
    """Cases whose first covariate drives both the side and the success; the other side adds EFFECT."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    before = rng.random(n) < 1.0 / (1.0 + np.exp(-confounded * x[:, 0]))
    chance = np.clip(0.5 - 0.1 * x[:, 0] + EFFECT * ~before, 0.0, 1.0)
    return Question.of(x, before, rng.integers(0, n // 2, n), rng), (rng.random(n) < chance).astype(float)


def told(seed, **given):
    question, value = drawn(seed, **given)
    rng = np.random.default_rng(seed)
    return gain(question, weigh(question, rng), value, rng).measure, naive(question.before, value)


def test_the_effect_is_found_where_a_plain_comparison_is_far_off():
    robust, plain = told(0, n=20_000)
    assert robust.value == pytest.approx(EFFECT, abs=0.025)
    assert plain.value > EFFECT + 0.1


def test_intervals_hold_the_effect_as_often_as_they_say():
    found = [told(seed)[0] for seed in range(50)]
    assert (
        sum(one.low <= EFFECT <= one.high for one in found) >= 43
    )  # of 50, 47 or 48; fewer by chance once in a hundred


def test_weights_make_the_other_side_look_like_those_that_would_change():
    question, _ = drawn(1, confounded=1.0)
    weighted = weigh(question, np.random.default_rng(0))
    w, before = weighted.w, question.before
    assert (
        weighted.imbalance
        < 0.1
        < abs(question.design[before].mean(axis=0) - question.design[~before].mean(axis=0)).max()
    )
    assert w[~before].sum() == pytest.approx(w[before].sum())
    assert weighted.size < (~before).sum()


def test_attempts_without_their_like_are_left_out():
    rng = np.random.default_rng(0)
    alone = rng.random(3000) < 0.3
    before = alone | (rng.random(3000) < 0.5)
    x = (alone - alone.mean()) / alone.std()
    weighted = weigh(Question.of(x[:, None], before, np.arange(3000), rng), rng)
    assert weighted.reached == pytest.approx(1.0 - alone[before].mean())
    assert (weighted.w[alone] == 0.0).all()


def test_a_customer_s_attempts_count_as_one_piece_of_evidence():
    question, value = drawn(2)
    twice = Question.of(
        np.repeat(question.design, 2, axis=0), np.repeat(question.before, 2), np.repeat(question.customer, 2),
        np.random.default_rng(0),
    )  # fmt: skip
    errors = []
    for asked, values in ((question, value), (twice, np.repeat(value, 2))):
        rng = np.random.default_rng(0)
        errors.append(gain(asked, weigh(asked, rng), values, rng).error)
    assert errors[1] == pytest.approx(errors[0], rel=0.15)


def test_logged_propensities_are_believed():
    rng = np.random.default_rng(5)
    n = 20_000
    hidden = rng.random(n) < 0.5
    chance = np.where(hidden, 0.8, 0.2)  # of being on this side; nothing else tells
    before = rng.random(n) < chance
    value = (rng.random(n) < 0.4 + 0.2 * hidden + EFFECT * ~before).astype(float)
    question = Question.of(hidden[:, None].astype(float), before, np.arange(n), rng)
    weighted = weigh(question, rng, np.where(before, chance, 1.0 - chance))
    assert gain(question, weighted, value, rng).value == pytest.approx(EFFECT, abs=0.03)


def test_a_lottery_with_its_propensities_is_randomised_and_a_choice_is_not():
    rng = np.random.default_rng(0)
    n = 5000
    everyone, one = np.ones(n, bool), np.zeros(n, int)
    won = rng.random(n) < 0.3
    assert is_randomised(np.where(won, 0.3, 0.7), everyone, won, ~won, one)
    chosen = rng.random(n) < 0.5
    assert not is_randomised(np.where(chosen, 0.3, 0.7), everyone, chosen, ~chosen, one)
    assert not is_randomised(np.where(won, np.nan, 0.7), everyone, won, ~won, one)


def test_what_a_change_moves_along_is_no_covariate():
    names = feature_names()
    of_route, of_steps = ({names[place] for place in covariates({column})} for column in ("route", "auth_steps"))
    assert not {"route", "route_success_rate_30d", "issuer_route_success_rate_1d"} & of_route
    assert {"method", "auth_steps", "issuer"} <= of_route
    assert not {"method", "auth_flow", "card_brand", "issuer"} & of_steps
    assert {"country", "prior_payments", "channel"} <= of_steps


def test_own_columns_are_compared_by_unless_they_belong_to_what_changes():
    own = tuple(
        OwnColumn(f"my_{group}", f"my {group}", "-", group, "numeric") for group in ("customer", "route", "method")
    )
    names = [feature.name for feature in all_features(own)]
    found = {
        column: {names[place] for place in covariates({column}, own)} for column in ("route", "form_errors", "my_route")
    }
    assert found["route"] & {one.name for one in own} == {"my_customer", "my_method"}
    assert found["form_errors"] >= {one.name for one in own}
    assert "my_route" not in found["my_route"]
    matrix = np.random.default_rng(0).normal(size=(200, len(names))).astype(np.float32)
    assert design(matrix, [len(names) - 1], own).shape[1] >= 1


def test_covariates_are_standardised_and_tell_what_is_missing():
    rng = np.random.default_rng(0)
    matrix = np.full((500, len(feature_names())), np.nan, np.float32)
    matrix[:, 0] = np.where(rng.random(500) < 0.3, np.nan, rng.lognormal(3.0, 1.0, 500))
    made = design(matrix, [0])
    assert made.shape == (500, 4)
    assert np.isfinite(made).all()
    assert np.abs(made.mean(axis=0)).max() < 0.4
