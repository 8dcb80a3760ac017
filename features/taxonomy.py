"""Why attempts fail, as data: reasons (taxonomy.csv), finer sub-reasons (sub_reasons.csv), and codes (codes.csv).

A code belongs to a scheme (`iso8583`, `stripe`, `adyen`, …), and the same code may mean different things to
different card networks, so codes are looked up in the network's own table first. Not every code decides:
`05` and its kin say only that the bank declined, and some processors give one code to a failed authentication
and to a closed window.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

__all__ = [
    "CODES_EDITION",
    "CodeMeaning",
    "Reason",
    "SubReason",
    "code_decides",
    "codes",
    "explain_advice",
    "explain_code",
    "explain_trans_status",
    "processor_of",
    "reasons",
    "sub_reasons",
]

CODES_EDITION = "2026-04"
"""Edition of codes.csv; its Visa rows follow the rules of April 2026."""

_ELSEWHERE = {
    "visa": ("iso8583",),
    "mastercard": ("iso8583",),
    "stripe": ("stripe_error_code",),
    "braintree": ("braintree_gateway_rejection",),
}
"""Where a scheme's code is looked up next when its own table does not have it."""

_OTHER_NAMES = {"upi": "upi_npci", "checkout.com": "checkout", "iso_8583": "iso8583"}
"""Names that people give to schemes, too."""

_KEPT = 4_096  # answers: the same few codes come again and again
_TWO_DIGITS = {"iso8583", "visa", "mastercard", "mastercard_mac"}
"""Schemes whose codes have two characters: a spreadsheet makes 5 of 05."""

_PROCESSORS = {
    "stripe_error_code": "stripe",
    "stripe_advice_code": "stripe",
    "braintree_gateway_rejection": "braintree",
    "checkout_recommendation": "checkout",
    "visa_decline_category": "visa",
    "mastercard_mac": "mastercard",
    "3ds_trans_status": "3ds",
    "3ds_trans_status_reason": "3ds",
    "3ds_challenge_cancel": "3ds",
}
"""Whose scheme it is, where one party has several."""

_ADVICE_OF_BRAND = {"visa": "visa_decline_category", "mastercard": "mastercard_mac"}
_ADVICE_OF_SCHEME = {
    "stripe": "stripe_advice_code",
    "checkout": "checkout_recommendation",
    "visa": "visa_decline_category",
    "mastercard": "mastercard_mac",
}


@dataclass(frozen=True)
class Reason:
    """One reason within a category.

    >>> reasons()["insufficient_funds"].title
    'not enough funds'
    """

    category: str
    reason: str
    title: str
    meaning: str
    who_can_act: str  # customer | issuer | processor | merchant
    soft_hard: str  # soft: may work another time; hard: this will not work as it is
    message_key: str  # what to tell the customer about what happened


@dataclass(frozen=True)
class SubReason:
    """What is finer than a reason, and known from codes alone.

    `soft_hard` and `advice` are what is usual for it, where no code says otherwise. `phrases` are the ways in
    which processors put it, by language: what the text model learns from besides codes.csv.

    >>> sub_reasons()["expired_card"].reason
    'card_data_invalid'
    """

    reason: str
    sub_reason: str
    soft_hard: str
    advice: str
    phrases: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class CodeMeaning:
    """What one code of one scheme says.

    `decides` is whether the code alone settles the cause; where it does not, `category` and `reason` are its
    usual reading. `advice` is one of other_route, other_method, later, never, fix_details, step_up; `wait_s`
    how long `later` is, where the network says so; `rule` the name of the rule that forbids trying the same
    means again, where there is one.
    """

    scheme: str
    code: str
    category: str
    reason: str
    sub_reason: str
    soft_hard: str
    advice: str
    decides: bool
    wait_s: int | None
    rule: str | None
    meaning: str
    source: str


def _rows(name: str) -> Iterator[dict[str, str]]:
    with files("features").joinpath(name).open(encoding="utf-8") as file:
        yield from csv.DictReader(file)


@cache
def reasons() -> dict[str, Reason]:
    """Every reason by name, in the order of the categories."""
    return {row["reason"]: Reason(**row) for row in _rows("taxonomy.csv")}


@cache
def sub_reasons() -> dict[str, SubReason]:
    """Every sub-reason by name, in the order of the reasons."""
    told = {}
    for row in _rows("sub_reasons.csv"):
        fixed = {name: row.pop(name) for name in ("reason", "sub_reason", "soft_hard", "advice")}
        phrases = {language: tuple(text.split("; ")) for language, text in row.items() if text}
        told[fixed["sub_reason"]] = SubReason(**fixed, phrases=phrases)
    return told


@cache
def _codes() -> dict[tuple[str, str], CodeMeaning]:
    return {
        (row["scheme"], row["code"].casefold()): CodeMeaning(
            scheme=row["scheme"],
            code=row["code"],
            category=row["category"],
            reason=row["reason"],
            sub_reason=row["sub_reason"],
            soft_hard=row["soft_hard"],
            advice=row["advice"],
            decides=row["decides"] == "yes",
            wait_s=int(row["wait_s"]) if row["wait_s"] else None,
            rule=row["rule"] or None,
            meaning=row["meaning"],
            source=row["source"],
        )
        for row in _rows("codes.csv")
    }


def codes() -> tuple[CodeMeaning, ...]:
    """Every code that is known, in the order of codes.csv."""
    return tuple(_codes().values())


def processor_of(scheme: str) -> str:
    """Whose scheme it is.

    >>> processor_of("stripe_advice_code"), processor_of("adyen")
    ('stripe', 'adyen')
    """
    return _PROCESSORS.get(scheme, scheme)


def _tables(scheme: str, card_brand: str | None) -> tuple[str, ...]:
    """The tables to look into, in order."""
    scheme = _OTHER_NAMES.get(scheme, scheme)
    network = (card_brand,) if scheme == "iso8583" and card_brand else ()
    return (*network, scheme, *_ELSEWHERE.get(scheme, ()))


@lru_cache(maxsize=_KEPT)
def explain_code(scheme: str, code: str, card_brand: str | None = None) -> CodeMeaning | None:
    """What a response code says; None if neither its scheme's nor its network's table has it.

    A code of scheme `iso8583` on a Visa card is looked up in Visa's table first. Letter case does not matter,
    nor does a zero that a spreadsheet has cut off.

    >>> explain_code("iso8583", "51").reason, explain_code("iso8583", "4").code
    ('insufficient_funds', '04')
    >>> explain_code("iso8583", "83", card_brand="mastercard").reason
    'suspected_fraud'
    >>> explain_code("iso8583", "no such code") is None
    True
    """
    known, wanted = _codes(), code.strip().casefold()
    brand = card_brand.casefold() if card_brand else None
    whole = wanted.zfill(2)
    keys = ((table, whole if table in _TWO_DIGITS else wanted) for table in _tables(scheme.strip().casefold(), brand))
    return next((known[key] for key in keys if key in known), None)


def code_decides(scheme: str, code: str, card_brand: str | None = None) -> bool:
    """Whether a response code alone settles the cause.

    >>> code_decides("iso8583", "54"), code_decides("iso8583", "05"), code_decides("acme", "54")
    (True, False, False)
    """
    meaning = explain_code(scheme, code, card_brand)
    return meaning is not None and meaning.decides


@lru_cache(maxsize=_KEPT)
def explain_advice(advice_code: str, scheme: str | None, card_brand: str | None) -> CodeMeaning | None:
    """What an advice on retrying says: of Mastercard (merchant advice codes), Visa (categories), a processor.

    >>> explain_advice("24", "iso8583", "mastercard").wait_s
    3600
    """
    wanted = advice_code.strip().casefold()
    own = _ADVICE_OF_SCHEME.get(scheme.casefold()) if scheme else None
    brand = _ADVICE_OF_BRAND.get(card_brand.casefold()) if card_brand else None
    found = (_codes().get((table, wanted)) for table in (own, brand) if table)
    return next((meaning for meaning in found if meaning is not None), None)


@lru_cache(maxsize=_KEPT)
def explain_trans_status(
    status: str | None, reason: str | None = None, card_brand: str | None = None
) -> CodeMeaning | None:
    """What EMV 3-D Secure says of a failure; None where it says nothing, as for Y, A and I.

    The reason is looked up first, by the network's own numbers where it has some; a status of Y makes it
    moot.

    >>> explain_trans_status("N", "10").reason
    'lost_or_stolen'
    >>> explain_trans_status("Y", "10") is None
    True
    """
    if status in {"Y", "A", "I"}:
        return None
    known = _codes()
    keys = []
    if reason:
        if card_brand:
            keys.append(("3ds_trans_status_reason", f"{card_brand.casefold()}:{reason}"))
        keys.append(("3ds_trans_status_reason", reason))
    if status:
        keys.append(("3ds_trans_status", status.casefold()))
    return next((known[key] for key in keys if key in known), None)
