"""Who answers which payment: the champion, or an arm of an experiment; and who is only scored beside it.

A line-up never changes; another takes its place between two requests. Who has asked one therefore sees the same models from
the start of a request to its end.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from features.columns import Column
from models.policies import Policy
from models.policy_names import policy_named
from serving.experiments import Arm, Experiment
from serving.loading import Served
from serving.state import OnlineState

__all__ = ["Assigned", "Fixed", "Lineup", "Models", "Shadow", "iso", "line_up", "whose"]


def iso(at: int | None) -> str | None:
    """A moment in microseconds since 1970, as answers tell it: RFC 3339, UTC, to the second.

    >>> iso(1_767_605_400_000_000)
    '2026-01-05T09:30:00Z'
    """
    return None if at is None else f"{datetime.fromtimestamp(at // 1_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"


class Assigned(NamedTuple):
    """Who answers a payment, and as which variant of which experiment (None: in none)."""

    served: Served
    experiment: str | None = None
    variant: str | None = None


class Shadow(NamedTuple):
    """Who is scored beside the answer."""

    served: Served
    experiment: str
    variant: str


@dataclass(frozen=True)
class Lineup:
    """The champion and the one before it, the arms of the experiments that answer, and of those in shadow.

    `waiting` are the experiments that do not run, with the reason: an arm's model is not there, say. Until all of its arms
    can answer, no payment is in an experiment, or its arms would not be comparable.
    """

    champion: Served
    previous: Served | None = None
    answering: Sequence[tuple[Experiment, Mapping[str, Served]]] = ()
    shadows: Sequence[tuple[Experiment, Mapping[str, Served]]] = ()
    waiting: Mapping[str, str] = field(default_factory=dict)

    def everyone(self) -> Iterator[Served]:
        """All of them, the champion first."""
        yield self.champion
        if self.previous is not None:
            yield self.previous
        for _, served in (*self.answering, *self.shadows):
            yield from served.values()

    def states(self) -> set[OnlineState]:
        """What keeps up with outcomes, of all of them."""
        return {served.state for served in self.everyone() if served.state is not None}

    @cached_property
    def extra(self) -> tuple[Column, ...]:
        """The own columns that any of them declares: checkout goes on sending them when the model before comes back.

        Where two declare one name otherwise, the first counts; to the other it is missing.
        """
        found: dict[str, Column] = {}
        for served in self.everyone():
            for column in served.extra:
                found.setdefault(column.name, column)
        return tuple(found.values())

    def for_payment(self, payment_id: str) -> Assigned:
        """Who answers a payment: the arm of the first experiment that it is in, else the champion."""
        for experiment, served in self.answering:
            arm = experiment.arm_of(payment_id)
            if arm is not None:
                return Assigned(served[arm.name], experiment.name, arm.name)
        return Assigned(self.champion)

    def shadows_for(self, payment_id: str) -> list[Shadow]:
        """Who is scored beside the answer to a payment."""
        return [
            Shadow(served[arm.name], experiment.name, arm.name)
            for experiment, served in self.shadows
            for arm in experiment.shadows_of(payment_id)
        ]


class Models(Protocol):
    """What the application asks for models."""

    def lineup(self) -> Lineup:
        """Who answers now; asked once per request."""

    def status(self) -> Mapping[str, Any]:
        """What `/readyz` tells beside the version."""

    def registry_reachable(self) -> bool | None:
        """Whether the registry answers; None where none is followed."""

    def close(self) -> None:
        """End what runs beside the requests: what follows the registry, and what keeps up with outcomes. It blocks."""


class Fixed:
    """One model, for as long as the service runs."""

    def __init__(self, served: Served) -> None:
        self._lineup = Lineup(served)

    def lineup(self) -> Lineup:
        """Always the same."""
        return self._lineup

    def status(self) -> Mapping[str, Any]:
        """Nothing to tell."""
        return {}

    def registry_reachable(self) -> bool | None:
        """None is followed."""
        return None

    def close(self) -> None:
        """End what keeps up with outcomes."""
        for state in self._lineup.states():
            state.close()


def line_up(
    champion: Served,
    previous: Served | None,
    experiments: Sequence[Experiment],
    of: Callable[[str], Served | None],
    policies: Callable[[str, str], Policy] = lambda text, _: policy_named(text),
) -> Lineup:
    """The line-up of experiments; `of` gives the model of a URI, None where there is none yet, `policies` an arm's policy.

    `policies` takes the policy's name and whose it is: an arm (`whose`).
    """
    answering: list[tuple[Experiment, Mapping[str, Served]]] = []
    shadows: list[tuple[Experiment, Mapping[str, Served]]] = []
    waiting: dict[str, str] = {}
    for experiment in experiments:
        missing = [uri for uri in sorted(experiment.models) if of(uri) is None]
        if champion.engine.predictor is None:
            waiting[experiment.name] = "there is no champion"
        elif missing:
            waiting[experiment.name] = f"there is no {', '.join(missing)}"
        else:
            arms = {arm.name: _served(arm, whose(experiment, arm), champion, of, policies) for arm in experiment.arms}
            (shadows if experiment.mode == "shadow" else answering).append((experiment, arms))
    return Lineup(champion, previous, tuple(answering), tuple(shadows), waiting)


def whose(experiment: Experiment, arm: Arm) -> str:
    """What tells an arm from all others."""
    return f"{experiment.name}/{arm.name}"


def _served(
    arm: Arm,
    name: str,
    champion: Served,
    of: Callable[[str], Served | None],
    policies: Callable[[str, str], Policy],
) -> Served:
    served = of(arm.model) if arm.model is not None else champion
    if served is None:
        raise ValueError(f"there is no {arm.model}")
    if arm.policy is None:
        return served
    engine = copy.copy(served.engine)
    engine.policy = policies(arm.policy, name)
    return replace(served, engine=engine)
