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

_NAN_IS_MISSING = 2  # LightGBM's missing types: 0 none (NaN counts as 0), 1 zero, 2 NaN
_TOGETHER = 12  # walks that advance side by side: enough to hide the time that each step waits for memory
_NO_TREES = "these are no boosted trees in LightGBM's text form, or they are damaged"
_BLOCK = 512  # rows that go through all trees together, few enough to stay in the cache


@njit(cache=True, nogil=True)
def _unfold(rows, places, sets, words, unfolded):
    """Write each row so that every question is "no more than a threshold?".

    Three times the features: with NaN as the least, as it is (above any threshold), and as 0. Then 0 or 1 for each set of
    codes, 0 where the row's code is in it. `sets` (n, 3): place of the code, first word, number of words.
    """
    n = len(places)
    for i in range(len(rows)):
        for f in range(n):
            value = rows[i, places[f]]
            missing = value != value
            unfolded[i, f] = -np.inf if missing else value
            unfolded[i, n + f] = value
            unfolded[i, 2 * n + f] = 0.0 if missing else value
        for s in range(len(sets)):
            value = rows[i, sets[s, 0]]
            outside = np.float32(1.0)
            if value > -1.0 and value < 2147483648.0:  # NaN is neither
                code = np.int64(value)
                if (code >> 5) < sets[s, 2] and (words[sets[s, 1] + (code >> 5)] >> (code & 31)) & 1 == 1:
                    outside = np.float32(0.0)
            unfolded[i, 3 * n + s] = outside


@njit(cache=True, nogil=True)
def _walk(unfolded, roots, depths, answers, column, threshold, next_node, value, scores):
    """Add to `scores` (n, classes) each row's leaf of every tree; tree t belongs to class answers[t].

    A node's next is next_node[2 · node], or the one after it where the row is not below the threshold, as NaN never is; a
    leaf's next is itself. So no step is a jump that the processor would have to guess.
    """
    n, trees = len(unfolded), len(roots)
    node, row = np.empty(_TOGETHER, np.uint64), np.empty(_TOGETHER, np.uint64)
    for first in range(0, n, _TOGETHER):
        rows = min(_TOGETHER, n - first)
        side = max(1, _TOGETHER // rows)
        for q in range(side * rows):
            row[q] = first + q % rows
        for t in range(0, trees, side):
            together, depth = min(side, trees - t), 0
            for k in range(together):
                depth = max(depth, depths[t + k])
                for r in range(rows):
                    node[k * rows + r] = roots[t + k]
            for _ in range(depth):
                for q in range(together * rows):
                    at = node[q]
                    node[q] = next_node[
                        np.uint64(2) * at + np.uint64(not (unfolded[row[q], column[at]] <= threshold[at]))
                    ]
            for k in range(together):
                answer = answers[t + k]
                for r in range(rows):
                    scores[first + r, answer] += value[node[k * rows + r]]


@dataclass
class _Trees:
    """Every tree's nodes, one after another, inner ones before leaves."""

    columns: int
    roots: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    column: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    next_node: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    sets: list[tuple[int, int, int]] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    known: dict[tuple[int, ...], int] = field(default_factory=dict)  # sets already there, asked by several nodes

    def add(self, told: dict[str, str]) -> None:
        """One tree, from its lines. Raises ValueError where they contradict each other."""
        leaves, first = int(told["num_leaves"]), len(self.column)
        values, inner = _floats(told["leaf_value"]), leaves - 1
        if leaves < 1 or len(values) != leaves or told.get("is_linear", "0") != "0":
            raise ValueError
        parts = [[]] * 4 if not inner else [_ints(told[name]) for name in _PARTS]
        thresholds = _floats(told["threshold"]) if inner else []
        if any(len(part) != inner for part in (*parts, thresholds)):
            raise ValueError
        bounds, codes = _ints(told.get("cat_boundaries", "")), _ints(told.get("cat_threshold", ""))
        levels = [0] * leaves
        for node, (column, decision, left, right, threshold) in enumerate(zip(*parts, thresholds, strict=True)):
            # A child comes after its parent, or a walk might never end
            if not 0 <= column < self.columns or any(not (node < c < inner or 0 <= ~c < leaves) for c in (left, right)):
                raise ValueError
            for child in (left, right):
                if child >= 0:
                    levels[child] = levels[node] + 1
            self.next_node += [first + (child if child >= 0 else inner + ~child) for child in (left, right)]
            missing = (decision >> 2) & 3
            if decision & 1:
                start, end = bounds[int(threshold)], bounds[int(threshold) + 1]
                if not 0 <= start < end <= len(codes):
                    raise ValueError
                asked = (column, *codes[start:end])
                if asked not in self.known:
                    self.known[asked] = len(self.sets)
                    self.sets.append((column, len(self.words), end - start))
                    self.words += codes[start:end]
                self.column.append(3 * self.columns + self.known[asked])
                self.threshold.append(0.5)
            elif missing == _NAN_IS_MISSING:
                self.column.append(column if decision & 2 else self.columns + column)
                self.threshold.append(threshold)
            elif missing == 0:
                self.column.append(2 * self.columns + column)
                self.threshold.append(threshold)
            else:
                raise ValueError
        self.roots.append(first)
        self.depths.append(1 + max(levels[:inner]) if inner else 0)
        self.value += [0.0] * inner + list(values)
        for leaf in range(first + inner, first + inner + leaves):
            self.column.append(0)
            self.threshold.append(np.inf)
            self.next_node += [leaf, leaf]

    def arrays(self, classes: int) -> tuple[Any, ...]:
        """What `_walk` takes between the rows and the scores."""
        told = np.array(self.threshold, np.float64)
        # Rows are float32: no more than a threshold is no more than the largest float32 that does not exceed it
        with np.errstate(over="ignore"):
            threshold = told.astype(np.float32)
        threshold = np.where(threshold > told, np.nextafter(threshold, np.float32(-np.inf)), threshold)
        return (
            np.array(self.roots, np.uint32),
            np.array(self.depths, np.int32),
            np.arange(len(self.roots)) % classes,
            np.array(self.column, np.uint32),
            threshold,
            np.array(self.next_node, np.uint32),
            np.array(self.value, np.float64),
        )


_PARTS = ("split_feature", "decision_type", "left_child", "right_child")


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
            trees = _Trees(self.columns)
            for block in blocks if "average_output" not in head.splitlines() else ():
                trees.add(dict(_lines(block)))
            self._trees = trees.arrays(self.classes)
            self._sets = np.array([(self.places[c], first, n) for c, first, n in trees.sets], np.int64).reshape(-1, 3)
            self._words = np.array(trees.words, np.uint32)
            self.iterations, left = divmod(len(trees.roots), self.classes)
        except (ValueError, KeyError, IndexError, OverflowError, ZeroDivisionError):
            raise ArtifactMismatch(_NO_TREES) from None
        if left or not self.iterations:
            raise ArtifactMismatch(_NO_TREES)

    @classmethod
    def joined(cls, boosters: Sequence[Booster]) -> Booster:
        """One whose scores are those of all, side by side, walked together."""
        self = cls.__new__(cls)
        self.places = np.unique(np.concatenate([one.places for one in boosters]))
        self.columns = len(self.places)
        self.classes, self.iterations = sum(one.classes for one in boosters), max(one.iterations for one in boosters)
        joined, sets, answer, node, word, first_set = [], [], 0, 0, 0, 0
        for one in boosters:
            roots, depths, answers, column, threshold, next_node, value = one._trees
            # A column is one of three ways to see a feature, or, after those, a set of codes
            ways, feature = np.divmod(column.astype(np.int64), one.columns)
            moved = ways * self.columns + np.searchsorted(self.places, one.places)[feature]
            beyond = column - 3 * one.columns + 3 * self.columns + first_set
            column = np.where(column < 3 * one.columns, moved, beyond)
            joined.append((roots + node, depths, answers + answer, column, threshold, next_node + node, value))
            sets.append(one._sets + np.array([0, word, 0]))
            answer, node, word = answer + one.classes, node + len(value), word + len(one._words)
            first_set += len(one._sets)
        kinds = [part.dtype for part in boosters[0]._trees]
        self._trees = tuple(
            np.concatenate(parts).astype(kind) for parts, kind in zip(zip(*joined, strict=True), kinds, strict=True)
        )
        self._sets, self._words = np.concatenate(sets), np.concatenate([one._words for one in boosters])
        return self

    def few(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Raw scores of a few rows, shape (n, n_classes): the way of a request. `matrix` is float32, and has the places."""
        scores = np.zeros((len(matrix), self.classes))
        self._score(matrix, scores)
        return scores

    def many(self, matrix: npt.NDArray[np.float32], threads: int = 0) -> npt.NDArray[np.float64]:
        """Raw scores, shape (n, n_classes), of as many rows as there are, on `threads` threads (0: as many as cores)."""
        matrix = np.ascontiguousarray(matrix, np.float32)
        if matrix.ndim != 2 or matrix.shape[1] <= self.places.max():
            raise ArtifactMismatch(f"the trees want {self.places.max() + 1} columns, there are {matrix.shape[1:]}")
        scores = np.zeros((len(matrix), self.classes))

        def block(start: int) -> None:
            self._score(matrix[start : start + _BLOCK], scores[start : start + _BLOCK])

        with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            for _ in pool.map(block, range(0, len(matrix), _BLOCK)):
                pass
        return scores

    def _score(self, matrix: Array, scores: Array) -> None:
        unfolded = np.empty((len(matrix), 3 * self.columns + len(self._sets)), np.float32)
        _unfold(matrix, self.places, self._sets, self._words, unfolded)
        _walk(unfolded, *self._trees, scores)


def _lines(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            yield name, value


def _ints(text: str) -> Sequence[int]:
    return [int(word) for word in text.split()]


def _floats(text: str) -> Sequence[float]:
    return [float(word) for word in text.split()]
