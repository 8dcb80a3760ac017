"""Hypotheses that the data suggests: changes that were tried often enough, on both sides, and went with more success.

The screen is rough on purpose: differences within strata of first-time payers and channel. What passes it is estimated, from
other customers' attempts: those that suggest a hypothesis would flatter it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from insights.opportunities_backlog import Hypothesis
from insights.opportunities_firsts import Firsts
from insights.opportunities_sides import FIRST_TIME, Side, matches

__all__ = ["FEWEST", "ON_THE_CUSTOMER", "found", "screened"]

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

ON_THE_CUSTOMER = frozenset({"form_errors", "form_seconds", "network_rtt_ms"})
"""Drivers that checkout cannot set: what happens on the customer's side of the page."""

FEWEST = 20
"""First attempts on each side of a change, of those that suggest it, below which it is not looked at."""

_SUGGESTS = 1.0 / 3.0
_FEWER_STEPS = 3.0  # so many passwords less, and it is they that the change is about
_SLOWEST, _TYPICAL = 0.75, 0.5  # a quarter of the attempts is slow; half of them are typical or better
_MOST_OF_CHECKOUT, _MOST_OF_CUSTOMERS = 10, 5  # more than anyone will test in a quarter
_LONG = {"form_seconds": "time on the form", "network_rtt_ms": "network round trips"}


@dataclass(frozen=True)
class _Try:
    """A hypothesis before it has its words: and its two sides."""

    hypothesis: Hypothesis
    before: Mask
    after: Mask


def found(firsts: Firsts, rng: np.random.Generator) -> tuple[list[Hypothesis], Mask]:
    """Hypotheses, the most promising first, and which first attempts (mask) had no part in suggesting them.

    At most ten that checkout decides, and five of the customers' side. A third of the customers suggests them.
    """
    if not len(firsts):
        return [], np.ones(0, bool)
    codes = np.unique(firsts.customer, return_inverse=True)[1]
    suggests = (rng.random(int(codes.max()) + 1) < _SUGGESTS)[codes]
    return _suggested(firsts.part(suggests)), ~suggests


def _suggested(firsts: Firsts) -> list[Hypothesis]:
    strata = _strata(firsts)
    tried = [(_screen(firsts, strata, one), one.hypothesis) for one in _tries(firsts, strata)]
    promising = sorted((pair for pair in tried if pair[0] > 0.0), key=lambda pair: -pair[0])
    checkout = [one for _, one in promising if one.driver not in ON_THE_CUSTOMER]
    customers = [one for _, one in promising if one.driver in ON_THE_CUSTOMER]
    return [*checkout[:_MOST_OF_CHECKOUT], *customers[:_MOST_OF_CUSTOMERS]]


def _strata(firsts: Firsts) -> Array:
    """First-time or returning, and channel, as an integer."""
    channel = np.unique(firsts.values("channel"), return_inverse=True)[1]
    codes: Array = channel * 2 + (firsts.numbers("prior_payments") == 0)
    return codes


def screened(success: Array, strata: Array, before: Mask, after: Mask) -> tuple[float, float]:
    """Difference of success rates within strata, for the attempts `before`, and its standard error."""
    k = int(strata.max()) + 1
    n_before, n_after = np.bincount(strata[before], minlength=k), np.bincount(strata[after], minlength=k)
    both = (n_before > 0) & (n_after > 1)
    if not both.any():
        return 0.0, float("inf")
    rate_before = np.bincount(strata[before], success[before], k)[both] / n_before[both]
    rate_after = np.bincount(strata[after], success[after], k)[both] / n_after[both]
    share = n_before[both] / n_before[both].sum()
    p, q = (
        (rate_before * n_before[both] + 0.5) / (n_before[both] + 1),
        (rate_after * n_after[both] + 0.5) / (n_after[both] + 1),
    )
    variance = (share**2 * (p * (1 - p) / n_before[both] + q * (1 - q) / n_after[both])).sum()
    return float((share * (rate_after - rate_before)).sum()), float(np.sqrt(variance))


def _screen(firsts: Firsts, strata: Array, one: _Try) -> float:
    """Attempts that a change would turn, by the low end of its rough 95 % interval; 0 where a side has too few."""
    if min(one.before.sum(), one.after.sum()) < FEWEST:
        return 0.0
    value, error = screened(firsts.success, strata, one.before, one.after)
    return (value - 1.96 * error) * float(one.before.sum())


def _tries(firsts: Firsts, strata: Array) -> Iterator[_Try]:
    country, method = firsts.values("country"), firsts.values("method")
    for place in _members(country, np.ones(len(firsts), bool)):
        here = country == place
        yield from _fewer_steps(firsts, strata, place, here)
        for means in _members(method, here):
            mine = here & (method == means)
            where: Side = {"country": place, "method": means}
            yield from _best_of(firsts, strata, where, mine, "route")
            yield from _best_of(firsts, strata, where, mine, "auth_flow")
            yield from _switched_on(firsts, where, mine)
        yield from _of_customers(firsts, {"country": place}, here)


def _members(values: Array, among: Mask) -> list[str]:
    """Values that enough attempts have, but for the missing one."""
    names, counts = np.unique(values[among], return_counts=True)
    return [str(name) for name, count in zip(names, counts, strict=True) if name and count >= FEWEST]


def _best_of(firsts: Firsts, strata: Array, where: Side, mine: Mask, column: str) -> Iterator[_Try]:
    """From each value of a column to the one that goes with most success."""
    values = firsts.values(column)
    names = _members(values, mine)
    if len(names) < 2:
        return
    best = _best(firsts, strata, {name: mine & (values == name) for name in names})
    words = {"route": "Send it over {} instead of {}", "auth_flow": "Authenticate by {} instead of {}"}[column]
    for name in names:
        if name != best:
            yield _a_try(
                firsts, _id(column, where, f"{name}>{best}"), column, where, {column: name}, {column: best},
                words.format(best, name),
            )  # fmt: skip


def _best(firsts: Firsts, strata: Array, sides: dict[str, Mask]) -> str:
    """The side with most success, each against all of them together, within strata."""
    everyone = np.logical_or.reduce(list(sides.values()))
    gains = {name: screened(firsts.success, strata, everyone, side) for name, side in sides.items()}
    return max(gains, key=lambda name: gains[name][0] - gains[name][1])


def _fewer_steps(firsts: Firsts, strata: Array, place: str, here: Mask) -> Iterator[_Try]:
    """From a way to pay with many passwords to one with few, for first-time payers and for those who return."""
    method, steps = firsts.values("method"), firsts.numbers("auth_steps")
    first = firsts.numbers("prior_payments") == 0
    for is_first, who in ((True, first), (False, ~first)):
        mine = here & who & ~np.isnan(steps)
        asked = {name: float(np.median(steps[mine & (method == name)])) for name in _members(method, mine)}
        for name, many in asked.items():
            easier = {other: mine & (method == other) for other, few in asked.items() if few <= many - _FEWER_STEPS}
            if easier:
                best = _best(firsts, strata, easier)
                where: Side = {"country": place, FIRST_TIME: is_first}
                yield _a_try(
                    firsts, _id("auth_steps", where, f"{name}>{best}"), "auth_steps", where,
                    {"method": name}, {"method": best},
                    f"Skip the passwords of {_words(name)} ({_span(steps[mine & (method == name)])} steps): "
                    f"offer {_words(best)} ({_span(steps[mine & (method == best)])})",
                )  # fmt: skip


def _switched_on(firsts: Firsts, where: Side, mine: Mask) -> Iterator[_Try]:
    """A credential on file for those who return; a network token for stored cards."""
    returning: Side = {**where, FIRST_TIME: False}
    yield _a_try(
        firsts, _id("stored", returning, "on"), "stored", returning, {"stored": False}, {"stored": True},
        "Offer to keep the credential on file, and pay by it",
    )  # fmt: skip
    kept: Side = {**where, "stored": True}
    if firsts.values("network_token")[mine].any():
        yield _a_try(
            firsts, _id("network_token", kept, "on"), "network_token", kept, {"network_token": False},
            {"network_token": True}, "Pay by a network token instead of the card number",
        )  # fmt: skip


def _of_customers(firsts: Firsts, where: Side, here: Mask) -> Iterator[_Try]:
    """What happens on the customer's side of the page."""
    yield _a_try(
        firsts, _id("form_errors", where, "none"), "form_errors", where, {"form_errors": {"from": 1}}, {"form_errors": 0},
        "Remove what makes the form show errors",
    )  # fmt: skip
    for column, words in _LONG.items():
        values = firsts.numbers(column)[here]
        if np.isnan(values).all():
            continue
        slow, typical = (round(float(np.nanquantile(values, share)), 1) for share in (_SLOWEST, _TYPICAL))
        yield _a_try(
            firsts, _id(column, where, "typical"), column, where, {column: {"from": slow}}, {column: {"to": typical}},
            f"Bring long {words} ({slow:g} or more) to what half of the attempts have ({typical:g} or less)",
        )  # fmt: skip


def _a_try(firsts: Firsts, name: str, driver: str, where: Side, before: Side, after: Side, words: str) -> _Try:
    segment = matches(firsts.table, where)
    return _Try(
        Hypothesis(name, driver, where, before, after, words),
        segment & matches(firsts.table, before), segment & matches(firsts.table, after),
    )  # fmt: skip


def _id(column: str, where: Side, change: str) -> str:
    told = [value if isinstance(value, str) else name if value else f"not_{name}" for name, value in where.items()]
    return ":".join([column, *told, change])


def _words(name: str) -> str:
    return name.replace("_", " ")


def _span(steps: Array) -> str:
    low, high = np.quantile(steps, (0.05, 0.95), method="nearest").tolist()
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
