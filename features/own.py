"""Columns of a merchant's own: declared in the settings of a training, they are features like any other.

The matrix has them after the features that everybody has, in the order in which they were declared. They say nothing of
other attempts: no past is kept of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any

from features.cards import contains_card_number, is_secret_name
from features.columns import Column, columns
from features.definitions import GROUPS, Feature, feature_names, features
from features.errors import BadInput, Fault

__all__ = ["KINDS", "MOST_OWN", "OwnColumn", "all_features", "as_columns", "described", "read_own"]

KINDS = ("numeric", "categorical")
MOST_OWN = 100
"""Most columns that a merchant may declare."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MOST_DIGITS = 5  # of a name: a longer number in one may be of a card
_LONGEST = {"label": 100, "unit": 40}
_PARTS = ("label", "unit", "group", "kind")


@dataclass(frozen=True)
class OwnColumn:
    """One column of a merchant's own, known before an attempt.

    `group` is one of GROUPS: with another method, route or authentication flow, what belongs to it does not carry over.

    >>> OwnColumn("basket_items", "items in the basket", "items", "amount", "numeric").column.type
    'float64'
    """

    name: str
    label: str
    unit: str
    group: str
    kind: str

    @property
    def column(self) -> Column:
        """It as a column of the attempts table; a training wants it to be there, whoever asks later need not have it."""
        kind = "category" if self.kind == "categorical" else "float64"
        return Column(self.name, kind, self.unit, required=False, for_training=True, known="before", meaning=self.label)

    @property
    def feature(self) -> Feature:
        """It as a feature."""
        coded = self.name if self.kind == "categorical" else None
        return Feature(self.name, self.label, self.unit, self.group, actionable=False, categories=coded)


@cache
def all_features(own: tuple[OwnColumn, ...] = ()) -> tuple[Feature, ...]:
    """Every feature, in the order of the matrix's columns: those that everybody has, then a merchant's own."""
    return (*features(), *(column.feature for column in own))


def as_columns(own: Iterable[OwnColumn]) -> tuple[Column, ...]:
    """Own columns as columns of the attempts table."""
    return tuple(column.column for column in own)


def described(own: Iterable[OwnColumn]) -> list[dict[str, str]]:
    """Own columns as plain data."""
    return [asdict(column) for column in own]


def read_own(told: object, source: str = "own_columns") -> tuple[OwnColumn, ...]:
    """Own columns as settings declare them: label, unit, group and kind by name. Raises BadInput with all that is wrong.

    >>> read_own({"tier": {"label": "tier", "unit": "rank", "group": "customer", "kind": "ordinal"}})
    Traceback (most recent call last):
    ...
    features.errors.BadInput: own_columns: own_columns.tier.kind 'ordinal': want numeric or categorical
    """
    if not told:
        return ()
    if not isinstance(told, Mapping):
        raise BadInput(source, [Fault("own_columns", "label, unit, group and kind by the column's name")])
    faults: list[Fault] = []
    if len(told) > MOST_OWN:
        faults.append(Fault("own_columns", f"at most {MOST_OWN} columns", seen=str(len(told))))
    own = [
        OwnColumn(str(name), *_parts(f"own_columns.{name}", one, faults))
        for name, one in told.items()
        if _fits(name, faults)
    ]
    labels = [column.label for column in own] + [feature.label for feature in features()]
    faults += [
        Fault(f"own_columns.{column.name}.label", "a label that no other feature has", seen=column.label)
        for column in own
        if labels.count(column.label) > 1
    ]
    if faults:
        raise BadInput(source, faults[:20])
    return tuple(own)


def _fits(name: object, faults: list[Fault]) -> bool:
    """Whether a column may be called so; notes what is wanted where not."""
    text = str(name)
    if contains_card_number(text) or is_secret_name(text):
        faults.append(Fault("own_columns", "no column for card numbers or security codes"))
    elif not _NAME.fullmatch(text) or sum(map(str.isdigit, text)) > _MOST_DIGITS:
        allowed = f"names of 1 to 40 lower-case letters, digits (at most {_MOST_DIGITS}) and underscores"
        faults.append(Fault("own_columns", allowed, seen=text[:40]))
    elif text in columns() or text in feature_names() or text in {"candidate_id", "wait_s"}:
        faults.append(Fault(f"own_columns.{text}", "a name that Payrescue does not use itself"))
    else:
        return True
    return False


def _parts(where: str, told: object, faults: list[Fault]) -> Sequence[str]:
    """Label, unit, group and kind; noted where they are not as they should be."""
    if not isinstance(told, Mapping):
        faults.append(Fault(where, "label, unit, group and kind"))
        return ("",) * len(_PARTS)
    faults += [Fault(f"{where}.{name}", f"one of {', '.join(_PARTS)}") for name in told.keys() - {*_PARTS}]
    parts: dict[str, Any] = {name: told.get(name) for name in _PARTS}
    if parts["unit"] is None and parts["kind"] == "categorical":
        parts["unit"] = "category"
    for name, longest in _LONGEST.items():
        text = parts[name]
        if not isinstance(text, str) or not 0 < len(text) <= longest or not text.isprintable():
            seen = None if text is None else str(text)[:40]
            faults.append(Fault(f"{where}.{name}", f"1 to {longest} printable characters", seen=seen))
        elif contains_card_number(text):
            faults.append(Fault(f"{where}.{name}", "no card number"))
    for name, allowed in (("group", GROUPS), ("kind", KINDS)):
        if parts[name] not in allowed:
            seen = None if parts[name] is None else str(parts[name])[:40]
            wanted = f"one of {', '.join(allowed)}" if len(allowed) > 2 else " or ".join(allowed)
            faults.append(Fault(f"{where}.{name}", wanted, seen=seen))
    return [str(parts[field.name]) for field in fields(OwnColumn)[1:]]
