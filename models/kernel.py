"""What is compiled of a model: from features to scores to probabilities, for a request's few rows as for a table's many.

Everything compiled that is called by what is compiled is in this one file, because the compiler's cache watches only the
file that it compiles. What the arrays are is told where they are made: `models.questions`, `models.additive`, `models.heads`.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "add_curves", "add_scores", "classes", "mapped", "outcomes", "passing", "probable", "put_back", "settle", "share_out",
    "still_counting", "straighten",
]  # fmt: skip

U64 = np.uint64

_ROWS = 16  # asked together: four words of four rows
_QUARTER = U64(0xFFFF)
_FOUR_TIMES = U64(0x0001_0001_0001_0001)
_ALL = ~U64(0)
_STAY = np.array([sum(0xFFFF << 16 * r for r in range(4) if not rows >> r & 1) for rows in range(16)], np.uint64)
"""Of a word, the quarters of those of its four rows that are not named by the bits of the place here."""
_TINY = 1e-12
_MONTH, _MONTH_US = 2, 2_592_000_000_000  # the longest half-life: 30 days


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


@intrinsic
def _keep_of_four(_, bits, p, kept, a, b, c, d):  # noqa: ARG001  numba's signature
    """Of four words from place `p` on, leave those bits that are `kept`, and of each word those of a, b, c and d.

    As one vector: the compiler does not see by itself that it may.
    """

    def one_vector(context, builder, signature, arguments):
        of = context.make_array(signature.args[0])(context, builder, arguments[0])
        four = ir.VectorType(ir.IntType(64), 4)
        where = builder.bitcast(builder.gep(of.data, [arguments[1]]), four.as_pointer())
        every = stays = ir.Constant(four, ir.Undefined)
        for i, word in enumerate(arguments[3:]):
            lane = ir.Constant(ir.IntType(32), i)
            every = builder.insert_element(every, arguments[2], lane)
            stays = builder.insert_element(stays, word, lane)
        left = builder.and_(builder.load(where, align=8), builder.or_(every, stays))
        builder.store(left, where, align=8)
        return context.get_dummy_value()

    return types.void(bits, types.uint64, *[types.uint64] * 5), one_vector


@njit(cache=True, nogil=True)
def _leave(bits, p, wide, kept, a, b, c, d):
    """Clear the bits of one word, or of four, from place `p` on, but for those `kept` and for the rows of a, b, c and d."""
    if wide > 1:
        _keep_of_four(bits, p, kept, a, b, c, d)
    else:
        bits[p] &= a | kept


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
                _leave(bits, U64(piece[at]) * wide, wide, U64(mask[at]) * _FOUR_TIMES, a, b, c_, d)
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


@intrinsic
def _first_one(_, number):  # noqa: ARG001  numba's signature
    """The place of the lowest bit that is 1: one instruction, for which Python has no word."""

    def one_instruction(_context, builder, _signature, arguments):
        return builder.cttz(arguments[0], cgutils.true_bit)

    return types.uint64(types.uint64), one_instruction


@njit(cache=True, nogil=True)
def _ask_codes(rows, first, n, coded, starts, others, asking, usual, bits, wide):
    """The same for questions of whether a code is in a set; once for all the rows that have the same code.

    Of each code it is known what all questions of a piece leave of it.
    """
    same, code = np.empty(_ROWS, np.uint64), np.empty(_ROWS, np.int64)
    left = np.empty(len(usual), np.uint16)
    for f in range(len(coded)):
        none = np.int64(coded[f, 1])  # what is no code, or in no set, is outside of all
        kinds = 0
        for r in range(n):
            v = rows[first + r, coded[f, 0]]
            ours = np.int64(v) if v > -1.0 and v < np.float32(none) else none  # NaN is neither
            k = 0
            while k < kinds and code[k] != ours:
                k += 1
            if k == kinds:
                code[k], same[k] = ours, U64(0)
                kinds += 1
            same[k] |= U64(1) << U64(r)
        for k in range(kinds):
            us = same[k]
            a, b = _STAY[us & U64(15)], _STAY[(us >> U64(4)) & U64(15)]
            c, d = _STAY[(us >> U64(8)) & U64(15)], _STAY[us >> U64(12)]
            begin, end, at = coded[f, 2], coded[f, 3], coded[f, 4] + U64(code[k])
            for i in range(begin, end):
                left[i] = usual[i]
            for i in range(starts[at], starts[at + U64(1)]):
                told = U64(others[i])
                left[begin + (told >> U64(16))] = told & _QUARTER
            for i in range(begin, end):
                _leave(bits, U64(asking[i]) * wide, wide, U64(left[i]) * _FOUR_TIMES, a, b, c, d)


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
    rows,
    columns,
    threshold,
    piece,
    mask,
    coded,
    starts,
    others,
    asking,
    usual,
    leaves,
    roots,
    answers,
    values,
    leads,
    scores,
):
    """Add to `scores` (n, classes) each row's leaf of every tree: to each class in the order of its trees."""
    for first in range(0, len(rows), _ROWS):
        n = min(_ROWS, len(rows) - first)
        wide = U64(1) if n <= 4 else U64(4)
        bits = np.full(len(leaves) * np.int64(wide), _ALL)
        _ask_numbers(rows, first, n, columns, threshold, piece, mask, bits, wide)
        _ask_codes(rows, first, n, coded, starts, others, asking, usual, bits, wide)
        if len(leads) == 0:
            _add_leaves(bits, first, n, wide, leaves, roots, answers, values, scores)
        else:
            _add_led(bits, first, n, wide, leaves, roots, answers, values, leads, scores)


@njit(cache=True, nogil=True)
def add_curves(rows, biases, ends, places, starts, counts, coded, missing, knots, values, scores):
    """Add to `scores` (n, sums) each sum of each row: a bias, and the curves from the last sum's end to its own."""
    for i in range(len(rows)):
        f = 0
        for s in range(len(biases)):
            total = biases[s]
            while f < ends[s]:
                value = rows[i, places[f]]
                start, count = starts[f], counts[f]
                if value != value:
                    total += missing[f]
                elif coded[f]:
                    if value >= 0.0 and value < count:
                        total += values[start + np.int64(value)]
                elif value <= knots[start]:
                    total += values[start]
                elif value >= knots[start + count - 1]:
                    total += values[start + count - 1]
                else:
                    k = start + 1
                    while knots[k] < value:
                        k += 1
                    share = (value - knots[k - 1]) / (knots[k] - knots[k - 1])
                    total += values[k - 1] + share * (values[k] - values[k - 1])
                f += 1
            scores[i, s] += total


@njit(cache=True, nogil=True)
def _softplus(x):
    """log(1 + e^x)."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@njit(cache=True, nogil=True)
def _odds_of_passing(scores, i):
    """Log-odds that attempt `i` passes every stage, the last four columns of `scores`."""
    passes = 0.0
    for stage in range(scores.shape[1] - 4, scores.shape[1]):
        passes -= _softplus(scores[i, stage])
    return passes - math.log(max(-math.expm1(passes), _TINY))


@njit(cache=True, nogil=True)
def passing(scores, out):
    """Log-odds of passing every stage, into `out` (n,)."""
    for i in range(len(scores)):
        out[i] = _odds_of_passing(scores, i)


@njit(cache=True, nogil=True)
def probable(scores, bias, direct, out):
    """P(success) by the success head alone, into `out` (n,)."""
    for i in range(len(scores)):
        out[i] = math.exp(-_softplus(-(bias + direct * scores[i])))


@njit(cache=True, nogil=True)
def settle(scores, bias, direct, staged, places, out):
    """Probabilities of the outcomes, into `out` (n, 5): of success by the blend, of the categories as the stages share it.

    `scores` (n, 5): log-odds of the success head, which may be left out, and of falling at each stage; `places` says at
    which stage each category falls.
    """
    first = scores.shape[1] - 4
    shares = np.empty(4)
    for i in range(len(scores)):
        odds = bias + staged * _odds_of_passing(scores, i)
        if first == 1:
            odds += direct * scores[i, 0]
        success = math.exp(-_softplus(-odds))
        # log P(came so far) + log P(falls there)
        came, most = 0.0, -np.inf
        for stage in range(4):
            falls = scores[i, first + stage]
            shares[stage] = came - _softplus(-falls)
            came -= _softplus(falls)
            most = max(most, shares[stage])
        total = 0.0
        for stage in range(4):
            shares[stage] = math.exp(shares[stage] - most)
            total += shares[stage]
        out[i, 0] = success
        for c in range(4):
            out[i, 1 + c] = (1.0 - success) * (shares[places[c]] / total)


@njit(cache=True, nogil=True)
def straighten(scores, weights, biases):
    """Each column times its weight and with its bias, in place."""
    for i in range(len(scores)):
        for k in range(len(weights)):
            scores[i, k] = scores[i, k] * weights[k] + biases[k]


@njit(cache=True, nogil=True)
def outcomes(some, more, asked, weights, biases, curves, blend, places, out):
    """Probabilities of the outcomes of a few rows, which stand in two matrices, into `out` (n, 5).

    All that lies between the features and them, by one call.
    """
    n = len(some) + len(more)
    rows = np.empty((n, some.shape[1]), np.float32)
    for i in range(n):
        for c in range(some.shape[1]):
            rows[i, c] = some[i, c] if i < len(some) else more[i - len(some), c]
    scores = np.zeros((n, len(weights)))
    add_scores(rows, *asked, scores)
    straighten(scores, weights, biases)
    add_curves(rows, *curves, scores)
    settle(scores, *blend, places, out)


@njit(cache=True, nogil=True)
def mapped(scores, weights, bias):
    """Scores (n, k) by a map (k, k) and a bias (k,), in one order of adding, however many rows there are."""
    out = np.empty(scores.shape)
    _map(scores, weights, bias, out)
    return out


@njit(cache=True, nogil=True)
def _map(scores, weights, bias, out):
    n, k = scores.shape
    for i in range(n):
        for j in range(k):
            out[i, j] = 0.0
        for m in range(k):
            for j in range(k):
                out[i, j] += scores[i, m] * weights[m, j]
        for j in range(k):
            out[i, j] += bias[j]


@njit(cache=True, nogil=True)
def share_out(scores):
    """Log-weights (n, k) as shares, in place."""
    for i in range(len(scores)):
        most, total = -np.inf, 0.0
        for j in range(scores.shape[1]):
            most = max(most, scores[i, j])
        for j in range(scores.shape[1]):
            scores[i, j] = math.exp(scores[i, j] - most)
            total += scores[i, j]
        for j in range(scores.shape[1]):
            scores[i, j] /= total


@njit(cache=True, nogil=True)
def classes(rows, more, asked, weights, bias, out):
    """Probabilities of the classes of a few rows, whose columns stand in two matrices, into `out`: as `outcomes`, by one call."""
    n, first = rows.shape
    whole = np.empty((n, first + more.shape[1]), np.float32)
    for i in range(n):
        for c in range(whole.shape[1]):
            whole[i, c] = rows[i, c] if c < first else more[i, c - first]
    scores = np.zeros((n, len(bias)))
    add_scores(whole, *asked, scores)
    _map(scores, weights, bias, out)
    share_out(out)


@njit(cache=True, nogil=True)
def put_back(matrix, place, against, members, kinds, rows):
    """Which kinds have a column in which two rows differ; and the first row, once for each, with these as the second has them.

    `members` (n_kinds, width) says which columns are a kind's. How many differ comes back; `kinds` (n_kinds,) and `rows`
    (n_kinds, width) are filled as far.
    """
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
    return n


@njit(cache=True, nogil=True)
def still_counting(keys, kinds, at, sums, times, out):
    """How many attempts of some kinds of slots still count for each row at that time (microseconds), into `out` (n, kinds).

    They fade by half in 30 days. `keys` (n, 8), `sums`, `times` are of `features.past.Looked`; no slot may be missing.
    """
    for i in range(len(at)):
        for k in range(len(kinds)):
            slot, total = keys[i, kinds[k]], 0.0
            for o in range(sums.shape[2]):
                total += sums[slot, _MONTH, o]
            out[i, k] = total * 2.0 ** (min(times[slot] - at[i], 0) / _MONTH_US)
