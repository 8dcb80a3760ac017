"""The measures of the benchmark of decisions measure what they say."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.decisions import Worth
from benchmarks.outages import KEPT, MOST, Spell, Street, left_after, moves

ASKED = pd.DataFrame({"attempt_id": ["b", "a", "a", "b", "a"], "p_success": [0.2, 0.9, 0.3, 0.6, 0.0]})
PAYMENT = np.array(["q", "p", "p", "q", "p"])


@pytest.fixture
def worth():
    return Worth(ASKED, PAYMENT)


def test_a_perfect_choice_has_all_of_the_share_and_the_worst_less_than_none():
    many = pd.concat([ASKED.assign(attempt_id=ASKED["attempt_id"] + str(i)) for i in range(40)], ignore_index=True)
    worth, truth = Worth(many, many["attempt_id"].to_numpy(str)), many["p_success"].to_numpy()
    assert worth.of(truth).value == pytest.approx(1.0)
    assert worth.of(-truth).value < 0.0


def test_a_choice_is_the_highest_score_of_each_decision(worth):
    assert worth.chosen(np.array([1.0, 0.0, 2.0, 0.5, 1.0])).tolist() == [0.3, 0.2]


def test_where_nothing_may_be_chosen_the_decision_has_failed(worth):
    assert worth.chosen(np.array([np.nan, 1.0, np.nan, np.nan, 0.0])).tolist() == [0.9, 0.0]


class Learning:
    """Leaves a route once it has been told of so many moments."""

    def __init__(self, after):
        self.after, self.told = after, []

    def pass_to(self, until):
        self.told.append(until)

    def route(self, payment, routes, now, at):
        return "south" if sum(t > 100 for t in self.told) >= self.after else "north"


@pytest.fixture
def street():
    table = pd.DataFrame({"country": "KR", "method": "card", "route": ["north", "south"] * 3, "auth_flow": "none"})
    for name in KEPT:
        table[name] = table.get(name)
    return Street(table, "KR")


SPELL = Spell("north", 100, 10_000)
KNOWN = np.arange(200, 200 + 10 * 200, 10)


def test_attempts_are_counted_until_suggestions_leave(street):
    assert left_after(Learning(3), street, SPELL, KNOWN) == 3


def test_suggestions_that_never_leave_count_as_the_most(street):
    assert left_after(Learning(10**6), street, SPELL, KNOWN) == MOST


def test_a_route_that_was_not_suggested_is_not_left(street):
    assert left_after(Learning(0), street, SPELL, KNOWN) is None


class Wavering:
    def pass_to(self, until):
        pass

    def route(self, payment, routes, now, at):
        return "north" if at % 20 else "south"


def test_moves_count_between_quiet_moments_only(street):
    moments, calm = np.array([10, 20, 30, 40, 50]), np.ones(5, bool)
    assert moves(Wavering(), [street], moments, calm) == 4
    calm[2] = False
    assert moves(Wavering(), [street], moments, calm) == 2
    assert moves(Wavering(), [street], moments[::2], calm[::2] | True) == 0
