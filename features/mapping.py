"""Other people's attempts: which of their columns and values mean what in the attempts table.

A mapping is a YAML file. Every scalar in it is read as text, so that NO is Norway and 05 stays 05.

    delimiter: ";"               of CSV files; "," if left out
    timezone: Europe/Berlin      where times are that name no zone; without it, such times are refused
    ignore: [reason]             columns of theirs to leave out
    columns:                     column of the attempts table: where it comes from
      route: PSP                 a column of theirs as it is; short for {from: PSP}
      country:
        from: land
        values: {Deutschland: DE, Schweiz: CH}   their value: ours; "" makes it missing
        others: refuse           other values are refused (the default), kept (keep) or dropped (missing)
      currency: {constant: EUR}  one value for every row
      amount_minor: {from: amount, unit: major}  5.25 EUR become 525, by the row's currency
      duration_s: {from: took_ms, factor: 0.001}
      created_at: {from: time, format: "%d.%m.%Y %H:%M"}   as strptime has it; ISO 8601 if left out
      resolved_at: {from: sent, epoch: ms, plus_s: 2}      s, ms or us since 1970; two seconds later
      attempt_id: {template: "shop-{id}"}        their columns in braces; {row} is the row, from 1
      propensity:                one rule for a payment's first attempt, another for its retries
        first: {from: PSP, values: {north: 0.7, harbor: 0.3}}
        later: {constant: 0.5}
    payments:                    finds payment_id where they have none
      same: [country, amount_minor, card_brand]  what a payment's attempts share, in our columns
      within_s: 60               from one attempt to the next, at most
      until: success             an attempt with this outcome is its payment's last

A column of theirs that has a name of ours is taken as it is unless the mapping says otherwise; others are
ignored. Payments are found in the order of created_at, and among equal times as the file has it; a payment's
id is the attempt_id of its first attempt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from features.columns import Column, columns
from features.errors import BadInput, Fault

__all__ = ["Mapping", "Payments", "Rule", "parse_mapping", "read_mapping"]

Others = Literal["refuse", "keep", "missing"]
Epoch = Literal["s", "ms", "us"]
Unit = Literal["minor", "major"]


@dataclass(frozen=True)
class Rule:
    """Where one column comes from: one of `source`, `constant`, `template`, or `first` and `later`."""

    source: str | None = None
    constant: str | None = None
    template: str | None = None
    first: Rule | None = None
    later: Rule | None = None
    values: dict[str, str] | None = None
    others: Others = "refuse"
    unit: Unit = "minor"
    factor: float = 1.0
    format: str | None = None
    epoch: Epoch | None = None
    plus_s: float = 0.0


@dataclass(frozen=True)
class Payments:
    """A payment's attempts share `same`, are at most `within_s` apart, and only the last may be `until`."""

    same: tuple[str, ...]
    within_s: float
    until: str | None = None


@dataclass(frozen=True)
class Mapping:
    """A mapping as its file says; `name` is the file's, for messages."""

    rules: dict[str, Rule] = field(default_factory=dict)
    timezone: str | None = None
    delimiter: str = ","
    ignore: tuple[str, ...] = ()
    payments: Payments | None = None
    name: str = "mapping"


def read_mapping(path: str | Path, extra: Sequence[Column] = ()) -> Mapping:
    """The mapping in a YAML file. `extra` are columns beyond the contract's that it may fill.

    Raises BadInput with all that is wrong in it.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadInput(str(path), message="is not UTF-8 text; want a mapping in YAML") from None
    except OSError as error:
        raise BadInput(str(path), message=f"cannot be read: {error.strerror}; want a mapping") from None
    return parse_mapping(text, name=str(path), extra=extra)


def parse_mapping(text: str, *, name: str = "mapping", extra: Sequence[Column] = ()) -> Mapping:
    """The mapping that YAML `text` says; `name` stands for it in messages.

    >>> parse_mapping("columns: {currency: {constant: EUR}}").rules["currency"].constant
    'EUR'
    >>> parse_mapping("colums: {}")
    Traceback (most recent call last):
    ...
    features.errors.BadInput: mapping: colums: want one of columns, delimiter, ignore, payments, timezone
    """
    reader = _Reader(columns() | {column.name: column for column in extra})
    mapping = reader.mapping(_load(text, name), name)
    if reader.faults:
        raise BadInput(name, reader.faults[:20])
    return mapping


def _load(text: str, name: str) -> Any:
    """YAML with every scalar as text, in which no key may be said twice."""
    import yaml

    class Loader(yaml.BaseLoader):
        pass

    def construct(loader: Loader, node: yaml.MappingNode) -> dict[str, Any]:
        keys = [str(loader.construct_object(key)) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            line = node.start_mark.line + 1
            raise BadInput(name, [Fault(key, f"to be said once in what begins on line {line}") for key in twice])
        values = [loader.construct_object(value, deep=True) for _, value in node.value]
        return dict(zip(keys, values, strict=True))

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, construct)
    try:
        return yaml.load(text, Loader)  # noqa: S506 - a BaseLoader makes nothing but text
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" on line {mark.line + 1}" if mark is not None else ""
        raise BadInput(name, message=f"is not YAML{where}: {getattr(error, 'problem', 'cannot be read')}") from None


class _Reader:
    """Turns what YAML gave into a Mapping, noting what is wrong on the way."""

    def __init__(self, known: dict[str, Column]) -> None:
        self.known = known
        self.faults: list[Fault] = []

    def fault(self, where: str, allowed: str, seen: object = None) -> None:
        self.faults.append(Fault(where, allowed, None if seen is None else str(seen)[:40]))

    def table(self, node: Any, where: str, allowed: Sequence[str] | None) -> Iterator[tuple[str, Any]]:
        """The entries of a YAML mapping; `allowed` are its keys, any if None."""
        if not isinstance(node, dict):
            self.fault(where, "names and values" if allowed is None else f"one of {', '.join(allowed)}", node)
            return
        for key, value in node.items():
            if allowed is not None and key not in allowed:
                inside = f"{where}.{key}" if where else key
                self.fault(inside, f"one of {', '.join(allowed)}")
            else:
                yield key, value

    def text(self, node: Any, where: str) -> str:
        if isinstance(node, str):
            return node
        self.fault(where, "a text")
        return ""

    def number(self, node: Any, where: str, *, least: float | None = None) -> float:
        try:
            number = float(node)
        except (TypeError, ValueError):
            number = float("nan")
        if not abs(number) <= _LARGEST or (least is not None and number < least):
            self.fault(where, "a number" if least is None else f"a number of at least {least:g}", node)
            return 0.0
        return number

    def choice(self, node: Any, where: str, choices: Sequence[str]) -> Any:
        if node in choices:
            return node
        self.fault(where, f"one of {', '.join(choices)}", node)
        return choices[0]

    def names(self, node: Any, where: str) -> tuple[str, ...]:
        if isinstance(node, list) and node and all(isinstance(name, str) for name in node):
            return tuple(node)
        self.fault(where, "a list of column names")
        return ()

    def ours(self, name: str, where: str) -> None:
        if name not in self.known:
            from difflib import get_close_matches

            close = get_close_matches(name, self.known, n=1)
            hint = f" (is it {close[0]!r}?)" if close else ""
            self.fault(where, f"a column of the attempts table{hint}", name)

    def mapping(self, node: Any, name: str) -> Mapping:
        made: dict[str, Any] = {}
        keys = ("columns", "delimiter", "ignore", "payments", "timezone")
        for key, value in self.table(node, "", keys):
            if key == "columns":
                made["rules"] = self.rules(value)
            elif key == "delimiter":
                made[key] = self.text(value, key)
                if len(made[key]) != 1:
                    self.fault(key, "one character", value)
            elif key == "ignore":
                made[key] = self.names(value, key)
            elif key == "payments":
                made[key] = self.payments(value)
            else:
                made[key] = self.zone(value)
        if made.get("payments") is not None and "payment_id" in made.get("rules", {}):
            self.fault("payments", "either this or columns.payment_id, not both")
        return Mapping(**made, name=name)

    def zone(self, node: Any) -> str:
        from zoneinfo import ZoneInfo

        name = self.text(node, "timezone")
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            self.fault("timezone", "an IANA time zone, such as Europe/Berlin or UTC", name)
        return name

    def payments(self, node: Any) -> Payments | None:
        entries = dict(self.table(node, "payments", ("same", "within_s", "until")))
        for key in ("same", "within_s"):
            if key not in entries:
                self.fault(f"payments.{key}", "this to be said")
        if not {"same", "within_s"} <= entries.keys():
            return None
        same = self.names(entries["same"], "payments.same")
        for name in same:
            self.ours(name, "payments.same")
        return Payments(
            same=same,
            within_s=self.number(entries["within_s"], "payments.within_s", least=0),
            until=self.text(entries["until"], "payments.until") if "until" in entries else None,
        )

    def rules(self, node: Any) -> dict[str, Rule]:
        made = {}
        for name, value in self.table(node, "columns", None):
            self.ours(name, "columns")
            made[name] = self.rule(value, f"columns.{name}", self.known.get(name))
        return made

    def rule(self, node: Any, where: str, column: Column | None) -> Rule:
        if isinstance(node, str):
            return Rule(source=node)
        made: dict[str, Any] = {}
        for key, value in self.table(node, where, self.keys(column)):
            inside = f"{where}.{key}"
            if key in {"first", "later"}:
                made[key] = self.rule(value, inside, column)
            elif key == "values":
                entries = self.table(value, inside, None)
                made[key] = {theirs: self.text(ours, f"{inside}.{theirs}") for theirs, ours in entries}
            elif key in {"factor", "plus_s"}:
                made[key] = self.number(value, inside)
            elif key in _CHOICES:
                made[key] = self.choice(value, inside, _CHOICES[key])
            else:
                made["source" if key == "from" else key] = self.text(value, inside)
        origins = made.keys() & {"source", "constant", "template", "first", "later"}
        if len(origins) != 1 + ("later" in origins) or ("first" in origins) != ("later" in origins):
            self.fault(where, "one of from, constant, template, or first and later")
        return Rule(**made)

    @staticmethod
    def keys(column: Column | None) -> list[str]:
        """What a rule may say of a column of this type."""
        keys = ["from", "constant", "template", "first", "later", "values", "others"]
        if column is not None and column.type == "timestamp":
            keys += ["format", "epoch", "plus_s"]
        if column is not None and column.type in {"int64", "float64"}:
            keys += ["factor"]
        if column is not None and column.name == "amount_minor":
            keys += ["unit"]
        return keys


_LARGEST = 1e9  # seconds in 30 years, and more than any factor between units
_CHOICES: dict[str, tuple[str, ...]] = {
    "others": get_args(Others),
    "epoch": get_args(Epoch),
    "unit": get_args(Unit),
}
