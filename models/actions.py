"""What can be done next: the actions, which of them a candidate amounts to, and the decision table.

`decision_table.csv` says for each reason (or finer sub-reason) what to do, in order of preference, and what
never to do. Its column `place` is a number, `always` (before anything that has a probability) or `never`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

__all__ = [
    "ACTIONS",
    "MEANS_ACTIONS",
    "TABLE_EDITION",
    "DecisionTable",
    "Never",
    "Plan",
    "Step",
    "amounts_to",
    "decision_table",
]

ACTIONS = (
    "proceed",
    "retry_same",
    "retry_other_route",
    "step_up",
    "retry_later",
    "fix_details",
    "alternate_method",
    "resume_session",
    "check_status_first",
    "contact_bank",
    "stop",
)
"""Every action that a suggestion can name."""

MEANS_ACTIONS = ("retry_same", "retry_other_route", "step_up", "retry_later", "alternate_method")
"""The actions that need a way to pay: a candidate."""

_STAND_INS = ("fix_details", "resume_session")
"""The actions by which the same means is tried again, after the customer has done something."""

TABLE_EDITION = "2026-11"
"""Edition of decision_table.csv."""

_AUTH_STRENGTH = {"none": 0, "frictionless": 1, "challenge": 2, "redirect": 2}

Row = Mapping[str, Any]
"""An attempt or a candidate: values by column name; an absent key and None both mean missing."""


@dataclass(frozen=True)
class Step:
    """One line of a plan: do this, after `wait_s` seconds, tell the customer `message_key`, because.

    `rule` names what is always to be done first; empty for what is a preference.
    """

    action: str
    wait_s: int
    message_key: str
    because: str
    rule: str = ""


@dataclass(frozen=True)
class Never:
    """What must not be done, and the name of the rule."""

    rule: str
    because: str


@dataclass(frozen=True)
class Plan:
    """What the table says for one reason."""

    always: Step | None
    steps: tuple[Step, ...]  # in order of preference
    never: Mapping[str, Never]  # by action

    @cached_property
    def by_action(self) -> Mapping[str, Step]:
        """The plan's step for each action that it names."""
        return {step.action: step for step in self.steps}

    @cached_property
    def places(self) -> Mapping[str, int]:
        """How early each action comes, from 0; an action that the plan does not name comes after them all."""
        return {action: len(self.steps) for action in ACTIONS} | {step.action: i for i, step in enumerate(self.steps)}

    @cached_property
    def stand_in(self) -> str | None:
        """What trying the same means again is called here: fix_details, resume_session; None: a retry."""
        return next((step.action for step in self.steps if step.action in _STAND_INS), None)


@dataclass(frozen=True)
class DecisionTable:
    """The decision table: a plan for every reason.

    >>> [step.action for step in decision_table().plan("insufficient_funds").steps]
    ['alternate_method', 'retry_later', 'contact_bank']
    """

    edition: str
    plans: Mapping[str, Plan]

    def plan(self, reason: str | None, sub_reason: str | None = None) -> Plan:
        """The plan for a sub-reason, else for its reason, else for a failure that nothing explains."""
        for name in (sub_reason, reason):
            if name is not None and name in self.plans:
                return self.plans[name]
        return self.plans["unknown"]


def _plan(rows: Sequence[Mapping[str, str]]) -> Plan:
    def step(row: Mapping[str, str]) -> Step:
        return Step(row["action"], int(row["wait_s"] or 0), row["message_key"], row["because"], row["rule"])

    numbered = sorted((row for row in rows if row["place"].isdigit()), key=lambda row: int(row["place"]))
    return Plan(
        always=next((step(row) for row in rows if row["place"] == "always"), None),
        steps=tuple(step(row) for row in numbered),
        never={row["action"]: Never(row["rule"], row["because"]) for row in rows if row["place"] == "never"},
    )


@cache
def decision_table() -> DecisionTable:
    """The table as it ships."""
    with files("models").joinpath("decision_table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    by_reason: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_reason.setdefault(row["reason"], []).append(row)
    return DecisionTable(TABLE_EDITION, {reason: _plan(rows) for reason, rows in by_reason.items()})


def _more_authentication(attempt: Row, candidate: Row) -> bool:
    flow, steps = candidate.get("auth_flow"), candidate.get("auth_steps")
    before = _AUTH_STRENGTH[attempt.get("auth_flow") or "none"]
    if flow is not None and _AUTH_STRENGTH[flow] > before:
        return True
    steps_before = attempt.get("auth_steps")
    return steps is not None and steps_before is not None and steps > steps_before


def amounts_to(attempt: Row, candidate: Row) -> tuple[str, ...]:
    """All that a candidate amounts to next to the attempt; the first names it, each can be forbidden.

    What a candidate leaves out is as it was in the attempt.

    >>> attempt = {"method": "card", "route": "north", "auth_flow": "frictionless"}
    >>> amounts_to(attempt, {"method": "card", "route": "harbor", "auth_flow": "challenge"})
    ('step_up', 'retry_other_route')
    >>> amounts_to(attempt, {"method": "card", "route": "north"})
    ('retry_same',)
    >>> amounts_to(attempt, {"method": "wallet"})
    ('alternate_method',)
    """
    if candidate["method"] != attempt["method"]:
        return ("alternate_method",)
    found: tuple[str, ...] = ("retry_later",) if candidate.get("wait_s") else ()
    if _more_authentication(attempt, candidate):
        found += ("step_up",)
    route = candidate.get("route")
    if route is not None and route != attempt.get("route"):
        found += ("retry_other_route",)
    return found or ("retry_same",)
