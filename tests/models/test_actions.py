import csv
from pathlib import Path

import pytest

import models.actions
from features.taxonomy import reasons
from models.actions import ACTIONS, MEANS_ACTIONS, amounts_to, decision_table
from models.messages import message_keys

FOLDER = Path(models.actions.__file__).parent
with (FOLDER / "decision_table.csv").open(encoding="utf-8") as file:
    ROWS = list(csv.DictReader(file))
with (FOLDER.parent / "features" / "codes.csv").open(encoding="utf-8") as file:
    SUB_REASONS = {row["sub_reason"]: row["category"] for row in csv.DictReader(file)}
PLANS = decision_table().plans
ATTEMPT = {"method": "card", "route": "north", "auth_flow": "frictionless", "auth_steps": 1}


def test_every_reason_has_a_plan():
    assert set(reasons()) <= set(PLANS)


def test_every_plan_is_of_a_reason_a_sub_reason_or_the_unknown():
    assert set(PLANS) <= set(reasons()) | set(SUB_REASONS) | {"unknown"}


def test_every_row_has_its_reason_s_category():
    categories = {**SUB_REASONS, **{name: r.category for name, r in reasons().items()}, "unknown": "unknown"}
    assert [row for row in ROWS if row["category"] != categories[row["reason"]]] == []


def test_every_action_of_the_table_is_one_that_a_suggestion_can_name():
    assert {row["action"] for row in ROWS} <= set(ACTIONS)


def test_every_step_has_a_message_and_a_because_and_every_ban_a_rule():
    for row in ROWS:
        if row["place"] == "never":
            assert row["rule"]
        else:
            assert row["message_key"] in message_keys()
        assert row["because"]


@pytest.mark.parametrize("reason", list(PLANS))
def test_every_plan_has_something_to_say_when_nothing_can_be_paid_with(reason):
    plan = PLANS[reason]
    assert plan.always is not None or plan.steps[-1].action not in {*MEANS_ACTIONS, plan.stand_in}


@pytest.mark.parametrize("reason", list(PLANS))
def test_no_plan_prefers_what_it_forbids(reason):
    plan = PLANS[reason]
    assert not set(plan.by_action) & set(plan.never)


@pytest.mark.parametrize("reason", list(PLANS))
def test_places_are_counted_from_one_without_gaps(reason):
    places = sorted(int(row["place"]) for row in ROWS if row["reason"] == reason and row["place"].isdigit())
    assert places == list(range(1, len(places) + 1))


@pytest.mark.parametrize("reason", ["lost_or_stolen", "risk_block", "authorization_revoked"])
def test_the_same_means_is_never_tried_again_in_any_way(reason):
    assert {"retry_same", "retry_other_route", "step_up", "retry_later"} <= set(PLANS[reason].never)


def test_a_timeout_is_checked_before_anything_else():
    assert PLANS["network_timeout"].always.action == "check_status_first"


def test_a_sub_reason_s_plan_comes_before_its_reason_s():
    table = decision_table()
    assert table.plan("card_data_invalid", "expired_card").steps[0].message_key == "check_expiry"
    assert table.plan("card_data_invalid", "avs_mismatch") is table.plan("card_data_invalid")


def test_what_nothing_explains_has_a_plan():
    assert decision_table().plan(None).steps


@pytest.mark.parametrize(
    ("candidate", "wanted"),
    [
        ({"method": "card", "route": "north"}, ("retry_same",)),
        ({"method": "card"}, ("retry_same",)),
        ({"method": "card", "route": "harbor"}, ("retry_other_route",)),
        ({"method": "card", "auth_flow": "challenge"}, ("step_up",)),
        ({"method": "card", "auth_steps": 2}, ("step_up",)),
        ({"method": "card", "auth_flow": "none"}, ("retry_same",)),
        ({"method": "card", "wait_s": 60}, ("retry_later",)),
        ({"method": "card", "wait_s": 60, "route": "harbor"}, ("retry_later", "retry_other_route")),
        ({"method": "wallet", "wait_s": 60, "route": "harbor"}, ("alternate_method",)),
    ],
)
def test_a_candidate_amounts_to(candidate, wanted):
    assert amounts_to(ATTEMPT, candidate) == wanted


def test_authentication_counts_as_more_where_the_attempt_had_none():
    assert amounts_to({"method": "card"}, {"method": "card", "auth_flow": "challenge"}) == ("step_up",)
