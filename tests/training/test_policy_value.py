"""Estimates of policies: right on known worlds, intervals that hold what they promise, and refusals that say what would do."""

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.policies import covered, judged, known_world
from training.policy_value import ESTIMATORS, LEAST_ESS, doubt_of, estimates, weigh

WORLDS = 60


def test_ips_and_snips_are_the_sums_that_they_are_said_to_be():
    target, propensity = np.array([1.0, 0.0, 0.5]), np.array([0.5, 0.5, 0.25])
    reward = np.array([1.0, 1.0, 0.0])
    found = estimates(weigh(target, propensity, np.arange(3)), reward, resamples=50)
    assert found["ips"].value == pytest.approx(2.0 / 3.0)
    assert found["snips"].value == pytest.approx(0.5)
    assert set(found) == {"ips", "snips"}


def test_dm_is_the_mean_of_what_the_model_expects_and_dr_corrects_it_by_what_came():
    target, propensity = np.array([1.0, 0.0, 0.5]), np.array([0.5, 0.5, 0.25])
    reward, expected, done = np.array([1.0, 1.0, 0.0]), np.array([0.6, 0.2, 0.4]), np.array([0.6, 0.3, 0.5])
    found = estimates(weigh(target, propensity, np.arange(3)), reward, expected, done, resamples=50)
    assert found["dm"].value == pytest.approx(0.4)
    assert found["dr"].value == pytest.approx(0.4 + (2.0 * 0.4 - 2.0 * 0.5) / 3.0)


def test_the_policy_that_logged_is_worth_what_came_of_it():
    world = known_world(1)
    propensity = world.propensity[world.situation, world.done]
    found = estimates(weigh(propensity, propensity, world.payment), world.success, resamples=50)
    assert found["ips"].value == found["snips"].value == pytest.approx(world.success.mean())


def test_intervals_hold_the_true_value_as_often_as_they_promise():
    shares, worlds = covered(range(WORLDS), resamples=300)
    assert worlds == WORLDS
    for name in ESTIMATORS:
        hits = round(shares[name] * worlds)
        # Of sixty worlds, with a true coverage from 0.93 to 0.97, so few or so many happen once in two hundred times
        assert binom.ppf(0.005, worlds, 0.93) <= hits <= binom.ppf(0.995, worlds, 0.97)


def test_doubly_robust_is_right_with_a_wrong_model_and_the_direct_method_says_that_it_may_not_be():
    world = known_world(5, payments=6000)
    wrong = np.full(len(world.done), 0.9)
    weighed = weigh(
        world.policy[world.situation, world.done], world.propensity[world.situation, world.done], world.payment
    )
    found = estimates(weighed, world.success, wrong, wrong, resamples=300)
    assert found["dr"].low <= world.value <= found["dr"].high
    assert found["dm"].value == pytest.approx(0.9)
    assert found["dm"].low <= world.value


def test_attempts_of_one_payment_are_no_independent_evidence():
    world = known_world(3)
    weighed = weigh(
        world.policy[world.situation, world.done], world.propensity[world.situation, world.done], world.payment
    )
    apart = weigh(
        world.policy[world.situation, world.done],
        world.propensity[world.situation, world.done],
        np.arange(len(world.done)),
    )
    # Every payment twice, once as itself and once more: nothing is learnt from the second
    twice = {name: np.tile(values, 2) for name, values in {"w": weighed.weights, "r": world.success}.items()}
    doubled = weigh(twice["w"], np.ones(len(twice["w"])), np.tile(np.arange(len(world.done)), 2))
    alone = estimates(apart, world.success, resamples=300)["snips"]
    same = estimates(doubled, twice["r"], resamples=300)["snips"]
    assert same.high - same.low == pytest.approx(alone.high - alone.low, rel=0.1)


def test_the_same_seed_gives_the_same_intervals():
    assert judged(known_world(2), 100) == judged(known_world(2), 100)


class TestDoubt:
    def test_enough_that_was_done_is_not_doubted(self):
        assert doubt_of(weigh(np.ones(400), np.full(400, 0.5), np.arange(400))) is None

    def test_few_effective_attempts_are_refused_and_it_is_said_how_many_more_would_do(self):
        target = np.zeros(1000)
        target[:100] = 1.0
        doubt = doubt_of(weigh(target, np.full(1000, 0.1), np.arange(1000)))
        assert "1,000 decisions are worth only 100 for this policy; want 200" in str(doubt)
        assert "about 1,000 more decisions" in str(doubt)

    def test_ess_at_the_limit_is_enough(self):
        n = int(LEAST_ESS)
        assert doubt_of(weigh(np.ones(n), np.ones(n), np.arange(n))) is None

    def test_a_propensity_under_a_hundredth_for_what_the_policy_does_is_refused(self):
        propensity = np.full(1000, 0.5)
        propensity[3] = 0.009
        doubt = doubt_of(weigh(np.ones(1000), propensity, np.arange(1000)))
        assert "1 of 1,000 decisions were logged with a propensity under 0.01 (down to 0.009)" in str(doubt)
        assert "let the logged policy explore" in str(doubt)

    def test_a_small_propensity_of_what_the_policy_never_does_is_no_matter(self):
        propensity, target = np.full(1000, 0.5), np.ones(1000)
        propensity[3], target[3] = 0.009, 0.0
        assert doubt_of(weigh(target, propensity, np.arange(1000))) is None

    def test_what_was_never_done_is_refused(self):
        assert "explore" in str(doubt_of(weigh(np.zeros(500), np.full(500, 0.5), np.arange(500))))

    def test_a_policy_that_mostly_does_what_was_never_done_is_refused(self):
        # It was done with a propensity of 0.5 in half of the decisions, never in the others
        target = np.tile([1.0, 0.0, 0.0, 0.0], 500)
        doubt = doubt_of(weigh(target, np.full(2000, 0.5), np.arange(2000)))
        assert "50% of what the policy does was never done" in str(doubt)

    def test_what_is_done_as_logged_needs_no_propensity(self):
        assert doubt_of(weigh(np.zeros(300), np.full(300, 0.001), np.arange(300), np.ones(300, bool))) is None
