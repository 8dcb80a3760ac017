"""The drill of a retraining, unattended: from an empty registry to a champion, a challenger, a promotion and the way back."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from click.testing import CliRunner

import payrescue

QUICK = ("threads=2", "select_below_rows=0", "refit_below_rows=0", "max_rounds=12", "resamples=20")
SETTINGS = tuple(word for pair in QUICK for word in ("--set", pair))
SECONDS = 90  # on a machine that does nothing else

pytestmark = [
    pytest.mark.faults,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),  # MLflow's own, and the next too
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


@contextmanager
def served_mlflow(backend, folder, port):
    """MLflow's own server, with its runs and versions in PostgreSQL and its artifacts in a folder."""
    words = ["--backend-store-uri", backend.replace("postgresql://", "postgresql+psycopg://"), "--port", str(port)]
    words += ["--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--workers", "1"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with (folder / "mlflow.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words], cwd=folder, env=environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not _healthy(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None, (folder / "mlflow.log").read_text()
            assert time.monotonic() < deadline, "MLflow's server did not start"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # asked politely, it waits for connections that are kept open
        server.wait(timeout=30)


def _healthy(url):
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request, tmp_path, free_port, monkeypatch):
    """The address of an empty registry."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        uri = f"sqlite:///{tmp_path}/mlflow.db"
        if request.param == "postgresql":
            uri = stack.enter_context(served_mlflow(request.getfixturevalue("postgres_url"), tmp_path, free_port))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        yield uri


def give(*words):
    """A command that has to succeed; what it printed."""
    done = CliRunner().invoke(payrescue.main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_retraining_goes_from_an_empty_registry_to_a_champion_and_back(registry, tmp_path, figure):
    began = time.perf_counter()
    give("simulate", "--out", "data", "--payments", 1_500, "--seed", 5)
    first = give("train", "--data", "data/attempts.parquet", *SETTINGS)
    assert "version 1 of payrescue" in first
    assert "champion: yes (there is no champion yet)" in first
    second = give("train", "--data", "data/attempts.parquet", *SETTINGS, "--set", "seed=8")
    assert "version 2 of payrescue" in second
    promoted = "champion: yes" in second
    if not promoted:
        assert "champion: version 1 → 2 (drill)" in give("promote", "--reason", "drill")
    assert "champion: version 2 → 1 (and back)" in give("rollback", "--reason", "and back")
    moves = json.loads(give("champions", "--json"))
    assert [(move["old"], move["new"], move["by"]) for move in moves] == [
        (None, "1", "train"), ("1", "2", "train" if promoted else "promote"), ("2", "1", "rollback"),
    ]  # fmt: skip
    assert all(move["who"] and move["at"] for move in moves)
    assert "and back" in give("champions").splitlines()[-1]
    run = re.search(r"run ([0-9a-f]{32})", first)[1]
    again = give("reproduce", run)
    assert "the same data, settings, commit, packages and machine" in again
    assert "reproduced: every file of the artefact is the same" in again
    assert _what_leads_to_the_card(run) == {"card", "comparison", "description", "tag"}
    seconds = time.perf_counter() - began
    kind = "sqlite" if registry.startswith("sqlite") else "PostgreSQL and a served MLflow"
    figure(f"retrain drill on {kind}: {seconds:.0f} s (want at most {SECONDS} on a machine that does nothing else)")


def _what_leads_to_the_card(run):
    """What of the ways to the model card there is: the run's files, the registered version's description and tag."""
    import mlflow

    client = mlflow.MlflowClient()
    files = {file.path for file in client.list_artifacts(run)}
    version = client.get_model_version("payrescue", "1")
    found = {"card": "model_card.html" in files, "comparison": "comparison.json" in files}
    found |= {"description": run in version.description, "tag": run in version.tags["model_card"]}
    return {name for name, there in found.items() if there}


@pytest.mark.parametrize("registry", ["sqlite"], indirect=True)
def test_what_no_longer_comes_out_the_same_is_named(registry, tmp_path):
    give("simulate", "--out", "data", "--payments", 1_500, "--seed", 5)
    run = re.search(r"run ([0-9a-f]{32})", give("train", "--data", "data/attempts.parquet", *SETTINGS))[1]
    give("simulate", "--out", "data", "--payments", 1_500, "--seed", 6)
    done = CliRunner().invoke(payrescue.main, ["reproduce", run])
    assert done.exit_code == 1
    assert "differs: data: sha256 " in done.stdout
    assert "another model.json (" in done.stdout
    assert "NOT reproduced" in done.stdout
    unknown = CliRunner().invoke(payrescue.main, ["reproduce", "0" * 32])
    assert unknown.exit_code == 2
    assert "kept no reproduce.json" in unknown.stderr
