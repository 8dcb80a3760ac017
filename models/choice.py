"""Which of the things that can be done next is best: screened by the rules first, then ranked by expected value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import msgspec

from models.actions import MEANS_ACTIONS, DecisionTable, Plan, Row, Step, amounts_to
from models.means import MEANS
from models.rules_standing import Standing

__all__ = ["Blocked", "Option", "best", "first_step", "own_means", "ranked", "screen", "screen_before"]


class Option(msgspec.Struct, frozen=True, gc=False):
    """Something that can be done next. `candidate` is None for what is not the checkout's to carry out.

    `success` is a probability, `value` what is to be expected of it in minor units (`models.value`); both None without a
    model. `place` is where the model's answers have it, and `evidence` says in words what they rest on, where they say it.
    """

    action: str
    candidate: Row | None
    wait_s: int = 0
    success: float | None = None
    value: float | None = None
    evidence: str | None = None
    place: int | None = None

    @property
    def candidate_id(self) -> str | None:
        """The candidate's id; None for an option that the request did not name."""
        return self.candidate.get("candidate_id") if self.candidate is not None else None


class Blocked(msgspec.Struct, frozen=True, gc=False):
    """A candidate that a rule forbids."""

    candidate_id: str | None
    rule: str
    edition: str
    because: str


def screen(
    attempt: Row,
    candidates: Sequence[Row],
    standing: Standing,
    plan: Plan,
    table: DecisionTable,
    *,
    firm: bool,
) -> tuple[list[Option], list[Blocked]]:
    """What may be done after a failure, and what may not, both in the candidates' order.

    What the rules forbid, for what codes said of a credential or for how often it was declined, always holds. What the
    table forbids for a reason holds where the reason is `firm`, not where it is a guess.
    """
    allowed: list[Option] = []
    blocked: list[Blocked] = []
    for candidate in candidates:
        ban = standing.against(candidate)
        if ban is not None:
            blocked.append(Blocked(candidate.get("candidate_id"), *ban))
            continue
        traits = amounts_to(attempt, candidate)
        never = next((plan.never[trait] for trait in traits if trait in plan.never), None) if firm else None
        if never is not None:
            blocked.append(Blocked(candidate.get("candidate_id"), never.rule, table.edition, never.because))
        else:
            action = (plan.stand_in or "retry_same") if traits[0] == "retry_same" else traits[0]
            allowed.append(Option(action, candidate, ceil(candidate.get("wait_s") or 0)))
    return allowed, blocked


def screen_before(
    attempt: Row, candidates: Sequence[Row], standing: Standing
) -> tuple[list[Option], list[Blocked], Blocked | None]:
    """What may be done instead of an attempt, what may not, and what forbids the attempt itself, if anything does."""
    allowed: list[Option] = []
    blocked: list[Blocked] = []
    for candidate in candidates:
        ban = standing.against(candidate)
        if ban is not None:
            blocked.append(Blocked(candidate.get("candidate_id"), *ban))
        else:
            action = amounts_to(attempt, candidate)[0]
            named = "proceed" if action == "retry_same" else action
            allowed.append(Option(named, candidate, ceil(candidate.get("wait_s") or 0)))
    own = standing.against(own_means(attempt))
    return allowed, blocked, Blocked(None, *own) if own is not None else None


def own_means(attempt: Row) -> dict[str, Any]:
    """The attempt's own means, as a candidate without an id."""
    return {name: attempt[name] for name in MEANS if attempt.get(name) is not None}


def ranked(options: Sequence[Option], plan: Plan | None) -> list[Option]:
    """Options, best first: by expected value where there is one, else as the plan prefers."""

    def rank(option: Option) -> tuple[float, int, int]:
        place = plan.places[option.action] if plan is not None else 0
        return (-option.value if option.value is not None else 0.0, place, option.wait_s)

    return sorted(options, key=rank)


def best(options: Sequence[Option], plan: Plan, tie: float) -> Option:
    """The most valuable; of those within `tie` (minor units) of it, what the plan prefers, and what waits least."""
    worth = [option.value or 0.0 for option in options]
    floor = max(worth) - tie
    close = [option for option, value in zip(options, worth, strict=True) if value >= floor]
    return min(close, key=lambda option: (plan.places[option.action], option.wait_s, -(option.value or 0.0)))


def first_step(plan: Plan, options: Sequence[Option] | None, attempt: Row, standing: Standing) -> tuple[Step, Option]:
    """What the plan alone says to do, without any probability.

    `options` is what may be done; None where checkout did not say what it can do, so that anything may be.
    """
    ours: Mapping[str, Any] = own_means(attempt)
    for step in plan.steps:
        if step.action in MEANS_ACTIONS:
            if options is not None:
                found = next((option for option in options if option.action == step.action), None)
            else:
                found = _unnamed(step, ours, plan, standing)
        elif step.action == plan.stand_in:
            found = next((option for option in options or () if option.action == step.action), None)
            if found is None and standing.allows(step.action, ours):
                found = Option(step.action, ours)
        else:
            found = Option(step.action, None)
        if found is not None:
            return step, found
    if plan.always is None:
        raise AssertionError("a plan ends with what needs no candidate")
    return plan.always, Option(plan.always.action, None)


def _unnamed(step: Step, ours: Mapping[str, Any], plan: Plan, standing: Standing) -> Option | None:
    """A step for a checkout that named no candidates; None where it may not be taken."""
    if step.action in plan.never:
        return None
    if step.action == "alternate_method":
        return Option(step.action, None)
    means = dict(ours)
    if step.action == "retry_other_route":
        means.pop("route", None)
    later = step.action == "retry_later"
    wait_s = max(step.wait_s, standing.wait_s(ours["method"])) if later else step.wait_s
    return Option(step.action, means, wait_s) if standing.against({**means, "wait_s": wait_s}) is None else None
