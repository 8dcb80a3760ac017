"""Countries and currencies: which codes there are, a currency's minor unit, a country's usual clock.

`countries.csv` holds ISO 3166-1 alpha-2 with XK (Kosovo: of ISO's range for users, and used by payment
companies), and the IANA zone that most of a country's people live in with its standard offset, of the tz
database 2026. `currencies.csv` holds the ISO 4217 codes that a price can be in, with the exponent of their
minor unit: the active list without metals, units of account and test codes, which have none, and with codes
withdrawn since 2021 (ANG, BGN, CUC, HRK, SLL, ZWL), which earlier attempts carry.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

__all__ = [
    "countries",
    "currencies",
    "currency_exponent",
    "is_country",
    "is_currency",
    "standard_utc_offset_hours",
]


def _table(name: str) -> list[dict[str, str]]:
    with files("features").joinpath(name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@cache
def countries() -> dict[str, float]:
    """Hours from UTC to standard time in the country's most populous zone, by ISO 3166-1 alpha-2 code."""
    return {row["country"]: float(row["standard_utc_offset_hours"]) for row in _table("countries.csv")}


@cache
def currencies() -> dict[str, int]:
    """The exponent of the minor unit, by ISO 4217 code."""
    return {row["currency"]: int(row["exponent"]) for row in _table("currencies.csv")}


def is_country(code: str) -> bool:
    """Whether `code` is an ISO 3166-1 alpha-2 code, in upper case.

    >>> is_country("KR"), is_country("kr"), is_country("XX")
    (True, False, False)
    """
    return code in countries()


def is_currency(code: str) -> bool:
    """Whether `code` is an ISO 4217 code that a price can be in.

    >>> is_currency("EUR"), is_currency("EU"), is_currency("XAU")
    (True, False, False)
    """
    return code in currencies()


def currency_exponent(code: str) -> int:
    """Decimal digits of the currency's minor unit. Raises KeyError for what is no currency.

    >>> currency_exponent("KRW"), currency_exponent("EUR"), currency_exponent("KWD")
    (0, 2, 3)
    """
    return currencies()[code]


def standard_utc_offset_hours(country: str) -> float:
    """Hours from UTC to standard (winter) time where most of the country's people live.

    Raises KeyError for what is no country.

    >>> standard_utc_offset_hours("KR"), standard_utc_offset_hours("IN"), standard_utc_offset_hours("US")
    (9.0, 5.5, -5.0)
    """
    return countries()[country]
