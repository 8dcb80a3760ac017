"""Training learns what there is to learn, judges it honestly, and says so where there is too little."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.columns import OUTCOMES
from features.errors import BadInput
from features.kernel import N_FEATURES
from models.artefact import load, save
from models.predictor import Predictor
from models.tables import diagnose_table, matrix_of, recommend_table, score_table
from training.train import prepare, train


def test_the_model_beats_the_prior_and_the_rate_table(trained):
    for name in ("prior", "success rate by country, method and route"):
        assert trained.report["against"][name]["success_log_loss"]["high"] < 0.0
        assert trained.report["against"][name]["outcome_log_loss"]["high"] < 0.0


def test_every_figure_has_its_interval_and_sample_size(trained):
    for figures in trained.report["quality"].values():
        for figure in figures.values():
            assert figure["low"] <= figure["value"] <= figure["high"]
            assert figure["n"] > 100


def test_probabilities_are_near_the_oracle(world, trained, table):
    scores = score_table(trained.artefact, table)
    oracle = world.oracle.set_index("attempt_id").loc[scores["attempt_id"]]
    correlation = np.corrcoef(scores["p_success"], oracle["p_success"])[0, 1]
    assert correlation > 0.75


def test_scores_are_those_of_training_whatever_the_road(trained, table, tmp_path):
    save(trained.artefact, tmp_path / "model")
    read = load(tmp_path / "model")
    again = score_table(read, table)
    first = score_table(trained.artefact, table)
    pd.testing.assert_frame_equal(again, first)
    assert np.allclose(first[[f"p_{name}" for name in OUTCOMES]].sum(axis=1), 1.0)


def test_a_trained_model_ships_golden_rows_with_reasons_and_loads_by_them(trained, tmp_path):
    save(trained.artefact, tmp_path / "model")
    assert Predictor.load(tmp_path / "model").plausible == trained.artefact.plausible
    assert [len(row["reasons"]) > 1 for row in trained.artefact.golden] == [True] * 5


def test_scoring_with_history_gives_the_features_of_training(trained, table):
    data = prepare(table, trained.artefact.encoder)
    cut = len(data.table) * 4 // 5
    late, past = data.table.iloc[cut:].reset_index(drop=True), data.table.iloc[:cut].reset_index(drop=True)
    found = matrix_of(trained.artefact, late, past)
    assert np.array_equal(found, data.matrix[cut:], equal_nan=True)


def test_scores_do_not_look_at_what_a_row_became(trained, table):
    last = table.sort_values("created_at").tail(1).reset_index(drop=True)
    hidden = last.drop(columns=["outcome", "reason", "resolved_at", "duration_s", "last_event"])
    told = score_table(trained.artefact, last, table)
    blind = score_table(trained.artefact, hidden, table)
    pd.testing.assert_frame_equal(told, blind)


def test_what_serves_was_fitted_on_all_and_what_was_judged_was_not(trained):
    assert trained.artefact.heads["success"].text != trained.artefact.validated["success"].text
    assert trained.report["refitted"]


def test_the_same_data_settings_and_seed_give_the_same_trees(trained, table, settings):
    again = train(table, settings)
    assert again.artefact.heads["success"].text == trained.artefact.heads["success"].text
    assert again.report["quality"] == trained.report["quality"]


def test_unclassified_failures_teach_the_success_head_only(table, settings):
    masked = table.copy()
    failed = masked["outcome"].astype(object).notna() & (masked["outcome"].astype(object) != "success")
    masked["outcome"] = masked["outcome"].astype(object).mask(failed, "unclassified").astype("category")
    masked["reason"] = pd.Categorical([None] * len(masked))
    found = train(masked, settings)
    assert set(found.artefact.heads) == {"success"}
    assert found.report["quality"]["model"]["success_auc"]["value"] > 0.65
    assert "outcome_log_loss" not in found.report["quality"]["model"]


def test_pending_attempts_are_neither_success_nor_failure(table, settings):
    pending = table.copy()
    gone = pending.index % 3 == 0
    for name in ("outcome", "reason", "resolved_at"):
        pending[name] = pending[name].where(~gone)
    found = train(pending, settings)
    assert found.report["pending"] >= gone.sum()
    assert found.report["outcomes"]["success"] == int((table["outcome"][~gone] == "success").sum())


@pytest.mark.parametrize("rows", [1, 10, 199])
def test_too_few_attempts_are_refused_with_the_number(table, settings, rows):
    with pytest.raises(BadInput, match=f"{rows if rows < 199 else ''}.*too few to learn from; want 200"):
        train(table.head(rows), settings)


def test_a_slice_without_failures_is_refused_by_name(table, settings):
    early = table[table["created_at"] < table["created_at"].quantile(0.5)]
    late = table[(table["created_at"] >= table["created_at"].quantile(0.5)) & (table["outcome"] == "success")]
    with pytest.raises(BadInput, match="slice of time"):
        train(pd.concat([early, late], ignore_index=True), settings)


def test_missing_optional_columns_are_fine(table, settings):
    needed = [
        "attempt_id",
        "payment_id",
        "created_at",
        "amount_minor",
        "currency",
        "country",
        "method",
        "outcome",
        "resolved_at",
    ]
    found = train(table[needed], settings)
    assert score_table(found.artefact, table)["p_success"].between(0, 1).all()


def test_a_small_table_has_its_features_chosen(table, settings):
    small = table.head(2500)
    found = train(small, replace(settings, select_below_rows=5000))
    assert 0 < len(found.report["features"]) < N_FEATURES


def test_diagnoses_beat_the_commonest_category(trained, table):
    found = diagnose_table(trained.artefact, table)
    truth = table.set_index("attempt_id").loc[found["attempt_id"]]
    explained = (truth["outcome"] != "unclassified").to_numpy() & truth["outcome"].notna().to_numpy()
    right = (found["category"].to_numpy() == truth["outcome"].astype(str).to_numpy())[explained]
    commonest = truth["outcome"][explained].value_counts(normalize=True).iloc[0]
    assert right.mean() > commonest + 0.1
    assert set(found["decided_by"].dropna()) <= {"code", "model", "rules"}
    assert (found["outcome"] if "outcome" in found else found["category"]).notna().all()


def test_recommendations_rank_every_candidate_that_no_rule_blocks(trained, world, table):
    late = table.sort_values("created_at").tail(400)
    candidates = world.candidates[world.candidates["attempt_id"].isin(late["attempt_id"])]
    found = recommend_table(trained.artefact, late.reset_index(drop=True), candidates, table)
    assert set(found["candidate_id"]) == set(candidates["candidate_id"])
    ranked = found[found["rank"].notna()]
    assert ranked["blocked_by"].isna().all()
    assert ranked["success_probability"].between(0, 1).all()
    assert found.loc[found["rank"].isna(), "blocked_by"].notna().all()


def test_candidates_of_unknown_attempts_are_refused(trained, table):
    candidates = pd.DataFrame({"attempt_id": ["nobody"], "candidate_id": ["c"], "method": ["card"]})
    with pytest.raises(BadInput, match="attempt_id"):
        recommend_table(trained.artefact, table, candidates)
