"""Whether estimates of policies from logs can be believed, and what policies for a shop's processors are worth.

Coverage is over worlds whose propensities and success probabilities are known: situations and options drawn anew for each, one
to three decisions a payment that share part of their luck. The shop's processors were drawn by chance with known shares; policies
learn from the earlier three quarters of its month and are judged by first attempts of the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.report import Figure, at_least, at_most, publish
from features.attempts import read_attempts
from models.fees import read_fees
from training.metrics import Estimate
from training.policy_evaluate import PolicyQuestion, evaluate_policies
from training.policy_value import ESTIMATORS, doubt_of, estimates, weigh

__all__ = ["KnownWorld", "covered", "figures", "known_world"]

Array = npt.NDArray[Any]

WORLDS, RESAMPLES = 200, 500
SITUATIONS, OPTIONS, FOLDS = 6, 4, 5
SHOP = Path("..", "shared", "data", "shop_attempts.csv")
MAPPING, FEES = Path("examples", "shop_attempts.yaml"), Path("examples", "shop_fees.yaml")
NOW = datetime(2026, 6, 1, tzinfo=UTC)
PROCESSORS = ("Goldcard", "Moneycard", "UK_Card", "Simplecard")


@dataclass(frozen=True)
class KnownWorld:
    """Logged decisions of a world in which everything is known, and a policy to judge.

    `payment`, `situation`, `done` and `success` have shape (n,); `rates`, `propensity` and `policy`, (situations, options):
    P(success), the logged policy's probabilities and those of the policy; `value` is what that one really earns.
    """

    payment: Array
    situation: Array
    done: Array
    success: Array
    rates: Array
    propensity: Array
    policy: Array

    @property
    def value(self) -> float:
        """Mean success of the policy, situations being equally likely."""
        return float((self.policy * self.rates).sum(axis=1).mean())


def known_world(seed: int, payments: int = 1500, least: float = 0.06) -> KnownWorld:
    """A world and a log of it. No option has a propensity under `least`; nine decisions in ten of the policy are fixed."""
    rng = np.random.default_rng(seed)
    rates = rng.beta(2.0, 3.0, (SITUATIONS, OPTIONS))
    propensity = rng.dirichlet(np.full(OPTIONS, 1.5), SITUATIONS) * (1.0 - OPTIONS * least) + least
    policy = np.full((SITUATIONS, OPTIONS), 0.1 / OPTIONS)
    policy[np.arange(SITUATIONS), rng.integers(0, OPTIONS, SITUATIONS)] += 0.9
    payment = np.repeat(np.arange(payments), rng.choice([1, 2, 3], payments, p=[0.7, 0.2, 0.1]))
    n = len(payment)
    situation = rng.integers(0, SITUATIONS, payments)[payment]
    done = (rng.random(n)[:, None] > propensity[situation].cumsum(axis=1)).sum(axis=1).clip(max=OPTIONS - 1)
    luck = np.where(rng.random(n) < 0.4, rng.random(payments)[payment], rng.random(n))
    success = (luck < rates[situation, done]).astype(float)
    return KnownWorld(payment, situation, done, success, rates, propensity, policy)


def judged(world: KnownWorld, resamples: int = RESAMPLES) -> dict[str, Estimate] | None:
    """The estimates of the world's policy; None where they are refused."""
    row, done = world.situation, world.done
    weighed = weigh(world.policy[row, done], world.propensity[row, done], world.payment)
    if doubt_of(weighed) is not None:
        return None
    expected = _rates_unseen(world)
    of_policy = (world.policy[row] * expected).sum(axis=1)
    return estimates(weighed, world.success, of_policy, expected[np.arange(len(row)), done], resamples=resamples)


def _rates_unseen(world: KnownWorld) -> Array:
    """Success rates of each decision's situation by option, from payments of other folds, shape (n, options)."""
    found = np.empty((len(world.done), OPTIONS))
    cell = world.situation * OPTIONS + world.done
    for fold in range(FOLDS):
        mine = world.payment % FOLDS == fold
        hits = np.bincount(cell[~mine], world.success[~mine], SITUATIONS * OPTIONS)
        total = np.bincount(cell[~mine], minlength=SITUATIONS * OPTIONS)
        rates = (hits + 3.0 * world.success[~mine].mean()) / (total + 3.0)
        found[mine] = rates.reshape(SITUATIONS, OPTIONS)[world.situation[mine]]
    return found


def covered(seeds: range, resamples: int = RESAMPLES) -> tuple[dict[str, float], int]:
    """In what share of worlds each estimator's interval holds the true value, and in how many there was an estimate."""
    hits, worlds = dict.fromkeys(ESTIMATORS, 0), 0
    for seed in seeds:
        world = known_world(seed)
        found = judged(world, resamples)
        if found is None:
            continue
        worlds += 1
        for name, estimate in found.items():
            hits[name] += estimate.low <= world.value <= estimate.high
    return {name: count / max(worlds, 1) for name, count in hits.items()}, worlds


def figures() -> list[Figure]:
    """Coverage, then the shop where its file is there."""
    return [*of_worlds(), *(of_shop() if SHOP.is_file() else [])]


def of_worlds() -> Iterator[Figure]:
    """How often 95 % intervals hold what they promise."""
    shares, worlds = covered(range(WORLDS))
    for name, share in shares.items():
        yield Figure(
            f"{name}: 95 % intervals that hold the true value", share, "", "0.93 to 0.97", 0.93 <= share <= 0.97,
            f"{worlds} worlds with an estimate; by chance ± {1.96 * np.sqrt(0.95 * 0.05 / max(worlds, 1)):.3f}",
        )  # fmt: skip


def of_shop() -> list[Figure]:
    """Policies for the shop's processors, judged by the last quarter of its month; its next month is not to be had."""
    table = read_attempts(SHOP, MAPPING, now=NOW, for_training=True)
    question = PolicyQuestion(chosen=("route",), first=True, last=0.25, fees=read_fees(FEES))
    fixed = [f"always:route={name}" for name in PROCESSORS]
    asked = [*fixed, "success_rate", "greedy", "budget:fee=2.9", "budget:success=0.21"]
    found = evaluate_policies(table, asked, question)
    policies, n = found["policies"], found["decisions"]
    value = {
        name: {reward: told[reward]["snips"]["value"] for reward in ("success", "fee")}
        for name, told in policies.items()
    }
    paid = [_who_got(table, question, name) for name in PROCESSORS]
    inside = sum(low <= value[name]["success"] <= high for name, (low, high) in zip(fixed, paid, strict=True))
    best = max(fixed, key=lambda name: value[name]["success"])

    def of(name: str) -> str:
        return f"{name}: {value[name]['success']:.3f} at a fee of {value[name]['fee']:.2f}"

    rivals = "; ".join([of(best), of("success_rate"), of("logged")])

    def between(name: str, reward: str) -> str:
        told = policies[name][reward]["snips"]
        return f"[{told['low']:.3f}, {told['high']:.3f}]"

    cheap, dear, frugal = "budget:fee=2.9", "greedy", "budget:success=0.21"
    return [
        at_least("shop: `always X` within the interval of those who got X, of four", float(inside), "", 4.0, f"{n:,} decisions"),
        at_least("shop: success with no fee limit", value[dear]["success"], "", 0.47, f"{between(dear, 'success')}; {rivals}"),
        at_least(
            "shop: success at a fee of 2.9 at most", value[cheap]["success"], "", 0.36,
            f"{between(cheap, 'success')} at a fee of {value[cheap]['fee']:.2f}",
        ),
        at_most(
            "shop: fee at a success of 0.21", value[frugal]["fee"], "EUR", 0.85,
            f"{between(frugal, 'fee')} at a success of {value[frugal]['success']:.3f}; {of('logged')}",
        ),
    ]  # fmt: skip


def _who_got(table: Any, question: PolicyQuestion, processor: str) -> tuple[float, float]:
    """The 95 % interval (Wilson's) of the success rate of the judged first attempts that a processor got."""
    ordered = table.sort_values("created_at", kind="stable")
    first = ordered[~ordered["payment_id"].duplicated()]
    begun = first["created_at"].to_numpy("datetime64[us]").astype(np.int64)
    late = first[begun >= np.quantile(begun, 1.0 - (question.last or 1.0))]
    mine = (late.loc[late["route"] == processor, "outcome"] == "success").to_numpy()
    n, rate, z = len(mine), mine.mean(), 1.96
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return float(middle - half), float(middle + half)


if __name__ == "__main__":
    publish("policies", figures())
