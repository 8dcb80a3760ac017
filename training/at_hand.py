"""Leaves a new champion where a server that starts beside this registry looks first, so that it need not wait for MLflow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from models.kept import FOLDER, NOWHERE, KeptModels

__all__ = ["leave", "place"]

_SQLITE = "sqlite:///"


def place(environment: Mapping[str, str]) -> Path | None:
    """The folder to leave it in; None where no server would look, or would look for what another registry says.

    Without `PAYRESCUE_LAST_MODELS`, a server can be foretold to start in this folder only if its store is a file that is named
    from here. What a `MLFLOW_REGISTRY_URI` of its own says is not known to whoever has another.

    >>> place({"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}), place({"MLFLOW_TRACKING_URI": "https://mlflow.example"})
    (PosixPath('payrescue-models'), None)
    """
    store, named = environment["MLFLOW_TRACKING_URI"], environment.get("PAYRESCUE_LAST_MODELS")
    if environment.get("MLFLOW_REGISTRY_URI") or named == NOWHERE:
        return None
    if named:
        return Path(named)
    beside = store.startswith(_SQLITE) and not Path(store.removeprefix(_SQLITE)).is_absolute()
    return Path(FOLDER) if beside else None


def leave(name: str, version: str) -> bool:
    """Leave a version of the registered model `name`, which has just become champion; whether it was left.

    It never raises: what a server does not find here it asks the registry for, seconds later.
    """
    from training import tracking

    try:
        folder = place(os.environ)
        if folder is None:
            return False
        files, _ = tracking.folder_of(f"models:/{name}/{version}")
        kept = KeptModels(folder, os.environ["MLFLOW_TRACKING_URI"])
        return kept.add(f"models:/{name}@champion", version, files)
    except Exception:  # a full disk, a store that is gone: the champion is champion all the same
        return False
