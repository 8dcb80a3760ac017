"""How long an answer takes in process, without HTTP: a failed attempt, its two earlier ones, eight candidates."""

from __future__ import annotations

import gc
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any

from benchmarks.features import requests
from benchmarks.report import Figure, at_most, publish
from features.attempts import check_attempts
from models import artefact
from models.engine import Engine, ScoreRequest
from models.predictor import Predictor
from training.settings import TrainSettings
from training.simulator import simulate
from training.train import train

__all__ = ["figures"]

PAYMENTS, SEED, CALLS = 30_000, 7, 3_000
CANDIDATES: tuple[dict[str, Any], ...] = (
    {"candidate_id": "c1", "method": "card", "route": "north", "auth_flow": "none"},
    {"candidate_id": "c2", "method": "card", "route": "harbor", "auth_flow": "frictionless"},
    {"candidate_id": "c3", "method": "card", "route": "summit", "auth_flow": "challenge"},
    {"candidate_id": "c4", "method": "card", "route": "delta", "auth_flow": "challenge"},
    {"candidate_id": "c5", "method": "wallet", "route": "direct", "auth_flow": "none"},
    {"candidate_id": "c6", "method": "quick_pay", "route": "direct", "auth_flow": "none"},
    {"candidate_id": "c7", "method": "bank_transfer", "route": "bankline", "auth_flow": "redirect"},
    {"candidate_id": "c8", "method": "card", "route": "north", "wait_s": 3600.0},
)
EVIDENCE = {"code_scheme": "iso8583", "response_code": "05", "last_event": "returned", "duration_s": 21.4}


def figures() -> list[Figure]:
    """The median and the 95th percentile of an answer, and of the parts of it."""
    table = check_attempts(simulate(PAYMENTS, SEED).attempts, now=datetime(2026, 6, 1, tzinfo=UTC))
    trained = train(table, TrainSettings())
    with TemporaryDirectory() as folder:
        artefact.save(trained.artefact, Path(folder, "model"))
        predictor = Predictor.load(Path(folder, "model"))
    engine = Engine(predictor, version="1")
    triples = list(islice(requests(table, trained.artefact.history.until + 60_000_000), 64))
    asked = [ScoreRequest(attempt, EVIDENCE, tuple(previous), CANDIDATES) for *previous, attempt in triples]
    times = _times_us(lambda request: engine.score(request, request_id="bench"), asked)
    told = {id(one): predictor.candidate_success(one.attempt, one.previous, CANDIDATES) for one in asked}
    because = _times_us(lambda request: told[id(request)].why(5, 0), asked)
    rules = _times_us(lambda request: engine.score(request, request_id="bench", rules_only=True), asked)
    trees = sum(part.head().booster.iterations for part in trained.artefact.heads.values())
    return [
        at_most(
            "an answer after a failure, 8 candidates, median", median(times) / 1000.0, "ms", 1.0,
            f"by the rules alone {median(rules) / 1000.0:.3f} ms; {trees:,} trees a class, all heads together",
        ),
        at_most("of it, what speaks for the suggestion (`because`), median", median(because) / 1000.0, "ms", 0.3),
        Figure("an answer after a failure, 95th percentile", quantiles(times, n=20)[-1] / 1000.0, "ms"),
    ]  # fmt: skip


def _times_us(call: Any, asked: list[ScoreRequest]) -> list[float]:
    """Microseconds of each of many calls, collector off."""
    for request in asked:
        call(request)
    gc.collect()
    gc.disable()
    try:
        times = []
        for request in islice(cycle(asked), CALLS):
            began = perf_counter_ns()
            call(request)
            times.append((perf_counter_ns() - began) / 1000.0)
    finally:
        gc.enable()
    return times


if __name__ == "__main__":
    publish("engine", figures())
