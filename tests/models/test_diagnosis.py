import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.taxonomy import reasons
from models.code_text import CodeText
from models.conformal import LEVEL
from models.diagnosis import by_code, by_model, by_rules, read_evidence

REASONS = list(reasons())
probabilities = st.lists(st.floats(0.001, 1.0), min_size=len(REASONS), max_size=len(REASONS)).map(
    lambda weights: {r: w / sum(weights) for r, w in zip(REASONS, weights, strict=True)}
)


def settled(brand=None, **evidence):
    found = by_code(read_evidence(evidence, brand))
    return found and found.reason


def test_a_code_that_decides_settles_the_cause():
    assert settled(code_scheme="iso8583", response_code="51") == "insufficient_funds"


def test_a_decline_without_a_reason_settles_nothing():
    assert settled(code_scheme="iso8583", response_code="05", trans_status="Y") is None


def test_a_bank_s_decline_is_not_explained_by_an_authentication_that_went_before():
    assert settled(code_scheme="iso8583", response_code="05", trans_status="U") is None


def test_an_authentication_tells_where_the_code_leaves_it_open():
    code = {"code_scheme": "stripe", "response_code": "payment_intent_authentication_failure"}
    assert settled(**code) is None
    assert settled(**code, trans_status="N", trans_status_reason="04") == "auth_attempts_exceeded"


def test_an_authentication_that_only_says_failed_settles_nothing():
    assert settled(trans_status="N", trans_status_reason="01") is None
    assert settled(trans_status="N", trans_status_reason="09") == "authentication_failed"


def test_an_authentication_settles_the_cause_where_there_is_no_code():
    assert settled(trans_status="U") == "three_ds_unavailable"


def test_the_network_s_advice_settles_what_a_silent_code_does_not():
    code = {"code_scheme": "iso8583", "response_code": "05", "advice_code": "21"}
    assert settled("mastercard", **code) == "authorization_revoked"


def test_a_code_without_a_scheme_settles_nothing():
    assert settled(response_code="51") is None


def test_a_code_s_diagnosis_is_certain_and_names_what_the_code_says():
    found = by_code(read_evidence({"code_scheme": "iso8583", "response_code": "41"}, None))
    assert (found.confidence, found.plausible, found.category_probability) == (
        1.0,
        ("lost_or_stolen",),
        {"bank_decline": 1.0},
    )
    assert "41" in found.because


def test_a_silent_code_may_still_forbid_another_try():
    found = read_evidence({"code_scheme": "stripe", "response_code": "do_not_try_again"}, "visa")
    assert found.forbidding.rule == "never_retry_code"
    assert found.deciding is None


@given(probabilities)
def test_plausible_reasons_are_the_fewest_that_reach_the_level(p):
    found = by_model(p)
    together = sum(p[reason] for reason in found.plausible)
    assert together >= LEVEL - 1e-9
    assert together - p[found.plausible[-1]] < LEVEL
    assert min(p[r] for r in found.plausible) >= max((p[r] for r in REASONS if r not in found.plausible), default=0)


@given(probabilities)
def test_the_model_s_reason_is_the_likeliest_of_the_likeliest_category(p):
    found = by_model(p)
    assert found.category == max(found.category_probability, key=found.category_probability.get)
    of_category = {r: q for r, q in p.items() if reasons()[r].category == found.category}
    assert found.confidence == max(of_category.values()) == p[found.reason]


@given(probabilities)
def test_category_probabilities_add_up_to_one(p):
    assert sum(by_model(p).category_probability.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        ({"code_scheme": "iso8583", "response_code": "05"}, "generic_decline"),
        ({"last_event": "challenge_closed"}, "challenge_abandoned"),
        ({"last_event": "timed_out"}, "network_timeout"),
        ({"trans_status": "N", "last_event": "challenge_closed"}, "challenge_abandoned"),
        ({"trans_status": "N", "last_event": "returned"}, "authentication_failed"),
        ({"code_scheme": "iso8583", "response_code": "05", "last_event": "page_closed"}, "generic_decline"),
    ],
)
def test_without_a_model_codes_and_telemetry_are_read_as_usual(evidence, reason):
    found = by_rules(read_evidence(evidence, None), evidence.get("last_event"))
    assert (found.reason, found.decided_by, found.confidence) == (reason, "rules", None)


def test_without_a_model_and_without_evidence_there_is_no_diagnosis():
    assert by_rules(read_evidence({"last_event": "returned"}, None), "returned") is None


EXPIRED = CodeText.of_scores({"expired_card": {"=expired": 1.0}, "processor_error": {"=error": 1.0}}, temperature=40.0)
DECLINED = CodeText.of_scores(
    {"do_not_honor": {"=declined": 1.0}, "processor_error": {"=error": 1.0}}, temperature=40.0
)
UNKNOWN = {"code_scheme": "acme", "response_code": "card_expired"}


def test_without_a_text_model_an_unknown_code_says_nothing():
    assert by_code(read_evidence(UNKNOWN, None)) is None


def test_a_text_that_is_surely_read_settles_the_cause():
    found = by_code(read_evidence(UNKNOWN, None, EXPIRED))
    assert (found.reason, found.sub_reason, found.decided_by) == ("card_data_invalid", "expired_card", "text_model")
    assert 0.9 <= found.confidence <= 1.0
    assert found.plausible == ("card_data_invalid",)


def test_a_known_code_is_not_read_by_its_text():
    evidence = read_evidence({"code_scheme": "stripe", "response_code": "generic_decline"}, None, DECLINED)
    assert evidence.text is None
    assert by_code(evidence) is None


def test_a_text_that_only_says_declined_settles_nothing_and_neither_does_3_d_secure_then():
    evidence = {"code_scheme": "acme", "response_code": "declined", "trans_status": "U"}
    assert by_code(read_evidence(evidence, None, DECLINED)) is None
    assert by_rules(read_evidence(evidence, None, DECLINED), "returned").reason == "generic_decline"


def test_the_network_s_advice_settles_what_a_text_leaves_open():
    evidence = {"code_scheme": "acme", "response_code": "declined", "advice_code": "21"}
    assert by_code(read_evidence(evidence, "mastercard", DECLINED)).reason == "authorization_revoked"


def test_a_text_that_is_read_unsurely_is_for_rules_only():
    unsure = CodeText.of_scores(
        {"expired_card": {"=expired": 1.0}, "processor_error": {"=error": 1.0}}, temperature=2.0
    )
    evidence = read_evidence(UNKNOWN, None, unsure)
    assert by_code(evidence) is None
    assert by_rules(evidence, "returned").reason == "card_data_invalid"
