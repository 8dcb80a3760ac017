"""Whether experiments are read as they promise: false positives, what is caught, what is found.

Tests are A/A tests on one simulated market: its payments, what was to be expected of each of them, and arms by the service's
own salted hash, another salt for each test. Each is read once at its end, and once a day.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.report import Figure, at_least, at_most, publish
from features.attempts import check_attempts
from insights.experiment_covariate import expected_beforehand
from insights.experiment_effect import Moments, always_valid, compared
from insights.experiment_health import UNEVEN, sample_ratio
from insights.experiment_plan import sample_size
from insights.experiment_sequential import FEWEST
from insights.experiment_units import DAY_US, payments_of
from insights.experiments import TUNED_FOR
from serving.experiments import place
from training.simulator import simulate

__all__ = ["Tested", "caught", "false_positives", "figures", "found_share", "traffic"]

Array = npt.NDArray[Any]

TESTS, PAYMENTS, IMBALANCED = 1000, 40_000, 200_000
NOW = datetime(2027, 1, 1, tzinfo=UTC)


class Tested(NamedTuple):
    """Payments of three weeks: whether each was paid, what was to be expected of it, the day it began on, its id."""

    paid: Array
    expected: Array
    day: Array
    payment_id: Array


class Rates(NamedTuple):
    """Shares of A/A tests that show something: at the end, adjusted too, and on some day by each interval."""

    fixed: float
    adjusted: float
    daily: float
    daily_fixed: float


def traffic(payments: int, seed: int) -> Tested:
    """Three weeks of a simulated market, after a week to learn from what is to be expected."""
    attempts = check_attempts(simulate(payments, seed).attempts, now=NOW, for_training=True)
    told = payments_of(attempts)
    begins = told.begun.min() + 7 * DAY_US
    tested, earlier = told.ripe & (told.begun >= begins), told.ripe & (told.begun < begins - DAY_US)
    expected = expected_beforehand(
        attempts, told.first, told.values["paid"], earlier, tested, np.random.default_rng(seed)
    )
    if expected is None:
        raise ValueError("too few payments to learn from")
    return Tested(
        told.values["paid"][tested], expected, (told.begun[tested] - begins) // DAY_US, told.payment_id[tested]
    )


def false_positives(tested: Tested, tests: int) -> Rates:
    """How often A/A tests show an effect that is not there."""
    ends = np.searchsorted(tested.day, np.arange(int(tested.day.max()) + 1), side="right")
    shown = np.zeros((tests, 4), bool)
    for test in range(tests):
        arm = np.array([place(f"aa-{test}", payment) < 0.5 for payment in tested.payment_id], bool)
        for end in ends:
            sides = [_moments(tested, side, end) for side in (~arm, arm)]
            if min(side.n for side in sides) < FEWEST:
                continue
            adjusted = compared(*sides, adjusted=True)
            valid = always_valid(adjusted, TUNED_FOR)
            shown[test, 2] |= valid.low > 0.0 or valid.high < 0.0
            shown[test, 3] |= adjusted.p_value < 0.05
        shown[test, 0], shown[test, 1] = compared(*sides).p_value < 0.05, adjusted.p_value < 0.05
    return Rates(*shown.mean(axis=0).tolist())


def _moments(tested: Tested, side: Array, end: int) -> Moments:
    mine = side[:end]
    return Moments.of(tested.paid[:end][mine], tested.expected[:end][mine])


def caught(share: float, payments: int, tests: int, seed: int) -> float:
    """How often arms meant to be equal are called uneven where one has that share of the payments."""
    counts = np.random.default_rng(seed).binomial(payments, share, tests)
    even = np.array([0.5, 0.5])
    return float(np.mean([sample_ratio(np.array([n, payments - n], float), even) < UNEVEN for n in counts]))


def found_share(baseline: float, effect: float, tests: int, seed: int) -> float:
    """How often a test of the planned size shows the effect that it was planned for."""
    rng = np.random.default_rng(seed)
    each = sample_size(baseline, effect, {"a": 0.5, "b": 0.5}, power=0.8, alpha=0.05) // 2
    wins = [rng.binomial(each, rate, tests) / each for rate in (baseline, baseline + effect)]

    def moments(rate: float) -> Moments:
        return Moments(each, rate, rate * (1.0 - rate) * each / (each - 1))

    return float(np.mean([compared(moments(a), moments(b)).difference.low > 0.0 for a, b in zip(*wins, strict=True)]))


def figures() -> list[Figure]:
    """The promises of the read-out, and of the plan."""
    return [*_of_nothing(), *_of_something()]


def _of_nothing() -> Iterator[Figure]:
    tested = traffic(PAYMENTS, 1)
    rates = false_positives(tested, TESTS)
    told = f"{TESTS:,} A/A tests of {len(tested.paid):,} payments"
    for name, rate in (("", rates.fixed), (", adjusted", rates.adjusted)):
        yield Figure(
            f"A/A tests that show an effect, read once{name}", rate, "", "0.035 to 0.065", 0.035 <= rate <= 0.065, told
        )
    yield at_most(
        f"A/A tests that show an effect on one of {int(tested.day.max()) + 1} days", rates.daily, "", 0.05,
        f"the fixed interval, read as often: {rates.daily_fixed:.3f}",
    )  # fmt: skip
    yield Figure(
        "sound arms called uneven", caught(0.5, IMBALANCED, 20_000, 2), "", None, None, f"p < {UNEVEN:g}"
    )  # fmt: skip


def _of_something() -> Iterator[Figure]:
    yield at_least(
        f"50.5 % instead of 50 % of {IMBALANCED:,}: caught", caught(0.505, IMBALANCED, 20_000, 3), "", 0.95,
        f"51 %: {caught(0.51, IMBALANCED, 20_000, 4):.3f}",
    )  # fmt: skip
    power = found_share(0.85, 0.01, 4000, 5)
    yield Figure(
        "tests of the planned size that find the effect",
        power,
        "",
        "0.78 to 0.82",
        0.78 <= power <= 0.82,
        "+1 point at 85 %",
    )


if __name__ == "__main__":
    publish("experiments", figures())
