"""The commands that choose settings, as their user has them: what they print, write and log."""

import json

import pandas as pd
import pytest
from click.testing import CliRunner

import payrescue
from training.retrain_commands import beside
from training.settings import read_settings
from training.train import prepare

QUICK = (
    "max_rounds=8",
    "early_stopping_rounds=3",
    "resamples=20",
    "select_below_rows=0",
    "threads=2",
    "folds=2",
    "curves_below_rows=0",
)
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, world):
    place = tmp_path_factory.mktemp("retrain")
    table = world.attempts.head(3000).copy()
    table["tier"] = pd.Categorical(["gold" if i % 3 else "silver" for i in range(len(table))])
    table.to_parquet(place / "attempts.parquet")
    (place / "c.yaml").write_text(
        "own_columns: {tier: {label: tier of the loyalty programme, group: customer, kind: categorical}}\n"
    )
    return place


@pytest.fixture
def give(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")

    def _give(command, *words, code=0):
        sets = [word for pair in QUICK for word in ("--set", pair)]
        done = CliRunner().invoke(payrescue.main, [command, "--data", "attempts.parquet", *sets, *words])
        assert done.exit_code == code, done.output
        return done.output if code else done.stdout

    return _give


def runs_of(folder, kind):
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    found = client.search_runs(["1"], f"tags.kind = '{kind}'")
    return client, found


def test_a_dry_run_says_what_would_happen_and_does_nothing(give, folder):
    said = give("train", "--config", "c.yaml", "--dry-run")
    for word in ("slices of time:", "features:", "own column: tier", "expected time:", "nothing was trained"):
        assert word in said
    assert "needs 62 days of attempts" in said
    import mlflow

    assert mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db").search_registered_models() == []


def test_an_own_column_that_the_data_has_not_is_named(give, folder):
    (folder / "other.yaml").write_text("own_columns: {level: {label: a level, group: customer, kind: categorical}}\n")
    assert "level: want this column, which is missing" in give("train", "--config", "other.yaml", "--dry-run", code=2)


def test_a_dry_run_of_more_than_memory_holds_makes_features_of_the_latest_alone(give, monkeypatch):
    made = []

    def few(table, *given, **named):
        made.append(len(table))
        return prepare(table, *given, **named)

    monkeypatch.setattr("training.dry_run._MOST_PROBED", 1200)
    monkeypatch.setattr("training.dry_run.prepare", few)
    said = give("train", "--config", "c.yaml", "--dry-run", "--set", "stream_above_rows=1000")
    assert made == [1200]
    assert "by the latest 1,200 attempts" in said
    whole = give("train", "--config", "c.yaml", "--dry-run")
    of_time = [line for line in whole.splitlines() if line.startswith(("attempts:", "outcomes:", "  fit", "  test"))]
    assert len(of_time) == 4
    assert set(of_time) <= set(said.splitlines())


def test_an_ablation_of_more_than_memory_holds_tells_what_one_in_memory_does(give, folder):
    for name, rows in (("memory", 10_000), ("file", 1_000)):
        sets = ("--set", f"stream_above_rows={rows}", "--set", "max_rounds=3")
        give("ablate", "--config", "c.yaml", "--groups", "form", "--output", f"{name}.json", *sets)
    memory, file = ((folder / f"{name}.json").read_text() for name in ("memory", "file"))
    assert memory == file


def test_a_backtest_against_other_settings_is_printed_written_and_logged(give, folder):
    (folder / "b.yaml").write_text("max_rounds: 2\nselect_below_rows: 0\nleave_out: group:history\n")
    said = give("backtest", "--config", "c.yaml", "--against", "b.yaml", "--output", "bt.json")
    assert "by payments" in said
    assert "by folds" in said
    told = json.loads((folder / "bt.json").read_text())
    assert len(told["folds"]) == 2
    assert told["against"]["verdict"] in said
    client, runs = runs_of(folder, "backtest")
    assert {path.path for path in client.list_artifacts(runs[0].info.run_id)} == {"backtest.json", "backtest.png"}
    assert len(client.get_metric_history(runs[0].info.run_id, "fold.success_log_loss")) == 2


def test_an_ablation_is_printed_written_and_logged(give, folder):
    said = give("ablate", "--groups", "form", "--output", "a.json")
    assert said.splitlines()[1].startswith("form ")
    assert [row["group"] for row in json.loads((folder / "a.json").read_text())["groups"]] == ["form"]
    client, runs = runs_of(folder, "ablation")
    assert {path.path for path in client.list_artifacts(runs[0].info.run_id)} == {"ablation.json", "ablation.png"}
    assert "want one of customer" in give("ablate", "--groups", "weather", code=2)


def test_a_search_ends_with_a_file_that_train_takes_and_goes_on_in_its_run(give, folder, monkeypatch):
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    began = mlflow.MlflowClient().create_run(mlflow.set_experiment("payrescue").experiment_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", began.info.run_id)  # as `mlflow run` does
    said = give("tune", "--trials", "1")
    assert "1 trials finished" in said
    assert (folder / "optuna.db").is_file()
    give("tune", "--trials", "2", "--output", "found.yaml")
    client, runs = runs_of(folder, "tune")
    assert [run.info.run_id for run in runs] == [began.info.run_id]
    nested = runs_of(folder, "trial")[1]
    assert {run.data.tags["mlflow.parentRunId"] for run in nested} == {runs[0].info.run_id}
    assert len(nested) == 2
    assert read_settings(folder / "found.yaml").folds == 2
    assert {path.path for path in client.list_artifacts(runs[0].info.run_id)} >= {"tune.json", "tune.png"}


@pytest.mark.parametrize("command", ["tune", "backtest", "ablate"])
def test_each_command_has_help_with_an_example(command):
    said = CliRunner().invoke(payrescue.main, [command, "--help"]).stdout
    assert f"payrescue {command} --data" in said


def test_studies_are_kept_beside_the_store():
    assert beside("sqlite:////runs/mlflow.db") == "sqlite:////runs/optuna.db"
