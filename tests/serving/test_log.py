"""The log beside the request path: it never hinders scoring, and an outcome that it acknowledges is there."""

import asyncio
import logging
import sqlite3
import threading
import time

import pytest
import sqlalchemy as sa

from models.engine import Engine
from serving import log as log_module
from serving import log_store
from serving.log import DecisionLog
from serving.log_records import LoggedDecision, LogUnavailable, OutcomeConflict
from serving.log_rows import written
from serving.log_store import LogStore
from serving.log_tables import DECISIONS, OUTCOMES
from serving.outcomes import Outcome
from serving.requests import RequestReader

RESOLVED = 1_767_605_421_000_000


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/log.db"


@pytest.fixture
def opened():
    """Opens logs, and closes them when the test is over."""
    logs = []

    def _opened(*arguments, **options):
        logs.append(DecisionLog(*arguments, **options))
        return logs[-1]

    yield _opened
    for log in logs:
        log.close()


@pytest.fixture
def decided(question, now):
    def _decided(attempt_id="a1"):
        raw = question | {"attempt": question["attempt"] | {"attempt_id": attempt_id}}
        request = RequestReader().read(raw, now=now)
        return LoggedDecision(request, Engine(None).score(request, request_id="r1"), now, 950)

    return _decided


def outcome(attempt_id="a1", name="success"):
    return Outcome(attempt_id, RESOLVED, name, None, {})


def tell(log, *outcomes):
    return asyncio.run(log.tell(outcomes))


def kept(url, table):
    store = LogStore(url)
    try:
        return [row.attempt_id for row in store.stream(sa.select(table))]
    finally:
        store.close()


def until(true, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_decisions_are_written_soon(opened, url, decided):
    log = opened(url)
    assert all(log.offer(decided(f"a{i}")) for i in range(3))
    until(lambda: log.backlog == 0)
    until(lambda: kept(url, DECISIONS) == ["a0", "a1", "a2"])


def test_an_acknowledged_outcome_is_there_for_others(opened, url):
    assert tell(opened(url), outcome()).accepted == 1
    assert kept(url, OUTCOMES) == ["a1"]


def test_a_decision_that_still_waits_is_known_to_its_outcome(opened, url, decided):
    log = opened(url)
    for i in range(200):
        log.offer(decided(f"a{i}"))
    assert tell(log, *(outcome(f"a{i}") for i in range(200))).unknown_attempts == 0
    assert len(log.after(0, 1000)) == 200


def test_an_outcome_waits_for_the_decision_that_another_worker_still_holds(opened, url, decided):
    one, other = opened(url), opened(url)
    until(lambda: one.available and one.after(0, 1) == [])

    async def quick():
        telling = asyncio.create_task(one.tell([outcome()]))
        await asyncio.sleep(0.02)
        other.offer(decided())
        return await telling

    assert asyncio.run(quick()).unknown_attempts == 0


def test_who_told_is_answered_with_what_became_of_it(opened, url):
    log = opened(url)
    tell(log, outcome())
    with pytest.raises(OutcomeConflict):
        tell(log, outcome("a2"), outcome(name="technical"))
    assert kept(url, OUTCOMES) == ["a1"]


def test_many_who_tell_at_once_share_a_commit(opened, url, decided, monkeypatch):
    log = opened(url)
    for i in range(60):
        log.offer(decided(f"a{i}"))
    tell(log, outcome("a0"))
    commits = []
    write = LogStore.write
    monkeypatch.setattr(
        LogStore, "write", lambda self, *given, **named: commits.append(1) or write(self, *given, **named)
    )

    async def many():
        return await asyncio.gather(*(log.tell([outcome(f"a{i}")]) for i in range(60)))

    assert sum(told.accepted for told in asyncio.run(many())) == 59
    assert len(commits) <= 3


def test_an_outcome_that_waits_for_its_decision_does_not_have_others_written_one_by_one(
    opened, url, decided, monkeypatch
):
    monkeypatch.setattr(log_module, "_PATIENCE_S", 1.0)
    groups, write = [], LogStore.write

    def counting(self, decisions, tellings, **options):
        groups.append(len(decisions))
        return write(self, decisions, tellings, **options)

    monkeypatch.setattr(LogStore, "write", counting)
    log = opened(url)

    async def told_of_none():
        waiting = asyncio.create_task(log.tell([outcome("unknown")]))
        for i in range(40):
            await asyncio.sleep(0.01)
            log.offer(decided(f"a{i}"))
        return await waiting

    assert asyncio.run(told_of_none()).unknown_attempts
    assert sum(groups) == 40
    assert max(groups) > 1


def test_the_queue_is_bounded_and_what_has_no_room_is_counted(opened, url, decided, monkeypatch):
    let = threading.Event()
    monkeypatch.setattr(LogStore, "prepare", lambda self: let.wait(10))  # a database that does not answer
    log = opened(url, most=5)
    began = time.perf_counter()
    assert [log.offer(decided()) for _ in range(8)] == [True] * 5 + [False] * 3
    assert time.perf_counter() - began < 1
    assert (log.backlog, log.dropped) == (5, 3)
    let.set()


def test_closing_writes_what_waits(url, decided):
    log = DecisionLog(url)
    for i in range(1_200):
        log.offer(decided(f"a{i}"))
    log.close()
    assert len(kept(url, DECISIONS)) == 1_200
    with pytest.raises(LogUnavailable):
        tell(log, outcome())


@pytest.fixture
def impatient(monkeypatch):
    """Tries again soon."""
    monkeypatch.setattr(log_module, "_LONGEST_PAUSE_S", 0.05)


def test_a_log_that_cannot_be_written_is_tried_again_and_nothing_is_lost(opened, tmp_path, decided, caplog, impatient):
    url = f"sqlite:///{tmp_path}/later/log.db"
    with caplog.at_level(logging.WARNING):
        log = opened(url)
        assert log.offer(decided())
        until(lambda: not log.available)
        with pytest.raises(LogUnavailable) as refused:
            tell(log, outcome())
        time.sleep(0.3)
        assert len(caplog.records) == 1  # and not once for each try
        (tmp_path / "later").mkdir()
        until(lambda: log.available and log.backlog == 0)
    assert refused.value.retry_after_s >= 1
    assert (kept(url, DECISIONS), log.dropped) == (["a1"], 0)
    assert tell(log, outcome()).accepted == 1
    assert "unable to open database file" in caplog.text


@pytest.mark.faults
def test_a_full_disk_stops_neither_the_queue_nor_later_writing(opened, url, decided, monkeypatch, impatient, figure):
    connected = log_store._connected_sqlite
    pages = [40]

    def small(connection, record):
        connected(connection, record)
        connection.execute(f"PRAGMA max_page_count={pages[0]}").close()

    monkeypatch.setattr(log_store, "_connected_sqlite", small)
    log = opened(url)
    until(lambda: log.after(0, 1) == [])
    for i in range(400):
        assert log.offer(decided(f"a{i}"))
    until(lambda: not log.available)
    with pytest.raises(LogUnavailable):
        tell(log, outcome())
    pages[0] = 1_000_000
    log._store._engine.dispose()  # the connections that were opened while the disk was small
    until(lambda: log.available and log.backlog == 0)
    figure(f"disk full for a while: {len(kept(url, DECISIONS))} of 400 decisions kept once there is room")
    assert (len(kept(url, DECISIONS)), log.dropped) == (400, 0)


def test_a_file_that_is_no_database_is_said_and_left_as_it_is(opened, tmp_path, decided, caplog):
    file = tmp_path / "log.db"
    file.write_bytes(b"attempt_id;payment_id\n" * 100)
    with caplog.at_level(logging.WARNING):
        log = opened(f"sqlite:///{file}")
        log.offer(decided())
        until(lambda: not log.available)
    with pytest.raises(LogUnavailable):
        log.after(0, 1)
    log.close()
    assert log.dropped == 1
    assert "file is not a database" in caplog.text
    assert file.read_bytes() == b"attempt_id;payment_id\n" * 100


def test_what_the_database_refuses_is_given_up_and_the_rest_goes_on(opened, url, decided, caplog, impatient):
    log = opened(url)
    until(lambda: log.after(0, 1) == [])
    log.offer(decided()._replace(latency_us=2**63))  # more than a column takes
    with caplog.at_level(logging.WARNING):
        until(lambda: log.dropped == 1)
    log.offer(decided("a2"))
    until(lambda: log.backlog == 0 and log.available)
    until(lambda: kept(url, DECISIONS) == ["a2"])


def test_what_cannot_be_written_out_is_counted(opened, url, decided):
    log, decision = opened(url), decided()
    with pytest.raises(TypeError):
        log.offer(
            decision._replace(answer=decision.answer | {"model": {**decision.answer["model"], "version": object()}})
        )
    assert log.dropped == 1


def test_another_writer_s_lock_is_waited_for(opened, url):
    log = opened(url)
    tell(log, outcome())
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def told():
        telling = asyncio.create_task(log.tell([outcome("a2")]))
        await asyncio.sleep(0.3)
        assert not telling.done()
        other.execute("ROLLBACK")
        return await telling

    assert asyncio.run(told()).accepted == 1
    other.close()


def test_a_postgresql_that_goes_away_is_found_again(postgres_url, opened, decided, impatient):
    log = opened(postgres_url)
    log.offer(decided("gone"))
    assert tell(log, outcome("gone")).accepted + tell(log, outcome("gone")).duplicates == 2
    admin = sa.create_engine(postgres_url.replace("postgresql", "postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL"
        connection.exec_driver_sql(others)
    admin.dispose()
    assert tell(log, outcome("gone-2")).accepted == 1
    assert [known.attempt_id for known in log.after(0, 10)] == ["gone"]


def test_two_threads_that_offer_at_once_wake_the_writer(opened, url, decided):
    log = opened(url)
    until(lambda: log.available)
    log._decisions.append(written(decided("a1")))  # of another thread, whose offer was interrupted here
    assert log.offer(decided("a2"))
    until(lambda: log.backlog == 0)  # taken, so that there are tables; and then written
    until(lambda: len(kept(url, DECISIONS)) == 2)
