"""What the pages are told of a model: whoever makes them reads the registry, which is none of their business."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.artefact import Artefact

__all__ = ["ModelTold"]


@dataclass(frozen=True)
class ModelTold:
    """A model with its card (as training wrote it, None where there is none).

    `moves` tell who was champion when, oldest first: old, new, by, reason, at. `previous` is the version that was champion
    before, with its card.
    """

    name: str
    version: str | None
    artefact: Artefact
    card: Mapping[str, Any] | None = None
    moves: Sequence[Mapping[str, Any]] = ()
    previous: tuple[str, Mapping[str, Any]] | None = None

    @property
    def label(self) -> str:
        """Name and version, as pages show them."""
        trained = str(self.artefact.about.get("trained_at", ""))[:10]
        told = f"{self.name} {self.version}" if self.version is not None else self.name
        return f"{told} ({trained})" if trained else told
