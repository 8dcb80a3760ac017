"""Declines by credential, of all payments: what the networks' limits count.

The attempts table has no token of a card, so that a credential is what can be told of one: its customer with method, brand,
funding and issuer. Without a customer there is none, and nothing is counted: other people's cards look the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from struct import Struct
from typing import Any, NamedTuple

from models.rules_standing import is_declined

__all__ = [
    "KEPT_US",
    "MOST_DECLINES",
    "Decline",
    "added",
    "count",
    "credential_of",
    "decline_of",
    "hashed",
    "packed",
    "unpacked",
]

Row = Mapping[str, Any]

KEPT_US = 31 * 86_400_000_000
"""For how long declines are kept, in microseconds: the longest window of a network, and a day."""

MOST_DECLINES = 100
"""Of one credential, the latest; no network's limit is as high."""

_PARTS = ("method", "card_brand", "card_funding", "issuer")
_PACKED = Struct("<qQQ")


class Decline(NamedTuple):
    """One: when the attempt began (microseconds), hashes of its payment and of its amount with currency."""

    at: int
    payment: int
    amount: int


def credential_of(attempt: Row) -> str | None:
    """The name of an attempt's credential; None where it has no customer.

    >>> one = {"customer_id": "c1", "method": "card", "card_brand": "Visa"}
    >>> credential_of(one) == credential_of({**one, "card_brand": "visa"}), credential_of({"method": "card"})
    (True, None)
    """
    customer = attempt.get("customer_id")
    if not customer:
        return None
    told = "\x1f".join([attempt.get(name) or "" for name in _PARTS])
    return f"{customer}\x1f{told.casefold()}"


def decline_of(ended: Row) -> Decline | None:
    """What an ended attempt adds to those of its credential; None where it was not declined."""
    return _as_decline(ended) if is_declined(ended) else None


def _as_decline(attempt: Row) -> Decline:
    amount = f"{attempt.get('amount_minor')} {attempt.get('currency')}"
    return Decline(attempt["created_at"], hashed(str(attempt.get("payment_id"))), hashed(amount))


def count(declines: Iterable[Decline], attempt: Row, *, since: int, one_amount: bool) -> int:
    """How many of a credential's declines began after `since`, in other payments; of the attempt's amount, if `one_amount`."""
    recent = [one for one in declines if one.at > since]
    if not recent:
        return 0
    mine = _as_decline(attempt)
    return sum(one.payment != mine.payment and (not one_amount or one.amount == mine.amount) for one in recent)


def added(declines: Iterable[Decline], new: Decline) -> tuple[Decline, ...]:
    """A credential's declines with one more, without those that are too old or too many."""
    every = sorted([*declines, new])
    oldest = every[-1].at - KEPT_US
    return tuple(one for one in every if one.at > oldest)[-MOST_DECLINES:]


def packed(declines: Iterable[Decline]) -> bytes:
    """Declines as bytes, 24 each."""
    return b"".join(_PACKED.pack(*one) for one in declines)


def unpacked(raw: bytes) -> tuple[Decline, ...]:
    """What `packed` wrote. Raises ValueError if something is cut off.

    >>> unpacked(packed([Decline(1, 2, 3)]))
    (Decline(at=1, payment=2, amount=3),)
    """
    if len(raw) % _PACKED.size:
        raise ValueError(f"{len(raw)} bytes of declines: want {_PACKED.size} each")
    return tuple(Decline(*one) for one in _PACKED.iter_unpack(raw))


def hashed(text: str) -> int:
    """A number of 64 bits; the same in every process, unlike Python's own."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
