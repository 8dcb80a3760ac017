"""One real server, started as `bentoml serve` starts it, asked over a socket, and its log read."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

import serving
from serving.commands import command
from serving.settings import ServiceSettings

ROOT = Path(serving.__file__).parents[1]
PAN = "4111111111111111"


@pytest.fixture(scope="module")
def server(tmp_path_factory, until_ready):
    """A running server without a model: a client of it, and the file of its log."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    words, environment = command(ServiceSettings(port=port), os.environ)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(words, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        try:
            until_ready(str(client.base_url).rstrip("/"), process, folder / "log")
            yield client, folder / "log"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def test_it_answers_on_the_rules_and_makes_no_store(server, question):
    client, log = server
    answer = client.post("/v1/score", json=question).json()
    assert answer["degraded"]
    assert answer["suggestion"]["candidate_id"] == "c1"
    made = {path.name for path in log.parent.iterdir()} - {"log"}
    assert made <= {f"payrescue-log.db{ending}" for ending in ("", "-wal", "-shm")}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/task/status", 404), ("POST", "/", 404), ("GET", "/?x=1", 404), ("PUT", "/readyz", 405)],
)
def test_bentoml_s_own_routes_give_our_errors(server, method, path, status):
    client, _ = server
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


def test_a_body_of_ten_megabytes_is_refused_over_the_wire(server):
    client, _ = server
    response = client.post("/v1/score", content=b"x" * 10_000_000, headers={"content-type": "application/json"})
    assert response.status_code == 413


def test_a_card_number_is_never_answered_nor_logged(server, question):
    client, log = server
    probes = [
        client.post("/v1/score", json=question | {"attempt": question["attempt"] | {"customer_id": PAN}}),
        client.post("/v1/score", json=question | {"attempt": question["attempt"] | {PAN: PAN}}),
        client.post("/v1/score", json={PAN: int(PAN)}),
        client.post("/v1/score", content=PAN.encode()),
        client.post("/v1/score", content=f'{{"{PAN}'.encode(), headers={"content-type": "application/json"}),
        client.post(f"/v1/score/{PAN}?pan={PAN}", json={}),
        client.get(f"/v1/messages/{PAN}"),
        client.post("/v1/score", json=question, headers={"x-request-id": PAN, "x-deadline-ms": PAN}),
        client.request(f"P{PAN}", "/v1/score"),
    ]
    assert {response.status_code for response in probes} <= {400, 404, 405, 415, 422}
    for response in probes:
        assert PAN not in response.text + str(response.headers)
    assert PAN not in log.read_text()


def test_a_server_that_cannot_be_put_together_answers_nobody_and_says_why(tmp_path, free_port):
    """As `bentoml serve` starts it, which looks at nothing beforehand."""
    told = ServiceSettings(port=free_port, model="none", keys=str(tmp_path / "none.yaml"))
    words, environment = command(told, {**os.environ, "PYTHONPATH": str(ROOT)})
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(words, env=environment, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while "cannot be served" not in (tmp_path / "log").read_text():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
        assert "none.yaml: cannot be read" in (tmp_path / "log").read_text()
        for _ in range(20):
            with pytest.raises(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{free_port}/readyz", timeout=1.0)
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
