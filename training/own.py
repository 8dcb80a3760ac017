"""Which columns of a merchant's own are read beside the contract's, for whom; and reading with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from features.columns import Column
from features.own import as_columns
from training.settings import TrainSettings

if TYPE_CHECKING:
    import pandas as pd

    from models.artefact import Artefact

__all__ = ["own_of_models", "own_of_training", "read_for", "store_is_there"]


def own_of_models(*models: Artefact) -> tuple[Column, ...]:
    """The own columns of all models together; where two declare one name otherwise, the first counts."""
    found: dict[str, Column] = {}
    for model in models:
        for column in as_columns(model.encoder.own):
            found.setdefault(column.name, column)
    return tuple(found.values())


def read_for(
    models: Iterable[Artefact],
    data: str,
    query: str | None,
    mapping: str | None,
    history: str | None,
    tell: Callable[[str], None],
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The attempts, and the past that they may look back on, if any: read and checked, with the own columns of all models."""
    from features.attempts import read_attempts

    now, extra = datetime.now(UTC), own_of_models(*models)
    table = read_attempts(data, mapping, now=now, query=query, extra=extra, progress=tell)
    past = read_attempts(history, mapping, now=now, extra=extra, progress=tell) if history else None
    return table, past


def own_of_training(settings: TrainSettings, *others: TrainSettings) -> tuple[Column, ...]:
    """The own columns that trainings declare, which have to be there; and those of the champion, which need not be.

    Where two declare one name otherwise, the first counts. Without the champion's columns it would be compared on less than
    it was made for.
    """
    from training import tracking

    by_name = {column.name: column for one in (*others[::-1], settings) for column in as_columns(one.own)}
    declared = tuple(by_name.values())
    if not store_is_there():
        return declared  # and none is made before the attempts are known to be good
    tracking.store()
    champion, _, _ = tracking.champion(settings.model_name)
    theirs = own_of_models(champion) if champion is not None else ()
    names = {column.name for column in declared}
    return (*declared, *(replace(column, for_training=False) for column in theirs if column.name not in names))


def store_is_there() -> bool:
    """Whether MLflow's store may know a model already. Asking where there is none would make one, before the data is read."""
    from training.tracking import DEFAULT_STORE

    uri = os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_STORE
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).is_file()
