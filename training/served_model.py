"""The model as MLflow's pyfunc: attempts in a DataFrame, probabilities out.

MLflow finds the loader `_load_pyfunc` here, in the installed package, and hands it the artefact's folder; nothing in the
logged model executes, so that `MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false` is no hindrance.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.attempts import check_attempts
from features.columns import Column, before_columns, columns
from features.own import as_columns
from models.artefact import Artefact, load
from models.tables import score_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ServedModel", "example_of", "predict", "signature"]


class ServedModel:
    """What `mlflow.pyfunc.load_model` gives back under its wrapper."""

    def __init__(self, artefact: Artefact) -> None:
        self._artefact = artefact

    def predict(self, attempts: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:  # noqa: ARG002
        """`attempt_id` and P(outcome) for attempts as the contract's table has them. Raises BadInput naming what is wrong."""
        return predict(self._artefact, attempts)


def _load_pyfunc(path: str) -> ServedModel:
    return ServedModel(load(Path(path)))


def predict(artefact: Artefact, attempts: pd.DataFrame) -> pd.DataFrame:
    """Scores of attempts not checked yet. Times without a zone are taken as UTC, since MLflow's signatures know no zone."""
    import pandas as pd

    attempts, own = attempts.copy(), as_columns(artefact.encoder.own)
    for name in ("created_at", "resolved_at"):
        if name in attempts and isinstance(attempts[name].dtype, type(pd.Timestamp(0).to_datetime64().dtype)):
            attempts[name] = attempts[name].dt.tz_localize("UTC")
    return score_table(artefact, check_attempts(attempts, source="attempts", now=datetime.now(UTC), extra=own))


def example_of(table: pd.DataFrame, own: Sequence[Column] = ()) -> pd.DataFrame:
    """A few attempts in plain types, what is known before them only, as MLflow's signature wants it."""
    known = columns() | {column.name: column for column in own}
    names = [*before_columns(), *(column.name for column in own)]
    example = table[[name for name in names if name in table]].copy()
    for name in example.columns:
        kind = known[name].type
        if kind == "timestamp":
            example[name] = example[name].dt.tz_localize(None).astype("datetime64[us]")
        elif kind in {"string", "category"}:
            example[name] = example[name].astype(object).where(example[name].notna(), None)
        elif kind in {"int64", "bool"} and not known[name].required:
            example[name] = example[name].astype("float64")
    return example


def signature(example: pd.DataFrame, scores: pd.DataFrame, own: Sequence[Column] = ()) -> Any:
    """Inputs by name (only the contract's required ones must be there) and outputs."""
    import mlflow
    from mlflow.types import ColSpec, DataType, Schema

    kinds = {
        "string": DataType.string,
        "category": DataType.string,
        "timestamp": DataType.datetime,
        "int64": DataType.double,
        "float64": DataType.double,
        "bool": DataType.double,
    }
    inputs, known = [], columns() | {column.name: column for column in own}
    for name in example.columns:
        column = known[name]
        kind = DataType.long if column.type == "int64" and column.required else kinds[column.type]
        inputs.append(ColSpec(kind, name, required=column.required))
    outputs = [ColSpec(DataType.string if name == "attempt_id" else DataType.double, name) for name in scores.columns]
    return mlflow.models.ModelSignature(Schema(inputs), Schema(outputs))
