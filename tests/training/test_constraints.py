"""What is to rise or fall with a feature does so in the model that serves; what is left out is not used."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.errors import BadInput
from features.kernel import N_FEATURES
from features.own import OwnColumn, all_features
from models.artefact import save
from models.heads import STAGES
from models.predictor import Predictor
from models.tables import fields_of, recommend_table, score_table
from training import tracking
from training.constraints import left_out, read_monotone
from training.fit import Recipe, fit_head
from training.own import own_of_training
from training.settings import TrainSettings, as_config, read_settings
from training.train import prepare, train

OWN = {
    "wobble": {"label": "a number that success wobbles with", "unit": "points", "group": "amount", "kind": "numeric"},
    "tier": {"label": "tier of the loyalty programme", "group": "customer", "kind": "categorical"},
}
VALUES = np.linspace(0.0, 10.0, 41)


@pytest.fixture(scope="module")
def told(table):
    """Attempts whose success rises with `wobble`, but wobbles on the way."""
    rng = np.random.default_rng(4)
    made = table.head(2200).copy()
    success = (made["outcome"] == "success").to_numpy()
    wobble = rng.uniform(0.0, 10.0, len(made)) * 0.6 + 3.0 * success + 1.5 * np.sin(rng.uniform(0.0, 30.0, len(made)))
    made["wobble"] = np.clip(np.where(rng.random(len(made)) < 0.1, np.nan, wobble), 0.0, 10.0)
    made["tier"] = pd.Categorical(rng.choice(["gold", "silver", None], len(made)))
    return made


@pytest.fixture(scope="module")
def asked(settings, tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "c.yaml"
    path.write_text(
        f"own_columns: {OWN}\nmonotone: {{wobble: increasing, form_errors: {{user_abandonment: increasing}}}}\n"
        "leave_out: group:calendar, form_seconds\n"
    )
    quick = {name: getattr(settings, name) for name in ("learning_rate", "resamples", "select_below_rows", "threads")}
    return read_settings(path, {**quick, "max_rounds": 30})


@pytest.fixture(scope="module")
def held(told, asked):
    return train(told, asked)


@pytest.fixture(scope="module")
def served(held, tmp_path_factory):
    folder = tmp_path_factory.mktemp("held") / "model"
    save(held.artefact, folder)
    return Predictor.load(folder)


def along(served, fields, name):
    """P(success) as the service tells it, along a feature's values."""
    return np.array([served.outcome({**fields, name: float(value)}, [])[0] for value in VALUES])


def test_success_only_rises_with_it_in_the_model_that_serves(served, told):
    asked = fields_of(told.tail(40).drop(columns=["outcome", "reason", "resolved_at"]))
    curves = [along(served, fields, "wobble") for fields in asked]
    assert all((np.diff(curve) >= 0.0).all() for curve in curves)
    assert max(curve[-1] - curve[0] for curve in curves) > 0.1


def test_trees_that_are_not_held_wobble(told, asked):
    data = prepare(told, own=asked.own)
    won, place = (data.outcome != 0).astype(int), N_FEATURES
    curves = []
    for settings in (asked, replace(asked, monotone="")):
        trees = fit_head(data.matrix, won, ("success", "failure"), Recipe((0, place)), settings, rounds=30).parts.head()
        rows = np.repeat(data.matrix[-40:], len(VALUES), axis=0)
        rows[:, place] = np.tile(VALUES, 40)
        curves.append(trees.scores(rows)[:, 0].reshape(40, -1))
    assert (np.diff(curves[0], axis=1) >= 0.0).all()
    assert (np.diff(curves[1], axis=1) < 0.0).any()


def test_a_head_that_is_named_is_held_by_itself(held):
    head = held.artefact.heads["user_abandonment"].head()
    place = [feature.name for feature in all_features(held.artefact.encoder.own)].index("form_errors")
    rows = np.repeat(held.data.matrix[-200:], 6, axis=0)
    rows[:, place] = np.tile(np.arange(6), 200)
    assert (np.diff(head.scores(rows)[:, 0].reshape(200, 6), axis=1) >= 0.0).all()


def test_own_columns_work_through_training_and_score(held, told):
    assert {"wobble", "tier"} <= set(held.report["features"])
    blind = score_table(held.artefact, told.drop(columns=["wobble", "tier"]))
    assert not np.allclose(blind["p_success"], score_table(held.artefact, told)["p_success"])
    assert held.report["importances"]["success"]["wobble"] > 0.05


def test_recommendations_go_by_own_columns(held, told):
    late = told.tail(300)
    late = late[late["outcome"] != "success"].tail(20).reset_index(drop=True)
    candidates = pd.DataFrame({"attempt_id": late["attempt_id"], "candidate_id": "c", "method": "quick_pay"})
    candidates["candidate_id"] += late["attempt_id"]
    low, high = (
        recommend_table(held.artefact, late.assign(wobble=value), candidates)["success_probability"].mean()
        for value in (0.0, 10.0)
    )
    assert high > low + 0.1


def test_what_is_left_out_is_used_by_no_head(held):
    for name, found in held.report["importances"].items():
        assert not {"hour", "weekend", "form_seconds"} & set(found), name


def test_success_holds_every_stage_the_other_way():
    held = read_monotone({"form_errors": "decreasing"})
    assert held["success"] == {"form_errors": -1}
    assert [held[stage] for stage in STAGES] == [{"form_errors": 1}] * 4


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"route": "increasing"}, "a number, not a category"),
        ({"nothing": "increasing"}, "a feature, or an own column"),
        ({"amount": "up"}, "amount.success 'up': want increasing or decreasing"),
        ({"amount": {"bank": "increasing"}}, "a head: one of success"),
        ({"amount": {"success": "increasing", "technical": "increasing"}}, "one direction for technical"),
        (["amount"], "by feature"),
    ],
)
def test_a_demand_that_makes_no_sense_is_refused_by_name(told, said):
    with pytest.raises(BadInput, match=said):
        read_monotone(told)


def test_own_columns_can_be_held_and_left_out():
    own = (OwnColumn("items", "items in it", "items", "form", "numeric"),)
    assert read_monotone({"items": "increasing"}, own)["success"] == {"items": 1}
    assert "items" in left_out("group:form", own)


@pytest.mark.parametrize("name", ["calendar", "group:weather"])
def test_what_is_no_feature_cannot_be_left_out(name):
    with pytest.raises(BadInput, match=f"leave_out '{name}'"):
        TrainSettings(leave_out=name)


@pytest.mark.parametrize("there", [True, False])
def test_a_training_reads_its_own_columns_and_those_of_the_champion_as_far_as_they_are_there(
    held, monkeypatch, tmp_path, there
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(tracking, "store", lambda: "")
    monkeypatch.setattr(tracking, "champion", lambda name: (held.artefact, "1", None))
    if there:
        (tmp_path / "mlflow.db").touch()
    asked = TrainSettings(own_columns="{wobble: {label: a wobble, group: form, kind: categorical}}")
    found = [(column.name, column.type, column.for_training) for column in own_of_training(asked)]
    assert found == [("wobble", "category", True), *([("tier", "category", False)] if there else [])]


def test_a_settings_file_comes_back_as_it_was_written(asked, tmp_path):
    (tmp_path / "again.yaml").write_text(as_config(asked))
    assert read_settings(tmp_path / "again.yaml") == asked
    assert as_config(TrainSettings()) == ""


def test_structured_settings_can_be_told_in_one_line():
    by_line = TrainSettings(own_columns="{tier: {label: a tier, group: customer, kind: categorical}}")
    assert [column.name for column in by_line.own] == ["tier"]
    with pytest.raises(BadInput, match=r"own_columns '\{': want YAML"):
        TrainSettings(own_columns="{")
