"""Whether the intervals of estimated gains hold the truth, which the simulator knows, and a plain comparison's do not.

In each world the hypotheses are those that its own attempts suggest. The same world is then simulated once more, asking for
every first attempt what would have become of it under each change. Truth: the mean of that, less what was so, over the
attempts that would change.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.report import Figure, at_least, at_most, publish
from features.attempts import check_attempts
from insights.measure import Measure
from insights.opportunities import Opportunity, compare, estimate, opportunities, promise, ranked
from insights.opportunities_backlog import Hypothesis
from insights.opportunities_firsts import Firsts, first_attempts
from insights.opportunities_found import found
from insights.opportunities_sides import matches
from training.simulator import simulate

__all__ = ["Judged", "figures", "judged", "share_that_hold"]

Array = npt.NDArray[Any]

WORLDS, PAYMENTS, MANY = 100, 30_000, 800_000
STORIES = ("gateway", "base", "outage")
NOW = datetime(2027, 1, 1, tzinfo=UTC)
GATEWAY = "auth_steps:KR:first_time:bank_transfer>quick_pay"
GATEWAYS = (GATEWAY, "auth_steps:TW:first_time:bank_transfer>quick_pay")


@dataclass(frozen=True)
class Judged:
    """An opportunity and the truth about it: the mean change of P(success) of its attempts."""

    told: Opportunity
    truth: float

    def holds(self, interval: Measure) -> bool:
        """Whether the truth is within."""
        return interval.low <= self.truth <= interval.high


def judged(seed: int, story: str, payments: int = PAYMENTS) -> list[Judged]:
    """Every opportunity that a world's attempts suggest, as ranked, with the truth."""
    from threadpoolctl import threadpool_limits

    firsts = _firsts(simulate(payments, seed, story).attempts)
    rng = np.random.default_rng(seed)
    asked, judging = found(firsts, rng)
    done = simulate(payments, seed, story, changes=[_change(firsts, one, payments, rng) for one in asked])
    would = done.would.pivot(index="attempt_id", columns="change", values="p_success")
    would = would.reindex(firsts.table["attempt_id"]).to_numpy()
    was = done.oracle.set_index("attempt_id")["p_success"].reindex(firsts.table["attempt_id"]).to_numpy()
    found_true = {}
    made = []
    with threadpool_limits(1):
        for place, one in enumerate(asked):
            sides = compare(firsts, one, judging, rng)
            if sides is None:
                continue
            mine = sides.rows[sides.question.before & (sides.weighted.w > 0.0)]
            made.append((estimate(firsts, one, sides, rng), promise(firsts, one, ~judging, rng)))
            found_true[one.id] = float(np.nanmean((would[:, place] - was)[mine]))
    return [Judged(one, found_true[one.id]) for one in ranked(made)]


def _firsts(attempts: Any) -> Firsts:
    return first_attempts(check_attempts(attempts, now=NOW, for_training=True), None)


def _change(firsts: Firsts, asked: Hypothesis, payments: int, rng: np.random.Generator) -> dict[str, Any]:
    """A hypothesis as the simulator takes it. What is a range becomes a draw of what attempts of that range have."""
    (column, value), *_ = asked.after.items()
    if not isinstance(value, dict):
        return {column: value}
    after = matches(firsts.table, asked.segment) & matches(firsts.table, asked.after)
    numbers, channel = firsts.numbers(column), firsts.values("channel")
    drawn = np.full(payments, np.nan)
    place = firsts.table["payment_id"].str.slice(2).astype(int).to_numpy()
    for name in np.unique(channel[after]):
        mine = channel == name
        drawn[place[mine]] = rng.choice(numbers[after & mine], int(mine.sum()))
    return {column: drawn}


def share_that_hold(told: Sequence[Judged], *, plain: bool = False) -> float:
    """The share of intervals that hold the truth: of the estimates, or of `plain` comparisons."""
    return float(np.mean([one.holds(one.told.naive if plain else one.told.gain) for one in told]))


def figures() -> list[Figure]:
    """Coverage over worlds, the gateway's place and size, and how long a million attempts take."""
    worlds = [judged(seed, STORIES[seed % len(STORIES)]) for seed in range(WORLDS)]
    return [*_of_coverage(worlds), *_of_gateway(worlds), *_of_speed()]


def _of_coverage(worlds: Sequence[Sequence[Judged]]) -> Iterator[Figure]:
    everything = [one for world in worlds for one in world]
    firsts = [world[0] for world in worlds]
    yield at_least(
        "first of the backlog: 95 % intervals that hold the truth", share_that_hold(firsts), "", 0.9,
        f"a plain comparison's: {share_that_hold(firsts, plain=True):.2f}; {len(firsts)} worlds",
    )  # fmt: skip
    yield at_least(
        "all of the backlog: 95 % intervals that hold the truth", share_that_hold(everything), "", 0.9,
        f"a plain comparison's: {share_that_hold(everything, plain=True):.2f}; {len(everything)} hypotheses",
    )  # fmt: skip
    for driver in sorted({one.told.driver for one in everything}):
        mine = [one for one in everything if one.told.driver == driver]
        off = np.mean([one.told.gain.value - one.truth for one in mine]) * 100.0
        naive = np.mean([one.told.naive.value - one.truth for one in mine]) * 100.0
        yield Figure(
            f"{driver}: intervals that hold the truth", share_that_hold(mine), "", None, None,
            f"a plain comparison's: {share_that_hold(mine, plain=True):.2f}; off by {off:+.2f} points on average, "
            f"plain {naive:+.2f}; {len(mine)} hypotheses",
        )  # fmt: skip


def _of_gateway(worlds: Sequence[Sequence[Judged]]) -> Iterator[Figure]:
    told = [world for place, world in enumerate(worlds) if STORIES[place % len(STORIES)] == "gateway"]
    leads = np.mean([world[0].told.id in GATEWAYS for world in told])
    yield at_least("gateway: worlds in which its passwords come first", float(leads), "", 0.9, f"{len(told)} worlds")
    first = [one for world in told for one in world if one.told.id == GATEWAY]
    yield Figure(
        "gateway: gain of skipping them in KR, first attempts", float(np.mean([one.told.gain.value for one in first])) * 100.0,
        "points", None, None, f"truth {np.mean([one.truth for one in first]) * 100.0:.1f}",
    )  # fmt: skip
    truth = _paid_in_the_end()
    # 28 days less the last, whose payments may still be tried again
    months = [(one.told.payments, truth * one.told.before.n * one.told.reached * 30.0 / 27.0) for one in first]
    hold = np.mean([told.low <= true <= told.high for told, true in months])
    yield Figure(
        "gateway: intervals of payments paid in the end that hold the truth", float(hold), "", None, None,
        f"truth: {truth * 100.0:.1f} points, from a world of {MANY:,} payments",
    )  # fmt: skip


def _paid_in_the_end() -> float:
    """How many more payments are paid in the end without the gateway: who skips it was drawn by lot."""
    firsts = _firsts(simulate(MANY, 1000, "gateway").attempts)
    first = matches(firsts.table, {"country": "KR", "first_time": True})
    paid = {
        name: firsts.paid[first & (firsts.values("method") == name)].mean() for name in ("bank_transfer", "quick_pay")
    }
    return float(paid["quick_pay"] - paid["bank_transfer"])


def _of_speed() -> Iterator[Figure]:
    attempts = check_attempts(simulate(MANY, 5, "gateway").attempts, now=NOW, for_training=True)
    began = time.perf_counter()
    made = opportunities(attempts, None, None, np.random.default_rng(0))
    yield at_most(f"{len(made)} opportunities from {len(attempts):,} attempts", time.perf_counter() - began, "s", 30.0)
    yield at_most(
        "memory at most, simulation included", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "GiB", 4.0
    )


if __name__ == "__main__":
    publish("opportunities", figures())
