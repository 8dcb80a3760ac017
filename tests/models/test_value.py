"""What a next step is worth: success, margin, fees, effort; and how a ranking goes by it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import BadInput, CardNumberFound
from models.engine import Engine, ScoreRequest
from models.fees import Effort, Fee, Fees, read_fees
from models.value import Worth

ATTEMPT = {
    "attempt_id": "a1", "payment_id": "p1", "created_at": 1_767_605_400_000_000, "amount_minor": 2_000, "currency": "EUR",
    "country": "DE", "method": "card", "route": "north", "card_brand": "visa", "auth_flow": "challenge", "auth_steps": 2,
}  # fmt: skip
NO_EFFORT = Effort(0.0, 0.0, 0.0)
FEES = Fees("EUR", {"north": Fee(0.30, 0.05), "harbor": Fee(2.0, 0.0)}, margin=0.5, effort=NO_EFFORT)
SILENT = {"code_scheme": "iso8583", "response_code": "05"}
NORTH = {"candidate_id": "n", "method": "card", "route": "north"}
HARBOR = {"candidate_id": "h", "method": "card", "route": "harbor"}


class Model:
    fingerprint = "sha256:0"
    code_text = None
    plausible = None

    def __init__(self, success):
        self.success = success

    def ways_to_pay(self, country):
        return []

    def outcome(self, attempt, previous):
        return [0.5, 0.1, 0.1, 0.2, 0.1]

    def candidate_success(self, attempt, previous, candidates):
        return [self.success.get(candidate.get("candidate_id"), 0.5) for candidate in candidates]

    def reasons(self, attempt, previous, evidence):
        return {"generic_decline": 1.0}


def test_a_value_is_margin_times_success_less_the_fee_to_be_expected():
    assert Worth(FEES).of(ATTEMPT, NORTH, 0.8, retry=False) == pytest.approx(0.8 * 2_000 * 0.5 - (0.8 * 30 + 0.2 * 5))


def test_fees_of_another_currency_do_not_count():
    attempt = {**ATTEMPT, "currency": "KRW"}
    assert Worth(FEES).of(attempt, NORTH, 0.8, retry=False) == pytest.approx(0.8 * 2_000 * 0.5)


def test_what_no_fee_is_named_for_costs_nothing():
    assert Worth(FEES).of(ATTEMPT, {"method": "wallet"}, 1.0, retry=False) == 1_000.0


def test_a_candidate_without_a_route_goes_over_the_attempt_s_own_if_the_method_is_the_same():
    assert Worth(FEES).of(ATTEMPT, {"method": "card"}, 1.0, retry=False) == 1_000.0 - 30.0


def test_a_network_s_fee_is_for_trying_the_same_card_again_only():
    worth = Worth(Fees("EUR", {}, margin=1.0, retries={"visa": 0.1}, effort=NO_EFFORT))
    assert worth.of(ATTEMPT, NORTH, 0.5, retry=True) == 1_000.0 - 10.0
    assert worth.of(ATTEMPT, NORTH, 0.5, retry=False) == 1_000.0
    assert worth.of(ATTEMPT, {"method": "wallet"}, 0.5, retry=True) == 1_000.0


def test_steps_waits_and_methods_cost_what_is_set():
    effort = Effort(step=0.01, wait=0.02, hour=0.001, methods={"wallet": 0.1})
    worth = Worth(Fees("EUR", {}, effort=effort))
    assert worth.of(ATTEMPT, NORTH, 0.0, retry=False) == pytest.approx(-2_000 * 0.02)  # the attempt's own two steps
    assert worth.of(ATTEMPT, {**NORTH, "auth_flow": "none"}, 0.0, retry=False) == 0.0
    assert worth.of(ATTEMPT, {**NORTH, "auth_flow": "redirect"}, 0.0, retry=False) == pytest.approx(-2_000 * 0.01)
    assert worth.of(ATTEMPT, {"method": "wallet", "wait_s": 7_200.0}, 0.0, retry=False) == pytest.approx(-2_000 * 0.122)
    week = worth.of(ATTEMPT, {"method": "bnpl", "wait_s": 7 * 86_400.0}, 0.0, retry=False)
    assert week == pytest.approx(-2_000 * 0.044)


@given(
    st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.integers(0, 5), st.sampled_from([0.0, 3600.0, 86_400.0]),
    st.integers(1, 10**9),
)  # fmt: skip
def test_with_nothing_set_success_decides_but_between_things_nearly_as_good(p, q, steps, wait, amount):
    attempt = {**ATTEMPT, "amount_minor": amount}
    easy = Worth().of(attempt, {"method": "wallet"}, p, retry=True)
    hard = Worth().of(attempt, {"method": "card", "auth_steps": steps, "wait_s": wait}, q, retry=True)
    if abs(p - q) > 0.01:
        assert (hard > easy) == (q > p)
    elif p == q:
        assert hard <= easy


def test_a_ranking_is_by_value_where_fees_are_known():
    request = ScoreRequest(ATTEMPT, SILENT, (), (NORTH, HARBOR))
    model = Model({"n": 0.50, "h": 0.55})
    free = Engine(model).score(request, request_id="r")
    paid = Engine(model, worth=Worth(FEES)).score(request, request_id="r")
    assert [row["candidate_id"] for row in free["ranking"]] == ["h", "n"]
    assert [row["candidate_id"] for row in paid["ranking"]] == ["n", "h"]
    assert paid["suggestion"]["candidate_id"] == "n"
    assert paid["suggestion"]["expected_value"] == paid["ranking"][0]["expected_value"] == round(500 - 17.5)


def test_before_an_attempt_it_proceeds_unless_another_way_is_clearly_worth_more():
    request = ScoreRequest(ATTEMPT, None, (), (NORTH, HARBOR))
    model = Model({"h": 0.62})
    assert Engine(model).score(request, request_id="r")["suggestion"]["candidate_id"] == "h"
    dear = Engine(model, worth=Worth(FEES)).score(request, request_id="r")
    assert (dear["suggestion"]["action"], dear["suggestion"]["candidate_id"]) == ("proceed", "n")


def written(tmp_path, text):
    path = tmp_path / "fees.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_retries_and_effort_are_read_from_the_fees_file(tmp_path):
    told = "currency: EUR\nfees: {north: {success: 0.3}}\nretries: {visa: 0.1}\neffort: {step: 0.01, methods: {bnpl: 0.2}}\n"
    fees = read_fees(written(tmp_path, told))
    assert (fees.retries, fees.effort) == ({"visa": 0.1}, Effort(step=0.01, methods={"bnpl": 0.2}))


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("effort: {steps: 0.01}", "effort"),
        ("effort: {step: -1}", "effort step"),
        ("effort: {methods: [1]}", "effort methods"),
        ("retries: {visa: much}", "retries visa"),
    ],
)
def test_costs_that_are_none_are_refused_by_name(tmp_path, line, named):
    with pytest.raises(BadInput, match=named):
        read_fees(written(tmp_path, f"currency: EUR\nfees: {{north: {{success: 0.3}}}}\n{line}\n"))


def test_fees_that_hold_a_card_number_are_refused_without_it(tmp_path):
    path = tmp_path / "fees.yaml"
    path.write_text('currency: EUR\nfees: {"4111111111111111": {success: 1.0}}\n')
    with pytest.raises(CardNumberFound) as refused:
        read_fees(path)
    assert "1111" not in str(refused.value).replace(str(path), "")
