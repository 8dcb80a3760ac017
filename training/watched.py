"""What is watched of a table of attempts: everything that comes in from outside, in bins that two tables can be compared by.

What sums up the past (recent success rates and the like) is not watched: it moves with outcomes, and those are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.columns import OUTCOMES
from features.definitions import EVIDENCE_CODES, EVIDENCE_NUMBERS, RAW_CODES, RAW_NUMBERS, features
from features.kernel import PENDING
from features.own import OwnColumn
from features.rows import Encoder, Rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "BLOCK_US",
    "DAY_US",
    "DECILES",
    "Watched",
    "absent",
    "codes_of",
    "mature",
    "own_values",
    "tally",
    "watched",
]

Array = npt.NDArray[Any]

DAY_US, BLOCK_US = 86_400_000_000, 14_400_000_000
DECILES = np.linspace(0.1, 0.9, 9)

_MOST_LABELS = 40
_OTHER, _MISSING = "(others)", "(missing)"
_CLOCKS = {"customer_tenure_days": 1.0, "prior_payments": 0.0, "card_months_to_expiry": 0.0}
"""Columns that move by themselves as customers and cards grow older, and up to where a value says: newly come, or run out."""


@dataclass(frozen=True)
class Watched:
    """One thing that is watched: which bin each attempt of `rows` (positions in the table) is in.

    `edges` are those of a number's bins, which are then in order; `family` says what a drift of it means.
    """

    name: str
    label: str
    family: str  # features | evidence | outcomes | delay
    labels: tuple[str, ...]
    bins: Array
    rows: Array
    edges: tuple[float, ...] | None = None


def mature(rows: Rows, maturity_us: int) -> Array:
    """Attempts so old, at the last thing told, that what became of them would be known, had it come as it used to."""
    known = rows.resolved[rows.resolved != PENDING]
    until = max(int(rows.created.max()), int(known.max()) if len(known) else 0)
    old: Array = rows.created <= until - maturity_us
    return old


def watched(
    table: pd.DataFrame, encoder: Encoder, rows: Rows, old: Array, edges: Mapping[str, Sequence[float]]
) -> Iterator[Watched]:
    """All that is watched of a table, in turn. `old` masks the attempts whose outcome should be known; `edges` are those of
    numbers' bins by name, found from the table where they are not given."""
    every, matured = np.arange(len(rows)), np.flatnonzero(old)
    labels = {feature.name: feature.label for feature in features()}

    def number(name: str, label: str, family: str, values: Array, there: Array) -> Watched:
        found = edges.get(name)
        known = values[~np.isnan(values)]
        if found is None:
            found = _edges(name, known)
        cuts = np.array(found, float)
        bins = np.where(np.isnan(values), len(cuts) + 1, np.searchsorted(cuts, values, side="left"))
        named = _ranges(cuts)
        return Watched(name, label, family, (*named, _MISSING), bins, there, tuple(cuts.tolist()))

    scale = np.log2(np.maximum(rows.numbers[:, 0], 1.0) / rows.reference[:, 0]) - rows.reference[:, 1]
    yield number("amount", labels["amount_against_usual"], "features", scale, every)
    for place, name in enumerate(RAW_NUMBERS):
        if name != "amount_minor":
            yield number(name, labels[name], "features", rows.numbers[:, place], every)
    coded = {name: _coded(table, name, rows.codes[:, place], encoder) for place, name in enumerate(RAW_CODES)}
    for name, (bins, named) in coded.items():
        yield Watched(name, labels[name], "features", named, bins, every)
    for own, values in own_values(encoder, rows):
        if own.kind == "numeric":
            yield number(own.name, own.label, "features", values, every)
        else:
            bins, named = _coded(table, own.name, codes_of(values), encoder)
            yield Watched(own.name, own.label, "features", named, bins, every)
    yield Watched(
        "customer_id",
        "whether the customer is told",
        "features",
        ("told", _MISSING),
        absent(table, "customer_id"),
        every,
    )
    left = table[[name for name in (*EVIDENCE_NUMBERS, *EVIDENCE_CODES, "code_scheme") if name in table]].iloc[matured]
    evidence = encoder.evidence_of_table(left)
    yield number("duration_s", "how long attempts take, s", "evidence", rows.duration[matured], matured)
    for place, name in enumerate(EVIDENCE_CODES, start=evidence.shape[1] - len(EVIDENCE_CODES)):
        bins, named = _coded(left, name, codes_of(evidence[:, place]), encoder)
        yield Watched(name, name.replace("_", " "), "evidence", named, bins, matured)
    ended = np.array([*OUTCOMES, "unclassified", "pending"])
    outcome = np.where(rows.outcome[matured] < 0, len(ended) - 1, rows.outcome[matured])
    yield Watched("outcome", "what becomes of attempts", "outcomes", tuple(ended.tolist()), outcome, matured)
    for name in ("route", "issuer", "method"):
        bins, named = coded[name]
        yield _pair(
            f"{name} → outcome",
            f"what becomes of attempts, by {name}",
            "outcomes",
            (bins[matured], named),
            outcome,
            ended,
            matured,
        )
    delay = np.where(rows.resolved[matured] == PENDING, np.nan, (rows.resolved[matured] - rows.created[matured]) / 1e6)
    yield number("delay_s", "time until an outcome is known, s", "delay", delay, matured)


def own_values(encoder: Encoder, rows: Rows) -> Iterator[tuple[OwnColumn, Array]]:
    """The merchant's own columns, each with the values or codes of the rows, shape (n,), NaN where missing or never seen."""
    theirs = rows.own if rows.own is not None else np.empty((len(rows), 0))
    return zip(encoder.own, theirs.T, strict=True)


def codes_of(values: Array) -> Array:
    """Codes as integers, −1 for NaN."""
    codes: Array = np.where(np.isnan(values), -1, values).astype(np.int64)
    return codes


def _edges(name: str, known: Array) -> list[float]:
    """Where a number's bins end: at its deciles; a clock's by who has just come, and what is beyond twice the largest."""
    if not len(known):
        return []
    if name in _CLOCKS:
        return [_CLOCKS[name], 2.0 * max(float(known.max()), 1.0)]
    edges: list[float] = np.unique(np.quantile(known, DECILES)).tolist()
    return edges


def _pair(
    name: str, label: str, family: str, first: tuple[Array, Sequence[str]], second: Array, ended: Array, rows: Array
) -> Watched:
    bins, named = first
    labels = tuple(f"{one}: {two}" for one in named for two in ended.tolist())
    return Watched(name, label, family, labels, bins * len(ended) + second, rows)


def _coded(table: pd.DataFrame, name: str, codes: Array, encoder: Encoder) -> tuple[Array, tuple[str, ...]]:
    """Bins of a category: its most frequent values, the others, and none told."""
    named = encoder.vocabularies.get(name, ())[:_MOST_LABELS]
    n = len(named)
    bins = np.where((codes < 0) | (codes >= n), n, codes)
    return np.where(absent(table, name) > 0, n + 1, bins), (*named, _OTHER, _MISSING)


def absent(table: pd.DataFrame, name: str) -> Array:
    """1 where a column tells nothing of an attempt, else 0."""
    return table[name].isna().to_numpy().astype(np.int64) if name in table else np.ones(len(table), np.int64)


def _ranges(cuts: Array) -> list[str]:
    if not len(cuts):
        return ["any"]
    told = [f"{cut:.4g}" for cut in cuts]
    between = [f"over {low} to {high}" for low, high in pairwise(told)]
    return [f"up to {told[0]}", *between, f"over {told[-1]}"]


def tally(bins: Array, n_bins: int, created: Array, first_day: int, n_days: int) -> tuple[Array, Array]:
    """Attempts by day and bin, shape (n_days, n_bins), and by four-hour block of the day and bin, shape (6, n_bins)."""
    day, block = created // DAY_US - first_day, created % DAY_US // BLOCK_US
    days: Array = np.bincount(day * n_bins + bins, minlength=n_days * n_bins).reshape(n_days, n_bins)
    hours: Array = np.bincount(block * n_bins + bins, minlength=6 * n_bins).reshape(6, n_bins)
    return days, hours
