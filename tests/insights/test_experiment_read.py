"""Experiments are planned and read: who counts, what is said, and when nothing may be said."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from features.attempts import check_attempts
from features.errors import BadInput
from insights.experiments import plan, read
from serving.experiments import Arm, Experiment
from training.simulator import simulate

NOW = datetime(2027, 1, 1, tzinfo=UTC)
BEGINS = pd.Timestamp("2026-01-12", tz="UTC")
TEST = Experiment("e", "ab", "march", (Arm("control", 0.5), Arm("challenger", 0.5)))


@pytest.fixture(scope="module")
def market():
    return simulate(12_000, 4).attempts


def arm_of(payment):
    arm = TEST.arm_of(payment)
    return None if arm is None else arm.name


def under_test(market, *, turned=0.0, kept=1.0):
    """The market with an experiment from its second week on.

    `turned`: the share of the challenger's abandoned attempts that go through; `kept`: of the challenger's payments that
    the log knows.
    """
    table = market.copy()
    rng = np.random.default_rng(0)
    begun = table.groupby("payment_id")["created_at"].transform("min")
    variant = table["payment_id"].map({payment: arm_of(payment) for payment in table["payment_id"].unique()})
    within, challenger = begun >= BEGINS, variant == "challenger"
    table["variant"] = variant.where(within).astype("category")
    table["experiment"] = pd.Series("e", index=table.index).where(within).astype("category")
    turn = within & challenger & (table["outcome"] == "user_abandonment") & (rng.random(len(table)) < turned)
    table["outcome"] = table["outcome"].astype(object).mask(turn, "success")
    table["reason"] = table["reason"].astype(object).mask(turn, None)
    lost = {payment for payment in table["payment_id"][within & challenger] if rng.random() > kept}
    return check_attempts(table[~table["payment_id"].isin(lost)].reset_index(drop=True), now=NOW)


@pytest.fixture(scope="module")
def without_effect(market):
    return under_test(market)


def read_out(attempts, **given):
    return read(attempts, "e", np.random.default_rng(1), **given)


def test_what_helps_is_shipped_and_its_interval_holds_the_size_of_the_effect(market):
    found = read_out(under_test(market, turned=0.8), assigned=arm_of, planned=6000)
    assert found.verdict == "ship"
    (effect,) = found.effects
    paid = [arm.metric.value for arm in found.arms]
    assert effect.fixed.value == pytest.approx(paid[1] - paid[0])
    assert effect.sequential.low < effect.adjusted.low < effect.adjusted.value < effect.adjusted.high


def test_what_was_known_before_takes_some_of_the_variance(without_effect):
    (effect,) = read_out(without_effect).effects
    assert 0.02 < effect.saved < 0.6


def test_what_does_nothing_is_not_shipped(without_effect):
    found = read_out(without_effect, assigned=arm_of)
    assert found.verdict == "keep running"
    assert found.keep_until > "2026-01-19"
    assert found.health.misassigned == 0.0


def test_a_planned_size_that_is_reached_without_an_effect_stops_it(without_effect):
    assert read_out(without_effect, planned=2000).verdict == "stop"


def test_arms_that_lost_payments_are_not_read(market):
    found = read_out(under_test(market, kept=0.85))
    assert found.verdict == "broken: do not read"
    assert "the arms are uneven" in found.why


def test_arms_that_are_not_those_of_the_hash_are_not_read(without_effect):
    found = read_out(without_effect, assigned=lambda payment: "control" if payment < "p-00006" else "challenger")
    assert "another arm than the hash" in " ".join(found.health.faults)


def test_payments_in_several_arms_are_left_out_and_told(market):
    table = under_test(market)
    table.loc[table["payment_id"].duplicated() & table["variant"].notna(), "variant"] = "control"
    found = read_out(table)
    assert found.health.multiple > 0.01
    assert found.verdict == "broken: do not read"


def test_all_that_were_assigned_count_even_where_the_log_shows_only_those_who_followed(market):
    table = under_test(market)
    unfollowed = (table["variant"] == "challenger") & (table["outcome"] != "success")
    table.loc[unfollowed, ["experiment", "variant"]] = np.nan
    assert read_out(table).verdict == "broken: do not read"
    honest = read_out(table, assigned=arm_of)
    assert honest.verdict == "keep running"
    assert abs(honest.effects[0].fixed.value) < 0.03


def test_a_guardrail_that_gets_worse_stops_it(market):
    table = under_test(market)
    rng = np.random.default_rng(3)
    hit = (table["variant"] == "challenger") & (table["outcome"] == "bank_decline") & (rng.random(len(table)) < 0.6)
    table["outcome"] = table["outcome"].astype(object).mask(hit, "technical").astype("category")
    found = read_out(table)
    assert (found.verdict, [guard.name for guard in found.guardrails if guard.broken]) == ("stop", ["technical"])
    assert "technical" in found.why


def test_segments_have_intervals_wide_enough_for_all_of_them(without_effect):
    found = read_out(without_effect)
    countries = [one for one in found.segments if one.column == "country"]
    assert {one.value for one in countries} == {"KR", "JP", "TW", "US"}
    assert all(one.effect.low < 0.0 < one.effect.high for one in found.segments)


def test_young_payments_do_not_count_yet(without_effect):
    found = read_out(without_effect)
    end = without_effect["created_at"].max()
    assert pd.Timestamp(found.until) <= end - pd.Timedelta(hours=24)
    assert found.health.unripe > 0


def test_every_day_s_always_valid_interval_holds_its_fixed_one(without_effect):
    days = read_out(without_effect).days
    assert len(days) > 10
    assert all(day.sequential.low < day.fixed.low and day.fixed.high < day.sequential.high for day in days)


def test_an_experiment_that_nobody_was_in_is_told(without_effect):
    with pytest.raises(BadInput, match="'other': want one that the attempts were in: e"):
        read(without_effect, "other", np.random.default_rng(1))
    with pytest.raises(BadInput, match="'moon': want challenger, control"):
        read_out(without_effect, control="moon")


def test_a_plan_takes_the_traffic_and_the_rate_of_its_segment(without_effect):
    everyone, some = plan(without_effect), plan(without_effect, segment={"country": "KR"})
    assert some.payments_per_day < everyone.payments_per_day / 2
    assert some.days > everyone.days
    assert everyone.days % 7 == 0
    assert everyone.sample_size < everyone.sample_size_looking < 3 * everyone.sample_size


def test_a_larger_effect_needs_fewer_payments(without_effect):
    sizes = [plan(without_effect, minimum_effect=effect).sample_size for effect in (0.005, 0.01, 0.02)]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"metric": "joy"}, "'joy': want paid, first_try"),
        ({"guardrails": ("luck",)}, "'luck': want attempts"),
        ({"arms": {"a": 1.0}}, "two or more"),
        ({"minimum_effect": 0.5}, "above 0 and below"),
        ({"segment": {"country": "FR"}}, "no payment of that kind"),
    ],
)
def test_a_plan_that_cannot_be_made_says_why(without_effect, given, said):
    with pytest.raises(BadInput, match=said):
        plan(without_effect, **given)
