"""What the pages are told by trainings: cards, who was champion when, and policies judged by the attempts' own log."""

import json
from dataclasses import replace

import pytest

from insights.model_page import model_page
from insights.model_told import ModelTold
from insights.texts import Text
from models.artefact import save
from training.card import model_card
from training.model_history import version_told
from training.policy_report import policies_judged


@pytest.fixture(scope="module")
def folder(trained, settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    save(trained.artefact, folder)
    from models.artefact import write_manifest

    (folder / "model_card.json").write_text(json.dumps(model_card(trained, settings, "run")), encoding="utf-8")
    write_manifest(folder)
    return folder


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_page_of_a_model_tells_what_its_card_has(folder, language):
    told = ModelTold(**vars(version_told(str(folder))))
    t = Text(language)
    shown = model_page(replace(told, previous=("1", told.card)), t)
    assert t.number(told.card["quality"]["model"]["success_auc"]["n"]) == shown["n"]
    assert len(shown["compared"].rows) == len(told.card["quality"])
    assert shown["whom_total"] == len(told.card["by_slice"])
    assert shown["why"] is not None
    assert shown["before"]["auc_then"] == shown["before"]["auc_now"]


def test_a_folder_has_no_history(folder):
    told = version_told(str(folder))
    assert (told.version, told.moves, told.previous) == (None, (), None)


def test_policies_are_judged_where_the_attempts_have_propensities(table):
    found = policies_judged(table)
    assert found["policies"]["logged"]["ess"] == found["decisions"]
    assert {"logged", "rules", "success_rate"} < set(found["policies"])
    assert any(name.startswith("always:route=") for name in found["policies"])
    assert set(found["policies"]["logged"]["success"]) == {"ips", "snips"}


def test_no_policy_is_judged_where_no_attempt_has_one(table):
    assert policies_judged(table.drop(columns="propensity")) is None
    assert policies_judged(table.assign(propensity=float("nan"))) is None
    assert policies_judged(table.assign(outcome=None)) is None
