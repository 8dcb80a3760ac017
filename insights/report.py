"""All pages, and the same figures for machines, from a table of attempts and what else there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from insights.frame import frame_of
from insights.model_page import model_page
from insights.model_told import ModelTold
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

__all__ = ["FILES", "Judge", "Sources", "report"]

FILES = ("funnel.csv", "reasons.csv", "drivers.csv", "opportunities.json")
"""What stands beside the pages for machines."""

Judge = Callable[["pd.DataFrame"], Mapping[str, Any] | None]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Sources:
    """What the pages are made of: a checked table of attempts, and whatever else there is.

    `source` names the table; `decisions` are the service's; `judge` gives what `payrescue evaluate-policy` says of policies
    by the attempts, or None where the attempts cannot tell. What is None, its page says so.
    """

    table: pd.DataFrame
    source: str
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
    suggested = recommendations(sources.decisions) if sources.decisions is not None else None
    judged = sources.judge(sources.table) if sources.judge is not None else None
    policies = policies_told(judged) if judged is not None else None
    tell("recommendations: what was suggested, and policies that were not followed")
    head = Head(
        window=frame.window,
        attempts=len(frame),
        payments=len(frame.first),
        model=sources.model.label if sources.model is not None else None,
        source=sources.source,
        files=FILES,
    )
    contexts: dict[str, Context] = {
        "overview": lambda t: overview_page(found, t),
        "reasons": lambda t: reasons_page(failures, pairs, unknown, sources.model is not None, t),
        "recommendations": lambda t: recommendations_page(
            suggested, policies, "propensity" if sources.judge is not None else "unasked", t
        ),
        "model": lambda t: model_page(sources.model, t),
    }
    written = write_pages(folder, head, contexts)
    written.append(write_file(folder / "funnel.csv", _funnel(found).encode()))
    written.append(write_file(folder / "reasons.csv", failures.table().to_csv(index=False).encode()))
    tell(f"pages in {folder}")
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
    return str(pd.DataFrame(rows, columns=names).to_csv(index=False))
