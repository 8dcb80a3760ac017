"""The real service on a real registry: what is promoted and rolled back serves within seconds; what is bad never does."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

import payrescue

ROOT = Path(payrescue.__file__).parent
IN_SERVICE_WITHIN_S = 10.0
WORKERS = 2

pytestmark = [
    pytest.mark.faults,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]  # MLflow's own store


@pytest.fixture(scope="module")
def environment():
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PAYRESCUE_"))}
    return clean | {"PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def registry(versions, tmp_path_factory):
    """A folder with a store in it, whose model has three versions: hopeful, gloomy, and one that was damaged."""
    import mlflow

    folder = tmp_path_factory.mktemp("rollback")
    damaged = folder / "damaged"
    shutil.copytree(versions["hopeful"], damaged)
    (damaged / "success.txt").write_text("tree\n")
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db", f"sqlite:///{folder}/mlflow.db")
    client.create_registered_model("payrescue")
    for source in (versions["hopeful"], versions["gloomy"], damaged):
        client.create_model_version("payrescue", source=str(source), run_id=None)
    return folder, client


@pytest.fixture
def give(registry, monkeypatch):
    """Gives a command in the registry's folder, which has to succeed, and returns what it printed."""
    monkeypatch.chdir(registry[0])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{registry[0]}/mlflow.db")

    def _give(*words):
        done = CliRunner().invoke(payrescue.main, list(words))
        assert done.exit_code == 0, done.output
        return done.stdout

    return _give


@pytest.fixture(scope="module")
def server(registry, environment, until_ready):
    """The service in that folder, with two workers, started before there is a champion."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = registry[0]
    words = [sys.executable, "-m", "payrescue", "serve", "--port", str(port), "--workers", str(WORKERS)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(words, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        until_ready(url, process, folder / "log")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def versions_that_answer(url, question):
    """The versions of 12 answers, each over a connection of its own, so that every worker is asked."""
    answers = [httpx.post(f"{url}/v1/score", json=question) for _ in range(12)]
    assert {answer.status_code for answer in answers} == {200}
    return {answer.json()["model"]["version"] for answer in answers}


def seconds_until(url, question, version):
    began = time.monotonic()
    while versions_that_answer(url, question) != {version}:
        assert time.monotonic() - began < IN_SERVICE_WITHIN_S
        time.sleep(0.1)
    return time.monotonic() - began


def test_what_is_promoted_and_rolled_back_is_in_service_within_ten_seconds(registry, server, give, question, figure):
    assert versions_that_answer(server, question) == {None}
    assert "champion: version (none) → 1" in give("promote", "--version", "1", "--reason", "the first")
    assert seconds_until(server, question, "1") < IN_SERVICE_WITHIN_S
    give("promote", "--version", "2")
    assert seconds_until(server, question, "2") < IN_SERVICE_WITHIN_S
    hopeless = httpx.post(f"{server}/v1/score", json=question).json()["ranking"][0]["success_probability"]
    assert "champion: version 2 → 1 (too gloomy)" in give("rollback", "--reason", "too gloomy")
    took = seconds_until(server, question, "1")
    figure(f"rollback: in service on both workers {took:.1f} s after the command returned")
    assert took < IN_SERVICE_WITHIN_S
    assert httpx.post(f"{server}/v1/score", json=question).json()["ranking"][0]["success_probability"] > hopeless
    told = httpx.get(f"{server}/v1/model").json()
    assert (told["version"], told["previous"]["version"]) == ("1", "2")
    assert told["since"] > told["previous"]["since"]
    # Around the command's own check, straight into the registry
    _, client = registry
    client.set_registered_model_alias("payrescue", "champion", "3")
    deadline = time.monotonic() + IN_SERVICE_WITHIN_S
    while (refused := httpx.get(f"{server}/readyz").json()["last_refusal"]) is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert refused["version"] == "3"
    assert "success.txt has 5 bytes" in refused["why"]
    assert versions_that_answer(server, question) == {"1"}
