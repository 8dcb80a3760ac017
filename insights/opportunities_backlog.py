"""Hypotheses about what to change: those that the data suggests, and a product owner's own, from a YAML file.

opportunities:
  - id: skip_the_gateway          # new: a hypothesis of your own
    change: "Offer first-time payers quick pay instead of the bank's page"
    segment: {country: KR, first_time: true}
    from: {method: bank_transfer}
    to: {method: quick_pay}
    effort: "3 weeks, one team"
  - id: route:US:card:delta>north  # one that was generated: what you say replaces what it said
    change: "Send US cards over north"
    effort: "a day"
    hide: false
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from features.cards import contains_card_number
from features.definitions import feature_names
from features.errors import BadInput, CardNumberFound, Fault
from insights.opportunities_sides import Side, faults_of

__all__ = ["Backlog", "Hypothesis", "read_backlog"]

_WORDS = ("change", "effort")
_SIDES = ("segment", "from", "to")
_FIELDS = ("id", *_WORDS, *_SIDES, "driver", "hide")
_LARGEST_FILE = 1_000_000


@dataclass(frozen=True)
class Hypothesis:
    """If attempts of `segment` that are as `before` says were as `after` says, more would succeed.

    `driver` is the feature that the change moves. `change` in words; `effort` is whatever its owner writes; `own`: somebody
    wrote it, rather than the data.
    """

    id: str
    driver: str
    segment: Side
    before: Side
    after: Side
    change: str
    effort: str = ""
    own: bool = False


@dataclass(frozen=True)
class Backlog:
    """What the file says: hypotheses of its own, words for generated ones by id, and ids not to show."""

    own: tuple[Hypothesis, ...] = ()
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()


def read_backlog(path: Path) -> Backlog:
    """The backlog in a YAML file. Raises BadInput with everything in it that cannot be used."""
    import yaml

    try:
        with path.open("rb") as file:
            told = yaml.safe_load(file.read(_LARGEST_FILE).decode())
    except OSError as error:
        raise BadInput(str(path), message=f"cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise BadInput(str(path), message="is no YAML; want a list under `opportunities`") from None
    if contains_card_number(str(told)):
        raise CardNumberFound(str(path), message="holds a card number; want none, here or anywhere")
    listed = told.get("opportunities") if isinstance(told, dict) and set(told) == {"opportunities"} else None
    if not isinstance(listed, list):
        raise BadInput(str(path), message="want a list under `opportunities`, and nothing else")
    faults: list[Fault] = []
    for place, one in enumerate(listed):
        faults += _faults(f"opportunities[{place}]", one)
    ids = [one["id"] for one in listed if isinstance(one, dict) and isinstance(one.get("id"), str)]
    faults += [Fault("id", "each once", seen=name) for place, name in enumerate(ids) if name in ids[:place]]
    if faults:
        raise BadInput(str(path), faults)
    return Backlog(
        own=tuple(_hypothesis(one) for one in listed if _is_own(one)),
        words={one["id"]: {name: one[name] for name in _WORDS if name in one} for one in listed if not _is_own(one)},
        hidden=frozenset(one["id"] for one in listed if one.get("hide")),
    )


def _is_own(one: Mapping[str, Any]) -> bool:
    return any(name in one for name in _SIDES)


def _faults(where: str, one: Any) -> list[Fault]:
    if not isinstance(one, dict):
        return [Fault(where, "{" + ", ".join(_FIELDS) + "}", seen=str(one)[:40])]
    faults = [Fault(f"{where}.{name}", "one of " + ", ".join(_FIELDS)) for name in one if name not in _FIELDS]
    faults += [
        Fault(f"{where}.{name}", "text of 1 to 500 characters", seen=str(one[name])[:40])
        for name in ("id", "driver", *_WORDS)
        if name in one and not (isinstance(one[name], str) and 0 < len(one[name]) <= 500)
    ]
    if "id" not in one:
        faults.append(Fault(f"{where}.id", "a name of its own, or that of a generated hypothesis"))
    if not isinstance(one.get("hide", False), bool):
        faults.append(Fault(f"{where}.hide", "true or false", seen=str(one["hide"])[:40]))
    if _is_own(one):
        for name in _SIDES:
            faults += faults_of(f"{where}.{name}", one.get(name, {}))
        faults += [
            Fault(f"{where}.{name}", "what differs, such as {method: quick_pay}")
            for name in ("from", "to")
            if not one.get(name)
        ]
        if "driver" in one and one["driver"] not in feature_names():
            faults.append(
                Fault(f"{where}.driver", "the name of a feature, such as auth_steps", seen=str(one["driver"])[:40])
            )
    return faults


def _hypothesis(one: Mapping[str, Any]) -> Hypothesis:
    column = next(iter(one["to"]))
    return Hypothesis(
        id=one["id"],
        driver=one.get("driver", column),
        segment=one.get("segment", {}),
        before=one["from"],
        after=one["to"],
        change=one.get("change", f"{column} as in {one['to']}"),
        effort=one.get("effort", ""),
        own=True,
    )
