import http.server
import json
import random
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import pytest

from serving.client import Payrescue
from serving.client_types import Conflict, Refused, Unauthorized, Unavailable

ANSWER = {"request_id": "r", "degraded": False, "suggestion": {"action": "proceed"}}
TOLD = {"request_id": "r", "accepted": 1, "duplicates": 0, "unknown_attempts": 0}


def problem(code, errors=()):
    return {"code": code, "detail": "No.", "errors": list(errors)}


class Service:
    """Answers by a script of (status, body, headers, seconds to wait), the last of them again and again."""

    def __init__(self):
        self.script, self.asked, self.connections = [(200, ANSWER, {}, 0.0)], [], 0
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                service.connections += 1
                super().setup()

            def do_POST(self):
                length = int(self.headers.get("content-length") or 0)
                service.asked.append((self.path, dict(self.headers), self.rfile.read(length)))
                status, body, headers, wait_s = service.script[0]
                if len(service.script) > 1:
                    service.script.pop(0)
                time.sleep(wait_s)
                if status is None:
                    self.close_connection = True
                    return
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"content-length": str(len(raw)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST  # noqa: N815  the library's name

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # the client left, as it should

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def service():
    made = Service()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def client(service):
    made = Payrescue(service.url, key="payrescue_k", timeout_s=2.0, rng=random.Random(1))
    assert made._local  # loaded, so that no test measures that
    yield made
    made.close()


def test_the_service_s_answer_is_given(client, service, question):
    assert client.score(**question, request_id="mine") == ANSWER
    path, headers, body = service.asked[0]
    assert (path, json.loads(body)) == ("/v1/score", question)
    assert (headers["authorization"], headers["x-request-id"]) == ("Bearer payrescue_k", "mine")
    assert 1_000 < int(headers["x-deadline-ms"]) < 2_000


def test_times_may_be_datetimes(client, service, question):
    question["attempt"]["created_at"] = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
    client.score(**question)
    assert json.loads(service.asked[0][2])["attempt"]["created_at"] == "2026-01-05T09:30:00+00:00"


def test_a_connection_is_kept(client, service, question):
    for _ in range(5):
        client.score(**question)
    assert service.connections == 1


def test_many_threads_may_ask(client, service, question):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(client.score(**question))) for _ in range(16)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert answers == [ANSWER] * 16


def test_a_connection_that_the_server_closed_meanwhile_costs_no_retry(client, service, question):
    client.score(**question)
    service.script[:] = [(None, b"", {}, 0.0), (503, b"", {}, 0.0), (200, ANSWER, {}, 0.0)]
    assert client.score(**question) == ANSWER


@pytest.mark.parametrize("status", [None, 429, 502, 503, 504])
def test_it_asks_once_more_under_the_same_id(client, service, question, status):
    service.script[:] = [(status, b"", {"retry-after": "0"}, 0.0), (200, ANSWER, {}, 0.0)]
    assert client.score(**question) == ANSWER
    assert len({headers["x-request-id"] for _, headers, _ in service.asked}) == 1
    assert len(service.asked) == 2


@pytest.mark.parametrize("status", [None, 500, 502, 503])
def test_a_service_that_fails_is_stood_in_for_by_the_rules(client, service, question, status):
    service.script[:] = [(status, b"", {}, 0.0)]
    answer = client.score(**question, request_id="mine")
    assert (answer["degraded"], answer["request_id"], answer["attempt_id"]) == (True, "mine", "a1")
    assert answer["suggestion"]["action"] == "retry_other_route"
    assert len(service.asked) <= 2


@pytest.mark.parametrize("status", [200, 302, 403, 404])
def test_what_a_proxy_says_in_the_service_s_place_is_no_answer(client, service, question, status):
    service.script[:] = [(status, b"<html>not here</html>", {}, 0.0)]
    assert client.score(**question)["degraded"]


def test_a_wait_that_is_too_long_is_not_waited(client, service, question):
    service.script[:] = [(503, b"", {"retry-after": "30"}, 0.0)]
    began = time.monotonic()
    assert client.score(**question)["degraded"]
    assert time.monotonic() - began < 1.0
    assert len(service.asked) == 1


@pytest.mark.parametrize("stuck", ["before the answer", "in the answer"])
def test_a_service_that_hangs_costs_no_more_than_the_timeout(service, question, stuck):
    client = Payrescue(service.url, timeout_s=0.3)
    assert client._local
    service.script[:] = (
        [(200, ANSWER, {}, 1.0)] if stuck == "before the answer" else [(200, b"{", {"content-length": "100"}, 0.0)]
    )
    began = time.monotonic()
    assert client.score(**question)["degraded"]
    assert time.monotonic() - began < 0.3 + 0.15


def test_nobody_listening_is_answered_by_the_rules(question):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        client = Payrescue(f"http://127.0.0.1:{probe.getsockname()[1]}", timeout_s=1.0)
    assert client.score(**question)["degraded"]


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "unauthorized", Unauthorized),
        (403, "forbidden", Unauthorized),
        (422, "invalid_request", Refused),
        (413, "body_too_large", Refused),
    ],
)
def test_a_refusal_is_raised_with_its_code_and_places(client, service, question, status, code, kind):
    error = {"pointer": "/attempt/country", "code": "invalid", "detail": "want a country"}
    service.script[:] = [(status, problem(code, [error]), {}, 0.0)]
    with pytest.raises(kind, match="/attempt/country: want a country") as refused:
        client.score(**question)
    assert (refused.value.status, refused.value.code, refused.value.errors) == (status, code, (error,))
    assert len(service.asked) == 1


def test_a_request_that_is_no_request_is_refused_by_the_rules_too(client, service, question):
    service.script[:] = [(503, b"", {}, 0.0)]
    question["attempt"]["country"] = "4111111111111111"
    with pytest.raises(Refused) as refused:
        client.score(**question)
    assert refused.value.code == "card_number"
    assert "4111" not in str(refused.value)


def test_a_merchant_s_own_rules_hold_for_the_stand_in(tmp_path, question):
    rules = tmp_path / "ours.csv"
    rules.write_text(
        "rule,kind,network,region,counts,window_s,limit,edition,effective_from,source,meaning\n"
        "none,limit,visa,any,declines,86400,1,2026-01,2026-01-01,us,one decline a day\n"
    )
    client = Payrescue("http://127.0.0.1:9", timeout_s=1.0, rules=rules)
    question["attempt"]["card_brand"] = "visa"
    question["candidates"] = [{"candidate_id": "c1", "method": "card", "route": "harbor"}]
    answer = client.score(**question)
    assert [blocked["rule"] for blocked in answer["blocked"]] == ["none"]


def test_outcomes_are_told(client, service):
    service.script[:] = [(200, TOLD, {}, 0.0)]
    told = {"attempt_id": "a1", "resolved_at": datetime(2026, 1, 5, 9, 31, tzinfo=UTC), "outcome": "success"}
    assert client.outcomes([told]) == TOLD
    assert json.loads(service.asked[0][2]) == [{**told, "resolved_at": "2026-01-05T09:31:00+00:00"}]


def test_an_outcome_that_nobody_took_is_not_lost_in_silence(client, service):
    service.script[:] = [(503, b"", {}, 0.0)]
    with pytest.raises(Unavailable) as lost:
        client.outcomes({"attempt_id": "a1"}, request_id="mine")
    assert lost.value.request_id == "mine"


def test_another_outcome_than_before_is_a_conflict(client, service):
    service.script[:] = [(409, problem("conflict"), {}, 0.0)]
    with pytest.raises(Conflict):
        client.outcomes({"attempt_id": "a1"})


def test_texts_come_from_the_service_or_else_from_the_client(client, service):
    service.script[:] = [(200, {"locale": "ko", "messages": {"stop": "x"}}, {}, 0.0), (503, b"", {}, 0.0)]
    assert client.messages("ko") == {"stop": "x"}
    assert client.messages("ko")["try_again"]


def test_a_locale_without_texts_is_refused_either_way(client, service):
    service.script[:] = [(404, problem("no_such_locale"), {}, 0.0), (503, b"", {}, 0.0)]
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            client.messages("fr")
        assert refused.value.code == "no_such_locale"


@pytest.mark.parametrize("url", ["payrescue:3000", "ftp://payrescue", "", "http://"])
def test_an_address_that_is_no_url_is_refused(url):
    with pytest.raises(ValueError, match="want a URL"):
        Payrescue(url)


def test_importing_the_client_is_light():
    code = "import sys, serving.client; print(*{'numpy', 'bentoml', 'msgspec', 'httpx', 'pandas', 'mlflow'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
