"""Whether the attempts that come now are still those that a model was made for, and whether to train again.

Every check has a p-value under "nothing has changed but what changes anyway", and Holm's procedure holds the chance that any of
them raises a false alarm at 5 % for each time that it is asked. What a drift means hangs on where it is: an outage is over by
itself, a code map has to be mended before anything is learnt from it, a model whose promises no longer come true has to be
trained again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from features.errors import BadInput
from models.artefact import Artefact
from training.drift import Shift, holm
from training.monitor_checks import (
    FEWEST,
    LEVEL,
    Check,
    bursts_of,
    calibration_of,
    codes_of,
    shifts_of,
    unseen_of,
)
from training.snapshot import delays
from training.spoken import when
from training.watched import mature

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Report", "monitor"]


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
    them, calibration is judged only if the table begins where the model's past ends, or before. Raises BadInput for too few
    attempts.
    """
    if len(table) < FEWEST:
        raise BadInput(
            "monitor", message=f"{len(table)} attempts are too few to tell drift from chance; want {FEWEST} or more"
        )
    rows = artefact.encoder.from_table(table)
    old = mature(rows, kept["maturity_us"])
    notes: list[str] = []
    limits: dict[str, Shift] = {}
    rng = np.random.default_rng(seed)
    found = [
        *shifts_of(artefact, kept, table, rows, old, rng, limits),
        *unseen_of(artefact, kept, table, rows),
        *codes_of(artefact, kept, table, rows),
        *bursts_of(kept, table, rows),
        *calibration_of(artefact, kept, table, rows, old, past, notes),
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
        "from": when(int(rows.created.min())),
        "until": when(int(rows.created.max())),
        "trained_from": when(artefact.window["from"]),
        "trained_until": when(artefact.window["until"]),
        "reference_days": len(kept["columns"]["outcome"]["days"]),
        "checks": len(checks),
        "level": LEVEL,
        "level_of_one": level,
        "delay_s": delays(rows),
        "delay_s_then": kept["delay_s"],
    }
    return Report(retrain, why, next_, checks, notes, about)


def _limit(check: Check, limits: Mapping[str, Shift], level: float) -> float | None:
    if check.statistic not in {"psi", "ks"}:
        return None
    return limits[check.name].limit(level)[0 if check.statistic == "psi" else 1]


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
