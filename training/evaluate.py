"""How good a model is on a table of attempts, by itself or against another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from features.errors import BadInput
from models.artefact import Artefact
from models.predictor import MATURE_US
from models.tables import matrix_of
from training.compare import compare_slices
from training.labels import matured
from training.quality import Judged, compare, quality, slices_of, why_quality

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["evaluate"]


def evaluate(
    artefact: Artefact,
    table: pd.DataFrame,
    *,
    past: pd.DataFrame | None = None,
    against: Artefact | None = None,
    resamples: int = 200,
    seed: int = 7,
) -> dict[str, Any]:
    """Quality as it serves, and the difference to `against` on the same attempts: in all, and by slice, the worst first.

    Outcomes count as they do in training: once they are final (`training.labels.matured`). `warning` says so if a model has
    learnt from some of these attempts. Raises BadInput without outcomes to judge by.
    """
    models = [artefact, *([against] if against is not None else [])]
    outcome, _ = matured(artefact.encoder.from_table(table), max(map(_mature_us, models)))
    known = outcome >= 0
    if known.sum() < 30 or len(np.unique(outcome[known] == 0)) < 2:
        raise BadInput(
            "attempts",
            message=f"{int(known.sum())} attempts with a final outcome; want 30 or more, successes and failures",
        )
    payment = np.unique(table["payment_id"], return_inverse=True)[1]
    judged = Judged(outcome[known], payment[known], resamples=resamples, seed=seed)
    told = artefact.outcome_model().outcome_probability(matrix_of(artefact, table, past)[known])
    found: dict[str, Any] = {
        "attempts": int(known.sum()),
        "quality": _plain(quality(judged, told)),
        "categories": {name: _plain(figures) for name, figures in why_quality(judged, told).items()},
    }
    created = table["created_at"].to_numpy("datetime64[us]").astype(np.int64)[known]
    flattered = [
        f"{learnt:,} of these attempts lie in {whose} training window: they flatter it; judge on later ones"
        for whose, model in zip(("the model's", "the other model's"), models, strict=False)
        if (learnt := int((created <= model.window["until"]).sum()))
    ]
    if flattered:
        found["warning"] = "; ".join(flattered)
    if against is not None:
        theirs = against.outcome_model().outcome_probability(matrix_of(against, table, past)[known])
        found["against"] = _plain(compare(judged, told, theirs))
        slices = compare_slices(judged, told, theirs, slices_of(table, artefact.encoder, known), seed=seed)
        found["slices"] = [one.as_dict() for one in slices]
    return found


def _mature_us(model: Artefact) -> int:
    """When outcomes were final in the training of a model, microseconds after the attempt."""
    minutes: float | None = model.about.get("mature_minutes")
    return MATURE_US if minutes is None else round(minutes * 60e6)


def _plain(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: figure.as_dict() for name, figure in figures.items()}
