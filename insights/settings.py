"""What a merchant can tell the pages, in one YAML file: targets, what happened when, money, hypotheses.

targets: {attempt: 0.80, payment: 0.86, first_time: 0.70}   # success rates to reach, each a share
currency: EUR                                    # what money is told in
rates: {KRW: 0.00062, JPY: 0.0058}               # major units of `currency` for one major unit of another
marks:
  - {kind: release, at: 2026-01-12, label: checkout 4.2}
  - {kind: experiment, at: 2026-01-15, until: 2026-01-29, label: fewer passwords}
  - {kind: outage, at: "2026-01-20T03:00", until: "2026-01-20T09:00", label: north}
backlog: hypotheses.yaml                         # beside this file
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from features.cards import contains_card_number
from features.errors import BadInput, Fault
from features.places import is_currency

__all__ = ["DEFINITIONS", "MARK_KINDS", "InsightSettings", "Mark", "read_insight_settings"]

DEFINITIONS = ("attempt", "payment", "first_time")
"""The three success rates: per attempt, per payment, of the payments of first-time payers."""

MARK_KINDS = ("release", "experiment", "outage")
"""What can be marked in time."""

_KNOWN = ("targets", "currency", "rates", "marks", "backlog")
_LONGEST_LABEL = 60


@dataclass(frozen=True)
class Mark:
    """Something that happened: microseconds since 1970, UTC; `until` None for a moment.

    `detected` marks were found in the attempts, not told.
    """

    kind: str
    at: int
    until: int | None
    label: str
    detected: bool = False


@dataclass(frozen=True)
class InsightSettings:
    """Settings of the pages. `targets` by definition; `rates` in major units of `currency`; `backlog` a YAML file."""

    targets: Mapping[str, float] = field(default_factory=dict)
    currency: str | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()
    backlog: Path | None = None


def read_insight_settings(path: Path | None) -> InsightSettings:
    """The settings in a file, the defaults without one. Raises BadInput that tells everything that cannot be used."""
    if path is None:
        return InsightSettings()
    told = _read(path)
    faults = [Fault(str(name), "one of " + ", ".join(_KNOWN)) for name in told if name not in _KNOWN]
    targets = _shares(told.get("targets"), faults)
    currency, rates = _money(told.get("currency"), told.get("rates"), faults)
    listed = told.get("marks") or []
    if not isinstance(listed, list):
        faults.append(Fault("marks", "a list of marks, each with kind, at and label"))
        listed = []
    marks = tuple(mark for i, item in enumerate(listed, 1) if (mark := _mark(i, item, faults)) is not None)
    backlog = told.get("backlog")
    if backlog is not None and not isinstance(backlog, str):
        faults.append(Fault("backlog", "the name of a YAML file beside this one"))
    if faults:
        raise BadInput(str(path), faults)
    return InsightSettings(targets, currency, rates, marks, path.parent / backlog if backlog else None)


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(str(path), message=f"cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise BadInput(str(path), message="is no YAML; want lines such as `currency: EUR`") from None
    if told is None:
        return {}
    if not isinstance(told, dict):
        raise BadInput(str(path), message="want settings by name, such as `currency: EUR`")
    return told


def _shares(told: Any, faults: list[Fault]) -> dict[str, float]:
    """Targets by definition."""
    found: dict[str, float] = {}
    if told is not None and not isinstance(told, dict):
        faults.append(Fault("targets", "a share for each of " + ", ".join(DEFINITIONS)))
        return found
    for name, share in (told or {}).items():
        if name not in DEFINITIONS:
            faults.append(Fault(f"targets.{name}", "one of " + ", ".join(DEFINITIONS)))
        elif isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 < share < 1.0:
            faults.append(Fault(f"targets.{name}", "a share between 0 and 1, such as 0.85", seen=str(share)[:20]))
        else:
            found[name] = float(share)
    return found


def _money(currency: Any, rates: Any, faults: list[Fault]) -> tuple[str | None, dict[str, float]]:
    allowed = "an ISO 4217 code, such as EUR"
    if currency is not None and (not isinstance(currency, str) or not is_currency(currency)):
        faults.append(Fault("currency", allowed, seen=str(currency)[:20]))
        currency = None
    found: dict[str, float] = {}
    if rates is not None and (not isinstance(rates, dict) or currency is None):
        faults.append(Fault("rates", "a number for each other currency, beside `currency`"))
        return currency, found
    for name, rate in (rates or {}).items():
        if not isinstance(name, str) or not is_currency(name):
            faults.append(Fault(f"rates.{name}", allowed))
        elif isinstance(rate, bool) or not isinstance(rate, int | float) or not 0.0 < rate < 1e9:
            faults.append(Fault(f"rates.{name}", f"a number above 0: {currency} for one {name}", seen=str(rate)[:20]))
        else:
            found[name] = float(rate)
    return currency, found


def _mark(row: int, told: Any, faults: list[Fault]) -> Mark | None:
    entry = told if isinstance(told, dict) else {}
    before = len(faults)
    kind, label = entry.get("kind"), entry.get("label")
    if kind not in MARK_KINDS:
        faults.append(Fault("marks.kind", "one of " + ", ".join(MARK_KINDS), seen=str(kind)[:20], row=row))
    if not isinstance(label, str) or not 0 < len(label) <= _LONGEST_LABEL or contains_card_number(label):
        faults.append(Fault("marks.label", f"a text of up to {_LONGEST_LABEL} characters", row=row))
    at, until = _moment(entry.get("at")), _moment(entry.get("until"))
    allowed = "a date or a time in UTC, such as 2026-01-12 or 2026-01-12T09:30"
    if at is None:
        faults.append(Fault("marks.at", allowed, seen=str(entry.get("at"))[:20], row=row))
    if entry.get("until") is not None and (until is None or (at is not None and until <= at)):
        faults.append(Fault("marks.until", allowed + ", after `at`", seen=str(entry["until"])[:20], row=row))
    if len(faults) > before or at is None:
        return None
    return Mark(str(kind), at, until, str(label))


def _moment(told: Any) -> int | None:
    """Microseconds since 1970 of what YAML makes of a date or a time; without a zone it is UTC."""
    if isinstance(told, str):
        try:
            told = datetime.fromisoformat(told)
        except ValueError:
            return None
    if isinstance(told, date) and not isinstance(told, datetime):
        told = datetime(told.year, told.month, told.day)
    if not isinstance(told, datetime):
        return None
    aware = told if told.tzinfo is not None else told.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1e6)
