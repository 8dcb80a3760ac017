from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.columns import OUTCOMES
from models.additive import Additive, Curve
from models.heads import STAGES, Blend, Calibration, Head, OutcomeModel


class Scores:
    """Trees whose scores are columns of the rows that they are given."""

    def __init__(self, columns):
        self.columns = self.places = columns
        self.classes = len(columns)

    def few(self, matrix):
        return matrix[:, self.columns].astype(np.float64)

    many = few


def head(columns, classes, calibration=None, additive=None):
    return Head(Scores(columns), tuple(classes), calibration or Calibration.none(len(columns)), additive)


SUCCESS = head([0], ("success", "failure"))
STAGED = tuple(head([place], (name, "passed")) for place, name in enumerate(STAGES, start=1))
REASON = head([4, 5, 6], ("a", "b", "c"))
SHARES = (0.1, 0.2, 0.3, 0.4)
BLENDS = (Blend(), Blend(0.0, 0.0, 1.0), Blend(-0.1, 0.3, 0.8))
matrices = arrays(np.float32, (3, 5), elements=st.floats(-60, 60, width=32))
halves = np.zeros((2, 5), np.float32)


@given(matrices, st.sampled_from(BLENDS))
def test_the_probabilities_of_the_outcomes_sum_to_one(matrix, blend):
    for stages in (STAGED, None):
        told = OutcomeModel(SUCCESS, stages, None, SHARES, blend).outcome_probability(matrix)
        assert told.shape == (3, len(OUTCOMES))
        assert (told >= 0).all()
        np.testing.assert_allclose(told.sum(axis=1), 1.0, rtol=1e-12)


@given(matrices, st.sampled_from(BLENDS))
def test_success_is_success_in_both_questions(matrix, blend):
    model = OutcomeModel(SUCCESS, STAGED, None, SHARES, blend)
    np.testing.assert_array_equal(model.outcome_probability(matrix)[:, 0], model.success_probability(matrix))


def test_what_passes_every_stage_succeeds():
    matrix = np.log(np.array([[9, 1 / 3, 1 / 4, 1 / 9, 1.0]], np.float32))  # falls: 1/4, 1/5, 1/10, 1/2
    told = OutcomeModel(SUCCESS, STAGED, None, SHARES, Blend(0.0, 0.0, 1.0)).outcome_probability(matrix)[0]
    left, auth, stayed = 0.75 * 0.8 * 0.9 * 0.5, 0.75 * 0.8 * 0.1, 0.75 * 0.2
    np.testing.assert_allclose(told, [left, auth, left, stayed, 0.25], rtol=1e-6)


def test_a_blend_is_of_log_odds():
    matrix = np.array([[np.log(3.0), -9.0, -9.0, -9.0, 0.0]], np.float32)
    direct, staged = OutcomeModel(SUCCESS, STAGED, None, SHARES).log_odds(matrix)
    told = OutcomeModel(SUCCESS, STAGED, None, SHARES, Blend(0.2, 0.5, 0.25)).success_probability(matrix)
    np.testing.assert_allclose(np.log(told / (1 - told)), 0.2 + 0.5 * direct + 0.25 * staged, rtol=1e-9)


@given(matrices)
def test_however_sure_the_stages_are_the_log_odds_are_numbers(matrix):
    assert np.isfinite(OutcomeModel(SUCCESS, STAGED, None, SHARES).log_odds(matrix * 20)).all()


def test_curves_add_to_the_score():
    curves = Additive(0.5, (Curve(1, (0.0, 1.0), (0.0, 2.0), 0.0),))
    told = head([0], ("success", "failure"), additive=curves).scores(np.array([[0.25, 0.5]], np.float32))
    np.testing.assert_allclose(told, [[0.25 + 0.5 + 1.0]])


def test_of_two_answers_the_score_is_the_log_odds_of_the_first():
    told = SUCCESS.probabilities(np.array([[np.log(3.0)]], np.float32))
    np.testing.assert_allclose(told, [[0.75, 0.25]], rtol=1e-6)


def test_of_more_answers_scores_are_log_weights():
    told = REASON.probabilities(np.log(np.array([[1, 1, 1, 1, 2, 4, 2]], np.float32)))
    np.testing.assert_allclose(told, [[0.25, 0.5, 0.25]], rtol=1e-6)


def test_scores_however_large_give_probabilities():
    told = REASON.probabilities(np.array([[0, 0, 0, 0, 1000, -1000, 999]], np.float32))
    np.testing.assert_allclose(told, [[1 / (1 + np.exp(-1)), 0, 1 / (1 + np.e)]])


def test_failures_are_shared_out_as_the_stages_have_it_whoever_tells_success():
    told = OutcomeModel(SUCCESS, STAGED, None, SHARES).outcome_probability(halves)
    fallen = np.array([1 / 8, 1 / 16, 1 / 4, 1 / 2])  # authentication, bank, abandonment, technical
    np.testing.assert_allclose(told, [[0.5, *(0.5 * fallen / fallen.sum())]] * 2)


def test_without_stages_failures_are_shared_out_as_they_were_in_training():
    told = OutcomeModel(SUCCESS, None, None, SHARES).outcome_probability(halves)
    np.testing.assert_allclose(told, [[0.5, 0.05, 0.1, 0.15, 0.2]] * 2)


def test_the_reason_head_reads_features_then_evidence():
    matrix, evidence = np.zeros((2, 4), np.float32), np.log(np.array([[1, 1, 2], [2, 1, 1]], np.float32))
    names, told = OutcomeModel(SUCCESS, None, REASON, SHARES).reason_probability(matrix, evidence)
    assert names == ("a", "b", "c")
    np.testing.assert_allclose(told, [[0.25, 0.25, 0.5], [0.5, 0.25, 0.25]], rtol=1e-6)


def test_a_model_without_a_reason_head_says_so():
    with pytest.raises(ValueError, match="no reason head"):
        OutcomeModel(SUCCESS, None, None, SHARES).reason_probability(np.zeros((1, 5)), np.zeros((1, 6)))


@given(arrays(np.float64, (4, 3), elements=st.floats(-50, 50)))
def test_no_calibration_leaves_scores_as_they_are(scores):
    np.testing.assert_array_equal(Calibration.none(3)(scores), scores)


def test_a_calibration_is_a_map_of_scores_before_they_are_probabilities():
    moved = Calibration(np.array([[2.0]]), np.array([np.log(3.0)]))
    told = head([0], ("success", "failure"), moved).probabilities(np.array([[0.0], [1.0]], np.float32))
    odds = told[:, 0] / told[:, 1]
    np.testing.assert_allclose(odds, [3.0, 3.0 * np.exp(2.0)])


@pytest.mark.parametrize("name", ["success", "technical", "bank_decline", "reason"])
def test_a_trained_head_tells_few_rows_what_it_tells_many(artefact, matrix, evidence, name):
    one = artefact.heads[name].head()
    everything = np.hstack([matrix, evidence])
    many = one.probabilities(everything)
    few = np.vstack([one.probabilities(everything[i : i + 1], few=True) for i in range(50)])
    np.testing.assert_allclose(few, many[:50], rtol=1e-13)
    np.testing.assert_array_equal(one.probabilities(everything, few=True), many)


@pytest.mark.parametrize("blend", BLENDS)
def test_a_few_rows_are_told_what_many_are_by_one_compiled_call(artefact, matrix, evidence, blend):
    """The same numbers to the bit: a request's are those that the model was judged by."""
    model = replace(artefact.outcome_model(), blend=blend)
    outcomes, reasons = model.outcome_probability(matrix), model.reason_probability(matrix, evidence)
    for n in (1, 4, 5, 17):
        np.testing.assert_array_equal(model.outcome_probability(matrix[:n], few=True), outcomes[:n])
        together = model.outcome_probability(matrix[:n], more=matrix[n : n + 2], few=True)
        np.testing.assert_array_equal(together, outcomes[: n + 2])
        names, told = model.reason_probability(matrix[:n], evidence[:n], few=True)
        assert names == reasons[0]
        np.testing.assert_array_equal(told, reasons[1][:n])


@pytest.mark.parametrize("stages", [STAGED, None])
@pytest.mark.parametrize("few", [True, False])
def test_more_rows_come_after_the_first_ones(stages, few):
    model = OutcomeModel(SUCCESS, stages, None, SHARES, Blend(0.0, 1.0, 1.0))
    some = np.linspace(-2.0, 2.0, 20, dtype=np.float32).reshape(4, 5)
    told = model.outcome_probability(some[:3], more=some[3:], few=few)
    np.testing.assert_array_equal(told, model.outcome_probability(some, few=few))


@pytest.mark.parametrize("blend", BLENDS)
def test_heads_scored_together_score_as_each_alone(artefact, matrix, blend):
    model = replace(artefact.outcome_model(), blend=blend)
    heads = [model.success, *model.stages] if blend.direct else model.stages
    alone = np.hstack([head.scores(matrix) for head in heads])
    assert model._together is not None
    np.testing.assert_array_equal(model._scores(matrix, few=False), alone)
    np.testing.assert_array_equal(model._scores(matrix[:5], few=True), alone[:5])


def test_the_probabilities_are_those_of_the_stages_in_turn(artefact, matrix):
    model = replace(artefact.outcome_model(), blend=Blend(0.1, 0.4, 0.6))
    falls = np.stack([head.probabilities(matrix)[:, 0] for head in model.stages], axis=1)
    came = np.hstack([np.ones((len(matrix), 1)), np.cumprod(1.0 - falls, axis=1)])
    odds = 0.1 + 0.4 * model.success.scores(matrix)[:, 0] + 0.6 * np.log(came[:, 4] / (1.0 - came[:, 4]))
    success = 1.0 / (1.0 + np.exp(-odds))
    why = (came[:, :4] * falls / (1.0 - came[:, 4:]))[:, [STAGES.index(name) for name in OUTCOMES[1:]]]
    told = model.outcome_probability(matrix)
    np.testing.assert_allclose(told, np.hstack([success[:, None], (1.0 - success[:, None]) * why]), rtol=1e-9)
