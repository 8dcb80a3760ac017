import asyncio
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import redis

import serving
from features.attempts import check_attempts
from features.history import History, features_in_passing
from features.rows import Encoder
from models.artefact import Artefact, HeadParts, save
from models.engine import Engine
from models.golden import golden_rows
from models.heads import Blend, Calibration
from serving.app import App
from serving.commands import command
from serving.known import Known
from serving.log_store import LogStore
from serving.settings import ServiceSettings
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


class ToldLog:
    """A log of outcomes in memory, as `serving.known.OutcomeLog` has it; each is told by its fields."""

    def __init__(self, *told: dict[str, Any]) -> None:
        self.entries: list[Known] = []
        for fields in told:
            self.tell(fields)

    def tell(self, fields: dict[str, Any]) -> None:
        self.entries.append(Known(len(self.entries) + 1, fields["attempt_id"], fields))

    def after(self, seq: int, most: int) -> list[Known]:
        return self.entries[seq : seq + most]

    def latest(self) -> int:
        return len(self.entries)

    def start(self, until: int | None, window_us: int) -> int:
        times = [known.fields.get("resolved_at", 2**62) for known in self.entries]
        cut = min(max(times, default=0) - window_us, *(() if until is None else (until,)), 2**62)
        return next((i for i, at in enumerate(times) if at > cut), len(times))

    def mark(self, seq: int) -> str | None:
        return self.entries[seq - 1].attempt_id if 0 < seq <= len(self.entries) else None


@pytest.fixture(scope="session")
def log_of() -> type[ToldLog]:
    return ToldLog


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
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                if body is not None:
                    options.setdefault("headers", {}).setdefault("content-type", "application/json")
                    options["content"] = body if isinstance(body, bytes) else json.dumps(body).encode()
                return await client.request(method, path, **options)

        return asyncio.run(once())

    return _send


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own, without a database; started for the tests and stopped after them."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not programs:
        _without("PostgreSQL: apt install postgresql")
    bin_ = programs[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="payrescue-postgres-"))
    as_user: dict[str, Any] = {"user": "postgres", "cwd": folder} if os.geteuid() == 0 else {"cwd": folder}
    if as_user.get("user"):
        shutil.chown(folder, "postgres")  # PostgreSQL does not run as root
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **as_user}
    port = _free_port()
    subprocess.run(
        [bin_ / "initdb", "-D", folder / "data", "-U", "payrescue", "-A", "trust", "-N"], check=True, **quiet
    )
    words = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-c", "fsync=off"]
    server = subprocess.Popen([bin_ / "postgres", "-D", folder / "data", *words], **quiet)
    try:
        ready = [bin_ / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        deadline = time.monotonic() + 30
        while subprocess.run(ready, check=False).returncode != 0:
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.05)
        yield f"postgresql://payrescue@127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGINT)  # at once, whoever is still connected
        server.wait(timeout=30)
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a log that is empty; of each kind."""
    return f"sqlite:///{tmp_path}/log.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def store(url: str) -> Iterator[LogStore]:
    """A log that is empty; of each kind."""
    made = LogStore(url)
    made.prepare()
    yield made
    made.close()


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The URL of a new database in PostgreSQL."""
    import psycopg

    name = f"log{time.time_ns()}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{postgres_server}/{name}"


def _without(store: str) -> None:
    """Skips what needs a store that is not installed; where the stores are required, that is a failure."""
    if os.environ.get("PAYRESCUE_REQUIRE_STORES") == "1":
        pytest.fail(f"needs {store}")
    pytest.skip(f"needs {store}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    return _free_port()


@pytest.fixture(scope="session")
def serving_at() -> Callable[..., Any]:
    """Starts a real server, without a model if none is named, in a folder; gives its URL, and what kills all of it at once."""

    @contextmanager
    def _serving_at(folder: Path, **settings: Any) -> Iterator[tuple[str, Callable[[], None]]]:
        port = _free_port()
        told = ServiceSettings(**{"port": port, "model": "none", **settings})
        words, environment = [sys.executable, "-m", "payrescue", "serve"], command(told, os.environ)[1]
        environment["PYTHONPATH"] = str(Path(serving.__file__).parents[1])  # this tree, whichever is installed
        url = f"http://127.0.0.1:{port}"
        with (folder / "server.log").open("ab") as log:
            process = subprocess.Popen(words, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)

        def kill() -> None:
            for pid in [*_children(process.pid), process.pid]:
                os.kill(pid, signal.SIGKILL)

        try:
            _until_ready(url, process, folder / "server.log")
            yield url, kill
        except BaseException:
            kill()
            raise
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(timeout=30)

    return _serving_at


def _children(pid: int) -> list[int]:
    """Processes that a process has started: BentoML's workers are no members of its group."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _until_ready(url: str, process: subprocess.Popen[bytes], log: Path | None = None) -> None:
    deadline = time.monotonic() + 60
    while not _ready(url):
        said = log.read_text() if log is not None else ""
        assert process.poll() is None, said or "the server ended"
        assert time.monotonic() < deadline, said or "the server did not start"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def until_ready() -> Callable[..., None]:
    """Waits for a server at a URL, as long as its process runs."""
    return _until_ready


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").is_success
    except httpx.TransportError:
        return False


class RedisServer:
    """A Redis of our own on a free port, that keeps nothing on disk; `words` and `client` where it is not as it comes."""

    def __init__(self, program: str, folder: Path, words: Sequence[str] = (), **client: Any) -> None:
        self._program, self._folder, self._more = program, folder, words
        self.port = _free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = redis.Redis(**{"host": "127.0.0.1", "port": self.port, **client})
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        secure = "--tls-port" in self._more
        port = ["--port", "0", "--tls-port" if secure else "--port", str(self.port)]
        more = [word for word in self._more if word != "--tls-port"]
        words = [self._program, *port, *more, "--save", "", "--dir", str(self._folder)]
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
def redis_program() -> str:
    program = shutil.which("redis-server")
    if program is None:
        _without("redis-server: apt install redis-server")
    return str(program)


@pytest.fixture(scope="session")
def running_redis(redis_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(redis_program, tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture(scope="session")
def secure_redis(redis_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One that speaks TLS alone, to clients with a certificate and a password."""
    folder = tmp_path_factory.mktemp("secure-redis")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = ["openssl", *words, *names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    files = {"--tls-cert-file": certificate, "--tls-key-file": key, "--tls-ca-cert-file": certificate}
    options = [word for option, path in files.items() for word in (option, str(path))]
    client = {"ssl": True, "ssl_ca_certs": certificate, "ssl_certfile": certificate, "ssl_keyfile": key}
    server = RedisServer(
        redis_program, folder, ["--tls-port", *options, "--requirepass", "p@ss/w:rd"], **client, password="p@ss/w:rd"
    )
    certificates = f"ssl_ca_certs={certificate}&ssl_certfile={certificate}&ssl_keyfile={key}"
    server.url = f"rediss://:p%40ss%2Fw%3Ard@127.0.0.1:{server.port}/0?{certificates}"
    yield server
    server.kill()


@pytest.fixture
def redis_server(running_redis: RedisServer) -> RedisServer:
    """A real Redis with nothing in it."""
    running_redis.client.flushall()
    return running_redis
