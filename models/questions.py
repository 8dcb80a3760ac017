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
_MOST_WORDS = 1 << 20
"""Of 8 bytes: enough to ask a hundred thousand times about one of the some hundred codes that a column has."""

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
    """What `kernel.add_scores` takes between the rows and the scores: the questions in the order in which they are asked."""
    numbers = np.flatnonzero(told.way < SETS)
    numbers = numbers[np.lexsort((told.threshold[numbers], told.way[numbers], told.place[numbers]))]
    of_column = told.place[numbers] * WAYS + told.way[numbers]
    columns, firsts = np.unique(of_column, return_index=True)
    codes = np.flatnonzero(told.way == SETS)
    codes = codes[np.argsort(told.place[codes], kind="stable")]
    order = np.concatenate([numbers, codes])
    by_class = np.argsort(told.answers, kind="stable")
    coded, outside = _outside(told, codes, len(numbers))
    # All of it is read for a request, and what the processor has at hand is small
    number = np.uint16 if len(told.trees.values) <= _SMALL else np.uint32
    return (
        np.column_stack([columns // WAYS, columns % WAYS, firsts, [*firsts[1:], len(numbers)][: len(columns)]]).astype(
            U64
        ),
        told.threshold[numbers],
        coded,
        outside,
        told.trees.piece[order].astype(number),
        told.trees.mask[order].astype(np.uint16),
        told.trees.leaves.astype(number),
        told.trees.roots[by_class].astype(number),
        told.answers[by_class].astype(number),
        told.trees.values,
        told.trees.leads if (told.trees.leads >= 0).any() else told.trees.leads[:0],
    )


def _outside(told: Questions, codes: Array, first: int) -> tuple[Array, Array]:
    """Of each code, which questions find it outside of their sets: a bit for each question of its column, 64 to a word.

    `codes` are the nodes that ask about codes, by column; the first of them is the question of number `first`. With it come, for
    each column, its place, its first question, how many words a code has, the first word of code 0, and how many codes are
    named: behind the last of them stands what is in no set. Raises ArtifactMismatch where there are too many.
    """
    columns, parts, words = [], [], 0
    for place in np.unique(told.place[codes]).tolist():
        mine = codes[told.place[codes] == place]
        asked, which = np.unique(told.asked[mine], return_inverse=True)
        sets, word, at = _words_of(told.sets[asked], told.words)
        named = 1 + int((32 * at + np.frexp(word)[1] - 1)[word > 0].max(initial=-1))  # one more than the highest bit
        wide = -(-len(mine) // 64)
        words += (named + 1) * wide
        if named > _MOST_CODES or words > _MOST_WORDS:
            raise ArtifactMismatch("the trees ask about too many codes, or too often")
        there = np.zeros((len(asked), 1 + named // 32), "<u4")
        there[sets[word > 0], at[word > 0]] = word[word > 0]
        within = np.unpackbits(there.view(np.uint8), axis=1, count=named + 1, bitorder="little")
        bits = np.zeros((named + 1, wide * 64), np.bool_)
        bits[:, : len(mine)] = 1 - within[which].T
        columns.append((place, first, wide, words - (named + 1) * wide, named))
        parts.append(np.packbits(bits, axis=1, bitorder="little").view("<u8").ravel())
        first += len(mine)
    return np.array(columns, U64).reshape(-1, 5), np.concatenate([*parts, np.zeros(0, U64)]).astype(U64)


def _words_of(sets: Array, words: Array) -> tuple[Array, Array, Array]:
    """The words of all sets, one set's after another's: for each, which set it is of, itself, and which of the set's it is."""
    counts = sets[:, 2]
    of_set = np.repeat(np.arange(len(sets)), counts)
    at = np.arange(len(of_set)) - np.repeat(np.cumsum(counts) - counts, counts)
    return of_set, words[sets[of_set, 1] + at], at
