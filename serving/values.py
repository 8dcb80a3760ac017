"""One reader per column: from a JSON value to the value that features and models work on, or what is wanted.

A reader returns the value or raises `Unwanted`, whose text says what is allowed, and never what was seen: it
may be a card number.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from features.allowed import COUNTRY_COLUMNS, EARLIEST, LENGTHS, RANGES, TOLERANCE_AHEAD, VOCABULARIES, Range
from features.cards import contains_card_number, is_secret_name
from features.columns import Column
from features.places import is_country, is_currency

__all__ = [
    "AHEAD",
    "CARD_NUMBER",
    "LEAST_CARD_NUMBER",
    "LONGEST_ISSUER_DIGITS",
    "LONGEST_WAIT_S",
    "MOST_NUMBER",
    "MOST_TAKEN",
    "REFUSED_CATEGORIES",
    "REQUIRED",
    "SECURITY_CODE",
    "TOO_FAR_AHEAD",
    "UNKNOWN",
    "Field",
    "Reader",
    "Unwanted",
    "field_of",
    "hides_card_number",
    "names_security_code",
    "plain_bounds",
    "range_of",
    "reader_of",
    "text_reader",
]

CARD_NUMBER = "no card number, here or anywhere"
SECURITY_CODE = "no security code, nor what else a card holds, here or anywhere"
REQUIRED = "a value: this field is required"
UNKNOWN = "no field of this name"

Reader = Callable[[Any], Any]
"""From a JSON value to a value. Raises Unwanted."""


class Field(NamedTuple):
    """A reader, and texts that it took before as they are, None among them: reading one again would change nothing.

    Of a column whose every text is another, or that holds none, none are kept.
    """

    read: Reader
    taken: set[str | None] | None


MOST_TAKEN = 4_096  # texts of a column; beyond, they are forgotten, and read again
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST = (EARLIEST - _EPOCH) // _MICROSECOND

AHEAD = TOLERANCE_AHEAD // _MICROSECOND
"""How far ahead of now a time may lie, in microseconds."""

TOO_FAR_AHEAD = f"a time at most {TOLERANCE_AHEAD.days} day ahead of now"

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
REFUSED_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode's control, format, surrogate and line-break characters
MOST_NUMBER = 2.0**53  # beyond it, JSON's numbers are not exact; no column has a use for more
_ANY = Range(-MOST_NUMBER, MOST_NUMBER)
LEAST_CARD_NUMBER = 1e12
"""Of 13 digits."""

LONGEST_WAIT_S = 90 * 86_400
_RANGES = {**RANGES, "wait_s": Range(0, LONGEST_WAIT_S)}
LONGEST_ISSUER_DIGITS = 8


class Unwanted(Exception):
    """A value that cannot be used; its text is what is allowed."""


def text_reader(longest: int) -> Reader:
    """Reads text of 1 to `longest` printable characters."""
    allowed = f"text of 1 to {longest} printable characters"

    def read(value: Any) -> str:
        if type(value) is not str:
            _no_card_number(value)
            raise Unwanted(allowed)
        if len(value) >= 13 and contains_card_number(value):
            raise Unwanted(CARD_NUMBER)
        if not 0 < len(value) <= longest or not (value.isprintable() or _harmless(value)):
            raise Unwanted(allowed)
        return value

    return read


_read_category, _read_string = text_reader(LENGTHS["category"]), text_reader(LENGTHS["string"])


def _harmless(text: str) -> bool:
    """Whether text that Python would not print holds nothing worse than spaces of another width."""
    return all(unicodedata.category(character) not in REFUSED_CATEGORIES for character in text)


def hides_card_number(value: Any) -> bool:
    """Whether a JSON value of any type is a card number, or holds one, as text or as a name."""
    if type(value) is str:
        return contains_card_number(value)
    if type(value) is list:
        return any(map(hides_card_number, value))
    if type(value) is dict:
        return any(contains_card_number(name) or hides_card_number(inner) for name, inner in value.items())
    return (
        isinstance(value, int | float)
        and LEAST_CARD_NUMBER <= abs(value) < 1e19
        and contains_card_number(str(int(value)))
    )


def names_security_code(name: str, value: Any) -> bool:
    """Whether a field is named as security codes and their like are, or holds one that is."""
    if is_secret_name(name):
        return True
    if type(value) is list:
        return any(names_security_code("", item) for item in value)
    return type(value) is dict and any(names_security_code(key, item) for key, item in value.items())


def _no_card_number(value: Any) -> None:
    """Raises if a value of the wrong type is a card number or holds card data, so that the error says so."""
    if hides_card_number(value):
        raise Unwanted(CARD_NUMBER)
    if names_security_code("", value):
        raise Unwanted(SECURITY_CODE)


def _one_of(allowed: tuple[str, ...]) -> Reader:
    wanted, spoken = frozenset(allowed), "one of " + ", ".join(allowed)

    def read(value: Any) -> Any:
        if type(value) is not str or value not in wanted:
            _no_card_number(value)
            raise Unwanted(spoken)
        return value

    return read


def _code(known: Callable[[str], bool], spoken: str) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is not str or not known(value):
            _no_card_number(value)
            raise Unwanted(spoken)
        return value

    return read


def range_of(column: Column) -> Range:
    """Where a column's numbers lie, a candidate's wait among them."""
    return _RANGES.get(column.name, _ANY)


def plain_bounds(within: Range) -> tuple[float, float]:
    """The lowest and the highest number of a range that cannot be a card's."""
    high = within.high if within.high is not None else MOST_NUMBER
    return max(within.low, 1 - LEAST_CARD_NUMBER), min(high, LEAST_CARD_NUMBER - 1)


def _number(within: Range, *, whole: bool) -> Reader:
    spoken = f"{'a whole number' if whole else 'a finite number'}{'' if within == _ANY else f', {within}'}"
    low, high, above_low = within.low, within.high if within.high is not None else MOST_NUMBER, within.above_low
    convert: Callable[[Any], int | float] = int if whole else float
    usual = int if whole else float
    least, most = plain_bounds(within)

    def read(value: Any) -> int | float:
        kind = type(value)
        if kind is usual and least < value <= most:
            number: int | float = value
            return number
        fits = kind is int or (kind is float and (not whole or value.is_integer()))
        if not fits or not low <= value <= high or (above_low and value == low):
            _no_card_number(value)
            raise Unwanted(spoken)
        if abs(value) >= LEAST_CARD_NUMBER:
            _no_card_number(value)
        return convert(value)

    return read


def _truth(value: Any) -> Any:
    if type(value) is not bool:
        _no_card_number(value)
        raise Unwanted("true or false")
    return value


def _time(value: Any) -> int:
    if type(value) is str and _RFC_3339.fullmatch(value):
        try:
            moment = datetime.fromisoformat(value.upper())
        except ValueError:
            pass  # a month 13, say
        else:
            since = moment - _EPOCH
            microseconds = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
            if microseconds >= _EARLIEST:
                return microseconds
            raise Unwanted(f"a time from {EARLIEST:%Y-%m-%d} on")
    _no_card_number(value)
    raise Unwanted("a time with its zone as RFC 3339 has it, such as 2026-01-05T09:30:00Z")


def _issuer(value: Any) -> Any:
    text: str = _read_category(value)
    if text.isdigit() and len(text) > LONGEST_ISSUER_DIGITS:
        raise Unwanted("a pseudonym, or the first 6 to 8 digits of the card number, never more")
    return text


def _pseudonym(value: Any) -> Any:
    text: str = _read_string(value)
    if "@" in text:
        raise Unwanted("a pseudonym, not an e-mail address")
    return text


def field_of(column: Column) -> Field:
    """How a column is read; see `reader_of`."""
    repeats = column.type == "category" or column.name in VOCABULARIES or column.name in {*COUNTRY_COLUMNS, "currency"}
    return Field(reader_of(column), {None} if repeats else None)


def reader_of(column: Column) -> Reader:
    """The reader of a column of the attempts table, or of one that a merchant declared."""
    if column.name in VOCABULARIES:
        return _one_of(VOCABULARIES[column.name])
    if column.name in COUNTRY_COLUMNS:
        return _code(is_country, "an ISO 3166-1 alpha-2 code in upper case, such as KR")
    if column.name == "currency":
        return _code(is_currency, "an ISO 4217 code in upper case, such as EUR")
    if column.name == "issuer":
        return _issuer
    if column.name == "customer_id":
        return _pseudonym
    if column.type in {"string", "category"}:
        return text_reader(LENGTHS[column.type])
    if column.type == "bool":
        return _truth
    if column.type == "timestamp":
        return _time
    return _number(range_of(column), whole=column.type == "int64")
