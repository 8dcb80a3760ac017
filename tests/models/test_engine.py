import copy
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.columns import OUTCOMES
from features.taxonomy import explain_code, reasons
from models.actions import ACTIONS, MEANS_ACTIONS
from models.engine import Engine, EngineSettings, ScoreRequest
from models.messages import message_keys

ATTEMPT = {
    "attempt_id": "a1",
    "payment_id": "p1",
    "created_at": 1_767_605_400_000_000,
    "amount_minor": 38_000,
    "currency": "KRW",
    "country": "KR",
    "method": "card",
    "route": "north",
    "auth_flow": "frictionless",
}
SAME = {"candidate_id": "same", "method": "card", "route": "north"}
OTHER_ROUTE = {"candidate_id": "route", "method": "card", "route": "harbor"}
STEP_UP = {"candidate_id": "step", "method": "card", "route": "north", "auth_flow": "challenge"}
LATER = {"candidate_id": "later", "method": "card", "route": "north", "wait_s": 3600}
WALLET = {"candidate_id": "wallet", "method": "wallet"}
EVERY = (SAME, OTHER_ROUTE, STEP_UP, LATER, WALLET)
LOST = {"code_scheme": "iso8583", "response_code": "41"}
SILENT = {"code_scheme": "iso8583", "response_code": "05"}


class FakePredictor:
    fingerprint = "sha256:0"
    code_text = None
    plausible = None

    def __init__(self, success=None, reasons=None, outcome=0.6):
        self.success = success or {}
        self.probabilities = reasons or {"generic_decline": 1.0}
        self.first = outcome
        self.asked = []

    def ways_to_pay(self, country):
        return [("quick_pay", None), ("card", "north"), *((f"way_{i}", None) for i in range(20))]

    def outcome(self, attempt, previous):
        return [self.first, *[(1 - self.first) / 4] * 4]

    def candidate_success(self, attempt, previous, candidates):
        self.asked.append((attempt, tuple(previous), candidates))
        return [self.success.get(candidate.get("candidate_id"), 0.1) for candidate in candidates]

    def reasons(self, attempt, previous, evidence):
        return self.probabilities


class BrokenPredictor(FakePredictor):
    def outcome(self, attempt, previous):
        raise ValueError(f"cannot score {attempt['attempt_id']}")


def ask(predictor=None, evidence=None, candidates=EVERY, attempt=ATTEMPT, previous=(), **options):
    engine = Engine(predictor, version="7", **options)
    return engine.score(ScoreRequest(attempt, evidence, previous, candidates), request_id="r1")


def test_an_answer_has_the_contract_s_members():
    answer = ask(FakePredictor(), SILENT)
    assert list(answer) == [
        *("request_id", "attempt_id", "degraded", "model", "outcome"),
        *("diagnosis", "suggestion", "ranking", "blocked", "policy"),
    ]
    assert list(answer["outcome"]) == list(OUTCOMES)
    assert list(answer["suggestion"]) == [
        *("action", "candidate_id", "method", "route", "wait_s", "success_probability"),
        *("expected_value", "message_key", "because"),
    ]
    assert answer["model"] == {"name": "payrescue", "version": "7", "features": "sha256:0"}
    assert answer["policy"]["propensity"] == 1.0


class TestBeforeTheAttempt:
    def test_nothing_is_diagnosed(self):
        assert ask(FakePredictor())["diagnosis"] is None

    def test_the_attempt_proceeds_if_nothing_is_clearly_better(self):
        answer = ask(FakePredictor({"wallet": 0.64}, outcome=0.6))
        assert (answer["suggestion"]["action"], answer["suggestion"]["candidate_id"]) == ("proceed", "same")
        assert answer["suggestion"]["success_probability"] == answer["outcome"]["success"]

    def test_another_way_is_suggested_if_it_is_clearly_better(self):
        answer = ask(FakePredictor({"wallet": 0.66}, outcome=0.6))
        assert (answer["suggestion"]["action"], answer["suggestion"]["candidate_id"]) == (
            "alternate_method",
            "wallet",
        )

    def test_the_margin_is_a_setting(self):
        predictor = FakePredictor({"wallet": 0.66}, outcome=0.6)
        answer = ask(predictor, settings=EngineSettings(proceed_margin=0.1))
        assert answer["suggestion"]["action"] == "proceed"

    def test_an_attempt_that_is_no_candidate_may_still_proceed(self):
        answer = ask(FakePredictor(), candidates=(WALLET,))
        assert answer["suggestion"]["action"] == "proceed"
        assert answer["suggestion"]["candidate_id"] is None
        assert answer["suggestion"]["route"] == "north"

    def test_without_candidates_the_ways_seen_in_the_country_are_looked_at_with_the_attempt_s_own_first(self):
        answer = ask(FakePredictor(), candidates=None)
        ids = [entry["candidate_id"] for entry in answer["ranking"]]
        assert len(ids) == 8
        assert {"card/north", "quick_pay"} <= set(ids)

    def test_without_a_model_the_attempt_proceeds(self):
        answer = ask(None)
        assert answer["suggestion"]["action"] == "proceed"
        assert answer["degraded"]
        assert answer["outcome"] is None


class TestAfterAFailure:
    def test_the_likeliest_allowed_candidate_is_suggested(self):
        answer = ask(FakePredictor({"route": 0.5, "wallet": 0.8}), SILENT)
        assert answer["suggestion"]["candidate_id"] == "wallet"
        assert answer["suggestion"]["expected_value"] == 30_400

    def test_of_equally_likely_candidates_the_table_s_preference_is_suggested(self):
        answer = ask(FakePredictor({"route": 0.5, "wallet": 0.502}), SILENT)
        assert answer["suggestion"]["action"] == "retry_other_route"

    def test_a_code_that_decides_is_not_overruled_by_the_model(self):
        answer = ask(FakePredictor(reasons={"processor_error": 1.0}), LOST)
        assert (answer["diagnosis"]["reason"], answer["diagnosis"]["decided_by"]) == (
            "lost_or_stolen",
            "code",
        )

    def test_where_the_code_is_silent_the_model_diagnoses(self):
        predictor = FakePredictor(reasons={"insufficient_funds": 0.7, "generic_decline": 0.3})
        diagnosis = ask(predictor, SILENT)["diagnosis"]
        assert (diagnosis["decided_by"], diagnosis["confidence"]) == ("model", 0.7)
        assert diagnosis["plausible"] == ["insufficient_funds", "generic_decline"]

    def test_a_lost_card_is_never_tried_again_however_likely_it_looks(self):
        answer = ask(FakePredictor({"same": 0.99, "route": 0.99, "step": 0.99, "later": 0.99, "wallet": 0.1}), LOST)
        assert answer["suggestion"]["candidate_id"] == "wallet"
        assert {block["candidate_id"] for block in answer["blocked"]} == {"same", "route", "step", "later"}

    def test_with_nothing_else_to_pay_with_a_lost_card_means_stop(self):
        answer = ask(FakePredictor({"same": 0.99}), LOST, candidates=(SAME, OTHER_ROUTE))
        assert answer["suggestion"]["action"] == "stop"

    def test_a_risk_block_is_not_routed_around(self):
        evidence = {"code_scheme": "stripe", "response_code": "fraudulent"}
        answer = ask(FakePredictor({"route": 0.99}), evidence)
        assert "route" in {block["candidate_id"] for block in answer["blocked"]}

    def test_visa_s_category_1_blocks_the_card_by_its_name_and_edition(self):
        evidence = {"code_scheme": "iso8583", "response_code": "57"}
        answer = ask(FakePredictor(), evidence, attempt={**ATTEMPT, "card_brand": "visa"})
        assert {"candidate_id": "route", "rule": "visa_category_1", "edition": "2026-04"} in answer["blocked"]

    def test_a_silent_code_with_never_in_its_advice_blocks_the_card(self):
        evidence = {"code_scheme": "iso8583", "response_code": "05", "advice_code": "03"}
        answer = ask(FakePredictor(), evidence, attempt={**ATTEMPT, "card_brand": "mastercard"})
        assert {block["rule"] for block in answer["blocked"]} == {"mastercard_mac_03"}
        assert answer["suggestion"]["candidate_id"] == "wallet"

    def test_the_same_card_waits_as_long_as_the_network_asks(self):
        evidence = {"code_scheme": "iso8583", "response_code": "05", "advice_code": "24"}
        attempt = {**ATTEMPT, "card_brand": "mastercard"}
        answer = ask(FakePredictor({"same": 0.9, "later": 0.8}), evidence, attempt=attempt)
        assert answer["suggestion"]["candidate_id"] == "later"
        assert {block["candidate_id"] for block in answer["blocked"]} == {"same", "route", "step"}

    def test_a_guess_forbids_nothing_until_it_is_firm(self):
        guess = {"lost_or_stolen": 0.4, "generic_decline": 0.35, "insufficient_funds": 0.25}
        assert ask(FakePredictor(reasons=guess), SILENT)["blocked"] == []
        firm = {"lost_or_stolen": 0.6, "generic_decline": 0.4}
        assert ask(FakePredictor(reasons=firm), SILENT)["blocked"] != []

    @pytest.mark.parametrize(
        ("evidence", "probabilities"),
        [
            ({"code_scheme": "iso8583", "response_code": "68"}, {"generic_decline": 1.0}),
            ({"last_event": "timed_out"}, {"processor_error": 1.0}),
            (SILENT, {"generic_decline": 0.75, "network_timeout": 0.25}),
        ],
    )
    def test_what_may_have_gone_through_is_checked_first(self, evidence, probabilities):
        answer = ask(FakePredictor({"wallet": 0.99}, probabilities), evidence)
        assert answer["suggestion"]["action"] == "check_status_first"
        assert answer["ranking"][0]["candidate_id"] == "wallet"

    @pytest.mark.parametrize("settling", [LOST, {"trans_status": "R"}])
    def test_a_client_s_timeout_does_not_matter_once_a_code_settles_the_cause(self, settling):
        answer = ask(FakePredictor({"wallet": 0.9}), {**settling, "last_event": "timed_out"})
        assert answer["suggestion"]["action"] == "alternate_method"

    def test_the_same_again_after_an_unfinished_challenge_is_called_resuming(self):
        answer = ask(FakePredictor({"same": 0.9}, {"challenge_abandoned": 1.0}), {"last_event": "challenge_closed"})
        assert (answer["suggestion"]["action"], answer["suggestion"]["candidate_id"]) == (
            "resume_session",
            "same",
        )

    def test_wrong_details_can_be_fixed_even_if_checkout_names_other_ways_only(self):
        evidence = {"code_scheme": "iso8583", "response_code": "54"}
        answer = ask(FakePredictor({None: 0.9, "wallet": 0.5}), evidence, candidates=(WALLET,))
        assert (answer["suggestion"]["action"], answer["suggestion"]["candidate_id"]) == ("fix_details", None)
        assert [entry["candidate_id"] for entry in answer["ranking"]] == ["wallet"]

    def test_the_ranking_is_by_success_probability(self):
        answer = ask(FakePredictor({"same": 0.2, "route": 0.9, "step": 0.5, "later": 0.4, "wallet": 0.7}), SILENT)
        assert [entry["candidate_id"] for entry in answer["ranking"]] == [
            "route",
            "wallet",
            "step",
            "later",
            "same",
        ]

    def test_the_failed_attempt_is_handed_to_the_model_as_the_latest_one(self):
        predictor = FakePredictor()
        earlier = {**ATTEMPT, "attempt_id": "a0"}
        ask(predictor, {**SILENT, "duration_s": 2.5}, previous=(earlier,))
        _, previous, _ = predictor.asked[-1]
        assert previous[0] == earlier
        assert previous[1]["attempt_id"] == "a1"
        assert previous[1]["resolved_at"] == ATTEMPT["created_at"] + 2_500_000
        assert (previous[1]["outcome"], previous[1]["reason"]) == ("bank_decline", "generic_decline")

    def test_evidence_without_anything_in_it_is_a_failure_all_the_same(self):
        assert ask(FakePredictor(), {})["diagnosis"]["reason"] == "generic_decline"

    def test_what_was_given_is_not_changed(self):
        given_ = copy.deepcopy((ATTEMPT, SILENT, EVERY))
        ask(FakePredictor(), SILENT)
        assert given_ == (ATTEMPT, SILENT, EVERY)

    def test_because_names_the_code_and_the_comparison(self):
        because = ask(FakePredictor({"wallet": 0.8, "route": 0.3}), {**SILENT, "response_code": "51"})["suggestion"][
            "because"
        ]
        assert because == [
            "code 51 (iso8583): there is not enough money on the account",
            "wallet: 80% likely to succeed, against 30% for card by harbor",
        ]

    def test_with_nothing_to_pay_with_even_an_unlikely_timeout_is_checked(self):
        guess = {
            "network_timeout": 0.19,
            "processor_error": 0.18,
            "user_cancelled": 0.36,
            "insufficient_funds": 0.27,
        }
        answer = ask(FakePredictor(reasons=guess), {}, candidates=())
        assert (answer["suggestion"]["action"], answer["degraded"]) == ("check_status_first", False)

    def test_because_says_nothing_twice_and_three_things_at_most(self):
        evidence = {"code_scheme": "iso8583", "response_code": "41", "advice_code": "24"}
        because = ask(FakePredictor({"wallet": 0.8}), evidence)["suggestion"]["because"]
        assert len(because) == len(set(because)) == 3
        attempt = {**ATTEMPT, "card_brand": "mastercard"}
        guess = FakePredictor({"later": 0.8}, {"lost_or_stolen": 1.0})
        silent = ask(guess, {**SILENT, "advice_code": "24"}, (*EVERY, {**LATER, "wait_s": 7200}), attempt)
        assert len(silent["suggestion"]["because"]) == 3


class TestWithoutAModel:
    def test_the_table_s_first_possible_action_is_suggested(self):
        answer = ask(None, SILENT, candidates=(WALLET, STEP_UP))
        assert (answer["suggestion"]["action"], answer["suggestion"]["candidate_id"]) == ("step_up", "step")
        assert answer["degraded"]

    def test_without_candidates_the_table_s_first_action_is_suggested(self):
        answer = ask(None, {"code_scheme": "iso8583", "response_code": "91"}, candidates=None)
        assert (answer["suggestion"]["action"], answer["suggestion"]["method"]) == ("alternate_method", None)

    def test_a_forbidden_card_is_not_suggested_to_a_checkout_that_named_nothing(self):
        evidence = {"code_scheme": "stripe", "response_code": "do_not_try_again"}
        assert ask(None, evidence, candidates=None)["suggestion"]["action"] == "alternate_method"

    def test_nothing_to_pay_with_leaves_what_needs_nothing(self):
        answer = ask(None, {"code_scheme": "iso8583", "response_code": "51"}, candidates=())
        assert answer["suggestion"]["action"] == "contact_bank"

    def test_nothing_known_still_gets_a_suggestion(self):
        answer = ask(None, {})
        assert answer["diagnosis"] is None
        assert answer["suggestion"]["action"] == "retry_other_route"

    def test_a_broken_model_is_answered_for_and_logged_without_values(self, caplog):
        with caplog.at_level(logging.ERROR):
            answer = ask(BrokenPredictor(), SILENT)
        assert answer["degraded"]
        assert answer["suggestion"]["action"] == "retry_other_route"
        assert "ValueError" in caplog.text
        assert "cannot score a1" not in caplog.text

    def test_a_model_that_may_not_be_asked_is_not_asked(self):
        predictor = FakePredictor()
        request = ScoreRequest(ATTEMPT, SILENT, (), EVERY)
        answer = Engine(predictor).score(request, request_id="r1", rules_only=True)
        assert answer["degraded"]
        assert predictor.asked == []


REASONS = list(reasons())
candidates_ = st.lists(
    st.fixed_dictionaries(
        {"method": st.sampled_from(["card", "wallet", "bank_transfer"])},
        optional={
            "route": st.sampled_from(["north", "harbor"]),
            "auth_flow": st.sampled_from(["none", "frictionless", "challenge", "redirect"]),
            "auth_steps": st.integers(0, 5),
            "stored": st.booleans(),
            "wait_s": st.floats(0, 90_000),
        },
    ),
    max_size=6,
).map(lambda rows: tuple({**row, "candidate_id": f"c{i}"} for i, row in enumerate(rows)))
evidences = st.fixed_dictionaries(
    {},
    optional={
        "code_scheme": st.sampled_from(["iso8583", "stripe", "adyen", "acme"]),
        "response_code": st.sampled_from(["05", "41", "51", "54", "68", "91", "R0", "94", "fraudulent", "12", "?"]),
        "advice_code": st.sampled_from(["01", "03", "21", "24", "30", "1", "?"]),
        "trans_status": st.sampled_from(["Y", "N", "U", "R", "C"]),
        "trans_status_reason": st.sampled_from(["01", "10", "14"]),
        "last_event": st.sampled_from(["challenge_closed", "timed_out", "returned", "page_closed"]),
        "duration_s": st.floats(0, 4_000),
    },
)


class ArbitraryPredictor(FakePredictor):
    def __init__(self, random):
        super().__init__()
        self.random = random
        weights = [random.random() ** 4 + 1e-9 for _ in REASONS]
        self.probabilities = {r: w / sum(weights) for r, w in zip(REASONS, weights, strict=True)}

    def candidate_success(self, attempt, previous, candidates):
        return [self.random.random() for _ in candidates]


@given(
    random=st.none() | st.randoms(use_true_random=False),
    evidence=st.none() | evidences,
    candidates=st.none() | candidates_,
    brand=st.sampled_from(["visa", "mastercard", "jcb", None]),
)
def test_every_request_gets_a_suggestion_that_no_rule_forbids(random, evidence, candidates, brand):
    attempt = {**ATTEMPT, "card_brand": brand}
    answer = ask(ArbitraryPredictor(random) if random else None, evidence, candidates, attempt)
    suggestion = answer["suggestion"]
    blocked = {block["candidate_id"] for block in answer["blocked"]}
    assert answer["degraded"] == (random is None)
    assert suggestion["action"] in ACTIONS
    assert suggestion["message_key"] in message_keys()
    assert 1 <= len(suggestion["because"]) <= 3
    assert suggestion["candidate_id"] not in blocked
    assert not blocked & {entry["candidate_id"] for entry in answer["ranking"]}
    if suggestion["action"] in MEANS_ACTIONS and candidates is not None:
        assert suggestion["candidate_id"] in {candidate["candidate_id"] for candidate in candidates}
    if candidates is not None:
        assert len(blocked) + len(answer["ranking"]) == len(candidates)
    code = explain_code((evidence or {}).get("code_scheme") or "", (evidence or {}).get("response_code") or "", brand)
    if code is not None and code.rule is not None and suggestion["action"] != "fix_details":
        assert suggestion["method"] != "card"
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
