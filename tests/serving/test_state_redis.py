"""The state in a real Redis: atomic, shared, and never in the way when Redis is not there or not as it was left."""

import asyncio
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest
import redis

from features.definitions import EVIDENCE_CODES, RAW_CODES
from features.history import History
from features.rows import Encoder, slot_names
from models.engine import ScoreRequest
from serving.redis_reads import RedisReads
from serving.state import OnlineState
from serving.state_fold import Base
from serving.state_memory import MemoryState
from serving.state_redis import RedisState

pytestmark = pytest.mark.faults

T0 = 1_770_000_000_000_000
MINUTE = 60_000_000
CUSTOMER = "customer\x1fc"


def ended(n, outcome="success", **changed):
    return {
        "attempt_id": f"a{n}", "payment_id": f"p{n}", "customer_id": "c", "created_at": T0 + (n - 1) * MINUTE,
        "amount_minor": 1_000, "currency": "KRW", "country": "KR", "method": "card", "card_brand": "visa",
        "route": "north", "resolved_at": T0 + n * MINUTE, "outcome": outcome, **changed,
    }  # fmt: skip


ASKED = ScoreRequest({k: v for k, v in ended(99).items() if k not in {"outcome", "resolved_at"}}, None, (ended(1),))
ENGINE = SimpleNamespace(slots_of=lambda request: [name for name in slot_names(request.attempt) if name])
"""What names the slots that a request looks at."""


def made_base(usual=3.0):
    encoder = Encoder(dict.fromkeys((*RAW_CODES, *EVIDENCE_CODES, "reason"), ()), {"KRW": usual})
    history = History()
    history.record(encoder.from_ended([ended(0)]))
    return Base(encoder, history)


@pytest.fixture
def base():
    return made_base()


@pytest.fixture
def store_of(redis_server):
    """Makes stores, and closes what they opened."""
    made = []

    def make(log, base, deadline_s=5.0):
        made.append(RedisState(redis_server.url, log, base, deadline_s=deadline_s))
        return made[-1]

    yield make
    for store in made:
        store._redis.close()


def pasts(store, n=1, request=ASKED):
    """What a request after another sees."""

    async def ask():
        try:
            return [await store.past(request, ENGINE) for _ in range(n)]
        finally:
            store._reads.close()
            await asyncio.sleep(0)

    return asyncio.run(ask())


def past_of(store):
    return pasts(store)[0]


def keys_of(redis_server, kind):
    return [key for key in redis_server.client.keys("*") if f":{kind}:".encode() in key]


def same(past, wanted):
    names = ENGINE.slots_of(ASKED)
    for found, expected in zip(past.copies(names), wanted.copies(names), strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)


TOLD = [ended(n, what) for n, what in enumerate(["success", "technical", "bank_decline", "unclassified"] * 3, 1)]


class TestTheSameAsInMemory:
    def test_slots_ids_and_declines(self, store_of, base, log_of):
        log = log_of(*TOLD)
        store, memory = store_of(log, base), MemoryState(log, made_base())
        assert store.follow() == memory.follow() == 12
        past, wanted = past_of(store), asyncio.run(memory.past(ASKED, None))
        same(past, wanted)
        for one_amount in (False, True):
            asked = {"since": T0, "one_amount": one_amount}
            assert past.declines(ASKED.attempt, **asked) == wanted.declines(ASKED.attempt, **asked) == 6
        assert past.has(ended(1))
        assert not past.has(ended(98))
        assert past.has(ended(0))
        assert not past.missed
        assert store.misses == 0

    def test_whatever_the_batches_and_whoever_applies_them(self, store_of, base, monkeypatch, log_of):
        monkeypatch.setattr("serving.state_redis._BATCH", 2)
        log = log_of()
        one, other = store_of(log, base), store_of(log, made_base())
        for n, told in enumerate(TOLD):
            log.tell(told)
            if n % 3 == 2:
                (one, other)[n % 2].follow()
        one.follow()
        memory = MemoryState(log, made_base())
        memory.follow()
        other.follow()
        same(past_of(other), asyncio.run(memory.past(ASKED, None)))

    def test_a_model_s_own_past_stays_as_it_is(self, store_of, base, log_of):
        kept = base.history.copy()
        store_of(log_of(*TOLD), base).follow()
        np.testing.assert_array_equal(base.history.sums, kept.sums)
        assert base.history.slots == kept.slots

    def test_models_of_other_pasts_or_encoders_do_not_share_a_state(self, store_of, base, log_of):
        log = log_of(*TOLD)
        store_of(log, base).follow()
        other = store_of(log_of(), made_base(usual=4.0))
        other.follow()
        assert not past_of(other).has(ended(3))

    def test_without_a_model_declines_are_kept_all_the_same(self, store_of, log_of):
        store = store_of(log_of(*TOLD), None)
        store.follow()
        (past,) = pasts_without_model(store)
        assert past.declines(ASKED.attempt, since=T0, one_amount=False) == 6


def pasts_without_model(store):
    async def ask():
        try:
            return [await store.past(ASKED, SimpleNamespace(slots_of=lambda request: ()))]
        finally:
            store._reads.close()
            await asyncio.sleep(0)

    return asyncio.run(ask())


class TestAtomic:
    def test_whoever_comes_second_writes_nothing_and_reads_again(self, store_of, base, log_of):
        log = log_of(ended(1))
        first, second = store_of(log, base), store_of(log, made_base())
        swap = second._swap

        def late(at, then, values):
            second._swap = swap
            first.follow()  # just before
            return swap(at, then, values)

        first.follow()
        log.tell(ended(2))
        second._swap = late
        assert second.follow() == 0
        assert past_of(second).copies([CUSTOMER])[0][0, 2, 0] == pytest.approx(3.0, rel=1e-3)

    def test_killed_before_it_has_written_nothing_has_entered(self, store_of, base, log_of):
        log = log_of(ended(1))
        store = store_of(log, base)
        store.follow()
        log.tell(ended(2))
        swap = store._swap

        def killed(*_):
            raise SystemExit

        store._swap = killed
        with pytest.raises(SystemExit):
            store.follow()
        store._swap = swap
        assert store.follow() == 1
        memory = MemoryState(log, made_base())
        memory.follow()
        same(past_of(store), asyncio.run(memory.past(ASKED, None)))


class TestDamage:
    """Whatever is wrong in Redis, a request gets a past, and the state is soon right again."""

    @pytest.fixture
    def store(self, store_of, base, log_of):
        store = store_of(log_of(*(ended(n, "bank_decline") for n in range(1, 4))), base)
        store.follow()
        return store

    def right_again(self, store):
        memory = MemoryState(store._log, made_base())
        memory.follow()
        store.follow()
        past = past_of(store)
        same(past, asyncio.run(memory.past(ASKED, None)))
        assert past.declines(ASKED.attempt, since=T0 - 1, one_amount=False) == 3
        assert not past.missed

    @pytest.mark.parametrize("kind", ["s", "c"])
    def test_a_value_cut_short_is_a_miss_and_the_state_is_filled_anew(self, store, redis_server, base, kind):
        for key in keys_of(redis_server, kind):
            redis_server.client.set(key, redis_server.client.get(key)[:-1])
        past = past_of(store)
        assert (past.missed, store.misses) == (True, 1)
        same(past, base.history)
        self.right_again(store)

    def test_a_value_cut_short_that_an_outcome_touches_has_the_state_filled_anew(self, store, redis_server):
        for key in keys_of(redis_server, "s"):
            redis_server.client.set(key, b"x")
        store._log.tell(ended(4, "success"))
        self.right_again(store)

    def test_a_key_of_another_type_is_as_if_it_were_not_there(self, store, redis_server, base):
        for key in keys_of(redis_server, "s"):
            redis_server.client.delete(key)
            redis_server.client.rpush(key, "x")
        past = past_of(store)
        same(past, base.history)
        assert not past.missed

    @pytest.mark.parametrize("damage", ["flushall", "deleted", "another type", "another text"])
    def test_a_state_that_lost_where_it_stands_is_filled_anew_and_nothing_counts_twice(
        self, store, redis_server, damage
    ):
        client = redis_server.client
        (at,) = [key for key in client.keys("*") if key.endswith(b":at")]
        if damage == "flushall":
            client.flushall()
        else:
            client.delete(at)
        if damage == "another type":
            client.sadd(at, "x")
        if damage == "another text":
            client.set(at, "\xff x")
        assert past_of(store).missed
        self.right_again(store)

    def test_everything_is_gone_in_the_end(self, store, redis_server):
        assert all(0 < redis_server.client.ttl(key) <= 120 * 86_400 for key in redis_server.client.keys("*"))


def until(true):
    for _ in range(500):
        if true():
            return True
        time.sleep(0.01)
    return False


class TestInService:
    """As the service has it: a thread follows the log, the event loop asks."""

    @pytest.mark.parametrize("lost", ["flushall", "restarted"])
    def test_a_redis_that_loses_all_that_it_had_is_right_again_by_itself(
        self, store_of, base, redis_server, log_of, lost, monkeypatch
    ):
        monkeypatch.setattr("serving.state._AFTER_A_FAILURE_S", 0.02)
        monkeypatch.setattr("serving.state_redis._LEAVE_ALONE_S", 0.02)
        log = log_of(*TOLD)
        store, memory = store_of(log, base), MemoryState(log, made_base())
        state = OnlineState(store, every_s=0.02)
        state.start()
        memory.follow()
        try:
            assert until(lambda: not past_of(store).missed)
            if lost == "restarted":
                redis_server.kill()
                assert until(lambda: past_of(store).missed and not state.reachable)
                redis_server.start()
            else:
                redis_server.client.flushall()
            log.tell(ended(50))
            memory.follow()
            assert until(lambda: state.seq == 13 and not past_of(store).missed)
            assert until(lambda: state.reachable and not state.failing)
            same(past_of(store), asyncio.run(memory.past(ASKED, None)))
        finally:
            state._ends.set()
            state._thread.join()

    def test_over_tls_with_a_password_and_a_certificate(self, secure_redis, base, log_of):
        log = log_of(*TOLD)
        store, memory = RedisState(secure_redis.url, log, base, deadline_s=5.0), MemoryState(log, made_base())
        assert store.follow() == memory.follow() == 12
        past = past_of(store)
        assert not past.missed
        same(past, asyncio.run(memory.past(ASKED, None)))
        store.close()

    @pytest.mark.parametrize("wrong", ["password", "certificate", "name"])
    def test_who_cannot_be_sure_of_it_does_not_talk_to_it(self, secure_redis, base, log_of, wrong, caplog):
        parts = {
            "password": ("p%40ss", "no"),
            "certificate": ("&ssl_certfile", "&x"),
            "name": ("127.0.0.1", "127.0.0.2"),
        }
        url = secure_redis.url.replace(*parts[wrong])
        if wrong == "certificate":
            url = secure_redis.url.partition("?")[0]
        store = RedisState(url, log_of(*TOLD), base, deadline_s=5.0)
        store._epoch = "e"
        assert past_of(store).missed
        with pytest.raises(redis.ConnectionError):
            store.follow()
        assert "p@ss" not in caplog.text
        store._redis.close()


class TestNotThere:
    def test_before_it_was_ever_reached_a_request_costs_nothing(self, base, log_of):
        store = RedisState("redis://127.0.0.1:1/0", log_of(), base, deadline_s=5.0)
        began = time.perf_counter()
        same(past_of(store), base.history)
        assert (store.misses, time.perf_counter() - began < 0.5) == (1, True)

    def test_a_redis_that_hangs_costs_three_deadlines_a_second_and_no_more(
        self, store_of, base, redis_server, caplog, log_of
    ):
        store = store_of(log_of(ended(1)), base, deadline_s=0.05)
        store.follow()
        redis_server.signal(signal.SIGSTOP)
        try:
            began = time.perf_counter()
            found = pasts(store, 50)
            took = time.perf_counter() - began
        finally:
            redis_server.signal(signal.SIGCONT)
        assert (all(past.missed for past in found), store.misses) == (True, 50)
        assert 0.15 <= took < 0.5
        same(found[0], base.history)
        assert caplog.text.count("not to be had") == 1

    def test_once_it_is_back_it_is_asked_again_after_a_second(self, store_of, base, redis_server, monkeypatch, log_of):
        monkeypatch.setattr("serving.state_redis._LEAVE_ALONE_S", 0.05)
        store = store_of(log_of(ended(1)), base, deadline_s=0.02)
        store.follow()
        redis_server.signal(signal.SIGSTOP)
        try:
            assert all(past.missed for past in pasts(store, 5))
        finally:
            redis_server.signal(signal.SIGCONT)
        store._deadline_s = 5.0
        assert past_of(store).missed
        time.sleep(0.06)
        assert not past_of(store).missed

    def test_a_password_that_is_wrong_is_a_miss_and_is_not_repeated(self, store_of, base, redis_server, caplog, log_of):
        store = store_of(log_of(ended(1)), base)
        store.follow()
        store._reads = RedisReads(redis_server.url.replace("redis://", "redis://:hunter2@"))
        assert all(past.missed for past in pasts(store, 4))
        assert "hunter2" not in caplog.text


class TestReads:
    def ask(self, redis_server, *many, url=None):
        async def run():
            reads = RedisReads(url or redis_server.url)
            try:
                return await asyncio.gather(*(reads.mget(keys) for keys in many))
            finally:
                reads.close()
                await asyncio.sleep(0)

        return asyncio.run(run())

    def test_many_at_once_get_each_their_own(self, redis_server):
        for n in range(20):
            redis_server.client.set(f"k{n}", b"\r\n$" + bytes([n]) * 1000 * n)
        wanted = [[b"\r\n$" + bytes([n]) * 1000 * n, None, b""] for n in range(20)]
        redis_server.client.set("empty", b"")
        assert self.ask(redis_server, *([f"k{n}".encode(), b"none", b"empty"] for n in range(20))) == wanted

    def test_one_that_stops_waiting_takes_nobody_s_answer(self, redis_server):
        redis_server.client.set("k", "v")

        async def run():
            reads = RedisReads(redis_server.url)
            await reads.mget([b"k"])
            gone = asyncio.ensure_future(reads.mget([b"none"]))
            await asyncio.sleep(0)
            gone.cancel()
            try:
                return await reads.mget([b"k"])
            finally:
                reads.close()
                await asyncio.sleep(0)

        assert asyncio.run(run()) == [b"v"]

    def test_another_database_is_another(self, redis_server):
        redis_server.client.set("k", "v")
        assert self.ask(redis_server, [b"k"], url=redis_server.url.replace("/0", "/3")) == [[None]]

    def test_a_user_and_a_password_are_told(self, redis_server):
        redis_server.client.acl_setuser("shop", enabled=True, passwords=["+pw"], keys=["*"], commands=["+mget"])
        url = redis_server.url.replace("redis://", "redis://shop:pw@")
        assert self.ask(redis_server, [b"k"], url=url) == [[None]]
        with pytest.raises(OSError, match="Redis refused: WRONGPASS"):
            self.ask(redis_server, [b"k"], url=url.replace(":pw@", ":no@"))

    def test_what_is_no_redis_is_an_error_and_not_a_wait(self):
        async def run():
            async def speak(reader, writer):
                writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                await writer.drain()
                writer.close()
                await writer.wait_closed()

            server = await asyncio.start_server(speak, "127.0.0.1", 0)
            reads = RedisReads(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
            try:
                await asyncio.wait_for(reads.mget([b"k"]), 5)
            finally:
                reads.close()
                server.close()
                await asyncio.sleep(0)

        with pytest.raises(ConnectionError):
            asyncio.run(run())
