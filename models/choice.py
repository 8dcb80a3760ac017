"""Which of the things that can be done next is best: screened by the rules first, then ranked by success."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple

from features.taxonomy import CODES_EDITION
from models.actions import MEANS_ACTIONS, DecisionTable, Plan, Row, Step, amounts_to
from models.diagnosis import Evidence

__all__ = ["Blocked", "Option", "best", "first_step", "own_means", "ranked", "screen"]


class Option(NamedTuple):
    """Something that can be done next. `candidate` is None for what is not the checkout's to carry out."""

    action: str
    candidate: Row | None
    wait_s: int = 0
    success: float | None = None

    @property
    def candidate_id(self) -> str | None:
        """The candidate's id; None for an option that the request did not name."""
        return self.candidate.get("candidate_id") if self.candidate is not None else None


@dataclass(frozen=True)
class Blocked:
    """A candidate that a rule forbids."""

    candidate_id: str | None
    rule: str
    edition: str
    because: str


def screen(
    attempt: Row,
    candidates: Sequence[Row],
    evidence: Evidence,
    plan: Plan,
    table: DecisionTable,
    *,
    firm: bool,
) -> tuple[list[Option], list[Blocked]]:
    """What may be done after a failure, and what may not, both in the candidates' order.

    A code's rule always holds: neither trying the same means again where it forbids that, nor sooner than it
    asks. What the table forbids for a reason holds where the reason is `firm`, not where it is a guess.
    """
    allowed: list[Option] = []
    blocked: list[Blocked] = []
    code, advice, not_before = evidence.forbidding, evidence.advice, evidence.wait_s
    for candidate in candidates:
        candidate_id, wait_s = candidate.get("candidate_id"), candidate.get("wait_s") or 0
        traits = amounts_to(attempt, candidate)
        same_means = traits[0] != "alternate_method"
        never = next((plan.never[trait] for trait in traits if trait in plan.never), None) if firm else None
        if same_means and code is not None and code.rule is not None:
            blocked.append(Blocked(candidate_id, code.rule, CODES_EDITION, code.meaning))
        elif same_means and advice is not None and not_before is not None and wait_s < not_before:
            rule = f"{advice.scheme}_{advice.code}"
            blocked.append(Blocked(candidate_id, rule, CODES_EDITION, advice.meaning))
        elif never is not None:
            blocked.append(Blocked(candidate_id, never.rule, table.edition, never.because))
        else:
            action = (plan.stand_in or "retry_same") if traits[0] == "retry_same" else traits[0]
            allowed.append(Option(action, candidate, ceil(wait_s)))
    return allowed, blocked


def own_means(attempt: Row) -> dict[str, Any]:
    """The attempt's own means, as a candidate without an id."""
    names = ("method", "route", "auth_flow", "auth_steps", "stored", "network_token")
    return {name: attempt[name] for name in names if attempt.get(name) is not None}


def ranked(options: Sequence[Option], plan: Plan | None) -> list[Option]:
    """Options, best first: by success probability where there is one, else as the plan prefers."""

    def rank(option: Option) -> tuple[float, int, int]:
        place = plan.places[option.action] if plan is not None else 0
        return (-option.success if option.success is not None else 0.0, place, option.wait_s)

    return sorted(options, key=rank)


def best(options: Sequence[Option], plan: Plan, tie: float) -> Option:
    """The likeliest to succeed; of those within `tie` of it, what the plan prefers, and what waits least."""
    likely = sorted(options, key=lambda option: -(option.success or 0.0))
    floor = (likely[0].success or 0.0) - tie
    close = [option for option in likely if (option.success or 0.0) >= floor]
    return min(close, key=lambda option: (plan.places[option.action], option.wait_s))


def first_step(plan: Plan, options: Sequence[Option] | None, attempt: Row, evidence: Evidence) -> tuple[Step, Option]:
    """What the plan alone says to do, without any probability.

    `options` is what may be done; None where checkout did not say what it can do, so that anything may be.
    """
    ours: Mapping[str, Any] = own_means(attempt)
    for step in plan.steps:
        if step.action in MEANS_ACTIONS:
            if options is not None:
                found = next((option for option in options if option.action == step.action), None)
                if found is not None:
                    return step, found
            elif _open_to_all(step, plan, evidence):
                return step, _unnamed(step, ours, evidence)
        elif step.action == plan.stand_in:
            named = next((option for option in options or () if option.action == step.action), None)
            return step, named or Option(step.action, ours)
        else:
            return step, Option(step.action, None)
    if plan.always is None:
        raise AssertionError("a plan ends with what needs no candidate")
    return plan.always, Option(plan.always.action, None)


def _open_to_all(step: Step, plan: Plan, evidence: Evidence) -> bool:
    """Whether a step may be suggested to a checkout that named no candidates."""
    if step.action in plan.never:
        return False
    if step.action == "alternate_method":
        return True
    return evidence.forbidding is None and (evidence.wait_s is None or step.action == "retry_later")


def _unnamed(step: Step, ours: Mapping[str, Any], evidence: Evidence) -> Option:
    if step.action == "alternate_method":
        return Option(step.action, None)
    means = dict(ours)
    if step.action == "retry_other_route":
        means.pop("route", None)
    wait_s = max(step.wait_s, evidence.wait_s or 0)
    return Option(step.action, means, wait_s)
