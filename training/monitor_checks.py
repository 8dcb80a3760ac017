"""The checks of `payrescue monitor`: what each looks at, its p-value if nothing has changed, and what it says to people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.columns import OUTCOMES
from features.history import features_in_passing
from features.rows import Rows
from models.artefact import Artefact
from models.tables import matrix_of
from training import snapshot as snap
from training.drift import Shift, brought, bursts, miscalibration, other_mix, shift
from training.spoken import when
from training.watched import BLOCK_US, DAY_US, tally, watched

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FEWEST",
    "LEVEL",
    "Check",
    "bursts_of",
    "calibration_of",
    "codes_of",
    "predicted",
    "shifts_of",
    "unseen_of",
]

Array = npt.NDArray[Any]

LEVEL = 0.05
"""Chance of any false alarm, each time that it is asked."""

FEWEST = 100
"""Attempts, below which nothing could be told from chance."""

_GAP_US = DAY_US  # a past that ends longer ago than this is not the model's past any more
_SHOWN = 3


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `limit`: what chance alone exceeds once in twenty times that all checks are made.

    `p` is by itself, `adjusted` for all checks; `says` is for people.
    """

    family: str
    name: str
    statistic: str
    value: float
    limit: float | None
    p: float
    says: str
    adjusted: float = 1.0

    @property
    def alarm(self) -> bool:
        """Whether it is beyond what chance explains."""
        return self.adjusted < LEVEL

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "alarm": self.alarm}


def shifts_of(
    artefact: Artefact,
    kept: Mapping[str, Any],
    table: pd.DataFrame,
    rows: Rows,
    old: Array,
    rng: np.random.Generator,
    limits: dict[str, Shift],
) -> Iterator[Check]:
    """PSI of everything that is watched, and KS of numbers."""
    then = kept["columns"]
    edges = {name: known["edges"] for name, known in then.items() if known["edges"] is not None}
    for one in watched(table, artefact.encoder, rows, old, edges):
        created, n_bins = rows.created[one.rows], len(one.labels)
        if one.name not in then or not len(created):
            continue
        known = then[one.name]
        now, hours = np.bincount(one.bins, minlength=n_bins), tally(one.bins, n_bins, created % DAY_US, 0, 1)[1]
        moved = shift(
            np.array(known["days"]), kept["first_day"], np.array(known["hours"]), now, hours, created // DAY_US,
            ordered=one.edges is not None, rng=rng,
        )  # fmt: skip
        if moved is None:
            continue
        limits[one.name] = moved
        most = [(one.labels[place], was, share) for place, was, share, _ in moved.moved[:_SHOWN]]
        told = "; ".join(f"{label}: {_share(share)}, expected {_share(was)}" for label, was, share in most)
        yield Check(one.family, one.name, "psi", moved.psi, None, moved.p_psi, f"{one.label}: {told}")
        if moved.ks is not None and moved.p_ks is not None:
            yield Check(one.family, one.name, "ks", moved.ks, None, moved.p_ks, f"{one.label}: {told}")


def unseen_of(artefact: Artefact, kept: Mapping[str, Any], table: pd.DataFrame, rows: Rows) -> Iterator[Check]:
    """Values that the model has never seen: how many customers bring them, against how many did so in training."""
    whose = snap.customers(table)
    for name, codes in snap.coded_columns(table, artefact.encoder, rows).items():
        if name not in kept["unseen"]:
            continue
        new, who, values = snap.unseen(table, name, codes, whose)
        usual_new, usual_who = kept["unseen"][name]
        named = ", ".join(f"{value} ({count:,} attempts)" for value, count in values.items())
        family = "unknown codes" if name in {"response_code", "advice_code"} else "unknown values"
        says = f"{name.replace('_', ' ')}: {new:,} of {who:,} customers brought values never seen before"
        p = brought(new, who, usual_new, usual_who)
        yield Check(family, name, "unseen", new / max(who, 1), None, p, f"{says}: {named}" if named else says)


def codes_of(artefact: Artefact, kept: Mapping[str, Any], table: pd.DataFrame, rows: Rows) -> Iterator[Check]:
    """Whether each response code still goes with the reasons that it went with; the worst of them stands for all."""
    now = snap.meanings(table, artefact.encoder, rows)
    first, wide = kept["first_day"], len(kept["columns"]["outcome"]["days"])
    middle = first + (wide - 1) / 2.0
    ahead = float(np.mean(rows.created) / DAY_US - middle)
    found = []
    for code in (code for code in kept["meanings"] if code in now):
        then, here = kept["meanings"][code], now[code]
        reasons = list({**then, **here})
        days = np.array([[then.get(reason, {}).get(str(first + day), 0) for reason in reasons] for day in range(wide)])
        counts = np.array([sum(here.get(reason, {}).values()) for reason in reasons])
        p, most, was = other_mix(days, counts, ahead)
        share = float(counts[most] / counts.sum())
        says = (
            f"code {code} stood for {reasons[most]} for {_share(share)} of {int(counts.sum()):,} customers, in training for "
            f"{_share(was)}"
        )
        found.append((p, share - was, says))
    if found:
        p, value, says = min(found)
        yield Check("codes", "response_code", "meaning", value, None, min(1.0, p * len(found)), says)


def bursts_of(kept: Mapping[str, Any], table: pd.DataFrame, rows: Rows) -> Iterator[Check]:
    """Hours in which a route or an issuer failed as it does not by chance; the worst spell of four hours or of a day."""
    for name, cells in snap.failing(table, rows).items():
        usual = kept["bursts"].get(name)
        if usual is None:
            continue
        found, looked = [], 0
        for blocks in snap.SPELLS:
            values, last, n, k = snap.spells(cells, blocks)
            seen = np.isin(values, list(usual["share"]))
            if not seen.any():
                continue
            values, last, n, k = values[seen], last[seen], n[seen], k[seen]
            share = np.array([usual["share"][value] for value in values.tolist()])
            p = bursts(n, k, share, usual["alike"][str(blocks)])
            worst = int(p.argmin())
            looked += len(p)
            since = when(int(last[worst] - blocks + 1) * BLOCK_US)
            says = (
                f"{name} {values[worst]} failed technically for {int(k[worst]):,} of {int(n[worst]):,} payments in the "
                f"{4 * blocks} hours from {since}; usually for {_share(share[worst])}"
            )
            found.append((float(p[worst]), float(k[worst] / n[worst]), says))
        if found:
            least, value, says = min(found)
            yield Check("outage", name, "burst", value, None, min(1.0, least * looked), says)


def calibration_of(
    artefact: Artefact,
    kept: Mapping[str, Any],
    table: pd.DataFrame,
    rows: Rows,
    old: Array,
    past: pd.DataFrame | None,
    notes: list[str],
) -> Iterator[Check]:
    """Whether what was predicted still comes: in all, over the range of predictions, by outcome and by segment.

    What serves may have been fitted once more since it was judged, and is then off elsewhere by as much: the error that it was
    judged with is allowed for. Attempts that the model has learnt from judge nothing.
    """
    if past is None and rows.created.min() - artefact.history.until > _GAP_US:
        notes.append(
            "Calibration was not judged: the attempts begin more than a day after the model's past ends. Give the attempts in "
            "between, and those of the training, by --history."
        )
        return
    judged, told = predicted(artefact, table, rows, old & (rows.outcome >= 0), past, kept["maturity_us"])
    learnt = int((rows.created <= artefact.window["until"]).sum())
    if judged.sum() < FEWEST:
        among = f"the model has learnt from {learnt:,} of the attempts, and too few of the others" if learnt else ""
        few = among or "too few of the attempts"
        notes.append(f"Calibration was not judged: {few} have an outcome that has matured.")
        return
    if learnt:
        notes.append(
            f"Calibration was judged without the {learnt:,} attempts that the model has learnt from, until "
            f"{when(artefact.window['until'])}."
        )
    then = kept["calibration"]
    now = snap.residuals(told, rows.outcome[judged], rows.created[judged], snap.segments_of(table[judged]), then)
    for name, groups in then["groups"].items():
        common = [value for value in groups if value in now["groups"].get(name, {})]
        if not common or (name == "outcome" and not _explained(groups, now["groups"][name])):
            continue
        before, after = (_stacked([one[value] for value in common]) for one in (groups, now["groups"][name]))
        found = miscalibration(before, after, kept["calibration_error"]["outcome" if name == "outcome" else "success"])
        if found is None:
            continue
        p, off, errors = found
        standing = np.where(errors > 0, np.abs(off) / errors, 0.0)
        worst = int(np.nanargmax(standing))
        mine = now["groups"][name][common[worst]]
        n = max(sum(mine["n"]), 1)
        came = (sum(mine["predicted"]) + sum(mine["off"])) / n
        what = OUTCOMES[0] if name != "outcome" else common[worst].replace("_", " ")
        says = f"{_where(name, common[worst])}: {what} came in {_share(came)}, {_share(sum(mine['predicted']) / n)} predicted"
        yield Check("calibration", name, "off", float(off[worst]), None, p, f"{says} ({sum(mine['n']):,} attempts)")


def predicted(
    artefact: Artefact, table: pd.DataFrame, rows: Rows, wanted: Array, past: pd.DataFrame | None, maturity_us: int
) -> tuple[Array, Array]:
    """Those of the attempts `wanted` (a mask) that can be judged, as a mask, and what was predicted of each, shape (n, 5).

    What the model has learnt from cannot. Without `past`, features begin with what the model carries from its training; the
    last outcomes of that came after the first attempts of a week that follows at once, by less than `maturity_us` for nearly
    all: attempts that began sooner than that before it ends are not judged.
    """
    new = rows.created > artefact.window["until"]
    if past is not None:
        judged = wanted & new
        return judged, artefact.outcome_model().outcome_probability(matrix_of(artefact, table, past)[judged])
    entered = ~new & (rows.resolved <= artefact.history.until)
    payments = table["payment_id"]
    judged = wanted & new & (rows.created >= artefact.history.until - maturity_us)
    judged &= ~payments.isin(payments[entered]).to_numpy()  # their earlier attempts are not among what is looked at
    there = table[~entered].reset_index(drop=True)
    matrix = features_in_passing(artefact.encoder.from_table(there), artefact.history.copy(), judged[~entered])
    return judged, artefact.outcome_model().outcome_probability(matrix)


def _explained(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return all(sum(one[OUTCOMES[0]]["n"]) > 0 and sum(one[OUTCOMES[-1]]["predicted"]) > 0 for one in (then, now))


def _stacked(groups: Sequence[Mapping[str, Sequence[float]]]) -> tuple[Array, Array]:
    return np.array([one["n"] for one in groups], float), np.array([one["off"] for one in groups], float)


def _where(name: str, value: str) -> str:
    if name in {"success", "outcome"}:
        return "in all"
    return (
        f"where success was predicted in tenth {int(value) + 1} of its range"
        if name == "reliability"
        else f"{name} {value}"
    )


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
