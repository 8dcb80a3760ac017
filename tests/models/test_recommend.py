"""A table of attempts and candidates, ranked by a model that was trained on the attempts before."""

import pandas as pd
import pytest

from features.attempts import check_attempts
from models.engine import Engine, EngineSettings, ScoreRequest
from models.fees import Fee, Fees
from models.grounds import Chances
from models.predictor import Predictor
from models.tables import recommend_table
from models.value import Worth
from training.settings import TrainSettings
from training.simulator import simulate
from training.train import train

OWN = ("method", "route", "auth_flow", "auth_steps")
NOW = pd.Timestamp("2026-06-01T00:00:00Z").to_pydatetime()


@pytest.fixture(scope="module")
def world():
    return simulate(2_500, seed=4)


@pytest.fixture(scope="module")
def table(world):
    return check_attempts(world.attempts, now=NOW)


@pytest.fixture(scope="module")
def artefact(table):
    settings = TrainSettings(
        max_rounds=15, early_stopping_rounds=5, select_below_rows=0, refit_below_rows=0, resamples=20
    )
    return train(table.iloc[:2_000].reset_index(drop=True), settings).artefact


@pytest.fixture(scope="module")
def late(table):
    return table.iloc[2_000:].reset_index(drop=True)


@pytest.fixture(scope="module")
def asked(world, late):
    return world.candidates[world.candidates["attempt_id"].isin(late["attempt_id"])].reset_index(drop=True)


@pytest.fixture(scope="module")
def told(artefact, table, late, asked):
    return recommend_table(artefact, late, asked, table.iloc[:2_000])


def in_groups(told):
    return told[told["rank"].notna()].groupby("attempt_id")


def test_ranks_go_by_expected_value(told):
    for _, mine in in_groups(told):
        values = mine.sort_values("rank")["expected_value"]
        assert values.is_monotonic_decreasing


def test_an_expected_value_is_the_success_s_but_for_a_little_effort_where_no_fees_are_named(told, late):
    known = told[told["rank"].notna()]
    amount = late.set_index("attempt_id").loc[known["attempt_id"], "amount_minor"].to_numpy()
    off = known["success_probability"].to_numpy(float) - known["expected_value"].to_numpy(float) / amount
    assert (off >= -0.5 / amount).all()
    assert (off <= 0.01 + 0.5 / amount).all()


def test_fees_turn_the_ranking(artefact, table, late, asked, told):
    dear = {"wallet": Fee(1e6, 1e6), "bank_transfer": Fee(1e6, 1e6)}
    fees = Fees("KRW", dear, by="method")
    paid = recommend_table(artefact, late, asked, table.iloc[:2_000], worth=Worth(fees))
    korean = set(late.loc[late["country"] == "KR", "attempt_id"])
    method = asked.set_index("candidate_id")["method"]
    last = paid[paid["attempt_id"].isin(korean) & paid["rank"].notna()]
    for _, mine in in_groups(last):
        dear_ones = mine.sort_values("rank")["candidate_id"].map(method).isin(dear).tolist()
        assert dear_ones == sorted(dear_ones)
    pd.testing.assert_frame_equal(
        *(
            frame[~frame["attempt_id"].isin(korean)].reset_index(drop=True)[["candidate_id", "rank"]]
            for frame in (told, paid)
        )
    )


def test_what_is_blocked_has_neither_rank_nor_value(told):
    blocked = told[told["blocked_by"].notna()]
    assert len(blocked) > 0
    assert blocked[["rank", "expected_value", "success_probability"]].isna().all(axis=None)


def test_the_model_ranks_better_than_chance(world, told):
    truth = told.merge(world.candidate_oracle, on="candidate_id")
    by = truth.groupby("attempt_id")["p_success"]
    first = truth[truth["rank"] == 1].set_index("attempt_id")["p_success"]
    assert first.mean() > by.mean().mean() + 0.5 * (by.max().mean() - by.mean().mean())


@pytest.fixture(scope="module")
def predictor(artefact):
    return Predictor(artefact.encoder, artefact.outcome_model(), artefact.history, artefact.ways)


ATTEMPT = {
    "created_at": 1_772_000_000_000_000, "amount_minor": 38_000, "currency": "KRW", "country": "KR", "method": "card",
    "route": "north", "auth_flow": "challenge", "auth_steps": 2,
}  # fmt: skip


def test_doing_the_same_before_an_attempt_is_the_attempt_itself(predictor):
    (told,) = predictor.candidate_success(ATTEMPT, (), [{"method": "card"}])
    assert told == predictor.outcome(ATTEMPT, ())[0]


def test_nothing_to_ask_about_has_no_chances(predictor):
    nothing = predictor.candidate_success(ATTEMPT, (), [])
    assert (list(nothing), nothing.evidence) == ([], [])
    assert isinstance(nothing, Chances)


def test_features_that_are_kept_for_the_next_question_are_of_the_same_attempt(predictor):
    one, other = dict(ATTEMPT), {**ATTEMPT, "amount_minor": 9_000_000, "method": "bank_transfer"}
    previous = ()
    first = predictor.outcome(one, previous)
    assert predictor.outcome(other, previous) != first
    assert predictor.outcome(one, previous) == first
    assert predictor.reasons(one, previous, {}) != predictor.reasons(other, previous, {})


def test_an_answer_says_what_its_ranking_rests_on_and_what_speaks_for_the_suggestion(predictor):
    attempt = {**ATTEMPT, "attempt_id": "a1", "payment_id": "p1"}
    candidates = (
        {"candidate_id": "same", "method": "card", "route": "north"},
        {"candidate_id": "wallet", "method": "wallet", "route": "direct", "auth_flow": "none", "auth_steps": 0},
    )
    evidence = {"code_scheme": "iso8583", "response_code": "51", "duration_s": 9.0}
    answer = Engine(predictor).score(ScoreRequest(attempt, evidence, (), candidates), request_id="r")
    assert all("attempts like this" in row["evidence"] for row in answer["ranking"])
    cause, *grounds = answer["suggestion"]["because"]
    assert answer["suggestion"]["candidate_id"] == "wallet"
    assert cause == "code 51 (iso8583): there is not enough money on the account"
    failed = {**attempt, **evidence, "resolved_at": attempt["created_at"] + 9_000_000,
              "outcome": "bank_decline", "reason": "insufficient_funds"}  # fmt: skip
    told = predictor.candidate_success(attempt, (failed,), candidates).why(1, 0)
    assert tuple(grounds[: len(told[:2])]) == told[:2] != ()


def test_before_an_attempt_the_reasons_are_against_the_attempt_as_it_is(predictor):
    attempt = {**ATTEMPT, "attempt_id": "a1", "payment_id": "p1"}
    wallet = {"candidate_id": "wallet", "method": "wallet", "route": "direct", "auth_flow": "none", "auth_steps": 0}
    answer = Engine(predictor, settings=EngineSettings(proceed_margin=-1.0)).score(
        ScoreRequest(attempt, None, (), (wallet,)), request_id="r"
    )
    assert answer["suggestion"]["candidate_id"] == "wallet"
    chances = predictor.candidate_success(attempt, (), [{name: ATTEMPT[name] for name in OWN}, wallet])
    told = chances.why(1, 0)[:2]
    assert tuple(answer["suggestion"]["because"][: len(told)]) == told
    assert answer["suggestion"]["success_probability"] == chances[1]
