"""What features look back on, whoever keeps it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Past"]


class Past(Protocol):
    """A history as it stands, or what is known of one at the moment of a request."""

    def copies(
        self, names: Collection[str]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """Sums (n, 4, 6), times and streaks (n,) of these names' slots, in their order; an empty one where there is none."""

    def has(self, attempt: Mapping[str, Any]) -> bool:
        """Whether the outcome of an attempt (its fields) has entered."""
