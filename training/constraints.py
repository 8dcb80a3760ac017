"""What a data scientist demands of a model beforehand: what may only rise or fall with a feature, and what it may not use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from features.columns import CATEGORIES
from features.definitions import GROUPS
from features.errors import BadInput, Fault
from features.own import OwnColumn, all_features

__all__ = ["HEADS", "left_out", "read_monotone"]

HEADS = ("success", *CATEGORIES)
"""The heads whose answer can be held. `success` is P(success) as it is served, so that it holds every stage, too."""

_SIGNS = {"increasing": 1, "decreasing": -1}
_GROUP = "group:"


def read_monotone(told: object, own: tuple[OwnColumn, ...] = ()) -> dict[str, dict[str, int]]:
    """By head and feature, whether the log-odds of the head's first answer rise (1) or fall (-1). Raises BadInput.

    To succeed is to fall at no stage: what success may only rise with, falling at each stage may only fall with.

    >>> read_monotone({"form_errors": "decreasing"})["bank_decline"]
    {'form_errors': 1}
    """
    if not told:
        return {}
    if not isinstance(told, Mapping):
        raise BadInput("settings", [Fault("monotone", "increasing or decreasing, by feature")])
    numbers = {feature.name: not feature.categories for feature in all_features(own)}
    faults: list[Fault] = []
    held: dict[str, dict[str, int]] = {}
    for name, asked in told.items():
        where = f"monotone.{name}"
        if name not in numbers:
            faults.append(Fault(where, "a feature, or an own column"))
        elif not numbers[name]:
            faults.append(Fault(where, "a feature that is a number, not a category"))
        else:
            for head, sign in _by_head(where, asked, faults):
                if held.setdefault(head, {}).setdefault(str(name), sign) != sign:
                    faults.append(Fault(where, f"one direction for {head}: success rises where no stage does"))
    if faults:
        raise BadInput("settings", faults[:20])
    return held


def _by_head(where: str, asked: object, faults: list[Fault]) -> Iterator[tuple[str, int]]:
    """Heads and their directions, of one feature."""
    by = asked if isinstance(asked, Mapping) else {"success": asked}
    for head, direction in by.items():
        if head not in HEADS:
            faults.append(Fault(f"{where}.{head}", f"a head: one of {', '.join(HEADS)}"))
        elif direction not in _SIGNS:
            faults.append(Fault(f"{where}.{head}", "increasing or decreasing", seen=str(direction)[:40]))
        else:
            sign = _SIGNS[str(direction)]
            yield head, sign
            if head == "success":
                yield from ((stage, -sign) for stage in CATEGORIES)


def left_out(told: str, own: tuple[OwnColumn, ...] = ()) -> frozenset[str]:
    """The features that are named, by comma, or are in a group that is: `group:calendar`. Raises BadInput.

    >>> sorted(left_out("group:form, hour"))
    ['form_errors', 'form_seconds', 'hour']
    """
    by_name = {feature.name: feature for feature in all_features(own)}
    names, faults = set(), []
    for name in filter(None, (part.strip() for part in told.split(","))):
        group = name.removeprefix(_GROUP)
        if name == "none":
            continue
        if name.startswith(_GROUP) and group in GROUPS:
            names |= {feature.name for feature in by_name.values() if feature.group == group}
        elif name in by_name:
            names.add(name)
        else:
            faults.append(Fault("leave_out", f"a feature, or group: and one of {', '.join(GROUPS)}", seen=name[:40]))
    if faults:
        raise BadInput("settings", faults[:20])
    return frozenset(names)
