"""The feature matrix of more attempts than memory holds: a file mapped into it, and rows of it that are not copied out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.kernel import N_FEATURES

__all__ = ["Selected", "as_sequence", "mapped", "select"]

Array = npt.NDArray[Any]

_AT_ONCE = 65_536  # rows that LightGBM is handed together


@dataclass(frozen=True)
class Selected:
    """Rows of a matrix, in the order of `rows` (places); a slice of them is copied when it is asked for."""

    matrix: Array
    rows: Array

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> Array:
        found: Array = self.matrix[self.rows[part]]
        return found


def mapped(rows: int, folder: Path) -> Array:
    """A matrix of features of so many attempts, float32, kept in a file in `folder`, which has to outlive it."""
    return np.memmap(folder / "features.f32", np.float32, "w+", shape=(rows, N_FEATURES))


def select(matrix: Array, mask: npt.NDArray[np.bool_]) -> Array | Selected:
    """The rows where the mask holds: a copy, or, of a matrix in a file, where to find them."""
    if isinstance(matrix, np.memmap):
        return Selected(matrix, np.flatnonzero(mask))
    return matrix[mask]


def as_sequence(selected: Selected, columns: Sequence[int]) -> Any:
    """Some columns of the rows as LightGBM reads them piece by piece; it makes the same bins of them as of a whole matrix."""
    import lightgbm as lgb

    places = list(columns)

    class Rows(lgb.Sequence):  # type: ignore[misc]  # LightGBM carries no types
        batch_size = _AT_ONCE

        def __len__(self) -> int:
            return len(selected)

        def __getitem__(self, part: Any) -> Array:
            if isinstance(part, slice):
                return np.ascontiguousarray(selected[part][:, places])
            row: Array = selected.matrix[selected.rows[part], places].astype(np.float64)
            return row

    return Rows()
