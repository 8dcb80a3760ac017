"""The simulated market: what it promises of its tables, its policy, its oracle and its stories."""

from __future__ import annotations

import ast
import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import training
from features.columns import OUTCOMES, columns
from features.errors import BadInput
from features.taxonomy import explain_advice, explain_code, reasons
from training.simulator import World, simulate
from training.simulator_codes import (
    CATEGORY_OF,
    CODES,
    GENERIC_CODE,
    MASTERCARD_ADVICE,
    REASONS,
    SHARED_CODE,
    reason_odds,
)
from training.simulator_kernel import MAX_ATTEMPTS
from training.simulator_market import ISSUERS, METHODS, issuer_masking
from training.stories import STORIES, Health, story_named

P = [f"p_{outcome}" for outcome in OUTCOMES]
FULL = [f"full_{outcome}" for outcome in OUTCOMES]
SIGMAS = 4.5  # of chance; a check of some twenty shares fails by bad luck once in ten thousand seeds


@pytest.fixture(scope="module")
def base() -> World:
    return simulate(40_000, seed=12)


@pytest.fixture(scope="module")
def outage() -> World:
    return simulate(30_000, seed=12, story="outage")


@pytest.fixture(scope="module")
def gateway() -> World:
    return simulate(30_000, seed=13, story="gateway")


def frames(world: World) -> list[pd.DataFrame]:
    return [world.attempts, world.oracle, world.candidates, world.candidate_oracle]


def resolved(world: World) -> pd.DataFrame:
    """Attempts that are over, with the oracle beside them, whether they succeeded, and their number in the payment."""
    table = world.attempts.merge(world.oracle, on="attempt_id")
    table["number"] = table.groupby("payment_id").cumcount() + 1
    table["won"] = (table["outcome"] == "success").astype(float)
    return table[table["outcome"].notna()]


def retries(world: World) -> pd.DataFrame:
    """Retries that are over, each with the attempt that failed before it (`_before`)."""
    told = ["attempt_id", "created_at", "method", "route", "auth_flow", "reason", "outcome"]
    before = world.attempts.groupby("payment_id")[told].shift(1).add_suffix("_before")
    before.index = pd.Index(world.attempts["attempt_id"])
    table = resolved(world).join(before, on="attempt_id")
    return table[table["outcome_before"].notna()]


def worst_bin(chance: np.ndarray, won: np.ndarray, bins: int = 10) -> float:
    """The largest distance between chance and share in bins of the chance, in standard errors."""
    groups = np.array_split(np.argsort(chance), bins)
    errors = [(won[g] - chance[g]).sum() / np.sqrt((chance[g] * (1 - chance[g])).sum()) for g in groups]
    return float(np.max(np.abs(errors)))


# ---------------------------------------------------------------------------------------------- the tables


def test_the_same_arguments_give_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        simulate(300, seed=5).write(tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_another_seed_gives_another_world() -> None:
    assert not simulate(300, seed=5).attempts.equals(simulate(300, seed=6).attempts)


def test_attempts_have_the_columns_and_types_of_the_contract(base: World) -> None:
    dtypes = {
        "string": ("str",),
        "timestamp": ("datetime64[us, UTC]",),
        "int64": ("int64", "Int64"),
        "float64": ("float64",),
        "bool": ("boolean",),
        "category": ("category",),
    }
    assert list(base.attempts) == list(columns())
    wrong = {
        name: str(base.attempts[name].dtype)
        for name, column in columns().items()
        if str(base.attempts[name].dtype) not in dtypes[column.type]
    }
    assert wrong == {}


def test_what_the_contract_requires_is_never_missing(base: World) -> None:
    required = [name for name, column in columns().items() if column.required]
    assert base.attempts[required].notna().all().all()


def test_categories_keep_to_the_words_of_the_contract(base: World) -> None:
    listed = ["channel", "auth_flow", "auth_exemption", "last_event", "card_funding", "outcome"]
    strays = {
        name: set(base.attempts[name].dropna()) - set(columns()[name].meaning.replace("(", "| ").split())
        for name in listed
    }
    assert all(words == set() for words in strays.values()), strays


def test_reasons_belong_to_their_outcome_in_the_taxonomy(base: World) -> None:
    pairs = base.attempts.loc[base.attempts["reason"].notna(), ["outcome", "reason"]].drop_duplicates()
    assert {reason: reasons()[reason].category for reason in pairs["reason"]} == dict(
        zip(pairs["reason"], pairs["outcome"], strict=True)
    )


def test_identifiers_are_unique_and_too_short_for_card_numbers(base: World) -> None:
    ids = [base.attempts["attempt_id"], base.candidates["candidate_id"]]
    assert all(column.is_unique for column in ids)
    assert max(column.str.len().max() for column in [*ids, base.attempts["customer_id"]]) < 13


def test_what_is_of_cards_is_missing_where_there_is_no_card(base: World) -> None:
    card = base.attempts["method"] == "card"
    for name in ("card_brand", "card_funding", "issuer", "issuer_country", "card_months_to_expiry", "network_token"):
        assert (base.attempts[name].notna() == card).all(), name


def test_a_server_sees_no_customer(base: World) -> None:
    server = base.attempts[base.attempts["channel"] == "server"]
    assert len(server) > 0
    assert server[["network_rtt_ms", "form_seconds", "form_errors", "last_event"]].isna().all().all()
    assert (server["recurring"] & server["stored"] & (server["auth_flow"] == "none")).all()


@settings(max_examples=25, deadline=None)
@given(
    payments=st.integers(1, 40),
    seed=st.integers(0, 2**32),
    story=st.sampled_from(sorted(STORIES)),
    days=st.floats(0.05, 40.0),
)
def test_any_small_world_is_in_order(payments: int, seed: int, story: str, days: float) -> None:
    world = simulate(payments, seed, story, days=days)
    attempts, oracle = world.attempts, world.oracle
    assert attempts["payment_id"].nunique() == payments
    assert attempts["created_at"].is_monotonic_increasing
    over = attempts["resolved_at"].notna()
    assert (attempts["resolved_at"] >= attempts["created_at"])[over].all()
    assert attempts["propensity"].between(0.0, 1.0, inclusive="right").all()
    for names in (P, FULL):
        assert np.allclose(oracle[names].sum(axis=1), 1.0)
        assert (oracle[names] >= 0.0).all().all()
    assert world.candidate_oracle["p_success"].between(0.0, 1.0).all()
    failed = attempts[over & (attempts["outcome"] != "success")]["attempt_id"]
    assert set(world.candidates["attempt_id"]) == set(failed)


def test_a_payment_ends_with_its_success(base: World) -> None:
    table = resolved(base)
    last = table.groupby("payment_id")["number"].transform("max")
    assert (table.loc[table["won"] == 1.0, "number"] == last[table["won"] == 1.0]).all()
    assert last.max() <= MAX_ATTEMPTS


def test_a_retry_comes_after_the_failure_was_seen(base: World) -> None:
    attempts = base.attempts
    seen = attempts["created_at"] + pd.to_timedelta(attempts["duration_s"], unit="s")
    before = seen.groupby(attempts["payment_id"]).shift(1)
    assert (attempts["created_at"] > before)[before.notna()].all()


def test_some_who_left_come_back_before_their_leaving_is_known(base: World) -> None:
    attempts = base.attempts
    known = attempts.groupby("payment_id")["resolved_at"].shift(1)
    outcome = attempts.groupby("payment_id")["outcome"].shift(1)
    early = attempts["created_at"] < known
    assert early.sum() > 0
    assert set(outcome[early]) <= {"user_abandonment", "unclassified"}


def test_abandonment_matures_after_half_an_hour(base: World) -> None:
    left = base.attempts[base.attempts["outcome"] == "user_abandonment"]
    assert (left["resolved_at"] - left["created_at"]).min() >= pd.Timedelta(minutes=30)


def test_a_customer_pays_for_one_thing_at_a_time(base: World) -> None:
    first = base.attempts.groupby("payment_id").agg(
        customer=("customer_id", "first"), begun=("created_at", "min"), over=("resolved_at", "max")
    )
    first = first.sort_values(["customer", "begun"])
    same = first["customer"] == first["customer"].shift(1)
    assert (first["begun"] > first["over"].shift(1))[same & first["over"].shift(1).notna()].all()


def test_prior_payments_count_the_successes_seen_before(base: World) -> None:
    attempts = base.attempts[base.attempts["outcome"].notna()]
    won = (attempts["outcome"] == "success").astype(int)
    before = won.groupby(attempts["customer_id"]).cumsum() - won
    begun_with = (attempts["prior_payments"] - before).groupby(attempts["customer_id"])
    assert (begun_with.min() == begun_with.max()).all()
    assert begun_with.min().min() == 0


def test_what_resolves_after_the_end_is_pending() -> None:
    world = simulate(4_000, seed=3, days=0.5)
    end = datetime(2026, 1, 5, 12, tzinfo=UTC)
    open_ = world.attempts["resolved_at"].isna()
    after = [name for name, column in columns().items() if column.known == "after"]
    assert open_.any()
    assert world.about["pending"] == open_.sum()
    assert world.attempts.loc[open_, after].isna().all().all()
    assert (world.attempts.loc[~open_, "resolved_at"] <= end).all()


# ---------------------------------------------------------------------------------------------- the policy


def test_first_choices_are_made_with_the_logged_propensity(base: World) -> None:
    """Weighting by one over the propensity, every option of a country and method is tried equally often."""
    table = resolved(base)
    first = table[(table["number"] == 1) & ~table["recurring"].astype(bool)]
    for (_, method), rows in first.groupby(["country", "method"], observed=True):
        options = rows[["route", "auth_flow"]].drop_duplicates()
        for option in options.itertuples(index=False):
            taken = ((rows["route"] == option.route) & (rows["auth_flow"] == option.auth_flow)).to_numpy()
            weight = taken / rows["propensity"].to_numpy()
            assert abs(weight.mean() - 1.0) < SIGMAS * weight.std() / np.sqrt(len(rows)) + 1e-9, (method, option)


def test_retries_are_chosen_with_the_logged_propensity(base: World) -> None:
    """One over the propensity is, on average, the number of candidates there were."""
    rows = retries(base)
    offered = rows["attempt_id_before"].map(base.candidates.groupby("attempt_id").size())
    gap = (1.0 / rows["propensity"] - offered).to_numpy()
    assert abs(gap.mean()) < SIGMAS * gap.std() / np.sqrt(len(gap))


def test_there_are_three_to_eight_candidates_after_every_failure(base: World) -> None:
    counts = base.candidates.groupby("attempt_id").size()
    assert counts.between(3, 8).all()


def test_every_retry_was_among_the_candidates(base: World) -> None:
    keys = ["method", "route", "auth_flow", "auth_steps"]
    rows = retries(base)
    found = rows.merge(
        base.candidates[["attempt_id", *keys]].drop_duplicates(),
        left_on=["attempt_id_before", *keys],
        right_on=["attempt_id", *keys],
    )
    assert len(found) == len(rows)


# ---------------------------------------------------------------------------------------------- the oracle


@pytest.mark.parametrize("story", ["base", "outage"])
@pytest.mark.parametrize("kind", ["p", "full"])
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_oracle_is_calibrated(story: str, kind: str, outcome: str, request: pytest.FixtureRequest) -> None:
    table = resolved(request.getfixturevalue(story))
    if outcome != "success":  # the label of some failures is lost, the same share of all of them
        table = table[table["outcome"] != "unclassified"]
    chance, happened = table[f"{kind}_{outcome}"].to_numpy(), (table["outcome"] == outcome).to_numpy().astype(float)
    if outcome != "success":
        chance = chance * 0.97 / (1.0 - 0.03 * (1.0 - table[f"{kind}_success"].to_numpy()))
    assert worst_bin(chance, happened) < SIGMAS


@pytest.mark.parametrize("story", sorted(STORIES))
def test_who_knows_more_predicts_better(story: str, request: pytest.FixtureRequest) -> None:
    table = resolved(request.getfixturevalue(story))
    table = table[table["outcome"] != "unclassified"]
    happened = table["outcome"].map({outcome: k for k, outcome in enumerate(OUTCOMES)}).to_numpy(int)
    share = np.bincount(happened, minlength=5) / len(happened)
    rows = np.arange(len(table))
    prior = -np.log(share[happened]).mean()
    seen, all_ = (-np.log(table[names].to_numpy()[rows, happened]).mean() for names in (P, FULL))
    assert all_ < seen < 0.8 * prior


def test_the_mix_of_outcomes_is_a_checkouts(base: World) -> None:
    share = resolved(base)["outcome"].value_counts(normalize=True)
    wanted = {
        "success": (0.70, 0.80),
        "authentication": (0.03, 0.07),
        "bank_decline": (0.08, 0.13),
        "user_abandonment": (0.05, 0.09),
        "technical": (0.015, 0.045),
    }
    assert {name: round(share[name], 3) for name, (low, high) in wanted.items() if not low < share[name] < high} == {}


def test_a_retry_at_once_has_exactly_its_candidates_chance(base: World) -> None:
    keys = ["method", "route", "auth_flow", "auth_steps"]
    offered = base.candidates[base.candidates["wait_s"] == 0].merge(base.candidate_oracle, on="candidate_id")
    rows = retries(base)
    at_once = rows[rows["created_at"] - rows["created_at_before"] < pd.Timedelta(minutes=50)]
    both = at_once.merge(offered, left_on=["attempt_id_before", *keys], right_on=["attempt_id", *keys])
    assert len(both) > 1000
    assert both["p_success_x"].to_numpy() == pytest.approx(both["p_success_y"].to_numpy(), rel=0, abs=1e-12)


def test_candidates_chances_are_true_of_those_who_go_on(base: World) -> None:
    keys = ["method", "route", "auth_flow", "auth_steps"]
    offered = base.candidates.merge(base.candidate_oracle, on="candidate_id")
    offered = offered.drop_duplicates(["attempt_id", *keys])  # now and later differ by the wait alone
    both = retries(base).merge(offered, left_on=["attempt_id_before", *keys], right_on=["attempt_id", *keys])
    assert worst_bin(both["p_success_y"].to_numpy(), both["won"].to_numpy(), bins=5) < SIGMAS


# ---------------------------------------------------------------------------------------------- why it matters why


def chances(world: World, reason: str | list[str]) -> pd.DataFrame:
    """The candidates after failures of that reason, by card, with their chance and what failed (`_before`)."""
    failed = world.attempts[world.attempts["reason"].isin(np.atleast_1d(reason)) & (world.attempts["method"] == "card")]
    offered = world.candidates.merge(world.candidate_oracle, on="candidate_id")
    return offered.merge(failed, on="attempt_id", suffixes=("", "_before")).assign(
        same=lambda rows: (rows["method"] == rows["method_before"]) & (rows["route"] == rows["route_before"])
        & (rows["auth_flow"] == rows["auth_flow_before"]) & (rows["auth_steps"] == rows["auth_steps_before"]),
        other_route=lambda rows: (rows["method"] == rows["method_before"]) & (rows["route"] != rows["route_before"]),
        other_method=lambda rows: rows["method"] != rows["method_before"],
    )  # fmt: skip


def mean_chance(rows: pd.DataFrame, which: str) -> float:
    return float(rows.loc[rows[which] & (rows["wait_s"] == 0), "p_success"].mean())


@pytest.mark.parametrize("reason", ["insufficient_funds", "limit_exceeded"])
def test_without_funds_another_method_helps_and_another_route_does_not(base: World, reason: str) -> None:
    rows = chances(base, reason)
    assert mean_chance(rows, "other_route") < 0.3
    assert mean_chance(rows, "other_method") > 2.0 * mean_chance(rows, "same")


def test_a_dead_card_fails_again_whatever_the_route(base: World) -> None:
    rows = chances(base, ["lost_or_stolen", "account_unusable", "authorization_revoked"])
    assert rows.loc[rows["same"] | rows["other_route"], "p_success"].mean() < 0.03


def test_an_expired_card_fails_again(base: World) -> None:
    rows = chances(base, "card_data_invalid")
    rows = rows[rows["card_months_to_expiry"] < 0.0]
    assert mean_chance(rows, "same") < 0.02


@pytest.mark.parametrize("reason", ["processor_error", "config_error"])
def test_a_route_that_failed_is_mended_by_another_route(base: World, reason: str) -> None:
    rows = chances(base, reason)
    assert mean_chance(rows, "other_route") > mean_chance(rows, "same") + 0.1


def test_an_issuer_that_is_away_is_away_on_every_route(outage: World) -> None:
    rows = chances(outage, "issuer_unavailable")
    assert mean_chance(rows, "other_route") < mean_chance(rows, "other_method") - 0.2


def test_suspicion_is_eased_by_authentication(base: World) -> None:
    rows = chances(base, "suspected_fraud")
    rows = rows[rows["auth_flow_before"] != "challenge"]
    stepped = (rows["auth_flow"] == "challenge") & (rows["route"] == rows["route_before"])
    assert rows.loc[stepped, "p_success"].mean() > mean_chance(rows, "same") + 0.1


def test_who_closed_a_challenge_stays_more_often_when_fewer_steps_are_left(base: World) -> None:
    left = base.attempts[(base.attempts["reason"] == "challenge_abandoned") & (base.attempts["auth_steps"] >= 2)]
    offered = base.candidates.merge(base.candidate_oracle, on="candidate_id").merge(
        left, on="attempt_id", suffixes=("", "_before")
    )
    kept = (offered["method"] == offered["method_before"]) & (offered["auth_flow"] == offered["auth_flow_before"])
    again = kept & (offered["route"] == offered["route_before"]) & (offered["wait_s"] == 0)
    shorter = offered["auth_steps"] < offered["auth_steps_before"]
    assert shorter[again].any()
    assert offered[again & shorter]["p_success"].mean() > offered[again & ~shorter]["p_success"].mean() + 0.02


# ---------------------------------------------------------------------------------------------- what is seen of it


def test_issuers_say_only_declined_as_often_as_they_mask(base: World) -> None:
    rows = base.attempts[
        (base.attempts["outcome"] == "bank_decline") & base.attempts["response_code"].notna()
        & (base.attempts["method"] == "card") & ~base.attempts["reason"].isin(["generic_decline", "risk_block"])
        & base.attempts["code_scheme"].isin(["iso8583", "stripe", "adyen"])
    ]  # fmt: skip
    said = [reason in CODES[scheme] for scheme, reason in zip(rows["code_scheme"], rows["reason"], strict=True)]
    rows = rows[said]
    masked = (rows["response_code"].astype(str) == rows["code_scheme"].astype(str).map(GENERIC_CODE)).to_numpy()
    expected = issuer_masking()[[ISSUERS.index(name) for name in rows["issuer"]]]
    assert abs(masked.mean() - expected.mean()) < SIGMAS * np.sqrt(0.25 / len(rows))


def test_codes_say_the_reason_or_nothing(base: World) -> None:
    rows = base.attempts[base.attempts["response_code"].notna() & base.attempts["reason"].notna()]
    strays = {
        (scheme, code, reason)
        for scheme, code, reason in zip(rows["code_scheme"], rows["response_code"], rows["reason"], strict=True)
        if code not in CODES[scheme].get(reason, ()) and code not in {GENERIC_CODE[scheme], SHARED_CODE.get(scheme)}
    }
    assert strays == set()


def test_one_code_stands_for_failed_authentication_and_for_a_closed_challenge(base: World) -> None:
    rows = base.attempts[
        (base.attempts["response_code"] == SHARED_CODE["adyen"]) & (base.attempts["code_scheme"] == "adyen")
    ]
    assert {"authentication", "user_abandonment"} <= set(rows["outcome"])


def test_leaving_mostly_sends_no_code(base: World) -> None:
    left = base.attempts[base.attempts["outcome"] == "user_abandonment"]
    assert left["response_code"].isna().mean() > 0.5


def test_a_few_failures_are_explained_by_nothing(base: World) -> None:
    table = resolved(base)
    failed = table[table["won"] == 0.0]
    lost = failed["outcome"] == "unclassified"
    assert abs(lost.mean() - 0.03) < SIGMAS * np.sqrt(0.03 * 0.97 / len(failed))
    assert failed.loc[lost, "reason"].isna().all()


def test_telemetry_loses_one_event_in_fourteen(base: World) -> None:
    rows = resolved(base)
    rows = rows[rows["channel"] != "server"]
    assert 0.05 < rows["last_event"].isna().mean() < 0.10


def test_a_closed_challenge_is_mostly_seen_as_closed_and_sometimes_only_as_shown(base: World) -> None:
    rows = base.attempts[
        (base.attempts["reason"] == "challenge_abandoned") & (base.attempts["auth_flow"] == "challenge")
    ]
    share = rows["last_event"].value_counts(normalize=True)
    assert share["challenge_closed"] > 0.4
    assert 0.02 < share["challenge_shown"] < 0.2


# ---------------------------------------------------------------------------------------------- the stories


def test_first_time_payers_fail_at_the_gateway_as_often_as_not(gateway: World) -> None:
    table = resolved(gateway)
    first = table[
        (table["number"] == 1) & (table["prior_payments"] == 0) & table["country"].isin(["KR", "TW"])
        & ~table["recurring"].astype(bool)
    ]  # fmt: skip
    won = first.groupby("method", observed=True)["won"].mean()
    assert set(won.index) == {"bank_transfer", "quick_pay"}
    assert 0.42 < won["bank_transfer"] < 0.58
    assert won["quick_pay"] > 0.85
    assert first.loc[first["method"] == "bank_transfer", "auth_steps"].between(5, 7).all()
    assert (first["method"] == "quick_pay").mean() == pytest.approx(0.15, abs=0.04)


def test_the_gateway_leaves_returning_payers_alone(gateway: World) -> None:
    returning = gateway.attempts[gateway.attempts["prior_payments"] > 0]
    assert returning["auth_steps"].max() < 5


def ill(world: World) -> pd.Series:
    """Whether each attempt's route was down at its creation, by the story's own account."""
    down = pd.Series(False, index=world.attempts.index)
    for spell in world.about["ill"]:
        since, until = pd.Timestamp(spell["from"]), pd.Timestamp(spell["until"])
        inside = world.attempts["created_at"].between(since, until, inclusive="left")
        down |= inside & (world.attempts["route"].astype(str) == spell["entity"])
    return down


def test_outages_are_full_of_technical_failures(outage: World) -> None:
    technical, down = outage.attempts["outcome"] == "technical", ill(outage)
    assert down.any()
    assert technical[down].mean() > 10.0 * technical[~down].mean()


def test_the_oracle_notices_an_outage_but_not_before_it_could(outage: World) -> None:
    rows, down = outage.oracle, ill(outage)
    seen, true = rows.loc[down, "p_technical"].mean(), rows.loc[down, "full_technical"].mean()
    assert 5.0 * rows.loc[~down, "p_technical"].mean() < seen < 0.98 * true


def test_health_is_ill_for_its_share_of_the_time(outage: World) -> None:
    assert Health(well_hours=30.0, ill_hours=10.0, illness=1.0).share_ill == 0.25
    hours = sum(
        (pd.Timestamp(spell["until"]) - pd.Timestamp(spell["from"])).total_seconds() / 3600.0
        for spell in outage.about["ill"]
    )
    share = hours / (28 * 24 * 49)
    assert 0.5 * STORIES["outage"].issuer_health.share_ill < share < 2.0 * STORIES["outage"].issuer_health.share_ill


# ---------------------------------------------------------------------------------------------- tables as data


def test_every_reason_is_drawn_somewhere() -> None:
    odds = np.diff(reason_odds(), axis=1, prepend=0.0)
    assert (odds >= 0.0).all()
    assert {reason for k, reason in enumerate(REASONS) if odds[:, k].max() > 0.0} == set(REASONS)


def test_every_code_means_its_reason_in_the_taxonomy() -> None:
    wrong = []
    for scheme, table in CODES.items():
        for reason, codes in table.items():
            for code in codes:
                meaning = explain_code(scheme, code)
                if meaning is None or meaning.category != CATEGORY_OF[reason]:
                    wrong.append((scheme, code, reason))
    assert wrong == []


def test_every_advice_is_one_of_mastercards() -> None:
    assert all(explain_advice(code, None, "mastercard") for row in MASTERCARD_ADVICE.values() for code in row)


def test_stories_are_found_by_name() -> None:
    assert [story_named(name).name for name in STORIES] == list(STORIES)


# ---------------------------------------------------------------------------------------------- at the edges


def test_one_payment_is_a_world() -> None:
    assert simulate(1, seed=0).attempts["payment_id"].nunique() == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"payments": 0}, "payments '0': want 1 to"),
        ({"story": "storm"}, "story 'storm': want base, gateway, outage"),
        ({"days": 0.0}, "days '0.0': want more than 0"),
        ({"days": float("nan")}, "days 'nan': want more than 0"),
        ({"start": datetime(2026, 1, 5)}, "start '2026-01-05T00:00:00': want a time with a zone"),
        ({"seed": -1}, "seed '-1': want a whole number"),
    ],
)
def test_bad_arguments_are_named_with_what_is_allowed(arguments: dict[str, object], named: str) -> None:
    given: dict[str, object] = {"payments": 10, "seed": 1} | arguments
    with pytest.raises(BadInput) as caught:
        simulate(**given)  # type: ignore[arg-type]
    assert named in str(caught.value)


def test_start_and_days_frame_the_world() -> None:
    start = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
    created = simulate(200, seed=1, start=start, days=2.0).attempts["created_at"]
    assert created.min() >= start
    assert created.max() <= start + pd.Timedelta(days=2)


def test_progress_runs_from_nought_to_one() -> None:
    seen: list[float] = []
    simulate(50, seed=1, progress=seen.append)
    assert seen[-1] == 1.0
    assert all(a < b for a, b in pairwise(seen))


def test_writing_leaves_five_whole_files_and_nothing_else(tmp_path: Path) -> None:
    world = simulate(100, seed=1)
    world.write(tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "attempts.parquet", "candidate_oracle.parquet", "candidates.parquet", "oracle.parquet", "story.json",
    ]  # fmt: skip
    for name, frame in zip(("attempts", "oracle", "candidates", "candidate_oracle"), frames(world), strict=True):
        assert len(pd.read_parquet(tmp_path / "out" / f"{name}.parquet")) == len(frame)
    about = json.loads((tmp_path / "out" / "story.json").read_text())
    assert (about["story"], about["seed"], about["payments"]) == ("base", 1, 100)


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(self: pd.DataFrame, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full_disk)
    with pytest.raises(OSError, match="disk full"):
        simulate(20, seed=1).write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_simulator_knows_no_feature_definitions() -> None:
    allowed = {"features.columns", "features.errors"}
    folder = Path(training.__path__[0])
    for file in [folder / "stories.py", *folder.glob("simulator*.py")]:
        tree = ast.parse(file.read_text())
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
        ours = {name for name in imported if name.split(".")[0] in {"features", "models", "serving"}}
        assert ours <= allowed, file.name


def test_methods_of_the_market_are_the_contracts() -> None:
    assert set(METHODS) <= set(columns()["method"].meaning.split(" | "))


CHANGES = (
    {"method": "quick_pay"},
    {"route": "north"},
    {"stored": 1},
    {"form_errors": 0},
    {"auth_flow": "frictionless"},
)


@pytest.fixture(scope="module")
def asked():
    return simulate(3000, 5, "gateway", changes=CHANGES)


def test_asking_what_a_change_would_do_changes_nothing(asked):
    plain = simulate(3000, 5, "gateway")
    assert asked.attempts.equals(plain.attempts)
    assert asked.oracle.equals(plain.oracle)
    assert plain.would.empty


@pytest.mark.parametrize("place", range(len(CHANGES)))
def test_a_change_to_what_was_done_anyway_has_the_oracle_s_probability(asked, place):
    (column, value), *_ = CHANGES[place].items()
    told = asked.would[asked.would["change"] == place].merge(asked.oracle, on="attempt_id", suffixes=("", "_done"))
    told = told.merge(asked.attempts, on="attempt_id")
    same = (told[column] == value).fillna(False).astype(bool) & told["p_success"].notna()
    assert same.sum() > 20
    assert np.allclose(told["p_success"][same], told["p_success_done"][same])
    assert np.allclose(told["full_success"][same], told["full_success_done"][same])


def test_what_the_market_does_not_offer_cannot_be_had(asked):
    told = asked.would[asked.would["change"] == 4].merge(asked.attempts, on="attempt_id")
    assert (
        told["p_success"]
        .isna()
        .equals(told["method"].isin(["bank_transfer", "carrier_billing", "convenience_store", "bnpl"]))
    )


def test_a_change_that_cannot_be_made_is_told():
    with pytest.raises(BadInput, match="route 'moon': want north"):
        simulate(10, 1, changes=[{"route": "moon"}])
    with pytest.raises(BadInput, match="country: want method"):
        simulate(10, 1, changes=[{"country": "KR"}])
