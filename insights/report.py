"""All pages, and the same figures for machines, from a table of attempts and what else there is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features.errors import BadInput
from insights.drivers import Drivers, drivers
from insights.drivers_page import drivers_page, drivers_rows
from insights.experiments import Plan, ReadOut, plan, read
from insights.experiments_page import experiments_page
from insights.frame import Frame, frame_of
from insights.model_page import model_page
from insights.model_told import ModelTold
from insights.opportunities import opportunities
from insights.opportunities_backlog import read_backlog
from insights.opportunities_page import opportunities_page
from insights.overview import Overview, overview
from insights.overview_page import overview_page
from insights.pages import Context, Head, write_file, write_pages
from insights.reasons import explained, reasons
from insights.reasons_page import cube, reasons_page
from insights.recommendations import policies_told, recommendations
from insights.recommendations_page import recommendations_page
from insights.settings import InsightSettings

if TYPE_CHECKING:
    import pandas as pd

    from models.artefact import Artefact

__all__ = ["FILES", "Judge", "Sources", "report"]

FILES = ("funnel.csv", "reasons.csv", "drivers.csv", "opportunities.json")
"""What stands beside the pages for machines."""

_EFFECTS = (0.005, 0.01, 0.02)  # what a test might be about, in shares of payments
_FEWEST = 200  # attempts with an outcome, below which a model's word on them means nothing

Judge = Callable[["pd.DataFrame"], Mapping[str, Any] | None]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Sources:
    """What the pages are made of: a checked table of attempts, and whatever else there is.

    `decisions` are the service's; `judge` gives what `payrescue evaluate-policy` says of policies
    by the attempts, or None where the attempts cannot tell. What is None, its page says so.
    """

    table: pd.DataFrame
    settings: InsightSettings
    model: ModelTold | None = None
    decisions: pd.DataFrame | None = None
    judge: Judge | None = None


def report(sources: Sources, folder: Path, rng: np.random.Generator, tell: Tell = lambda _: None) -> list[Path]:
    """Write the pages into a folder, and return the files that were written."""
    frame = frame_of(sources.table, sources.settings)
    found = overview(frame, sources.settings)
    tell("overview: success rates, funnel, what moved")
    failures = reasons(frame)
    pairs = cube(failures)
    unknown = explained(sources.table, sources.model.artefact if sources.model is not None else None, rng)
    tell(f"reasons: {len(failures.causes)} causes; {unknown.asked:,} failures without a reason diagnosed")
    table, artefact = sources.table, sources.model.artefact if sources.model is not None else None
    driving = _drivers(frame, table, artefact, rng)
    tell("drivers: what goes with each kind of failure")
    backlog = read_backlog(sources.settings.backlog) if sources.settings.backlog is not None else None
    proposed = opportunities(table, artefact, backlog, rng) if frame.window is not None else []
    tell(f"opportunities: {len(proposed)} changes")
    plans = _plans(table)
    reads, unread = _reads(table, rng)
    tell(f"experiments: {len(reads)} read")
    suggested = recommendations(sources.decisions) if sources.decisions is not None else None
    judged = sources.judge(sources.table) if sources.judge is not None else None
    policies = policies_told(judged) if judged is not None else None
    tell("recommendations: what was suggested, and policies that were not followed")
    head = Head(
        window=frame.window,
        attempts=len(frame),
        payments=len(frame.first),
        model=sources.model.label if sources.model is not None else None,
        files=FILES,
    )
    contexts: dict[str, Context] = {
        "overview": lambda t: overview_page(found, t),
        "reasons": lambda t: reasons_page(failures, pairs, unknown, sources.model is not None, t),
        "drivers": lambda t: drivers_page(driving, "drivers", t),
        "opportunities": lambda t: opportunities_page(proposed, t),
        "experiments": lambda t: experiments_page(plans, reads, unread, t),
        "recommendations": lambda t: recommendations_page(
            suggested, policies, "propensity" if sources.judge is not None else "unasked", t
        ),
        "model": lambda t: model_page(sources.model, t),
    }
    written = write_pages(folder, head, contexts)
    written.append(write_file(folder / "funnel.csv", _funnel(found).encode()))
    written.append(write_file(folder / "reasons.csv", _csv(failures.table()).encode()))
    written.append(write_file(folder / "drivers.csv", _csv(_frame(drivers_rows(driving), _DRIVERS)).encode()))
    written.append(write_file(folder / "opportunities.json", _json([one.as_dict() for one in proposed])))
    return written


def _funnel(found: Overview) -> str:
    """The funnels of all definitions, one row for each stage, as CSV."""
    import pandas as pd

    names = ["definition", "lost_to", "reached", "lost", "share_of_all", "low", "high"]
    rows: list[list[Any]] = []
    for name, success in found.successes.items():
        rows += [
            [name, x.cause, x.reached, x.lost, x.share.value, x.share.low, x.share.high] for x in success.funnel.lost
        ]
        rate = success.funnel.success
        rows.append([name, "success", rate.hits, 0, rate.value, rate.low, rate.high])
    return _csv(pd.DataFrame(rows, columns=names))


_DRIVERS = (
    *("category", "feature", "label", "unit", "group", "actionable", "shap_value", "shap_low", "shap_high"),
    *("permutation_value", "permutation_low", "permutation_high", "stable", "disagree", "test", "n"),
)


def _frame(rows: list[dict[str, Any]], names: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(names))


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _csv(table: pd.DataFrame) -> str:
    """A table as CSV, in which no text begins as what a spreadsheet would run: an apostrophe then stands before it."""

    def harmless(cell: Any) -> Any:
        return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell

    return str(table.map(harmless).to_csv(index=False))


def _json(told: Any) -> bytes:
    return json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False).encode()


def _drivers(frame: Frame, table: pd.DataFrame, artefact: Artefact | None, rng: np.random.Generator) -> Drivers | None:
    """None without a model, or with too few attempts of both kinds for it to be asked about."""
    ended = frame.outcome[frame.outcome >= 0]
    if artefact is None or len(ended) < _FEWEST or (ended == 0).all() or (ended > 0).all():
        return None
    return drivers(table, artefact, rng)


def _plans(table: pd.DataFrame) -> list[Plan]:
    """What tests of a few effects would take; none where there is nothing to plan by."""
    found = []
    for effect in _EFFECTS:
        try:
            found.append(plan(table, minimum_effect=effect))
        except BadInput:  # no outcomes, or so many successes that there is no such effect to gain
            continue
    return found


def _reads(table: pd.DataFrame, rng: np.random.Generator) -> tuple[list[ReadOut], list[str]]:
    """The read-outs of the experiments that the attempts were in, and the names of those with too little to read."""
    names = sorted(map(str, table["experiment"].dropna().unique())) if "experiment" in table else []
    found, unread = [], []
    for name in names:
        try:
            found.append(read(table, name, rng))
        except BadInput:
            unread.append(name)
    return found, unread
