"""Where the microseconds of an answer go: each part of the request path alone, in process, and what the server adds.

The parts are those of a request of `benchmarks.serving`: a failed attempt, two earlier ones, eight candidates, with a key, a
state in process, a log and a line in the access log. Alone and in a tight loop each is faster than in the middle of a request,
whose other parts take its place in the processor's caches; the last line but one says by how much.
"""

from __future__ import annotations

import asyncio
import gc
import io
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter_ns, time_ns
from typing import Any

import numpy as np

from benchmarks.load import closed, request_bytes
from benchmarks.report import Figure
from benchmarks.servers import free_port, running
from benchmarks.serving import environment, prepare, program
from features.kernel import N_FEATURES
from models.engine import ScoreRequest
from serving.access_log import AccessLog
from serving.app import App
from serving.doors import Doors
from serving.key_commands import add
from serving.keys import KeyRing
from serving.loading import Located, take
from serving.log import DecisionLog
from serving.log_records import LoggedDecision
from serving.metrics import Meters
from serving.requests import RequestReader
from serving.state import open_state
from serving.transport import answered, parse_json

__all__ = ["figures"]

CALLS, SECONDS = 2_000, 4.0
_ROUTE = "/v1/score"


def figures() -> list[Figure]:
    """Medians, µs."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        bodies, _ = prepare(folder)
        model = next(folder.rglob("manifest.json")).parent
        found = asyncio.run(_parts(folder, model, bodies))
        over_http = _over_http(folder, model, bodies)
    parts, whole = found[:-1], found[-1]
    alone = sum(part.value for part in parts)
    return [
        *parts,
        Figure("all of it as one application", whole.value, "µs", baseline=f"the parts add up to {alone:.0f}"),
        Figure(
            "over HTTP, one connection, p50", over_http, "µs",
            baseline=f"{over_http - whole.value:.0f} more: uvicorn, the sockets of both sides, the client",
        ),
    ]  # fmt: skip


async def _parts(folder: Path, model: Path, bodies: Sequence[bytes]) -> list[Figure]:
    served = take(Located(model, "1"))
    engine = served.engine
    key = add(folder / "keys.yaml", "bench", ["score"]).splitlines()[-1].strip()
    log = DecisionLog(f"sqlite:///{folder}/log.db")
    state = open_state("memory", log, engine.predictor)
    doors, meters, lines = Doors(KeyRing(folder / "keys.yaml")), Meters(), AccessLog(io.StringIO())
    reader, now = RequestReader(), time_ns() // 1_000
    requests = [_plain(reader, body, now) for body in bodies]
    pasts = [await state.past(request, engine) for request in requests]
    answers = [engine.score(request, request_id="r") for request in requests]
    written = [answered(answer, bytes).body for answer in answers]
    features = np.zeros(N_FEATURES, np.float32)
    scope = {
        "type": "http", "method": "POST", "path": _ROUTE, "query_string": b"", "raw_path": _ROUTE.encode(),
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json"),
                    (b"authorization", f"Bearer {key}".encode())],
    }  # fmt: skip
    app = App(engine, state=state, log=log, doors=doors, meters=meters, access_log=lines)
    every = range(len(bodies))
    alone, with_past = _pairs_us(
        lambda i: engine.score(requests[i], request_id="r"),
        lambda i: engine.score(requests[i], request_id="r", past=pasts[i]),
        every,
    )
    by_rules = _times_us(lambda i: engine.score(requests[i], request_id="r", rules_only=True), every)
    handed = _times_us(
        lambda i: log.offer(LoggedDecision(requests[i], answers[i], now, 950, features, body=written[i])), every
    )
    slowly = _times_us(lambda i: reader.read(parse_json(bodies[i]), now=now), every)
    found = [
        Figure("who may come in (key, headers)", _times_us(lambda _: doors.admit(scope, _ROUTE), every), "µs"),
        Figure(
            "the JSON read, every field checked", _times_us(lambda i: reader.read_plain(bodies[i], now=now), every), "µs",
            baseline=f"{len(bodies[0])} bytes; value by value {slowly:.0f}",
        ),
        Figure(
            "diagnosis, features, model, rules, ranking, reasons", alone, "µs",
            baseline=f"by the rules alone {by_rules:.0f}",
        ),
        Figure("what outcomes have told (state in process)", with_past, "µs"),
        Figure(
            "the decision written out for the log, once the answer is on its way", handed, "µs",
            baseline="another thread stores it",
        ),
        Figure("the answer written as JSON", _times_us(lambda i: answered(answers[i], bytes), every), "µs"),
    ]  # fmt: skip
    whole = await _asked_us(app, scope, bodies)
    log.close()
    return [*found, Figure("", whole, "µs")]


def _plain(reader: RequestReader, body: bytes, now: int) -> ScoreRequest:
    request = reader.read_plain(body, now=now)
    if request is None:
        raise RuntimeError("a request of the benchmark is not plain")
    return request


def _times_us(call: Callable[[int], Any], places: Sequence[int]) -> float:
    """The median of many calls, collector off, µs."""
    for place in places:
        call(place)
    gc.collect()
    gc.disable()
    try:
        times = []
        for place in islice(cycle(places), CALLS):
            began = perf_counter_ns()
            call(place)
            times.append((perf_counter_ns() - began) / 1_000.0)
    finally:
        gc.enable()
    return median(times)


def _pairs_us(
    call: Callable[[int], Any], with_more: Callable[[int], Any], places: Sequence[int]
) -> tuple[float, float]:
    """The median of many calls, and that of what each takes longer with more, collector off, µs.

    Both are made right after each other, now the one first, now the other: whatever else the machine does, it does to both.
    """
    both = (call, with_more)
    for one in both:
        for place in places:
            one(place)
    gc.collect()
    gc.disable()
    try:
        alone, more = [], []
        for turn, place in enumerate(islice(cycle(places), CALLS)):
            took = [0.0, 0.0]
            for which in (0, 1) if turn % 2 else (1, 0):
                began = perf_counter_ns()
                both[which](place)
                took[which] = (perf_counter_ns() - began) / 1_000.0
            alone.append(took[0])
            more.append(took[1] - took[0])
    finally:
        gc.enable()
    return median(alone), median(more)


async def _asked_us(app: App, scope: dict[str, Any], bodies: Sequence[bytes]) -> float:
    """The median time of the application for a request, without a server, µs."""

    async def send(message: Any) -> None:
        pass

    times = []
    for body in islice(cycle(bodies), CALLS):

        async def receive(body: bytes = body) -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        began = perf_counter_ns()
        await app({**scope}, receive, send)
        times.append((perf_counter_ns() - began) / 1_000.0)
    return median(times)


def _over_http(folder: Path, model: Path, bodies: Sequence[bytes]) -> float:
    port = free_port()
    words = [*program(), "serve", "--port", str(port), "--model", str(model), "--keys", "keys.yaml"]
    key = add(folder / "keys.yaml", "load", ["score"]).splitlines()[-1].strip()
    with running(words, port, folder, {**environment(), "PAYRESCUE_DRAIN_S": "0"}) as server:
        url = server.url + _ROUTE
        asked = request_bytes(url, bodies, {"authorization": f"Bearer {key}"})
        closed(url, asked, connections=4, seconds=1.0)
        load = closed(url, asked, connections=1, seconds=SECONDS)
    if set(load.statuses) != {200}:
        raise RuntimeError(f"answered {dict(load.statuses)}")
    return load.percentile_ms(0.5) * 1_000.0
