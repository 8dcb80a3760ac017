"""Where models are on disk, and what the watcher writes of them: what its keeper has to know, without what serves.

It stands apart so that the process that starts the workers need not import what they do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DEFAULT_STORE", "FOUND", "STARTED", "Found", "Located", "read_found"]

DEFAULT_STORE = "sqlite:///mlflow.db"
"""The MLflow store where `MLFLOW_TRACKING_URI` names none, in the current folder."""

FOUND = "found.json"
"""The watcher's file, in its folder."""

STARTED = "started"
"""The file beside it by which a worker says that it answers."""


@dataclass(frozen=True)
class Located:
    """Where a model is on disk, and its version in the registry, if it is from there."""

    folder: Path
    version: str | None


@dataclass(frozen=True)
class Found:
    """What the watcher found: each URI's model, None where the registry has none; `trouble`, why it could not ask, if so."""

    models: Mapping[str, Located | None]
    trouble: str | None = None


def read_found(folder: Path) -> Found | None:
    """What the watcher has written; None as long as it has written nothing that can be read."""
    try:
        told = json.loads((folder / FOUND).read_text(encoding="utf-8"))
        models = {
            str(uri): Located(Path(one["folder"]), str(one["version"])) if one is not None else None
            for uri, one in told["models"].items()
        }
        return Found(models, told["trouble"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
