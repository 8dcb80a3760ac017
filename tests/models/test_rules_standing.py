"""What the attempts of a payment forbid from now on, as an engine's answers show it."""

import csv
import logging
from pathlib import Path

import pytest

import models.rules
from benchmarks.rules import breach, forbidding_codes, tempted
from features.taxonomy import reasons
from models.actions import DecisionTable, Plan, Step, decision_table
from models.engine import Engine, ScoreRequest
from models.rules import network_rules, read_rules

NOW = 1_767_605_400_000_000
SECOND = 1_000_000
HOUR, DAY = 3_600, 86_400
ATTEMPT = {
    "attempt_id": "a9",
    "payment_id": "p1",
    "created_at": NOW,
    "amount_minor": 38_000,
    "currency": "KRW",
    "country": "KR",
    "method": "card",
    "route": "north",
}
SAME = {"candidate_id": "same", "method": "card", "route": "north"}
OTHER_ROUTE = {"candidate_id": "route", "method": "card", "route": "harbor"}
WALLET = {"candidate_id": "wallet", "method": "wallet"}
EVERY = (SAME, OTHER_ROUTE, WALLET)
SILENT = {"code_scheme": "iso8583", "response_code": "05"}
LOST = {"code_scheme": "iso8583", "response_code": "41"}
NO_NUMBER = {"code_scheme": "iso8583", "response_code": "14"}
EXPIRED = {"code_scheme": "iso8583", "response_code": "54"}
LATE = {"code_scheme": "iso8583", "response_code": "68"}


class Model:
    """A model that likes whatever is of the card."""

    fingerprint = "sha256:0"
    code_text = None
    plausible = None

    def ways_to_pay(self, country):
        return [("card", "harbor"), ("wallet", None)]

    def outcome(self, attempt, previous):
        return [0.9, 0.1, 0.0, 0.0, 0.0]

    def candidate_success(self, attempt, previous, candidates):
        return [0.9 if candidate["method"] == "card" else 0.1 for candidate in candidates]

    def reasons(self, attempt, previous, evidence):
        return {"generic_decline": 1.0}


def ask(evidence=None, previous=(), candidates=EVERY, model=True, rules=None, state=None, **changed):
    engine = Engine(Model() if model else None, rules=rules, state=state)
    return engine.score(ScoreRequest({**ATTEMPT, **changed}, evidence, tuple(previous), candidates), request_id="r")


def earlier(number=0, *, seconds_ago=100.0, **fields):
    """An earlier attempt with the same card, declined without a reason unless told otherwise."""
    past = {**ATTEMPT, **SILENT, "attempt_id": f"b{number}", "outcome": "bank_decline"} | fields
    return {name: value for name, value in past.items() if value is not None} | {
        "created_at": NOW - int(seconds_ago * SECOND)
    }


def declines(count, **fields):
    """Earlier declines, a second apart, the latest 100 seconds ago."""
    return [earlier(number, **{"seconds_ago": 100.0 + count - number} | fields) for number in range(count)]


def blocked(answer):
    return {block["candidate_id"]: block["rule"] for block in answer["blocked"]}


def step(answer):
    return answer["suggestion"]["action"], answer["suggestion"]["method"]


def both(rule):
    return {"same": rule, "route": rule}


class TestLimits:
    @pytest.mark.parametrize(("before", "stopped"), [(13, False), (14, True), (15, True)])
    def test_visa_s_fifteenth_decline_is_the_last(self, before, stopped):
        """With 13 earlier ones this is the 14th, and a 15th may be made; with 14, a 16th may not."""
        answer = ask(SILENT, declines(before), card_brand="visa")
        assert blocked(answer) == (both("visa_declines_30_days") if stopped else {})
        assert step(answer)[1] == ("wallet" if stopped else "card")

    def test_a_limit_is_told_with_its_edition(self):
        block = ask(SILENT, declines(14), card_brand="visa")["blocked"][0]
        assert block == {"candidate_id": "same", "rule": "visa_declines_30_days", "edition": "2021-04"}

    @pytest.mark.parametrize(
        ("country", "before", "stopped"), [("KR", 8, False), ("KR", 9, True), ("BR", 5, False), ("BR", 6, True)]
    )
    def test_mastercard_allows_ten_declines_a_day_and_seven_in_brazil(self, country, before, stopped):
        answer = ask(SILENT, declines(before), card_brand="mastercard", country=country)
        assert blocked(answer) == (both("mastercard_declines_24_hours") if stopped else {})

    def test_the_merchant_s_country_is_the_region_where_it_is_told(self):
        fields = {"card_brand": "mastercard", "merchant_country": "BR"}
        assert blocked(ask(SILENT, declines(6), **fields)) == both("mastercard_declines_24_hours")
        fields = {"card_brand": "mastercard", "merchant_country": "US", "country": "BR"}
        assert blocked(ask(SILENT, declines(6), **fields)) == {}

    @pytest.mark.parametrize(("before", "stopped"), [(33, False), (34, True)])
    def test_mastercard_allows_35_declines_of_an_amount_in_30_days(self, before, stopped):
        past = [earlier(number, seconds_ago=(before - number) * 0.5 * DAY) for number in range(before)]
        answer = ask(SILENT, past, card_brand="mastercard")
        assert blocked(answer) == (both("mastercard_declines_30_days") if stopped else {})

    @pytest.mark.parametrize(("country", "stopped"), [("KR", False), ("BR", True)])
    def test_other_amounts_count_where_the_rule_says_so(self, country, stopped):
        past = [earlier(number, seconds_ago=(34 - number) * 0.5 * DAY, amount_minor=number) for number in range(34)]
        answer = ask(SILENT, past, card_brand="mastercard", country=country)
        assert blocked(answer) == (both("mastercard_declines_30_days") if stopped else {})

    def test_elo_allows_15_declines_of_an_amount_in_30_days(self):
        assert blocked(ask(SILENT, declines(13), card_brand="elo", country="BR")) == {}
        assert blocked(ask(SILENT, declines(14), card_brand="elo", country="BR")) == both("elo_declines_30_days")

    def test_a_window_slides(self):
        inside = declines(9, seconds_ago=DAY - 1.0)
        outside = declines(9, seconds_ago=float(DAY))
        assert blocked(ask(SILENT, inside, card_brand="mastercard")) == both("mastercard_declines_24_hours")
        assert blocked(ask(SILENT, outside, card_brand="mastercard")) == {}

    def test_waiting_until_the_window_has_slid_is_allowed(self):
        later = [{**SAME, "candidate_id": str(wait), "wait_s": float(wait)} for wait in (DAY - 101, DAY - 100)]
        past = [earlier(0, seconds_ago=100.0), *declines(8, seconds_ago=50.0)]
        assert blocked(ask(SILENT, past, later, card_brand="mastercard")) == {
            str(DAY - 101): "mastercard_declines_24_hours"
        }

    @pytest.mark.parametrize(
        "harmless",
        [
            {"outcome": "success"},
            {"outcome": "user_abandonment", "response_code": None, "code_scheme": None},
            {"outcome": "technical", "response_code": None, "code_scheme": None},
            {"outcome": None, "response_code": None, "code_scheme": None},
            {"method": "wallet"},
            {"issuer": "another"},
            {"card_brand": "mastercard"},
        ],
    )
    def test_what_was_no_decline_of_this_card_does_not_count(self, harmless):
        past = [earlier(20, **harmless), *declines(13, issuer="this")]
        assert blocked(ask(SILENT, past, card_brand="visa", issuer="this")) == {}

    def test_failures_that_nobody_explained_count(self):
        past = declines(14, outcome="unclassified", response_code=None, code_scheme=None)
        assert blocked(ask(SILENT, past, card_brand="visa")) == both("visa_declines_30_days")

    def test_the_failed_attempt_counts_unless_the_bank_was_never_asked(self):
        left = {"last_event": "challenge_closed"}
        assert blocked(ask(left, declines(14), model=False, card_brand="visa")) == {}
        assert blocked(ask({}, declines(14), model=False, card_brand="visa")) == both("visa_declines_30_days")

    def test_a_limit_holds_before_an_attempt_too(self):
        answer = ask(None, declines(15), card_brand="visa")
        assert blocked(answer) == both("visa_declines_30_days")
        assert step(answer) == ("alternate_method", "wallet")

    def test_fixing_the_expiry_date_counts_as_another_try(self):
        assert step(ask(EXPIRED, declines(13), (), card_brand="visa"))[0] == "fix_details"
        assert step(ask(EXPIRED, declines(14), (), card_brand="visa"))[0] == "contact_bank"

    @pytest.mark.parametrize("model", [True, False])
    def test_a_merchant_s_own_table_takes_the_place_of_the_shipped_limit(self, tmp_path, model):
        shipped = (Path(models.rules.__file__).parent / "network_rules.csv").read_text(encoding="utf-8")
        rows = [row for row in csv.DictReader(shipped.splitlines()) if row["rule"] == "visa_declines_30_days"]
        path = tmp_path / "ours.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerow(rows[0] | {"limit": "20", "edition": "2025-05"})
        ours = read_rules(path)
        assert blocked(ask(SILENT, declines(18), card_brand="visa", rules=ours, model=model)) == {}
        answer = ask(SILENT, declines(19), card_brand="visa", rules=ours, model=model)
        assert {block["edition"] for block in answer["blocked"]} == {"2025-05"}


class Kept:
    """An online state that knows of one number of declines."""

    def __init__(self, count):
        self.count = count
        self.asked = []

    def declines(self, attempt, *, since, one_amount):
        self.asked.append((attempt["attempt_id"], since, one_amount))
        return self.count


class TestTheOnlineState:
    @pytest.mark.parametrize("model", [True, False])
    def test_declines_of_other_payments_count_with_those_of_this_one(self, model):
        assert blocked(ask(SILENT, declines(4), card_brand="visa", state=Kept(9), model=model)) == {}
        answer = ask(SILENT, declines(4), card_brand="visa", state=Kept(10), model=model)
        assert blocked(answer) == both("visa_declines_30_days")

    def test_it_counts_before_a_payment_s_first_attempt(self):
        assert step(ask(None, card_brand="visa", state=Kept(15))) == ("alternate_method", "wallet")

    def test_it_is_asked_once_for_a_window(self):
        state = Kept(0)
        ask(SILENT, card_brand="mastercard", state=state)
        assert state.asked == [("a9", NOW - DAY * SECOND, False), ("a9", NOW - 30 * DAY * SECOND, True)]

    @pytest.mark.parametrize("model", [True, False])
    def test_when_it_is_down_the_rules_answer_from_the_request(self, model, caplog):
        class Down:
            def declines(self, attempt, *, since, one_amount):
                raise ConnectionError(attempt["payment_id"])

        with caplog.at_level(logging.ERROR):
            answer = ask(SILENT, declines(14), card_brand="visa", state=Down(), model=model)
        assert answer["degraded"]
        assert blocked(answer) == both("visa_declines_30_days")
        assert "ConnectionError" in caplog.text

    def test_of_an_earlier_attempt_s_card_it_is_asked_with_the_payment_s_customer(self):
        customers = []

        class Told:
            def declines(self, attempt, *, since, one_amount):
                customers.append((attempt["method"], attempt.get("customer_id")))
                return 0

        ask(None, declines(1, card_brand="visa"), method="wallet", customer_id="c9", state=Told())
        assert ("card", "c9") in customers

    def test_it_is_not_asked_once_a_deadline_has_passed(self):
        state = Kept(99)
        engine = Engine(Model(), state=state)
        request = ScoreRequest({**ATTEMPT, "card_brand": "visa"}, SILENT, (), EVERY)
        assert engine.score(request, request_id="r", rules_only=True)["blocked"] == []
        assert state.asked == []


class TestWaits:
    @pytest.mark.parametrize(
        ("advice", "wait"),
        [
            ("24", HOUR),
            ("25", DAY),
            ("26", 2 * DAY),
            ("27", 4 * DAY),
            ("28", 6 * DAY),
            ("29", 8 * DAY),
            ("30", 10 * DAY),
        ],
    )
    def test_the_same_card_waits_as_long_as_the_advice_says(self, advice, wait):
        tries = [{**SAME, "candidate_id": str(w), "wait_s": float(w)} for w in (0, wait - 1, wait)]
        answer = ask({**SILENT, "advice_code": advice}, (), (*tries, WALLET), card_brand="mastercard")
        assert blocked(answer) == {"0": "mastercard_mac_wait", str(wait - 1): "mastercard_mac_wait"}
        assert answer["suggestion"]["candidate_id"] == str(wait)

    def test_a_wait_runs_from_when_the_advice_came_and_over_other_attempts(self):
        past = earlier(advice_code="24", card_brand="mastercard", duration_s=40.0, seconds_ago=1_000.0)
        tries = [{**SAME, "candidate_id": str(w), "wait_s": float(w)} for w in (2_639, 2_640)]
        answer = ask(SILENT, [past], tries, method="wallet", route=None)
        assert blocked(answer) == {"2639": "mastercard_mac_wait"}

    @pytest.mark.parametrize(("told", "wanted"), [({}, 900), ({"advice_code": "24"}, HOUR)])
    def test_a_checkout_that_named_nothing_is_told_how_long_to_wait(self, told, wanted):
        assert self.later({**SILENT, **told}) == wanted

    def test_what_is_left_of_an_earlier_wait_is_rounded_up_to_seconds(self):
        past = earlier(advice_code="25", card_brand="mastercard", seconds_ago=10.25)
        assert self.later({**SILENT, "duration_s": 5.0}, past) == DAY - 15

    def later(self, evidence, *previous):
        """Seconds to wait, by a table that prefers waiting, where checkout named nothing."""
        plan = Plan(None, (Step("retry_later", 900, "try_again_later", "why"), Step("stop", 0, "try_again", "why")), {})
        engine = Engine(None, DecisionTable("test", {"unknown": plan}))
        request = ScoreRequest({**ATTEMPT, "card_brand": "mastercard"}, evidence, previous, None)
        suggestion = engine.score(request, request_id="r")["suggestion"]
        assert suggestion["action"] == "retry_later"
        return suggestion["wait_s"]


class TestNeverAgain:
    @pytest.mark.parametrize("model", [True, False])
    @pytest.mark.parametrize("between", [(), (earlier(7),), (earlier(7, method="wallet"),)])
    def test_a_code_holds_for_the_rest_of_the_payment(self, model, between):
        past = [earlier(1, **LOST, seconds_ago=500.0), *between]
        answer = ask(SILENT, past, model=model)
        assert blocked(answer) == both("never_retry_code")
        assert step(answer) == ("alternate_method", "wallet")

    @pytest.mark.parametrize("evidence", [SILENT, {"code_scheme": "iso8583", "response_code": "51"}])
    def test_it_holds_where_checkout_named_nothing(self, evidence):
        past = [earlier(1, **LOST)]
        assert step(ask(evidence, past, None)) == ("alternate_method", "wallet")
        assert step(ask(evidence, past, None, model=False)) == ("alternate_method", None)

    def test_it_holds_while_another_method_is_tried(self):
        answer = ask(SILENT, [earlier(1, **LOST)], method="wallet", route=None)
        assert blocked(answer) == both("never_retry_code")
        assert step(answer) == ("retry_same", "wallet")

    @pytest.mark.parametrize(
        ("model", "candidates", "wanted"),
        [
            (True, EVERY, ("alternate_method", "wallet")),
            (False, EVERY, ("alternate_method", "wallet")),
            (True, None, ("alternate_method", "wallet")),
            (False, None, ("alternate_method", None)),
            (True, (), ("stop", None)),
            (False, (), ("stop", None)),
        ],
    )
    def test_it_holds_before_the_next_attempt(self, model, candidates, wanted):
        assert step(ask(None, [earlier(1, **LOST)], candidates, model)) == wanted

    def test_another_card_is_not_forbidden(self):
        past = [earlier(1, **LOST, issuer="one", card_brand="visa")]
        assert blocked(ask(SILENT, past, issuer="two", card_brand="visa")) == {}
        assert blocked(ask(SILENT, past, issuer="one", card_brand="Visa")) == both("visa_category_1")

    def test_a_network_that_only_the_next_attempt_names_counts(self):
        past = [earlier(1, response_code="57")]
        assert blocked(ask(SILENT, past, card_brand="visa")) == both("visa_category_1")

    @pytest.mark.parametrize(("advice", "rule"), [("03", "mastercard_mac_03"), ("21", "mastercard_mac_21")])
    def test_mastercard_s_advice_holds(self, advice, rule):
        answer = ask({**SILENT, "advice_code": advice}, card_brand="mastercard")
        assert blocked(answer) == both(rule)

    def test_another_flag_of_the_credential_does_not_make_it_another(self):
        tries = ({**SAME, "stored": True}, {**OTHER_ROUTE, "network_token": True})
        assert blocked(ask(LOST, (), tries, stored=False)) == both("never_retry_code")

    def test_an_unfinished_session_is_not_resumed_with_it(self):
        left = {"last_event": "challenge_closed"}
        assert step(ask(left, (), (WALLET,), model=False)) == ("resume_session", "card")
        assert step(ask(left, [earlier(1, **LOST)], (WALLET,), model=False)) == ("alternate_method", "wallet")

    @pytest.mark.parametrize("model", [True, False])
    def test_a_duplicate_is_not_sent_again_but_asked_after(self, model):
        answer = ask({"code_scheme": "iso8583", "response_code": "94"}, model=model)
        assert blocked(answer) == both("no_retry_of_a_duplicate")
        assert step(answer) == ("check_status_first", None)

    @pytest.mark.parametrize(
        "past", [{"response_code": "fraudulent", "code_scheme": "stripe"}, {"reason": "risk_block"}]
    )
    def test_a_risk_block_is_not_routed_around_later_on(self, past):
        answer = ask(SILENT, [earlier(1, **{"route": "harbor"} | past)])
        assert set(blocked(answer)) == {"same", "route"}
        assert set(blocked(answer).values()) <= {"never_retry_code", "never_around_a_risk_block"}

    def test_what_the_decision_table_forbids_after_an_earlier_attempt_is_seen_next_to_that_one(self):
        left = {"code_scheme": "stripe", "response_code": "authentication_required"}
        stronger = {**SAME, "candidate_id": "step", "auth_flow": "challenge"}
        answer = ask(SILENT, [earlier(1, **left, auth_flow="none")], (SAME, stronger), auth_flow="none")
        assert blocked(answer) == {"same": "authentication_is_required"}


class TestDetails:
    @pytest.mark.parametrize("code", ["14", "15"])
    @pytest.mark.parametrize("model", [True, False])
    def test_a_wrong_number_may_be_corrected_though_it_is_never_tried_again(self, code, model):
        answer = ask({**NO_NUMBER, "response_code": code}, model=model, card_brand="visa")
        assert step(answer)[0] == "fix_details"
        assert answer["suggestion"]["candidate_id"] is None
        assert blocked(answer) == both("visa_category_1")

    @pytest.mark.parametrize("code", ["54", "N7", "82"])
    def test_visa_s_third_category_may_be_corrected_and_tried_again(self, code):
        answer = ask({**EXPIRED, "response_code": code}, card_brand="visa")
        assert answer["blocked"] == []
        assert (answer["suggestion"]["action"], answer["suggestion"]["candidate_id"]) == ("fix_details", "same")

    def test_correcting_the_date_is_no_way_around_an_advice(self):
        answer = ask({**EXPIRED, "advice_code": "03"}, (), (WALLET,), card_brand="mastercard")
        assert step(answer) == ("alternate_method", "wallet")
        assert (
            step(ask({**EXPIRED, "advice_code": "03"}, (), (), model=False, card_brand="mastercard"))[0]
            == "contact_bank"
        )

    def test_a_new_number_is_one_under_an_advice_too(self):
        answer = ask({**NO_NUMBER, "advice_code": "03"}, (), (SAME,), card_brand="mastercard")
        assert step(answer)[0] == "fix_details"
        assert blocked(answer) == {"same": "mastercard_mac_03"}

    def test_an_attempt_on_which_the_number_was_typed_anew_may_be_made(self):
        past = [earlier(1, **NO_NUMBER)]
        assert step(ask(None, past, card_brand="visa"))[0] == "proceed"
        for unchanged in ({"stored": True}, {"network_token": True}):
            assert step(ask(None, past, card_brand="visa", **unchanged)) == ("alternate_method", "wallet")

    def test_after_a_corrected_number_the_next_detail_may_be_corrected(self):
        answer = ask(EXPIRED, [earlier(1, **NO_NUMBER)], (SAME,), card_brand="visa")
        assert step(answer)[0] == "fix_details"
        assert blocked(answer) == {"same": "visa_category_1"}


class TestTimeouts:
    @pytest.mark.parametrize("left", [LATE, {"response_code": None, "last_event": "timed_out"}])
    @pytest.mark.parametrize("evidence", [None, SILENT])
    @pytest.mark.parametrize("model", [True, False])
    def test_an_earlier_one_that_nobody_asked_after_is_asked_after_first(self, left, evidence, model):
        assert step(ask(evidence, [earlier(1, outcome=None, **left)], model=model)) == ("check_status_first", None)

    @pytest.mark.parametrize("evidence", [None, SILENT])
    def test_one_whose_outcome_is_told_is_not(self, evidence):
        assert step(ask(evidence, [earlier(1, outcome="technical", **LATE)]))[0] != "check_status_first"


def test_a_never_retry_code_wins_whatever_the_model_says():
    """100,000 answers, every code as often; benchmarks/rules.py asks 100,000 random requests with each."""
    count = 1 + 100_000 // len(forbidding_codes())
    found = [told for _, told in tempted(5, count)]
    assert len(found) == count * len(forbidding_codes())
    assert [told for told in found if told is not None] == []


def test_the_check_of_that_sees_a_breach():
    asked, _ = next(tempted(1, 1))
    means = asked.forbidden
    request = ScoreRequest(asked.request.attempt, SILENT, (), ({"candidate_id": "c", "method": means},))
    again = type(asked)(request, means, of_number=False)
    fine = {"suggestion": {"method": None, "action": "stop"}, "ranking": [], "blocked": [{"candidate_id": "c"}]}
    assert breach(again, fine) is None
    assert (
        breach(again, fine | {"suggestion": {"method": means, "action": "resume_session"}})
        == "suggested resume_session"
    )
    assert breach(again, fine | {"ranking": [{"candidate_id": "c"}]}) == "ranked"
    assert breach(again, fine | {"blocked": []}) == "not told as blocked"


BRAZIL = {"country": "BR", "card_brand": "mastercard"}
EXERCISES = {
    ("visa_category_1", ()): {"evidence": LOST, "card_brand": "visa"},
    ("mastercard_mac_03", ()): {"evidence": SILENT | {"advice_code": "03"}, "card_brand": "mastercard"},
    ("mastercard_mac_21", ()): {"evidence": SILENT | {"advice_code": "21"}, "card_brand": "mastercard"},
    ("mastercard_mac_wait", ()): {"evidence": SILENT | {"advice_code": "24"}, "card_brand": "mastercard"},
    ("never_retry_code", ()): {"evidence": LOST},
    ("no_retry_of_a_duplicate", ()): {"evidence": {"code_scheme": "iso8583", "response_code": "94"}},
    ("visa_declines_30_days", ()): {"previous": declines(14), "card_brand": "visa"},
    ("mastercard_declines_24_hours", ()): {"previous": declines(9), "card_brand": "mastercard"},
    ("mastercard_declines_24_hours", ("BR",)): {"previous": declines(6), **BRAZIL},
    ("mastercard_declines_30_days", ()): {
        "previous": declines(34, seconds_ago=2.0 * DAY),
        "card_brand": "mastercard",
    },
    ("mastercard_declines_30_days", ("BR",)): {
        "previous": declines(34, seconds_ago=2.0 * DAY, amount_minor=1),
        **BRAZIL,
    },
    ("elo_declines_30_days", ()): {"previous": declines(14), "card_brand": "elo"},
}
"""For each row of the table, a question in which it and no other forbids the card."""


@pytest.mark.parametrize("row", network_rules().rules, ids=lambda row: f"{row.rule}-{'-'.join(row.region)}")
def test_every_row_of_the_table_forbids_what_it_is_about_by_its_name_and_edition(row):
    answer = ask(**{"evidence": SILENT} | EXERCISES[row.rule, row.region])
    assert blocked(answer) == both(row.rule)
    assert {block["edition"] for block in answer["blocked"]} == {row.edition}


TRAITS = {
    "retry_same": SAME,
    "retry_other_route": OTHER_ROUTE,
    "step_up": SAME | {"auth_flow": "challenge"},
    "retry_later": SAME | {"wait_s": 99.0},
}
NEVERS = [
    (reason, trait) for reason, plan in decision_table().plans.items() for trait in plan.never if reason in reasons()
]


@pytest.mark.parametrize(("reason", "trait"), NEVERS)
def test_every_ban_of_the_decision_table_holds_after_its_reason(reason, trait):
    class Sure(Model):
        def reasons(self, attempt, previous, evidence):
            return {reason: 1.0}

    request = ScoreRequest(ATTEMPT, SILENT, (), (TRAITS[trait], WALLET))
    answer = Engine(Sure()).score(request, request_id="r")
    rule, edition = decision_table().plan(reason).never[trait].rule, decision_table().edition
    assert answer["blocked"] == [
        {"candidate_id": "same" if trait != "retry_other_route" else "route", "rule": rule, "edition": edition}
    ]
    assert answer["suggestion"]["candidate_id"] in {None, "wallet"}


def test_a_way_to_pay_that_is_off_is_not_tried_again():
    answer = ask({"code_scheme": "razorpay", "response_code": "upi_intent_not_enabled"})
    assert blocked(answer) == {"same": "way_to_pay_is_off"}
