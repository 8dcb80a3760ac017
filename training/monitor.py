"""Whether the attempts that come now are still those that a model was made for, and whether to train again.

Every check has a p-value under "nothing has changed but what changes anyway", and Holm's procedure holds the chance that any of
them raises a false alarm at 5 % for each time that it is asked. What a drift means hangs on where it is: an outage is over by
itself, a code map has to be mended before anything is learnt from it, a model whose promises no longer come true has to be
trained again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.columns import OUTCOMES
from features.errors import BadInput
from features.rows import Rows
from models.artefact import Artefact
from models.tables import matrix_of
from training import snapshot as snap
from training.drift import Shift, brought, bursts, holm, miscalibration, shift
from training.snapshot import BLOCK_US, DAY_US

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LEVEL", "Check", "Report", "monitor"]

Array = npt.NDArray[Any]

LEVEL = 0.05
"""Chance of any false alarm, each time that it is asked."""

_FEWEST = 100  # attempts; below, nothing could be told from chance
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


@dataclass(frozen=True)
class Report:
    """What was found. `retrain` is yes, not yet or no; `why` and `next` are sentences; `about` counts what it rests on."""

    retrain: str
    why: Sequence[str]
    next: Sequence[str]
    checks: Sequence[Check]
    notes: Sequence[str]
    about: Mapping[str, Any]

    @property
    def alarms(self) -> list[Check]:
        """The checks that are beyond chance."""
        return [check for check in self.checks if check.alarm]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "alarm": bool(self.alarms),
            "retrain": self.retrain,
            "why": list(self.why),
            "next": list(self.next),
            "about": dict(self.about),
            "notes": list(self.notes),
            "checks": [check.as_dict() for check in self.checks],
        }


def monitor(
    artefact: Artefact, kept: Mapping[str, Any], table: pd.DataFrame, *, past: pd.DataFrame | None = None, seed: int = 7
) -> Report:
    """Compare a checked table with the snapshot (`training.snapshot`) that was kept beside the model.

    `past` are the attempts between the training and the table, for what was predicted of them to be told as it was; without
    them, calibration is judged only if the table begins where the model's past ends. Raises BadInput for too few attempts.
    """
    if len(table) < _FEWEST:
        raise BadInput(
            "monitor", message=f"{len(table)} attempts are too few to tell drift from chance; want {_FEWEST} or more"
        )
    rows = artefact.encoder.from_table(table)
    old = snap.mature(rows, kept["maturity_us"])
    notes: list[str] = []
    limits: dict[str, Shift] = {}
    found = [
        *_shifts(artefact, kept, table, rows, old, np.random.default_rng(seed), limits),
        *_unseen(artefact, kept, table, rows),
        *_bursts(kept, table, rows),
        *_calibration(artefact, kept, table, rows, old, past, notes),
    ]
    if not limits:
        notes.append("The training window had too few whole days to tell drift from chance; want seven or more.")
    level = LEVEL / max(len(found), 1)
    checks = [
        replace(check, adjusted=p, limit=_limit(check, limits, level))
        for check, p in zip(found, holm([check.p for check in found]), strict=True)
    ]
    checks.sort(key=lambda check: (check.adjusted, check.p))
    retrain, why, next_ = _verdict([check for check in checks if check.alarm], notes)
    about = {
        "attempts": len(table),
        "matured": int(old.sum()),
        "from": _when(int(rows.created.min())),
        "until": _when(int(rows.created.max())),
        "trained_from": _when(artefact.window["from"]),
        "trained_until": _when(artefact.window["until"]),
        "reference_days": len(kept["columns"]["outcome"]["days"]),
        "checks": len(checks),
        "level": LEVEL,
        "level_of_one": level,
        "delay_s": snap.delays(rows),
        "delay_s_then": kept["delay_s"],
    }
    return Report(retrain, why, next_, checks, notes, about)


def _shifts(
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
    for one in snap.watched(table, artefact.encoder, rows, old, edges):
        created, n_bins = rows.created[one.rows], len(one.labels)
        if one.name not in then or not len(created):
            continue
        known = then[one.name]
        now, hours = np.bincount(one.bins, minlength=n_bins), snap.tally(one.bins, n_bins, created % DAY_US, 0, 1)[1]
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


def _limit(check: Check, limits: Mapping[str, Shift], level: float) -> float | None:
    if check.statistic not in {"psi", "ks"}:
        return None
    return limits[check.name].limit(level)[0 if check.statistic == "psi" else 1]


def _unseen(artefact: Artefact, kept: Mapping[str, Any], table: pd.DataFrame, rows: Rows) -> Iterator[Check]:
    """Values that the model has never seen: how many customers bring them, against how many did so in training."""
    for name, codes in snap.coded_columns(table, artefact.encoder, rows).items():
        if name not in kept["unseen"]:
            continue
        new, who, values = snap.unseen(table, name, codes)
        usual_new, usual_who = kept["unseen"][name]
        named = ", ".join(f"{value} ({count:,} attempts)" for value, count in values.items())
        family = "unknown codes" if name in {"response_code", "advice_code"} else "unknown values"
        says = f"{name.replace('_', ' ')}: {new:,} of {who:,} customers brought values never seen before"
        p = brought(new, who, usual_new, usual_who)
        yield Check(family, name, "unseen", new / max(who, 1), None, p, f"{says}: {named}" if named else says)


def _bursts(kept: Mapping[str, Any], table: pd.DataFrame, rows: Rows) -> Iterator[Check]:
    """Hours in which a route or an issuer failed as it does not by chance."""
    for name, (values, block, n, k) in snap.failing(table, rows).items():
        usual = kept["bursts"].get(name)
        seen = np.isin(values, list(usual["share"])) if usual else np.zeros(len(values), bool)
        if usual is None or not seen.any():
            continue
        values, block, n, k = values[seen], block[seen], n[seen], k[seen]
        share = np.array([usual["share"][value] for value in values])
        p = bursts(n, k, share, usual["alike"])
        worst = int(p.argmin())
        since = _when(int(block[worst]) * BLOCK_US)
        says = (
            f"{name} {values[worst]} failed technically for {int(k[worst]):,} of {int(n[worst]):,} payments in the four "
            f"hours from {since}; usually for {_share(share[worst])}"
        )
        yield Check("outage", name, "burst", float(k[worst] / n[worst]), None, min(1.0, float(p[worst]) * len(p)), says)


def _calibration(
    artefact: Artefact,
    kept: Mapping[str, Any],
    table: pd.DataFrame,
    rows: Rows,
    old: Array,
    past: pd.DataFrame | None,
    notes: list[str],
) -> Iterator[Check]:
    """Whether what was predicted still comes: in all, over the range of predictions, by outcome and by segment."""
    if past is None and rows.created.min() - artefact.history.until > _GAP_US:
        notes.append(
            "Calibration was not judged: the attempts begin more than a day after the model's past ends. Give the attempts in "
            "between, and those of the training, by --history."
        )
        return
    judged = old & (rows.outcome >= 0)
    if judged.sum() < _FEWEST:
        notes.append("Calibration was not judged: too few of the attempts have an outcome that has matured.")
        return
    told = artefact.outcome_model().outcome_probability(matrix_of(artefact, table, past)[judged])
    then = kept["calibration"]
    now = snap.residuals(told, rows.outcome[judged], rows.created[judged], snap.segments_of(table[judged]), then)
    for name, groups in then["groups"].items():
        common = [value for value in groups if value in now["groups"].get(name, {})]
        if not common or (name == "outcome" and not _explained(groups, now["groups"][name])):
            continue
        before, after = (_stacked([one[value] for value in common]) for one in (groups, now["groups"][name]))
        found = miscalibration(before, after)
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


_MEANING: Mapping[str, tuple[str, str, str]] = {
    # family: whether to train again, what it means, what to do
    "codes": (
        "not yet",
        "Codes no longer stand for what they stood for",
        "Mend the mapping or the table of codes first: a training now would learn from reasons that are read wrongly.",
    ),
    "unknown codes": (
        "not yet",
        "There are codes that nobody has seen before",
        "See what they mean (`payrescue codes explain`), add them to the mapping, and train again once they are read.",
    ),
    "outage": (
        "not yet",
        "Something was down",
        "Look at the route or issuer. The model follows its recent failures by itself; a training would only learn the outage.",
    ),
    "delay": (
        "not yet",
        "Outcomes come at another time than they used to",
        "Look at the feed of outcomes: until they come, a training would take what is late for what is missing.",
    ),
    "calibration": (
        "yes",
        "What the model predicts no longer comes as it did",
        "Train again on attempts that include these, and compare: `payrescue train`, then `payrescue evaluate --against`.",
    ),
    "unknown values": (
        "yes",
        "There are values that the model has never seen",
        "Train again once their outcomes are known; until then the model tells them by their recent history alone.",
    ),
    "outcomes": (
        "yes",
        "What becomes of attempts has changed",
        "Find out what changed; train again if it is to stay.",
    ),
    "evidence": (
        "not yet",
        "What attempts leave behind has changed",
        "Look at how codes and telemetry are collected; diagnoses rest on them. Train again if it is to stay.",
    ),
    "features": (
        "not yet",
        "Who pays, or how, has changed",
        "See whether the data are still collected as they were. Train again if the change is real and is to stay.",
    ),
}  # fmt: skip
"""By family, in the order in which they are told."""

_FIRST = ("codes", "unknown codes", "outage", "delay")
"""What has to be mended, or to be over, before anything is learnt from these attempts."""


def _verdict(alarms: Sequence[Check], notes: Sequence[str]) -> tuple[str, list[str], list[str]]:
    there = [family for family in _MEANING if any(check.family == family for check in alarms)]
    if not there:
        calm = "Nothing has changed beyond what changes by chance."
        return "no", [calm if not notes else f"{calm} Not everything could be judged: see the notes."], []
    why, todo = [], []
    for family in there:
        _, means, do = _MEANING[family]
        first, *others = [check for check in alarms if check.family == family]
        more = f" (and {len(others)} more)" if others else ""
        why.append(f"{means}: {first.says}{more}.")
        todo.append(do)
    if not set(there).isdisjoint(_FIRST):
        return "not yet", why, todo
    return "yes" if any(_MEANING[family][0] == "yes" for family in there) else "not yet", why, todo


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _when(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
