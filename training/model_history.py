"""A version of a model with its past: its card, who was champion when, and the card of the champion before it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from features.errors import ArtifactMismatch, BadInput
from models.artefact import Artefact, load
from training import promotion, tracking

__all__ = ["VersionTold", "version_told"]


@dataclass(frozen=True)
class VersionTold:
    """A version; `moves` of the champion alias, oldest first; `previous` the champion before it and its card, None if none."""

    name: str
    version: str | None
    artefact: Artefact
    card: Mapping[str, Any] | None
    moves: tuple[Mapping[str, Any], ...]
    previous: tuple[str, Mapping[str, Any]] | None


def version_told(uri: str) -> VersionTold:
    """What the registry, or a folder, tells of a model. Raises BadInput where there is none."""
    folder, version = tracking.folder_of(uri)
    artefact, card = load(folder), _card(folder)
    name = (
        uri.removeprefix("models:/").partition("@")[0].partition("/")[0] if uri.startswith("models:/") else "payrescue"
    )
    if not uri.startswith("models:/"):
        return VersionTold(name, version, artefact, card, (), None)
    import mlflow

    moves = promotion.moves(mlflow.MlflowClient().get_registered_model(name))
    before = next((move.old for move in reversed(moves) if move.new == version and move.old is not None), None)
    previous = None
    if before is not None:
        try:
            old = _card(tracking.folder_of(f"models:/{name}/{before}")[0])
        except (ArtifactMismatch, BadInput):  # deleted, or of another format: then there is nothing to compare with
            old = None
        previous = (before, old) if old is not None else None
    return VersionTold(name, version, artefact, card, tuple(asdict(move) for move in moves), previous)


def _card(folder: Path) -> Mapping[str, Any] | None:
    path = folder / "model_card.json"
    if not path.is_file():
        return None
    card: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return card
