"""A real server with a model, a state and a log, under load and while things around it fail."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import httpx
import pytest

from benchmarks.load import closed, request_bytes

pytestmark = pytest.mark.faults

DEADLINE_MS, LEEWAY_MS, ASKED = 100, 20, 1_000
CONNECTIONS, FLOODING = 8, 512


@pytest.fixture
def bodies(question):
    """Requests of many attempts."""
    attempts = [{**question["attempt"], "attempt_id": f"a{i}", "payment_id": f"p{i}"} for i in range(500)]
    return [json.dumps({**question, "attempt": attempt}).encode() for attempt in attempts]


def test_several_times_too_much_is_turned_away_early_and_nothing_is_lost(
    serving_at, versions, bodies, tmp_path, figure
):
    with serving_at(tmp_path, model=str(versions["hopeful"])) as (url, _):
        url += "/v1/score"
        asked = request_bytes(url, bodies)
        most = closed(url, asked, connections=16, seconds=2.0).per_second
        flood = closed(url, asked, connections=FLOODING, seconds=3.0)
        refused = [httpx.post(url, content=body) for body in bodies[:3]]  # of another type: the service still minds
    offered = sum(flood.statuses.values()) / flood.seconds
    figure(
        f"load: {offered / most:.1f} times what can be answered ({most:,.0f}/s): {flood.statuses[200]:,} answered, p99 "
        f"{flood.percentile_ms(0.99):,.0f} ms; {flood.statuses[503]:,} turned away; {flood.lost:,} lost"
    )
    assert set(flood.statuses) == {200, 503}
    assert flood.lost == 0
    assert {one.status_code for one in refused} == {415}


def test_every_deadline_is_met_while_the_state_hangs(serving_at, versions, bodies, redis_server, tmp_path, figure):
    within, statuses = 0, set()
    with serving_at(tmp_path, model=str(versions["hopeful"]), state=redis_server.url) as (url, _):
        asked = request_bytes(f"{url}/v1/score", bodies, {"x-deadline-ms": str(DEADLINE_MS)})
        redis_server.signal(signal.SIGSTOP)
        try:
            took = []
            while len(took) < ASKED:
                load = closed(f"{url}/v1/score", asked, connections=CONNECTIONS, seconds=0.5)
                statuses |= set(load.statuses)
                took += load.latencies[200]
        finally:
            redis_server.signal(signal.SIGCONT)
    within = sum(seconds * 1_000 <= DEADLINE_MS + LEEWAY_MS for seconds in took[:ASKED])
    slowest = max(took[:ASKED]) * 1_000
    figure(
        f"deadline of {DEADLINE_MS} ms, Redis hanging: met {within:,} of {ASKED:,}; the slowest took {slowest:.0f} ms"
    )
    assert statuses == {200}
    assert within == ASKED


def test_a_worker_that_is_killed_takes_no_more_with_it_than_it_was_answering(
    serving_at, versions, question, tmp_path, figure
):
    lost, answered, stop = [], [], threading.Event()

    def ask(url, n):
        with httpx.Client(base_url=url, timeout=10) as client:
            while not stop.is_set():
                try:
                    answered.append(client.post("/v1/score", json=question).status_code)
                except httpx.TransportError as error:
                    lost.append(type(error).__name__)

    with serving_at(tmp_path, model=str(versions["hopeful"]), workers=2) as (url, _):
        workers = _workers(tmp_path)
        threads = [threading.Thread(target=ask, args=(url, n)) for n in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        os.kill(workers[0], signal.SIGKILL)
        time.sleep(2.0)
        stop.set()
        for thread in threads:
            thread.join()
        until = time.monotonic() + 60
        while len(_workers(tmp_path)) < 2 and time.monotonic() < until:
            time.sleep(0.1)
        back = len(_workers(tmp_path))
    figure(
        f"one of two workers killed: {len(lost)} of {CONNECTIONS} requests in flight lost, {len(answered):,} answered"
    )
    assert len(lost) <= CONNECTIONS
    assert set(answered) == {200}
    assert back == 2


def _workers(folder: Path) -> list[int]:
    """The workers of the server that was started in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            if b"_bentoml_impl.worker.service" in command and (process / "cwd").resolve() == folder.resolve():
                found.append(int(process.name))
        except OSError:
            continue
    return sorted(found)
