"""A server that is told to leave says so first, finishes what it has begun, and loses nothing."""

import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

pytestmark = pytest.mark.faults

DRAIN_S = 2


@pytest.fixture
def leaving(free_tcp_port, tmp_path, until_ready):
    """A server that takes two seconds to leave, and a client that keeps its connections."""
    environment = {**os.environ, "PAYRESCUE_DRAIN_S": str(DRAIN_S), "PAYRESCUE_LOG": "none"}
    words = [sys.executable, "-m", "payrescue", "serve", "--port", str(free_tcp_port), "--model", "none"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
    with httpx.Client(base_url=f"http://127.0.0.1:{free_tcp_port}", timeout=10) as client:
        try:
            until_ready(str(client.base_url).rstrip("/"), process)
            yield client, process
        finally:
            process.kill()
            process.wait()


def test_it_says_so_then_answers_on_and_then_is_gone(leaving, question):
    client, process = leaving
    process.send_signal(signal.SIGTERM)
    told = time.monotonic()
    while (ready := client.get("/readyz")).status_code == 200:
        assert time.monotonic() < told + 1.0
    assert ready.status_code == 503
    assert ready.json()["code"] == "draining"
    answers = []
    while time.monotonic() < told + DRAIN_S - 0.5:
        answers.append(client.post("/v1/score", json=question))
    assert len(answers) > 5
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers.get("connection") for answer in answers} == {"close"}  # to come back elsewhere
    assert process.wait(timeout=20) == 0
    with pytest.raises(httpx.TransportError):
        client.get("/livez")


@pytest.mark.parametrize("starting", [True, False])
def test_until_it_takes_requests_it_goes_at_once_whatever_it_loads_and_catches_up_with(starting):
    code = """
import signal, sys, time
from serving.service import _leaving_at_once
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))  # what a server would do, once it is asked what it does
with _leaving_at_once():
    if sys.argv[1] == "True": print(flush=True); time.sleep(60)
print(flush=True); time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code, str(starting)], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == (-signal.SIGTERM if starting else 7)
