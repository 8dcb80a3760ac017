"""Every rule above the model in readable form: the networks', a merchant's own, and those of the decision table."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from importlib.resources import files
from textwrap import wrap

from features.faults import shown
from models.actions import DecisionTable
from models.rules import Rule, RuleBook
from models.rules_codes import rule_name

__all__ = ["told"]

_WIDTH = 100
_SPANS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def told(book: RuleBook, table: DecisionTable, network: str | None = None) -> str:
    """The rules as text, each with its edition, date and source; of one network and of all, where `network` is given."""
    wanted = network.casefold() if network else None
    blocks = [
        _block(rule.rule, _scope(rule), _holds(rule), _origin(rule), rule.meaning)
        for rule in book.rules
        if wanted is None or rule.network in {wanted, "any"}
    ]
    if wanted is not None and all(rule.network != wanted for rule in book.rules):
        blocks.insert(0, f"No rule is for {shown(wanted)} alone. These hold for every way to pay:")
    own = f"edition {table.edition}. Source: the decision table"
    blocks += [
        _block(name, "any way to pay", f"after {', '.join(after)}", own, why) for name, after, why in _own(table)
    ]
    return "\n\n".join(blocks)


def _block(rule: str, scope: str, holds: str, origin: str, meaning: str) -> str:
    lines = [f"{rule}  ({scope})"]
    for text in (meaning, holds, origin):
        lines += wrap(text, _WIDTH, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def _scope(rule: Rule) -> str:
    network = "any way to pay" if rule.network == "any" else rule.network
    return f"{network}, {' '.join(rule.region)}" if rule.region else network


def _holds(rule: Rule) -> str:
    if rule.kind != "limit":
        return f"after {'; '.join(_codes(rule))}"
    if rule.limit is None or rule.window_s is None:
        return "switched off"
    what = "declines of one amount" if rule.counts == "declines_of_one_amount" else "declines"
    return f"no further try after {rule.limit} {what} within {_span(rule.window_s)}"


def _origin(rule: Rule) -> str:
    return f"edition {rule.edition}, in force since {rule.effective_from}. Source: {rule.source}"


def _span(seconds: int) -> str:
    """Whole units of time.

    >>> _span(86_400), _span(5_400)
    ('1 day', '90 minutes')
    """
    size, unit = next((size, unit) for size, unit in _SPANS if seconds % size == 0)
    count = seconds // size
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _codes(rule: Rule) -> Iterator[str]:
    """The codes that a rule is about, by scheme."""
    with files("features").joinpath("codes.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    by_scheme: dict[str, list[str]] = {}
    for row in rows:
        never = rule_name(row["rule"], row["sub_reason"]) if row["rule"] or row["advice"] == "never" else None
        waits = row["wait_s"] and f"{row['scheme']}_wait" == rule.rule
        if never == rule.rule or waits:
            by_scheme.setdefault(row["scheme"], []).append(row["code"])
    return (f"{scheme} {' '.join(codes)}" for scheme, codes in by_scheme.items())


def _own(table: DecisionTable) -> Iterator[tuple[str, list[str], str]]:
    """The decision table's own rules: name, the reasons after which each holds, and why."""
    found: dict[str, tuple[list[str], str]] = {}
    for reason, plan in table.plans.items():
        named = {never.rule: never.because for never in plan.never.values()}
        if plan.always is not None and plan.always.rule:
            named.setdefault(plan.always.rule, plan.always.because)
        for rule, why in named.items():
            found.setdefault(rule, ([], why))[0].append(reason)
    return ((rule, after, why) for rule, (after, why) in found.items())
