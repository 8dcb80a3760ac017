"""Which attempts something is about: conditions on columns of the attempts table, as a product owner writes them.

    {country: [KR, TW], first_time: true, auth_steps: {from: 5}}

A condition is a value, a list of values, or a range `{from: number, to: number}` (both ends count; either may be left out).
`first_time` is true where the customer has paid nothing before (`prior_payments` is 0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.columns import before_columns
from features.definitions import features
from features.errors import Fault

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FIRST_TIME", "Side", "faults_of", "in_words", "matches", "parsed"]

Side = Mapping[str, object]

FIRST_TIME = "first_time"
_NOT_ASKED = {"attempt_id", "payment_id", "customer_id", "created_at", "policy", "propensity", "experiment", "variant"}
_ENDS = {"from", "to"}


def matches(attempts: pd.DataFrame, side: Side) -> npt.NDArray[np.bool_]:
    """The attempts that meet every condition, shape (n,). What is missing meets none; a column that is not there, neither."""
    found = np.ones(len(attempts), bool)
    for column, wanted in side.items():
        found &= _meets(attempts, column, wanted)
    return found


def _meets(attempts: pd.DataFrame, column: str, wanted: object) -> npt.NDArray[np.bool_]:
    if column == FIRST_TIME:
        first = _meets(attempts, "prior_payments", 0)
        return first if wanted else _meets(attempts, "prior_payments", {"from": 1})
    if column not in attempts:
        return np.zeros(len(attempts), bool)
    values = attempts[column]
    if isinstance(wanted, Mapping):
        number = values.to_numpy(np.float64, na_value=np.nan)
        with np.errstate(invalid="ignore"):
            met: npt.NDArray[np.bool_] = (number >= wanted.get("from", -np.inf)) & (number <= wanted.get("to", np.inf))
        return met
    members = list(wanted) if isinstance(wanted, Sequence) and not isinstance(wanted, str) else [wanted]
    found: npt.NDArray[np.bool_] = values.isin(members).fillna(False).to_numpy(bool)
    return found


def faults_of(where: str, side: object, further: Sequence[str] = ()) -> list[Fault]:
    """What is wrong with conditions that somebody wrote; `further` are columns of the merchant's own."""
    allowed = [FIRST_TIME, *(name for name in before_columns() if name not in _NOT_ASKED), *further]
    if not isinstance(side, Mapping):
        return [Fault(where, "conditions, such as {country: KR, first_time: true}", seen=str(side)[:40])]
    faults = [
        Fault(f"{where}.{column}", "a column known before the attempt: " + ", ".join(allowed))
        for column in side
        if column not in allowed
    ]
    for column, wanted in side.items():
        if isinstance(wanted, Mapping):
            right = wanted and set(wanted) <= _ENDS and all(_is_number(end) for end in wanted.values())
        elif isinstance(wanted, list):
            right = bool(wanted) and all(isinstance(one, str | int | float) for one in wanted)
        else:
            right = isinstance(wanted, str | int | float)
        if not right:
            allowed_here = "a value, a list of values, or {from: number, to: number}"
            faults.append(Fault(f"{where}.{column}", allowed_here, seen=str(wanted)[:40]))
    return faults


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def parsed(pairs: Sequence[str]) -> tuple[dict[str, object], list[Fault]]:
    """Conditions from `COLUMN=VALUE[,VALUE…]` of a command line, and what is wrong with them.

    >>> parsed(["country=KR,TW", "first_time=true", "auth_steps=5.."])[0]
    {'country': ['KR', 'TW'], 'first_time': True, 'auth_steps': {'from': 5.0}}
    """
    side: dict[str, object] = {}
    faults = []
    for pair in pairs:
        column, separator, text = pair.partition("=")
        if not separator or not text:
            faults.append(Fault("--where", "COLUMN=VALUE, COLUMN=VALUE,VALUE or COLUMN=LEAST..MOST", seen=pair[:60]))
            continue
        members = [_value(one) for one in text.split(",")]
        side[column] = members[0] if len(members) == 1 else members
    return side, faults or faults_of("--where", side)


def _value(text: str) -> object:
    low, dots, high = text.partition("..")
    if dots:
        ends = {name: _number(end) for name, end in (("from", low), ("to", high)) if end}
        return {name: end for name, end in ends.items() if end is not None} or text
    if text in {"true", "false"}:
        return text == "true"
    number = _number(text)
    return text if number is None else number


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def in_words(side: Side) -> str:
    """Conditions as a person would say them, by the features' labels.

    >>> in_words({"country": ["KR", "TW"], "first_time": True, "auth_steps": {"from": 5}})
    "buyer's country KR or TW, first payment, passwords, codes and confirmations asked for 5 or more"
    """
    if not side:
        return "all payments"
    labels = {feature.name: feature.label for feature in features()}
    told = []
    for column, wanted in side.items():
        label = labels.get(column, column.replace("_", " "))
        if column == FIRST_TIME:
            told.append("first payment" if wanted else "returning customer")
        elif isinstance(wanted, Mapping):
            told.append(f"{label} {_range(wanted)}")
        elif isinstance(wanted, bool):
            told.append(label if wanted else f"no {label}")
        elif isinstance(wanted, Sequence) and not isinstance(wanted, str):
            told.append(f"{label} {' or '.join(map(str, wanted))}")
        else:
            told.append(f"{label} {wanted}")
    return ", ".join(told)


def _range(wanted: Mapping[str, Any]) -> str:
    low, high = wanted.get("from"), wanted.get("to")
    if low is None:
        return f"at most {high:g}"
    return f"{low:g} or more" if high is None else f"{low:g} to {high:g}"
