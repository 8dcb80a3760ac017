"""A cluster gives what one process does, bit for bit, and goes on when a worker dies."""

import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from distributed import Client, LocalCluster

import payrescue
from features.attempt_batches import Batch, Seen, batches_of
from features.errors import BadInput
from features.kernel import N_FEATURES
from features.own import OwnColumn, as_columns
from models.artefact import save
from models.tables import recommend_table, score_table
from training.cluster import connected, owners_of, scan
from training.cluster_tables import recommend_on_cluster, score_on_cluster
from training.cluster_train import Dask
from training.fit import Recipe, fit_head, usable_columns
from training.matrix import select
from training.train import prepare, train

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def source(world, tmp_path_factory):
    """The attempts in a file, not in order of time, in many row groups."""
    path = tmp_path_factory.mktemp("source") / "attempts.parquet"
    world.attempts.sample(frac=1.0, random_state=3).to_parquet(path, index=False, row_group_size=1_500)
    return str(path)


@pytest.fixture(scope="module")
def shuffled(table):
    return table.sample(frac=1.0, random_state=3).reset_index(drop=True)


def kill_one(client):
    """A worker's process dies, whatever it holds."""
    name, worker = next(iter(client.scheduler_info(n_workers=-1)["workers"].items()))
    os.kill(client.run(os.getpid, workers=[name])[name], signal.SIGKILL)
    return worker


def test_features_are_those_of_one_process_though_a_worker_dies_meanwhile(client, source, shuffled, settings, tmp_path):
    said = []

    def tell(text):
        if text.startswith("features") and not any(line.startswith("features") for line in said):
            kill_one(client)
        said.append(text)

    work = Dask(client, settings, tmp_path, tell)
    found = work.prepare(work.read(source, None, None, now=NOW))
    wanted = prepare(shuffled)
    assert sum(line.startswith("features") for line in said) == 2
    pd.testing.assert_frame_equal(found.table, wanted.table)
    assert found.encoder == wanted.encoder
    np.testing.assert_array_equal(found.matrix, wanted.matrix, strict=True)
    for name in ("created", "resolved", "outcome", "reason"):
        np.testing.assert_array_equal(getattr(found.rows, name), getattr(wanted.rows, name))
    names = list(wanted.history.slots)
    for ours, theirs in zip(found.history.copies(names), wanted.history.copies(names), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_workers_grow_a_head_that_tells_nearly_what_a_local_one_does(client, source, settings, tmp_path):
    together = replace(settings, cluster_above_rows=0, max_rounds=15)
    work = Dask(client, together, tmp_path, lambda _: None)
    data = work.prepare(work.read(source, None, None, now=NOW))
    known = np.flatnonzero(data.outcome >= 0)
    seen = np.isin(np.arange(len(data.outcome)), known[: len(known) * 3 // 4])
    later = (data.outcome >= 0) & ~seen
    recipe = Recipe(usable_columns(select(data.matrix, seen), 1e15))
    answer = (data.outcome != 0).astype(int)
    given = (select(data.matrix, seen), answer[seen], ("success", "failure"), recipe, together)
    stop = (select(data.matrix, later), answer[later])
    ours, local = (fit(*given, stop=stop) for fit in (work.fit, fit_head))
    losses = [
        -np.log(np.where(answer[later] == 0, p, 1.0 - p)).mean()
        for p in (head.parts.head().probabilities(data.matrix[later])[:, 0] for head in (ours, local))
    ]
    assert ours.parts.text != local.parts.text
    assert abs(losses[0] - losses[1]) < 0.01
    assert ours.rounds <= 15


def test_what_was_forgotten_is_read_again_when_a_worker_dies(client, source, settings, tmp_path):
    together = replace(settings, cluster_above_rows=0, max_rounds=3)
    work = Dask(client, together, tmp_path, lambda _: None)
    table = work.read(source, None, None, now=NOW)
    data = work.prepare(table)
    seen = data.outcome >= 0
    given = (
        select(data.matrix, seen),
        (data.outcome != 0).astype(int)[seen],
        ("success", "failure"),
        Recipe((0, 1, 2)),
    )
    kill_one(client)
    assert work.fit(*given, together).rounds == 3
    kill_one(client)
    np.testing.assert_array_equal(work.prepare(table).matrix, data.matrix)


def test_once_features_are_made_workers_hold_nothing_else(client, source, settings, tmp_path):
    work = Dask(client, settings, tmp_path, lambda _: None)
    data = work.prepare(work.read(source, None, None, now=NOW))
    for _ in range(100):  # workers hear of it a moment later
        held = [one for many in client.run(_held).values() for one in many]
        if all(kind == "ndarray" for kind, _ in held):
            break
        time.sleep(0.1)
    assert {kind for kind, _ in held} == {"ndarray"}
    assert sum(size for _, size in held) == data.matrix.nbytes


def _held(dask_worker):
    return [(type(one).__name__, getattr(one, "nbytes", 0)) for one in dask_worker.data.values()]


def test_scores_are_the_local_ones_with_a_past_and_without(client, source, shuffled, trained, tmp_path):
    found = score_on_cluster(client, trained.artefact, source, None, None, now=NOW)
    pd.testing.assert_frame_equal(found, score_table(trained.artefact, shuffled))
    late = shuffled["created_at"] >= shuffled["created_at"].quantile(0.8)
    pd.read_parquet(source)[late.to_numpy()].to_parquet(tmp_path / "late.parquet", index=False)
    found = score_on_cluster(client, trained.artefact, str(tmp_path / "late.parquet"), None, source, now=NOW)
    asked = shuffled[late].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, score_table(trained.artefact, asked, shuffled))


OWN = (OwnColumn("wobble", "what success rises with", "points", "amount", "numeric"),)


@pytest.fixture(scope="module")
def of_a_merchant(table, settings, tmp_path_factory):
    """Attempts with a column of the merchant's own, as a file and as a table, and a model that goes by it."""
    told = table.head(1_500)
    told = told.assign(wobble=np.arange(len(told)) % 7 + 20.0 * (told["outcome"] == "success").to_numpy())
    path = tmp_path_factory.mktemp("merchant") / "attempts.parquet"
    told.to_parquet(path, index=False, row_group_size=500)
    declared = f"{{wobble: {{label: {OWN[0].label}, unit: points, group: amount, kind: numeric}}}}"
    quick = replace(settings, max_rounds=5, own_columns=declared, refit_below_rows=0, curves_below_rows=0)
    return str(path), told, train(told, quick).artefact


def test_scores_and_recommendations_go_by_the_model_s_own_columns(client, of_a_merchant):
    path, told, artefact = of_a_merchant
    found = score_on_cluster(client, artefact, path, None, None, now=NOW)
    pd.testing.assert_frame_equal(found, score_table(artefact, told))
    assert not np.allclose(found["p_success"], score_table(artefact, told.drop(columns="wobble"))["p_success"])
    last = told["attempt_id"].tail(30).to_list()
    candidates = pd.DataFrame({"attempt_id": last, "candidate_id": last, "method": "card"})
    found = recommend_on_cluster(client, artefact, path, None, None, candidates, now=NOW)
    pd.testing.assert_frame_equal(found, recommend_table(artefact, told, candidates))


def test_features_for_another_model_have_the_own_columns_of_that_model(
    client, of_a_merchant, settings, tmp_path, monkeypatch
):
    path, told, artefact = of_a_merchant
    monkeypatch.setattr("training.cluster_train.own_of_training", lambda _: as_columns(OWN))
    work = Dask(client, settings, tmp_path, lambda _: None)
    table = work.read(path, None, None, now=NOW)
    np.testing.assert_array_equal(work.prepare(table, artefact.encoder).matrix, prepare(told, artefact.encoder).matrix)
    assert work.prepare(table).matrix.shape[1] == N_FEATURES


def test_parts_without_attempts_change_nothing(client, shuffled, trained, settings, tmp_path):
    few = shuffled[shuffled["customer_id"] == shuffled["customer_id"].dropna().mode()[0]].reset_index(drop=True)
    assert len(client.ncores()) > few["customer_id"].nunique() == 1
    path = str(tmp_path / "few.parquet")
    few.to_parquet(path, index=False)
    found = score_on_cluster(client, trained.artefact, path, None, path, now=NOW)
    pd.testing.assert_frame_equal(found, score_table(trained.artefact, few, few))
    candidates = pd.DataFrame({"attempt_id": few["attempt_id"], "candidate_id": few["attempt_id"], "method": "card"})
    found = recommend_on_cluster(client, trained.artefact, path, None, None, candidates, now=NOW)
    pd.testing.assert_frame_equal(found, recommend_table(trained.artefact, few, candidates))
    work = Dask(client, settings, tmp_path, lambda _: None)
    np.testing.assert_array_equal(work.prepare(work.read(path, None, None, now=NOW)).matrix, prepare(few).matrix)


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own store
def test_the_command_asks_the_cluster_at_an_address(client, source, shuffled, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    save(trained.artefact, tmp_path / "model")
    words = ["score", "--data", source, "--history", source, "--model", "model", "--output", "scores.parquet"]
    done = CliRunner().invoke(payrescue.main, [*words, "--engine", "dask", "--scheduler", client.scheduler.address])
    assert done.exit_code == 0, done.stderr
    assert (done.exit_code, done.stdout) == (0, f"{len(shuffled):,} attempts scored in scores.parquet\n")
    assert f"workers at {client.scheduler.address}" in done.stderr
    found = pd.read_parquet("scores.parquet")
    pd.testing.assert_frame_equal(found, score_table(trained.artefact, shuffled, shuffled))


def test_recommendations_are_the_local_ones(client, source, shuffled, trained, world):
    some = shuffled.sort_values("created_at")["attempt_id"].tail(300)
    candidates = world.candidates[world.candidates["attempt_id"].isin(some)].reset_index(drop=True)
    found = recommend_on_cluster(client, trained.artefact, source, None, None, candidates, now=NOW)
    pd.testing.assert_frame_equal(found, recommend_table(trained.artefact, shuffled, candidates))
    strange = pd.concat([candidates, candidates.tail(1).assign(attempt_id="nobody", candidate_id="c")])
    with pytest.raises(BadInput, match="attempt_id: want an attempt_id of the attempts"):
        recommend_on_cluster(client, trained.artefact, source, None, None, strange, now=NOW)


def test_what_is_wrong_with_the_data_is_told_as_by_one_process(client, world, tmp_path):
    spoilt = world.attempts.copy()
    spoilt["amount_minor"] = spoilt["amount_minor"].where(spoilt.index != 2_000, -5)
    spoilt.to_parquet(tmp_path / "attempts.parquet", index=False)
    with pytest.raises(BadInput, match=r"attempts.parquet: row 2001, amount_minor '-5'.*0 or more|row 2001"):
        scan(client, [str(tmp_path)], None, now=NOW, rows=1_000)
    spoilt.head(0).to_parquet(tmp_path / "header.parquet", index=False)
    with pytest.raises(BadInput, match="holds no attempts"):
        scan(client, [str(tmp_path / "header.parquet")], None, now=NOW)
    (tmp_path / "attempts.csv").write_text("attempt_id\n1\n")
    with pytest.raises(BadInput, match="reads a Parquet file"):
        scan(client, [str(tmp_path / "attempts.csv")], None, now=NOW)


def test_a_scheduler_that_does_not_answer_is_told():
    with (
        pytest.raises(BadInput, match="want the address of a Dask scheduler"),
        connected("nonsense://nowhere", lambda _: None),
    ):
        pass


def seen_of(payments, owners):
    ids = np.arange(len(payments), dtype=np.uint64)
    batch = Batch("attempts.parquet", "attempts.parquet", 0, 0, len(ids), 0, 0)
    return Seen(batch, ids, np.array(payments, np.uint64), np.array(owners, np.uint64), frozenset(), 0, 0)


def test_customers_who_tried_one_payment_have_one_owner():
    owners = owners_of([seen_of([1, 1, 2, 3], [10, 11, 11, 12]), seen_of([3, 4, 5], [13, 10, 14])])
    assert owners.tolist() == [10, 10, 10, 12, 12, 10, 14]


def test_batches_of_a_source_cover_it_once(source):
    batches = batches_of(source, 1_000)
    assert [batch.first for batch in batches] == np.cumsum([0, *map(len, batches[:-1])]).tolist()
