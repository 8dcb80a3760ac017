"""In what two candidates differ, kind by kind: one of them, with what belongs to a kind as the other has it."""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["put_back"]


@njit(cache=True, nogil=True)
def put_back(matrix, place, against, members):
    """Which kinds (n_kinds, width) have a column in which two rows differ; and the first row, once for each of them, with
    these columns as the second has them."""
    kinds, rows = np.empty(len(members), np.int64), np.empty((len(members), matrix.shape[1]), np.float32)
    n = 0
    for kind in range(len(members)):
        differ = False
        for c in range(matrix.shape[1]):
            ours, theirs = matrix[place, c], matrix[against, c]
            if members[kind, c]:
                differ |= ours != theirs and (ours == ours or theirs == theirs)
                ours = theirs
            rows[n, c] = ours
        kinds[n] = kind
        n += differ
    return kinds[:n], rows[:n]
