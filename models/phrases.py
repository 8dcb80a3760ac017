"""What speaks for one candidate against another, in plain words: a sentence for each kind of reason, or none.

Each sentence is about what differs between the two, and true of it: shares are of past attempts, older ones counting less,
and a count of what fades is told as "or more".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any, NamedTuple, Protocol

__all__ = ["KINDS", "Seen", "Side", "told_by"]

_FEWEST = 20.0  # attempts behind a share; of fewer it would say little
_STREAK = 2
_EXACT = 1e-6
_STRENGTH = {"none": 0, "frictionless": 1, "challenge": 2, "redirect": 2}


class Seen(NamedTuple):
    """Past attempts of something: how many succeeded, how many there were, both faded by age; technical failures in a row."""

    succeeded: float
    attempts: float
    streak: int

    @property
    def share(self) -> float:
        """How many of them succeeded; 0 to 1."""
        return self.succeeded / self.attempts


class Pasts(Protocol):
    """Past attempts, by what they are of."""

    def get(self, kind: str, /) -> Seen | None:
        """By all, issuer, route, method or customer_method; None where nothing was ever known."""


class Tries(Protocol):
    """The payment's earlier tries, by what they have in common with a candidate."""

    def __getitem__(self, name: str, /) -> int:
        """By method, route or way."""


class Attempt(Protocol):
    """The attempt that a candidate would be."""

    @property
    def method(self) -> str:
        """How it pays."""

    @property
    def created(self) -> int:
        """When it would begin, in microseconds since 1970."""

    def get(self, name: str, /) -> Any:
        """Another column; None where missing."""


class Side:
    """One of two candidates: the attempt that it would be; what is known of its past; the payment's earlier tries."""

    __slots__ = ("attempt", "method", "seen", "tries", "value")

    def __init__(self, attempt: Attempt, seen: Pasts, tries: Tries) -> None:
        self.attempt, self.seen, self.tries = attempt, seen, tries
        self.method, self.value = attempt.method, attempt.get  # asked for again and again


def told_by(kind: str, ours: Side, theirs: Side) -> str | None:
    """What this kind of reason can say for `ours` against `theirs`; None where it has nothing to say."""
    return KINDS[kind](ours, theirs)


def _payment(ours: Side, theirs: Side) -> str | None:
    if ours.method != theirs.method:
        tried, ours_tried = theirs.tries["method"], ours.tries["method"]
        if tried and not ours_tried:
            return f"this payment was tried {_times(tried)} by {theirs.method}, not yet by {ours.method}"
        return None
    for name, column, by in (("route", "route", "over"), ("way", "auth_flow", "with authentication")):
        one, other = ours.value(column), theirs.value(column)
        if one and other and one != other and theirs.tries[name] and not ours.tries[name]:
            return f"this payment was tried {_times(theirs.tries[name])} {by} {other}, not yet {by} {one}"
    return None


def _customer(ours: Side, theirs: Side) -> str | None:
    if ours.method == theirs.method:
        return None
    mine, other = ours.seen.get("customer_method"), theirs.seen.get("customer_method")
    if mine is not None and mine.succeeded > _EXACT and mine.attempts - mine.succeeded < _EXACT * mine.attempts:
        if not ours.tries["method"]:
            n = ceil(mine.succeeded - _EXACT)
            how = f": {n} or more of them" if n > 1 else ""
            return f"all of this customer's {ours.method} payments so far went through{how}"
        return None
    if other is not None and other.attempts > _EXACT and other.succeeded < _EXACT * other.attempts:
        return f"none of this customer's {theirs.method} payments so far went through"
    return None


def _route(ours: Side, theirs: Side) -> str | None:
    one, other = ours.value("route"), theirs.value("route")
    if other is None or one == other:
        return None
    theirs_seen = theirs.seen.get("route")
    if theirs_seen is not None and theirs_seen.streak >= _STREAK:
        return f"{other} has had {theirs_seen.streak} technical failures in a row"
    return _shares(ours, theirs, "route", f"over {one}", f"over {other}") if one is not None else None


def _issuer(ours: Side, theirs: Side) -> str | None:
    if theirs.value("issuer") is None or ours.value("issuer") == theirs.value("issuer"):
        return None
    expiry = theirs.value("card_months_to_expiry")
    if expiry is not None and expiry < 0.0:
        return "the card has expired"
    abroad, merchant = theirs.value("issuer_country"), theirs.value("merchant_country")
    if abroad is not None and merchant is not None and abroad != merchant:
        return f"the card was issued abroad, in {abroad}"
    seen, everything = theirs.seen.get("issuer"), theirs.seen.get("all")
    if seen is None or everything is None:
        return None
    if seen.streak >= _STREAK:
        return f"the card's issuer has had {seen.streak} technical failures in a row"
    if seen.attempts >= _FEWEST and round(seen.share, 2) < round(everything.share, 2):
        return f"{seen.share:.0%} of recent attempts with this card's issuer went through, of all attempts {everything.share:.0%}"
    return None


def _method(ours: Side, theirs: Side) -> str | None:
    if ours.method == theirs.method:
        return None
    return _shares(ours, theirs, "method", f"by {ours.method}", f"by {theirs.method}", where=" in this country")


def _authentication(ours: Side, theirs: Side) -> str | None:
    steps, other_steps = ours.value("auth_steps"), theirs.value("auth_steps")
    if steps is not None and other_steps is not None and steps < other_steps:
        return f"the customer has {_steps(steps)} to confirm by, instead of {other_steps}"
    flow, other_flow = ours.value("auth_flow"), theirs.value("auth_flow")
    if flow is None or other_flow is None or flow == other_flow:
        return None
    if _STRENGTH[flow] > _STRENGTH[other_flow]:
        return f"it is authenticated: {flow}, not {other_flow}"
    return f"it has less to authenticate: {flow}, not {other_flow}"


def _stored(ours: Side, theirs: Side) -> str | None:
    if ours.value("stored") and not theirs.value("stored"):
        return f"this customer's {ours.method} is on file"
    return None


def _wait(ours: Side, theirs: Side) -> str | None:
    minutes = round((ours.attempt.created - theirs.attempt.created) / 6e7)
    return f"{minutes} minutes will have passed" if minutes > 0 else None


KINDS: Mapping[str, Callable[[Side, Side], str | None]] = {
    "payment": _payment,
    "customer": _customer,
    "route": _route,
    "issuer": _issuer,
    "method": _method,
    "authentication": _authentication,
    "stored": _stored,
    "wait": _wait,
}
"""The kinds of reasons, by name."""


def _shares(ours: Side, theirs: Side, kind: str, one: str, other: str, where: str = "") -> str | None:
    """That more of the attempts of one went through than of the other, if so, and if there were enough."""
    mine, other_seen = ours.seen.get(kind), theirs.seen.get(kind)
    if mine is None or other_seen is None or min(mine.attempts, other_seen.attempts) < _FEWEST:
        return None
    if round(mine.share, 2) <= round(other_seen.share, 2):
        return None
    return f"{mine.share:.0%} of recent attempts {one}{where} went through, {other} {other_seen.share:.0%}"


def _times(n: int) -> str:
    return {1: "once", 2: "twice"}.get(n, f"{n} times")


def _steps(n: int) -> str:
    return {0: "nothing", 1: "1 step"}.get(n, f"{n} steps")
