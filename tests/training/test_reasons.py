"""Reasons are learnt from the failures that were explained, and what stays plausible from failures not seen."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from features.attempts import check_attempts
from features.columns import CATEGORIES
from models.artefact import load, save
from models.code_text import CodeText
from models.tables import diagnose_table
from training.reasons import settled_by_code
from training.simulator import simulate
from training.split import split_by_time


@pytest.fixture(scope="module")
def diagnosed(world, trained, table):
    """The failures whose true reason is known, with what is said of them."""
    told = diagnose_table(trained.artefact, table)
    truth = table.set_index("attempt_id").loc[told["attempt_id"]].reset_index()
    known = truth["reason"].notna().to_numpy()
    return told[known].assign(
        true=truth.loc[known, "reason"].to_numpy(object), held_in=truth.loc[known, "outcome"].to_numpy(object)
    )


def test_a_training_says_how_often_its_sets_hold_the_truth(trained):
    said = trained.report["plausible"]
    assert 0.8 <= said["coverage"] <= 0.98
    assert set(said["coverage_by_category"]) == set(CATEGORIES)
    kept = said["intervals"]
    for share, interval in (
        (said["coverage"], kept["coverage"]),
        *((share, kept["coverage_by_category"][name]) for name, share in said["coverage_by_category"].items()),
    ):
        assert interval["value"] == pytest.approx(share, abs=1e-4)
        assert 0.0 <= interval["low"] <= interval["value"] <= interval["high"] <= 1.0
        assert interval["low"] < interval["high"]
    assert kept["coverage"]["n"] == said["failures"] == sum(one["n"] for one in kept["coverage_by_category"].values())
    assert 0.2 < said["settled_by_codes"] < 0.6
    assert 1.0 <= said["mean_size"] < 4.0


def test_what_is_promised_in_a_slice_has_an_interval(trained):
    for row in trained.report["by_slice"]:
        for name, value in (("promised", row["promised_share"]), ("brier", row["success_brier"])):
            assert row[name]["value"] == value
            assert row[name]["low"] < value < row[name]["high"]
            assert row[name]["n"] == row["attempts"]


def test_of_fresh_failures_the_refitted_head_s_sets_hold_the_truth_as_often_as_promised(trained):
    table = check_attempts(simulate(6000, 12, "base").attempts, now=datetime(2026, 11, 1, tzinfo=UTC))
    told = diagnose_table(trained.artefact, table)
    truth = table.set_index("attempt_id").loc[told["attempt_id"], "reason"].astype(object).to_numpy()
    held = [
        true in said.split("|") for true, said in zip(truth, told["plausible"], strict=True) if isinstance(true, str)
    ]
    assert len(held) > 1500
    assert 0.87 <= np.mean(held) <= 0.93


def test_what_a_code_decides_leaves_one_reason(diagnosed):
    coded = diagnosed[diagnosed["decided_by"] == "code"]
    assert len(coded) > 100
    assert (coded["plausible"] == coded["reason"]).all()
    assert (coded["plausible"] == coded["true"]).mean() > 0.99


def test_the_sets_of_the_model_are_the_reasons_over_their_category_s_threshold(trained, diagnosed):
    assert set(trained.artefact.plausible) == set(CATEGORIES)
    modelled = diagnosed[diagnosed["decided_by"] == "model"]
    sizes = modelled["plausible"].str.count(r"\|") + 1
    assert sizes.max() > 1
    assert all(
        reason in plausible.split("|")
        for reason, plausible in zip(modelled["reason"], modelled["plausible"], strict=True)
    )


def test_the_thresholds_come_back_from_disk(trained, table, tmp_path):
    save(trained.artefact, tmp_path / "model")
    read = load(tmp_path / "model")
    assert read.plausible == trained.artefact.plausible
    pd.testing.assert_frame_equal(diagnose_table(read, table), diagnose_table(trained.artefact, table))


def test_the_sets_are_judged_on_the_last_slice_alone(trained, settings):
    data = trained.data
    shares = (settings.stop_share, settings.calibrate_share, settings.test_share)
    last = split_by_time(data.payment, data.rows.created, data.rows.resolved, shares)["test"]
    explained = (data.outcome > 0) & (data.outcome < 5) & (data.rows.reason >= 0)
    assert trained.report["plausible"]["failures"] == (last & explained).sum()


def test_codes_settle_a_table_as_they_settle_one_attempt():
    table = pd.DataFrame(
        {
            "code_scheme": ["iso8583", "iso8583", None, "acme"],
            "response_code": ["51", "05", None, "expired"],
            "trans_status": [None, "Y", "U", None],
        }
    )
    texts = CodeText.of_scores(
        {"expired_card": {"=expired": 1.0}, "processor_error": {"=error": 1.0}}, temperature=40.0
    )
    assert settled_by_code(table, None) == [("insufficient_funds",), None, ("three_ds_unavailable",), None]
    assert settled_by_code(table, texts)[3] == ("card_data_invalid",)


def test_a_table_without_codes_is_settled_by_none():
    assert settled_by_code(pd.DataFrame({"attempt_id": ["a", "b"]}), None) == [None, None]


def test_a_reason_of_few_failures_does_not_send_the_others_astray(trained, diagnosed):
    modelled = diagnosed[diagnosed["decided_by"] == "model"]
    assert (modelled["category"] == modelled["held_in"]).mean() > 0.9
    assert np.isfinite(modelled["confidence"]).all()
