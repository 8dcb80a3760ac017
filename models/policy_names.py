"""Policies by name, with their settings; a merchant's own ones among them.

A merchant's own policy is an entry point of the group `payrescue.policies`: a function without arguments that gives an
object with `name` and `probabilities` (`models.policies.Policy`). It goes by the entry point's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from features.errors import BadInput, Fault
from models.fees import Fees
from models.policies import Always, Budget, Explore, Greedy, Policy, Rules
from models.success_rate import SuccessRate

__all__ = ["GROUP", "policy_named", "read_pins"]

GROUP = "payrescue.policies"
"""The group of entry points in which merchants' own policies are looked for."""


def policy_named(text: str, fees: Fees | None = None) -> Policy:
    """The policy of a name, with its settings: `greedy`, `explore:share=0.02,within=0.1`, `always:route=north`.

    `budget:price=0.04` is what `fees` are weighed by, and needs them. Raises BadInput naming what there is.
    """
    kinds: Mapping[str, Callable[..., Policy]] = {
        "rules": Rules, "success_rate": SuccessRate, "greedy": Greedy, "explore": Explore, "always": Always,
    }  # fmt: skip
    name, _, rest = text.partition(":")
    if name == "budget":
        return _budget(text, fees)
    if name in kinds:
        return kinds[name](**_settings(name, kinds[name], read_pins(text) if rest else {}))
    own = _own()
    if text in own:
        try:
            made: Policy = own[text]()
        except Exception as error:
            raise BadInput("policy", message=f"{text} cannot be made ({type(error).__name__}: {error})") from error
        if not callable(getattr(made, "probabilities", None)):
            raise BadInput(
                "policy", [Fault("name", f"an object with `name` and `probabilities` from {GROUP}", seen=text)]
            )
        return made
    allowed = "one of " + ", ".join([*kinds, "budget", *own]) + f", or an entry point of {GROUP}"
    raise BadInput("policy", [Fault("name", allowed, seen=text)])


def read_pins(text: str) -> dict[str, str]:
    """What follows a policy's name: `always:route=north,method=card` gives {"route": "north", "method": "card"}."""
    name, _, rest = text.partition(":")
    pins = {}
    for pair in rest.split(","):
        key, separator, value = pair.partition("=")
        if not separator or not key.strip() or not value.strip():
            raise BadInput("policy", [Fault(name, f"{name}:NAME=VALUE,…", seen=text)])
        pins[key.strip()] = value.strip()
    return pins


def _budget(text: str, fees: Fees | None) -> Budget:
    told = read_pins(text)
    wanted = "budget:price=NUMBER, the one that evaluate-policy tells, and fees to weigh by"
    try:
        price = float(told.pop("price"))
    except (KeyError, ValueError):
        raise BadInput("policy", [Fault("budget", wanted, seen=text)]) from None
    if told or fees is None:
        raise BadInput("policy", [Fault("budget", wanted, seen=text)])
    return Budget(fees, price)


def _settings(name: str, kind: Any, told: Mapping[str, str]) -> dict[str, Any]:
    """Settings of a policy in the types of their defaults."""
    known = {
        setting.name: setting.default for setting in fields(kind) if setting.init and setting.default is not MISSING
    }
    settings: dict[str, Any] = {}
    for key, value in told.items():
        if key not in known:
            allowed = "one of " + ", ".join(known) if known else "no settings"
            raise BadInput("policy", [Fault(name, allowed, seen=key)])
        cast = type(known[key]) if known[key] is not None else str
        try:
            settings[key] = cast(value)
        except ValueError:
            raise BadInput("policy", [Fault(f"{name}:{key}", f"a number, such as {known[key]}", seen=value)]) from None
    return settings


def _own() -> dict[str, Callable[[], Any]]:
    """Merchants' own policies, by name; each is loaded when it is asked for."""

    def made_by(entry: EntryPoint) -> Callable[[], Any]:
        return lambda: entry.load()()

    return {entry.name: made_by(entry) for entry in entry_points(group=GROUP)}
