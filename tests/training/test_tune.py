"""A search goes on where it was stopped, never looks at the last slice, and says what its gain is worth."""

from dataclasses import replace

import numpy as np
import pytest

from training import tune
from training.ablation import ablate, groups_of
from training.folds import Told
from training.split import split_by_time
from training.train import prepare


@pytest.fixture(scope="module")
def data(table):
    return prepare(table, mature_minutes=30.0)


@pytest.fixture
def tried(monkeypatch):
    """The settings that were tried. A fold's model is replaced by one that is best at 20 leaves, since models take long."""
    seen = []

    def told(data, settings, folds, tell=lambda _: None):
        seen.append(settings)
        for fold in folds:
            rows = np.flatnonzero(fold["test"] & (data.outcome >= 0))
            won = data.outcome[rows] == 0
            sure = 0.9 - 0.1 * abs(np.log(settings.num_leaves / 20))
            p = np.where(won, sure, 1.0 - sure)
            yield Told(rows, np.column_stack([p, *[(1.0 - p) / 4] * 4]), len(rows))

    monkeypatch.setattr(tune, "told_by_folds", told)
    monkeypatch.setattr("training.backtest.told_by_folds", told)
    return seen


@pytest.fixture
def study_at(tmp_path, data, settings):
    return lambda: tune.open_study(f"sqlite:///{tmp_path}/optuna.db", data, settings)


def search(study, data, settings, trials, **more):
    return tune.search(study, data, settings, trials=trials, timeout_s=None, **more)


def test_the_settings_given_are_tried_first(study_at, data, settings, tried):
    search(study_at(), data, settings, 1)
    assert tried == [settings]


def test_settings_outside_of_what_is_searched_are_tried_as_they_are_given(study_at, data, settings, tried):
    wide = replace(settings, num_leaves=200)
    search(study_at(), data, wide, 1)
    assert tried == [wide]


def test_a_second_start_goes_on_and_tries_only_what_is_left(study_at, data, settings, tried):
    search(study_at(), data, settings, 3)
    search(study_at(), data, settings, 5)
    assert len(tried) == 5
    search(study_at(), data, settings, 5)
    assert len(tried) == 5
    assert len({one.num_leaves for one in tried}) > 2


def test_other_data_or_settings_are_another_study(tmp_path, data, settings):
    storage = f"sqlite:///{tmp_path}/optuna.db"
    names = {tune.open_study(storage, data, one).study_name for one in (settings, replace(settings, folds=5))}
    assert len(names) == 2


def test_an_interrupt_keeps_what_was_done_and_the_next_start_finishes_it(study_at, data, settings, tried):
    def stop(trial):
        if trial.number == 1:
            raise KeyboardInterrupt

    assert not search(study_at(), data, settings, 4, ended=stop)
    kept = tune.tuned(study_at(), settings)
    assert [trial.state for trial in kept[1]] == ["complete", "complete"]
    assert search(study_at(), data, settings, 4)
    assert len(tried) == 4


def test_better_settings_are_found_and_hopeless_trials_are_pruned(study_at, data, settings, tried):
    search(study_at(), data, settings, 14)
    best, trials = tune.tuned(study_at(), settings)
    assert abs(np.log(best.num_leaves / 20)) < abs(np.log(settings.num_leaves / 20))
    assert {"complete", "pruned"} == {trial.state for trial in trials}
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert all(len(trial.by_fold) < settings.folds for trial in pruned)


def test_where_nothing_is_better_the_settings_given_stay(study_at, data, settings, tried):
    given = replace(settings, num_leaves=20)
    study = study_at()
    search(study, data, given, 3)
    assert tune.tuned(study, given)[0] == given


def test_the_gain_on_the_folds_is_told_by_payments_and_by_folds(data, settings, tried):
    found = tune.gain_on_folds(data, replace(settings, num_leaves=20), settings)
    assert found.real
    assert found.pooled.value < 0.0
    assert len(found.by_fold) == settings.folds


def test_the_gain_on_the_last_slice_is_of_the_last_slice(data, settings):
    quick = replace(settings, max_rounds=5, curves_below_rows=0)
    found = tune.gain_on_last_slice(data, quick, quick)
    shares = (quick.stop_share, quick.calibrate_share, quick.test_share)
    split = split_by_time(data.payment, data.rows.created, data.known_at, shares)
    assert found.value == 0.0
    assert found.n == int((split["test"] & (data.outcome >= 0)).sum())


def test_an_ablation_tells_what_each_group_is_worth(data, settings, monkeypatch):
    def told(data, settings, folds, tell=lambda _: None):
        for fold in folds:
            rows = np.flatnonzero(fold["test"] & (data.outcome >= 0))
            won = data.outcome[rows] == 0
            sure = 0.8 - 0.1 * ("form_errors" in settings.left_out) + 0.05 * ("hour" in settings.left_out)
            p = np.where(won, sure, 1.0 - sure)
            yield Told(rows, np.column_stack([p, *[(1.0 - p) / 4] * 4]), len(rows))

    monkeypatch.setattr("training.backtest.told_by_folds", told)
    found = ablate(data, settings, ("form", "calendar", "device"))
    assert {row["group"]: row["verdict"] for row in found} == {
        "form": "missed",
        "calendar": "better without",
        "device": "not missed, beyond noise",
    }
    assert [row["group"] for row in found] == ["form", "device", "calendar"]
    assert found[0]["names"] == ["form_seconds", "form_errors"]


def test_a_group_that_is_left_out_already_is_not_ablated(settings):
    assert "calendar" not in groups_of(replace(settings, leave_out="group:calendar"))
