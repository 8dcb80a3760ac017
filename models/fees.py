"""What an attempt costs: a fee if it succeeds, another if it fails, by route or method; and what the merchant keeps.

A fees file is YAML. Amounts are in major units of `currency`:

    currency: EUR
    margin: 0.2                     share of the amount that the merchant keeps of a success; 1 if left out
    by: route                       or method
    fees:
      north: {success: 0.30, failure: 0.05}
      harbor: {success: 0.45}       a failure costs nothing if left out
    others: {success: 0.35}         for what is not named; refused if left out
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from features.errors import BadInput, Fault
from features.places import currencies

__all__ = ["Fee", "Fees", "read_fees"]

By = Literal["route", "method"]


class Fee(NamedTuple):
    """What one attempt costs, in major units of the currency."""

    success: float
    failure: float

    def expected(self, p: float) -> float:
        """The fee to be expected where it succeeds with probability `p`."""
        return p * self.success + (1.0 - p) * self.failure


@dataclass(frozen=True)
class Fees:
    """Fees by route or method, and the margin.

    >>> Fees("EUR", {"north": Fee(0.3, 0.1)}).of("north", "card").expected(0.5)
    0.2
    """

    currency: str
    fees: Mapping[str, Fee] = field(default_factory=dict)
    by: By = "route"
    margin: float = 1.0
    others: Fee | None = None

    def of(self, route: str | None, method: str | None) -> Fee:
        """The fee of an attempt. Raises BadInput where the file has none for it."""
        name = route if self.by == "route" else method
        found = self.fees.get(name, self.others) if name is not None else self.others
        if found is None:
            allowed = "one of " + ", ".join(self.fees) + "; or name `others`"
            raise BadInput("fees", [Fault(self.by, allowed, seen=name)])
        return found


def read_fees(path: Path) -> Fees:
    """Fees from a YAML file. Raises BadInput with everything in it that cannot be used."""
    import yaml

    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(str(path), message=f"cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise BadInput(str(path), message="is no YAML; models/fees.py says how fees are written") from None
    if not isinstance(told, dict) or not isinstance(told.get("fees"), dict) or not told["fees"]:
        raise BadInput(str(path), message="want `fees`, with `success` and `failure` by route or method")
    names = ("currency", "margin", "by", "fees", "others")
    faults = [Fault(str(name), "one of " + ", ".join(names)) for name in told if name not in names]
    fees = {str(name): _fee(str(name), fee, faults) for name, fee in told["fees"].items()}
    others = _fee("others", told["others"], faults) if told.get("others") is not None else None
    if told.get("currency") not in currencies():
        faults.append(Fault("currency", "an ISO 4217 code, such as EUR", seen=str(told.get("currency"))))
    by = told.get("by", "route")
    if by not in get_args(By):
        faults.append(Fault("by", "route or method", seen=str(by)))
    margin = told.get("margin", 1.0)
    if not _number(margin) or not 0.0 < margin <= 1.0:
        faults.append(Fault("margin", "a share above 0, at most 1", seen=str(margin)))
    if faults:
        raise BadInput(str(path), faults)
    return Fees(told["currency"], fees, by, float(margin), others)


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
