import os
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner

import payrescue
from features.errors import BadInput
from models.rules import COLUMNS
from serving.commands import greeting, serve
from serving.keys import add_key
from serving.settings import ServiceSettings


@pytest.fixture
def started(monkeypatch):
    """Stands in for the workers; returns the environment that they were started in, each time."""
    monkeypatch.setattr(os, "environ", {"PATH": "/bin"})
    monkeypatch.setattr("serving.commands.before_them", lambda settings: None)
    calls = []
    monkeypatch.setattr("serving.commands.watch_over", lambda settings: calls.append({**os.environ}))
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
    serve(
        {
            "host": "127.0.0.1",
            "port": free_port,
            "model": str(tmp_path),
            "workers": 2,
            "rules": str(rules),
            "log": "sqlite:///kept.db",
        },
        say=said.append,
    )
    (environment,) = started
    assert environment["PAYRESCUE_PORT"] == str(free_port)
    assert environment["PAYRESCUE_MODEL"] == str(tmp_path)
    assert environment["PAYRESCUE_WORKERS"] == "2"
    assert ServiceSettings.from_environment(environment).rules == str(rules)
    assert ServiceSettings.from_environment(environment).log == "sqlite:///kept.db"
    assert f"http://127.0.0.1:{free_port}" in said[0]


def test_what_bentoml_was_told_of_its_own_is_for_its_own_server(started, free_port, monkeypatch):
    becomes = []

    def execve(*told):
        becomes.append(told)
        raise SystemExit

    monkeypatch.setattr(os, "execve", execve)
    os.environ["BENTOML_CONFIG_OPTIONS"] = "api_server.ssl.enabled=true"
    with pytest.raises(SystemExit):
        serve({"port": free_port, "model": "models:/payrescue/3"}, say=[].append)
    ((program, words, environment),) = becomes
    assert words == [program, "-m", "bentoml", "serve", "serving.service:Payrescue"]
    assert environment["PAYRESCUE_MODEL"] == "models:/payrescue/3"
    assert started == []


def test_what_is_not_asked_for_is_taken_from_the_environment(started, free_port):
    os.environ["PAYRESCUE_PORT"] = str(free_port)
    serve({}, say=[].append)
    (environment,) = started
    assert environment["PAYRESCUE_PORT"] == str(free_port)
    assert environment["PAYRESCUE_MODEL"] == "models:/payrescue@champion"


def test_a_state_is_handed_to_the_server(started, free_port):
    serve({"port": free_port, "state": "redis://localhost:6379/0"}, say=[].append)
    assert ServiceSettings.from_environment(started[0]).state == "redis://localhost:6379/0"


def test_localhost_is_an_address(started, free_port):
    serve({"host": "localhost", "port": free_port}, say=[].append)
    assert started[0]["PAYRESCUE_HOST"] == "127.0.0.1"


def test_the_policy_that_is_asked_for_is_handed_to_the_server_and_wins_over_the_environment(started, free_port):
    os.environ["PAYRESCUE_POLICY"] = "success_rate"
    serve({"port": free_port}, say=[].append)
    serve({"port": free_port, "policy": "explore:share=0.02"}, say=[].append)
    told = [ServiceSettings.from_environment(environment).policy for environment in started]
    assert told == ["success_rate", "explore:share=0.02"]


@pytest.mark.parametrize(("policy", "warned"), [("explore", True), ("greedy", False), ("rules", False)])
def test_draws_that_anybody_could_foretell_are_told_of(policy, warned):
    assert ("PAYRESCUE_SALT is not set" in greeting(ServiceSettings(policy=policy))) == warned
    assert "PAYRESCUE_SALT" not in greeting(ServiceSettings(policy=policy, salt="s3cret"))


def test_the_salt_comes_from_the_environment_and_is_shown_nowhere(started, free_port):
    said = []
    os.environ["PAYRESCUE_SALT"] = "s3cret"
    serve({"port": free_port, "policy": "explore"}, say=said.append)
    (environment,) = started
    settings = ServiceSettings.from_environment(environment)
    assert settings.salt == "s3cret"
    assert "s3cret" not in " ".join([*said, repr(settings)])


def test_bentoml_s_own_variables_do_not_win(started, free_port):
    os.environ["BENTOML_PORT"] = "9"
    serve({"port": free_port}, say=[].append)
    assert "BENTOML_PORT" not in started[0]
    assert started[0]["PATH"] == "/bin"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"model": "no/such/folder"}, "--model"),
        ({"host": "nowhere.example"}, "--host"),
        ({"host": "203.0.113.1"}, "--port"),
        ({"rules": "no/such/rules.csv"}, r"rules\.csv: cannot be read"),
        ({"fees": "no/such/fees.yaml"}, r"fees\.yaml: cannot be read"),
        ({"state": "postgresql://host/"}, "--state"),
        ({"state": "redis://host:port/0"}, "--state"),
        ({"experiments": "no/such/tests.yaml"}, r"tests\.yaml: cannot be read"),
        ({"policy": "best"}, "policy: name 'best': want one of rules"),
        ({"policy": "budget:price=0.04"}, "fees to weigh by"),
        ({"log": "payrescue.db"}, "log: want a SQLAlchemy URL"),
        ({"log": "sqlite:///no/such/folder/log.db"}, "--log"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(started, free_port, options, named):
    with pytest.raises(BadInput, match=named):
        serve({"port": free_port, **options})
    assert started == []


def test_a_taken_port_is_refused(started):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BadInput, match="--port"):
            serve({"port": taken.getsockname()[1]})


@pytest.mark.parametrize("text", ["0", "65536", "-1", "x", "3000.5"])
def test_a_port_that_is_none_is_refused_by_its_variable(text):
    with pytest.raises(BadInput, match="PAYRESCUE_PORT"):
        ServiceSettings.from_environment({"PAYRESCUE_PORT": text})


def test_following_can_be_switched_off_and_is_every_two_seconds_else():
    told = [{}, {"PAYRESCUE_FOLLOW_S": "0"}, {"PAYRESCUE_FOLLOW_S": "30"}]
    assert [ServiceSettings.from_environment(one).follow_s for one in told] == [2, 0, 30]


def test_an_ipv6_host_is_written_as_urls_have_it():
    assert "http://[::1]:3000/" in greeting(ServiceSettings(host="::1"))


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("serving.app", {"pandas", "sklearn", "matplotlib", "mlflow", "lightgbm", "numba", "bentoml"}),
        ("serving.service", {"pandas", "sklearn", "matplotlib", "mlflow", "lightgbm", "numba"}),
        ("serving.watch", {"pandas", "sklearn", "matplotlib", "mlflow", "lightgbm", "numba", "bentoml"}),
        ("serving.commands", {"pandas", "mlflow", "lightgbm", "numba", "bentoml", "numpy", "msgspec"}),
    ],
)
def test_importing_stays_light(module, unwanted):
    code = f"import sys, {module}; print(*sorted({unwanted!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


@pytest.fixture
def keys(tmp_path):
    path = tmp_path / "keys.yaml"
    add_key(path, "checkout", ["score"], created="2026-01-05")
    return str(path)


def give_serve(port, *words):
    return CliRunner().invoke(payrescue.main, ["serve", "--port", str(port), "--model", "none", *words])


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_another_address_than_loopback_wants_keys_and_says_how_to_get_them(started, free_port, host):
    done = give_serve(free_port, "--host", host)
    assert (done.exit_code, started) == (2, [])
    assert f"--host '{host}': want 127.0.0.1, or keys: payrescue keys add" in done.stderr


def test_with_keys_it_listens_anywhere_and_hands_them_on(started, free_port, keys):
    done = give_serve(free_port, "--host", "0.0.0.0", "--keys", keys, "--access-log", "0.5")
    assert done.exit_code == 0, done.output
    settings = ServiceSettings.from_environment(started[0])
    assert (settings.keys, settings.access_log) == (keys, 0.5)


def test_the_greeting_shows_where_the_key_goes(keys):
    assert "-H 'authorization: Bearer KEY'" in greeting(ServiceSettings(keys=keys))
    assert "Bearer" not in greeting(ServiceSettings())


def test_keys_that_cannot_be_read_are_refused(started, free_port):
    done = give_serve(free_port, "--keys", "no/such/keys.yaml")
    assert (done.exit_code, started) == (2, [])
    assert "keys.yaml: cannot be read" in done.stderr


@pytest.mark.parametrize("text", ["yes", "-1", "1.5", "nan"])
def test_a_share_of_the_access_log_that_is_none_is_refused_by_its_variable(started, free_port, text):
    done = give_serve(free_port, f"--access-log={text}")
    assert (done.exit_code, started) == (2, [])
    assert "PAYRESCUE_ACCESS_LOG" in done.stderr
