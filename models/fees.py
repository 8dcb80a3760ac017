"""What an attempt costs: a fee if it succeeds, another if it fails, by route or method; and what the merchant keeps.

A fees file is YAML. Amounts are in major units of `currency`:

    currency: EUR
    margin: 0.2                     share of the amount that the merchant keeps of a success; 1 if left out
    by: route                       or method
    fees:
      north: {success: 0.30, failure: 0.05}
      harbor: {success: 0.45}       a failure costs nothing if left out
    others: {success: 0.35}         for what is not named; refused if left out
    retries: {visa: 0.10}           what the card's network takes for trying a failed card again; nothing if left out
    effort: {step: 0.001}           what asking the customer costs, as shares of what success brings; see `Effort`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from features.cards import contains_card_number
from features.errors import BadInput, CardNumberFound, Fault
from features.places import currencies
from features.yaml_file import read_yaml

__all__ = ["Effort", "Fee", "Fees", "read_fees"]

By = Literal["route", "method"]


class Fee(NamedTuple):
    """What one attempt costs, in major units of the currency."""

    success: float
    failure: float

    def expected(self, p: float) -> float:
        """The fee to be expected where it succeeds with probability `p`."""
        return p * self.success + (1.0 - p) * self.failure


@dataclass(frozen=True)
class Effort:
    """What a way to pay asks of the customer, each as a share of what a success brings.

    `step`: each password, code or confirmation. `wait`: having to come back later at all, and `hour` each hour until then,
    up to 24. `methods`: paying by a method, whatever else. As they come they only decide between things nearly as good:
    how many customers a step or a wait loses, the success probability knows already.
    """

    step: float = 0.0005
    wait: float = 0.002
    hour: float = 0.0001
    methods: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Fees:
    """Fees by route or method, and the margin; `retries` by card brand, in major units.

    >>> Fees("EUR", {"north": Fee(0.3, 0.1)}).of("north", "card").expected(0.5)
    0.2
    """

    currency: str
    fees: Mapping[str, Fee] = field(default_factory=dict)
    by: By = "route"
    margin: float = 1.0
    others: Fee | None = None
    retries: Mapping[str, float] = field(default_factory=dict)
    effort: Effort = field(default_factory=Effort)

    def named(self, route: str | None, method: str | None) -> Fee | None:
        """The fee of an attempt; None where the file has none for it."""
        name = route if self.by == "route" else method
        return self.fees.get(name, self.others) if name is not None else self.others

    def of(self, route: str | None, method: str | None) -> Fee:
        """The fee of an attempt. Raises BadInput where the file has none for it."""
        found = self.named(route, method)
        if found is None:
            allowed = "one of " + ", ".join(self.fees) + "; or name `others`"
            raise BadInput("fees", [Fault(self.by, allowed, seen=route if self.by == "route" else method)])
        return found


def read_fees(path: Path) -> Fees:
    """Fees from a YAML file. Raises BadInput with everything in it that cannot be used."""
    told = read_yaml(path, "models/fees.py says how fees are written")
    if not isinstance(told, dict) or not isinstance(told.get("fees"), dict) or not told["fees"]:
        raise BadInput(str(path), message="want `fees`, with `success` and `failure` by route or method")
    names = ("currency", "margin", "by", "fees", "others", "retries", "effort")
    faults = [Fault(str(name), "one of " + ", ".join(names)) for name in told if name not in names]
    fees = {str(name): _fee(str(name), fee, faults) for name, fee in told["fees"].items()}
    others = _fee("others", told["others"], faults) if told.get("others") is not None else None
    if told.get("currency") not in currencies():
        faults.append(Fault("currency", "an ISO 4217 code, such as EUR", seen=str(told.get("currency"))))
    if contains_card_number(str(told)):
        raise CardNumberFound(str(path), message="holds a card number; want none, here or anywhere")
    by = told.get("by", "route")
    if by not in get_args(By):
        faults.append(Fault("by", "route or method", seen=str(by)))
    margin = told.get("margin", 1.0)
    if not _number(margin) or not 0.0 < margin <= 1.0:
        faults.append(Fault("margin", "a share above 0, at most 1", seen=str(margin)))
    retries = _shares("retries", told.get("retries", {}), faults, "a fee from 0, in major units")
    effort = _effort(told.get("effort", {}), faults)
    if faults:
        raise BadInput(str(path), faults)
    return Fees(told["currency"], fees, by, float(margin), others, retries, effort)


def _effort(told: Any, faults: list[Fault]) -> Effort:
    names = [known.name for known in fields(Effort)]
    if not isinstance(told, dict) or set(told) - set(names):
        faults.append(Fault("effort", "of " + ", ".join(names), seen=str(told)[:40]))
        return Effort()
    allowed = "a share from 0 of what success brings"
    methods = _shares("effort methods", told.get("methods", {}), faults, allowed)
    plain = {name: value for name, value in told.items() if name != "methods"}
    return Effort(**_shares("effort", plain, faults, allowed), methods=methods)


def _shares(name: str, told: Any, faults: list[Fault], allowed: str) -> dict[str, float]:
    """Numbers from 0 by name."""
    if not isinstance(told, dict):
        faults.append(Fault(name, "{NAME: NUMBER}", seen=str(told)[:40]))
        return {}
    wrong = {str(key): value for key, value in told.items() if not _number(value) or value < 0.0}
    faults += [Fault(f"{name} {key}", allowed, seen=str(value)[:40]) for key, value in wrong.items()]
    return {str(key): float(value) for key, value in told.items() if str(key) not in wrong}


def _fee(name: str, told: Any, faults: list[Fault]) -> Fee:
    if not isinstance(told, dict) or "success" not in told or set(told) - {"success", "failure"}:
        faults.append(Fault(name, "{success: FEE, failure: FEE}", seen=str(told)[:40]))
        return Fee(0.0, 0.0)
    success, failure = told["success"], told.get("failure", 0.0)
    for fee in (success, failure):
        if not _number(fee) or fee < 0.0:
            faults.append(Fault(name, "fees from 0, in major units", seen=str(fee)[:40]))
            return Fee(0.0, 0.0)
    return Fee(float(success), float(failure))


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
