"""The arithmetic of every feature: one compiled function over rows, for ten million of them as for one.

Rows come as arrays (see `features.rows.Rows`). The past comes as decayed sums, one slot per issuer, route, customer and so
on: `sums[slot, half_life, outcome]` was true at `times[slot]` and fades by 2^(−Δt / half-life), so that it takes one number
to keep and O(1) to update. An outcome enters at its `resolved_at`; what is not known yet at a row's `created_at` is never
read. Everything compiled is in this one file, because the compiler's cache watches only the file that it compiles.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = [
    "CODES",
    "ENDED",
    "NUMBERS",
    "N_FEATURES",
    "OUTCOME_SLOTS",
    "PACKED",
    "PENDING",
    "PLANES",
    "ask",
    "gathered",
    "record_all",
    "sweep",
    "unpack",
]

PENDING = np.iinfo(np.int64).max
"""`resolved` of an attempt whose outcome is not known."""

OUTCOME_SLOTS = 6
"""The five outcomes, and one for failures that nobody explained."""

N_FEATURES = 91
PLANES = 4
_N_RAW_NUMBERS = 11
_N_RAW_CODES = 13
ENDED, _DURATION, NUMBERS, _REFERENCE, CODES, PACKED = 1, 4, 5, 16, 19, 26
"""A packed row, in words of 8 bytes: when it began; from ENDED on when its outcome was known, that, its reason, how long it took;
from NUMBERS on these, then the reference; from CODES on these, two in a word; PACKED words in all."""

_LONGEST_CHAIN = 50  # earlier attempts of a payment that are looked at: bounds the cost of a runaway retry loop
_SHRINKAGE = 4.0  # attempts' worth of belief in the parent's rate
_HOUR_US = 3.6e9
_DAY_US = 86_400_000_000
_MISSING = np.nan

# Positions in RAW_NUMBERS and RAW_CODES that the arithmetic names
_PRIOR_PAYMENTS = 3
_MERCHANT_COUNTRY, _METHOD, _ISSUER_COUNTRY, _ROUTE, _FLOW = 2, 5, 9, 10, 11
# Positions in KEYS
_ALL, _ISSUER, _KEY_ROUTE, _KEY_METHOD, _ISSUER_ROUTE, _CUSTOMER, _CUSTOMER_METHOD, _WAY = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
)
_N_KEYS = 8
_SUCCESS, _BANK_DECLINE, _TECHNICAL, _UNCLASSIFIED = 0, 2, 4, 5
# A customer's slot has a fourth plane: how often each category was to be expected of what they did (1 to 4), fading like
# the longest half-life; the largest amount paid (0) and the smallest declined (5), in doublings of the usual amount
_EXPECTED, _PAID, _DECLINED = 3, 0, 5
_NO_AMOUNT = 1e9


@njit(cache=True)
def _fade(hours, half_life):
    """What is left of one after some hours."""
    return math.exp2(-hours / half_life)


@njit(cache=True)
def _half_life(h):
    if h == 0:
        return 1.0
    if h == 1:
        return 24.0
    return 720.0


@njit(cache=True)
def _record(slot, at, outcome, sums, times, streaks):
    """Let one outcome, known since `at` (microseconds), enter a slot. One that comes late enters already faded."""
    hours = (at - times[slot]) / _HOUR_US
    if hours >= 0.0:
        for h in range(3):
            left = _fade(hours, _half_life(h))
            for o in range(OUTCOME_SLOTS):
                sums[slot, h, o] *= left
            sums[slot, h, outcome] += 1.0
        times[slot] = at
        if outcome == _TECHNICAL:
            streaks[slot] += 1
        elif outcome != _UNCLASSIFIED:
            streaks[slot] = 0
    else:
        for h in range(3):
            sums[slot, h, outcome] += _fade(-hours, _half_life(h))


@njit(cache=True)
def _relative_amount(i, numbers, reference):
    """Doublings of the usual amount in the currency."""
    return math.log2(max(numbers[i, 0] / reference[i, 0], 1e-6)) - reference[i, 1]


@njit(cache=True)
def _expect(j, at, outcome, numbers, reference, keys, sums, times):
    """Let into the customer's slot how often each category was to be expected of what they did, and for what amount."""
    slot, way = keys[j, _CUSTOMER], keys[j, _WAY]
    hours = (at - times[slot]) / _HOUR_US
    left, entering = _fade(max(hours, 0.0), 720.0), _fade(max(-hours, 0.0), 720.0)
    if times[slot] == 0:
        sums[slot, _EXPECTED, _PAID] = -_NO_AMOUNT
        sums[slot, _EXPECTED, _DECLINED] = _NO_AMOUNT
    total, everything = 0.0, 0.0
    for o in range(OUTCOME_SLOTS):
        total += sums[way, 2, o]
        everything += sums[keys[j, _ALL], 2, o]
    for o in range(1, 5):
        usual = (sums[keys[j, _ALL], 2, o] + 0.1) / (everything + 1.0)
        share = (sums[way, 2, o] + _SHRINKAGE * usual) / (total + _SHRINKAGE)
        sums[slot, _EXPECTED, o] = sums[slot, _EXPECTED, o] * left + share * entering
    amount = _relative_amount(j, numbers, reference)
    if outcome == _SUCCESS:
        sums[slot, _EXPECTED, _PAID] = max(sums[slot, _EXPECTED, _PAID], amount)
    elif outcome == _BANK_DECLINE:
        sums[slot, _EXPECTED, _DECLINED] = min(sums[slot, _EXPECTED, _DECLINED], amount)


@njit(cache=True)
def _enter(j, resolved, outcome, numbers, reference, keys, sums, times, streaks):
    """Let the outcome of row `j`, if one was told, enter the slots of everything that it went through."""
    if outcome[j] < 0:
        return
    if keys[j, _CUSTOMER] >= 0:
        _expect(j, resolved[j], outcome[j], numbers, reference, keys, sums, times)
    for k in range(_N_KEYS):
        if keys[j, k] >= 0:
            _record(keys[j, k], resolved[j], outcome[j], sums, times, streaks)


@njit(cache=True)
def record_all(updates, resolved, outcome, numbers, reference, keys, sums, times, streaks):
    """Let the outcomes of rows `updates`, in that order, enter the past. Changes sums, times and streaks."""
    for j in updates:
        _enter(j, resolved, outcome, numbers, reference, keys, sums, times, streaks)


@njit(cache=True)
def _look(slot, at, k, sums, times, seen):
    """Fill seen[k, half_life, outcome] with a slot's sums as they stand at `at`; NaN where there is no slot."""
    if slot < 0:
        for h in range(3):
            for o in range(OUTCOME_SLOTS):
                seen[k, h, o] = _MISSING
        return
    hours = max(0.0, (at - times[slot]) / _HOUR_US)
    for h in range(3):
        left = _fade(hours, _half_life(h))
        for o in range(OUTCOME_SLOTS):
            seen[k, h, o] = sums[slot, h, o] * left


@njit(cache=True)
def _count(seen, k, h):
    total = 0.0
    for o in range(OUTCOME_SLOTS):
        total += seen[k, h, o]
    return total


@njit(cache=True)
def _shrunk(seen, k, h, outcome, belief):
    """Share of one outcome, pulled towards `belief` where there is little to go by."""
    return (seen[k, h, outcome] + _SHRINKAGE * belief) / (_count(seen, k, h) + _SHRINKAGE)


@njit(cache=True)
def _success_rates(seen, k, parent, row, at):
    """Three success rates, each pulled towards the next longer one, the longest towards the parent's. Returns the longest."""
    month = _shrunk(seen, k, 2, 0, parent)
    day = _shrunk(seen, k, 1, 0, month)
    row[at + 2] = month
    row[at + 1] = day
    row[at] = _shrunk(seen, k, 0, 0, day)
    return month


@njit(cache=True)
def _day_of_month(day):
    """Day of the month of a day counted from 1970-01-01 (H. Hinnant's civil_from_days)."""
    z = day + 719_468
    era = z // 146_097
    doe = z - era * 146_097
    yoe = (doe - doe // 1460 + doe // 36_524 - doe // 146_096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    return doy - (153 * mp + 2) // 5 + 1


@njit(cache=True)
def _same(a, b):
    if a < 0 or b < 0:
        return _MISSING
    return 1.0 if a == b else 0.0


@njit(cache=True)
def _row(
    i,
    created,
    resolved,
    outcome,
    reason,
    duration,
    numbers,
    codes,
    reference,
    previous,
    keys,
    sums,
    times,
    streaks,
    seen,
    row,
):
    """Fill `row` with the features of row `i`."""
    at = created[i]
    # As they come, but for the amount, which is told in major units
    row[0] = numbers[i, 0] / reference[i, 0]
    for c in range(1, _N_RAW_NUMBERS):
        row[c] = numbers[i, c]
    f = _N_RAW_NUMBERS
    for c in range(_N_RAW_CODES):
        row[f + c] = codes[i, c] if codes[i, c] >= 0 else _MISSING
    f += _N_RAW_CODES

    prior = numbers[i, _PRIOR_PAYMENTS]
    row[f] = prior if math.isnan(prior) else (1.0 if prior == 0.0 else 0.0)
    row[f + 1] = _relative_amount(i, numbers, reference)
    same_country = _same(codes[i, _ISSUER_COUNTRY], codes[i, _MERCHANT_COUNTRY])
    row[f + 2] = 1.0 - same_country
    if math.isnan(reference[i, 2]):
        row[f + 3] = row[f + 4] = row[f + 5] = _MISSING
    else:
        local = at + np.int64(reference[i, 2])
        day = local // _DAY_US
        row[f + 3] = (local - day * _DAY_US) / _HOUR_US
        row[f + 4] = 1.0 if (day + 3) % 7 >= 5 else 0.0
        row[f + 5] = _day_of_month(day)
    f += 6

    # The payment's own earlier attempts; of those with this method, what the last one showed
    for c in range(15):
        row[f + c] = 0.0
    for c in range(15, 19):
        row[f + c] = _MISSING
    method, route, flow = codes[i, _METHOD], codes[i, _ROUTE], codes[i, _FLOW]
    j = previous[i]
    for step in range(_LONGEST_CHAIN):
        if j < 0:
            break
        row[f] += 1.0
        known = resolved[j] <= at
        if known and 1 <= outcome[j] <= 4:
            row[f + outcome[j]] += 1.0
        if method >= 0 and codes[j, _METHOD] == method:
            if row[f + 12] == 0.0:
                row[f + 15] = reason[j] if known and reason[j] >= 0 else _MISSING
                row[f + 16] = (at - created[j]) / 1e6
                row[f + 17] = _same(codes[j, _ROUTE], route)
                row[f + 18] = _same(codes[j, _FLOW], flow)
            row[f + 12] += 1.0
            # A route is tried only by a method that is the same: each method has its own road
            if route >= 0 and codes[j, _ROUTE] == route:
                row[f + 13] += 1.0
                if flow >= 0 and codes[j, _FLOW] == flow:
                    row[f + 14] += 1.0
        if step == 0:
            row[f + 5] = outcome[j] if known and outcome[j] >= 0 else _MISSING
            row[f + 6] = reason[j] if known and reason[j] >= 0 else _MISSING
            row[f + 7] = (at - created[j]) / 1e6
            row[f + 8] = duration[j] if known else _MISSING
            row[f + 9] = _same(codes[j, _METHOD], method)
            row[f + 10] = _same(codes[j, _ROUTE], route)
            row[f + 11] = _same(codes[j, _FLOW], flow)
        j = previous[j]
    if previous[i] < 0:
        for c in range(5, 12):
            row[f + c] = _MISSING
    f += 19

    # The past of everything that this attempt goes through
    for k in range(_N_KEYS):
        _look(keys[i, k], at, k, sums, times, seen)
    everything = _success_rates(seen, _ALL, 0.5, row, f)
    issuer = _success_rates(seen, _ISSUER, everything, row, f + 3)
    by_route = _success_rates(seen, _KEY_ROUTE, everything, row, f + 6)
    by_method = _success_rates(seen, _KEY_METHOD, everything, row, f + 9)
    _success_rates(seen, _ISSUER_ROUTE, issuer, row, f + 12)
    _success_rates(seen, _CUSTOMER, everything, row, f + 15)
    _success_rates(seen, _CUSTOMER_METHOD, by_method, row, f + 18)
    _success_rates(seen, _WAY, everything if math.isnan(by_route) else by_route, row, f + 21)
    f += 24
    technical = _shrunk(seen, _ALL, 2, _TECHNICAL, 0.0)
    for k in (_ISSUER, _KEY_ROUTE):
        row[f] = _shrunk(seen, k, 0, _TECHNICAL, _shrunk(seen, k, 2, _TECHNICAL, technical))
        row[f + 1] = streaks[keys[i, k]] if keys[i, k] >= 0 else _MISSING
        f += 2
    declines = _shrunk(seen, _ISSUER, 2, _BANK_DECLINE, _shrunk(seen, _ALL, 2, _BANK_DECLINE, 0.0))
    row[f] = _shrunk(seen, _ISSUER, 1, _BANK_DECLINE, declines)
    f += 1
    for o in range(1, 5):
        row[f] = _shrunk(seen, _CUSTOMER, 2, o, _shrunk(seen, _ALL, 2, o, 0.0))
        f += 1
    row[f] = _count(seen, _CUSTOMER, 0)
    row[f + 1] = _count(seen, _CUSTOMER, 2)
    row[f + 2] = _count(seen, _CUSTOMER_METHOD, 2)
    f += 3
    slot = keys[i, _CUSTOMER]
    if slot < 0:
        for c in range(6):
            row[f + c] = _MISSING
        return
    left = _fade(max(0.0, (at - times[slot]) / _HOUR_US), 720.0)
    for o in range(1, 5):
        row[f + o - 1] = (seen[_CUSTOMER, 2, o] + 0.5) / (sums[slot, _EXPECTED, o] * left + 0.5)
    paid, declined = sums[slot, _EXPECTED, _PAID], sums[slot, _EXPECTED, _DECLINED]
    amount = _relative_amount(i, numbers, reference)
    row[f + 4] = _MISSING if times[slot] == 0 or paid == -_NO_AMOUNT else amount - paid
    row[f + 5] = _MISSING if times[slot] == 0 or declined == _NO_AMOUNT else amount - declined


@njit(cache=True)
def _not_known_yet(j, i, created, resolved, position):
    """Whether the outcome of row `j` is out of row `i`'s sight: later, or at its very moment and not of an earlier row."""
    if resolved[j] != created[i]:
        return resolved[j] > created[i]
    if created[j] != created[i]:
        return created[j] > created[i]
    return position[j] >= position[i]


@njit(cache=True, nogil=True)  # other threads, which take up a model say, get a turn
def gathered(places, sums, times, streaks, some, at, in_a_row):
    """Copy the slots at these places; an empty one for a place that is none, −1."""
    for n in range(len(places)):
        place = places[n]
        there = 0 <= place < len(times)
        at[n] = times[place] if there else 0
        in_a_row[n] = streaks[place] if there else 0
        # One by one: compiling a copy of a slice takes seconds, for its error's text
        for plane in range(sums.shape[1]):
            for o in range(sums.shape[2]):
                some[n, plane, o] = sums[place, plane, o] if there else 0.0


@njit(cache=True)
def sweep(
    wanted,
    places,
    updates,
    position,
    created,
    resolved,
    outcome,
    reason,
    duration,
    numbers,
    codes,
    reference,
    previous,
    keys,
    sums,
    times,
    streaks,
    out,
):
    """Fill out[places[q]] with the features of row wanted[q], letting the outcomes of rows `updates` enter as they become known.

    `wanted` is in order of (created, position), `updates` in order of (resolved, created, position). At equal times an
    outcome is known to a row only if its own row comes earlier, by (created, position), so that no row ever sees itself and
    the order of the table matters only between attempts of one moment. Changes sums, times and streaks; returns how many
    updates entered, the rest being later than every wanted row.
    """
    seen = np.empty((_N_KEYS, 3, OUTCOME_SLOTS))
    u = 0
    for q in range(len(wanted)):
        i = wanted[q]
        while u < len(updates):
            j = updates[u]
            if _not_known_yet(j, i, created, resolved, position):
                break
            _enter(j, resolved, outcome, numbers, reference, keys, sums, times, streaks)
            u += 1
        _row(
            i,
            created,
            resolved,
            outcome,
            reason,
            duration,
            numbers,
            codes,
            reference,
            previous,
            keys,
            sums,
            times,
            streaks,
            seen,
            out[places[q]],
        )
    return u


@njit(cache=True, nogil=True)
def unpack(packed):
    """The arrays of packed rows: created, resolved, outcome, reason, duration, numbers, codes, reference."""
    n = len(packed) // PACKED
    reals, halves = packed.view(np.float64), packed.view(np.int32)
    created, resolved, outcome, reason = (
        np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    )  # fmt: skip
    duration, numbers = np.empty(n), np.empty((n, _N_RAW_NUMBERS))
    codes, reference = np.empty((n, _N_RAW_CODES), np.int32), np.empty((n, 3))
    for i in range(n):
        at = i * PACKED
        created[i], resolved[i], outcome[i], reason[i] = packed[at], packed[at + 1], packed[at + 2], packed[at + 3]
        duration[i] = reals[at + _DURATION]
        for c in range(_N_RAW_NUMBERS):
            numbers[i, c] = reals[at + NUMBERS + c]
        for c in range(3):
            reference[i, c] = reals[at + _REFERENCE + c]
        for c in range(_N_RAW_CODES):
            codes[i, c] = halves[2 * (at + CODES) + c]
    return created, resolved, outcome, reason, duration, numbers, codes, reference


@njit(cache=True, nogil=True)  # other threads, which take up a model say, get a turn
def ask(first, entered, out, packed, keys, sums, times, streaks):
    """Features of the packed rows of one request from `first` on, into `out` (n - first, at least N_FEATURES).

    The rows before it, oldest first, enter copies of the slots, unless `entered` (first,) says that they have already.
    """
    created, resolved, outcome, reason, duration, numbers, codes, reference = unpack(packed)
    n = len(created)
    asked = n - first
    position, previous = np.arange(n), np.empty(n, np.int64)
    for i in range(n):  # each that is asked about comes next after the last of the others
        previous[i] = min(i, first) - 1
    wanted, updates = np.empty(asked, np.int64), np.empty(first, np.int64)
    for q in range(asked):  # in their order of time: a few, and mostly so already
        k = q
        while k > 0 and created[wanted[k - 1]] > created[first + q]:
            wanted[k] = wanted[k - 1]
            k -= 1
        wanted[k] = first + q
    u = 0
    for j in range(first):  # in the order in which they became known; pending ones come last, and are never met
        if entered[j]:
            continue
        k = u
        while k > 0 and resolved[updates[k - 1]] > resolved[j]:
            updates[k] = updates[k - 1]
            k -= 1
        updates[k] = j
        u += 1
    if u > 0:
        sums, times, streaks = sums.copy(), times.copy(), streaks.copy()
    sweep(
        wanted,
        wanted - first,
        updates[:u],
        position,
        created,
        resolved,
        outcome,
        reason,
        duration,
        numbers,
        codes,
        reference,
        previous,
        keys,
        sums,
        times,
        streaks,
        out,
    )
