"""A day replayed through the service, on both stores: features as served are those of training, bit for bit."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pandas as pd
import pytest

from features.attempts import check_attempts
from features.columns import after_columns
from features.history import History, features_in_passing
from features.kernel import PENDING
from features.rows import Encoder
from models.engine import Engine
from models.predictor import Predictor
from serving.app import App
from serving.state import open_state
from training.simulator import simulate

AFTER = set(after_columns())
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATER = 1_790_000_000_000_000


class Watched(Engine):
    """An engine that keeps the features of what it was asked."""

    def score(self, request, **options):
        answer = super().score(request, **options)
        if self.predictor is not None:
            self.served[request.attempt["attempt_id"]] = self.predictor.features_of(request.attempt, request.previous)
        return answer


class Steady:
    """A model that says the same of all features: only they are looked at here."""

    tells_all = False

    reason = None

    def success_probability(self, matrix, *, few=False):
        return np.full(len(matrix), 0.5)

    def outcome_probability(self, matrix, *, few=False):
        return np.full((len(matrix), 5), 0.2)


class Day:
    """The last of four simulated days; the model knows those before it, as they were known when it began."""

    def __init__(self):
        self.table = check_attempts(
            simulate(1_400, 3, days=4.0).attempts, now=datetime(2026, 11, 1, tzinfo=UTC), for_training=True
        )
        cut = self.table["created_at"].max() - pd.Timedelta(1, "D")
        before = self.table[self.table["created_at"] < cut].copy()
        pending = ~(before["resolved_at"] < cut)
        before.loc[pending, [name for name in before if name in AFTER]] = None
        self.encoder = Encoder.fit(before)
        self.history = History()
        self.history.record(self.encoder.from_table(before))
        self.rows = self.encoder.from_table(self.table)
        self.matrix = features_in_passing(self.rows, History())
        self.fields = _as_fields(self.table)
        order = np.lexsort((self.rows.position, self.rows.created))
        self.asked = order[self.rows.created[order] >= int(cut.value // 1_000)].tolist()
        updates = self.rows.by_resolution()
        self.told = updates[self.rows.resolved[updates] > self.history.until].tolist()

    def known_before(self, j, i):
        """Whether the outcome of row `j` is known to row `i`: the kernel's own order."""
        rows = self.rows
        if rows.resolved[j] != rows.created[i]:
            return rows.resolved[j] < rows.created[i]
        return (rows.created[j], rows.position[j]) < (rows.created[i], rows.position[i])

    def question(self, i):
        """The body that checkout would send."""
        earlier, j = [], int(self.rows.previous[i])
        while j >= 0:
            ended = self.rows.resolved[j] != PENDING and self.rows.resolved[j] <= self.rows.created[i]
            earlier.append(self.fields[j] if ended else _before(self.fields[j]))
            j = int(self.rows.previous[j])
        return {
            "attempt": _as_json(_before(self.fields[i])),
            "previous": [_as_json(one) for one in earlier[::-1]],
            "candidates": [{"candidate_id": "c", "method": "card"}],
        }


def _before(fields):
    return {name: value for name, value in fields.items() if name not in AFTER}


def _as_json(fields):
    times = ("created_at", "resolved_at")
    return {k: (EPOCH + timedelta(microseconds=v)).isoformat() if k in times else v for k, v in fields.items()}


def _as_fields(table):
    plain = {}
    for name in table:
        values = table[name]
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            stamps = values.to_numpy("datetime64[us]").astype(np.int64)
            values = pd.Series(stamps, dtype="Int64").mask(values.isna().to_numpy())
        plain[name] = values.astype(object).where(values.notna(), None).to_list()
    return [{name: values[i] for name, values in plain.items() if values[i] is not None} for i in range(len(table))]


@pytest.fixture(scope="module")
def day():
    return Day()


class Worker:
    """One worker of the service."""

    def __init__(self, day, setting, log, *, model=True):
        predictor = Predictor(day.encoder, Steady(), day.history.copy(), {}) if model else None
        self.engine = Watched(predictor, version="1")
        self.engine.served = {}
        self.log, self.state = log, open_state(setting, log, predictor, deadline_s=2.0)
        self.app = App(self.engine, clock=lambda: LATER, state=self.state)

    async def __aenter__(self):
        self.state.start()
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app), base_url="http://payrescue")
        await self.caught_up()
        return self

    async def __aexit__(self, *_):
        await self.client.aclose()
        self.state.close()

    async def caught_up(self):
        self.state.nudge()
        until = time.monotonic() + 20
        while self.state.seq < len(self.log.entries) or not self.answers():
            assert time.monotonic() < until, "the state did not catch up"
            await asyncio.sleep(0.0005)

    def answers(self):
        """Whether the store could be asked."""
        return getattr(self.state._store, "_epoch", "") is not None

    async def ask(self, question):
        answer = await self.client.post("/v1/score", content=json.dumps(question), headers=JSON)
        assert answer.status_code == 200
        return answer.json()


JSON = {"content-type": "application/json"}


async def replay(day, log, asked, worker_of, told=0):
    """Ask about rows in their order, and tell what becomes known in between; returns how many outcomes were told."""
    for turn, i in enumerate(asked):
        worker = worker_of(turn)
        while told < len(day.told) and day.known_before(day.told[told], i):
            log.tell(day.fields[day.told[told]])
            told += 1
        await worker.caught_up()
        answer = await worker.ask(day.question(i))
        assert not answer["degraded"]
    return told


def same(day, served, asked):
    for i in asked:
        found = served[day.fields[i]["attempt_id"]]
        np.testing.assert_array_equal(found, day.matrix[i], strict=True, err_msg=f"row {i}")


@pytest.fixture(params=["memory", "redis"])
def setting(request):
    return "memory" if request.param == "memory" else request.getfixturevalue("redis_server").url


class TestADayReplayed:
    def test_features_as_served_are_those_of_training_bit_for_bit(self, day, setting, log_of):
        async def run():
            log = log_of()
            async with Worker(day, setting, log) as worker:
                told = await replay(day, log, day.asked, lambda turn: worker)
                return told, worker.engine.served, worker.state.misses

        told, served, misses = asyncio.run(run())
        same(day, served, day.asked)
        retried = [i for i in day.asked if day.rows.previous[i] >= 0]
        assert (told > 200, len(retried) > 30, misses) == (True, True, 0)

    def test_without_the_outcomes_of_the_day_they_would_be_others(self, day, log_of):
        async def run():
            async with Worker(day, "memory", log_of()) as worker:
                for i in day.asked[-20:]:
                    await worker.ask(day.question(i))
                return worker.engine.served

        served = asyncio.run(run())
        assert not any(np.array_equal(served[day.fields[i]["attempt_id"]], day.matrix[i]) for i in day.asked[-20:])

    def test_two_workers_over_one_log_serve_the_same(self, day, setting, log_of):
        asked = day.asked[:160]

        async def run():
            log = log_of()
            async with Worker(day, setting, log) as one, Worker(day, setting, log) as other:
                await replay(day, log, asked, lambda turn: (one, other)[turn % 2])
                return one.engine.served | other.engine.served

        same(day, asyncio.run(run()), asked)

    def test_after_a_restart_it_goes_on_where_it_was(self, day, setting, log_of):
        asked = day.asked[:160]

        async def run():
            log = log_of()
            async with Worker(day, setting, log) as worker:
                told = await replay(day, log, asked[:80], lambda turn: worker)
                served = worker.engine.served
            async with Worker(day, setting, log) as worker:
                await replay(day, log, asked[80:], lambda turn: worker, told)
                return served | worker.engine.served

        same(day, asyncio.run(run()), asked)

    def test_a_batch_looks_back_on_the_same(self, day, setting, log_of):
        asked = day.asked[100:110]

        async def run():
            log = log_of()
            async with Worker(day, setting, log) as worker:
                for j in day.told:
                    if all(day.known_before(j, i) for i in asked):
                        log.tell(day.fields[j])
                await worker.caught_up()
                for i in asked:
                    await worker.ask(day.question(i))
                alone, worker.engine.served = worker.engine.served, {}
                body = json.dumps([day.question(i) for i in asked])
                answer = await worker.client.post("/v1/score/batch", content=body, headers=JSON)
                assert answer.status_code == 200
                return alone, worker.engine.served

        alone, together = asyncio.run(run())
        assert alone.keys() == together.keys()
        for attempt_id, features in alone.items():
            np.testing.assert_array_equal(together[attempt_id], features)

    def test_without_a_model_the_rules_count_declines_of_other_payments(self, day, setting, question, log_of):
        async def run():
            log = log_of()
            async with Worker(day, setting, log, model=False) as worker:
                card = {**question["attempt"], "customer_id": "c", "card_brand": "visa", "created_at": LATER - 10**9}
                asked = {**question, "attempt": _as_json(card)}
                asked["candidates"] = [{"candidate_id": "c1", "method": "card", "route": "harbor"}]
                before = await worker.ask(asked)
                for n in range(15):
                    paid = {**card, "attempt_id": f"b{n}", "payment_id": f"q{n}", "resolved_at": LATER - 9 * 10**8}
                    log.tell({**paid, "outcome": "bank_decline"})
                await worker.caught_up()
                return before["blocked"], (await worker.ask(asked))["blocked"]

        before, after = asyncio.run(run())
        assert before == []
        assert {block["rule"] for block in after} == {"visa_declines_30_days"}


@pytest.mark.faults
class TestRedisFails:
    def test_killed_in_the_middle_answers_go_on_and_once_it_is_back_features_are_the_same_again(
        self, day, redis_server, caplog, figure, log_of
    ):
        first, between, last = day.asked[:60], day.asked[60:75], day.asked[75:140]

        async def run():
            log = log_of()
            async with Worker(day, redis_server.url, log) as worker:
                told = await replay(day, log, first, lambda turn: worker)
                redis_server.kill()
                degraded = [(await worker.ask(day.question(i)))["degraded"] for i in between]
                misses = worker.state.misses
                await asyncio.to_thread(redis_server.start)
                until = time.monotonic() + 20
                while (await worker.ask(day.question(between[0])))["degraded"]:
                    assert time.monotonic() < until, "Redis was not asked again"
                    await asyncio.sleep(0.02)
                await replay(day, log, last, lambda turn: worker, told)
                return degraded, misses, worker.engine.served

        degraded, misses, served = asyncio.run(run())
        assert (all(degraded), misses) == (True, len(between))
        same(day, served, [*first, *last])
        figure(
            f"Redis killed: {len(between)} of {len(between)} requests answered meanwhile; once back, features as before"
        )
        assert "the online state is not to be had" in caplog.text
