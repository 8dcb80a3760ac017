"""What a model's training attempts looked like, small enough to keep beside it: what `payrescue monitor` compares with.

For each thing that is watched, how many attempts of each day fell into each of its bins, for the last eight weeks; by four-hour
block, how many in all; who brought values never seen before; and how far what was predicted was from what came, on the attempts
that judged the model. Counts alone: no attempt, customer or amount can be read out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.columns import OUTCOMES
from features.definitions import EVIDENCE_CODES, RAW_CODES
from features.kernel import PENDING
from features.rows import Encoder, Rows
from models.predictor import MATURE_US
from training.drift import overdispersion
from training.watched import BLOCK_US, DAY_US, DECILES, absent, codes_of, mature, own_values, tally, watched

if TYPE_CHECKING:
    import pandas as pd

    from training.train import Trained

__all__ = [
    "FORMAT",
    "SEGMENTS",
    "SNAPSHOT",
    "SPELLS",
    "coded_columns",
    "customers",
    "delays",
    "failing",
    "meanings",
    "residuals",
    "segments_of",
    "snapshot_of",
    "spells",
    "unseen",
]

Array = npt.NDArray[Any]

SNAPSHOT = "snapshot.json"
"""Its file in the artefact."""

SEGMENTS = ("country", "method", "route", "issuer", "channel")
"""What calibration is looked at by."""

SPELLS = (1, 6)
"""How long an outage may last that is looked for, in four-hour blocks; a longer one shows in parts."""

FORMAT = 1
"""Of the snapshot; another one cannot be compared with."""

_MOST_DAYS, _FEWEST_DAYS, _MOST_ATTEMPTS = 56, 15, 2_000_000
_SMALLEST_SEGMENT = 300
_LATE = 0.99  # of outcomes have come by then: what is younger is not judged


def snapshot_of(trained: Trained) -> dict[str, Any]:
    """The snapshot of a training, as JSON; of its latest days, up to eight weeks and two million attempts."""
    encoder = trained.data.encoder
    table = _latest(trained.data.table)
    rows = encoder.from_table(table)
    known = rows.resolved != PENDING
    late = int(np.quantile(rows.resolved[known] - rows.created[known], _LATE)) if known.any() else MATURE_US
    maturity = max(MATURE_US, late, trained.data.mature_us)
    day = rows.created // DAY_US
    first, end = _whole_days(rows.created)
    kept: dict[str, Any] = {}
    for one in watched(table, encoder, rows, mature(rows, maturity), {}):
        inside = (day[one.rows] >= first) & (day[one.rows] < end)
        days, hours = tally(one.bins[inside], len(one.labels), rows.created[one.rows[inside]], first, end - first)
        kept[one.name] = {"labels": one.labels, "edges": one.edges, "days": days.tolist(), "hours": hours.tolist()}
    judged = trained.judged_rows
    told = residuals(
        trained.told,
        trained.judged.outcome,
        trained.data.rows.created[judged],
        segments_of(trained.data.table.iloc[judged]),
    )
    return {
        "format": FORMAT,
        "first_day": first,
        "maturity_us": maturity,
        "columns": kept,
        "unseen": _unseen_in_training(table, encoder, rows),
        "delay_s": delays(rows),
        "meanings": meanings(table, encoder, rows),
        "bursts": {name: _usual_bursts(found) for name, found in failing(table, rows).items()},
        "calibration": told,
        "calibration_error": _judged_error(trained.report["quality"]["model"]),
    }


def _latest(table: pd.DataFrame) -> pd.DataFrame:
    """The attempts of the latest weeks, in order of time: as many as tell how days differ, and not more than memory bears."""
    day = table["created_at"].to_numpy("datetime64[D]").astype(np.int64)
    ago = day.max() - day
    by_day = np.bincount(ago, minlength=_MOST_DAYS)
    days = int(np.clip(np.searchsorted(np.cumsum(by_day), _MOST_ATTEMPTS), _FEWEST_DAYS, _MOST_DAYS))
    latest: pd.DataFrame = table[ago < days].reset_index(drop=True)
    return latest


def _whole_days(created: Array) -> tuple[int, int]:
    """The first day, and the one after the last, of those that the attempts cover from morning to night."""
    begin, end = int(created.min()), int(created.max())
    first = begin // DAY_US + (begin % DAY_US > BLOCK_US)
    after = end // DAY_US + (end % DAY_US > DAY_US - BLOCK_US)
    return (first, after) if after > first else (begin // DAY_US, end // DAY_US + 1)


def _judged_error(quality: Mapping[str, Any]) -> dict[str, float]:
    """The calibration error that the model was judged with, of success and over all outcomes, as a share."""
    success = float(quality["success_calibration_error"]["value"])
    return {"success": success, "outcome": float(quality.get("calibration_error", {"value": success})["value"])}


def unseen(
    table: pd.DataFrame, name: str, codes: Array, who: Array, known: Array | None = None
) -> tuple[int, int, dict[str, int]]:
    """Customers who bring a value that is not known (code −1, or not in `known`); all who bring any; and attempts by new value.

    `who` tells customers apart (`customers`): the attempts of one are no evidence independent of each other.
    """
    told = absent(table, name) == 0
    new = told & ((codes < 0) if known is None else ~np.isin(codes, known))
    values = table[name][new].astype(str).value_counts() if new.any() else None
    by_value = {str(value): int(count) for value, count in values.head(5).items()} if values is not None else {}
    return len(np.unique(who[new])), len(np.unique(who[told])), by_value


def customers(table: pd.DataFrame) -> Array:
    """Whose attempt each is, as a number: the customer's, or the payment's where no customers are told."""
    return _numbered(table["customer_id" if "customer_id" in table else "payment_id"])


def _numbered(column: pd.Series[Any]) -> Array:
    import pandas as pd

    numbers: Array = pd.factorize(column)[0].astype(np.int64)
    return numbers


def coded_columns(table: pd.DataFrame, encoder: Encoder, rows: Rows) -> dict[str, Array]:
    """The code of each attempt in every column that has a vocabulary, −1 where it has none or the value has none."""
    evidence = encoder.evidence_of_table(table)[:, -len(EVIDENCE_CODES) :]
    found = {name: rows.codes[:, place] for place, name in enumerate(RAW_CODES)}
    for place, name in enumerate(EVIDENCE_CODES):
        found[name] = codes_of(evidence[:, place])
    found |= {own.name: codes_of(values) for own, values in own_values(encoder, rows) if own.kind == "categorical"}
    return {name: codes for name, codes in found.items() if name in table}


def _unseen_in_training(table: pd.DataFrame, encoder: Encoder, rows: Rows) -> dict[str, list[int]]:
    """How many customers of the later half brought values that the earlier half had not shown, and how many there were.

    This is how new values come while all is as ever: what a later table brings is held against it.
    """
    later = rows.created >= np.median(rows.created)
    half, who = table[later], customers(table)[later]
    return {
        name: list(unseen(half, name, codes[later], who, np.unique(codes[~later & (codes >= 0)]))[:2])
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
    import pandas as pd

    bad = rows.outcome == OUTCOMES.index("technical")
    if not bad.any():
        bad = rows.outcome > 0
    found, payment = {}, _numbered(table["payment_id"])
    for name in ("route", "issuer"):
        if name not in table:
            continue
        there = np.flatnonzero(table[name].notna().to_numpy() & (rows.outcome >= 0))
        if not len(there):
            continue
        value, values = pd.factorize(table[name].iloc[there], sort=True)
        block, whose = rows.created[there] // BLOCK_US, payment[there]
        wide, many = int(block.max() - block.min()) + 1, int(whose.max()) + 1
        cell = value * wide + (block - block.min())
        once, which = np.unique(cell * many + whose, return_inverse=True)
        failed = np.bincount(which, bad[there], len(once)) > 0
        cells, place = np.unique(once // many, return_inverse=True)
        found[name] = (
            np.asarray(values, object).astype(str)[cells // wide],
            block.min() + cells % wide,
            np.bincount(place),
            np.bincount(place, failed),
        )
    return found


def spells(cells: tuple[Array, Array, Array, Array], blocks: int) -> tuple[Array, Array, Array, Array]:
    """The cells of `failing` summed over so many blocks in a row: value, last block, payments, those that failed technically."""
    values, block, n, k = cells
    names, place = np.unique(values, return_inverse=True)
    first, wide = int(block.min()), int(block.max() - block.min()) + 1
    sums = []
    for counts in (n, k):
        dense = np.zeros((len(names), wide + blocks))
        np.add.at(dense, (place, block - first + blocks), counts)
        whole = np.cumsum(dense, axis=1)
        sums.append(whole[:, blocks:] - whole[:, :-blocks])
    rows, columns = np.nonzero(sums[0])
    return names[rows], first + columns, sums[0][rows, columns], sums[1][rows, columns]


def _usual_bursts(cells: tuple[Array, Array, Array, Array]) -> dict[str, Any]:
    """Share of payments that fail technically, by value; and by length, how alike those of one spell are."""
    names, place = np.unique(cells[0], return_inverse=True)
    share = (np.bincount(place, cells[3]) + 0.5) / (np.bincount(place, cells[2]) + 1.0)
    usual = dict(zip(names.tolist(), share.tolist(), strict=True))
    alike = {}
    for blocks in SPELLS:
        value, last, n, k = spells(cells, blocks)
        apart = last % blocks == 0
        alike[str(blocks)] = overdispersion(n[apart], k[apart], np.array([usual[one] for one in value[apart].tolist()]))
    return {"alike": alike, "share": usual}


def meanings(table: pd.DataFrame, encoder: Encoder, rows: Rows) -> dict[str, dict[str, dict[str, int]]]:
    """Of how many customers, by response code, by what its failures were said to be (the reason, or else the outcome) and by day.

    Customers, since whoever tries again with the same card fails for the same reason again; each counts on the first day.
    """
    place = EVIDENCE_CODES.index("response_code") - len(EVIDENCE_CODES)
    code = encoder.evidence_of_table(table)[:, place]
    told = np.flatnonzero(~np.isnan(code) & (rows.outcome > 0))
    reasons = [*encoder.vocabularies.get("reason", ()), *OUTCOMES, "unclassified"]
    n = len(reasons) - len(OUTCOMES) - 1
    meant = np.where(rows.reason[told] >= 0, rows.reason[told], n + rows.outcome[told])
    told_by = np.column_stack([code[told].astype(np.int64), meant, customers(table)[told]])
    order = np.argsort(rows.created[told], kind="stable")
    _, first = np.unique(told_by[order], axis=0, return_index=True)
    once = order[first]
    names = encoder.vocabularies.get("response_code", ())
    found: dict[str, dict[str, dict[str, int]]] = {}
    by_day = np.column_stack([told_by[once, :2], rows.created[told][once] // DAY_US])
    for (which, reason, day), count in zip(
        *(part.tolist() for part in np.unique(by_day, axis=0, return_counts=True)), strict=True
    ):
        found.setdefault(names[which], {}).setdefault(reasons[reason], {})[str(day)] = count
    return found


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
    edges = np.array(like["edges"]) if like is not None else np.unique(np.quantile(p, DECILES))
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
