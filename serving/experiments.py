"""Experiments: which payments are answered, or silently scored, by another model or policy than the champion's.

They stand in a YAML file:

    experiments:
      - name: fewer_challenges     # in answers, as policy.experiment
        mode: ab                   # ab, canary or shadow
        salt: march                # of the assignment; its name if left out
        arms:
          - {name: control, share: 0.5}
          - {name: challenger, share: 0.5, model: "models:/payrescue@challenger"}

An arm answers by a `model` (`models:/NAME@ALIAS` or `models:/NAME/VERSION`; the champion if left out), by a `policy`
(`models/policy_names.py`; the service's own if left out; what it weighs by fees, by those of `serve --fees`), or by both. Arms
share no policy: what that of one learns, none of the others has. `ab`: the shares may leave payments out. `canary`: one
arm, of at most half of the payments; all others are its `control`, answered by the champion. `shadow`: each arm is scored for
its share of the payments after the answer has been sent; what it says is logged and never shown.

Who is in which arm, anybody can work out: `place` of the experiment's salt and the payment's id is a number from 0 to 1, and
the arms lie on it one after the other, in the order of the file, each as long as its share. A payment that several experiments
would answer is answered by the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, get_args

from features.cards import contains_card_number
from features.errors import BadInput, CardNumberFound, Fault
from features.yaml_file import read_yaml
from models.policy_names import policy_named
from serving.found import MODEL_URI

__all__ = ["CONTROL", "Arm", "Experiment", "place", "read_experiments"]

Mode = Literal["ab", "canary", "shadow"]

CONTROL = "control"
"""The variant of the payments that a canary leaves to the champion."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_\-]{0,63}", re.ASCII)
_DIGITS = 13  # hexadecimal: 52 bits, which a float holds exactly
_PLACES = float(1 << 4 * _DIGITS)
_LARGEST_CANARY = 0.5
_ROUNDING = 1e-9
_DECIMALS = 12


def place(salt: str, payment_id: str) -> float:
    """Where a payment lies from 0 to 1, without 1: the first 13 hexadecimal digits of SHA-256 of `salt:payment_id`.

    >>> place("march", "p1")
    0.8285129016508956
    """
    return int(sha256(f"{salt}:{payment_id}".encode()).hexdigest()[:_DIGITS], 16) / _PLACES


@dataclass(frozen=True)
class Arm:
    """One of the ways that an experiment compares."""

    name: str
    share: float
    model: str | None = None
    policy: str | None = None


@dataclass(frozen=True)
class Experiment:
    """Arms that payments are shared out to, by a hash of their ids.

    >>> half = Experiment("e", "ab", "march", (Arm("a", 0.5), Arm("b", 0.25)))
    >>> half.arm_of("p1") is None
    True
    """

    name: str
    mode: Mode
    salt: str
    arms: tuple[Arm, ...]

    def arm_of(self, payment_id: str) -> Arm | None:
        """The arm of a payment; None where it is in none."""
        at = place(self.salt, payment_id)
        return next((arm for arm, end in zip(self.arms, self._ends, strict=True) if at < end), None)

    @cached_property
    def _ends(self) -> list[float]:
        """Where each arm ends, from 0 to 1; what adds up to 1 but for rounding leaves nobody out."""
        ends = [round(end, _DECIMALS) for end in accumulate(arm.share for arm in self.arms)]
        return [1.0 if end >= 1.0 - _ROUNDING else end for end in ends]

    def shadows_of(self, payment_id: str) -> list[Arm]:
        """The arms of a shadow experiment that score a payment: each has its share of the payments from 0 on."""
        at = place(self.salt, payment_id)
        return [arm for arm in self.arms if at < arm.share]

    @property
    def takes_all(self) -> bool:
        """Whether no payment is left for an experiment after it."""
        return self.mode != "shadow" and sum(arm.share for arm in self.arms) >= 1.0 - _ROUNDING

    @property
    def models(self) -> frozenset[str]:
        """The models that it needs, by URI."""
        return frozenset(arm.model for arm in self.arms if arm.model is not None)


def read_experiments(path: Path, policies: Callable[[str], object] | None = policy_named) -> tuple[Experiment, ...]:
    """Experiments from a YAML file, in its order. Raises BadInput with everything in it that cannot be used.

    `policies` makes a policy by its name, or raises BadInput; None: the policies are not looked at.
    """
    told = read_yaml(path, "serving/experiments.py says how experiments are written")
    if contains_card_number(str(told)):
        raise CardNumberFound(str(path), message="holds a card number; want none, here or anywhere")
    listed = told.get("experiments") if isinstance(told, dict) and set(told) == {"experiments"} else None
    if not isinstance(listed, list):
        raise BadInput(str(path), message="want a list under `experiments`, and nothing else")
    faults: list[Fault] = []
    found = [_experiment(i, one, policies, faults) for i, one in enumerate(listed)]
    if not faults:
        _check_together(found, faults)
    if faults:
        raise BadInput(str(path), faults)
    return tuple(found)


def _experiment(place_: int, told: Any, policies: Callable[[str], object] | None, faults: list[Fault]) -> Experiment:
    where = f"experiments[{place_}]"
    known = _known(told, where, Experiment, faults)
    name = _name(known.get("name"), f"{where}.name", faults)
    where = name or where
    mode: Mode = known.get("mode", "")
    if mode not in get_args(Mode):
        faults.append(Fault(f"{where}.mode", ", ".join(get_args(Mode)), seen=str(mode)))
    salt = known.get("salt", name)
    if not isinstance(salt, str) or not 0 < len(salt) <= 128:
        faults.append(Fault(f"{where}.salt", "text of 1 to 128 characters", seen=str(salt)[:40]))
    listed = known.get("arms")
    if not isinstance(listed, list) or not listed:
        faults.append(Fault(f"{where}.arms", "a list of {name, share, model, policy}", seen=str(listed)[:40]))
        listed = []
    arms = tuple(_arm(f"{where}.arms[{i}]", one, mode, policies, faults) for i, one in enumerate(listed))
    if arms and not faults:
        _check_arms(where, mode, arms, faults)
    if mode == "canary" and not faults:
        arms = (*arms, Arm(CONTROL, 1.0 - arms[0].share))
    return Experiment(name, mode, str(salt), arms)


def _check_arms(where: str, mode: Mode, arms: tuple[Arm, ...], faults: list[Fault]) -> None:
    names = [arm.name for arm in arms]
    if len({*names}) < len(names):
        faults.append(Fault(f"{where}.arms", "names that differ", seen=", ".join(names)))
    total = sum(arm.share for arm in arms)
    if mode == "ab" and (len(arms) < 2 or total > 1.0 + _ROUNDING):
        faults.append(
            Fault(f"{where}.arms", "two or more whose shares sum to at most 1", seen=f"{len(arms)}, {total:g}")
        )
    if mode == "canary" and (len(arms) != 1 or total > _LARGEST_CANARY or names[0] == CONTROL):
        wanted = f"one, of a share of at most {_LARGEST_CANARY:g}, not named {CONTROL}: the others are that"
        faults.append(Fault(f"{where}.arms", wanted, seen=f"{', '.join(names)}, {total:g}"))
    idle = [arm.name for arm in arms if arm.model is None and arm.policy is None]
    if idle and mode != "ab":
        faults.append(Fault(f"{where}.{idle[0]}", "a model or a policy: the champion answers anyway"))


def _arm(where: str, told: Any, mode: Any, policies: Callable[[str], object] | None, faults: list[Fault]) -> Arm:
    known = _known(told, where, Arm, faults)
    name = _name(known.get("name"), f"{where}.name", faults)
    share = known.get("share", 1.0 if mode == "shadow" else None)
    if not isinstance(share, int | float) or isinstance(share, bool) or not 0.0 < share <= 1.0:
        faults.append(Fault(f"{where}.share", "a share above 0, at most 1", seen=str(share)[:40]))
        share = 1.0
    model, policy = known.get("model"), known.get("policy")
    if model is not None and not (isinstance(model, str) and MODEL_URI.fullmatch(model)):
        faults.append(Fault(f"{where}.model", "models:/NAME@ALIAS or models:/NAME/VERSION", seen=str(model)[:80]))
        model = None
    if policy is not None and policies is not None:
        try:
            policies(str(policy))
        except BadInput as bad:
            faults += [Fault(f"{where}.policy", fault.allowed, seen=fault.seen) for fault in bad.faults]
    return Arm(name, float(share), model, None if policy is None else str(policy))


def _known(told: Any, where: str, kind: Any, faults: list[Fault]) -> Mapping[str, Any]:
    """What is told of one thing, which has to be by the names that it has."""
    names = [known.name for known in fields(kind)]
    if not isinstance(told, dict):
        faults.append(Fault(where, "{" + ", ".join(names) + "}", seen=str(told)[:40]))
        return {}
    faults += [Fault(f"{where}.{name}", "one of " + ", ".join(names)) for name in told if name not in names]
    return told


def _name(told: Any, where: str, faults: list[Fault]) -> str:
    if isinstance(told, str) and _NAME.fullmatch(told):
        return told
    faults.append(Fault(where, "1 to 64 letters, digits, _ and -, a letter first", seen=str(told)[:40]))
    return ""


def _check_together(found: list[Experiment], faults: list[Fault]) -> None:
    """Names and salts differ, and no experiment stands where no payment reaches it."""
    for name in ("name", "salt"):
        told = [getattr(one, name) for one in found]
        twice = next((value for i, value in enumerate(told) if value in told[:i]), None)
        if twice is not None:
            faults.append(Fault(f"experiments.{name}", "each once: they would share out payments alike", seen=twice))
    answering = [one for one in found if one.mode != "shadow"]
    for i, one in enumerate(answering[1:], start=1):
        if any(earlier.takes_all for earlier in answering[:i]):
            faults.append(
                Fault(one.name, "a place before an experiment that takes every payment, or smaller shares there")
            )
            break
