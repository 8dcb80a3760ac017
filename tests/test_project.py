"""The project as a whole: its files agree with its code, and MLflow runs it."""

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import payrescue
from training.settings import TrainSettings

ROOT = Path(payrescue.__file__).parent
PROJECT = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REQUIREMENTS = re.split(r"\n(?=\S)", (ROOT / "constraints.txt").read_text(encoding="utf-8").strip())
QUICK = ("threads=1", "select_below_rows=0", "refit_below_rows=0", "max_rounds=10", "resamples=20")


def the_settings():
    return {known.name: known.default for known in fields(TrainSettings)}


def test_the_parameters_of_the_mlflow_project_are_the_settings_with_their_defaults():
    told = PROJECT["entry_points"]["main"]["parameters"]
    inputs = {"data", "query", "mapping", "engine", "scheduler"}
    assert {name: parameter["default"] for name, parameter in told.items() if name not in inputs} == the_settings()


def test_every_setting_of_the_mlflow_project_is_handed_on():
    handed_on = re.findall(r"--set (\w+)=\{(\w+)\}", PROJECT["entry_points"]["main"]["command"])
    assert handed_on == [(name, name) for name in the_settings()]


@pytest.mark.parametrize("name", PROJECT["entry_points"])
def test_an_entry_point_gives_a_command_that_there_is_with_options_that_it_has(name):
    entry = PROJECT["entry_points"][name]
    words = shlex.split(entry["command"])
    command = payrescue.main.commands[words[words.index("payrescue") + 1]]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
    assert set(re.findall(r"\{(\w+)\}", entry["command"])) == set(entry["parameters"])


@pytest.mark.parametrize("name", ["tune", "backtest", "ablate"])
def test_what_chooses_settings_has_the_options_of_its_command_as_parameters_and_takes_them_empty(
    name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    entry, command = PROJECT["entry_points"][name], payrescue.main.commands[name]
    told = {parameter.name: parameter.default for parameter in command.params if parameter.name != "sets"}
    assert entry["parameters"].keys() == told.keys()
    given = {key: str(one.get("default", "nowhere.parquet")) for key, one in entry["parameters"].items()}
    assert {key: value for key, value in given.items() if value and key != "data"} == {
        key: str(told[key]) for key in ("trials", "output") if name == "tune"
    }
    words = shlex.split(entry["command"].format(**{key: shlex.quote(value) for key, value in given.items()}))
    done = CliRunner().invoke(payrescue.main, words[words.index("payrescue") + 1 :])
    assert (done.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "nowhere.parquet" in done.output.splitlines()[-1]


@pytest.fixture(scope="module")
def by_mlflow(tmp_path_factory):
    """A folder in which `mlflow run` has trained on 1,200 simulated payments; its store is in there too."""
    folder = tmp_path_factory.mktemp("by_mlflow")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")} | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    simulated = CliRunner().invoke(
        payrescue.main, ["simulate", "--out", str(folder / "data"), "--payments", "1200", "--seed", "5"]
    )
    assert simulated.exit_code == 0, simulated.stderr
    told = [word for pair in (f"data={folder}/data/attempts.parquet", *QUICK) for word in ("-P", pair)]
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager", "local", *told],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def give(by_mlflow, monkeypatch):
    """Gives a command in that folder, which has to succeed, and returns what it printed."""
    monkeypatch.chdir(by_mlflow)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{by_mlflow}/mlflow.db")

    def _give(*words):
        done = CliRunner().invoke(payrescue.main, list(words))
        assert done.exit_code == 0, done.output
        return done.stdout

    return _give


mlflow_s_own_warnings = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@mlflow_s_own_warnings
def test_a_run_by_mlflow_has_its_settings_as_parameters_and_a_champion(give, by_mlflow):
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{by_mlflow}/mlflow.db")
    version = client.get_model_version_by_alias("payrescue", "champion")
    run = client.get_run(version.run_id)
    expected = {name: str(value) for name, value in the_settings().items()} | dict(pair.split("=") for pair in QUICK)
    assert {name: run.data.params[name] for name in expected} == expected
    assert run.info.status == "FINISHED"
    assert "success_log_loss" in run.data.metrics


def header(path):
    return path.read_text(encoding="utf-8").splitlines()[0].split(",")


@mlflow_s_own_warnings
def test_the_champion_scores(give, by_mlflow):
    said = give("score", "--data", "data/attempts.parquet", "--output", "scores.csv")
    assert "attempts scored in scores.csv" in said
    assert header(by_mlflow / "scores.csv") == [
        "attempt_id", "p_success", "p_authentication", "p_bank_decline", "p_user_abandonment", "p_technical",
    ]  # fmt: skip


@mlflow_s_own_warnings
def test_the_champion_diagnoses(give, by_mlflow):
    assert "failed attempts diagnosed" in give("diagnose", "--data", "data/attempts.parquet", "--output", "why.csv")
    assert {"attempt_id", "category", "reason", "decided_by", "confidence", "plausible"} <= set(
        header(by_mlflow / "why.csv")
    )


@mlflow_s_own_warnings
def test_the_champion_recommends(give, by_mlflow):
    data = ("--data", "data/attempts.parquet", "--candidates", "data/candidates.parquet")
    assert "candidates ranked" in give("recommend", *data, "--output", "next.csv")
    assert header(by_mlflow / "next.csv") == [
        "attempt_id", "candidate_id", "rank", "action", "success_probability", "expected_value", "blocked_by",
    ]  # fmt: skip


@mlflow_s_own_warnings
def test_evaluating_on_what_was_learnt_from_says_so(give):
    said = give("evaluate", "--data", "data/attempts.parquet", "--against", "models:/payrescue/1")
    assert "success_auc" in said
    assert "!! 1," in said
    assert "training window" in said


def test_every_requirement_is_pinned_with_hashes():
    odd = [
        requirement.splitlines()[0]
        for requirement in REQUIREMENTS
        if not re.match(r"[a-z0-9.-]+==\S+( ; [^\n\\]+)? \\\n( +--hash=sha256:[0-9a-f]{64}( \\\n|$))+$", requirement)
    ]
    assert odd == []


def test_every_dependency_of_the_project_is_among_the_pinned():
    project = PYPROJECT["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pinned = {requirement.split("==")[0] for requirement in REQUIREMENTS}
    assert {re.match(r"[\w-]+", name)[0].lower() for name in wanted} - pinned == set()


def test_every_package_is_listed():
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"benchmarks"}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == found


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_the_simulator_knows_no_feature_definitions():
    # or it would teach the model its own features
    known = {
        ".".join(name.split(".")[:2])
        for path in (ROOT / "training").glob("simulator*.py")
        for name in imports_of(path)
        if name.split(".")[0] in {"features", "models"}
    }
    assert known <= {"features.columns", "features.errors", "features.taxonomy"}


def test_the_walls_between_packages_hold():
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def tracked():
    """Every file of the checkout that git would keep, as text."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("not a git checkout: which files are ours cannot be told")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return {
        path.relative_to(ROOT): path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file()
    }


def test_no_file_names_a_folder_of_a_machine(tracked):
    machines = re.compile(rf"{re.escape(str(ROOT))}/|/(home|Users)/\w+/|/root/")
    assert [
        str(path)
        for path, text in tracked.items()
        if path != Path(__file__).relative_to(ROOT) and machines.search(text)
    ] == []


def test_no_file_names_a_registry(tracked):
    address = re.compile(r"(index-url|find-links|trusted-host)\s*[=:]|(pypi|pythonhosted|npmjs)\.org")
    assert [
        str(path) for path, text in tracked.items() if path != Path(__file__).relative_to(ROOT) and address.search(text)
    ] == []


def test_what_make_lists_is_what_it_does():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    declared = set(re.search(r"\.PHONY: (.*)", text)[1].split()) - {"all"}
    assert set(re.findall(r"^([a-z-]+):.*  ## \S", text, re.MULTILINE)) == declared


def test_continuous_integration_runs_the_tests_and_the_lint():
    run = ROOT / ".ci" / "run"
    assert os.access(run, os.X_OK)
    assert {"make setup", "make lint", "make test"} <= set(re.findall(r'"\w+: (make \w+)"', run.read_text("utf-8")))


def test_options_given_as_empty_text_are_not_given():
    # as MLflow hands on a parameter that has no value
    command = payrescue.main.commands["evaluate"]
    context = command.make_context("evaluate", ["--data", "x", "--mapping", "", "--history", "", "--against", ""])
    assert [context.params[name] for name in ("mapping", "history", "against")] == [None, None, None]
