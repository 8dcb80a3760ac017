"""What an answer says of the policy that chose: its name, an exact propensity, and never a blocked choice."""

import math
from collections import Counter

import pytest

from models.engine import Engine, ScoreRequest
from models.policies import Explore, Rules

ATTEMPT = {
    "payment_id": "p1", "created_at": 1_767_605_400_000_000, "amount_minor": 38_000, "currency": "KRW", "country": "KR",
    "method": "card", "route": "north", "auth_flow": "frictionless",
}  # fmt: skip
SAME = {"candidate_id": "same", "method": "card", "route": "north"}
OTHER = {"candidate_id": "other", "method": "card", "route": "harbor"}
WALLET = {"candidate_id": "wallet", "method": "wallet"}
LOST = {"code_scheme": "iso8583", "response_code": "41"}
SILENT = {"code_scheme": "iso8583", "response_code": "05"}
CALLS = 4_000


class Model:
    fingerprint = "sha256:0"
    code_text = None
    plausible = None

    def __init__(self, success):
        self.success = success

    def ways_to_pay(self, country):
        return [("card", "north"), ("wallet", None)]

    def outcome(self, attempt, previous):
        return [self.success["same"], *[(1 - self.success["same"]) / 4] * 4]

    def candidate_success(self, attempt, previous, candidates):
        return [self.success[candidate.get("candidate_id", "same")] for candidate in candidates]

    def reasons(self, attempt, previous, evidence):
        return {"generic_decline": 1.0}


class Own:
    """A merchant's own policy that keeps what it was asked."""

    name = "own"

    def __init__(self, told=None):
        self.told, self.asked = told, []

    def probabilities(self, decision):
        self.asked.append(decision)
        return self.told or [1 / len(decision.ways)] * len(decision.ways)


def ask(policy, success, evidence=SILENT, attempt_id="a1", **options):
    request = ScoreRequest(ATTEMPT | {"attempt_id": attempt_id}, evidence, (), (SAME, OTHER, WALLET))
    return Engine(Model(success), policy=policy, **options).score(request, request_id="r")


CLOSE = {"same": 0.3, "other": 0.70, "wallet": 0.68}


def test_without_a_policy_the_best_is_taken_for_certain():
    assert ask(None, CLOSE)["policy"] == {
        "name": "greedy", "propensity": 1.0, "explored": False, "experiment": None, "variant": None,
    }  # fmt: skip


@pytest.mark.parametrize("evidence", [None, SILENT])
def test_what_is_drawn_has_the_frequency_of_its_propensity_and_is_explored_when_it_is_not_the_best(evidence):
    success = CLOSE if evidence else CLOSE | {"same": 0.6}
    drawn = Counter()
    for i in range(CALLS):
        answer = ask(Explore(share=0.1), success, evidence, f"a{i}")
        drawn[answer["suggestion"]["candidate_id"], answer["policy"]["propensity"], answer["policy"]["explored"]] += 1
    assert set(drawn) == {("other", 0.9, False), ("wallet", 0.1, True)}
    assert abs(drawn["wallet", 0.1, True] - CALLS * 0.1) <= 4.5 * math.sqrt(CALLS * 0.09)


def test_the_same_attempt_is_answered_the_same_whatever_the_request():
    answers = [ask(Explore(share=0.5), CLOSE)["suggestion"] for _ in range(20)]
    assert all(answer == answers[0] for answer in answers)


def test_another_salt_draws_otherwise():
    told = {ask(Explore(share=0.5), CLOSE, salt=f"s{i}")["suggestion"]["candidate_id"] for i in range(40)}
    assert told == {"other", "wallet"}


def test_words_and_message_are_those_of_what_was_drawn():
    answers = [ask(Explore(share=0.5), CLOSE, attempt_id=f"a{i}") for i in range(40)]
    explored = next(answer for answer in answers if answer["policy"]["explored"])
    assert explored["suggestion"]["action"] == "alternate_method"
    assert explored["suggestion"]["message_key"] == "try_other_method"
    assert any("wallet: 68% likely to succeed, against 70%" in line for line in explored["suggestion"]["because"])


def test_a_policy_is_never_offered_what_a_rule_blocks():
    own = Own()
    for i in range(200):
        answer = ask(own, CLOSE, LOST, f"a{i}")
        blocked = {entry["candidate_id"] for entry in answer["blocked"]}
        assert blocked >= {"same", "other"}
        assert answer["suggestion"]["candidate_id"] not in blocked
    assert all(way.method == "wallet" for decision in own.asked for way in decision.ways)


def test_a_policy_sees_the_engine_s_choice_first_and_what_the_attempt_leaves_unsaid():
    own = Own()
    ask(own, CLOSE)
    (decision,) = own.asked
    first, *others = decision.ways
    assert (first.method, first.route, first.auth_flow, first.success) == ("card", "harbor", "frictionless", 0.7)
    assert first.value == pytest.approx(0.7 * 38_000)
    assert {(way.method, way.route, way.auth_flow) for way in others} == {
        ("wallet", None, None),
        ("card", "north", "frictionless"),
    }
    assert (decision.country, decision.amount_minor, decision.at) == ("KR", 38_000, ATTEMPT["created_at"])


def test_going_on_as_it_is_can_be_drawn_before_an_attempt_though_no_candidate_says_it():
    request = ScoreRequest(ATTEMPT | {"attempt_id": "a1"}, None, (), (WALLET,))
    own = Own()
    Engine(Model({"same": 0.7, "wallet": 0.72}), policy=own).score(request, request_id="r")
    assert [way.action for way in own.asked[0].ways] == ["proceed", "alternate_method"]


def test_the_rules_policy_leaves_an_attempt_as_it_is():
    answer = ask(Rules(), {"same": 0.1, "other": 0.2, "wallet": 0.9}, evidence=None)
    assert (answer["suggestion"]["action"], answer["policy"]["name"]) == ("proceed", "rules")


def test_what_comes_before_any_choice_is_not_drawn():
    own = Own()
    answer = ask(own, CLOSE, {"last_event": "timed_out"})
    assert answer["suggestion"]["action"] == "check_status_first"
    assert (answer["policy"]["propensity"], own.asked) == (1.0, [])


@pytest.mark.parametrize("told", [[0.5, 0.5], [0.5, 0.5, 0.5], [2.0, -1.0, 0.0]])
def test_a_policy_that_gives_no_probabilities_leaves_the_answer_to_the_rules(told):
    answer = ask(Own(told), CLOSE)
    assert answer["degraded"]
    assert (answer["policy"]["name"], answer["policy"]["propensity"]) == ("rules", 1.0)


def test_without_a_model_the_rules_choose():
    request = ScoreRequest(ATTEMPT | {"attempt_id": "a1"}, SILENT, (), (SAME, OTHER, WALLET))
    answer = Engine(None, policy=Explore(share=0.5)).score(request, request_id="r")
    assert (answer["policy"]["name"], answer["policy"]["explored"]) == ("rules", False)
