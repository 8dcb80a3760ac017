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
_MOST_MEMBERS = 1 << 22
"""Of all sets that a column is asked about: a hundred thousand questions about thirty codes each, which LightGBM keeps to."""

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
    # All of it is read for a request, and what the processor has at hand is small
    small = len(told.trees.values) <= _SMALL
    number, both = (np.uint16, np.uint32) if small else (np.uint32, np.uint64)
    coded, starts, others, asking, usual = _of_codes(told)
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
        others.astype(both),
        asking.astype(number),
        usual,
        told.trees.leaves.astype(number),
        told.trees.roots[by_class].astype(number),
        told.answers[by_class].astype(number),
        told.trees.values,
        told.trees.leads if (told.trees.leads >= 0).any() else told.trees.leads[:0],
    )


def _of_codes(told: Questions) -> tuple[Array, Array, Array, Array, Array]:
    """What codes leave of the pieces that ask about them, all questions of a piece about one column together.

    By column: its place, how many codes are named, its first piece and the one after its last, and where the starts of its
    codes are. By such a piece: which it is, and what is left where no set has the code. From its start on, what a code leaves
    otherwise: which of the column's pieces, and in the lowest 16 bits its leaves. Raises ArtifactMismatch for too much of it.
    """
    codes = np.flatnonzero(told.way == SETS)
    columns, starts, first = [], [0], 0
    others: list[Array] = []
    asking: list[Array] = []
    usual: list[Array] = []
    for place in np.unique(told.place[codes]).tolist():
        mine = codes[told.place[codes] == place]
        mine = mine[np.argsort(told.trees.piece[mine], kind="stable")]
        pieces, firsts, counts = np.unique(told.trees.piece[mine], return_index=True, return_counts=True)
        sets, which = np.unique(told.asked[mine], return_inverse=True)
        within = _members(told.sets[sets], told.words)
        named, members = within.shape[1], within.sum(axis=1)
        if named > _MOST_CODES or members[which].sum() > _MOST_MEMBERS:
            raise ArtifactMismatch("the trees ask about too many codes, or too often")
        # Each piece and code of which a question finds the code within its set; and what all of the piece's leave of it
        asked, nth = _every_one(members[which])
        code = np.nonzero(within)[1][(np.cumsum(members) - members)[which][asked] + nth]
        code, piece = np.divmod(
            np.unique(code * len(pieces) + np.repeat(np.arange(len(pieces)), counts)[asked]), len(pieces)
        )
        pair, nth = _every_one(counts[piece])
        question = firsts[piece][pair] + nth
        left = np.where(within[which[question], code[pair]], 0xFFFF, told.trees.mask[mine][question])
        if len(pair):
            left = np.bitwise_and.reduceat(left, np.flatnonzero(nth == 0))
        columns.append((place, named, first, first + len(pieces), len(starts) - 1))
        first += len(pieces)
        starts += (starts[-1] + np.searchsorted(code, np.arange(named + 1), side="right")).tolist()
        others.append(piece.astype(U64) << U64(16) | left.astype(U64))
        asking.append(pieces)
        usual.append(np.bitwise_and.reduceat(told.trees.mask[mine], firsts))
    none = np.zeros(0, np.int64)
    return (
        np.array(columns, U64).reshape(-1, 5),
        np.array(starts, U64),
        np.concatenate([*others, none.astype(U64)]),
        np.concatenate([*asking, none]),
        np.concatenate([*usual, none]).astype(np.uint16),
    )


def _members(sets: Array, words: Array) -> Array:
    """Which codes are in which sets, shape (n, codes), as far as any is named."""
    of_set, word, at = _words_of(sets, words)
    named = int((32 * at + np.frexp(word)[1])[word > 0].max(initial=0))  # one more than the highest bit
    there = np.zeros((len(sets), 1 + named // 32), "<u4")
    there[of_set[word > 0], at[word > 0]] = word[word > 0]
    return np.unpackbits(there.view(np.uint8), axis=1, count=named, bitorder="little").astype(np.bool_)


def _every_one(counts: Array) -> tuple[Array, Array]:
    """Which of some groups each member is of, and the how manyth it is there.

    >>> _every_one(np.array([2, 0, 1]))
    (array([0, 0, 2]), array([0, 1, 0]))
    """
    group = np.repeat(np.arange(len(counts)), counts)
    return group, np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)


def _words_of(sets: Array, words: Array) -> tuple[Array, Array, Array]:
    """The words of all sets, one set's after another's: for each, which set it is of, itself, and which of the set's it is."""
    of_set, at = _every_one(sets[:, 2])
    return of_set, words[sets[of_set, 1] + at], at
