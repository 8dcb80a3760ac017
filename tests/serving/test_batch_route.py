"""Batches: what they answer, and what single requests notice of them."""

import asyncio
import json
import time

import httpx
import pytest

from models.engine import Engine
from serving import pieces
from serving.app import App
from serving.requests import RequestReader
from serving.settings import ServiceSettings
from serving.transport import parse_json

JSON = {"content-type": "application/json"}
NOW = 1_767_700_000_000_000


class Slow:
    """An engine that takes a millisecond, and notes whom it answers."""

    def __init__(self):
        self.engine, self.answered = Engine(None), []

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def score(self, request, **options):
        until = time.perf_counter() + 0.001
        while time.perf_counter() < until:
            pass
        self.answered.append(request.attempt["attempt_id"])
        return self.engine.score(request, **options)


@pytest.fixture
def slow():
    return Slow()


@pytest.fixture
def questions(question):
    return [{**question, "attempt": question["attempt"] | {"attempt_id": f"b{i}"}} for i in range(400)]


def asking(app, run):
    """What `run` returns, given a client of the application."""

    async def once():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://payrescue", headers=JSON) as client:
            return await run(client)

    return asyncio.run(once())


def test_single_requests_wait_for_a_few_milliseconds_of_a_batch_and_no_more(slow, question, questions):
    async def run(client):
        batch = asyncio.ensure_future(client.post("/v1/score/batch", content=json.dumps(questions)))
        waited = []
        for i in range(30):
            await asyncio.sleep(0.005)
            single = json.dumps({**question, "attempt": question["attempt"] | {"attempt_id": f"s{i}"}})
            before = len(slow.answered)
            assert (await client.post("/v1/score", content=single)).status_code == 200
            waited.append(slow.answered.index(f"s{i}") - before)
        return waited, batch.done(), (await batch).json()

    waited, done_before, answers = asking(App(slow, clock=lambda: NOW), run)
    assert not done_before
    assert max(waited) <= 8  # of the batch's 400, while a single request made its way through client and service
    assert [answer["attempt_id"] for answer in answers] == [f"b{i}" for i in range(400)]


def test_batches_that_are_too_much_together_are_turned_away_at_once(slow, questions):
    async def run(client):
        body = json.dumps(questions)
        return await asyncio.gather(*(client.post("/v1/score/batch", content=body) for _ in range(4)))

    told = asking(App(slow, ServiceSettings(most_batch=1_000), clock=lambda: NOW), run)
    assert sorted(answer.status_code for answer in told) == [200, 200, 503, 503]
    refused = next(answer for answer in told if answer.status_code == 503)
    assert (refused.headers["retry-after"], refused.json()["code"]) == ("1", "overloaded")
    assert len(slow.answered) == 800


def test_a_batch_of_many_bytes_weighs_more_than_its_questions(slow, question):
    async def run(client):
        body = json.dumps([question]) + " " * 8 * 1024 * 600
        return await asyncio.gather(*(client.post("/v1/score/batch", content=body) for _ in range(2)))

    told = asking(App(slow, clock=lambda: NOW), run)
    assert sorted(answer.status_code for answer in told) == [200, 503]


def test_faults_are_told_by_their_place_in_the_whole_batch(send, rules_app, questions):
    questions[2]["attempt"]["currency"] = "EU"
    questions[9] = 7
    questions[19]["attempt"]["currency"] = "EU"
    told = send(rules_app, "POST", "/v1/score/batch", questions[:21]).json()
    assert [error["pointer"] for error in told["errors"]] == ["/2/attempt/currency", "/9", "/19/attempt/currency"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"[", 400, "malformed_json"),
        (b"[{}] 7", 400, "malformed_json"),
        (b'[{"attempt": {"issuer": "caf\xe9"}}]', 400, "malformed_json"),
        (b"{}", 422, "invalid_request"),
        (b"7", 422, "invalid_request"),
        (b"[" + b"[" * 40 + b"]" * 40 + b"]", 400, "nested_too_deeply"),
        (b'[{"attempt": {"amount_minor": NaN}}]', 422, "invalid_request"),
        (b"[" * 100_000, 400, "malformed_json"),
        (b'[{"attempt": {"issuer": "4111111111111111"}}]', 422, "card_number"),
        (b"[{}, " + b" " * 65_536 + b"NaN]", 400, "malformed_json"),
        (b'{"attempt": "' + b"x" * 65_536 + b'"}', 413, "body_too_large"),
    ],
)
def test_what_is_no_batch_is_a_problem(send, rules_app, body, status, code):
    told = send(rules_app, "POST", "/v1/score/batch", body)
    assert (told.status_code, told.json()["code"]) == (status, code)


def test_an_empty_batch_has_no_answers(send, rules_app):
    assert send(rules_app, "POST", "/v1/score/batch", []).json() == []


@pytest.mark.parametrize("path", ["/v1/score/batch", "/v1/outcomes"])
def test_no_piece_of_a_body_is_larger_than_a_single_question_may_be(monkeypatch, send, rules_app, path):
    large = {"attempt": {"issuer": [{"a": "1 2 3"}] * 450_000}}  # 8 MB, which would take seconds to read
    read = []
    monkeypatch.setattr(pieces, "parse_json", lambda body: (read.append(len(body)), parse_json(body))[1])
    told = send(rules_app, "POST", path, json.dumps([{}, large, {}]).encode())
    assert (told.status_code, told.json()["code"]) == (413, "body_too_large")
    assert [error["pointer"] for error in told.json()["errors"]] == ["/1"]
    assert max(read, default=0) <= pieces.MOST_PIECE_BYTES


def test_the_larger_questions_are_the_fewer_are_read_at_once(monkeypatch, send, rules_app, question):
    large, at_once, read = {**question, "attempt": {"method": "x" * 20_000}}, [], RequestReader.read_batch

    def counted(self, raw, **options):
        at_once.append(len(raw))
        return read(self, raw, **options)

    monkeypatch.setattr(RequestReader, "read_batch", counted)
    told = send(rules_app, "POST", "/v1/score/batch", [question] * 10 + [large] * 2 + [question])
    assert at_once == [8, 3, 2]
    assert {error["pointer"].split("/")[1] for error in told.json()["errors"]} == {"10", "11"}
