"""Who an experiment assigns to which arm, for whoever reads it out: the same hash that answered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from features.errors import BadInput, Fault
from serving.experiments import read_experiments

__all__ = ["arms_in"]


def arms_in(path: Path, name: str) -> tuple[dict[str, float], Callable[[str], str | None]]:
    """The shares of an experiment's arms, by name, and what gives the arm of a payment id (None: in none of them).

    A payment that an earlier experiment of the file answers is in none. Raises BadInput where the file has no such experiment
    that answers.
    """
    answering = [one for one in read_experiments(path) if one.mode != "shadow"]
    names = [one.name for one in answering]
    if name not in names:
        raise BadInput(str(path), [Fault("experiment", ", ".join(names) or "an A/B test or a canary", seen=name)])
    place = names.index(name)
    asked, earlier = answering[place], answering[:place]

    def assigned(payment_id: str) -> str | None:
        if any(one.arm_of(payment_id) is not None for one in earlier):
            return None
        arm = asked.arm_of(payment_id)
        return None if arm is None else arm.name

    return {arm.name: arm.share for arm in asked.arms}, assigned
