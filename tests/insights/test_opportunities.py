"""Opportunities: the truth is within the interval, the passwords come first, and what is told of the evidence is so."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from benchmarks.opportunities import GATEWAYS, judged, share_that_hold
from features.attempts import check_attempts
from features.errors import BadInput
from insights.opportunities import opportunities, ranked
from insights.opportunities_backlog import Backlog, Hypothesis, read_backlog
from training.simulator import simulate

NOW = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def attempts():
    return check_attempts(simulate(12_000, 6, "gateway").attempts, now=NOW, for_training=True)


@pytest.fixture(scope="module")
def told(attempts):
    return opportunities(attempts, None, None, np.random.default_rng(1))


@pytest.fixture(scope="module")
def world():
    return judged(3, "gateway", payments=20_000)


def test_the_passwords_of_the_gateway_come_first_at_about_their_true_size(world):
    first = world[0]
    assert first.told.id in GATEWAYS
    assert first.told.driver == "auth_steps"
    assert first.holds(first.told.gain)
    assert first.truth > 0.25


def test_intervals_hold_the_truth_where_a_plain_comparison_s_do_not(world):
    assert share_that_hold(world) >= 0.8  # of some fifteen at 95 %: fewer by chance once in a hundred
    assert share_that_hold(world, plain=True) < share_that_hold(world)


def test_what_checkout_decides_comes_before_what_happens_on_the_customer_s_side(told):
    ceiling = ["ceiling" in one.warnings for one in told]
    assert ceiling == sorted(ceiling)
    assert [one.rank for one in told] == list(range(1, len(told) + 1))


def test_the_order_is_that_of_who_suggested_not_that_of_the_estimates(told):
    modest, great = sorted(told[:2], key=lambda one: one.payments.low)
    assert [one.id for one in ranked([(great, 1.0), (modest, 2.0)])] == [modest.id, great.id]


def test_only_what_chance_chose_is_called_randomised(told):
    by_chance = {one.driver for one in told if one.evidence == "randomised"}
    assert by_chance
    assert by_chance <= {"route", "auth_flow"}


def test_without_propensities_nothing_is_randomised(attempts):
    blind = opportunities(attempts.drop(columns="propensity"), None, None, np.random.default_rng(1))
    assert {one.evidence for one in blind} <= {"doubly robust", "association only"}


def test_the_same_generator_gives_the_same_backlog(attempts, told):
    assert opportunities(attempts, None, None, np.random.default_rng(1)) == told


def test_the_machine_s_form_has_the_promised_fields_first(told):
    fields = (
        "driver segment change gain_points low high payments_per_month amount_minor_per_month evidence sample_size days"
    )
    for one in told:
        row = one.as_dict()
        assert list(row)[:11] == fields.split()
        assert row["low"] <= row["gain_points"] <= row["high"]
        assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_a_segment_s_money_is_in_its_currency(told):
    currencies = {"KR": "KRW", "JP": "JPY", "TW": "TWD", "US": "USD"}
    assert all(set(one.amount_minor) == {currencies[one.segment["country"]]} for one in told)


def test_one_s_own_hypothesis_is_estimated_and_one_s_own_words_are_told(attempts, told):
    generated = told[0].id
    own = Hypothesis(
        "ours", "route", {"country": "US", "method": "card"}, {"route": "delta"}, {"route": "north"}, "Leave delta",
        "a day", own=True,
    )  # fmt: skip
    backlog = Backlog(
        (own,), {generated: {"change": "No more passwords", "effort": "3 weeks"}}, frozenset({told[1].id})
    )
    found = {one.id: one for one in opportunities(attempts, None, backlog, np.random.default_rng(1))}
    assert (found["ours"].own, found["ours"].effort, found["ours"].driver_label) == (
        True,
        "a day",
        "processor or acquirer",
    )
    assert (found[generated].change, found[generated].effort) == ("No more passwords", "3 weeks")
    assert told[1].id not in found


def test_sides_without_anything_in_common_are_association_only(attempts):
    own = Hypothesis("x", "country", {}, {"country": "KR"}, {"country": "US"}, "Move abroad", own=True)
    found = opportunities(attempts, None, Backlog((own,)), np.random.default_rng(1))
    (one,) = [one for one in found if one.id == "x"]
    assert one.evidence == "association only"
    assert one.gain == one.naive
    assert "no_overlap" in one.warnings


def test_a_hypothesis_about_nothing_is_left_out(attempts):
    own = Hypothesis("x", "route", {"country": "FR"}, {"route": "a"}, {"route": "b"}, "Nowhere", own=True)
    assert "x" not in {one.id for one in opportunities(attempts, None, Backlog((own,)), np.random.default_rng(1))}


@pytest.mark.parametrize("rows", [0, 10])
def test_too_few_attempts_suggest_nothing(attempts, rows):
    few = attempts.iloc[:rows].reset_index(drop=True)
    assert opportunities(few, None, None, np.random.default_rng(1)) == []


def test_a_table_with_the_required_columns_alone_is_enough(attempts):
    needed = ["attempt_id", "payment_id", "created_at", "amount_minor", "currency", "country", "method", "outcome"]
    assert opportunities(attempts[needed], None, None, np.random.default_rng(1)) == []


def written(tmp_path, text):
    path = tmp_path / "backlog.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_backlog_is_read(tmp_path):
    found = read_backlog(
        written(
            tmp_path,
            """
opportunities:
  - id: ours
    change: Offer quick pay
    segment: {country: [KR, TW], first_time: true}
    from: {auth_steps: {from: 5}}
    to: {auth_steps: {to: 1}}
    effort: 3 weeks
  - {id: "route:US:card:delta>north", effort: a day}
  - {id: "stored:KR:card:not_first_time:on", hide: true}
""",
        )
    )
    (own,) = found.own
    assert (own.driver, own.before, own.own) == ("auth_steps", {"auth_steps": {"from": 5}}, True)
    assert found.words["route:US:card:delta>north"] == {"effort": "a day"}
    assert found.hidden == {"stored:KR:card:not_first_time:on"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{id: x, from: {contry: KR}, to: {route: b}}", "from.contry: want a column known before the attempt"),
        ("{id: x, from: {route: a}}", "to: want what differs"),
        ("{id: x, from: {auth_steps: {least: 3}}, to: {auth_steps: 1}}", "a value, a list of values"),
        ("{change: x}", "id: want a name"),
        ("{id: x, hide: maybe}", "hide 'maybe': want true or false"),
        ("{id: x, gain: 3}", "gain: want one of id"),
        ("{id: x, driver: luck, from: {route: a}, to: {route: b}}", "driver 'luck': want the name of a feature"),
        ("{id: x}\n  - {id: x}", "id 'x': want each once"),
        ("4111111111111111", "holds a card number"),
        ("x", r"opportunities\[0\] 'x'"),
    ],
)
def test_a_backlog_that_cannot_be_used_says_why(tmp_path, line, said):
    with pytest.raises(BadInput, match=said) as caught:
        read_backlog(written(tmp_path, f"opportunities:\n  - {line}\n"))
    assert "4111" not in str(caught.value)
