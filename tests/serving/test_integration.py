"""A running server with keys and two workers: what clients, browsers, Prometheus and abusers get from it over a socket."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import sync_playwright

import payrescue
from features.cards import luhn_ok
from serving.client import Payrescue
from serving.client_types import Unauthorized
from serving.commands import command
from serving.keys import add_key, revoke_key
from serving.settings import ServiceSettings
from serving.wire import MOST_HEAD_BYTES

ROOT = Path(payrescue.__file__).parent
DOCUMENT = (ROOT / "docs" / "integration.md").read_text(encoding="utf-8")
PROBES = 400
STARTS_WITHIN_S = 60


class Server:
    """Where it listens, its keys, and the folder that holds all that it writes."""

    def __init__(self, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        self.keys = folder / "keys.yaml"
        self.key = add_key(self.keys, "checkout", ["score", "outcomes"], created="2026-01-05")
        self.admin = add_key(self.keys, "admin", ["admin"], created="2026-01-05")
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {**os.environ, "PAYRESCUE_URL": self.url, "PAYRESCUE_KEY": self.key}

    def log(self):
        return (self.folder / "log").read_text()

    def raw(self, sent):
        """The status, the media type and all that comes back for bytes as they are."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(sent)
            got = b""
            while b"\r\n\r\n" not in got or not (got.endswith(b"}") or sent.startswith(b"HEAD")):
                piece = connection.recv(65_536)
                if not piece:
                    break
                got += piece
        kind = re.search(rb"content-type: ([\w/+]+)", got)
        return int(got.split()[1]), kind[1].decode() if kind else None, got.decode("latin-1")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("integration"))
    settings = ServiceSettings(port=made.port, workers=2, model="none", keys=str(made.keys))
    words, environment = command(settings, {**os.environ, "TMPDIR": str(made.folder), "PYTHONPATH": str(ROOT)})
    with (made.folder / "log").open("w") as log:
        process = subprocess.Popen(words, env=environment, cwd=made.folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while made.log().count("initialized") < 2:
            assert process.poll() is None, made.log()
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.1)
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {server.key}"}) as made:
        yield made


def block(language):
    """The one program of that language in the document."""
    return next(
        text
        for text in re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
        if "score" in text
    )


def run(server, *words, **options):
    done = subprocess.run(words, env=server.environment, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def needed(program):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not here")


def test_the_document_s_curl_gets_an_answer(server):
    needed("curl")
    text = next(text for text in re.findall(r"^```sh\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE) if "curl" in text)
    assert json.loads(run(server, "sh", "-c", text))["suggestion"]["action"] == "alternate_method"


def test_the_document_s_python_gets_an_answer(server):
    assert run(server, sys.executable, "-c", block("python"), cwd=ROOT) == "alternate_method c2\n"


def test_the_document_s_javascript_gets_an_answer(server):
    needed("node")
    slower = block("js").replace("timeout(250)", "timeout(5000)")  # the first request of a process on a busy machine
    assert run(server, "node", "-e", slower) == "alternate_method c2\n"


def test_the_document_s_java_gets_an_answer(server, tmp_path):
    needed("javac")
    (tmp_path / "Score.java").write_text(block("java").replace("ofMillis(", "ofSeconds("), encoding="utf-8")
    said = run(server, "java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", str(tmp_path / "Score.java"))
    assert said.startswith("200 {")
    assert '"action":"alternate_method"' in said


def test_our_client_gets_the_service_s_answer(server, question):
    with Payrescue(server.url, key=server.key, timeout_s=5.0) as ours:
        assert ours.score(**question, request_id="mine")["request_id"] == "mine"
        assert ours.messages("ja")["try_again"]
    assert '"request_id":"mine"' in wait_for_line(server, "mine")


def test_our_client_says_that_its_key_is_none(server, question):
    with Payrescue(server.url, key="payrescue_no", timeout_s=5.0) as ours, pytest.raises(Unauthorized):
        ours.score(**question)


THEIRS = """
import json, os, sys
import bentoml
question = json.loads(sys.argv[1])
with bentoml.SyncHTTPClient(os.environ["PAYRESCUE_URL"], token=os.environ["PAYRESCUE_KEY"]) as client:
    print(client.is_ready(), client.score(**question)["suggestion"]["candidate_id"])
    print([answer["attempt_id"] for answer in client.score_batch([question, question])])
"""


def test_bentoml_s_client_calls_the_service(server, question):
    assert run(server, sys.executable, "-c", THEIRS, json.dumps(question)) == "True c1\n['a1', 'a1']\n"


def test_bentoml_s_page_shows_our_document_and_loads_nothing_from_elsewhere(server):
    page = httpx.get(f"{server.url}/")
    assert (page.status_code, "swagger-ui" in page.text) == (200, True)
    assert "default-src 'none'; script-src 'self'" in page.headers["content-security-policy"]
    for path in re.findall(r'(?:src|href)="\./(static_content/[\w.-]+)"', page.text):
        assert httpx.get(f"{server.url}/{path}").status_code == 200
    assert httpx.get(f"{server.url}/docs.json").json()["info"]["title"] == "Payrescue"


@pytest.fixture(scope="module")
def chromium():
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_the_page_shows_each_operation_and_its_example_gets_an_answer(server, chromium):
    page = chromium.new_page(extra_http_headers={"x-api-key": server.key})
    elsewhere = []
    page.on("request", lambda request: request.url.startswith(server.url) or elsewhere.append(request.url))
    page.goto(f"{server.url}/")
    page.wait_for_selector(".opblock")
    shown = page.locator(".opblock-summary-path").all_inner_texts()
    assert [path.replace("\u200b", "") for path in shown] == list(httpx.get(f"{server.url}/docs.json").json()["paths"])
    page.click("#operations-default-score .opblock-summary")
    page.click("text=Try it out")
    page.click("text=Execute")
    page.wait_for_selector("#operations-default-score .live-responses-table")
    assert page.inner_text("#operations-default-score .live-responses-table tbody .response-col_status").startswith(
        "200"
    )
    assert elsewhere == []
    page.close()


GENERATED = """
import json, os, sys
from payrescue_client import AuthenticatedClient
from payrescue_client.api.default import score, score_batch, tell_outcomes
from payrescue_client.models import Attempt, Candidate, Evidence, Outcome, ScoreRequest
question = json.loads(sys.argv[1])
url, key = os.environ["PAYRESCUE_URL"], os.environ["PAYRESCUE_KEY"]
body = ScoreRequest(
    Attempt.from_dict(question["attempt"] | {"attempt_id": "generated"}),
    Evidence.from_dict(question["evidence"]),
    candidates=[Candidate.from_dict(one) for one in question["candidates"]],
)
told = {"attempt_id": "generated", "resolved_at": "2026-01-05T09:30:21Z", "outcome": "success"}
with AuthenticatedClient(base_url=url, token=key) as client:
    print(score.sync(client=client, body=body, x_deadline_ms="5000").suggestion.candidate_id)
    print([answer.attempt_id for answer in score_batch.sync(client=client, body=[body, body])])
    print(tell_outcomes.sync(client=client, body=Outcome.from_dict(told)).accepted)
with AuthenticatedClient(base_url=url, token="none") as client:
    print(score.sync(client=client, body=body).code)
"""


def test_a_client_that_is_generated_from_the_document_calls_the_service(server, question, tmp_path):
    ours = str(Path(sys.executable).parent)  # the generator formats what it writes by ruff
    environment = server.environment | {
        "PATH": os.pathsep.join((ours, os.environ["PATH"])),
        "PYTHONPATH": str(tmp_path),
    }
    (tmp_path / "openapi.json").write_bytes(httpx.get(f"{server.url}/openapi.json").content)
    words = ["generate", "--path", "openapi.json", "--output-path", "payrescue_client", "--meta", "none"]
    made = subprocess.run(
        [f"{ours}/openapi-python-client", *words, "--fail-on-warning"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (made.returncode, "arning" in made.stdout) == (0, False), made.stdout
    done = subprocess.run(
        [sys.executable, "-c", GENERATED, json.dumps(question)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split("\n")[:4] == ["c1", "['generated', 'generated']", "1", "unauthorized"], done.stderr


HEAD = b"host: x\r\n"
HANDSHAKE = (
    b"connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET /livez HTTP/3.0\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
        (b"P4111111111111111 / HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\n" + HEAD + b"\r\n", 400),
        (b"POST /v1/score HTTP/1.1\r\n" + HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}", 400),
        (b"POST /v1/score HTTP/1.1\r\n" + HEAD + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n{}", 400),
        (b"GET /livez HTTP/1.1\r\n" + HEAD + b"x: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (b"GET /livez HTTP/1.1\r\n" + HEAD + b"4111111111111111: x\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\n" + HEAD + b"\r\n", 404),
        (b"OPTIONS /v1/score HTTP/1.1\r\n" + HEAD + b"\r\n", 405),
        (b"TRACE /v1/score HTTP/1.1\r\n" + HEAD + b"\r\n", 405),
        (b"GET /v1/score HTTP/1.1\r\n" + HEAD + HANDSHAKE + b"\r\n", 405),
        (b"GET /ws HTTP/1.1\r\n" + HEAD + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n", 404),
        (b"POST /v1/score HTTP/1.1\r\n" + HEAD + HANDSHAKE + b"content-length: 2\r\n\r\n{}", 401),
    ],
)
def test_whatever_comes_over_the_wire_the_error_is_a_problem_document(server, sent, status):
    found, kind, said = server.raw(sent)
    assert (found, kind) == (status, "application/problem+json")
    assert json.loads(said.partition("\r\n\r\n")[2])["status"] == status


@pytest.mark.parametrize("part", ["line", "header"])
def test_a_head_without_end_is_cut_off(server, part):
    start = b"GET /" if part == "line" else b"GET /livez HTTP/1.1\r\nx: "
    taken = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection, contextlib.suppress(OSError):
        connection.sendall(start)
        while taken < 100 * MOST_HEAD_BYTES:
            connection.sendall(b"a" * 16_384)
            taken += 16_384
            time.sleep(0.001)
    assert taken < 100 * MOST_HEAD_BYTES


def test_old_clients_and_head_requests_are_answered(server):
    assert server.raw(b"GET /livez HTTP/1.0\r\n\r\n")[0] == 200
    status, _, said = server.raw(b"HEAD /livez HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert (status, said.partition("\r\n\r\n")[2]) == (200, "")


def asked(server):
    """How many scores all workers have counted, by any one of them; and how many they are."""
    headers = {"authorization": f"Bearer {server.admin}"}
    text = httpx.get(f"{server.url}/metrics", headers=headers).text
    scores = re.search(r'requests_total\{route="/v1/score",status="2xx"\} (\S+)', text)
    workers = re.search(r"^payrescue_workers (\S+)", text, re.MULTILINE)
    return float(scores[1]), float(workers[1])


def test_prometheus_sees_all_workers_whichever_it_asks(server, question):
    before, workers = asked(server)
    assert workers == 2
    for _ in range(24):  # each over a connection of its own, so that both workers get some
        assert httpx.post(f"{server.url}/v1/score", json=question, headers={"x-api-key": server.key}).is_success
    assert {asked(server)[0] for _ in range(8)} == {before + 24}


def wait_for_line(server, text):
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        found = next((line for line in server.log().splitlines() if text in line), None)
        if found is not None:
            return found
        time.sleep(0.05)
    raise AssertionError(f"no line with {text}")


def test_a_key_is_taken_and_refused_without_a_restart(server, question):
    def status(key):
        return httpx.post(f"{server.url}/v1/score", json=question, headers={"x-api-key": key}).status_code

    def becomes(key, wanted):
        """Whether all workers come to see it so: each looks by itself, and one request is answered by either."""
        deadline = time.monotonic() + 10
        while {status(key) for _ in range(24)} != {wanted}:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    key = add_key(server.keys, "another", ["score"], created="2026-01-05")
    assert becomes(key, 200)
    revoke_key(server.keys, "another")
    assert becomes(key, 401)


def card_number(rng):
    body = "4" + "".join(rng.choice("0123456789") for _ in range(14))
    return next(body + str(last) for last in range(10) if luhn_ok(body + str(last)))


def sent(question, i, number):
    """The i-th request that holds a card number, each time in another place."""
    spaced = " ".join(re.findall("....", number))
    posts = (
        {"json": question | {"attempt": question["attempt"] | {"issuer": number}}},
        {"json": question | {number: number}},
        {"json": question, "params": {"card": spaced}},
        {"json": question, "headers": {"x-note": spaced}},
        {"json": question, "headers": {"authorization": f"Bearer {number}"}},
        {"json": question, "headers": {"x-deadline-ms": number}},
        {"content": f'{{"{number}'.encode(), "headers": {"content-type": "application/json"}},
    )
    elsewhere = (
        {"method": "GET", "url": f"/v1/messages/{number}"},
        {"method": "POST", "url": f"/{number}/%00{number}"},
        {"method": "GET", "url": f"/?card={number}"},
    )
    place = i % (len(posts) + len(elsewhere))
    return (
        {"method": "POST", "url": "/v1/score", **posts[place]} if place < len(posts) else elsewhere[place - len(posts)]
    )


def test_no_card_number_and_no_key_is_in_anything_that_the_server_says_or_writes(server, client, question):
    rng = random.Random(11)
    numbers = [card_number(rng) for _ in range(PROBES)]
    said = [client.request(**sent(question, i, number)) for i, number in enumerate(numbers)]
    assert {answer.status_code for answer in said} <= {400, 401, 404, 422}
    wait_for_line(server, said[-1].headers["x-request-id"])
    written = b"".join(path.read_bytes() for path in server.folder.rglob("*") if path.is_file() and path != server.keys)
    everything = written.decode("latin-1") + "".join(answer.text + str(answer.headers) for answer in said)
    assert [number for number in numbers if number in everything.replace(" ", "")] == []
    assert server.key not in everything
    assert server.admin not in everything
