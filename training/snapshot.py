"""What a model's training attempts looked like, small enough to keep beside it: what `payrescue monitor` compares with.

For each thing that is watched, how many attempts of each day fell into each of its bins, for the last eight weeks; by four-hour
block, how many in all; who brought values never seen before; and how far what was predicted was from what came, on the attempts
that judged the model. Counts alone: no attempt, customer or amount can be read out of it.

What sums up the past (recent success rates and the like) is not watched: it moves with outcomes, and those are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.columns import OUTCOMES, columns
from features.definitions import EVIDENCE_CODES, RAW_CODES, RAW_NUMBERS, features
from features.kernel import PENDING
from features.rows import Encoder, Rows
from models.predictor import MATURE_US
from training.drift import overdispersion

if TYPE_CHECKING:
    import pandas as pd

    from training.train import Trained

__all__ = [
    "BLOCK_US",
    "DAY_US",
    "SEGMENTS",
    "SNAPSHOT",
    "Watched",
    "coded_columns",
    "delays",
    "failing",
    "mature",
    "residuals",
    "segments_of",
    "snapshot_of",
    "tally",
    "unseen",
    "watched",
]

Array = npt.NDArray[Any]

SNAPSHOT = "snapshot.json"
"""Its file in the artefact."""

DAY_US, BLOCK_US = 86_400_000_000, 14_400_000_000
SEGMENTS = ("country", "method", "route", "issuer", "channel")
"""What calibration is looked at by."""

_FORMAT = 1
_MOST_DAYS = 56
_MOST_LABELS = 40
_OTHER, _MISSING = "(others)", "(missing)"
_CLOCKS = {"customer_tenure_days": 1.0, "prior_payments": 0.0, "card_months_to_expiry": 0.0}
"""Columns that move by themselves as customers and cards grow older, and up to where a value says: newly come, or run out."""

_DECILES = np.linspace(0.1, 0.9, 9)
_SMALLEST_SEGMENT = 300
_LATE = 0.99  # of outcomes have come by then: what is younger is not judged


@dataclass(frozen=True)
class Watched:
    """One thing that is watched: which bin each attempt of `rows` (positions in the table) is in.

    `edges` are those of a number's bins, which are then in order; `family` says what a drift of it means.
    """

    name: str
    label: str
    family: str  # features | evidence | outcomes | codes | delay
    labels: tuple[str, ...]
    bins: Array
    rows: Array
    edges: tuple[float, ...] | None = None


def snapshot_of(trained: Trained) -> dict[str, Any]:
    """The snapshot of a training, as JSON."""
    data, judged = trained.data, trained.judged_rows
    table, rows, encoder = data.table, data.rows, data.encoder
    known = rows.resolved != PENDING
    late = int(np.quantile(rows.resolved[known] - rows.created[known], _LATE)) if known.any() else MATURE_US
    maturity = max(MATURE_US, late)
    day = rows.created // DAY_US
    first, end = _whole_days(rows.created)
    kept: dict[str, Any] = {}
    for one in watched(table, encoder, rows, mature(rows, maturity), {}):
        inside = (day[one.rows] >= first) & (day[one.rows] < end)
        days, hours = tally(one.bins[inside], len(one.labels), rows.created[one.rows[inside]], first, end - first)
        kept[one.name] = {"labels": one.labels, "edges": one.edges, "days": days.tolist(), "hours": hours.tolist()}
    segments = segments_of(table.iloc[judged])
    return {
        "format": _FORMAT,
        "first_day": first,
        "maturity_us": maturity,
        "columns": kept,
        "unseen": _unseen_in_training(table, encoder, rows),
        "delay_s": delays(rows),
        "bursts": {name: _usual_bursts(*found) for name, found in failing(table, rows).items()},
        "calibration": residuals(trained.told, trained.judged.outcome, rows.created[judged], segments),
    }


def _whole_days(created: Array) -> tuple[int, int]:
    """The first day, and the one after the last, of those that the attempts cover from morning to night; at most eight weeks."""
    begin, end = int(created.min()), int(created.max())
    first = begin // DAY_US + (begin % DAY_US > BLOCK_US)
    after = end // DAY_US + (end % DAY_US > DAY_US - BLOCK_US)
    return (max(first, after - _MOST_DAYS), after) if after > first else (begin // DAY_US, end // DAY_US + 1)


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
    yield Watched(
        "customer_id",
        "whether the customer is told",
        "features",
        ("told", _MISSING),
        _absent(table, "customer_id"),
        every,
    )
    evidence = encoder.evidence_of_table(table.iloc[matured])
    yield number("duration_s", "how long attempts take, s", "evidence", rows.duration[matured], matured)
    left: dict[str, tuple[Array, tuple[str, ...]]] = {}
    for place, name in enumerate(EVIDENCE_CODES, start=evidence.shape[1] - len(EVIDENCE_CODES)):
        told = np.where(np.isnan(evidence[:, place]), -1, evidence[:, place]).astype(np.int64)
        left[name] = _coded(table.iloc[matured], name, told, encoder)
        yield Watched(name, columns()[name].name.replace("_", " "), "evidence", left[name][1], left[name][0], matured)
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
    bins, named = left["response_code"]
    coming = bins < len(named) - 1
    reasons = np.array([*encoder.vocabularies.get("reason", ())[:_MOST_LABELS], "no reason"])
    reason = rows.reason[matured]
    reason = np.where((reason < 0) | (reason >= len(reasons) - 1), len(reasons) - 1, reason)
    yield _pair(
        "response_code → reason",
        "what each code stands for",
        "codes",
        (bins[coming], named),
        reason[coming],
        reasons,
        matured[coming],
    )
    delay = np.where(rows.resolved[matured] == PENDING, np.nan, (rows.resolved[matured] - rows.created[matured]) / 1e6)
    yield number("delay_s", "time until an outcome is known, s", "delay", delay, matured)


def _edges(name: str, known: Array) -> list[float]:
    """Where a number's bins end: at its deciles; a clock's by who has just come, and what is beyond twice the largest."""
    if not len(known):
        return []
    if name in _CLOCKS:
        return [_CLOCKS[name], 2.0 * max(float(known.max()), 1.0)]
    edges: list[float] = np.unique(np.quantile(known, _DECILES)).tolist()
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
    return np.where(_absent(table, name) > 0, n + 1, bins), (*named, _OTHER, _MISSING)


def _absent(table: pd.DataFrame, name: str) -> Array:
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


def unseen(table: pd.DataFrame, name: str, codes: Array, known: Array | None = None) -> tuple[int, int, dict[str, int]]:
    """Customers who bring a value that is not known (code −1, or not in `known`); all who bring any; and attempts by new value.

    Customers, or payments where there are none, since the attempts of one are no evidence independent of each other.
    """
    told = _absent(table, name) == 0
    new = told & ((codes < 0) if known is None else ~np.isin(codes, known))
    who = table["customer_id" if "customer_id" in table else "payment_id"].to_numpy()
    values = table[name][new].astype(str).value_counts() if new.any() else None
    by_value = {str(value): int(count) for value, count in values.head(5).items()} if values is not None else {}
    return len(set(who[new])), len(set(who[told])), by_value


def coded_columns(table: pd.DataFrame, encoder: Encoder, rows: Rows) -> dict[str, Array]:
    """The code of each attempt in every column that has a vocabulary, −1 where it has none or the value has none."""
    evidence = encoder.evidence_of_table(table)[:, -len(EVIDENCE_CODES) :]
    found = {name: rows.codes[:, place] for place, name in enumerate(RAW_CODES)}
    for place, name in enumerate(EVIDENCE_CODES):
        found[name] = np.where(np.isnan(evidence[:, place]), -1, evidence[:, place]).astype(np.int64)
    return {name: codes for name, codes in found.items() if name in table}


def _unseen_in_training(table: pd.DataFrame, encoder: Encoder, rows: Rows) -> dict[str, list[int]]:
    """How many customers of the later half brought values that the earlier half had not shown, and how many there were.

    This is how new values come while all is as ever: what a later table brings is held against it.
    """
    later = rows.created >= np.median(rows.created)
    half = table[later]
    return {
        name: list(unseen(half, name, codes[later], np.unique(codes[~later & (codes >= 0)]))[:2])
        for name, codes in coded_columns(table, encoder, rows).items()
    }


def delays(rows: Rows) -> dict[str, float]:
    """Seconds until half of the outcomes, and until 95 % of those that came, were known."""
    known = rows.resolved != PENDING
    if not known.any():
        return {}
    took = (rows.resolved[known] - rows.created[known]) / 1e6
    return {"median": float(np.median(took)), "p95": float(np.quantile(took, 0.95))}


def failing(table: pd.DataFrame, rows: Rows) -> dict[str, tuple[Array, Array, Array, Array]]:
    """By route and by issuer: value, four-hour block, payments with an outcome, and those of them that failed technically.

    Payments, since whoever tries again while something is down fails again. Where nothing says technical, any failure counts.
    """
    bad = rows.outcome == OUTCOMES.index("technical")
    if not bad.any():
        bad = rows.outcome > 0
    found = {}
    for name in ("route", "issuer"):
        if name not in table:
            continue
        there = (table[name].notna().to_numpy()) & (rows.outcome >= 0)
        values, value = np.unique(table[name][there].to_numpy(str), return_inverse=True)
        block, payment = rows.created[there] // BLOCK_US, np.unique(table["payment_id"][there], return_inverse=True)[1]
        once, which = np.unique(np.column_stack([value, block, payment]), axis=0, return_inverse=True)
        failed = np.zeros(len(once), bool)
        np.logical_or.at(failed, which.ravel(), bad[there])
        cells, cell = np.unique(once[:, :2], axis=0, return_inverse=True)
        counts = np.bincount(cell.ravel(), minlength=len(cells))
        found[name] = (values[cells[:, 0]], cells[:, 1], counts, np.bincount(cell.ravel(), failed, len(cells)))
    return found


def _usual_bursts(values: Array, _: Array, n: Array, k: Array) -> dict[str, Any]:
    """Share of payments that fail technically, by value, and how alike those of one block of hours are."""
    names, place = np.unique(values, return_inverse=True)
    share = (np.bincount(place, k) + 0.5) / (np.bincount(place, n) + 1.0)
    return {
        "alike": overdispersion(n, k, share[place]),
        "share": dict(zip(names.tolist(), share.tolist(), strict=True)),
    }


def segments_of(table: pd.DataFrame) -> dict[str, Array]:
    """What calibration is looked at by: the value of each attempt, "" for none."""
    return {
        name: table[name].astype(object).where(table[name].notna(), "").to_numpy(str)
        for name in SEGMENTS
        if name in table
    }


def residuals(
    told: Array, outcome: Array, created: Array, segments: Mapping[str, Array], like: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """How far what was predicted (`told`, (n, 5)) was from what came, summed by four-hour block, as JSON.

    By ten bins of the predicted share of success (`like`: those of another's), by outcome, and by segment. For each group there
    are lists over the blocks: `n` attempts, `off`, what came less what was predicted, and `predicted`.
    """
    p, won = told[:, 0], (outcome == 0).astype(float)
    edges = np.array(like["edges"]) if like is not None else np.unique(np.quantile(p, _DECILES))
    block = np.unique(created // BLOCK_US, return_inverse=True)[1]
    n_blocks = int(block.max()) + 1 if len(block) else 0

    def sums(mask: Array, off: Array, promised: Array) -> dict[str, list[float]]:
        mine = block[mask]
        return {
            "n": np.bincount(mine, minlength=n_blocks).tolist(),
            "off": np.bincount(mine, off[mask], n_blocks).round(4).tolist(),
            "predicted": np.bincount(mine, promised[mask], n_blocks).round(4).tolist(),
        }

    which = np.searchsorted(edges, p, side="right")
    groups: dict[str, dict[str, Any]] = {
        "success": {"all": sums(np.ones(len(p), bool), won - p, p)},
        "reliability": {str(b): sums(which == b, won - p, p) for b in range(len(edges) + 1)},
        "outcome": {
            name: sums(outcome < len(OUTCOMES), (outcome == o) - told[:, o], told[:, o])
            for o, name in enumerate(OUTCOMES)
        },
    }
    for name, values in segments.items():
        wanted = like["groups"].get(name, {}) if like is not None else None
        counted = dict(zip(*np.unique(values, return_counts=True), strict=True))
        chosen = [
            v for v, n in counted.items() if v and (n >= _SMALLEST_SEGMENT if wanted is None else str(v) in wanted)
        ]
        groups[name] = {str(value): sums(values == value, won - p, p) for value in chosen}
    return {"edges": edges.tolist(), "groups": groups}
