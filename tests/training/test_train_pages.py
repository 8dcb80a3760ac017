"""A training that is done is not lost by what is drawn of it."""

import mlflow
import pytest

from training.commands import train
from training.simulator import simulate

QUICK = ("max_rounds=10", "early_stopping_rounds=5", "resamples=20", "select_below_rows=0", "threads=1")


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_pages_that_fail_leave_a_registered_champion_and_say_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    simulate(800, seed=3).attempts.to_parquet("attempts.parquet")

    def pages(table, uri, folder, tell):
        raise KeyError("segment.of.nobody")

    train("attempts.parquet", None, None, None, QUICK, pages=pages)
    told = "".join(capsys.readouterr())
    assert "the pages could not be made (a fault of Payrescue's own, KeyError)" in told
    assert str(mlflow.MlflowClient().get_model_version_by_alias("payrescue", "champion").version) == "1"
