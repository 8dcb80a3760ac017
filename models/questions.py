"""Trees asked question by question, not walked: the way of QuickScorer (Lucchese et al., SIGIR 2015), some rows at a time.

The leaves of a tree stand in a row, a bit for each. Every inner node asks a question; a row that it sends to the right cannot
end in the leaves to its left, so that their bits are cleared. Once all is asked, a row ends in the first leaf that is left.
Questions of all trees about one feature come in the order of their thresholds, and those below a row's value are the ones
that send it to the right: they are read one after another, with nothing to guess for the processor and no jumps in memory.
Four rows share a word, so that one question is put to all of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LEAVES", "SETS", "WAYS", "Questions", "Tree", "add_scores", "cut", "joined", "sorted_out"]

Array = npt.NDArray[Any]
U64 = np.uint64

LEAVES = 16
"""Of a piece: a tree with more is cut into pieces, and some leaves of one lead to another."""

WAYS = 3
"""How a feature's missing value can be seen: 0 as less than anything, 1 as more than anything, 2 as zero."""

SETS = WAYS
"""In place of a way: the question is whether a code is in a set."""

_ROWS = 16  # asked together: four words of four rows
_QUARTER = U64(0xFFFF)
_FOUR_TIMES = U64(0x0001_0001_0001_0001)
_ALL = ~U64(0)
_STAY = np.array([sum(0xFFFF << 16 * r for r in range(4) if not rows >> r & 1) for rows in range(16)], np.uint64)
"""Of a word, the quarters of those of its four rows that are not named by the bits of the place here."""


class Tree(NamedTuple):
    """Trees cut into pieces. By inner node: the piece that it is in, and what it leaves of its leaves' bits.

    By leaf: its value, and the piece that it leads to, −1 for none. By piece: its first leaf. By tree: its first piece.
    """

    piece: Array
    mask: Array
    values: Array
    leads: Array
    leaves: Array
    roots: Array


class Questions(NamedTuple):
    """What trees ask. `place` is a column of the matrix, `way` one of WAYS, or SETS, `threshold` in float32, as rows are.

    `asked` is the set that is asked about, with its place, its first word and how many words it has in `sets` (n, 3); bit b of
    the words stands for code b. `answers`: the class that each tree adds to.
    """

    place: Array
    way: Array
    threshold: Array
    asked: Array
    sets: Array
    words: Array
    trees: Tree
    answers: Array


def joined(every: Sequence[Questions]) -> Questions:
    """The questions of all; each one's classes follow those of the ones before."""
    pieces, leaves = (
        np.cumsum([0, *(len(getattr(one.trees, name)) for one in every)]) for name in ("leaves", "values")
    )
    words, sets = np.cumsum([0, *(len(one.words) for one in every)]), np.cumsum([0, *(len(one.sets) for one in every)])
    classes = np.cumsum([0, *(int(one.answers.max()) + 1 for one in every)])
    moved = [
        one._replace(
            asked=one.asked + sets[i],
            sets=one.sets + np.array([0, words[i], 0]),
            answers=one.answers + classes[i],
            trees=one.trees._replace(
                piece=one.trees.piece + pieces[i],
                roots=one.trees.roots + pieces[i],
                leaves=one.trees.leaves + leaves[i],
                leads=np.where(one.trees.leads >= 0, one.trees.leads + pieces[i], -1),
            ),
        )
        for i, one in enumerate(every)
    ]
    parts = {
        name: np.concatenate([getattr(one, name) for one in moved]) for name in Questions._fields if name != "trees"
    }
    return Questions(**parts, trees=Tree(*map(np.concatenate, zip(*(one.trees for one in moved), strict=True))))


@njit(cache=True)
def cut(inner, left, right, leaf_values, piece, mask, values, leads, leaves, roots):
    """Cut trees into pieces of up to LEAVES leaves, and say what each node leaves.

    `inner` has each tree's number of inner nodes, whose children, all trees' one after another, are `left` and `right`: a later
    node of the same tree, or ~l for its leaf l. The others are filled: see `Tree`. Returns how many pieces and leaves there are,
    those that lead to another piece among them.
    """
    pieces, ends, node, leaf = 0, 0, 0, 0
    for t in range(len(inner)):
        n, first = inner[t], pieces
        roots[t] = pieces
        pieces += 1
        if n == 0:
            leaves[first], values[ends] = ends, leaf_values[leaf]
            ends, leaf = ends + 1, leaf + 1
            continue
        held = np.zeros(n + 1, np.int64)  # inner nodes by piece of this tree
        width, start = np.ones(n, np.int64), np.zeros(n, np.int64)
        piece[node], held[0] = first, 1
        for i in range(n):  # parents come before their children
            ours = piece[node + i]
            for child in (left[node + i], right[node + i]):
                if child < 0:
                    continue
                if held[ours - first] < LEAVES - 1:
                    piece[node + child] = ours
                else:
                    piece[node + child] = pieces
                    pieces += 1
                held[piece[node + child] - first] += 1
        for p in range(first, pieces):
            leaves[p] = ends
            ends += held[p - first] + 1
        for i in range(n - 1, -1, -1):
            width[i] = 0
            for child in (left[node + i], right[node + i]):
                within = child >= 0 and piece[node + child] == piece[node + i]
                width[i] += width[child] if within else 1
        for i in range(n):
            ours, at = piece[node + i], start[i]
            for child in (left[node + i], right[node + i]):
                wide = 1
                if child >= 0 and piece[node + child] == ours:
                    start[child], wide = at, width[child]
                elif child >= 0:
                    leads[leaves[ours] + at] = piece[node + child]
                else:
                    values[leaves[ours] + at] = leaf_values[leaf + ~child]
                if child == left[node + i]:
                    mask[node + i] = 0xFFFF & ~(((1 << wide) - 1) << at)
                at += wide
        node += n
        leaf += n + 1
    return pieces, ends


def sorted_out(told: Questions) -> tuple[Array, ...]:
    """What `add_scores` takes between the rows and the scores: the questions in the order in which they are asked."""
    numbers = np.flatnonzero(told.way < SETS)
    numbers = numbers[np.lexsort((told.threshold[numbers], told.way[numbers], told.place[numbers]))]
    of_column = told.place[numbers] * WAYS + told.way[numbers]
    columns, firsts = np.unique(of_column, return_index=True)
    by_place = np.argsort(told.sets[:, 0], kind="stable")
    rank = np.argsort(by_place)
    codes = np.flatnonzero(told.way == SETS)
    codes = codes[np.argsort(rank[told.asked[codes]], kind="stable")]
    sets = told.sets[by_place]
    coded, first_sets = np.unique(sets[:, 0], return_index=True)
    ends = np.searchsorted(rank[told.asked[codes]], np.arange(len(sets) + 1)) + len(numbers)
    order = np.concatenate([numbers, codes])
    by_class = np.argsort(told.answers, kind="stable")
    return (
        np.column_stack([columns // WAYS, columns % WAYS, firsts, [*firsts[1:], len(numbers)][: len(columns)]]).astype(
            U64
        ),
        told.threshold[numbers],
        np.column_stack([coded, first_sets, [*first_sets[1:], len(sets)][: len(coded)]]).astype(U64),
        np.column_stack([sets[:, 1], sets[:, 2], ends[:-1], ends[1:]]).astype(U64),
        told.words,
        told.trees.piece[order].astype(np.uint32),
        told.trees.mask[order].astype(np.uint16),
        told.trees.leaves.astype(np.uint32),
        told.trees.roots[by_class].astype(np.uint32),
        told.answers[by_class].astype(np.uint32),
        told.trees.values,
        told.trees.leads if (told.trees.leads >= 0).any() else told.trees.leads[:0],
    )


@njit(cache=True, nogil=True)
def _in_order(rows, first, n, place, way, value, lane):
    """Some rows' values of a feature in their order, NaN last, into `value`, and which row has each, into `lane`."""
    for r in range(n):
        v = rows[first + r, place]
        if v != v and way != 1:
            v = np.float32(-np.inf) if way == 0 else np.float32(0.0)
        k = r
        if v == v:
            while k > 0 and not (value[k - 1] <= v):
                value[k], lane[k] = value[k - 1], lane[k - 1]
                k -= 1
        value[k], lane[k] = v, r


@njit(cache=True, nogil=True)
def _ask_numbers(rows, first, n, columns, threshold, piece, mask, bits, wide):
    """Clear, of the first n rows from `first` on, the bits of the leaves that questions about numbers leave behind."""
    value, lane = np.empty(_ROWS, np.float32), np.empty(_ROWS, np.int64)
    none = U64(0)
    for c in range(len(columns)):
        _in_order(rows, first, n, columns[c, 0], columns[c, 1], value, lane)
        at, end = columns[c, 2], columns[c, 3]
        a, b, c_, d = none, none, none, none  # all ones for the rows that stay to the left from here on
        for r in range(n):
            v = value[r]
            while at < end and not (v <= threshold[at]):
                p, m = U64(piece[at]) * wide, U64(mask[at]) * _FOUR_TIMES
                if wide == 1:
                    bits[p] &= a | m
                else:
                    bits[p] &= a | m
                    bits[p + U64(1)] &= b | m
                    bits[p + U64(2)] &= c_ | m
                    bits[p + U64(3)] &= d | m
                at += U64(1)
            if at == end:
                break
            row = lane[r]
            stays = _QUARTER << U64(16 * (row & 3))
            if row < 4:
                a |= stays
            elif row < 8:
                b |= stays
            elif row < 12:
                c_ |= stays
            else:
                d |= stays


@njit(cache=True, nogil=True)
def _ask_codes(rows, first, n, coded, sets, words, piece, mask, bits, wide):
    """The same for questions of whether a code is in a set; once for all the rows that have the same code."""
    word, bit, same = np.empty(_ROWS, np.uint64), np.empty(_ROWS, np.uint32), np.empty(_ROWS, np.uint64)
    code = np.empty(_ROWS, np.int64)
    for f in range(len(coded)):
        kinds = 0
        for r in range(n):
            v = rows[first + r, coded[f, 0]]
            ours = np.int64(v) if v > -1.0 and v < 2147483648.0 else -1  # NaN is neither
            k = 0
            while k < kinds and code[k] != ours:
                k += 1
            if k == kinds:
                # No set has so many words: what is no code is in none
                code[k], word[k], bit[k], same[k] = ours, U64(ours >> 5), np.uint32(ours & 31), U64(0)
                kinds += 1
            same[k] |= U64(1) << U64(r)
        for s in range(coded[f, 1], coded[f, 2]):
            outside = U64(0)
            for k in range(kinds):
                if word[k] < sets[s, 1]:
                    within = U64((words[sets[s, 0] + word[k]] >> bit[k]) & np.uint32(1))
                    outside |= same[k] & (within - U64(1))
                else:
                    outside |= same[k]
            if outside == U64(0):
                continue
            a, b = _STAY[outside & U64(15)], _STAY[(outside >> U64(4)) & U64(15)]
            c, d = _STAY[(outside >> U64(8)) & U64(15)], _STAY[outside >> U64(12)]
            for at in range(sets[s, 2], sets[s, 3]):
                p, m = U64(piece[at]) * wide, U64(mask[at]) * _FOUR_TIMES
                if wide == 1:
                    bits[p] &= a | m
                else:
                    bits[p] &= a | m
                    bits[p + U64(1)] &= b | m
                    bits[p + U64(2)] &= c | m
                    bits[p + U64(3)] &= d | m


@intrinsic
def _first_one(_, number):  # noqa: ARG001  numba's signature
    """The place of the lowest bit that is 1: one instruction, for which Python has no word."""

    def one_instruction(_context, builder, _signature, arguments):
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.uint64(types.uint64), one_instruction


@njit(cache=True, nogil=True)
def _add_leaves(bits, first, n, wide, leaves, roots, answers, values, scores):
    """Add the leaf in which each row ends, of trees of one piece: those of one class follow one another."""
    t = 0
    while t < len(roots):
        answer, end = U64(answers[t]), t
        while end < len(roots) and answers[end] == answer:
            end += 1
        for w in range((n + 3) // 4):
            k, many = first + 4 * w, min(4, n - 4 * w)
            if many == 4:
                a, b, c, d = scores[k, answer], scores[k + 1, answer], scores[k + 2, answer], scores[k + 3, answer]
                for i in range(t, end):
                    p = U64(roots[i])
                    leaf, left = U64(leaves[p]), bits[p * wide + U64(w)]
                    a += values[leaf + _first_one(left)]
                    b += values[leaf + _first_one(left >> U64(16))]
                    c += values[leaf + _first_one(left >> U64(32))]
                    d += values[leaf + _first_one(left >> U64(48))]
                scores[k, answer], scores[k + 1, answer], scores[k + 2, answer], scores[k + 3, answer] = a, b, c, d
            else:
                for r in range(many):
                    a = scores[k + r, answer]
                    for i in range(t, end):
                        p = U64(roots[i])
                        a += values[U64(leaves[p]) + _first_one(bits[p * wide + U64(w)] >> U64(16 * r))]
                    scores[k + r, answer] = a
        t = end


@njit(cache=True, nogil=True)
def _add_led(bits, first, n, wide, leaves, roots, answers, values, leads, scores):
    """The same, of trees in pieces, some leaves of which lead to another."""
    for t in range(len(roots)):
        p = U64(roots[t])
        leaf, answer = U64(leaves[p]), U64(answers[t])
        for w in range(U64((n + 3) // 4)):
            left, r = bits[p * wide + w], U64(first) + U64(4) * w
            for k in range(r, min(r + U64(4), U64(first + n))):
                at = leaf + _first_one(left)
                while leads[at] >= 0:
                    q = U64(leads[at])
                    at = U64(leaves[q]) + _first_one(bits[q * wide + w] >> (U64(16) * (k - r)))
                scores[k, answer] += values[at]
                left >>= U64(16)


@njit(cache=True, nogil=True)
def add_scores(
    rows, columns, threshold, coded, sets, words, piece, mask, leaves, roots, answers, values, leads, scores
):
    """Add to `scores` (n, classes) each row's leaf of every tree: to each class in the order of its trees."""
    for first in range(0, len(rows), _ROWS):
        n = min(_ROWS, len(rows) - first)
        wide = U64(1) if n <= 4 else U64(4)
        bits = np.full(len(leaves) * np.int64(wide), _ALL)
        _ask_numbers(rows, first, n, columns, threshold, piece, mask, bits, wide)
        _ask_codes(rows, first, n, coded, sets, words, piece, mask, bits, wide)
        if len(leads) == 0:
            _add_leaves(bits, first, n, wide, leaves, roots, answers, values, scores)
        else:
            _add_led(bits, first, n, wide, leaves, roots, answers, values, leads, scores)
