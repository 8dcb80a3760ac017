"""Which attempts and which features a head is fitted to."""

import numpy as np
import pytest

from features.columns import OUTCOMES
from features.definitions import features
from features.kernel import N_FEATURES
from training.fit import Recipe, usable_columns
from training.select import _losses
from training.settings import TrainSettings
from training.train import _reached

DAY_US = 86_400e6
HOUR_OF_DAY = next(place for place, feature in enumerate(features()) if feature.cycle_days == 1)


@pytest.fixture
def matrix():
    return np.random.default_rng(5).random((200, N_FEATURES)).astype(np.float32)


def test_a_feature_that_says_what_an_earlier_one_says_is_left_out(matrix):
    matrix[:, 40] = matrix[:, 12]
    assert set(range(N_FEATURES)) - set(usable_columns(matrix, 4000 * DAY_US)) == {40}


def test_features_missing_in_the_same_places_are_the_same_only_if_their_numbers_are(matrix):
    matrix[::3, [12, 40]] = np.nan
    assert {12, 40} < set(usable_columns(matrix, 4000 * DAY_US))
    matrix[:, 40] = matrix[:, 12]
    assert 40 not in usable_columns(matrix, 4000 * DAY_US)


def test_a_feature_that_never_varies_is_left_out_but_one_that_is_sometimes_missing_stays(matrix):
    matrix[:, 3], matrix[:, 4] = 1.0, np.nan
    matrix[:, 5] = 1.0
    matrix[::2, 5] = np.nan
    usable = usable_columns(matrix, 4000 * DAY_US)
    assert 5 in usable
    assert not {3, 4} & set(usable)


def test_a_cycle_has_to_fit_twice_into_the_time_that_there_is(matrix):
    assert HOUR_OF_DAY in usable_columns(matrix, 2 * DAY_US)
    assert HOUR_OF_DAY not in usable_columns(matrix, 1.9 * DAY_US)


@pytest.mark.parametrize(
    ("stage", "reached"),
    [
        ("technical", {"success", "authentication", "bank_decline", "user_abandonment", "technical"}),
        ("user_abandonment", {"success", "authentication", "bank_decline", "user_abandonment"}),
        ("authentication", {"success", "authentication", "bank_decline"}),
        ("bank_decline", {"success", "bank_decline"}),
    ],
)
def test_a_stage_is_learnt_from_the_attempts_that_came_as_far(stage, reached):
    outcome = np.array([-1, *range(len(OUTCOMES))])  # still under way, then every outcome
    rows, answer = _reached(outcome, stage)
    assert {OUTCOMES[code] for code in outcome[rows]} == reached
    assert [OUTCOMES[code] for code in outcome[rows & (answer == 0)]] == [stage]


def test_when_features_are_chosen_each_block_of_time_is_told_by_earlier_ones_only():
    n = 3000
    failed = np.arange(n) * 6 // n % 2  # whole sixths of the time fail, every other one
    matrix = np.zeros((n, N_FEATURES), np.float32)
    matrix[:, 0] = np.arange(n)  # tells it all to whoever may look at later ones
    found = _losses(matrix, failed, Recipe((0,)), TrainSettings(threads=1))
    assert min(found) > 0.6
