"""A set holds the true reason as often as it promises, in every category, whatever the model is worth."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.columns import CATEGORIES
from features.errors import ArtifactMismatch
from features.taxonomy import reasons
from models.conformal import FEWEST, checked, fewest_that_reach, least_by_category, named, plausible, standing
from models.diagnosis import by_model

CLASSES = tuple(reasons())
OF = {name: reason.category for name, reason in reasons().items()}
SAME = dict.fromkeys(CATEGORIES, 0.1)


def world(n, seed, skill=3.0, noise=1.0):
    """Probabilities of a model that is the worse the more noise, the true reasons, and what codes settled rightly."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0.0, skill, (n, len(CLASSES))) + np.linspace(0.0, 2.0, len(CLASSES))
    truth = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
    seen = scores + rng.normal(0.0, noise, scores.shape)
    told = np.exp(seen - seen.max(axis=1, keepdims=True))
    names = [CLASSES[k] for k in truth]
    settled = [(name,) if lucky else None for name, lucky in zip(names, rng.random(n) < 0.2, strict=True)]
    return told / told.sum(axis=1, keepdims=True), names, settled


def held(told, truth, settled, least):
    """Whether each failure's set, as it would be answered, holds the truth."""
    out = []
    for row, name, left in zip(told.tolist(), truth, settled, strict=True):
        found = left or by_model(dict(zip(CLASSES, row, strict=True)), least).plausible
        out.append(name in found)
    return np.array(out)


@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_sets_hold_the_truth_nine_times_in_ten_in_every_category(noise):
    told, truth, settled = world(24_000, 1, noise=noise)
    category = np.array([OF[name] for name in truth])
    first = slice(0, 16_000)
    least = least_by_category(
        standing(CLASSES, told[first], truth[:16_000], settled[:16_000]), category[first].tolist()
    )
    covered = held(told[16_000:], truth[16_000:], settled[16_000:], least)
    assert 0.885 <= covered.mean() <= 0.915
    for name in CATEGORIES:
        mine = category[16_000:] == name
        margin = 4.0 * math.sqrt(0.09 / mine.sum() + 0.09 / (2 * mine.sum()))
        assert abs(covered[mine].mean() - 0.9) <= margin, name


def test_one_threshold_for_all_would_fail_a_category_that_the_model_tells_badly():
    told, truth, _ = world(8_000, 2)
    rng = np.random.default_rng(0)
    hard = [place for place, name in enumerate(CLASSES) if OF[name] == "technical"]
    for row, name in enumerate(truth):
        if OF[name] == "technical":
            told[row, hard] = rng.permutation(told[row, hard])
    category = [OF[name] for name in truth]
    stands = standing(CLASSES, told, truth, [None] * len(truth))
    of = np.array(category)
    together = least_by_category(stands, ["none of them"] * len(truth))
    apart = least_by_category(stands, category)
    mine = of == "technical"
    assert (stands[mine] >= together["technical"]).mean() < 0.8
    assert 0.9 <= (stands[mine] >= apart["technical"]).mean() < 0.92


def test_coverage_is_at_least_promised_over_the_draw_of_few_failures():
    """The mean over draws, which is what conformal prediction promises, of one threshold from 60 failures."""
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(2_000):
        stands = rng.random(60)
        covered.append(1.0 - least_by_category(stands, ["technical"] * 60)["technical"])
    assert np.mean(covered) >= 0.9 - 0.003
    assert np.mean(covered) <= 0.9 + 1 / 61 + 0.003


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_standing_says_from_which_threshold_on_the_truth_is_out(seed):
    told, truth, settled = world(12, seed)
    stands = standing(CLASSES, told, truth, settled)
    for least in (0.0, 0.05, 0.3, 1.0):
        assert ((stands >= least) == held(told, truth, settled, dict.fromkeys(CATEGORIES, least))).all()


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_the_named_reason_is_that_of_the_diagnosis(seed):
    told, *_ = world(12, seed)
    for row, place in zip(told.tolist(), named(CLASSES, told).tolist(), strict=True):
        assert by_model(dict(zip(CLASSES, row, strict=True))).reason == CLASSES[place]


def test_a_code_that_settles_the_cause_wrongly_is_never_made_good():
    told = np.full((1, len(CLASSES)), 1.0 / len(CLASSES))
    assert standing(CLASSES, told, ["risk_block"], [("user_cancelled",)]).tolist() == [-math.inf]
    assert standing(CLASSES, told, ["risk_block"], [("risk_block",)]).tolist() == [math.inf]


def test_a_reason_that_the_model_does_not_know_is_in_no_set():
    assert standing(CLASSES[:3], np.array([[0.2, 0.5, 0.3]]), [CLASSES[9]], [None]).tolist() == [-math.inf]


def test_codes_that_err_widen_the_sets_of_the_others():
    told, truth, _ = world(4_000, 5)
    category = [OF[name] for name in truth]
    wrong = [("risk_block",) if row % 20 == 0 else None for row in range(len(truth))]
    sure = least_by_category(standing(CLASSES, told, truth, [None] * len(truth)), category)
    unsure = least_by_category(standing(CLASSES, told, truth, wrong), category)
    assert all(unsure[name] < sure[name] for name in CATEGORIES)


def test_where_naming_one_is_enough_no_other_is_plausible():
    least = least_by_category(np.full(200, math.inf), ["technical"] * 200)
    assert set(least.values()) == {1.0}
    assert plausible({"processor_error": 0.6, "network_timeout": 0.4}, "processor_error", least) == ("processor_error",)


def test_where_no_set_could_hold_the_truth_every_reason_stays():
    least = least_by_category(np.full(200, -math.inf), ["technical"] * 200)
    told = {"processor_error": 1.0, "network_timeout": 0.0}
    assert plausible(told, "processor_error", least) == ("processor_error", "network_timeout")


def test_the_named_reason_is_plausible_however_unlikely():
    told = {"user_cancelled": 0.3, "session_timeout": 0.3, "insufficient_funds": 0.4}
    found = by_model(told, SAME | {"user_abandonment": 0.5})
    assert (found.reason, found.plausible) == ("user_cancelled", ("insufficient_funds", "user_cancelled"))


def test_a_category_with_few_failures_takes_the_threshold_of_all():
    stands = np.linspace(0.0, 1.0, 400)
    few = ["technical"] * (FEWEST - 1)
    least = least_by_category(stands, [*few, *["bank_decline"] * (400 - len(few))])
    assert least["technical"] == least_by_category(stands, ["authentication"] * 400)["authentication"]
    assert least["technical"] != least["bank_decline"]


def test_with_too_few_failures_nothing_is_promised_and_the_fewest_that_reach_the_level_are_told():
    assert least_by_category(np.ones(FEWEST - 1), ["technical"] * (FEWEST - 1)) == {}
    told = {"processor_error": 0.6, "network_timeout": 0.32, "config_error": 0.08}
    assert by_model(told, {}).plausible == fewest_that_reach(told) == ("processor_error", "network_timeout")


@given(st.fixed_dictionaries(dict.fromkeys(CATEGORIES, st.floats(0.0, 1.0))))
def test_thresholds_come_back_from_json_as_they_were(least):
    assert checked(json.loads(json.dumps(least))) == least


@pytest.mark.parametrize(
    "told",
    [
        None,
        [0.1, 0.2],
        {"technical": 0.1},
        SAME | {"weather": 0.1},
        SAME | {"technical": 1.5},
        SAME | {"technical": math.nan},
        SAME | {"technical": "0.1"},
        SAME | {"technical": True},
    ],
)
def test_what_are_no_thresholds_is_refused(told):
    with pytest.raises(ArtifactMismatch, match="plausible"):
        checked(told)
