"""The card networks' rules on trying again, as a table with editions (network_rules.csv), and a merchant's own on top.

Kinds of rule: `never`, the same means is not tried again after a code that names the rule (the codes stand in
features/codes.csv, column `rule`); `wait`, not sooner than the code says (column `wait_s` there); `limit`, not once `limit`
declines lie in the last `window_s` seconds. Sources disagree about limits; each row says which edition it follows and, where
they differ, the table keeps the lower figure, since nobody is charged for staying under it.

A limit is counted before an attempt: with a limit of 15, the fifteenth may be made and the sixteenth may not. Of several
rows for one rule the one for the attempt's network comes before `any`, then the one for its region, then the latest that is
in force. A region is the merchant's country, or the buyer's where that is not told.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path

from features.cards import contains_card_number
from features.errors import BadInput, CardNumberFound, Fault
from features.faults import MOST_FAULTS, shown
from features.places import is_country

__all__ = ["COLUMNS", "COUNTS", "KINDS", "Rule", "RuleBook", "network_rules", "read_rules"]

COLUMNS = (
    "rule", "kind", "network", "region", "counts", "window_s", "limit", "edition", "effective_from", "source", "meaning",
)  # fmt: skip
"""The columns of the table, in order."""

KINDS = ("never", "wait", "limit")
COUNTS = ("declines", "declines_of_one_amount")
"""What a limit can count: declined attempts with one credential, of any amount or of the attempt's."""

_ANY = "any"
_OF_CODES = "codes"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_WINDOW_S = 366 * 86_400


@dataclass(frozen=True)
class Rule:
    """One row of the table. `limit` is None where a merchant switched the limit off; `region` lists countries."""

    rule: str
    kind: str
    network: str
    region: tuple[str, ...]
    counts: str
    window_s: int | None
    limit: int | None
    edition: str
    effective_from: date
    source: str
    meaning: str

    @cached_property
    def since(self) -> int:
        """When it comes into force, in microseconds since 1970, UTC."""
        return (datetime.combine(self.effective_from, time(), UTC) - _EPOCH) // timedelta(microseconds=1)

    @property
    def key(self) -> tuple[str, str, tuple[str, ...]]:
        """What a merchant's row has to share with this one to take its place."""
        return self.rule, self.network, self.region


@dataclass(frozen=True)
class RuleBook:
    """All rules, looked up by name, or by network, place and time.

    >>> [rule.limit for rule in network_rules().limits("mastercard", "BR", 1_767_605_400_000_000)]
    [7, 35]
    """

    rules: tuple[Rule, ...]

    def named(self, name: str) -> Rule | None:
        """The rule of that name that codes refer to; None if there is none."""
        return self._by_name.get(name)

    def limits(self, network: str | None, country: str | None, at: int) -> tuple[Rule, ...]:
        """The limits in force for a network (a card brand, in any letter case) in a country, `at` in microseconds."""
        brand = network.casefold() if network else None
        known = (
            brand if brand in self._networks else None,
            country if country in self._countries else None,
        )
        found = []
        for versions in self._limits[known]:
            for rule in versions:
                if rule.since <= at:
                    if rule.limit is not None:
                        found.append(rule)
                    break
        return tuple(found)

    @cached_property
    def _by_name(self) -> Mapping[str, Rule]:
        return {rule.rule: rule for rule in self.rules if rule.kind != "limit"}

    @cached_property
    def _networks(self) -> frozenset[str]:
        return frozenset(rule.network for rule in self.rules if rule.kind == "limit")

    @cached_property
    def _countries(self) -> frozenset[str]:
        return frozenset(country for rule in self.rules for country in rule.region)

    @cached_property
    def _limits(self) -> Mapping[tuple[str | None, str | None], Sequence[Sequence[Rule]]]:
        """For every network and country that a row names, and None for the others: each limit's rows, the first first."""
        places: dict[tuple[str | None, str | None], list[list[Rule]]] = {}
        for network in (*self._networks, None):
            for country in (*self._countries, None):
                by_name: dict[str, list[Rule]] = {}
                for rule in self.rules:
                    there = rule.network in {network, _ANY} and (not rule.region or country in rule.region)
                    if rule.kind == "limit" and there:
                        by_name.setdefault(rule.rule, []).append(rule)
                places[network, country] = [sorted(rows, key=_first_come) for rows in by_name.values()]
        return places


def _first_come(rule: Rule) -> tuple[bool, bool, int]:
    return rule.network == _ANY, not rule.region, -rule.since


@cache
def network_rules() -> RuleBook:
    """The table as it ships."""
    with files("models").joinpath("network_rules.csv").open(encoding="utf-8") as file:
        return RuleBook(tuple(_read(file, "network_rules.csv")))


def read_rules(path: Path) -> RuleBook:
    """The shipped table with a merchant's rows in place of those that have their rule, network and region.

    `path` is a CSV of the same columns. New limits may be added, for a network or for `any` way to pay; a limit of `none`
    switches one off. What codes forbid cannot be switched off: its rows may only name another edition, source and meaning.
    Raises BadInput naming row, column, value and what is allowed.
    """
    shipped = network_rules()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            theirs = _read(file, str(path), shipped)
    except OSError as error:
        raise BadInput(str(path), message=f"cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error):
        raise BadInput(str(path), message="is no CSV in UTF-8; want the columns of models/network_rules.csv") from None
    replaced = {rule.key for rule in theirs}
    return RuleBook((*(rule for rule in shipped.rules if rule.key not in replaced), *theirs))


def _read(lines: Iterable[str], source: str, shipped: RuleBook | None = None) -> list[Rule]:
    reader = csv.DictReader(lines, strict=True)
    rows = list(reader)
    header = tuple(reader.fieldnames or ())
    wrong = [name for name in COLUMNS if name not in header] + [name for name in header if name not in COLUMNS]
    if wrong or len(header) != len(COLUMNS):
        first = shown(wrong[0]) if wrong else "header"
        raise BadInput(source, [Fault(first, f"exactly the columns {', '.join(COLUMNS)}")])
    if any(contains_card_number(cell) for row in rows for cell in row.values() if isinstance(cell, str)):
        raise CardNumberFound(source, message="holds a card number; want none, here or anywhere")
    faults: list[Fault] = []
    rules: list[Rule] = []
    seen: set[tuple[str, str, tuple[str, ...], date]] = set()
    for number, row in enumerate(rows, start=1):
        if len(row) != len(COLUMNS) or None in row.values():
            faults.append(Fault("row", f"{len(COLUMNS)} values", row=number))
            continue
        cells = {name: cell.strip() for name, cell in row.items()}
        found = [Fault(name, wanted, shown(cells[name]), number) for name, wanted in _unwanted(cells, shipped)]
        faults += found
        if not found:
            rule = _rule(cells)
            if (*rule.key, rule.effective_from) in seen:
                wanted = "one row for each rule, network, region and date"
                faults.append(Fault("rule", wanted, shown(rule.rule), number))
            seen.add((*rule.key, rule.effective_from))
            rules.append(rule)
    if faults:
        raise BadInput(source, faults[:MOST_FAULTS])
    return rules


def _unwanted(cells: Mapping[str, str], shipped: RuleBook | None) -> Iterable[tuple[str, str]]:
    """Each column whose cell cannot be used, with what is allowed."""
    if not _NAME.fullmatch(cells["rule"]):
        yield "rule", "a name in small letters, digits and _, such as visa_declines_30_days"
    if not _NAME.fullmatch(cells["network"]):
        yield "network", "a card brand in small letters, such as visa, or any"
    if cells["region"] != _ANY and not all(map(is_country, cells["region"].split("|"))):
        yield "region", "ISO 3166-1 alpha-2 codes with | between them, such as BR, or any"
    yield from ((name, "some text") for name in ("edition", "source", "meaning") if not cells[name])
    if not _is_date(cells["effective_from"]):
        yield "effective_from", "a date such as 2026-04-18"
    if cells["kind"] not in KINDS:
        yield "kind", "one of " + ", ".join(KINDS)
    elif cells["kind"] == "limit":
        yield from _unwanted_of_limit(cells, shipped)
    else:
        yield from _unwanted_of_codes(cells, shipped)


def _unwanted_of_limit(cells: Mapping[str, str], shipped: RuleBook | None) -> Iterable[tuple[str, str]]:
    if cells["counts"] not in COUNTS:
        yield "counts", "one of " + ", ".join(COUNTS)
    if not _is_whole(cells["window_s"], _LONGEST_WINDOW_S):
        yield "window_s", f"a whole number of seconds, from 1 to {_LONGEST_WINDOW_S}"
    if cells["limit"] != "none" and not _is_whole(cells["limit"], 1_000_000):
        yield "limit", "a whole number from 1 on, or none"
    if shipped is not None and shipped.named(cells["rule"]) is not None:
        yield "rule", "another name: codes refer to this one, and it is no limit"


def _unwanted_of_codes(cells: Mapping[str, str], shipped: RuleBook | None) -> Iterable[tuple[str, str]]:
    if cells["counts"] != _OF_CODES:
        yield "counts", _OF_CODES
    yield from ((name, "nothing: codes say it") for name in ("window_s", "limit") if cells[name])
    if shipped is None:
        return
    meant = shipped.named(cells["rule"])
    if meant is None or meant.kind != cells["kind"]:
        known = (rule.rule for rule in shipped.rules if rule.kind == cells["kind"])
        yield "rule", f"for kind {cells['kind']} one that codes refer to: " + ", ".join(known)
    elif (cells["network"], cells["region"]) != (meant.network, _ANY):
        yield "network", f"{meant.network}, in region any, as codes belong to networks and hold everywhere"


def _is_whole(text: str, most: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text) >= date(1970, 1, 1)
    except ValueError:
        return False


def _rule(cells: Mapping[str, str]) -> Rule:
    region = () if cells["region"] == _ANY else tuple(sorted(set(cells["region"].split("|"))))
    return Rule(
        rule=cells["rule"],
        kind=cells["kind"],
        network=cells["network"],
        region=region,
        counts=cells["counts"],
        window_s=int(cells["window_s"]) if cells["window_s"] else None,
        limit=int(cells["limit"]) if cells["limit"] not in {"", "none"} else None,
        edition=cells["edition"],
        effective_from=date.fromisoformat(cells["effective_from"]),
        source=cells["source"],
        meaning=cells["meaning"],
    )
