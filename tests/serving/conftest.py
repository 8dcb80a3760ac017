import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from models.engine import Engine
from serving.app import App

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


class RedisServer:
    """A Redis of our own on a free port, that keeps nothing on disk."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program, self._folder = program, folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(port=self.port)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        words = [self._program, "--port", str(self.port), "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        for _ in range(500):
            try:
                self.client.ping()
            except redis.ConnectionError:
                time.sleep(0.01)
            else:
                return
        raise AssertionError("Redis did not start")

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope="session")
def running_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("PAYRESCUE_REQUIRE_STORES"):
            pytest.fail("redis-server is not installed, and PAYRESCUE_REQUIRE_STORES is set")
        pytest.skip("redis-server is not installed")
    server = RedisServer(program, tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def redis_server(running_redis: RedisServer) -> RedisServer:
    """A real Redis with nothing in it."""
    running_redis.client.flushall()
    return running_redis
