"""`payrescue report`: reads what it was given, and writes the pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import BadInput, Fault
from insights.model_told import ModelTold
from insights.report import Judge, Sources, report
from insights.settings import InsightSettings, read_insight_settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SEED", "ReportAsked", "write_pages_of", "write_report"]

SEED = 7
"""Of everything random in the pages: the same attempts give the same pages."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class ReportAsked:
    """What the command was given, each None where it was not."""

    data: str
    output: Path
    query: str | None = None
    mapping: str | None = None
    config: Path | None = None
    decisions: Path | None = None


def write_report(
    asked: ReportAsked,
    model: Callable[[], ModelTold | None],
    judge: Judge | None = None,
    *,
    tell: Tell = lambda _: None,
) -> str:
    """`payrescue report`; returns what to say at the end. Raises BadInput for what cannot be used."""
    import numpy as np

    from features.attempts import read_attempts
    from features.own import as_columns
    from insights.recommendations import read_decisions

    if asked.output.exists() and not asked.output.is_dir():
        raise BadInput("--output", [Fault("folder", "a folder, or a name that is free", seen=asked.output.name)])
    settings = read_insight_settings(asked.config)
    decisions = read_decisions(asked.decisions) if asked.decisions is not None else None
    told = model()  # before the attempts, since it says which columns of the merchant's own it knows
    extra = as_columns(told.artefact.encoder.own) if told is not None else ()
    table = read_attempts(
        asked.data, asked.mapping, now=datetime.now(UTC), query=asked.query, extra=extra, progress=tell
    )
    sources = Sources(table, settings, told, decisions, judge)
    written = report(sources, asked.output, np.random.default_rng(SEED), tell)
    return f"{len(written)} files in {asked.output}/\nnext: open {asked.output / 'index.html'} in a browser"


def write_pages_of(table: pd.DataFrame, model: ModelTold | None, folder: Path, tell: Tell = lambda _: None) -> None:
    """The pages of a checked table and a model, with the default settings, and no policies judged."""
    import numpy as np

    report(Sources(table, InsightSettings(), model), folder, np.random.default_rng(SEED), tell)
