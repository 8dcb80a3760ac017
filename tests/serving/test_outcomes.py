"""Reading outcomes: what is taken, and what is pointed at."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.columns import OUTCOMES
from features.taxonomy import reasons
from serving.outcomes import MOST_OUTCOMES, OutcomeReader
from serving.requests import RequestFaults

PAN = "4111111111111111"
READER = OutcomeReader()
RESOLVED = 1_767_605_421_000_000


@pytest.fixture
def told():
    return {"attempt_id": "a1", "resolved_at": "2026-01-05T09:30:21Z", "outcome": "bank_decline"}


def read(raw, now):
    faults = RequestFaults()
    outcomes = [READER.read(item, at, now=now, faults=faults) for at, item in READER.items(raw, faults)]
    return outcomes, {fault.pointer: fault.allowed for fault in faults.found}


def only(raw, now):
    (outcome,), faults = read(raw, now)
    assert faults == {}
    return outcome


def faults_of(raw, now):
    return read(raw, now)[1]


def test_values_are_those_of_the_attempts_table(told, now):
    outcome = only(told | {"reason": "limit_exceeded"}, now)
    assert (outcome.attempt_id, outcome.resolved_at, outcome.outcome) == ("a1", RESOLVED, "bank_decline")
    assert (outcome.reason, outcome.evidence, outcome.attempt) == ("limit_exceeded", {}, None)


def test_evidence_may_stand_beside_the_outcome_or_inside_evidence(told, now):
    flat = only(told | {"response_code": "51", "duration_s": 3}, now)
    assert flat.evidence == {"response_code": "51", "duration_s": 3.0}
    assert only(told | {"duration_s": 3, "evidence": {"response_code": "51"}}, now) == flat


def test_the_evidence_of_a_question_can_be_sent_as_it_was(told, now):
    del told["resolved_at"]
    outcome = only(told | {"evidence": {"resolved_at": "2026-01-05T09:30:21Z", "response_code": "51"}}, now)
    assert (outcome.resolved_at, outcome.evidence) == (RESOLVED, {"response_code": "51"})


@pytest.mark.parametrize("name", ["resolved_at", "response_code"])
def test_what_is_told_twice_is_refused(told, now, name):
    told |= {"response_code": "51"}
    told["evidence"] = {name: told[name]}
    assert list(faults_of(told, now)) == [f"/evidence/{name}"]


def test_missing_values_are_absent(told, now):
    assert only(told | {"reason": None, "response_code": None, "evidence": None, "attempt": None}, now) == only(
        told, now
    )


@pytest.mark.parametrize("name", ["attempt_id", "resolved_at", "outcome"])
def test_what_is_required_is_asked_for(told, now, name):
    del told[name]
    assert list(faults_of(told, now)) == [f"/{name}"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("outcome", "declined"),
        ("resolved_at", "2026-01-05T09:30:21"),
        ("resolved_at", "2036-01-05T09:30:21Z"),
        ("duration_s", -1),
        ("trans_status", "X"),
        ("attempt_id", ""),
        ("evidence", []),
        ("attempt", "a1"),
        ("amount_minor", 5),
        ("response_code", PAN),
    ],
)
def test_what_cannot_be_is_pointed_at(told, now, name, value):
    assert list(faults_of(told | {name: value}, now)) == [f"/{name}"]


@pytest.mark.parametrize("outcome", ["success", "unclassified"])
def test_what_has_no_reason_takes_none(told, now, outcome):
    told |= {"outcome": outcome, "reason": "limit_exceeded"}
    assert faults_of(told, now) == {"/reason": f"no reason where the outcome is {outcome}"}


@given(st.sampled_from(OUTCOMES[1:]), st.sampled_from(sorted(reasons())))
def test_a_reason_belongs_to_the_outcome(outcome, reason):
    raw = {"attempt_id": "a1", "resolved_at": "2026-01-05T09:30:21Z", "outcome": outcome, "reason": reason}
    assert (faults_of(raw, RESOLVED) == {}) == (reasons()[reason].category == outcome)


def test_an_attempt_can_be_told_with_its_outcome(told, question, now):
    attempt = question["attempt"]
    del attempt["attempt_id"]
    outcome = only(told | {"attempt": attempt}, now)
    assert outcome.attempt["attempt_id"] == "a1"
    assert outcome.attempt["amount_minor"] == 38000


def test_an_attempt_that_is_told_is_checked(told, question, now):
    attempt = question["attempt"] | {"attempt_id": "a2", "outcome": "success", "country": "Korea"}
    del attempt["currency"]
    assert set(faults_of(told | {"attempt": attempt}, now)) == {
        "/attempt/attempt_id", "/attempt/outcome", "/attempt/country", "/attempt/currency",
    }  # fmt: skip


def test_an_outcome_is_not_before_its_attempt(told, question, now):
    told["resolved_at"] = "2026-01-05T09:29:59Z"
    assert list(faults_of(told | {"attempt": question["attempt"]}, now)) == ["/resolved_at"]


def test_faults_of_an_array_have_their_place(told, now):
    assert list(faults_of([told, told | {"outcome": "x"}, 5], now)) == ["/1/outcome", "/2"]


def test_an_array_has_a_limit_and_is_not_empty(told, now):
    assert len(read([told] * MOST_OUTCOMES, now)[0]) == MOST_OUTCOMES
    for raw in ([], [told] * (MOST_OUTCOMES + 1)):
        assert list(faults_of(raw, now)) == [""]


@pytest.mark.parametrize("raw", [PAN, int(PAN), {PAN: 1}, {"x": PAN}, [int(PAN)]])
def test_a_card_number_anywhere_is_told_as_one(now, raw):
    found = faults_of(raw, now)
    assert "no card number, here or anywhere" in found.values()
    assert PAN not in str(found)
