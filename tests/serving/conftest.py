import asyncio
import json
import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from features.attempts import check_attempts
from features.history import History, features_in_passing
from features.rows import Encoder
from models.artefact import Artefact, HeadParts, save
from models.engine import Engine
from models.golden import golden_rows
from models.heads import Blend, Calibration
from serving.app import App
from training.simulator import simulate

PAYMENTS = 1_200
NOW = 1_767_700_000_000_000  # 2026-01-06, in microseconds


class SteadyPredictor:
    """A model that says the same of everything, so that only what the service adds is tested."""

    fingerprint = "sha256:0"
    code_text = None
    plausible = None

    def ways_to_pay(self, country):
        return [("card", "north"), ("wallet", None)]

    def outcome(self, attempt, previous):
        return [0.6, 0.1, 0.1, 0.1, 0.1]

    def candidate_success(self, attempt, previous, candidates):
        return [0.5 for _ in candidates]

    def reasons(self, attempt, previous, evidence):
        return {"generic_decline": 0.7, "insufficient_funds": 0.3}


@pytest.fixture
def now() -> int:
    return NOW


@pytest.fixture
def question() -> dict[str, Any]:
    """A well-formed request, fresh for each test."""
    return {
        "attempt": {
            "attempt_id": "a1",
            "payment_id": "p1",
            "created_at": "2026-01-05T09:30:00Z",
            "amount_minor": 38000,
            "currency": "KRW",
            "country": "KR",
            "method": "card",
            "route": "north",
        },
        "evidence": {"code_scheme": "iso8583", "response_code": "05", "last_event": "returned"},
        "previous": [],
        "candidates": [
            {"candidate_id": "c1", "method": "card", "route": "harbor"},
            {"candidate_id": "c2", "method": "quick_pay"},
        ],
    }


@pytest.fixture(scope="session")
def artefact() -> Artefact:
    """A small real model: a success head alone, of a simulated market, with golden rows."""
    import lightgbm as lgb

    checked = check_attempts(simulate(PAYMENTS, seed=6).attempts, now=datetime(2026, 6, 1, tzinfo=UTC))
    encoder = Encoder.fit(checked)
    rows = encoder.from_table(checked)
    history = History()
    matrix = features_in_passing(rows, history)
    known, every = rows.outcome >= 0, tuple(range(matrix.shape[1]))
    parameters = {"objective": "binary", "num_leaves": 8, "num_threads": 1, "verbose": -1}
    data = lgb.Dataset(np.ascontiguousarray(matrix[known]), rows.outcome[known] == 0)
    text = lgb.train(parameters, data, 10).model_to_string()
    success = HeadParts(text, every, ("success", "failure"), Calibration.none(1))
    made = Artefact(
        encoder=encoder,
        heads={"success": success},
        validated={"success": success},
        blend=Blend(),
        category_shares=(0.2, 0.4, 0.3, 0.1),
        history=history,
        code_text=None,
        ways={"KR": [("card", "north"), ("wallet", None)]},
        window={"from": 1, "until": history.until, "judged_from": 2},
        about={},
    )
    return replace(made, golden=golden_rows(made, checked))


@pytest.fixture(scope="session")
def versions(artefact: Artefact, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of two models that say clearly different things of every attempt: `hopeful` and `gloomy`."""
    folders = {}
    for name, bias in (("hopeful", 2.0), ("gloomy", -2.0)):
        moved = replace(artefact, blend=Blend(bias))
        golden = []
        for row in artefact.golden:
            odds = math.log(row["outcome"][0] / (1.0 - row["outcome"][0])) + bias
            p = 1.0 / (1.0 + math.exp(-odds))
            golden.append({**row, "outcome": [p, *((1.0 - p) * share for share in artefact.category_shares)]})
        folders[name] = tmp_path_factory.mktemp("versions") / name
        save(replace(moved, golden=golden), folders[name])
    return folders


@pytest.fixture(scope="session")
def app() -> App:
    return App(Engine(SteadyPredictor(), version="7"), clock=lambda: NOW)


@pytest.fixture(scope="session")
def rules_app() -> App:
    return App(Engine(None), clock=lambda: NOW)


@pytest.fixture(scope="session")
def send() -> Callable[..., httpx.Response]:
    """Sends one HTTP request to an ASGI application, in process."""

    def _send(app: App, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://payrescue") as client:
                if body is not None:
                    options.setdefault("headers", {}).setdefault("content-type", "application/json")
                    options["content"] = body if isinstance(body, bytes) else json.dumps(body).encode()
                return await client.request(method, path, **options)

        return asyncio.run(once())

    return _send
