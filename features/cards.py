"""Card numbers in text: what looks like one, and whether it is one.

A card number has 13 to 19 digits, the prefix and length of a card network, and a last digit that the Luhn
formula gives (ISO/IEC 7812-1, annex B). The prefixes are those that the networks publish for issuers and
acquirers. Old Maestro's wide ranges (50, 56 to 69) are cut to the ones that were issued: taken whole they
would suspect every third identifier.

One random number in ten passes Luhn, and about one in thirty passes all of this, so a single long number
proves little where long numbers are usual. `features.card_columns` weighs whole columns; here, each text
stands alone.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

__all__ = [
    "NETWORKS",
    "NetworkRange",
    "card_candidates",
    "contains_card_number",
    "is_card_number",
    "is_secret_name",
    "luhn_ok",
]


class NetworkRange(NamedTuple):
    """Numbers of one network: their first six digits from `low` to `high`, and how many digits they have."""

    low: int
    high: int
    shortest: int
    longest: int
    network: str


NETWORKS: tuple[NetworkRange, ...] = (
    NetworkRange(220000, 220499, 16, 19, "mir"),
    NetworkRange(222100, 272099, 16, 16, "mastercard"),
    NetworkRange(300000, 305999, 14, 19, "diners"),
    NetworkRange(309500, 309599, 14, 19, "diners"),
    NetworkRange(340000, 349999, 15, 15, "amex"),
    NetworkRange(352800, 358999, 16, 19, "jcb"),
    NetworkRange(360000, 369999, 14, 19, "diners"),
    NetworkRange(370000, 379999, 15, 15, "amex"),
    NetworkRange(380000, 399999, 14, 19, "diners"),
    NetworkRange(400000, 499999, 13, 19, "visa"),  # 13, 16 and 19 only: see _fits
    NetworkRange(501800, 501899, 13, 19, "maestro"),
    NetworkRange(502000, 502099, 13, 19, "maestro"),
    NetworkRange(503800, 503899, 13, 19, "maestro"),
    NetworkRange(506699, 506778, 16, 16, "elo"),
    NetworkRange(508500, 508999, 16, 16, "rupay"),
    NetworkRange(509000, 509999, 16, 16, "elo"),
    NetworkRange(510000, 559999, 16, 16, "mastercard"),
    NetworkRange(589300, 589399, 13, 19, "maestro"),
    NetworkRange(601100, 601199, 16, 19, "discover"),
    NetworkRange(606282, 606282, 16, 16, "hipercard"),
    NetworkRange(606985, 607984, 16, 16, "rupay"),
    NetworkRange(608001, 608500, 16, 16, "rupay"),
    NetworkRange(620000, 629999, 16, 19, "unionpay"),
    NetworkRange(630400, 630499, 13, 19, "maestro"),
    NetworkRange(644000, 659999, 16, 19, "discover"),  # 65 is shared with rupay and elo
    NetworkRange(675900, 675999, 13, 19, "maestro"),
    NetworkRange(676100, 676399, 13, 19, "maestro"),
    NetworkRange(676770, 676774, 13, 19, "maestro"),
    NetworkRange(810000, 817199, 16, 19, "unionpay"),
    NetworkRange(979200, 979299, 16, 16, "troy"),
)
"""In ascending order, none overlapping."""

_LOWS = [network.low for network in NETWORKS]
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)  # twice a digit, its digits summed

_SEPARATOR = r"[\s._/\-]{1,3}"
_LONG_RUN = re.compile(r"\d[\d\s._/\-]{11,}\d", re.ASCII)
_NO_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
_ANY_DIGITS = re.compile(r"\d+")
_DIGITS = re.compile(r"\d+", re.ASCII)
_SOLID = re.compile(r"(?<!\d)\d{13,19}(?!\d)", re.ASCII)
_GROUPS = re.compile(rf"(?<!\d)\d++(?:{_SEPARATOR}\d++)++", re.ASCII)  # possessive, or a long number takes its square
_DECIMAL = re.compile(r"[-+]?\d*\.\d+", re.ASCII)
_SPACED = re.compile(r"\d(?:[\s.\-]{0,3}\d){12,18}", re.ASCII)
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_HEXADECIMAL = frozenset("ABCDEFabcdef")
_MORE = frozenset("0123456789")

_GROUPINGS = frozenset(
    {
        (4, 4, 4, 4),
        (4, 4, 4, 4, 1),
        (4, 4, 4, 4, 2),
        (4, 4, 4, 4, 3),
        (4, 4, 4, 1),
        (4, 4, 4, 2),
        (4, 4, 4, 3),
        (4, 3, 3, 3),
        (4, 6, 4),
        (4, 6, 5),
        (6, 10),
        (6, 13),
        (8, 8),
    }
)
"""How card numbers are written in groups. Other groups of digits are dates, phones and references."""

_SECRET_NAMES = frozenset(
    {
        *("cvv", "cvv2", "cvc", "cvc2", "csc", "cid", "cav2", "securitycode", "cardsecuritycode"),
        *("cardverificationcode", "cardverificationvalue", "cardcvc", "cardcvv", "cvvcode", "cvccode"),
        *("pan", "fullpan", "cardpan", "cardnumber", "cardno", "cardnum", "ccnumber", "ccnum", "ccno"),
        *("creditcardnumber", "debitcardnumber", "creditcard", "primaryaccountnumber", "accountpan"),
        *("track1", "track2", "trackdata", "track1data", "track2data", "magstripe", "pinblock"),
    }
)


def is_secret_name(name: str) -> bool:
    """Whether a column or field of this name would hold card numbers, security codes or tracks.

    >>> is_secret_name("Card-Number"), is_secret_name("CVC"), is_secret_name("card_brand")
    (True, True, False)
    """
    return re.sub(r"[\W_]", "", name).lower() in _SECRET_NAMES


def luhn_ok(digits: str) -> bool:
    """Whether the last digit is the one that the Luhn formula gives for the others.

    >>> luhn_ok("79927398713"), luhn_ok("79927398710")
    (True, False)
    """
    total = sum(map(int, digits[-1::-2])) + sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])
    return total % 10 == 0


def _fits(digits: str) -> bool:
    """Whether a network issues numbers of this prefix and length."""
    at = bisect_right(_LOWS, int(digits[:6])) - 1
    if at < 0:
        return False
    _, high, shortest, longest, network = NETWORKS[at]
    if not (int(digits[:6]) <= high and shortest <= len(digits) <= longest):
        return False
    return network != "visa" or len(digits) in {13, 16, 19}


def is_card_number(digits: str) -> bool:
    """Whether ASCII digits, nothing between them, are a card number.

    >>> is_card_number("4111111111111111"), is_card_number("4111111111111112")
    (True, False)
    """
    return 13 <= len(digits) <= 19 and _fits(digits) and luhn_ok(digits)


def _ascii(text: str) -> str:
    """`text` with any script's digits, spaces and dashes as ASCII ones, without invisible characters."""
    kept = []
    for character in text:
        if character.isascii():
            kept.append(character)
            continue
        category = unicodedata.category(character)
        if category == "Cf":
            continue
        digit = unicodedata.digit(character, None)
        if digit is not None:
            kept.append(str(digit))
        else:
            kept.append({"Zs": " ", "Pd": "-"}.get(category, character))
    return "".join(kept)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether digits are a number of their own: no part of a fraction, a phone number or a random token.

    Letters may touch them ("PAN4111…") unless all are hexadecimal: hashes hold runs of digits by chance.
    """
    before = text[max(start - 2, 0) : start]
    if before.endswith("+") or (before.endswith(".") and not before[:-1].isalpha()):
        return False
    first, last = start, end
    while first and text[first - 1] in _LETTERS:
        first -= 1
    while last < len(text) and text[last] in _LETTERS:
        last += 1
    if text[first - 1 : first] in _MORE or text[last : last + 1] in _MORE:
        return False
    letters = text[first:start] + text[end:last]
    return not letters or not _HEXADECIMAL.issuperset(letters)


def _grouped(text: str) -> Iterator[str]:
    """Card-shaped runs of groups in `text`, such as 4-4-4-4, as digits only."""
    for run in _GROUPS.finditer(text):
        groups = list(_DIGITS.finditer(text, run.start(), run.end()))
        sizes = tuple(len(group.group()) for group in groups)
        for first in range(len(groups)):
            for last in range(first + 1, min(first + 5, len(groups))):
                fits = sizes[first : last + 1] in _GROUPINGS
                if fits and _stands_alone(text, groups[first].start(), groups[last].end()):
                    yield "".join(group.group() for group in groups[first : last + 1])


def card_candidates(text: str) -> Iterator[str]:
    """What in `text` is written as card numbers are, as ASCII digits, whatever its prefix and last digit.

    >>> list(card_candidates("card 4111-1111-1111-1111, order 1234567890123456"))
    ['1234567890123456', '4111111111111111']
    >>> list(card_candidates("0.4111111111111111"))
    []
    """
    if text.isascii():
        if len(text.encode().translate(None, _NO_DIGITS)) < 13:
            return
    elif len(text) - len(_ANY_DIGITS.sub("", text)) < 13:
        return
    else:
        text = _ascii(text)
    if _LONG_RUN.search(text) is None:
        return
    for run in _SOLID.finditer(text):
        if _stands_alone(text, run.start(), run.end()):
            yield run.group()
    yield from _grouped(text)
    whole = text.strip()
    if _SPACED.fullmatch(whole) and not whole.isdigit() and not _DECIMAL.fullmatch(whole):
        yield "".join(_DIGITS.findall(whole))


def contains_card_number(text: str) -> bool:
    """Whether a card number stands in `text`: alone or among words, solid or in groups, in any script's
    digits.

    >>> contains_card_number("card ４１１１ 1111 1111 1111 exp 12/29")
    True
    >>> contains_card_number("attempt 20260105093012345678901")
    False
    """
    return len(text) >= 13 and any(map(is_card_number, card_candidates(text)))
