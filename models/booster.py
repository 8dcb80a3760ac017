"""Boosted trees from LightGBM's text form, scored by compiled code: LightGBM's numbers bit for bit, without LightGBM.

A request scores a few rows with many small trees, where a library call spends its time on the way in, and a walk through
each tree its time waiting for memory (see `models.questions`); and a process that serves need not load the library. What the
text means is that of LightGBM 4 (src/io/tree.cpp, include/LightGBM/tree.h).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from features.errors import ArtifactMismatch
from models.kernel import add_scores
from models.questions import SETS, Questions, Tree, cut, joined, sorted_out

__all__ = ["Booster"]

Array = npt.NDArray[Any]
T = TypeVar("T", int, float)

_PARTS = ("split_feature", "decision_type", "left_child", "right_child")
_IS_CODE, _MISSING_LEFT = 1, 2  # bits of a decision type; the next two are the missing type
_NAN_IS_ZERO, _NAN_IS_MISSING = 0, 2  # missing types
_NO_TREES = "these are no boosted trees in LightGBM's text form, or they are damaged"
_BLOCK = 512  # rows that a thread takes at once


class Booster:
    """Trees that were trained elsewhere, from LightGBM's text form. Only parse text whose hash was checked.

    `places` are the matrix columns that the trees' features are in; without it, they are all the matrix has. Scores are raw:
    log-odds for two classes, log-weights for more. Raises ArtifactMismatch if the text is no model, or one of another number
    of features; scoring does, before the first row, if they ask about too many codes. Any number of threads may score at once.
    """

    def __init__(self, text: str, places: Sequence[int] | None = None) -> None:
        try:
            head, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
            told = _lines(head)
            self.classes, self.columns = int(told["num_tree_per_iteration"]), int(told["max_feature_idx"]) + 1
            if places is not None and len(places) != self.columns:
                raise ArtifactMismatch(f"the trees are over {self.columns} features, not {len(places)}")
            self.places = np.arange(self.columns) if places is None else np.array(places, np.int64)
            trees = [_lines(block) for block in blocks] if "average_output" not in head.splitlines() else []
            self.iterations, left = divmod(len(trees), self.classes)
            self.questions = _questions(trees, self.places, self.classes)
        except (ValueError, KeyError, IndexError, OverflowError, ZeroDivisionError):
            raise ArtifactMismatch(_NO_TREES) from None
        if left or not self.iterations:
            raise ArtifactMismatch(_NO_TREES)

    @classmethod
    def joined(cls, boosters: Sequence[Booster]) -> Booster:
        """One whose scores are those of all, side by side, asked together."""
        self = cls.__new__(cls)
        self.places = np.unique(np.concatenate([one.places for one in boosters]))
        self.columns = len(self.places)
        self.classes, self.iterations = sum(one.classes for one in boosters), max(one.iterations for one in boosters)
        self.questions = joined([one.questions for one in boosters])
        return self

    @cached_property
    def in_order(self) -> tuple[Array, ...]:
        """What compiled code takes between the rows and the scores (see `sorted_out`).

        Sorted out when it is first wanted: of heads that are asked together, only that of all is.
        """
        return sorted_out(self.questions)

    def few(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Raw scores of a few rows, shape (n, n_classes): the way of a request. `matrix` is float32, and has the places."""
        scores = np.zeros((len(matrix), self.classes))
        add_scores(matrix, *self.in_order, scores)
        return scores

    def many(self, matrix: npt.NDArray[np.float32], threads: int = 0) -> npt.NDArray[np.float64]:
        """Raw scores, shape (n, n_classes), of as many rows as there are, on `threads` threads (0: as many as cores)."""
        matrix = np.ascontiguousarray(matrix, np.float32)
        if matrix.ndim != 2 or matrix.shape[1] <= self.places.max():
            raise ArtifactMismatch(f"the trees want {self.places.max() + 1} columns, there are {matrix.shape[1:]}")
        scores = np.zeros((len(matrix), self.classes))

        def block(start: int) -> None:
            add_scores(matrix[start : start + _BLOCK], *self.in_order, scores[start : start + _BLOCK])

        with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            for _ in pool.map(block, range(0, len(matrix), _BLOCK)):
                pass
        return scores


def _questions(trees: Sequence[Mapping[str, str]], places: Array, classes: int) -> Questions:
    """What trees ask, from the lines of each. Raises ValueError where they contradict each other."""
    leaves = np.array([int(told["num_leaves"]) for told in trees], np.int64)
    values = np.array(_every(trees, "leaf_value", leaves, float))
    inner = leaves - 1
    column, decision, left, right = (np.array(_every(trees, name, inner, int), np.int64) for name in _PARTS)
    threshold = np.array(_every(trees, "threshold", inner, float), np.float64)
    if any(told.get("is_linear", "0") != "0" for told in trees) or ((column < 0) | (column >= len(places))).any():
        raise ValueError
    _check_children(left, right, inner)
    code, missing = (decision & _IS_CODE).astype(bool), (decision >> 2) & 3
    if not (code | (missing == _NAN_IS_ZERO) | (missing == _NAN_IS_MISSING)).all():
        raise ValueError
    way = np.where(missing == _NAN_IS_ZERO, 2, np.where(decision & _MISSING_LEFT, 0, 1))
    asked, sets, words = _sets(trees, np.flatnonzero(code), np.cumsum(inner), column, threshold)
    return Questions(
        place=places[column],
        way=np.where(code, SETS, way),
        threshold=_no_more_than(threshold),
        asked=asked,
        sets=np.array([(places[c], first, n) for c, first, n in sets], np.int64).reshape(-1, 3),
        words=np.array(words, np.uint32),
        trees=_pieces(inner, left, right, values),
        answers=np.arange(len(trees)) % classes,
    )


def _every(trees: Sequence[Mapping[str, str]], name: str, counts: Array, kind: type[T]) -> list[T]:
    """The values of one name in all trees, of which each has as many as `counts` says."""
    lines = [told[name] for told, count in zip(trees, counts.tolist(), strict=True) if count]
    if counts.min(initial=0) < 0 or [line.count(" ") + 1 for line in lines] != counts[counts > 0].tolist():
        raise ValueError
    text = " ".join(lines)
    try:
        found = msgspec.json.decode(f"[{text.replace(' ', ',')}]", type=list[kind])  # type: ignore[valid-type]
    except msgspec.DecodeError:
        found = [kind(word) for word in text.split()]  # ten times as long; infinity is no JSON
    if len(found) != counts.sum():
        raise ValueError
    return found


def _check_children(left: Array, right: Array, inner: Array) -> None:
    """Raises ValueError unless each node but a tree's first is the child of one before it, and each leaf of one: a tree."""
    first = np.repeat(np.cumsum(inner) - inner, inner)
    node, many = np.arange(len(first)) - first, np.repeat(inner, inner)
    for child in (left, right):
        if not (((node < child) & (child < many)) | ((child < 0) & (~child <= many))).all():
            raise ValueError
    tree = np.repeat(np.arange(len(inner)), inner)
    children = np.concatenate([left, right]) + np.tile(tree, 2) * 2 * (1 + int(inner.max(initial=0)))
    if len(np.unique(children)) < len(children):
        raise ValueError


def _no_more_than(threshold: Array) -> Array:
    """Thresholds for rows that are float32: no more than one is no more than the largest float32 that does not exceed it."""
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)


def _sets(
    trees: Sequence[Mapping[str, str]], codes: Array, ends: Array, column: Array, threshold: Array
) -> tuple[Array, list[tuple[int, int, int]], list[int]]:
    """The set that each node asks about, 0 where it asks about none; each set's column, first word and number of words; words."""
    asked = np.zeros(len(column), np.int64)
    sets: list[tuple[int, int, int]] = []
    words: list[int] = []
    known: dict[tuple[int, ...], int] = {}  # several nodes ask about one set
    of_tree = np.searchsorted(ends, codes, side="right").tolist()
    last = -1
    bounds: list[int] = []
    codes_told: list[int] = []
    for node, tree in zip(codes.tolist(), of_tree, strict=True):
        if tree != last:
            last, lines = tree, trees[tree]
            bounds, codes_told = ([*map(int, lines[name].split())] for name in ("cat_boundaries", "cat_threshold"))
        start, end = bounds[int(threshold[node])], bounds[int(threshold[node]) + 1]
        if not 0 <= start < end <= len(codes_told):
            raise ValueError
        found = (int(column[node]), *codes_told[start:end])
        if found not in known:
            known[found] = len(sets)
            sets.append((found[0], len(words), end - start))
            words += found[1:]
        asked[node] = known[found]
    return asked, sets, words


def _pieces(inner: Array, left: Array, right: Array, leaf_values: Array) -> Tree:
    most = len(inner) + len(left)  # pieces: every inner node begins one, at worst
    piece, mask = np.zeros(len(left), np.int64), np.zeros(len(left), np.int64)
    values, leads = np.zeros(2 * most), np.full(2 * most, -1, np.int64)
    leaves, roots = np.zeros(most, np.int64), np.zeros(len(inner), np.int64)
    pieces, ends = cut(inner, left, right, leaf_values, piece, mask, values, leads, leaves, roots)
    return Tree(piece, mask, values[:ends], leads[:ends], leaves[:pieces], roots)


def _lines(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
