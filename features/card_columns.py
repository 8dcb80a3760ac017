"""Card numbers in whole tables: tells columns that hold them from columns of long identifiers.

A long identifier is a valid card number by chance (see `features.cards`), so a column whose values mostly are
long numbers is judged by its shares: of real card numbers nearly all fit a network and pass Luhn; of
identifiers that fit a network, one in ten passes. Identifiers come in runs (counters, times), so values of
another length or first digit than most are judged apart. Anywhere else, among words or names, one card number
is one too many.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.cards import NETWORKS, card_candidates, contains_card_number, is_card_number, is_secret_name
from features.errors import Fault

__all__ = ["are_card_numbers", "find_card_numbers"]

_Ints = npt.NDArray[np.uint64]
_Flags = npt.NDArray[np.bool_]

_NO_CARDS = "no card numbers: replace them with pseudonyms before they get here"
_NO_SECRETS = "no such column: card numbers and security codes are never kept"

_SAME_KIND = 2 / 3  # share of one length and first digit from which on a column's long numbers are of a kind
_ENOUGH = 50  # network-like numbers of which more than _CHANCE passing Luhn is no accident (p < 1e-4)
_CHANCE = 0.3

_POWERS = 10 ** np.arange(20, dtype=np.uint64)
_LOWS = np.array([network.low for network in NETWORKS])
_HIGHS = np.array([network.high for network in NETWORKS])
_SHORTEST = np.array([network.shortest for network in NETWORKS])
_LONGEST = np.array([network.longest for network in NETWORKS])
_VISA = np.array([network.network == "visa" for network in NETWORKS])
_DOUBLED = np.array([0, 2, 4, 6, 8, 1, 3, 5, 7, 9], dtype=np.uint8)

# What Arrow filters before Python looks: RE2 patterns, each a superset of what `card_candidates` accepts.
_PERHAPS = r"[0-9][0-9\s._/\-]{11,}[0-9]"
_PERHAPS_ANY_SCRIPT = r"(?:\p{Nd}[^\p{Nd}]*){13}"
_NEVER = (
    r"^[-+]?[0-9]{0,12}\.[0-9]+(?:[eE][-+]?[0-9]+)?$"
    r"|^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,12})?)?"
    r"(?:Z|[+-][0-9:]{2,5})?$"
)
_ONE_NUMBER = r"^(?:[A-Za-z][0-9A-Za-z]*[-_:#/ ])?(?P<digits>[0-9]{13,19})$"
_HEXADECIMAL = r"^[0-9A-Fa-f]{13,19}$"


def find_card_numbers(table: pa.Table) -> list[Fault]:
    """A fault for each column of `table` that holds card numbers or is named for them; never with a value."""
    faults = []
    for place, name in enumerate(table.column_names):
        if contains_card_number(name):
            faults.append(Fault(f"(the name of column {place + 1})", _NO_CARDS))
            continue
        column = table.column(place)
        if is_secret_name(name) and (name.lower() != "cid" or _are_security_codes(column)):
            faults.append(Fault(name, _NO_SECRETS))
            continue
        faults += [replace(fault, column=name) for part in _parts(column) if (fault := _find(part))]
    return faults


def _are_security_codes(column: pa.ChunkedArray) -> bool:
    """Whether all values have three or four digits: a column `cid` may also hold ids of customers."""
    texts = {str(value) for value in column.unique().to_pylist() if value is not None}
    return all(text.isdigit() and len(text) in {3, 4} for text in texts)


def _parts(column: pa.ChunkedArray) -> Iterator[pa.ChunkedArray]:
    """`column` itself, or what is inside its lists and structs."""
    if pa.types.is_struct(column.type):
        for inner in column.flatten():
            yield from _parts(inner)
    elif pa.types.is_nested(column.type):
        yield from _parts(pc.list_flatten(column))
    else:
        yield column


def _find(column: pa.ChunkedArray) -> Fault | None:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _find_in_categories(column)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _find_in_numbers(column)
    if pa.types.is_decimal(kind) or pa.types.is_string_view(kind):
        column = column.cast(pa.large_string())
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        texts = [None if value is None else value.decode("utf-8", "replace") for value in column.to_pylist()]
        column = pa.chunked_array([pa.array(texts, pa.large_string())])
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _find_in_texts(column)
    return None


def _find_in_categories(column: pa.ChunkedArray) -> Fault | None:
    """Judges the distinct values, then counts the rows."""
    flat = column.unify_dictionaries().combine_chunks()
    if isinstance(flat, pa.ChunkedArray):
        flat = flat.chunk(0)
    fault = _find(pa.chunked_array([flat.dictionary]))
    if fault is None or fault.row is None:
        return fault
    texts = flat.dictionary.cast(pa.large_string()).to_pylist()
    guilty = [text is not None and contains_card_number(text) for text in texts]
    rows = np.append(guilty, False)[flat.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)]
    if not rows.any():
        return None
    return Fault("", _NO_CARDS, row=int(rows.argmax()) + 1, count=int(rows.sum()))


def _find_in_numbers(column: pa.ChunkedArray) -> Fault | None:
    valid = column.drop_null()
    if pa.types.is_floating(column.type):
        floats = valid.cast(pa.float64()).to_numpy()
        long = (floats >= 1e12) & (floats < 1e16)  # larger ones have no last digit
        long[long] = floats[long] % 1 == 0
        numbers = floats[long].astype(np.uint64)
    else:
        if len(valid) == 0 or pc.max(valid).as_py() < 10**12:
            return None
        whole = valid.to_numpy()
        long = (whole >= 10**12) & (whole < 10**19)
        numbers = whole[long].astype(np.uint64)
    cards = are_card_numbers(numbers)
    if not cards.any():
        return None
    if 2 * len(numbers) >= len(valid):
        distinct, first = np.unique(numbers, return_index=True)
        if not _is_card_column(distinct, cards[first]):
            return None
    places = np.flatnonzero(column.is_valid().to_numpy())[np.flatnonzero(long)[cards]]
    return Fault("", _NO_CARDS, row=int(places[0]) + 1, count=len(places))


def _find_in_texts(column: pa.ChunkedArray) -> Fault | None:
    if (pc.max(pc.binary_length(column)).as_py() or 0) < 13:
        return None
    maybe = pc.match_substring_regex(column, _PERHAPS)
    foreign = pc.invert(pc.string_is_ascii(column))
    if pc.any(foreign).as_py():
        maybe = pc.or_(maybe, pc.and_(foreign, pc.match_substring_regex(column, _PERHAPS_ANY_SCRIPT)))
    if not pc.any(maybe).as_py():
        return None
    perhaps = pc.fill_null(pc.and_not(maybe, pc.match_substring_regex(column, _NEVER)), False)
    if not pc.any(perhaps).as_py():
        return None
    encoded = pa.concat_arrays(column.filter(perhaps).chunks).dictionary_encode()
    numbers, long, cards = _long_numbers(encoded.dictionary)
    if not cards.any():
        return None
    codes = encoded.indices.to_numpy()
    rows = perhaps.to_numpy()
    usual = np.array(pc.fill_null(pc.match_substring_regex(column, _HEXADECIMAL), False).to_numpy())
    usual[rows] |= long[codes]
    if 2 * usual.sum() >= len(column) - column.null_count and not _is_card_column(numbers[long], cards[long]):
        return None
    places = np.flatnonzero(rows)[cards[codes]]
    return Fault("", _NO_CARDS, row=int(places[0]) + 1, count=len(places))


def _long_numbers(texts: pa.Array) -> tuple[_Ints, _Flags, _Flags]:
    """Of each text, its long number (0 if it has none), whether it has one, and whether that is a card
    number.

    Texts that are one number, or a prefix and one, are read all at once; only the others go through Python.
    """
    numbers = np.zeros(len(texts), dtype=np.uint64)
    single = pc.struct_field(pc.extract_regex(texts, _ONE_NUMBER), "digits")
    long = np.array(single.is_valid())
    numbers[long] = single.drop_null().cast(pa.uint64()).to_numpy()
    cards = np.zeros(len(texts), dtype=np.bool_)
    cards[long] = are_card_numbers(numbers[long])
    for place in np.flatnonzero(~long):
        found = list(card_candidates(texts[place].as_py()))
        if found:
            long[place] = True
            real = [digits for digits in found if is_card_number(digits)]
            cards[place] = bool(real)
            numbers[place] = int((real or found)[0])
    return numbers, long, cards


def _is_card_column(numbers: _Ints, cards: _Flags) -> bool:
    """Whether distinct long numbers of a column, of which `cards` pass as card numbers, are card numbers."""
    kind = _digit_counts(numbers) * 10 + numbers // _POWERS[_digit_counts(numbers) - 1].astype(np.uint64)
    _, which, sizes = np.unique(kind, return_inverse=True, return_counts=True)
    usual = which == sizes.argmax() if sizes.max() >= _SAME_KIND * len(numbers) else np.ones(len(numbers), bool)
    return any(_mostly_cards(numbers[some], cards[some]) for some in (usual, ~usual) if some.any())


def _mostly_cards(numbers: _Ints, cards: _Flags) -> bool:
    passed = int(cards.sum())
    issued = int((_networks(numbers) >= 0).sum())
    return 2 * passed > len(numbers) or (issued >= _ENOUGH and passed > _CHANCE * issued)


def are_card_numbers(numbers: _Ints) -> _Flags:
    """Which of the numbers `features.cards.is_card_number` would take for card numbers, shape (n,)."""
    cards = _networks(numbers) >= 0
    left = numbers[cards]
    total = np.zeros(len(left), dtype=np.uint16)
    for place in range(19):
        left, digits = np.divmod(left, np.uint64(10))
        total += _DOUBLED[digits] if place % 2 else digits.astype(np.uint16)
    cards[cards] = total % 10 == 0
    return cards


def _digit_counts(numbers: _Ints) -> npt.NDArray[np.int64]:
    return np.searchsorted(_POWERS[1:], numbers, side="right") + 1


def _networks(numbers: _Ints) -> npt.NDArray[np.int64]:
    """The range in NETWORKS that each number belongs to by its prefix and length; -1 if there is none."""
    digits = _digit_counts(numbers)
    head = (numbers // _POWERS[np.maximum(digits - 6, 0)]).astype(np.int64)
    at = np.searchsorted(_LOWS, head, side="right") - 1
    fits = (at >= 0) & (head <= _HIGHS[at]) & (digits >= _SHORTEST[at]) & (digits <= _LONGEST[at])
    fits &= ~_VISA[at] | np.isin(digits, (13, 16, 19))
    return np.where(fits, at, -1)
