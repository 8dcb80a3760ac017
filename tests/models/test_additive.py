import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.additive import Additive, Curve

CURVES = Additive(
    1.0,
    (Curve(0, (0.0, 10.0, 20.0), (0.0, 1.0, -1.0), 0.25), Curve(1, (), (0.5, -0.5), 0.125)),
)


def told(number, code):
    return CURVES(np.array([[number, code]], np.float32))[0] - 1.0


@given(st.floats(-50, 50, width=32))
def test_a_number_s_curve_is_straight_between_its_knots_and_flat_beyond(number):
    assert told(number, 9) == pytest.approx(np.interp(number, (0, 10, 20), (0, 1, -1)), abs=1e-12)


def test_a_code_has_a_value_of_its_own_and_one_not_seen_adds_nothing():
    assert [told(-1, code) for code in (0, 1, 2, -1)] == [0.5, -0.5, 0.0, 0.0]


def test_what_is_missing_has_a_value_of_its_own():
    assert told(np.nan, np.nan) == 0.25 + 0.125


def test_half_of_it_is_half_of_every_score():
    rows = np.array([[3, 1], [np.nan, 0], [40, np.nan]], np.float32)
    np.testing.assert_allclose(CURVES.scaled(0.5)(rows), 0.5 * CURVES(rows))


def test_without_curves_there_is_the_constant():
    np.testing.assert_array_equal(Additive(0.5, ())(np.zeros((2, 3), np.float32)), [0.5, 0.5])


def test_it_comes_back_from_json_as_it_was():
    assert Additive.from_json(CURVES.as_json(), 2) == CURVES
