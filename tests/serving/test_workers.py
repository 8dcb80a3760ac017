"""The first process of `payrescue serve`, for real: its workers, what it does where one dies, and what it listens on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from serving.workers import configured_by_bentoml

WORKERS = 2
AGAIN_WITHIN_S = 20.0


@pytest.fixture(scope="module")
def running(tmp_path_factory, until_ready, free_tcp_port_factory):
    """A service of two workers, without a model, that take two seconds to leave: its process, its URL, and its log."""
    folder, port = tmp_path_factory.mktemp("workers"), free_tcp_port_factory()
    words = [sys.executable, "-m", "payrescue", "serve", "--model", "none", "--port", str(port)]
    environment = {**os.environ, "PAYRESCUE_DRAIN_S": "2"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*words, "--workers", str(WORKERS)], cwd=folder, env=environment, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until_ready(url, process, folder / "log")
        yield process, url, folder / "log"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


def workers_of(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return {int(pid) for pid in children if b"_bentoml_impl.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def test_a_worker_that_dies_is_started_anew_and_the_others_answer_meanwhile(running):
    process, url, _ = running
    before = workers_of(process)
    assert len(before) == WORKERS
    os.kill(min(before), signal.SIGKILL)
    until = time.monotonic() + AGAIN_WITHIN_S
    while len(workers_of(process) - {min(before)}) < WORKERS:
        assert httpx.get(f"{url}/livez").is_success
        assert time.monotonic() < until
        time.sleep(0.05)


def test_it_listens_where_it_says_and_nowhere_else(running):
    """What watches over the workers takes commands, too: not from whoever reaches a port."""
    process, url, _ = running
    sockets = {str(path.readlink()) for path in Path(f"/proc/{process.pid}/fd").iterdir()}
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                ports.add(int(words[1].rpartition(":")[2], 16))
    assert ports == {int(url.rpartition(":")[2])}


def test_all_are_replaced_on_request_while_it_answers(running):
    process, url, log = running
    before = workers_of(process)
    process.send_signal(signal.SIGHUP)
    until = time.monotonic() + 2 * AGAIN_WITHIN_S
    while len(now := workers_of(process)) != WORKERS or now & before:
        assert httpx.get(f"{url}/livez").is_success
        assert time.monotonic() < until
        time.sleep(0.05)
    assert "Traceback" not in log.read_text()


def test_it_can_be_told_to_end_while_it_starts_a_worker(tmp_path, free_tcp_port):
    words = [sys.executable, "-m", "payrescue", "serve", "--model", "none", "--port", str(free_tcp_port)]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + AGAIN_WITHIN_S
        while not Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text():
            assert time.monotonic() < until
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", ["BENTOML_CONFIG", "BENTOML_CONFIG_OPTIONS", "BENTOML_CONFIG_OVERRIDES"])
def test_what_bentoml_was_told_is_seen(name):
    assert configured_by_bentoml({name: "x"})
    assert not configured_by_bentoml({name: "", "HOME": "/"})
