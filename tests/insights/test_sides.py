"""Conditions on attempts: which they hold for, and what is said of those that make no sense."""

import numpy as np
import pandas as pd
import pytest

from insights.measure import Measure, wilson
from insights.opportunities_sides import in_words, matches, parsed

TABLE = pd.DataFrame(
    {
        "country": pd.Categorical(["KR", "TW", None, "US"]),
        "prior_payments": pd.array([0, 3, None, 0], dtype="Int64"),
        "auth_steps": pd.array([6, 1, 0, None], dtype="Int64"),
        "stored": pd.array([True, False, None, True], dtype="boolean"),
    }
)


@pytest.mark.parametrize(
    ("side", "found"),
    [
        ({}, [1, 1, 1, 1]),
        ({"country": "KR"}, [1, 0, 0, 0]),
        ({"country": ["KR", "US"]}, [1, 0, 0, 1]),
        ({"first_time": True}, [1, 0, 0, 1]),
        ({"first_time": False}, [0, 1, 0, 0]),
        ({"auth_steps": {"from": 5}}, [1, 0, 0, 0]),
        ({"auth_steps": {"to": 1}}, [0, 1, 1, 0]),
        ({"auth_steps": {"from": 1, "to": 6}}, [1, 1, 0, 0]),
        ({"stored": True}, [1, 0, 0, 1]),
        ({"stored": False}, [0, 1, 0, 0]),
        ({"auth_steps": 1}, [0, 1, 0, 0]),
        ({"route": "north"}, [0, 0, 0, 0]),
        ({"country": "KR", "stored": True}, [1, 0, 0, 0]),
    ],
)
def test_what_is_missing_meets_no_condition(side, found):
    assert matches(TABLE, side).astype(int).tolist() == found


@pytest.mark.parametrize("pair", ["country", "country=", "outcome=success", "propensity=..1", "auth_steps=a.."])
def test_a_condition_that_is_none_is_told(pair):
    side, faults = parsed([pair])
    assert faults or side == {"auth_steps": "a.."}


def test_conditions_are_said_in_words():
    assert in_words({"country": "KR", "stored": False}) == "buyer's country KR, no credential on file"
    assert in_words({"first_time": False, "auth_steps": {"to": 2}}) == (
        "returning customer, passwords, codes and confirmations asked for at most 2"
    )


def test_wilson_s_interval_is_the_book_s():
    told = wilson(15, 148)  # Newcombe 1998, table I
    assert (round(told.low, 4), round(told.high, 4)) == (0.0624, 0.1605)
    assert np.isnan(wilson(0, 0).value)


def test_turning_a_measure_round_keeps_low_below_high():
    turned = Measure(0.1, -0.1, 0.3, 5).times(-1.0)
    assert (turned.low, turned.value, turned.high) == (-0.3, -0.1, 0.1)
