"""Golden rows: a few attempts with the probabilities that training got for them; what loads a model has to get the same.

They are `golden.json` in the artefact, in the fields of requests, and begin after the training data ends. A model that was
damaged and still parses, or that this machine computes otherwise, does not come out at them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from features.columns import OUTCOMES
from features.errors import ArtifactMismatch

if TYPE_CHECKING:
    import pandas as pd

    from models.artefact import Artefact

__all__ = ["TOLERANCE", "check_golden", "golden_rows"]

TOLERANCE = 1e-9
"""How far a probability may be from what training got."""

_LATER_US = 3_600_000_000  # after the last outcome that the model carries, as a request would be
_NOT_SHIPPED = {"customer_id"}


class _Model(Protocol):
    """What is asked."""

    def outcome(self, attempt: dict[str, Any], previous: Sequence[dict[str, Any]]) -> Sequence[float]:
        """Probabilities, in the order of OUTCOMES."""

    def reasons(
        self, attempt: dict[str, Any], previous: Sequence[dict[str, Any]], evidence: dict[str, Any]
    ) -> Mapping[str, float]:
        """The probability of each reason."""


def golden_rows(artefact: Artefact, table: pd.DataFrame) -> list[dict[str, Any]]:
    """The last attempts of a checked table as they would look an hour after the artefact's history ends, and their scores.

    Each is `{"attempt", "evidence", "outcome": [5 probabilities], "reasons": {reason: probability}}`, the probabilities as
    whole tables are scored; `reasons` is empty where the model has no reason head.
    """
    import pandas as pd

    from features.columns import before_columns
    from models.tables import EVIDENCE, fields_of, matrix_of

    last = table.tail(_COUNT).reset_index(drop=True)
    every = [*before_columns(), *(column.name for column in artefact.encoder.own)]
    asked = last[[name for name in every if name in last and name not in _NOT_SHIPPED]].copy()
    names = [f"golden-{i}" for i in range(len(asked))]
    asked["attempt_id"], asked["payment_id"] = names, names  # so that none is another's earlier attempt
    begin = pd.to_datetime(artefact.history.until + _LATER_US, unit="us", utc=True)
    asked["created_at"] = (asked["created_at"] + (begin - asked["created_at"].min())).astype(last["created_at"].dtype)
    model, matrix = artefact.outcome_model(), matrix_of(artefact, asked)
    outcome = model.outcome_probability(matrix).tolist()
    reasons: list[dict[str, float]] = [{} for _ in names]
    if model.reason is not None:
        known, told = model.reason_probability(matrix, artefact.encoder.evidence_of_table(last))
        reasons = [dict(zip(known, row, strict=True)) for row in told.tolist()]
    evidence = fields_of(last[[name for name in EVIDENCE if name in last]])
    parts = zip(fields_of(asked), evidence, outcome, reasons, strict=True)
    return [{"attempt": a, "evidence": e, "outcome": o, "reasons": r} for a, e, o, r in parts]


_COUNT = 5


def check_golden(model: _Model, golden: Sequence[Mapping[str, Any]]) -> None:
    """Ask a loaded model for its golden rows. Raises ArtifactMismatch unless every probability comes out, to TOLERANCE.

    A model without golden rows, made by an older version, must at least tell probabilities.
    """
    for place, row in enumerate(golden or [_ANY]):
        attempt = dict(row["attempt"])
        told = np.array(model.outcome(attempt, []), float)
        reasons = model.reasons(attempt, [], dict(row["evidence"]))
        for kind, found in (("outcomes", told), ("reasons", np.array(list(reasons.values()), float))):
            if not (np.isfinite(found).all() and (found >= 0.0).all() and abs(found.sum() - 1.0) < 1e-6):
                raise ArtifactMismatch(f"golden row {place}: what it tells of {kind} are no probabilities")
        if not golden:
            return
        wanted = np.array(row["outcome"], float)
        if wanted.shape != (len(OUTCOMES),) or not (np.abs(told - wanted) <= TOLERANCE).all():
            raise ArtifactMismatch(f"golden row {place}: the outcomes do not come out as training got them")
        wide = [name for name, p in row["reasons"].items() if not abs(reasons.get(name, np.nan) - p) <= TOLERANCE]
        if wide:
            raise ArtifactMismatch(f"golden row {place}: {wide[0]} does not come out as training got it")


_ANY: Mapping[str, Any] = {
    "attempt": {"created_at": 1_767_605_400_000_000, "amount_minor": 1, "currency": "EUR", "country": "DE", "method": "card"},
    "evidence": {},
}  # fmt: skip
