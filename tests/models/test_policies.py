"""Policies: probabilities that are exact, choices that follow them, and nothing that a rule forbids."""

import math
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import BadInput
from models import policy_names, success_rate
from models.fees import Fee, Fees, read_fees
from models.policies import (
    LEAST_PROPENSITY,
    Always,
    Budget,
    Decision,
    Explore,
    Greedy,
    Learner,
    Rules,
    Way,
    chance,
    draw,
)
from models.policy_names import policy_named, read_pins
from models.success_rate import SuccessRate

FEES = Fees("EUR", {"north": Fee(1.0, 0.5), "harbor": Fee(10.0, 5.0)}, others=Fee(3.0, 1.0))

ways = st.lists(
    st.builds(
        Way,
        st.just("option"),
        st.sampled_from(["card", "wallet"]),
        st.sampled_from([None, "north", "harbor"]),
        st.sampled_from([None, "challenge"]),
        st.integers(0, 3600),
        st.none() | st.floats(0, 1),
        st.none() | st.floats(-100, 100),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=12,
)


def ended(route, succeeded, at=0, **fields):
    outcome = "success" if succeeded else "bank_decline"
    return {"country": "KR", "method": "card", "route": route, "outcome": outcome, "resolved_at": at} | fields


def with_outcomes(seed):
    policy = SuccessRate()
    rng = np.random.default_rng(seed)
    for at in range(200):
        route = ("north", "harbor")[rng.integers(2)]
        policy.record(ended(route, rng.random() < (0.9 if route == "north" else 0.3), at))
    return policy


EVERY = (
    Greedy(), Rules(), Explore(), Explore(0.5, 1.0), Always(route="north"), Budget(FEES, 0.1), SuccessRate(), with_outcomes(3),
)  # fmt: skip


@given(ways, st.sampled_from(range(len(EVERY))))
def test_probabilities_are_one_for_each_way_and_sum_to_1(found, which):
    told = EVERY[which].probabilities(Decision(found, "KR", 100))
    assert len(told) == len(found)
    assert all(p >= 0.0 for p in told)
    assert math.fsum(told) == pytest.approx(1.0, abs=1e-12)


@given(ways, st.sampled_from(range(len(EVERY))))
def test_no_way_has_a_propensity_that_logs_cannot_judge_by(found, which):
    told = EVERY[which].probabilities(Decision(found, "KR", 100))
    assert min(p for p in told if p > 0.0) >= LEAST_PROPENSITY - 1e-12


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=8), st.floats(0, 1, exclude_max=True))
def test_a_draw_carries_the_propensity_of_what_it_falls_on(weights, u):
    told = [w / math.fsum(weights) for w in weights]
    drawn = draw(told, u)
    below = math.fsum(told[: drawn.place])
    assert drawn.propensity == told[drawn.place]
    assert below - 1e-9 <= u <= below + drawn.propensity + 1e-9
    assert drawn.explored == (drawn.place > 0)


def test_drawn_frequencies_are_the_propensities():
    told, n = [0.9, 0.0, 0.06, 0.04], 40_000
    drawn = np.bincount([draw(told, chance("explore", "after", f"a{i}")).place for i in range(n)], minlength=4)
    for count, p in zip(drawn, told, strict=True):
        assert abs(count - n * p) <= 4.5 * math.sqrt(n * p * (1 - p))


def test_the_same_question_gets_the_same_chance_and_another_salt_another():
    assert chance("a1", "after") == chance("a1", "after")
    assert chance("a1", "after") != chance("a1", "after", salt="other")


@pytest.mark.parametrize("told", [[], [0.5, 0.4], [1.5, -0.5], [float("nan"), 1.0]])
def test_numbers_that_are_no_probabilities_are_not_drawn_from(told):
    with pytest.raises(ValueError, match="no probabilities"):
        draw(told, 0.5)


def test_exploration_leaves_out_what_is_clearly_worse():
    found = [Way("a", "card", success=s) for s in (0.8, 0.76, 0.74, None)]
    assert Explore(share=0.04, within=0.05).probabilities(Decision(found)) == [0.96, 0.04, 0.0, 0.0]


def test_exploration_goes_by_value_where_it_is_known():
    found = [Way("a", "card", success=0.8, value=80.0), Way("b", "card", success=0.8, value=60.0)]
    assert Explore().probabilities(Decision(found, amount_minor=100)) == [1.0, 0.0]


def test_rules_take_what_the_table_prefers_whatever_the_model_says():
    found = [Way("a", "card", success=0.9, place=2), Way("b", "card", 0, success=0.1, place=0)]
    assert Rules().probabilities(Decision(found)) == [0.0, 1.0]


def test_always_takes_what_is_pinned_evenly_and_else_what_the_engine_would():
    found = [Way("a", "card", "north"), Way("b", "card", "harbor"), Way("c", "card", "harbor", "challenge")]
    assert Always(route="harbor").probabilities(Decision(found)) == [0.0, 0.5, 0.5]
    assert Always(route="summit").probabilities(Decision(found)) == [1.0, 0.0, 0.0]


def test_a_budget_takes_the_better_way_only_while_it_is_worth_its_fee():
    found = [Way("a", "card", "harbor", success=0.6), Way("b", "card", "north", success=0.4)]
    assert Budget(FEES, 0.0).probabilities(Decision(found)) == [1.0, 0.0]
    assert Budget(FEES, 0.1).probabilities(Decision(found)) == [0.0, 1.0]


def test_what_no_fee_is_named_for_costs_a_budget_nothing():
    found = [Way("a", "card", "harbor", success=0.6), Way("b", "wallet", None, success=0.4)]
    assert Budget(Fees("EUR", {"harbor": Fee(10.0, 5.0)}), 0.1).probabilities(Decision(found)) == [0.0, 1.0]


class TestSuccessRate:
    FOUND = (Way("a", "card", "north"), Way("b", "card", "harbor"), Way("c", "card", "summit"))

    def told(self, policy, at=1_000):
        return policy.probabilities(Decision(self.FOUND, "KR", 100, at))

    def feed(self, policy, route, hits, misses, at=0):
        for succeeded in [False] * misses + [True] * hits:
            policy.record(ended(route, succeeded, at))

    def test_before_any_outcome_the_engine_s_own_choice_comes_first(self):
        assert self.told(SuccessRate()) == [0.95, 0.025, 0.025]

    def test_the_best_rate_is_taken(self):
        policy = SuccessRate()
        self.feed(policy, "north", 60, 40)
        self.feed(policy, "harbor", 90, 10)
        assert np.argmax(self.told(policy)) == 1

    def test_a_way_under_the_threshold_is_not_even_explored_until_it_has_rested(self):
        policy = SuccessRate(rest_s=60.0)
        self.feed(policy, "north", 90, 10)
        self.feed(policy, "harbor", 10, 90)
        assert self.told(policy, at=59_000_000)[1] == 0.0
        assert self.told(policy, at=60_000_000)[1] == 0.025

    def test_only_the_last_outcomes_count(self):
        policy = SuccessRate(window=100)
        self.feed(policy, "harbor", 0, 400)
        self.feed(policy, "harbor", 100, 0)
        self.feed(policy, "north", 90, 10)
        assert np.argmax(self.told(policy)) == 1

    def test_outcomes_of_another_country_do_not_count(self):
        policy = SuccessRate()
        for _ in range(50):
            policy.record(ended("harbor", True, country="JP"))
            policy.record(ended("north", True))
        assert np.argmax(self.told(policy)) == 0

    def test_what_is_pending_teaches_nothing(self):
        policy = SuccessRate()
        self.feed(policy, "north", 1, 1)
        for _ in range(50):
            policy.record(ended("north", False, outcome=None))
        assert np.argmax(self.told(policy)) == 0

    def test_a_way_that_does_not_tell_its_flow_goes_by_all_flows_of_its_route(self):
        policy = SuccessRate(explore=0.0)
        for flow in ("challenge", "none") * 20:
            policy.record(ended("north", False, auth_flow=flow))
            policy.record(ended("harbor", True, auth_flow=flow))
        assert self.told(policy) == [0.0, 1.0, 0.0]

    def test_a_way_with_a_flow_goes_by_that_flow_alone(self):
        policy = SuccessRate(explore=0.0)
        for _ in range(40):
            policy.record(ended("north", True, auth_flow="challenge"))
            policy.record(ended("north", False, auth_flow="none"))
        found = [Way("a", "card", "north", "none"), Way("b", "card", "north", "challenge")]
        assert policy.probabilities(Decision(found, "KR")) == [0.0, 1.0]

    def test_routes_without_end_do_not_fill_the_memory(self, monkeypatch):
        monkeypatch.setattr(success_rate, "_MOST_WINDOWS", 10)
        policy = SuccessRate()
        for number in range(100):
            policy.record(ended(f"route-{number}", True))
        assert len(policy._windows) == 10

    def test_it_is_told_of_outcomes_by_whoever_keeps_them_and_greedy_is_not(self):
        assert isinstance(SuccessRate(), Learner)
        assert not isinstance(Greedy(), Learner)

    def test_so_many_ways_that_exploration_would_be_too_thin_are_explored_by_the_best_five(self):
        found = [Way("a", "card", f"r{i}") for i in range(20)]
        told = SuccessRate().probabilities(Decision(found, "KR"))
        assert sorted(told)[-6:] == [0.01] * 5 + [0.95]

    def test_settings_out_of_range_are_refused(self):
        with pytest.raises(BadInput, match=r"success_rate:explore '0.9': want 0 to 0.5"):
            SuccessRate(explore=0.9)


class TestNames:
    @pytest.mark.parametrize("name", ["rules", "success_rate", "greedy", "explore"])
    def test_a_policy_goes_by_its_name(self, name):
        assert policy_named(name).name == name

    def test_settings_follow_the_name(self):
        assert policy_named("explore:share=0.02,within=0.1") == Explore(0.02, 0.1)
        assert policy_named("always:route=north").name == "always:route=north"
        assert policy_named("success_rate:window=50").window == 50

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("best", "want one of rules, success_rate, greedy, explore, always"),
            ("greedy:share=1", "'share': want no settings"),
            ("explore:part=1", "'part': want one of share, within"),
            ("explore:share=much", "'much': want a number, such as 0.04"),
            ("explore:share", "explore:NAME=VALUE"),
            ("explore:share=0.001", "'0.001': want 0.01 to 0.5"),
            ("always", "a pin, such as always:route=north"),
            ("budget:price=0.1", "and fees to weigh by"),
        ],
    )
    def test_what_is_no_policy_is_told_with_what_there_is(self, name, said):
        with pytest.raises(BadInput) as told:
            policy_named(name)
        assert said in str(told.value)

    def test_a_merchant_s_own_policy_is_an_entry_point(self, monkeypatch):
        entry = EntryPoint("thrifty", "models.policies:Rules", policy_names.GROUP)
        monkeypatch.setattr(policy_names, "entry_points", lambda group: [entry] if group == policy_names.GROUP else [])
        assert policy_named("thrifty") == Rules()

    def test_an_entry_point_that_makes_no_policy_is_refused(self, monkeypatch):
        entry = EntryPoint("broken", "builtins:dict", policy_names.GROUP)
        monkeypatch.setattr(policy_names, "entry_points", lambda group: [entry])
        with pytest.raises(BadInput, match="'broken': want an object with `name` and `probabilities`"):
            policy_named("broken")

    def test_an_entry_point_that_fails_is_refused_with_its_error(self, monkeypatch):
        entry = EntryPoint("gone", "models.no_such_module:Policy", policy_names.GROUP)
        monkeypatch.setattr(policy_names, "entry_points", lambda group: [entry])
        with pytest.raises(BadInput, match="gone cannot be made \\(ModuleNotFoundError"):
            policy_named("gone")

    def test_a_budget_weighs_fees_by_its_price(self):
        assert policy_named("budget:price=0.1", FEES) == Budget(FEES, 0.1)

    @pytest.mark.parametrize("name", ["budget", "budget:price=dear", "budget:price=0.1,fee=2", "budget:price=-1"])
    def test_a_budget_without_a_price_that_can_be_used_is_refused(self, name):
        with pytest.raises(BadInput, match="budget"):
            policy_named(name, FEES)

    def test_pins_are_read(self):
        assert read_pins("always:method=card, route=north") == {"method": "card", "route": "north"}


class TestFees:
    def test_a_file_is_read(self, tmp_path):
        path = tmp_path / "fees.yaml"
        path.write_text(
            "currency: EUR\nmargin: 0.2\nfees:\n  north: {success: 3, failure: 1}\n  harbor: {success: 5}\n"
        )
        fees = read_fees(path)
        assert (fees.margin, fees.of("north", "card"), fees.of("harbor", "card")) == (0.2, (3.0, 1.0), (5.0, 0.0))
        with pytest.raises(BadInput, match="route 'summit': want one of north, harbor"):
            fees.of("summit", "card")

    def test_fees_may_be_by_method_with_others(self):
        fees = Fees("EUR", {"wallet": Fee(1.0, 0.0)}, by="method", others=Fee(2.0, 1.0))
        assert (fees.of("north", "wallet").success, fees.of("north", "card").success) == (1.0, 2.0)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[", "is no YAML"),
            ("margin: 1", "want `fees`"),
            ("currency: XXQ\nfees: {a: {success: 1}}", "currency 'XXQ': want an ISO 4217 code"),
            ("currency: EUR\nmargin: 2\nfees: {a: {success: 1}}", "margin '2': want a share above 0"),
            ("currency: EUR\nby: land\nfees: {a: {success: 1}}", "by 'land': want route or method"),
            ("currency: EUR\nfees: {a: {success: -1}}", "a '-1': want fees from 0"),
            ("currency: EUR\nfees: {a: 3}", "a '3': want {success: FEE, failure: FEE}"),
            ("currency: EUR\nfee: 1\nfees: {a: {success: 1}}", "fee: want one of currency"),
        ],
    )
    def test_what_cannot_be_used_is_told(self, tmp_path, text, said):
        path = tmp_path / "fees.yaml"
        path.write_text(text)
        with pytest.raises(BadInput) as told:
            read_fees(path)
        assert said in str(told.value)

    def test_a_file_that_is_not_there_is_told(self, tmp_path):
        with pytest.raises(BadInput, match="cannot be read"):
            read_fees(tmp_path / "none.yaml")
