"""After which round trees that are grown already stop helping: what early stopping would have said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from training.calibrate import log_losses
from training.matrix import Selected

__all__ = ["best_round"]

Array = npt.NDArray[Any]

_CELLS = 8_000_000  # scores that are held at once: rows times rounds


def best_round(
    booster: Any, matrix: Array | Selected, answer: Array, columns: Sequence[int], patience: int
) -> tuple[int, tuple[float, ...]]:
    """The round of least log loss that `patience` rounds did not better, counted from 1; and the log loss after each round.

    `booster` is LightGBM's, with two answers, and tells the log-odds of answer 0; `matrix` (n, n_features), `answer` (n,).
    """
    leaves = [
        np.array([booster.get_leaf_output(tree, leaf) for leaf in range(told["num_leaves"])])
        for tree, told in enumerate(booster.dump_model()["tree_info"])
    ]
    places, rows = list(columns), max(1, _CELLS // max(len(leaves), 1))
    total = np.zeros(len(leaves))
    for start in range(0, len(answer), rows):
        block = np.ascontiguousarray(matrix[start : start + rows][:, places])
        which = booster.predict(block, pred_leaf=True).reshape(len(block), -1)
        scores = np.cumsum(np.column_stack([value[leaf] for value, leaf in zip(leaves, which.T, strict=True)]), axis=1)
        total += log_losses(scores, (answer[start : start + rows] == 0)[:, None]).sum(axis=0)
    curve = total / max(len(answer), 1)
    best = 0
    for place, loss in enumerate(curve):
        if loss < curve[best]:
            best = place
        elif place - best >= patience:
            break
    return best + 1, tuple(curve[: best + patience + 1].tolist())
