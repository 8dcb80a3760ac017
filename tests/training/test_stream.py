"""A training of more attempts than memory holds learns what one in memory does, bit for bit."""

from dataclasses import replace
from datetime import UTC, datetime

import lightgbm as lgb
import numpy as np
import pytest

from features.errors import BadInput
from training.engine import engine
from training.fit import Recipe, fit_head, usable_columns
from training.matrix import Selected, mapped, select
from training.rounds import best_round
from training.train import learn, prepare

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def data(table):
    return prepare(table)


@pytest.fixture
def in_a_file(data, tmp_path):
    matrix = mapped(len(data.matrix), tmp_path)
    matrix[:] = data.matrix
    return matrix


def test_a_streamed_training_is_the_one_in_memory(world, settings, tmp_path):
    world.attempts.head(3_500).to_parquet(tmp_path / "attempts.parquet", row_group_size=1_000)
    told = []

    def trained(above):
        few = replace(settings, stream_above_rows=above, max_rounds=10, refit_below_rows=0, curves_below_rows=0)
        with engine("local", None, few, told.append) as work:
            found = learn(work.prepare(work.read(str(tmp_path), None, None, now=NOW)), few, fit=work.fit)
            return found, np.array(found.data.matrix), isinstance(found.data.matrix, np.memmap)

    (inside, matrix, _), (streamed, again, in_a_file) = trained(10_000), trained(1_000)
    assert in_a_file
    assert any("more than stream_above_rows" in line for line in told)
    np.testing.assert_array_equal(again, matrix, strict=True)
    for name, head in inside.artefact.heads.items():
        assert streamed.artefact.heads[name].text == head.text
    assert streamed.report["quality"] == inside.report["quality"]


def test_rows_of_a_file_give_the_trees_of_rows_in_memory(data, in_a_file, settings):
    rows = data.outcome >= 0
    answer = (data.outcome[rows] != 0).astype(int)
    recipe = Recipe(usable_columns(data.matrix[rows], 1e15))
    assert usable_columns(select(in_a_file, rows), 1e15) == recipe.columns
    texts = [
        fit_head(matrix, answer, ("success", "failure"), recipe, settings, rounds=8).parts.text
        for matrix in (data.matrix[rows], select(in_a_file, rows))
    ]
    assert texts[0] == texts[1]


def test_the_best_round_is_where_lightgbm_would_have_stopped(data):
    failed = (data.outcome != 0).astype(int)
    first, later = slice(0, 4_000), slice(4_000, None)
    columns = [0, 2, 30, 57, 80]
    dataset = lgb.Dataset(data.matrix[first][:, columns], failed[first] == 0)
    held = lgb.Dataset(data.matrix[later][:, columns], failed[later] == 0, reference=dataset)
    curves = {}
    parameters = {"objective": "binary", "learning_rate": 0.4, "verbose": -1, "num_threads": 2}
    callbacks = [lgb.record_evaluation(curves), lgb.early_stopping(5, verbose=False)]
    booster = lgb.train(parameters, dataset, 60, valid_sets=[held], valid_names=["held"], callbacks=callbacks)
    grown = lgb.train(parameters, lgb.Dataset(data.matrix[first][:, columns], failed[first] == 0), 60)
    selected = Selected(data.matrix, np.arange(len(failed))[later])
    best, curve = best_round(grown, selected, failed[later], columns, 5)
    assert best == booster.best_iteration < 50
    np.testing.assert_allclose(curve, curves["held"]["binary_logloss"][: len(curve)], rtol=1e-9)


def test_a_scheduler_without_a_cluster_is_refused(settings):
    with pytest.raises(BadInput, match="--engine dask"), engine("local", "tcp://127.0.0.1:1", settings, print):
        pass
