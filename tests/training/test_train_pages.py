"""A training that is done is not lost by what is drawn of it, nor kept waiting; and it can be done again."""

import mlflow
import pandas as pd
import pytest

from training.commands import train
from training.simulator import simulate
from training.trust_commands import reproduce

QUICK = (
    "max_rounds=6", "early_stopping_rounds=3", "resamples=20", "select_below_rows=0", "threads=1", "refit_below_rows=0",
    "curves_below_rows=0",
)  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with attempts in it that have a column of the merchant's own, and with a store of MLflow's."""
    place = tmp_path_factory.mktemp("trained")
    attempts = simulate(800, seed=3).attempts
    tier = pd.Categorical(["gold" if won else "silver" for won in attempts["outcome"] == "success"])
    attempts.assign(tier=tier).to_parquet(place / "attempts.parquet")
    return place


@pytest.fixture
def trained(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    return lambda *sets, **more: train("attempts.parquet", None, None, None, [*QUICK, *sets], **more)


def test_the_result_is_told_before_pages_are_made_and_pages_that_fail_do_not_lose_it(trained, capsys):
    before = []

    def pages(table, uri, folder, tell):
        before.append(capsys.readouterr().out)
        raise KeyError("segment.of.nobody")

    trained("model_name=told", pages=pages)
    assert "champion: yes" in before[0]
    assert "the pages could not be made (a fault of Payrescue's own, KeyError)" in capsys.readouterr().err
    assert str(mlflow.MlflowClient().get_model_version_by_alias("told", "champion").version) == "1"


def test_a_training_out_of_memory_makes_no_pages_and_is_reproduced_with_its_own_columns(trained, capsys):
    asked = []
    own = "own_columns={tier: {label: a tier, group: customer, kind: categorical}}"
    trained("model_name=large", "stream_above_rows=500", own, pages=lambda *given: asked.append(given))
    assert not asked
    said = capsys.readouterr().out
    assert "payrescue report --data attempts.parquet --model models:/large/1 --output pages" in said
    reproduce(mlflow.MlflowClient().get_model_version("large", "1").run_id, None, None)
    told = capsys.readouterr()
    assert "reproduced: every file of the artefact is the same" in told.out
    assert "more than stream_above_rows" in told.err
