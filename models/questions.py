"""Trees asked question by question, not walked: the way of QuickScorer (Lucchese et al., SIGIR 2015), some rows at a time.

The leaves of a tree stand in a row, a bit for each. Every inner node asks a question; a row that it sends to the right cannot
end in the leaves to its left, so that their bits are cleared. Once all is asked, a row ends in the first leaf that is left.
Questions of all trees about one feature come in the order of their thresholds, and those below a row's value are the ones
that send it to the right: they are read one after another, with nothing to guess for the processor and no jumps in memory.
Four rows share a word, so that one question is put to all of them at once (`models.kernel`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from features.errors import ArtifactMismatch

__all__ = ["LEAVES", "SETS", "WAYS", "Questions", "Tree", "cut", "joined", "sorted_out"]

Array = npt.NDArray[Any]
U64 = np.uint64

LEAVES = 16
"""Of a piece: a tree with more is cut into pieces, and some leaves of one lead to another."""

WAYS = 3
"""How a feature's missing value can be seen: 0 as less than anything, 1 as more than anything, 2 as zero."""

_SMALL = 1 << 16
_MOST_CODES = 4_096
_MOST_ASKED = 1 << 24
"""Pairs of a code and a piece, of 4 bytes: enough to ask about some hundred codes of a column in thirty thousand pieces."""

SETS = WAYS
"""In place of a way: the question is whether a code is in a set."""


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
    """What `kernel.add_scores` takes between the rows and the scores: the questions in the order in which they are asked.

    What a code leaves of a piece is one number: the piece, and in its lowest 16 bits the leaves.
    """
    numbers = np.flatnonzero(told.way < SETS)
    numbers = numbers[np.lexsort((told.threshold[numbers], told.way[numbers], told.place[numbers]))]
    of_column = told.place[numbers] * WAYS + told.way[numbers]
    columns, firsts = np.unique(of_column, return_index=True)
    # All of it is read for a request, and what the processor has at hand is small
    small = len(told.trees.values) <= _SMALL
    number, both = (np.uint16, np.uint32) if small else (np.uint32, np.uint64)
    coded, starts, left_of_codes = _outside(told)
    by_class = np.argsort(told.answers, kind="stable")
    return (
        np.column_stack([columns // WAYS, columns % WAYS, firsts, [*firsts[1:], len(numbers)][: len(columns)]]).astype(
            U64
        ),
        told.threshold[numbers],
        told.trees.piece[numbers].astype(number),
        told.trees.mask[numbers].astype(np.uint16),
        coded,
        starts,
        left_of_codes.astype(both),
        told.trees.leaves.astype(number),
        told.trees.roots[by_class].astype(number),
        told.answers[by_class].astype(number),
        told.trees.values,
        told.trees.leads if (told.trees.leads >= 0).any() else told.trees.leads[:0],
    )


def _outside(told: Questions) -> tuple[Array, Array, Array]:
    """What each code leaves of which pieces, of all questions together that find it outside of their sets.

    By column: its place, how many codes are named, and where the starts of its codes' lists are: behind the last of them is
    that of what is in no set. Raises ArtifactMismatch where there are too many.
    """
    codes = np.flatnonzero(told.way == SETS)
    columns, starts, lists, asked = [], [0], [], 0
    for place in np.unique(told.place[codes]).tolist():
        mine = codes[told.place[codes] == place]
        mine = mine[np.argsort(told.trees.piece[mine], kind="stable")]
        pieces, firsts = np.unique(told.trees.piece[mine], return_index=True)
        sets, which = np.unique(told.asked[mine], return_inverse=True)
        of_set, word, at = _words_of(told.sets[sets], told.words)
        named = 1 + int((32 * at + np.frexp(word)[1] - 1)[word > 0].max(initial=-1))  # one more than the highest bit
        asked += (named + 1) * len(pieces)
        if named > _MOST_CODES or asked > _MOST_ASKED:
            raise ArtifactMismatch("the trees ask about too many codes, or too often")
        there = np.zeros((len(sets), 1 + named // 32), "<u4")
        there[of_set[word > 0], at[word > 0]] = word[word > 0]
        within = np.unpackbits(there.view(np.uint8), axis=1, count=named + 1, bitorder="little").astype(np.bool_)
        columns.append((place, named, len(starts) - 1))
        for code in range(named + 1):
            left = np.where(within[which, code], 0xFFFF, told.trees.mask[mine])
            left = np.bitwise_and.reduceat(left, firsts)
            less = left != 0xFFFF
            lists.append(pieces[less].astype(U64) << U64(16) | left[less].astype(U64))
            starts.append(starts[-1] + len(lists[-1]))
    return np.array(columns, U64).reshape(-1, 3), np.array(starts, U64), np.concatenate([*lists, np.zeros(0, U64)])


def _words_of(sets: Array, words: Array) -> tuple[Array, Array, Array]:
    """The words of all sets, one set's after another's: for each, which set it is of, itself, and which of the set's it is."""
    counts = sets[:, 2]
    of_set = np.repeat(np.arange(len(sets)), counts)
    at = np.arange(len(of_set)) - np.repeat(np.cumsum(counts) - counts, counts)
    return of_set, words[sets[of_set, 1] + at], at
