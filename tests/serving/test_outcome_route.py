"""`POST /v1/outcomes` over HTTP, and what the other addresses leave in the log."""

import asyncio
import sqlite3
import time
from contextlib import closing

import numpy as np
import pytest

from models.engine import Engine
from serving.app import App
from serving.log import DecisionLog
from serving.settings import ServiceSettings

PAN = "4111111111111111"


@pytest.fixture
def log(tmp_path):
    log = DecisionLog(f"sqlite:///{tmp_path}/log.db")
    yield log
    log.close()


@pytest.fixture
def keeping(log, now):
    """An application that keeps a log."""
    return App(Engine(None), log=log, clock=lambda: now)


@pytest.fixture
def told():
    return {"attempt_id": "a1", "resolved_at": "2026-01-05T09:30:21Z", "outcome": "technical", "reason": "config_error"}


def problem(response, status, code):
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    return response.json()["errors"]


def test_an_outcome_is_accepted_then_a_duplicate(keeping, send, question, told, log):
    send(keeping, "POST", "/v1/score", question)
    first = send(keeping, "POST", "/v1/outcomes", told)
    assert first.status_code == 200
    counts = {"accepted": 1, "duplicates": 0, "unknown_attempts": 0}
    assert first.json() == {"request_id": first.headers["x-request-id"], **counts}
    again = send(keeping, "POST", "/v1/outcomes", [told, told | {"attempt_id": "a2"}]).json()
    assert (again["accepted"], again["duplicates"], again["unknown_attempts"]) == (1, 1, 1)
    assert [known.attempt_id for known in log.after(0, 10)] == ["a1"]


def test_each_question_of_a_batch_is_kept(keeping, send, question, log):
    questions = [question | {"attempt": question["attempt"] | {"attempt_id": f"a{i}"}} for i in range(3)]
    send(keeping, "POST", "/v1/score/batch", questions)
    outcomes = [{"attempt_id": f"a{i}", "resolved_at": "2026-01-05T09:30:21Z", "outcome": "success"} for i in range(3)]
    assert send(keeping, "POST", "/v1/outcomes", outcomes).json()["unknown_attempts"] == 0


class Featured:
    """A model that has features to show."""

    fingerprint = "sha256:1"
    code_text = plausible = None

    def outcome(self, attempt, previous):
        return [0.6, 0.1, 0.1, 0.1, 0.1]

    def candidate_success(self, attempt, previous, candidates):
        return [0.5 for _ in candidates]

    def features_of(self, attempt, previous):
        return np.array([1.5, np.nan], np.float32)


def test_a_decision_is_kept_with_the_features_that_it_was_made_by(log, send, question, tmp_path):
    app = App(Engine(Featured(), version="7"), log=log)
    del question["evidence"]
    send(app, "POST", "/v1/score", question)
    send(app, "POST", "/v1/score", question, headers={"x-deadline-ms": "0"})
    app.close()
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        columns = "features, fingerprint, model_version, degraded, p_success, latency_us"
        by_model, by_rules = connection.execute(f"SELECT {columns} FROM payrescue_decisions ORDER BY id").fetchall()
    assert by_model[:5] == (np.array([1.5, np.nan], "<f4").tobytes(), "sha256:1", "7", 0, 0.6)
    assert by_rules[0] is None
    assert 0 < by_model[5] < 10_000_000


def test_another_outcome_conflicts_and_its_place_is_pointed_at(keeping, send, told):
    send(keeping, "POST", "/v1/outcomes", told)
    other = {"attempt_id": "a1", "resolved_at": told["resolved_at"], "outcome": "success"}
    (error,) = problem(send(keeping, "POST", "/v1/outcomes", other), 409, "conflicting_outcome")
    assert (error["pointer"], error["code"]) == ("/attempt_id", "conflict")
    assert error["detail"].endswith("differs in outcome, reason")
    several = send(keeping, "POST", "/v1/outcomes", [told | {"attempt_id": "a9"}, other])
    assert [error["pointer"] for error in problem(several, 409, "conflicting_outcome")] == ["/1/attempt_id"]
    assert send(keeping, "POST", "/v1/outcomes", told | {"attempt_id": "a9"}).json()["accepted"] == 1


def test_an_outcome_from_before_its_attempt_is_pointed_at(keeping, send, question, told):
    send(keeping, "POST", "/v1/score", question)
    early = told | {"resolved_at": "2026-01-05T09:29:59Z"}
    (error,) = problem(send(keeping, "POST", "/v1/outcomes", early), 422, "invalid_request")
    assert error["pointer"] == "/resolved_at"


def test_faults_are_pointed_at_and_nothing_is_kept(keeping, send, told, log):
    response = send(keeping, "POST", "/v1/outcomes", [told, told | {"attempt_id": "a2", "outcome": "declined"}])
    assert [error["pointer"] for error in problem(response, 422, "invalid_request")] == ["/1/outcome"]
    assert send(keeping, "POST", "/v1/outcomes", told).json()["accepted"] == 1


@pytest.mark.parametrize("where", ["attempt_id", "response_code", PAN])
def test_a_card_number_is_refused_and_not_repeated(keeping, send, told, where):
    response = send(keeping, "POST", "/v1/outcomes", told | {where: PAN})
    problem(response, 422, "card_number")
    assert PAN not in response.text


def test_without_a_log_it_says_so(send, told):
    problem(send(App(Engine(None)), "POST", "/v1/outcomes", told), 503, "no_log")
    assert send(App(Engine(None)), "GET", "/readyz").json()["log"] == "none"


def test_while_the_log_is_down_scoring_goes_on(send, question, told, tmp_path):
    log = DecisionLog(f"sqlite:///{tmp_path}/nowhere/log.db")
    app = App(Engine(None), log=log)
    deadline = time.monotonic() + 10
    while log.available:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    refused = send(app, "POST", "/v1/outcomes", told)
    problem(refused, 503, "log_unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    assert send(app, "POST", "/v1/score", question).status_code == 200
    assert send(app, "GET", "/readyz").json()["log"] == "unavailable"
    log.close()
    assert log.dropped == 1


def test_a_body_may_be_as_large_as_a_batch_s(log, send, told):
    app = App(Engine(None), ServiceSettings(most_body_bytes=100, most_batch_bytes=10_000), log=log)
    assert send(app, "POST", "/v1/outcomes", [told]).status_code == 200
    problem(send(app, "POST", "/v1/outcomes", [told] * 200), 413, "body_too_large")


def test_reading_many_outcomes_lets_others_be_answered(keeping, told):
    ticks = []

    async def others():
        while True:
            ticks.append(time.perf_counter())
            await asyncio.sleep(0)

    async def both():
        ticking = asyncio.create_task(others())
        await keeping._outcomes.told([told | {"attempt_id": f"a{i}"} for i in range(1_000)])
        ticking.cancel()

    asyncio.run(both())
    assert len(ticks) > 60
