"""Where models are, and what the watcher writes of them: what it and its keeper have to know, without what serves.

It stands apart so that these processes need not import what the workers do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DEFAULT_STORE", "FOUND", "MODEL_URI", "MOST_BYTES", "STARTED", "Found", "Located", "read_found"]

DEFAULT_STORE = "sqlite:///mlflow.db"
"""The MLflow store where `MLFLOW_TRACKING_URI` names none, in the current folder."""

MODEL_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")
"""A model of the registry, by alias or version."""

MOST_BYTES = 2**30
"""How large all files of a model may be together."""

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
