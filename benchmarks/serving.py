"""The service over HTTP, load generator included, against what others would put in its place: one run, one machine.

Every request is of another attempt, with the evidence of its failure, two earlier attempts and eight candidates. Peers are
an endpoint of BentoML's that does nothing and takes nothing, as it comes (without httptools, which BentoML does not install)
and with what our service has; one that does nothing but take the same body as a dict, as it comes; `mlflow models serve` of
the same model; FastAPI with the same model through a DataFrame.
Rounds of ours and of the empty endpoint alternate, since a machine is never quite quiet, of several processes of each, one
after another, since two of the same code are not equally fast; medians over all are compared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

import pandas as pd

from benchmarks.engine import CANDIDATES, EVIDENCE
from benchmarks.features import requests
from benchmarks.load import Load, closed, open_loop, request_bytes
from benchmarks.report import Figure, at_least, at_most
from benchmarks.servers import Server, free_port, running
from features.attempts import check_attempts
from features.columns import columns

__all__ = ["environment", "figures", "prepare", "program"]

PAYMENTS, SEED = 30_000, 7
ROUNDS, SECONDS = 3, 4.0
LIVES = 3  # processes of each server, one after another: two of the same code differ by a tenth
TURNS, TURN_S = 4, 1.5  # of each, where several servers alternate: short ones, for all to have the same weather
STARTS = 5
SATURATING = 16  # connections
FLOOD = 5  # times saturation
REQUESTS = 256
_SETTLES_WITHIN_S = 60
_BEFORE = [name for name, column in columns().items() if column.known == "before"]
_TIMES = ("created_at", "resolved_at")
_HERE = Path(__file__).parent
_WITHOUT = {"PYTHONPATH": str(_HERE / "peers" / "plain")}


def figures() -> list[Figure]:
    """Latency, throughput, behaviour beyond capacity, start and memory."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        bodies, records = prepare(folder)
        return [
            *_against_empty(folder, bodies),
            *_two_workers(folder, bodies),
            _flooded(folder, bodies),
            *_against_models(folder, bodies, records),
        ]


def prepare(folder: Path) -> tuple[list[bytes], list[bytes]]:
    """Train and register a model in `folder`; the bodies of requests, and of the same attempts as records of a table."""
    ours = [str(_HERE.parent / name) for name in ("features", "insights", "models", "serving", "training")]
    _run([sys.executable, "-m", "compileall", "-q", *ours], folder)
    _run([*program(), "simulate", "--out", "data", "--payments", str(PAYMENTS), "--seed", str(SEED)], folder)
    _run([*program(), "train", "--data", "data/attempts.parquet"], folder)
    table = check_attempts(pd.read_parquet(folder / "data" / "attempts.parquet"), now=datetime(2026, 6, 1, tzinfo=UTC))
    after = int(table["resolved_at"].max().timestamp() * 1e6) + 60_000_000
    triples = list(islice(requests(table, after), REQUESTS))
    bodies = [_body(triple) for triple in triples]
    rows = [{name: triple[-1].get(name) for name in _BEFORE} for triple in triples]
    # MLflow takes times without a zone only
    records = [json.dumps([{**row, "created_at": _text(row["created_at"])[:-6]}]).encode() for row in rows]
    return bodies, records


def _body(triple: Sequence[dict[str, Any]]) -> bytes:
    """A request, as checkout would send it, from two earlier attempts and one."""
    *previous, attempt = (
        {name: _text(value) if name in _TIMES else value for name, value in fields.items()} for fields in triple
    )
    attempt = {name: value for name, value in attempt.items() if name in _BEFORE}
    for past in previous:
        past.pop("payment_id", None)
    return json.dumps(
        {"attempt": attempt, "evidence": EVIDENCE, "previous": previous, "candidates": CANDIDATES}
    ).encode()


def _text(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat()


def _run(words: Sequence[str], folder: Path) -> None:
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr[-2000:]}")


def program() -> list[str]:
    """What starts `payrescue`."""
    return [sys.executable, "-m", "payrescue"]


def environment() -> dict[str, str]:
    """That of a server or a command: ours without settings, and this tree, compiled as the peers are that pip installed."""
    root = str(_HERE.parent)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PAYRESCUE_", "MLFLOW_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"  # MLflow starts uvicorn by its name
    told = {"PATH": path, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "", "BENTOML_DO_NOT_TRACK": "True"}
    return {**kept, **told, "OMP_WAIT_POLICY": "PASSIVE"}


@contextmanager
def _ours(folder: Path, workers: int, **told: str) -> Iterator[Server]:
    port = free_port()
    words = [*program(), "serve", "--port", str(port), "--workers", str(workers)]
    with running(words, port, folder, {**environment(), "PAYRESCUE_DRAIN_S": "0", **told}) as server:
        yield server


@contextmanager
def _bentoml(folder: Path, service: str, *, as_it_comes: bool) -> Iterator[Server]:
    port = free_port()
    words = [sys.executable, "-m", "bentoml", "serve", service, "--port", str(port), "--working-dir"]
    words.append(str(_HERE / "peers"))
    with running(words, port, folder, environment() | (_WITHOUT if as_it_comes else {})) as server:
        yield server


def _warmed(server: Server, bodies: Sequence[bytes], connections: int) -> None:
    """Have ours answer, and wait until it has found the registry: importing MLflow for that takes a core for seconds."""
    _ask(server, "/v1/score", bodies, connections, 1.0)
    until = time.perf_counter() + _SETTLES_WITHIN_S
    while True:
        with urlopen(server.url + "/readyz", timeout=5) as answer:
            told = json.load(answer)
        if told["registry"] == "reachable":
            return
        if time.perf_counter() > until:
            raise RuntimeError(f"{server.url}: after {_SETTLES_WITHIN_S} s the registry is {told['registry']}")
        time.sleep(0.2)


def _ask(server: Server, path: str, bodies: Sequence[bytes], connections: int, seconds: float = SECONDS) -> Load:
    load = closed(server.url + path, request_bytes(server.url + path, bodies), connections=connections, seconds=seconds)
    wrong = {status for status in load.statuses if status != 200}
    if wrong or load.lost:
        raise RuntimeError(f"{server.url}{path}: answered {dict(load.statuses)}, lost {load.lost}")
    return load


def _rounds(asked: Sequence[Callable[[], Load]], told: Callable[[Load], float], rounds: int) -> list[list[float]]:
    """What each of some loads comes to, round after round, the loads alternating."""
    found: list[list[float]] = [[] for _ in asked]
    for _ in range(rounds):
        for values, ask in zip(found, asked, strict=True):
            values.append(told(ask()))
    return found


def _against_empty(folder: Path, bodies: Sequence[bytes]) -> list[Figure]:
    """One worker of ours against an endpoint that does nothing."""
    first_s, again_s, empty_s = _starts(folder)
    lives = [_beside_empty(folder, bodies) for _ in range(LIVES)]
    p50 = [median(chain(*rounds)) for rounds in zip(*(quick for quick, _, _ in lives), strict=True)]
    rate = [median(chain(*rounds)) for rounds in zip(*(many for _, many, _ in lives), strict=True)]
    memory = max(megabytes for _, _, megabytes in lives)
    return [
        at_most(
            "p50 over one connection, against BentoML's empty endpoint as it comes", p50[0] / p50[1], "×", 1.0,
            f"{p50[0]:.2f} ms against {p50[1]:.2f}; with httptools the empty one takes {p50[2]:.2f}",
        ),
        at_least(
            "throughput of one worker, 16 connections, against the same", rate[0] / rate[1], "×", 1.5,
            f"{rate[0]:,.0f}/s against {rate[1]:,.0f}/s; with httptools the empty one gives {rate[2]:,.0f}/s",
        ),
        Figure(
            "p50 over one connection, against BentoML's endpoint that takes the same body as a dict, as it comes",
            p50[0] / p50[3], "×", baseline=f"{p50[0]:.2f} ms against {p50[3]:.2f}",
        ),
        Figure(
            "throughput of one worker, 16 connections, against that one", rate[0] / rate[3], "×",
            baseline=f"{rate[0]:,.0f}/s against {rate[3]:,.0f}/s",
        ),
        at_most(
            "cold start to /readyz where the model was trained, or served before, against the empty one",
            again_s / empty_s, "×", 1.3, f"{again_s:.1f} s against {empty_s:.1f} s",
        ),
        at_most(
            "cold start where nothing is kept, and MLflow has to be imported to ask the registry, against the same",
            first_s / empty_s, "×", 1.3, f"{first_s:.1f} s against {empty_s:.1f} s",
        ),
        at_most(
            "memory of a worker", memory[0], "MB", 350.0, f"all its processes: {', '.join(f'{m:.0f}' for m in memory)} MB"
        ),
    ]  # fmt: skip


def _beside_empty(folder: Path, bodies: Sequence[bytes]) -> tuple[list[list[float]], list[list[float]], list[float]]:
    """By one process of each server: p50 over one connection, and answers a second over many, round after round.

    The servers are ours, the empty endpoint as it comes and with httptools, and the one that takes the body. With it comes the
    memory of our processes.
    """
    with ExitStack() as stack:
        ours = stack.enter_context(_ours(folder, 1))
        plain = stack.enter_context(_bentoml(folder, "empty:Empty", as_it_comes=True))
        fast = stack.enter_context(_bentoml(folder, "empty:Empty", as_it_comes=False))
        taking = stack.enter_context(_bentoml(folder, "taking:Taking", as_it_comes=True))
        servers = (
            (ours, "/v1/score", bodies),
            (plain, "/score", [b"{}"]),
            (fast, "/score", [b"{}"]),
            (taking, "/score", bodies),
        )
        _warmed(ours, bodies, 4)
        for server, path, body in servers:
            _ask(server, path, body, 4, 1.0)

        def all_of(connections: int) -> list[Callable[[], Load]]:
            return [
                lambda s=server, p=path, b=body: _ask(s, p, b, connections, TURN_S) for server, path, body in servers
            ]

        p50 = _rounds(all_of(1), lambda load: load.percentile_ms(0.5), TURNS)
        rate = _rounds(all_of(SATURATING), lambda load: load.per_second, TURNS)
        return p50, rate, ours.megabytes()


def _starts(folder: Path) -> list[float]:
    """Seconds until a server is ready, the medians of rounds that alternate: ours where nothing is kept, ours, an empty one."""
    found: list[list[float]] = [[], [], []]
    for _ in range(STARTS):
        # As where no model was made champion, nor served before
        servers = (
            _ours(folder, 1, PAYRESCUE_LAST_MODELS="none"),
            _ours(folder, 1),
            _bentoml(folder, "empty:Empty", as_it_comes=True),
        )
        for seconds, server in zip(found, servers, strict=True):
            with server as started:
                seconds.append(started.ready_s)
    return [median(seconds) for seconds in found]


def _two_workers(folder: Path, bodies: Sequence[bytes]) -> list[Figure]:
    """Two workers: what they can take, and an ordinary day."""
    with _ours(folder, 2) as ours:
        url = ours.url + "/v1/score"
        asked = request_bytes(url, bodies)
        _warmed(ours, bodies, SATURATING)
        most = median(_ask(ours, "/v1/score", bodies, SATURATING).per_second for _ in range(ROUNDS))
        day = open_loop(url, asked, per_second=150, seconds=3 * SECONDS)
    return [
        at_least("throughput of two workers, load generator included", most, "requests/s", 1_000.0),
        at_most(
            "p95 at 150 requests/s offered, two workers", day.percentile_ms(0.95), "ms", 10.0,
            f"p50 {day.percentile_ms(0.5):.1f} ms, p99 {day.percentile_ms(0.99):.1f} ms; {day.statuses[200]:,} answers",
        ),
    ]  # fmt: skip


def _flooded(folder: Path, bodies: Sequence[bytes]) -> Figure:
    """One worker, so that the load has a core of its own, and five times as many customers as it can answer."""
    with _ours(folder, 1) as ours:
        url = ours.url + "/v1/score"
        asked = request_bytes(url, bodies)
        _warmed(ours, bodies, SATURATING)
        most = _ask(ours, "/v1/score", bodies, SATURATING).per_second
        open_loop(url, asked, per_second=FLOOD * most, seconds=1.0)
        flood = open_loop(url, asked, per_second=FLOOD * most, seconds=2 * SECONDS)
    return at_most(
        "p99 of what is accepted at five times saturation", flood.percentile_ms(0.99), "ms", 250.0,
        f"{FLOOD * most:,.0f}/s asked, {flood.per_second:,.0f}/s answered, p50 {flood.percentile_ms(0.5):.0f} ms, the others "
        f"turned away (503, median {flood.percentile_ms(0.5, 503):.0f} ms), {flood.lost:,} lost",
    )  # fmt: skip


def _against_models(folder: Path, bodies: Sequence[bytes], records: Sequence[bytes]) -> list[Figure]:
    """Against the same model behind others' servers; they tell probabilities of one attempt, ours all of its answer."""
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "PEER_MODEL": "models:/payrescue@champion"}
    with _ours(folder, 1) as ours:
        _warmed(ours, bodies, SATURATING)
        mine = median(_ask(ours, "/v1/score", bodies, SATURATING).per_second for _ in range(ROUNDS))
    port = free_port()
    words = [sys.executable, "-m", "mlflow", "models", "serve", "-m", store["PEER_MODEL"], "-p", str(port)]
    words += ["--env-manager", "local", "--host", "127.0.0.1"]
    with running(words, port, folder, environment() | store, "/health") as peer:
        wrapped = [b'{"dataframe_records": ' + record + b"}" for record in records]
        mlflow = _ask(peer, "/invocations", wrapped, SATURATING)
    port = free_port()
    words = [sys.executable, "-m", "uvicorn", "benchmarks.peers.frame:app", "--port", str(port), "--log-level", "error"]
    with running(words, port, folder, environment() | store, "/docs") as peer:
        frame = _ask(peer, "/score", records, SATURATING)
    return [
        at_least(
            "throughput against `mlflow models serve` of the same model", mine / mlflow.per_second, "×", 20.0,
            f"{mine:,.0f}/s against {mlflow.per_second:,.1f}/s, p50 {mlflow.percentile_ms(0.5):,.0f} ms",
        ),
        Figure(
            "throughput against FastAPI with the same model through a DataFrame", mine / frame.per_second, "×",
            baseline=f"{frame.per_second:,.1f}/s, p50 {frame.percentile_ms(0.5):,.0f} ms",
        ),
    ]  # fmt: skip
