import asyncio
import json
import logging
import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.allowed import VOCABULARIES
from features.history import features_of_request
from models.engine import Engine
from models.predictor import Predictor
from serving import transport
from serving.app import App
from serving.openapi import document
from serving.settings import ServiceSettings

PAN = "4111111111111111"
MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id", "errors"}


def problem(response, status, code):
    """Checks that a response is a problem document, and returns it."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert set(document) == MEMBERS
    assert (document["status"], document["code"]) == (status, code)
    assert document["request_id"] == response.headers["x-request-id"]
    return document


class TestScore:
    def test_a_question_gets_an_answer(self, app, send, question):
        response = send(app, "POST", "/v1/score", question)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        answer = response.json()
        assert (answer["attempt_id"], answer["model"]["version"], answer["degraded"]) == ("a1", "7", False)
        assert answer["request_id"] == response.headers["x-request-id"]

    def test_without_a_model_the_rules_answer(self, rules_app, send, question):
        answer = send(rules_app, "POST", "/v1/score", question).json()
        assert answer["degraded"]
        assert answer["suggestion"]["action"] == "retry_other_route"

    def test_a_deadline_that_has_passed_is_answered_by_the_rules(self, app, send, question):
        answer = send(app, "POST", "/v1/score", question, headers={"x-deadline-ms": "0"}).json()
        assert answer["degraded"]

    def test_a_deadline_that_has_not_passed_is_answered_by_the_model(self, app, send, question):
        answer = send(app, "POST", "/v1/score", question, headers={"x-deadline-ms": "60000"}).json()
        assert not answer["degraded"]

    @pytest.mark.parametrize("deadline", ["soon", "-1", "1.5", "", "9" * 30])
    def test_a_deadline_that_is_no_number_is_refused(self, app, send, question, deadline):
        response = send(app, "POST", "/v1/score", question, headers={"x-deadline-ms": deadline})
        problem(response, 400, "invalid_header")

    def test_a_content_type_may_name_its_charset(self, app, send, question):
        headers = {"content-type": "Application/JSON; charset=utf-8"}
        assert send(app, "POST", "/v1/score", question, headers=headers).status_code == 200


class TestBatch:
    def test_answers_come_in_the_questions_order(self, app, send, question):
        questions = [question | {"attempt": question["attempt"] | {"attempt_id": f"a{i}"}} for i in range(40)]
        response = send(app, "POST", "/v1/score/batch", questions, headers={"x-request-id": "r"})
        assert [answer["attempt_id"] for answer in response.json()] == [f"a{i}" for i in range(40)]
        assert [answer["request_id"] for answer in response.json()] == [f"r.{i}" for i in range(40)]

    def test_an_answer_is_the_same_as_alone(self, app, send, question):
        together = send(app, "POST", "/v1/score/batch", [question]).json()[0]
        alone = send(app, "POST", "/v1/score", question).json()
        assert {**together, "request_id": ""} == {**alone, "request_id": ""}

    def test_one_fault_refuses_the_batch(self, app, send, question):
        document = problem(send(app, "POST", "/v1/score/batch", [question, {}]), 422, "invalid_request")
        assert document["errors"][0]["pointer"].startswith("/1/attempt")

    def test_more_than_its_limit_is_refused(self, app, send, question):
        few = App(Engine(None), ServiceSettings(most_batch=1))
        problem(send(few, "POST", "/v1/score/batch", [question, question]), 422, "invalid_request")

    def test_a_batch_may_be_larger_than_one_question_may(self, app, send, question):
        questions = [question] * 300
        assert len(json.dumps(questions)) > ServiceSettings().most_body_bytes
        assert len(send(app, "POST", "/v1/score/batch", questions).json()) == 300


class TestOtherRoutes:
    def test_texts_are_served_by_locale(self, app, send):
        answer = send(app, "GET", "/v1/messages/ko-KR").json()
        assert answer["locale"] == "ko"
        assert answer["messages"]["try_again"]

    @pytest.mark.parametrize("locale", ["fr", PAN])
    def test_a_locale_without_texts_is_not_found(self, app, send, locale):
        response = send(app, "GET", f"/v1/messages/{locale}")
        problem(response, 404, "no_such_locale")
        assert PAN not in response.text

    def test_the_model_card_is_served(self, send):
        app = App(Engine(None, version="3"), card={"trained": "yesterday"})
        assert send(app, "GET", "/v1/model").json() == {
            "name": "payrescue",
            "version": "3",
            "features": None,
            "degraded": True,
            "card": {"trained": "yesterday"},
            "since": None,
            "previous": None,
        }

    @pytest.mark.parametrize("path", ["/livez", "/healthz", "/readyz"])
    def test_probes_are_answered(self, rules_app, send, path):
        assert send(rules_app, "GET", path).status_code == 200

    def test_head_gets_the_headers_of_get(self, app, send):
        response = send(app, "HEAD", "/readyz")
        assert (response.status_code, response.content) == (200, b"")
        assert int(response.headers["content-length"]) > 0


class TestErrors:
    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "/v1",
            "/v1/score/",
            "/v1/scores",
            "/docs",
            "/v1/messages/",
            "/v1/messages/en/x",
            f"/{PAN}",
        ],
    )
    def test_an_unknown_address_is_not_found(self, app, send, path):
        response = send(app, "GET", path)
        problem(response, 404, "not_found")
        assert PAN not in response.text

    @pytest.mark.parametrize(
        ("method", "path", "allow"),
        [("GET", "/v1/score", "POST"), ("PUT", "/v1/score/batch", "POST"), ("POST", "/readyz", "GET, HEAD")],
    )
    def test_another_method_is_refused_with_those_allowed(self, app, send, method, path, allow):
        response = send(app, method, path)
        problem(response, 405, "method_not_allowed")
        assert response.headers["allow"] == allow

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""])
    def test_another_type_is_refused(self, app, send, question, kind):
        response = send(app, "POST", "/v1/score", question, headers={"content-type": kind})
        problem(response, 415, "unsupported_media_type")

    def test_a_compressed_body_is_refused(self, app, send, question):
        response = send(app, "POST", "/v1/score", question, headers={"content-encoding": "gzip"})
        problem(response, 415, "unsupported_media_type")

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"{'a': 1}",
            b"\xff",
            b'{"attempt":{"issuer":"caf\xe9"}}',
            b'{"attempt": NaN',
            b'{"a":' * 50_000,
            b"[" * 60_000,
            b"[NaN," * 9_000,
        ],
    )
    def test_what_is_no_json_is_refused(self, app, send, body):
        roomy = App(Engine(None), ServiceSettings(most_body_bytes=1_000_000))
        problem(send(roomy, "POST", "/v1/score", body), 400, "malformed_json")

    @pytest.mark.parametrize("deep", [b"[", b'{"a":'])
    @pytest.mark.parametrize("many", [20, 990])
    def test_candidates_that_go_deep_are_no_json(self, app, send, question, deep, many):
        body = json.dumps({**question, "candidates": None}).encode()
        assert send(app, "POST", "/v1/score", body).status_code == 200
        body = body.replace(b'"candidates": null', b'"candidates": ' + deep * many)
        problem(send(app, "POST", "/v1/score", body), 400, "malformed_json")

    @pytest.mark.parametrize("literal", [b"NaN", b"Infinity", b"-Infinity"])
    def test_a_number_that_json_does_not_have_is_pointed_at(self, app, send, question, literal):
        body = json.dumps(question).encode().replace(b"38000", literal)
        document = problem(send(app, "POST", "/v1/score", body), 422, "invalid_request")
        assert [error["pointer"] for error in document["errors"]] == ["/attempt/amount_minor"]

    def test_a_large_body_is_refused(self, app, send):
        problem(send(app, "POST", "/v1/score", b"x" * 10_000_000), 413, "body_too_large")

    def test_a_body_of_just_the_limit_is_read(self, send, question):
        body = json.dumps(question).encode()
        assert send(App(Engine(None), ServiceSettings(most_body_bytes=len(body))), "POST", "/v1/score", body).is_success
        smaller = App(Engine(None), ServiceSettings(most_body_bytes=len(body) - 1))
        problem(send(smaller, "POST", "/v1/score", body), 413, "body_too_large")

    def test_an_unknown_field_and_a_missing_one_have_codes_of_their_own(self, app, send, question):
        del question["attempt"]["method"]
        question["attempt"]["methode"] = "card"
        document = problem(send(app, "POST", "/v1/score", question), 422, "invalid_request")
        assert [(error["pointer"], error["code"]) for error in document["errors"]] == [
            ("/attempt/methode", "unknown_field"),
            ("/attempt/method", "required"),
        ]

    def test_our_own_fault_is_a_problem_too_and_logged_without_values(self, send, question, caplog):
        def clock():
            raise RuntimeError(f"secret {PAN}")

        with caplog.at_level(logging.ERROR):
            response = send(App(Engine(None), clock=clock), "POST", "/v1/score", question)
        problem(response, 500, "internal_error")
        assert PAN not in response.text + caplog.text
        assert response.headers["x-request-id"] in caplog.text


class Log:
    """Notes what it is offered, and what had been sent by then; or fails."""

    def __init__(self, sent, fails=None):
        self.sent, self.fails, self.kept, self.decisions = sent, fails, [], []

    def offer(self, decision):
        if self.fails is not None:
            raise self.fails
        self.decisions.append(decision)
        self.kept.append((decision.answer["attempt_id"], [message["type"] for message in self.sent]))


class TestKeeping:
    """A decision is kept once its answer is on its way: nobody waits for that, and nothing comes of it that goes wrong."""

    def ask(self, app, question, send=None):
        sent = app._log.sent
        scope = {
            "type": "http", "method": "POST", "path": "/v1/score", "raw_path": b"/v1/score", "query_string": b"",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        }  # fmt: skip

        async def receive():
            return {"type": "http.request", "body": json.dumps(question).encode()}

        async def keep(message):
            sent.append(message)

        asyncio.run(app(scope, receive, send or keep))
        return sent

    def test_an_answer_is_on_its_way_before_it_is_kept(self, question):
        app = App(Engine(None), log=Log([]))
        self.ask(app, question)
        assert app._log.kept == [("a1", ["http.response.start", "http.response.body"])]

    def test_what_is_kept_is_what_was_sent_and_the_features_that_were_asked(self, versions, question):
        predictor = Predictor.load(versions["hopeful"])
        app = App(Engine(predictor), log=Log([]))
        _, body = self.ask(app, question)
        (decision,) = app._log.decisions
        assert decision.body == body["body"]
        assert json.loads(decision.body) == decision.answer
        encoded = predictor.encoder.of_request(decision.request.previous, [decision.request.attempt])
        wanted = features_of_request(encoded, predictor.history, 1)[0]
        np.testing.assert_array_equal(decision.features, wanted, strict=True)

    def test_one_that_could_not_be_sent_is_kept_all_the_same(self, question):
        async def gone(message):
            raise OSError("gone")

        app = App(Engine(None), log=Log([]))
        with pytest.raises(OSError, match="gone"):
            self.ask(app, question, gone)
        assert app._log.kept == [("a1", [])]

    def test_what_goes_wrong_with_it_is_logged_without_values_and_changes_no_answer(self, question, caplog):
        app = App(Engine(None), log=Log([], ValueError(f"secret {PAN}")))
        with caplog.at_level(logging.ERROR):
            start, body = self.ask(app, question)
        assert (start["status"], json.loads(body["body"])["attempt_id"]) == (200, "a1")
        assert "ValueError" in caplog.text
        assert PAN not in caplog.text


class TestRequestId:
    def test_the_client_s_is_kept(self, app, send):
        assert send(app, "GET", "/livez", headers={"x-request-id": "Abc-1.2_3"}).headers["x-request-id"] == "Abc-1.2_3"

    @pytest.mark.parametrize("harmful", [PAN, "a b", "x" * 65, "", "<script>", "é".encode().decode("latin-1")])
    def test_a_harmful_one_is_replaced(self, app, send, harmful):
        given_ = send(app, "GET", "/livez", headers={"x-request-id": harmful.encode("latin-1")})
        assert given_.headers["x-request-id"] != harmful

    def test_without_one_each_request_gets_its_own(self, app, send):
        ids = {send(app, "GET", "/livez").headers["x-request-id"] for _ in range(20)}
        assert len(ids) == 20


def raw(app, messages, **scope):
    """Sends ASGI messages by hand, and returns those that come back."""
    sent, inbox = [], list(messages)

    async def receive():
        return inbox.pop(0)

    async def send(message):
        sent.append(message)

    start = {
        "type": "http",
        "method": "POST",
        "path": "/v1/score",
        "headers": [(b"content-type", b"application/json")],
    }
    asyncio.run(app(start | scope, receive, send))
    return sent, inbox


def test_a_body_may_come_in_pieces(app, question):
    body = json.dumps(question).encode()
    pieces = [{"type": "http.request", "body": body[i : i + 50], "more_body": True} for i in range(0, len(body), 50)]
    sent, _ = raw(app, [*pieces, {"type": "http.request"}])
    assert sent[0]["status"] == 200


def test_a_client_that_leaves_gets_no_answer(app):
    sent, _ = raw(app, [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    assert sent == []


def test_a_body_that_takes_too_long_is_refused(app, monkeypatch):
    monkeypatch.setattr(transport, "_MOST_BODY_S", 0.01)
    sent = []

    async def receive():
        await asyncio.sleep(60)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/score", "headers": []}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 408


def test_a_large_body_without_a_length_is_read_to_its_end_and_refused(app):
    pieces = [{"type": "http.request", "body": b"x" * 60_000, "more_body": i < 9} for i in range(10)]
    sent, left = raw(app, pieces)
    assert (sent[0]["status"], left) == (413, [])


words = st.text(st.characters(codec="utf-8", categories=["L", "Nd", "P"]), min_size=1, max_size=12)
attempts = st.fixed_dictionaries(
    {
        "attempt_id": words,
        "payment_id": st.just("p1"),
        "created_at": st.datetimes(
            min_value=datetime(2000, 1, 2),
            max_value=datetime(2026, 1, 5),
        ).map(lambda moment: moment.isoformat() + "Z"),
        "amount_minor": st.integers(0, 10**11),
        "currency": st.sampled_from(["KRW", "USD", "JPY"]),
        "country": st.sampled_from(["KR", "US", "TW"]),
        "method": words,
    },
    optional={
        "route": words,
        "issuer": st.sampled_from(["kr_bank", "41111111"]),
        "card_brand": words,
        "channel": st.sampled_from(VOCABULARIES["channel"]),
        "auth_flow": st.sampled_from(VOCABULARIES["auth_flow"]),
        "auth_steps": st.integers(0, 50),
        "stored": st.booleans() | st.none(),
        "form_seconds": st.floats(0, 10**9),
        "card_months_to_expiry": st.floats(-600, 600),
        "propensity": st.floats(0, 1, exclude_min=True),
    },
)
evidences = st.fixed_dictionaries(
    {},
    optional={
        "code_scheme": st.sampled_from(["iso8583", "stripe"]) | words,
        "response_code": st.sampled_from(["05", "41", "51"]) | words,
        "advice_code": words,
        "trans_status": st.sampled_from(VOCABULARIES["trans_status"]),
        "trans_status_reason": words,
        "last_event": st.sampled_from(VOCABULARIES["last_event"]),
        "duration_s": st.floats(0, 10**6),
    },
)
candidates = st.lists(
    st.fixed_dictionaries(
        {"candidate_id": words, "method": words}, optional={"route": words, "wait_s": st.integers(0, 9)}
    ),
    max_size=5,
    unique_by=lambda candidate: candidate["candidate_id"],
)


@given(attempts, st.none() | evidences, st.none() | candidates, st.booleans())
def test_every_well_formed_question_gets_a_suggestion(app, rules_app, send, attempt, evidence, candidates, with_model):
    question = {"attempt": attempt, "evidence": evidence, "candidates": candidates}
    response = send(app if with_model else rules_app, "POST", "/v1/score", question)
    assert response.status_code == 200, response.text
    assert response.json()["suggestion"]["action"]


secrets = st.sampled_from([PAN, int(PAN), f"x {PAN}", "4111 1111 1111 1111"])


@given(
    st.lists(st.sampled_from(["attempt", "evidence", "candidates", "previous", "x", PAN]), min_size=1, max_size=3),
    st.sampled_from(["method", "route", "amount_minor", "cvv", "pan", "outcome", PAN]),
    secrets,
)
def test_a_card_number_anywhere_is_refused_and_never_repeated(app, send, path, name, secret):
    raw_question = {name: secret}
    for step in reversed(path):
        raw_question = {step: [raw_question] if step in {"candidates", "previous"} else raw_question}
    response = send(app, "POST", "/v1/score", raw_question)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert PAN not in response.text.replace(" ", "")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_problem(app, send, body):
    response = send(app, "POST", "/v1/score", body or b" ")
    assert response.status_code in {400, 422}
    assert set(response.json()) == MEMBERS


def test_the_document_speaks_of_every_status_that_is_sent_and_of_no_other():
    """The service's problems are all made in its source; those of uvicorn's protocols (`serving/wire.py`) are beyond OpenAPI."""
    folder = Path(transport.__file__).parent
    sources = [path.read_text(encoding="utf-8") for path in folder.glob("*.py") if path.name != "wire.py"]
    sent = {int(status) for text in sources for status in re.findall(r"Problem\(\s*(\d{3}),", text)}
    assert {
        int(status) for status in document(ServiceSettings(), App(Engine(None))._routes)["components"]["responses"]
    } == sent - {405, 431}
