"""The gate: better in all is not enough where a guarded slice got worse."""

from dataclasses import replace

import numpy as np
import pytest

from training.gate import judge


class Asked:
    """A model that says what is given to it, in the order of the attempts that judge."""

    def __init__(self, trained, told):
        self.window = {**trained.artefact.window}
        self.encoder = trained.artefact.encoder
        self.told = told

    def outcome_model(self, *, validated=False):
        return self

    def outcome_probability(self, matrix):
        assert len(matrix) == len(self.told)
        return self.told


@pytest.fixture(scope="module")
def judging(trained):
    """What the gate is asked: a challenger's and a champion's probabilities; gives its verdict."""
    rows = (trained.data.rows.created >= trained.artefact.window["judged_from"]) & (trained.data.outcome >= 0)
    true = trained.artefact.outcome_model(validated=True).outcome_probability(trained.data.matrix[rows])

    def _judge(challenger, champion, **settings):
        models = (Asked(trained, one) for one in (challenger, champion))
        return judge(*models, trained.data, resamples=60, seed=1, **settings)

    return true, trained.data.table[rows], _judge


def duller(told, mask, share):
    """The same, pulled towards the mean where `mask` says."""
    return np.where(mask[:, None], (1 - share) * told + share * told.mean(axis=0), told)


def test_what_is_better_in_all_and_worse_nowhere_is_promoted(judging):
    true, table, judged = judging
    everybody = np.ones(len(table), bool)
    verdict = judged(true, duller(true, everybody, 0.5), guarded_slices="country,method")
    assert verdict.promote
    assert verdict.why.startswith("better than the champion on the same attempts")
    assert [one for one in verdict.slices if one.standing == "better"]


def test_what_is_better_in_all_and_worse_for_a_guarded_slice_is_not(judging):
    true, table, judged = judging
    here = (table["country"] == "KR").to_numpy()
    challenger, champion = duller(true, here, 0.95), duller(true, ~here, 0.8)
    verdict = judged(challenger, champion, guarded_slices="country")
    assert not verdict.promote
    assert "worse beyond noise for guarded slices: country KR: +" in verdict.why
    assert verdict.as_dict()["slices"][0]["standing"] == "worse"
    for setting in ("", "country=US", "channel=server"):
        assert judged(challenger, champion, guarded_slices=setting).promote


def test_what_is_no_better_in_all_is_not_promoted_whatever_its_slices(judging):
    true, _, judged = judging
    verdict = judged(true, true, guarded_slices="")
    assert not verdict.promote
    assert verdict.why.startswith("not better, beyond chance, than the champion")


def test_the_first_model_is_promoted(trained):
    verdict = judge(trained.artefact, None, trained.data, resamples=20, seed=1)
    assert (verdict.promote, verdict.slices) == (True, ())


def test_a_champion_that_has_learnt_from_what_would_judge_it_is_kept(trained):
    later = {**trained.artefact.window, "judged_from": trained.artefact.window["until"]}
    champion = replace(trained.artefact, window=later)
    verdict = judge(trained.artefact, champion, trained.data, resamples=20, seed=1)
    assert not verdict.promote
    assert "train on later attempts" in verdict.why
