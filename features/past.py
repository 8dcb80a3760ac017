"""What features look back on, whoever keeps it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Looked", "Past"]


class Looked(NamedTuple):
    """What a request's rows look back on, as it stood before any of them: the slots that they touch.

    `keys` (n_rows, 8): which of the slots each row has, in the order of KEYS, −1 for none; `sums`, `times`, `streaks` by slot.
    """

    keys: npt.NDArray[np.int32]
    sums: npt.NDArray[np.float64]
    times: npt.NDArray[np.int64]
    streaks: npt.NDArray[np.int32]


class Past(Protocol):
    """A history as it stands, or what is known of one at the moment of a request."""

    def copies(
        self, names: Collection[str]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """Sums (n, 4, 6), times and streaks (n,) of these names' slots, in their order; an empty one where there is none."""

    def look_up(self, names: Sequence[Sequence[str | None]]) -> Looked:
        """Copies of the slots of rows whose names, in the order of KEYS, these are; None where a part is missing."""

    def has(self, attempt: Mapping[str, Any]) -> bool:
        """Whether the outcome of an attempt (its fields) has entered."""
