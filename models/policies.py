"""Policies: which of the ways that are open is taken, and with what probability.

A policy is given what may be done, the engine's own choice first, and answers with a probability for each. The choice is
drawn from them, so that what is logged as its propensity is exact. What a rule blocks is never among them.

`models/policy_names.py` finds a policy by its name, a merchant's own among them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol, runtime_checkable

from features.errors import BadInput, Fault
from models.fees import Fees

__all__ = [
    "CERTAIN",
    "LEAST_PROPENSITY",
    "Always",
    "Budget",
    "Decision",
    "Drawn",
    "Explore",
    "Greedy",
    "Learner",
    "Policy",
    "Rules",
    "Way",
    "chance",
    "draw",
]

LEAST_PROPENSITY = 0.01
"""Under this probability logs can judge no policy: no policy here takes a way with less, unless it is none at all."""

_SUMS_TO_1 = 1e-9


class Way(NamedTuple):
    """Something that may be done next. None is what is not known; `place` is how early the decision table has it.

    `success` is a probability, `value` what is to be expected of it in minor units of the currency.
    """

    action: str
    method: str
    route: str | None = None
    auth_flow: str | None = None
    wait_s: int = 0
    success: float | None = None
    value: float | None = None
    place: int = 0


@dataclass(frozen=True)
class Decision:
    """What there is to choose from at one moment, in microseconds since 1970: the engine's own choice comes first."""

    ways: Sequence[Way]
    country: str | None = None
    amount_minor: int | None = None
    at: int = 0


class Policy(Protocol):
    """Says how likely each way is taken."""

    @property
    def name(self) -> str:
        """What it is logged as."""

    def probabilities(self, decision: Decision) -> Sequence[float]:
        """One for each way, in their order; from 0, and 1 together."""


@runtime_checkable
class Learner(Policy, Protocol):
    """A policy that goes by what became of attempts: whoever keeps the outcomes tells it of each, once, as it becomes known."""

    def record(self, fields: Mapping[str, Any]) -> None:
        """An attempt that has ended: its columns, `outcome` and `resolved_at` (microseconds since 1970, UTC) among them."""


class Drawn(NamedTuple):
    """A choice: its place among the ways, how likely it was, and whether the likeliest first way was left for it."""

    place: int
    propensity: float
    explored: bool


CERTAIN = Drawn(0, 1.0, explored=False)
"""Where there was nothing to draw."""


@dataclass(frozen=True)
class Greedy:
    """Always the engine's own choice: the likeliest to succeed, but for the decision table's preference among equals."""

    name = "greedy"

    def probabilities(self, decision: Decision) -> Sequence[float]:
        """1 for the first."""
        return _all_on(0, decision)


@dataclass(frozen=True)
class Rules:
    """What the decision table prefers, whatever the model says; before an attempt: go on as it is."""

    name = "rules"

    def probabilities(self, decision: Decision) -> Sequence[float]:
        """1 for the way that comes first in the table, and waits least."""
        ways = decision.ways
        return _all_on(min(range(len(ways)), key=lambda i: (ways[i].place, ways[i].wait_s)), decision)


@dataclass(frozen=True)
class Explore:
    """The engine's own choice, but for a few per cent of decisions, taken evenly by ways nearly as good.

    `share`: how many decisions explore, where there is something to explore. `within`: how much less likely to succeed
    (or, where values are known, how much less worth, as a share of the amount) a way may be. No more ways are explored
    than leave each a propensity of 0.01.

    >>> ways = [Way("proceed", "card", success=0.7), Way("alternate_method", "wallet", success=0.68)]
    >>> Explore(share=0.04, within=0.05).probabilities(Decision(ways))
    [0.96, 0.04]
    """

    share: float = 0.04
    within: float = 0.05

    name = "explore"

    def __post_init__(self) -> None:
        _want("explore", "share", self.share, LEAST_PROPENSITY, 0.5)
        _want("explore", "within", self.within, 0.0, 1.0)

    def probabilities(self, decision: Decision) -> Sequence[float]:
        """The first has what exploration leaves; others that are nearly as good share `share`."""
        best = decision.ways[0]
        near = [i for i, way in enumerate(decision.ways) if i > 0 and self._near(way, best, decision.amount_minor)]
        near = near[: math.floor(self.share / LEAST_PROPENSITY + _SUMS_TO_1)]
        told = [0.0] * len(decision.ways)
        for i in near:
            told[i] = self.share / len(near)
        told[0] = 1.0 - self.share if near else 1.0
        return told

    def _near(self, way: Way, best: Way, amount: int | None) -> bool:
        if way.value is not None and best.value is not None and amount:
            return best.value - way.value <= self.within * amount
        if way.success is not None and best.success is not None:
            return best.success - way.success <= self.within
        return False


@dataclass(frozen=True)
class Always:
    """Always the same method, route or authentication, where that is open; elsewhere the engine's own choice."""

    method: str | None = None
    route: str | None = None
    auth_flow: str | None = None

    def __post_init__(self) -> None:
        if not self.pins:
            raise BadInput("policy", [Fault("always", "a pin, such as always:route=north", seen="always")])

    @property
    def name(self) -> str:
        """`always:` and what is pinned."""
        return "always:" + ",".join(f"{name}={value}" for name, value in self.pins.items())

    @property
    def pins(self) -> dict[str, str]:
        """What is pinned, by name."""
        return {known.name: value for known in fields(self) if (value := getattr(self, known.name)) is not None}

    def probabilities(self, decision: Decision) -> Sequence[float]:
        """Evenly over the ways that have all that is pinned."""
        fits = [all(getattr(way, name) == value for name, value in self.pins.items()) for way in decision.ways]
        return [fit / sum(fits) for fit in fits] if any(fits) else _all_on(0, decision)


@dataclass(frozen=True)
class Budget:
    """The most success for the fees: success probability less `price` times the fee to be expected.

    `price` is what one major unit of fee must bring, in probability; `training.policy_budget.border` finds the one at
    which the average fee keeps to a limit. Ways without a success probability are not weighed; those that no fee is named
    for cost nothing.
    """

    fees: Fees
    price: float

    name = "budget"

    def __post_init__(self) -> None:
        _want("budget", "price", self.price, 0.0, math.inf)

    def probabilities(self, decision: Decision) -> Sequence[float]:
        """1 for the best bargain; the first where nothing has a success probability."""
        worth = [self._worth(way) for way in decision.ways]
        return _all_on(max(range(len(worth)), key=worth.__getitem__), decision)

    def _worth(self, way: Way) -> float:
        if way.success is None:
            return -math.inf
        fee = self.fees.named(way.route, way.method)
        return way.success - (self.price * fee.expected(way.success) if fee is not None else 0.0)


def chance(*names: str, salt: str = "payrescue") -> float:
    """A number from 0 to 1, without 1, that looks random but is the same for the same names and salt.

    >>> chance("a1", "after") == chance("a1", "after") != chance("a1", "before")
    True
    """
    told = blake2b("\x1f".join(names).encode(), digest_size=8, key=salt.encode()[:64]).digest()
    return (int.from_bytes(told, "big") >> 11) / 2**53


def draw(probabilities: Sequence[float], u: float) -> Drawn:
    """The way that `u`, uniform from 0 to 1, falls on. Raises ValueError if they are no probabilities.

    >>> draw([0.96, 0.0, 0.04], 0.97)
    Drawn(place=2, propensity=0.04, explored=True)
    """
    told = [float(p) for p in probabilities]
    if not told or not all(0.0 <= p <= 1.0 for p in told) or abs(math.fsum(told) - 1.0) > _SUMS_TO_1:
        raise ValueError(f"{len(told)} numbers that are no probabilities, or do not sum to 1")
    reached = 0.0
    for place, p in enumerate(told):
        reached += p
        if u < reached:
            return Drawn(place, p, explored=place > 0)
    # Only where rounding left the sum a little under 1
    place = max(i for i, p in enumerate(told) if p > 0.0)
    return Drawn(place, told[place], explored=place > 0)


def _all_on(place: int, decision: Decision) -> list[float]:
    return [float(i == place) for i in range(len(decision.ways))]


def _want(policy: str, name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        upper = f" to {high:g}" if math.isfinite(high) else " or more"
        raise BadInput("policy", [Fault(f"{policy}:{name}", f"{low:g}{upper}", seen=f"{value:g}")])
