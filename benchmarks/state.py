"""What the online state costs: a request in process and over Redis, and filling it from the log."""

from __future__ import annotations

import asyncio
import gc
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter, process_time, sleep
from typing import Any

import numpy as np

from benchmarks.engine import CANDIDATES, EVIDENCE
from benchmarks.features import as_fields, quietest_median_us, requests
from benchmarks.report import Figure, at_most, publish
from features.attempts import check_attempts
from features.history import History
from features.rows import Encoder
from models.engine import Engine, ScoreRequest
from models.predictor import Predictor
from serving.known import Known
from serving.state_fold import Base
from serving.state_kept import KeptStates
from serving.state_memory import MemoryState
from serving.state_redis import RedisState
from training.simulator import simulate

__all__ = ["figures"]

PAYMENTS, SEED, OUTCOMES, CALLS = 90_000, 7, 100_000, 2_000


class Constant:
    """A model that costs nothing, so that what is around it is measured."""

    tells_all = False

    reason = None

    def success_probability(self, matrix: Any, *, few: bool = False) -> Any:  # noqa: ARG002  as a model has it
        return np.full(len(matrix), 0.5)

    def outcome_probability(self, matrix: Any, *, few: bool = False) -> Any:  # noqa: ARG002  as a model has it
        return np.full((len(matrix), 5), 0.2)


class Log:
    """A log in memory."""

    def __init__(self, told: list[Known]) -> None:
        self.told = told

    def after(self, seq: int, most: int) -> list[Known]:
        return self.told[seq : seq + most]

    def latest(self) -> int:
        return len(self.told)

    def start(self, until: int | None, window_us: int) -> int:  # noqa: ARG002  all of it is read here
        return 0

    def mark(self, seq: int) -> str:
        return self.told[seq - 1].attempt_id


def figures() -> list[Figure]:
    """Microseconds that a request pays, and seconds to fill the state from nothing."""
    table = check_attempts(simulate(PAYMENTS, SEED).attempts, now=datetime(2026, 6, 1, tzinfo=UTC))
    encoder = Encoder.fit(table)
    ended = table[table["outcome"].notna()].sort_values("resolved_at", kind="stable").head(OUTCOMES)
    fields = [as_fields(row) for row in ended.to_dict("records")]
    log = Log([Known(i, one["attempt_id"], one) for i, one in enumerate(fields, 1)])
    memory = MemoryState(log, Base(encoder, History()))
    filled = _cpu_seconds(memory.follow)
    with TemporaryDirectory() as folder:
        kept = KeptStates(Path(folder))
        before = MemoryState(log, Base(encoder, History()), kept=kept)
        before.follow()
        keeping = _cpu_seconds(before.close)
        starting = _cpu_seconds(MemoryState(log, Base(encoder, History()), kept=kept).follow)
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
    history = memory._base.history if memory._base is not None else History()
    predictor = Predictor(encoder, Constant(), history, {})  # type: ignore[arg-type]  # answers as a model does
    engine = Engine(predictor)
    triples = islice(requests(table, history.until + 60_000_000), 64)
    asked = [ScoreRequest(attempt, EVIDENCE, tuple(previous), CANDIDATES) for *previous, attempt in triples]
    gc.collect()

    def without(request: ScoreRequest) -> None:
        engine.score(request, request_id="bench")

    def with_state(request: ScoreRequest) -> None:
        engine.score(request, request_id="bench", past=_at_once(memory.past(request, engine)))

    # In turns, so that a machine that is busy for a while is so for both
    turns = [
        [quietest_median_us([partial(call, one) for one in asked], blocks=8, size=64) for call in (without, with_state)]
        for _ in range(12)
    ]
    bare, live = map(min, zip(*turns, strict=True))
    found = [
        at_most("in process: what a request pays more", live - bare, "µs", 50.0, f"of an answer of {bare:,.0f}"),
        at_most(f"in process: filled from {OUTCOMES:,} outcomes, CPU", filled, "s", 5.0),
        at_most(
            "in process: the same from what was kept when the service last ran", starting, "s", 0.5, f"{size:.0f} MB"
        ),
        Figure("in process: keeping it, beside the requests", keeping, "s"),
    ]
    program = shutil.which("redis-server")
    if program is None:
        return found
    with _redis(program) as url:
        store = RedisState(url, log, Base(encoder, History()), deadline_s=1.0)
        filling = _cpu_seconds(store.follow)
        times, cpu = asyncio.run(_asked(store, engine, asked))
        store._redis.close()
    return [
        *found,
        at_most("Redis: what a request pays more, median", median(times), "µs", 1_000.0, f"of CPU {cpu:.0f} µs"),
        Figure("Redis: the same, 99th percentile", quantiles(times, n=100)[-1], "µs"),
        Figure(f"Redis: filled from {OUTCOMES:,} outcomes, CPU of the worker", filling, "s"),
    ]


def _at_once(coroutine: Any) -> Any:
    """What a coroutine that waits for nothing returns."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


async def _asked(store: RedisState, engine: Engine, asked: list[ScoreRequest]) -> tuple[list[float], float]:
    """Microseconds of each of many reads, and the mean of CPU."""
    times = []
    await store.past(asked[0], engine)
    began_cpu = process_time()
    for i in range(CALLS):
        began = perf_counter()
        past = await store.past(asked[i % len(asked)], engine)
        times.append((perf_counter() - began) * 1e6)
        assert not past.missed
    cpu = (process_time() - began_cpu) / CALLS * 1e6
    store._reads.close()
    await asyncio.sleep(0)
    return times, cpu


def _cpu_seconds(call: Any) -> float:
    began = process_time()
    call()
    return process_time() - began


@contextmanager
def _redis(program: str) -> Iterator[str]:
    """The URL of a Redis of our own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with TemporaryDirectory() as folder:
        words = [program, "--port", str(port), "--save", "", "--dir", folder]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        try:
            for _ in range(100):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                sleep(0.05)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    publish("state", figures())
