import csv
import re
from pathlib import Path

import pytest

import features.taxonomy
from features.columns import CATEGORIES
from features.taxonomy import (
    code_decides,
    codes,
    explain_advice,
    explain_code,
    explain_trans_status,
    processor_of,
    reasons,
    sub_reasons,
)

FOLDER = Path(features.taxonomy.__file__).parent
with (FOLDER / "codes.csv").open(encoding="utf-8") as file:
    CODES = list(csv.DictReader(file))
VISA_NEVER_RETRY = ("04", "07", "12", "14", "15", "41", "43", "46", "57", "R0", "R1", "R3")
ADVICE = {"other_route", "other_method", "later", "never", "fix_details", "step_up"}
ACTORS = {"customer", "issuer", "processor", "merchant"}
LANGUAGES = {"en", "ko", "ja", "zh-TW"}
OTHERS = FOLDER.parent.parent / "shared" / "data" / "response_codes.csv"
READ_OTHERWISE = {"now_other_route": "other_route"}


@pytest.fixture(scope="module")
def others():
    """Codes as others have collected and read them; the file is not ours to ship."""
    if not OTHERS.is_file():
        pytest.skip("the collected response codes are not beside this checkout")
    with OTHERS.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_reasons_cover_every_category():
    assert {reason.category for reason in reasons().values()} == set(CATEGORIES)


def test_every_reason_says_who_can_act_and_whether_it_may_pass():
    assert all(r.who_can_act in ACTORS and r.soft_hard in {"soft", "hard"} for r in reasons().values())


def test_every_reason_has_a_sub_reason_and_every_sub_reason_a_reason():
    assert {known.reason for known in sub_reasons().values()} == set(reasons())


def test_every_code_s_sub_reason_is_known_and_of_its_reason():
    assert [c for c in CODES if sub_reasons()[c["sub_reason"]].reason != c["reason"]] == []


def test_every_sub_reason_is_complete():
    for known in sub_reasons().values():
        assert known.soft_hard in {"soft", "hard"}
        assert known.advice in ADVICE
        assert set(known.phrases) <= LANGUAGES
        assert len(known.phrases["en"]) >= 5
        assert all(phrase.strip() for phrases in known.phrases.values() for phrase in phrases)


def test_what_processors_say_in_english_is_said_of_one_sub_reason_only():
    phrases = [phrase.casefold() for known in sub_reasons().values() for phrase in known.phrases["en"]]
    assert sorted(phrase for phrase in set(phrases) if phrases.count(phrase) > 1) == []


def test_every_collected_code_is_in_the_table_with_its_reading(others):
    told = {(c["scheme"], c["code"], c["category"], c["sub_reason"], c["soft_hard"], c["advice"]) for c in CODES}
    read = {
        (
            o["scheme"], o["code"], o["category"], o["sub_reason"], o["soft_or_hard"],
            READ_OTHERWISE.get(o["retry_advice"], o["retry_advice"]),
        )
        for o in others
    }  # fmt: skip
    assert read - told == set()
    assert len({scheme for scheme, *_ in read}) == 18


def test_no_meaning_is_in_the_words_of_others(others):
    theirs = {(o["scheme"], o["code"]): o["meaning"].casefold().strip(" .") for o in others}
    assert [c for c in CODES if theirs.get((c["scheme"], c["code"])) == c["meaning"].casefold().strip(" .")] == []


def test_a_code_that_must_never_be_tried_again_has_a_rule_that_says_so():
    left_out = {"request_error", "config_error"}  # a duplicate is asked about first, a test card can never pay
    bare = [c for c in CODES if c["advice"] == "never" and not c["rule"]]
    assert {c["reason"] for c in bare} == left_out


def test_every_code_names_a_reason_of_its_category():
    assert [c for c in CODES if reasons()[c["reason"]].category != c["category"]] == []


def test_every_code_is_known_once():
    keys = [(c["scheme"], c["code"].casefold()) for c in CODES]
    assert len(keys) == len(set(keys)) > 500


def test_every_code_is_complete():
    wrong = [
        c
        for c in CODES
        if not (
            c["meaning"]
            and c["source"]
            and c["advice"] in ADVICE
            and c["decides"] in {"yes", "no"}
            and c["soft_hard"] in {"soft", "hard"}
        )
    ]
    assert wrong == []


def test_every_code_is_found_by_its_scheme_in_any_letter_case():
    for c in CODES:
        for code in (c["code"], c["code"].upper(), c["code"].lower(), f" {c['code']} "):
            found = explain_code(c["scheme"].upper(), code)
            assert found is not None
            assert (found.scheme, found.code) == (c["scheme"], c["code"])


def test_the_codes_are_told_in_their_order():
    assert [(c.scheme, c.code) for c in codes()] == [(c["scheme"], c["code"]) for c in CODES]


@pytest.mark.parametrize(("scheme", "code"), [("iso8583", "4"), ("visa", "4"), ("mastercard_mac", "3")])
def test_a_zero_that_a_spreadsheet_cut_off_is_put_back(scheme, code):
    assert explain_code(scheme, code).code == f"0{code}"


def test_a_number_of_a_processor_is_left_as_it_is():
    assert explain_code("adyen", "02") is None


@pytest.mark.parametrize(("name", "scheme"), [("UPI", "upi_npci"), ("checkout.com", "checkout")])
def test_a_scheme_is_known_by_its_other_names(name, scheme):
    known = next(c for c in CODES if c["scheme"] == scheme)
    assert explain_code(name, known["code"]).scheme == scheme


def test_all_schemes_of_a_party_are_its_own():
    assert {processor_of(c["scheme"]) for c in CODES} == {
        "3ds", "adyen", "braintree", "checkout", "iso8583", "mastercard", "razorpay", "stripe", "upi_npci", "visa",
    }  # fmt: skip


def test_every_reason_can_be_told_by_some_code_that_decides():
    told = {c["reason"] for c in CODES if c["decides"] == "yes"}
    assert set(reasons()) - told == {"generic_decline"}


def test_a_decline_without_a_reason_never_decides():
    assert [c for c in CODES if c["reason"] == "generic_decline" and c["decides"] == "yes"] == []


@pytest.mark.parametrize(
    ("scheme", "code"),
    [
        ("iso8583", "05"),
        ("stripe", "do_not_honor"),
        ("stripe", "payment_intent_authentication_failure"),
        ("razorpay", "authentication_failed"),
        ("adyen", "11"),
    ],
)
def test_codes_that_mix_causes_do_not_decide(scheme, code):
    assert explain_code(scheme, code) is not None
    assert not code_decides(scheme, code)


def test_the_network_s_own_table_comes_before_the_general_one():
    assert explain_code("iso8583", "82", "visa").reason == "incorrect_cvv"
    assert explain_code("iso8583", "82", "mastercard").reason == "not_permitted"


def test_a_network_without_the_code_falls_back_to_the_general_table():
    assert explain_code("iso8583", "56", "visa").scheme == "iso8583"
    assert explain_code("iso8583", "51", "jcb").scheme == "iso8583"


def test_a_code_that_only_some_networks_define_means_nothing_elsewhere():
    assert explain_code("iso8583", "82") is None


@pytest.mark.parametrize("code", VISA_NEVER_RETRY)
def test_visa_category_1_codes_carry_their_rule(code):
    assert explain_code("iso8583", code, "visa").rule == "visa_category_1"


def test_no_other_visa_code_carries_a_rule():
    ruled = [c["code"] for c in CODES if c["scheme"] == "visa" and c["rule"]]
    assert sorted(ruled) == sorted(VISA_NEVER_RETRY)


@pytest.mark.parametrize(("code", "hours"), [("24", 1), ("25", 24), ("26", 48), ("30", 240)])
def test_mastercard_advice_says_how_long_to_wait(code, hours):
    assert explain_advice(code, "iso8583", "mastercard").wait_s == hours * 3600


def test_advice_is_read_by_the_processor_s_table_before_the_network_s():
    assert explain_advice("try_again_later", "stripe", "visa").scheme == "stripe_advice_code"
    assert explain_advice("1", "stripe", "visa").scheme == "visa_decline_category"


def test_advice_of_nobody_known_says_nothing():
    assert explain_advice("24", None, None) is None


@pytest.mark.parametrize("status", ["Y", "A", "I"])
def test_a_status_that_is_no_failure_says_nothing(status):
    assert explain_trans_status(status, "01") is None


def test_a_status_reason_is_finer_than_the_status():
    assert explain_trans_status("N", "04").reason == "auth_attempts_exceeded"
    assert explain_trans_status("N").reason == "authentication_failed"


def test_a_network_s_own_status_reason_is_found_by_the_brand():
    assert explain_trans_status("U", "84", "visa").reason == "config_error"
    assert explain_trans_status("U", "84", "mastercard").reason == "three_ds_unavailable"


def test_a_failed_or_left_challenge_is_not_settled_by_the_status_alone():
    assert not explain_trans_status("N").decides
    assert explain_trans_status("R").decides


def test_the_tables_hold_no_long_numbers():
    for name in ("codes.csv", "taxonomy.csv", "sub_reasons.csv"):
        assert re.findall(r"\d{7,}", (FOLDER / name).read_text(encoding="utf-8")) == []
