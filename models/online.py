"""What is known online at the moment of a request: the past as it stands now, and the attempts of other payments."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from features.past import Past
from models.rules_standing import AttemptState

__all__ = ["OnlinePast"]


class OnlinePast(Past, AttemptState, Protocol):
    """What one request looks back on, and no other."""

    @property
    def missed(self) -> bool:
        """Whether what is known now could not be had in time, so that this is what the artefact carries."""

    @property
    def lock(self) -> AbstractContextManager[object]:
        """What keeps it from moving on while it is held."""
