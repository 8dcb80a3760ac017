import json
import logging
import subprocess
import sys
from types import SimpleNamespace

import pytest

from features.errors import ArtifactMismatch
from models.policies import Explore
from models.rules import RuleBook
from serving import loading, resolve
from serving.loading import Located, load, locate
from serving.settings import NO_MODEL, ServiceSettings


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.WARNING)
    return caplog


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Stands in for the process that asks MLflow; returns what it was asked."""
    (tmp_path / "mlflow.db").touch()
    monkeypatch.chdir(tmp_path)
    calls = SimpleNamespace(commands=[], environments=[], answer="null", code=0)

    def run(command, *, env, **_):
        calls.commands.append(command)
        calls.environments.append(env)
        return subprocess.CompletedProcess(command, calls.code, calls.answer, "noise\nMlflowException\n")

    monkeypatch.setattr(subprocess, "run", run)
    return calls


class TestLocate:
    def test_a_folder_is_taken_as_it_is(self, tmp_path):
        settings = ServiceSettings(model=str(tmp_path), model_version="4")
        assert locate(settings, {}) == Located(tmp_path, "4")

    def test_a_folder_that_is_not_there_means_no_model(self, tmp_path, log):
        assert locate(ServiceSettings(model=str(tmp_path / "gone")), {}) is None
        assert "no model" in log.text

    def test_none_means_no_model_and_nobody_is_asked(self, asked):
        assert locate(ServiceSettings(model=NO_MODEL), {}) is None
        assert asked.commands == []

    @pytest.mark.parametrize("environment", [{}, {"MLFLOW_TRACKING_URI": "sqlite:///elsewhere.db"}])
    def test_a_store_that_is_not_there_is_neither_asked_nor_made(self, monkeypatch, tmp_path, environment):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(subprocess, "run", None)
        assert locate(ServiceSettings(), environment) is None
        assert list(tmp_path.iterdir()) == []

    def test_the_champion_is_asked_for_in_the_store_of_the_current_folder(self, asked):
        asked.answer = json.dumps({"folder": "somewhere", "version": "3"})
        found = locate(ServiceSettings(), {"HOME": "/"})
        assert (str(found.folder), found.version) == ("somewhere", "3")
        assert asked.commands == [[sys.executable, "-m", "serving.resolve", "models:/payrescue@champion"]]
        assert asked.environments == [{"HOME": "/", "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}]

    def test_a_server_is_asked_if_the_environment_names_one(self, asked):
        locate(ServiceSettings(), {"MLFLOW_TRACKING_URI": "http://mlflow"})
        assert asked.environments[0]["MLFLOW_TRACKING_URI"] == "http://mlflow"

    def test_a_store_without_a_champion_means_no_model_yet(self, asked, log):
        assert locate(ServiceSettings(), {}) is None
        assert "no model yet" in log.text

    def test_a_store_that_fails_means_no_model_and_says_how_it_failed(self, asked, log):
        asked.code = 1
        assert locate(ServiceSettings(), {}) is None
        assert "(MlflowException)" in log.text

    def test_a_store_that_does_not_answer_means_no_model(self, asked, monkeypatch, log):
        def run(command, *, timeout, **_):
            raise subprocess.TimeoutExpired(command, timeout)

        monkeypatch.setattr(subprocess, "run", run)
        assert locate(ServiceSettings(), {}) is None
        assert "did not answer" in log.text


class TestLoad:
    @pytest.fixture
    def predictor_module(self, monkeypatch):
        """Stands in for `models.predictor`; its class remembers the folder that it was loaded from."""

        class Predictor:
            fingerprint = "sha256:0"
            code_text = None
            plausible = None

            @classmethod
            def load(cls, folder):
                found = cls()
                found.folder = folder
                return found

        module = SimpleNamespace(Predictor=Predictor)
        monkeypatch.setattr(loading.importlib, "import_module", lambda name: module)
        return module

    def test_no_model_means_the_rules(self):
        assert load(None).engine.predictor is None

    def test_the_artefact_is_found_inside_an_mlflow_model(self, predictor_module, tmp_path):
        artefact = tmp_path / "artifacts" / "payrescue"
        artefact.mkdir(parents=True)
        (artefact / "manifest.json").write_text("{}")
        (artefact / "model_card.json").write_text('{"trained": "today"}')
        served = load(Located(tmp_path, "3"))
        assert served.engine.predictor.folder == artefact
        assert (served.engine.version, served.card) == ("3", {"trained": "today"})

    @pytest.mark.parametrize("fails", [True, False])
    def test_a_merchant_s_rules_hold_with_a_model_and_without(self, predictor_module, tmp_path, fails):
        rules = RuleBook(())
        if fails:
            predictor_module.Predictor.load = None
        served = load(Located(tmp_path, "3"), rules)
        assert (served.engine.predictor is None) == fails
        assert served.engine.rules is rules
        assert load(None, rules).engine.rules is rules

    def test_the_policy_chooses_by_the_deployment_s_salt(self, predictor_module, tmp_path):
        policy = Explore(share=0.02)
        engine = load(Located(tmp_path, "3"), policy=policy, salt="s3cret").engine
        assert (engine.policy, engine.salt) == (policy, "s3cret")

    def test_a_model_without_a_card_is_served_all_the_same(self, predictor_module, tmp_path):
        served = load(Located(tmp_path, None))
        assert served.engine.predictor is not None
        assert served.card is None

    @pytest.mark.parametrize("error", [ArtifactMismatch("other features"), ValueError("x"), OSError("x")])
    def test_a_model_that_does_not_load_means_the_rules_and_says_why(self, predictor_module, tmp_path, log, error):
        def fail(folder):
            raise error

        predictor_module.Predictor.load = fail
        assert load(Located(tmp_path, "3")).engine.predictor is None
        assert str(error) in log.text


class TestResolve:
    @pytest.fixture
    def registry(self, monkeypatch):
        """Stands in for MLflow: one model, `payrescue`, whose champion is version 2."""

        class MlflowException(Exception):
            error_code = "RESOURCE_DOES_NOT_EXIST"

        class MlflowClient:
            def get_model_version_by_alias(self, name, alias):
                if (name, alias) != ("payrescue", "champion"):
                    raise MlflowException
                return SimpleNamespace(version=2)

        def download_artifacts(*, artifact_uri):
            sys.stdout.write("downloading\n")
            if artifact_uri not in {"models:/payrescue/1", "models:/payrescue/2"}:
                raise MlflowException
            return f"/store/{artifact_uri[-1]}"

        artifacts = SimpleNamespace(download_artifacts=download_artifacts)
        module = SimpleNamespace(MlflowClient=MlflowClient, artifacts=artifacts)
        monkeypatch.setitem(sys.modules, "mlflow", module)
        monkeypatch.setitem(sys.modules, "mlflow.exceptions", SimpleNamespace(MlflowException=MlflowException))
        return MlflowException

    @pytest.mark.parametrize(
        ("uri", "answer"),
        [
            ("models:/payrescue@champion", {"folder": "/store/2", "version": "2"}),
            ("models:/payrescue/1", {"folder": "/store/1", "version": "1"}),
            ("models:/payrescue@challenger", None),
            ("models:/other/1", None),
        ],
    )
    def test_the_answer_is_the_only_thing_printed(self, registry, capsys, uri, answer):
        assert resolve.main([uri]) == 0
        assert json.loads(capsys.readouterr().out) == answer

    @pytest.mark.parametrize("uri", ["models:/payrescue", "runs:/1/model", "models:/a/b/c"])
    def test_another_form_of_uri_fails(self, registry, capsys, uri):
        assert resolve.main([uri]) == 1
        assert capsys.readouterr().out == ""

    def test_a_failing_registry_is_named_by_its_kind_of_error_only(self, registry, capsys, monkeypatch):
        monkeypatch.setattr(registry, "error_code", "INTERNAL_ERROR")
        assert resolve.main(["models:/payrescue@challenger"]) == 1
        assert capsys.readouterr().err == "MlflowException\n"


def imported(code):
    """Top-level names of the modules that a new interpreter has after some code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_what_starts_the_workers_imports_none_of_what_serves():
    found = imported("import serving.service")
    assert "serving.keeper" in found
    assert not found & {"numba", "sqlalchemy", "models.engine", "serving.app", "mlflow", "pandas"}


def test_compiled_code_is_imported_with_a_model_and_never_without():
    assert "numba" not in imported("import serving.loading, models.engine, models.grounds")


@pytest.mark.parametrize("unwanted", ["scipy.linalg", "cffi"])
def test_numba_comes_without_what_it_only_looks_for_and_that_may_be_imported_later(unwanted):
    without = imported("from serving.loading import get_ready; get_ready()")
    assert "numba.np.arraymath" in without
    assert unwanted not in without
    assert unwanted in imported(f"from serving.loading import get_ready; get_ready(); import {unwanted}")


def test_mlflow_comes_without_what_asking_a_registry_does_not_take(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody is asked yet
    ask = "from serving.imports import import_mlflow; import_mlflow().MlflowClient()"
    tables = {"numpy", "pandas", "scipy"}
    assert "mlflow" in imported(ask)
    assert not imported(ask) & tables
    assert imported(f"{ask}; import numpy") & tables == {"numpy"}


def test_mlflow_comes_as_a_whole_where_it_does_not_come_without(tmp_path, monkeypatch):
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "__init__.py").write_text("import mlflow.types\nimport numpy\nMlflowClient = object\n")
    (tmp_path / "mlflow" / "types.py").write_text("try: import numpy\nexcept ImportError: numpy = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = imported("from serving.imports import import_mlflow; assert import_mlflow().types.numpy is not None")
    assert {"mlflow", "mlflow.types", "numpy"} <= found


def test_mlflow_comes_as_a_whole_where_a_store_of_others_takes_it(tmp_path, monkeypatch):
    (tmp_path / "ours-1.dist-info").mkdir()
    (tmp_path / "ours-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1\n")
    (tmp_path / "ours-1.dist-info" / "entry_points.txt").write_text("[mlflow.artifact_repository]\nours = ours:Store\n")
    (tmp_path / "ours.py").write_text("import numpy\nclass Store: pass\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    ask = "from serving.imports import import_mlflow; import_mlflow()"
    known = "from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry as known"
    assert "ours" in imported(f"{ask}; {known}; assert 'ours' in known._registry")


def test_a_log_that_is_as_it_should_be_is_seen_without_sqlalchemy(tmp_path):
    from serving.log_store import LogStore

    url = f"sqlite:///{tmp_path}/log.db"
    check = f"from serving.log_commands import check_log; check_log({url!r})"
    assert "sqlalchemy" not in imported(check)
    store = LogStore(url)
    store.prepare()
    store.close()
    assert "sqlalchemy" not in imported(check)
