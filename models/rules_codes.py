"""What the codes of an attempt forbid: which of them do, under which rule, and whether correcting the details helps.

A corrected card number is a new credential. So after a code that says that there is no such number (14, 15; Visa has both
in category 1, "never", of the account number as sent), the customer may correct the details, and an attempt on which the
number was typed anew may be made; no candidate tells that its number changed, so none of that method is suggested. What 54
(expired), N7, 82 (security code) and the like ask to correct leaves the number as it was: they are in Visa's category 3,
may be tried again once corrected, and count towards the limits. Where Mastercard's advice is 03 or 21, correcting such a
detail is no way around it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from features.taxonomy import CodeMeaning
from models.actions import Row
from models.diagnosis import Evidence, read_evidence

__all__ = ["Said", "come_to", "is_no_such_number", "rule_name", "said_by"]

_NO_SUCH_NUMBER = frozenset(
    {(scheme, code) for scheme in ("iso8583", "visa", "mastercard") for code in ("14", "15")}
    | {("stripe", "incorrect_number"), ("stripe", "invalid_number"), ("razorpay", "card_number_invalid")}
    | {("checkout", "20014"), ("checkout", "30015")}
)
"""Codes by which the number itself is wrong, so that correcting it makes another credential."""

_CODES = ("code_scheme", "response_code", "advice_code", "trans_status", "trans_status_reason")
_DUPLICATE = "duplicate_transaction"


class Said(NamedTuple):
    """What the codes of one attempt come to, each None where they say nothing of it."""

    forbids: CodeMeaning | None
    of_number: bool
    """Whether it is forbidden for its number, which the customer can correct."""
    waits: CodeMeaning | None
    cause: tuple[str, str] | None
    """Reason and sub-reason, where a code decides."""


def said_by(past: Row, brand: str | None) -> Said:
    """What an earlier attempt's codes come to, for a card of that brand."""
    return _said(*map(past.get, _CODES), brand)


@lru_cache(maxsize=4096)  # the same few codes come again and again, and reading them is most of the work
def _said(
    scheme: str | None, code: str | None, advice: str | None, status: str | None, reason: str | None, brand: str | None
) -> Said:
    return come_to(read_evidence(dict(zip(_CODES, (scheme, code, advice, status, reason), strict=True)), brand))


def come_to(codes: Evidence) -> Said:
    """What codes come to. One forbids by its rule, else by its advice; of several, the response code's comes first."""
    forbids = codes.forbidding
    if forbids is None:
        spoken = (codes.response, codes.advice, codes.authentication)
        forbids = next((code for code in spoken if code is not None and code.advice == "never"), None)
    deciding = codes.deciding
    return Said(
        forbids=forbids,
        of_number=forbids is codes.response and is_no_such_number(codes),
        waits=codes.advice if codes.wait_s is not None else None,
        cause=(deciding.reason, deciding.sub_reason) if deciding is not None else None,
    )


def rule_name(rule: str | None, sub_reason: str) -> str:
    """The rule that a code which forbids trying again stands under: the one that it names, else by what it says.

    >>> rule_name("visa_category_1", "lost_or_stolen"), rule_name(None, "duplicate_transaction")
    ('visa_category_1', 'no_retry_of_a_duplicate')
    """
    return rule or ("no_retry_of_a_duplicate" if sub_reason == _DUPLICATE else "never_retry_code")


def is_no_such_number(codes: Evidence) -> bool:
    """Whether the response code says that there is no such card number."""
    response = codes.response
    return response is not None and (response.scheme, response.code) in _NO_SUCH_NUMBER
