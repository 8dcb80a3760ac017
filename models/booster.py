"""Boosted trees from LightGBM's text form, scored by a compiled walk: LightGBM's numbers bit for bit, without LightGBM.

A request scores a few rows with many small trees, where a library call spends its time on the way in; the walk takes about
a third of the time, and a process that serves need not load the library. What the text means is that of LightGBM 4
(src/io/tree.cpp, include/LightGBM/tree.h).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from features.errors import ArtifactMismatch

__all__ = ["Booster"]

Array = npt.NDArray[Any]

_DEFAULT_LEFT, _ZERO_IS_MISSING, _NAN_IS_MISSING, _CATEGORICAL = 1, 2, 4, 8
_NEAR_ZERO = 1e-35
_NO_TREES = "these are no boosted trees in LightGBM's text form, or they are damaged"
_BLOCK = 512  # rows that go through all trees together, few enough to stay in the cache


@njit(cache=True, nogil=True)
def _walk(rows, roots, classes, column, threshold, left, right, kind, words, leaf, scores):
    """Add to `scores` (n, classes) each row's leaf of every tree; tree t belongs to class t mod classes."""
    for t in range(len(roots)):
        answer = t % classes
        for i in range(len(rows)):
            node = roots[t]
            while node >= 0:
                value = rows[i, column[node]]
                flags = kind[node]
                if flags & _CATEGORICAL:
                    goes_left = False
                    if value > -1.0 and value < 2147483648.0:  # NaN is neither
                        code = np.int64(value)
                        if (code >> 5) < (flags >> 4):
                            goes_left = (words[np.int64(threshold[node]) + (code >> 5)] >> (code & 31)) & 1 == 1
                else:
                    if value != value and not flags & _NAN_IS_MISSING:
                        value = np.float32(0.0)
                    if value != value or (flags & _ZERO_IS_MISSING and abs(value) <= _NEAR_ZERO):
                        goes_left = flags & _DEFAULT_LEFT != 0
                    else:
                        goes_left = value <= threshold[node]
                node = left[node] if goes_left else right[node]
            scores[i, answer] += leaf[~node]


@dataclass
class _Trees:
    """Every tree's nodes, one after another. A child that is negative is leaf `~child`; so is the root of a bare leaf.

    For a categorical node `threshold` is where its set of codes begins in `words`, and `kind` >> 4 how many words it has.
    """

    roots: list[int] = field(default_factory=list)
    column: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    leaf: list[float] = field(default_factory=list)

    def add(self, told: dict[str, str], columns: int) -> None:
        """One tree, from its lines. Raises ValueError where they contradict each other."""
        leaves, first, first_leaf = int(told["num_leaves"]), len(self.column), len(self.leaf)
        values = _floats(told["leaf_value"])
        inner = leaves - 1
        if leaves < 1 or len(values) != leaves or told.get("is_linear", "0") != "0":
            raise ValueError
        self.leaf += values
        self.roots.append(first if inner else ~first_leaf)
        if not inner:
            return
        parts = [_ints(told[name]) for name in ("split_feature", "decision_type", "left_child", "right_child")]
        thresholds = _floats(told["threshold"])
        if any(len(part) != inner for part in (*parts, thresholds)):
            raise ValueError
        bounds, sets = _ints(told.get("cat_boundaries", "")), _ints(told.get("cat_threshold", ""))
        for node, (column, decision, left, right, threshold) in enumerate(zip(*parts, thresholds, strict=True)):
            # A child comes after its parent, or a walk might never end
            if not 0 <= column < columns or any(not (node < c < inner or 0 <= ~c < leaves) for c in (left, right)):
                raise ValueError
            self.column.append(column)
            self.left.append(left + first if left >= 0 else left - first_leaf)
            self.right.append(right + first if right >= 0 else right - first_leaf)
            if decision & 1:
                start, end = bounds[int(threshold)], bounds[int(threshold) + 1]
                if not 0 <= start < end <= len(sets):
                    raise ValueError
                self.threshold.append(float(len(self.words)))
                self.kind.append(_CATEGORICAL | (end - start) << 4)
                self.words += sets[start:end]
            else:
                self.threshold.append(threshold)
                missing = (decision >> 2) & 3
                self.kind.append((decision >> 1) & 1 | (0, _ZERO_IS_MISSING, _NAN_IS_MISSING)[missing])

    def arrays(self, classes: int) -> tuple[Any, ...]:
        """What `_walk` takes between the rows and the scores."""
        return (
            np.array(self.roots, np.int32),
            classes,
            np.array(self.column, np.int32),
            np.array(self.threshold, np.float64),
            np.array(self.left, np.int32),
            np.array(self.right, np.int32),
            np.array(self.kind, np.int32),
            np.array(self.words, np.uint32),
            np.array(self.leaf, np.float64),
        )


class Booster:
    """Trees that were trained elsewhere, from LightGBM's text form. Only parse text whose hash was checked.

    `places` are the matrix columns that the trees' features are in; without it, they are all the matrix has. Scores are raw:
    log-odds for two classes, log-weights for more. Raises ArtifactMismatch if the text is no model, or one of another number
    of features. Any number of threads may score at once.
    """

    def __init__(self, text: str, places: Sequence[int] | None = None) -> None:
        try:
            head, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
            told = dict(_lines(head))
            self.classes, self.columns = int(told["num_tree_per_iteration"]), int(told["max_feature_idx"]) + 1
            if places is not None and len(places) != self.columns:
                raise ArtifactMismatch(f"the trees are over {self.columns} features, not {len(places)}")
            self.places = np.arange(self.columns) if places is None else np.array(places, np.int64)
            trees = _Trees()
            for block in blocks if "average_output" not in head.splitlines() else ():
                trees.add(dict(_lines(block)), self.columns)
            trees.column = self.places[trees.column].tolist()
            self._trees = trees.arrays(self.classes)
            self.iterations, left = divmod(len(trees.roots), self.classes)
        except (ValueError, KeyError, IndexError, OverflowError, ZeroDivisionError):
            raise ArtifactMismatch(_NO_TREES) from None
        if left or not self.iterations:
            raise ArtifactMismatch(_NO_TREES)

    def few(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Raw scores of a few rows, shape (n, n_classes): the way of a request. `matrix` is float32, and has the places."""
        scores = np.zeros((len(matrix), self.classes))
        _walk(matrix, *self._trees, scores)
        return scores

    def many(self, matrix: npt.NDArray[np.float32], threads: int = 0) -> npt.NDArray[np.float64]:
        """Raw scores, shape (n, n_classes), of as many rows as there are, on `threads` threads (0: as many as cores)."""
        matrix = np.ascontiguousarray(matrix, np.float32)
        if matrix.ndim != 2 or matrix.shape[1] <= self.places.max():
            raise ArtifactMismatch(f"the trees want {self.places.max() + 1} columns, there are {matrix.shape[1:]}")
        scores = np.zeros((len(matrix), self.classes))

        def block(start: int) -> None:
            _walk(matrix[start : start + _BLOCK], *self._trees, scores[start : start + _BLOCK])

        with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            for _ in pool.map(block, range(0, len(matrix), _BLOCK)):
                pass
        return scores


def _lines(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            yield name, value


def _ints(text: str) -> Sequence[int]:
    return [int(word) for word in text.split()]


def _floats(text: str) -> Sequence[float]:
    return [float(word) for word in text.split()]
