"""Countries and currencies."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from features.places import (
    countries,
    currencies,
    currency_exponent,
    is_country,
    is_currency,
    standard_utc_offset_hours,
)


def test_there_are_all_countries_of_iso_3166_and_kosovo() -> None:
    assert len(countries()) == 249 + 1
    assert all(re.fullmatch("[A-Z]{2}", code) for code in countries())


def test_there_are_the_currencies_that_prices_are_in() -> None:
    assert all(re.fullmatch("[A-Z]{3}", code) for code in currencies())
    assert {"KRW", "JPY", "TWD", "USD", "EUR", "CHF", "BGN"} <= currencies().keys()
    assert not {"XXX", "XTS", "XAU", "XDR"} & currencies().keys()


@pytest.mark.parametrize(
    ("code", "exponent"),
    [
        ("KRW", 0),
        ("JPY", 0),
        ("ISK", 0),
        ("TWD", 2),
        ("USD", 2),
        ("HUF", 2),
        ("BHD", 3),
        ("TND", 3),
        ("CLF", 4),
    ],
)
def test_a_currency_has_the_exponent_that_iso_4217_gives(code: str, exponent: int) -> None:
    assert currency_exponent(code) == exponent


@pytest.mark.parametrize("code", ["kr", "UK", "", "KOR", "EU"])
def test_other_texts_are_no_country(code: str) -> None:
    assert not is_country(code)


@pytest.mark.parametrize("code", ["eur", "EU", "", "XAU"])
def test_other_texts_are_no_currency(code: str) -> None:
    assert not is_currency(code)


@pytest.mark.parametrize(
    ("country", "zone"),
    [("KR", "Asia/Seoul"), ("IN", "Asia/Kolkata"), ("US", "America/New_York"), ("NZ", "Pacific/Auckland")],
)
def test_an_offset_is_that_of_the_zone_in_winter(country: str, zone: str) -> None:
    year = datetime(2026, 1, 1, tzinfo=UTC)
    offsets = [(year + timedelta(days=day)).astimezone(ZoneInfo(zone)).utcoffset() for day in (14, 195)]
    assert timedelta(hours=standard_utc_offset_hours(country)) == min(filter(None, offsets))


def test_every_offset_is_one_that_clocks_have() -> None:
    assert all(-12 <= hours <= 14 and (hours * 4).is_integer() for hours in countries().values())


def test_an_unknown_code_has_neither_exponent_nor_offset() -> None:
    with pytest.raises(KeyError):
        currency_exponent("EU")
    with pytest.raises(KeyError):
        standard_utc_offset_hours("XX")
