"""What `payrescue evaluate` says: of final outcomes alone, and fair to both models or it warns."""

from dataclasses import replace

import numpy as np
import pytest

from features.errors import BadInput
from training.evaluate import evaluate
from training.labels import matured

MINUTE = 60_000_000


@pytest.fixture(scope="module")
def later(table):
    """The last attempts, in order of time."""
    return table.sort_values("created_at", kind="stable").tail(600).reset_index(drop=True)


def waiting(trained, minutes):
    return replace(trained.artefact, about={**trained.artefact.about, "mature_minutes": minutes})


@pytest.mark.parametrize("minutes", [30.0, 720.0])
def test_outcomes_count_once_they_are_final_as_in_the_model_s_training(trained, later, minutes):
    rows = trained.artefact.encoder.from_table(later)
    final = int((matured(rows, round(minutes * MINUTE))[0] >= 0).sum())
    assert 30 < final < (rows.outcome >= 0).sum()
    assert evaluate(waiting(trained, minutes), later, resamples=20)["attempts"] == final


def test_two_models_are_judged_by_what_is_final_for_both(trained, later):
    alone = evaluate(waiting(trained, 720.0), later, resamples=20)["attempts"]
    found = evaluate(waiting(trained, 30.0), later, resamples=20, against=waiting(trained, 720.0))
    assert found["attempts"] == alone


def test_attempts_of_which_none_is_final_are_refused(trained, later):
    with pytest.raises(BadInput, match="0 attempts with a final outcome; want 30 or more"):
        evaluate(waiting(trained, 40_000.0), later)


def test_a_model_made_before_it_said_so_waits_half_an_hour(trained, later):
    unsaid = replace(trained.artefact, about={"rows": 1})
    assert evaluate(unsaid, later, resamples=20) == evaluate(waiting(trained, 30.0), later, resamples=20)


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [(True, False, "the model's training"), (False, True, "the other model's training"), (False, False, None)],
)
def test_whichever_model_has_learnt_from_the_attempts_is_named(trained, later, ours, theirs, said):
    begin = int(later["created_at"].min().value // 1000) - 1
    models = [
        trained.artefact if learnt else replace(trained.artefact, window={**trained.artefact.window, "until": begin})
        for learnt in (ours, theirs)
    ]
    found = evaluate(models[0], later, resamples=20, against=models[1])
    warning = found.get("warning")
    assert (warning is None) if said is None else (warning.count("flatter it") == 1 and said in warning)
    assert np.isfinite(found["against"]["success_log_loss"]["value"])
