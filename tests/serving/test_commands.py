import os
import socket
import subprocess
import sys

import pytest

from features.errors import BadInput
from models.rules import COLUMNS
from serving.commands import command, greeting, serve
from serving.settings import ServiceSettings


@pytest.fixture
def started(monkeypatch):
    """Stands in for the server that the process becomes; returns what it was started with."""
    monkeypatch.setattr(os, "environ", {"PATH": "/bin"})
    calls = []
    monkeypatch.setattr(os, "execve", lambda *arguments: calls.append(arguments))
    return calls


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_what_is_asked_for_is_handed_to_the_server(started, free_port, tmp_path):
    said = []
    rules = tmp_path / "rules.csv"
    rules.write_text(",".join(COLUMNS))
    serve("127.0.0.1", free_port, str(tmp_path), 2, str(rules), log="sqlite:///kept.db", say=said.append)
    ((program, words, environment),) = started
    assert words[:4] == [program, "-m", "bentoml", "serve"]
    assert environment["PAYRESCUE_PORT"] == str(free_port)
    assert environment["PAYRESCUE_MODEL"] == str(tmp_path)
    assert environment["PAYRESCUE_WORKERS"] == "2"
    assert ServiceSettings.from_environment(environment).rules == str(rules)
    assert ServiceSettings.from_environment(environment).log == "sqlite:///kept.db"
    assert f"http://127.0.0.1:{free_port}" in said[0]


def test_what_is_not_asked_for_is_taken_from_the_environment(started, free_port):
    os.environ["PAYRESCUE_PORT"] = str(free_port)
    serve(say=[].append)
    ((_, _, environment),) = started
    assert environment["PAYRESCUE_PORT"] == str(free_port)
    assert environment["PAYRESCUE_MODEL"] == "models:/payrescue@champion"


def test_localhost_is_an_address(started, free_port):
    serve("localhost", free_port, say=[].append)
    assert started[0][2]["PAYRESCUE_HOST"] == "127.0.0.1"


def test_bentoml_s_own_variables_do_not_win():
    _, environment = command(ServiceSettings(port=3001), {"BENTOML_PORT": "9", "HOME": "/"})
    assert "BENTOML_PORT" not in environment
    assert environment["HOME"] == "/"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"model": "no/such/folder"}, "--model"),
        ({"host": "nowhere.example"}, "--host"),
        ({"host": "203.0.113.1"}, "--port"),
        ({"rules": "no/such/rules.csv"}, r"rules\.csv: cannot be read"),
        ({"fees": "no/such/fees.yaml"}, r"fees\.yaml: cannot be read"),
        ({"log": "payrescue.db"}, "log: want a SQLAlchemy URL"),
        ({"log": "sqlite:///no/such/folder/log.db"}, "--log"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(started, free_port, options, named):
    with pytest.raises(BadInput, match=named):
        serve(port=free_port, **options)
    assert started == []


def test_a_taken_port_is_refused(started):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BadInput, match="--port"):
            serve(port=taken.getsockname()[1])


@pytest.mark.parametrize("text", ["0", "65536", "-1", "x", "3000.5"])
def test_a_port_that_is_none_is_refused_by_its_variable(text):
    with pytest.raises(BadInput, match="PAYRESCUE_PORT"):
        ServiceSettings.from_environment({"PAYRESCUE_PORT": text})


def test_an_ipv6_host_is_written_as_urls_have_it():
    assert "http://[::1]:3000/" in greeting(ServiceSettings(host="::1"))


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("serving.app", {"pandas", "sklearn", "matplotlib", "mlflow", "lightgbm", "numba", "bentoml"}),
        ("serving.service", {"pandas", "sklearn", "matplotlib", "mlflow", "lightgbm", "numba"}),
        ("serving.commands", {"pandas", "mlflow", "lightgbm", "numba", "bentoml", "numpy", "msgspec"}),
    ],
)
def test_importing_stays_light(module, unwanted):
    code = f"import sys, {module}; print(*sorted({unwanted!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
