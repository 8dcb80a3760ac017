"""A service that is killed while outcomes come in has lost none that it acknowledged; one that is stopped, nothing."""

import sqlite3
import threading
from contextlib import closing

import httpx
import pytest

from serving.log_store import LogStore

pytestmark = pytest.mark.faults

RESOLVED = "2026-01-05T09:30:21Z"


def test_a_kill_loses_no_acknowledged_outcome_and_a_stop_no_decision(serving_at, tmp_path, question, figure):
    acknowledged = [[] for _ in range(8)]
    enough = threading.Event()

    def tell(url, name):
        with httpx.Client(base_url=url, timeout=10) as client:
            for i in range(100_000):
                told = {"attempt_id": f"{name}-{i}", "resolved_at": RESOLVED, "outcome": "success"}
                attempt = {"payment_id": f"{name}-{i}", "created_at": RESOLVED, "amount_minor": 1, "method": "card"}
                told["attempt"] = attempt | {"currency": "KRW", "country": "KR"}
                try:
                    answer = client.post("/v1/outcomes", json=told)
                except httpx.TransportError:
                    return  # killed
                if answer.status_code == 200:
                    acknowledged[name].append(told["attempt_id"])
                if sum(map(len, acknowledged)) > 300:
                    enough.set()

    with serving_at(tmp_path) as (url, kill):
        threads = [threading.Thread(target=tell, args=(url, name)) for name in range(8)]
        for thread in threads:
            thread.start()
        arrived = enough.wait(20)
        kill()
        for thread in threads:
            thread.join()
        assert arrived

    store = LogStore(f"sqlite:///{tmp_path}/payrescue-log.db")
    store.prepare()
    kept = {known.attempt_id for known in store.after(0, 1_000_000)}
    store.close()
    told = {attempt_id for some in acknowledged for attempt_id in some}
    figure(f"service killed while outcomes came in: {len(told - kept)} of {len(told):,} acknowledged ones lost")
    assert len(told) > 300
    assert told - kept == set()

    with serving_at(tmp_path) as (url, _):
        again = {"attempt_id": next(iter(told)), "resolved_at": RESOLVED, "outcome": "success"}
        assert httpx.post(f"{url}/v1/outcomes", json=again).json()["duplicates"] == 1
        assert httpx.post(f"{url}/v1/score", json=question).status_code == 200
    # Stopped, and not killed, it has written what waited, and left the log in one file
    assert [path.name for path in tmp_path.glob("payrescue-log.db*")] == ["payrescue-log.db"]
    with closing(sqlite3.connect(tmp_path / "payrescue-log.db")) as connection:
        assert connection.execute("SELECT count(*) FROM payrescue_decisions").fetchone() == (1,)
