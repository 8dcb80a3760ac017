"""The feature matrix of more attempts than memory holds: a file mapped into it, and rows of it that are not copied out."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.kernel import N_FEATURES

__all__ = ["Selected", "copied", "mapped", "select"]

Array = npt.NDArray[Any]

_AT_ONCE = 65_536  # rows that are copied together


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


def mapped(rows: int, folder: Path, own: int = 0) -> Array:
    """A matrix of features of so many attempts, and so many `own` columns, float32, kept in a file in `folder`.

    The folder has to outlive it.
    """
    return np.memmap(folder / "features.f32", np.float32, "w+", shape=(rows, N_FEATURES + own))


def select(matrix: Array, mask: npt.NDArray[np.bool_]) -> Array | Selected:
    """The rows where the mask holds: a copy, or, of a matrix in a file, where to find them."""
    if isinstance(matrix, np.memmap):
        return Selected(matrix, np.flatnonzero(mask))
    return matrix[mask]


def copied(selected: Selected, columns: Sequence[int]) -> Array:
    """Some columns of the rows as a matrix in a file of its own, which nobody sees and which goes with the matrix.

    LightGBM reads it like one in memory, and so grows the same trees; from `lightgbm.Sequence` it makes other bins of codes.
    """
    folder = Path(selected.matrix.filename).parent  # type: ignore[attr-defined]  # it is a memmap
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        made = np.memmap(file, np.float32, "w+", shape=(len(selected), len(columns)))
    for start in range(0, len(selected), _AT_ONCE):
        made[start : start + _AT_ONCE] = selected[slice(start, start + _AT_ONCE)][:, list(columns)]
    return made
