"""A new champion is left where a server beside it starts on it, and nowhere else; whatever fails, it is champion."""

import pytest
from click.testing import CliRunner

import payrescue
from models.kept import KeptModels
from training import tracking
from training.at_hand import leave, place

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own store

STORE = "sqlite:///mlflow.db"
CHAMPION = "models:/payrescue@champion"


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """A folder with a store, in which `payrescue` has two versions that look like artefacts; and MLflow's client."""
    import mlflow

    folder = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", STORE)
        tracking.store()
        client = mlflow.MlflowClient()
        client.create_registered_model("payrescue")
        for version in ("1", "2"):
            (folder / version).mkdir()
            (folder / version / "manifest.json").write_text(version)
            client.create_model_version("payrescue", source=str(folder / version), run_id=None)
        yield client


@pytest.fixture
def kept(registry, tmp_path, monkeypatch):
    """What is kept in a folder that is named; in others nothing is."""
    monkeypatch.setenv("PAYRESCUE_LAST_MODELS", str(tmp_path / "kept"))
    return KeptModels(tmp_path / "kept", STORE)


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({"MLFLOW_TRACKING_URI": STORE}, "payrescue-models"),
        ({"MLFLOW_TRACKING_URI": "sqlite:////srv/mlflow.db"}, None),
        ({"MLFLOW_TRACKING_URI": "https://mlflow.example"}, None),
        ({"MLFLOW_TRACKING_URI": "https://mlflow.example", "PAYRESCUE_LAST_MODELS": "/srv/kept"}, "/srv/kept"),
        ({"MLFLOW_TRACKING_URI": STORE, "PAYRESCUE_LAST_MODELS": "none"}, None),
        ({"MLFLOW_TRACKING_URI": STORE, "MLFLOW_REGISTRY_URI": "https://mlflow.example"}, None),
    ],
)
def test_it_is_left_only_where_a_server_of_this_registry_would_look(environment, found):
    folder = place(environment)
    assert (str(folder) if folder is not None else None) == found


def test_whoever_is_made_champion_is_left(kept, monkeypatch):
    monkeypatch.setattr("training.commands._want_servable", lambda name, version: None)
    for words, version in (
        (["promote", "--version", "1"], "1"),
        (["promote", "--version", "2"], "2"),
        (["rollback"], "1"),
    ):
        done = CliRunner().invoke(payrescue.main, words)
        assert done.exit_code == 0, done.output
        one = kept.models()[CHAMPION]
        assert (one.version, (one.folder / "manifest.json").read_text()) == (version, version)


def test_a_version_that_is_not_there_is_not_left_and_nothing_is_raised(kept):
    assert not leave("payrescue", "99")
    assert kept.models() is None


def test_where_nothing_can_be_written_nothing_is_raised(kept, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PAYRESCUE_LAST_MODELS", str(tmp_path / "file" / "kept"))
    assert not leave("payrescue", "1")
