"""Golden rows: training ships them, and a model that does not get them is refused."""

import json
from dataclasses import replace

import pytest

from features.errors import ArtifactMismatch
from models.artefact import load, save
from models.golden import TOLERANCE, check_golden, golden_rows
from models.predictor import Predictor


@pytest.fixture(scope="module")
def golden(artefact, attempts):
    return golden_rows(artefact, attempts)


def with_rows(artefact, golden, tmp_path):
    save(replace(artefact, golden=golden), tmp_path / "golden")
    return tmp_path / "golden"


def test_what_whole_tables_get_a_request_gets_too(artefact, golden, tmp_path):
    folder = with_rows(artefact, golden, tmp_path)
    loaded = Predictor.load(folder)
    for row in golden:
        assert loaded.outcome(row["attempt"], []) == pytest.approx(row["outcome"], abs=TOLERANCE)
        assert loaded.reasons(row["attempt"], [], row["evidence"]) == pytest.approx(row["reasons"], abs=TOLERANCE)


def test_golden_rows_survive_the_disk(artefact, golden, tmp_path):
    assert list(load(with_rows(artefact, golden, tmp_path)).golden) == json.loads(json.dumps(golden))


def test_golden_rows_begin_after_the_history_ends_and_name_no_customer(artefact, golden):
    assert len(golden) == 5
    assert min(row["attempt"]["created_at"] for row in golden) > artefact.history.until
    assert not any("customer_id" in row["attempt"] for row in golden)


@pytest.mark.parametrize("by", [1e-7, float("nan")])
@pytest.mark.parametrize("part", ["outcome", "reasons"])
def test_a_probability_that_does_not_come_out_refuses_the_model(artefact, golden, tmp_path, part, by):
    row = json.loads(json.dumps(golden[-1]))
    row[part]["user_cancelled" if part == "reasons" else 2] += by
    with pytest.raises(ArtifactMismatch, match=r"golden row 4: .* not come out as training got"):
        check_golden(Predictor.load(with_rows(artefact, (), tmp_path)), [*golden[:4], row])


def test_a_model_without_golden_rows_loads(artefact, tmp_path):
    assert Predictor.load(with_rows(artefact, (), tmp_path)).plausible == {}


@pytest.mark.parametrize("told", [[float("nan")] * 5, [0.2] * 4 + [0.3], [-0.5, 1.5, 0.0, 0.0, 0.0]])
def test_what_are_no_probabilities_refuse_a_model_without_golden_rows(told):
    class Odd:
        def outcome(self, attempt, previous):
            return told

        def reasons(self, attempt, previous, evidence):
            return {"generic_decline": 1.0}

    with pytest.raises(ArtifactMismatch, match="outcomes are no probabilities"):
        check_golden(Odd(), [])
