"""Who pays, when, how much and on what device: drawn before the clock starts, a whole column at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from training.simulator_kernel import PAYMENT_ROW, PERSON_ROW
from training.simulator_market import (
    CHANNELS,
    COUNTRIES,
    ISSUERS_EACH,
    MERCHANT_CATEGORIES,
    METHOD_SHARES,
    METHODS,
    OFFSET_HOURS,
    USUAL_FORM_S,
    USUAL_RTT_MS,
)
from training.stories import Story

__all__ = ["Details", "draw_payments", "draw_people"]

_F = npt.NDArray[np.float64]
_I = npt.NDArray[np.int64]

_COUNTRY_SHARES = (0.34, 0.24, 0.18, 0.24)
_SHARES = {
    "new": 0.42,  # customers who come after the start
    "abroad": 0.05,
    "saves": 0.6,
    "tokens": 0.45,
    "recurring": 0.03,
}
_FUNDING_SHARES = {
    "KR": (0.70, 0.27, 0.03),
    "JP": (0.76, 0.14, 0.10),
    "TW": (0.74, 0.22, 0.04),
    "US": (0.48, 0.42, 0.10),
}
_BRAND_SHARES = {
    "KR": (0.46, 0.42, 0.05, 0.03, 0.04),
    "JP": (0.42, 0.20, 0.06, 0.32, 0.00),
    "TW": (0.48, 0.36, 0.03, 0.11, 0.02),
    "US": (0.52, 0.34, 0.13, 0.01, 0.00),
}
_CHANNEL_SHARES = {
    "KR": (0.22, 0.34, 0.20, 0.16, 0.08),
    "JP": (0.38, 0.18, 0.20, 0.20, 0.04),
    "TW": (0.26, 0.22, 0.22, 0.16, 0.14),
    "US": (0.30, 0.18, 0.20, 0.26, 0.06),
}
_RTT_MS = (70.0, 80.0, 110.0, 45.0, 130.0, np.nan)
_CATEGORY_SHARES = (0.26, 0.14, 0.24, 0.18, 0.06, 0.12)
_USUAL_AMOUNT = {  # in major units, per merchant category
    "KR": (42_000.0, 180_000.0, 38_000.0, 11_000.0, 240_000.0, 31_000.0),
    "JP": (5_200.0, 24_000.0, 4_100.0, 1_500.0, 32_000.0, 3_600.0),
    "TW": (1_300.0, 5_600.0, 900.0, 330.0, 7_500.0, 880.0),
    "US": (58.0, 210.0, 64.0, 15.0, 340.0, 36.0),
}
_MIDDLE_AMOUNT = {"KR": 38_000.0, "JP": 4_500.0, "TW": 1_100.0, "US": 55.0}  # over all categories
_ROUND_TO_MINOR = {"KR": 100, "JP": 10, "TW": 100, "US": 50}
_MINOR_PER_MAJOR = {"KR": 1, "JP": 1, "TW": 100, "US": 100}
_LOCAL_HOURS = np.array(  # how busy each local hour is
    [34, 20, 12, 9, 8, 11, 20, 34, 48, 58, 66, 74, 88, 80, 70, 68, 70, 76, 84, 94, 108, 116, 98, 62], np.float64
)
_WEEKEND = 1.15


class Details(NamedTuple):
    """Columns of payments and customers that the clock does not need. Names are codes into the market's tuples."""

    amount_minor: _I
    rtt_ms: _F
    form_seconds: _F
    form_errors: _I
    brand: _I  # of the customer
    funding: _I  # of the customer


def _by_country(rng: np.random.Generator, country: _I, shares: Mapping[str, tuple[float, ...]]) -> _I:
    """One of each country's members, by its shares."""
    cumulative = np.cumsum([shares[name] for name in COUNTRIES], axis=1)
    cumulative /= cumulative[:, -1:]
    picks: _I = (rng.random(len(country))[:, None] > cumulative[country]).sum(axis=1)
    return picks


def _rows(dtype: np.dtype[np.void], **columns: npt.NDArray[Any]) -> npt.NDArray[np.void]:
    """Columns as the records that the kernel reads."""
    out = np.empty(len(next(iter(columns.values()))), dtype)
    for name in dtype.names or ():
        out[name] = columns[name]
    return out


def _method_shares() -> Mapping[str, tuple[float, ...]]:
    return {c: tuple(METHOD_SHARES[c].get(method, 0.0) for method in METHODS) for c in COUNTRIES}


def draw_people(
    n: int, story: Story, priors: _F, days: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.void], dict[str, _I]]:
    """`n` customers, and the codes of their cards' brand and funding.

    `priors` [country, 3, 3] are the shares of the levels of patience, skill and means.
    """
    country = rng.choice(len(COUNTRIES), n, p=_COUNTRY_SHARES)
    abroad = rng.random(n) < _SHARES["abroad"]
    issuer_country = np.where(abroad, (country + rng.integers(1, len(COUNTRIES), n)) % len(COUNTRIES), country)
    weight = 1.0 / (np.arange(ISSUERS_EACH) + 1.0)
    issuer = issuer_country * ISSUERS_EACH + rng.choice(ISSUERS_EACH, n, p=weight / weight.sum())
    funding = _by_country(rng, country, _FUNDING_SHARES)
    brand = _by_country(rng, country, _BRAND_SHARES)
    new = rng.random(n) < _SHARES["new"]
    tenure = np.where(new, -rng.random(n) * days, rng.exponential(420.0, n))
    prior = np.where(new, 0, rng.poisson(np.minimum(np.abs(tenure) / 40.0, 30.0) * rng.gamma(2.0, 0.5, n)))
    likes = _by_country(rng, country, _method_shares())
    offered = np.array(list(_method_shares().values())) > 0.0
    has = (rng.random((n, len(METHODS))) < 0.6) & offered[country]
    has[:, 0] = True  # everyone has a card
    has[np.arange(n), likes] = True
    cumulative = np.cumsum(priors, axis=2)[country]
    kind = (rng.random((n, 3, 1)) > cumulative).sum(axis=2)
    people = _rows(
        PERSON_ROW,
        country=country,
        issuer=issuer,
        issuer_country=issuer_country,
        debit=funding == 1,
        prepaid=funding == 2,
        expiry=rng.uniform(0.0, 48.0, n),
        tenure=tenure,
        prior=prior,
        saves=rng.random(n) < _SHARES["saves"],
        tokens=rng.random(n) < _SHARES["tokens"],
        agreement=rng.random(n) < story.agreement_share,
        bank_steps=rng.integers(0, 3, n),
        likes=likes,
        methods=has @ (1 << np.arange(len(METHODS))),
        patience=kind[:, 0],
        skill=kind[:, 1],
        means=kind[:, 2],
    )
    return people, {"brand": brand, "funding": funding}


def _moments(country: _I, since: _F, start_weekday_s: float, days: float, rng: np.random.Generator) -> _F:
    """Seconds since the start, later than `since` (days), by how busy the hours of each country's week are."""
    hours = max(int(np.ceil(days * 24.0)), 1)
    out = np.empty(len(country))
    u = rng.random(len(country))
    edges = np.arange(hours + 1) * (days * 24.0 / hours)
    for c, name in enumerate(COUNTRIES):
        local = np.floor(start_weekday_s / 3600.0 + np.arange(hours) + OFFSET_HOURS[name]).astype(np.int64)
        busy = _LOCAL_HOURS[local % 24] * np.where(local // 24 % 7 >= 5, _WEEKEND, 1.0)
        done = np.concatenate([[0.0], np.cumsum(busy)]) / busy.sum()
        mine = country == c
        begun = np.interp(since[mine] * 24.0, edges, done)
        out[mine] = np.interp(begun + (1.0 - begun) * u[mine], done, edges) * 3600.0
    return out


def draw_payments(
    n: int,
    people: npt.NDArray[np.void],
    card: dict[str, _I],
    start_weekday_s: float,
    days: float,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.void], Details]:
    """`n` payments in order of arrival, with their details. `start_weekday_s`: seconds since Monday, midnight UTC."""
    n_people = len(people["country"])
    eager = rng.gamma(0.9, 1.0, n_people) + 0.05
    customer = rng.choice(n_people, n, p=eager / eager.sum())
    since = np.maximum(-people["tenure"], 0.0)[customer]
    at = _moments(people["country"][customer], since, start_weekday_s, days, rng)
    order = np.argsort(at, kind="stable")
    at, customer = at[order], customer[order]
    country = people["country"][customer]

    subscriber = rng.random(n_people) < 2.0 * _SHARES["recurring"]
    recurring = subscriber[customer] & (people["prior"][customer] > 0) & (rng.random(n) < 0.8)
    own = rng.random(n) < 0.85
    other = _by_country(rng, country, _method_shares())
    method = np.where(recurring, 0, np.where(own, people["likes"][customer], other))

    category = rng.choice(len(MERCHANT_CATEGORIES), n, p=_CATEGORY_SHARES)
    usual = np.array([_USUAL_AMOUNT[name] for name in COUNTRIES])[country, category]
    minor = usual * np.array([_MINOR_PER_MAJOR[name] for name in COUNTRIES])[country]
    middle = np.array([_MIDDLE_AMOUNT[name] * _MINOR_PER_MAJOR[name] for name in COUNTRIES])[country]
    unit = np.array([_ROUND_TO_MINOR[name] for name in COUNTRIES])[country]
    amount_minor = np.maximum(np.rint(minor * np.exp(0.8 * rng.standard_normal(n)) / unit), 1.0) * unit
    cents = (country == COUNTRIES.index("US")) & (rng.random(n) < 0.6)
    amount_minor = amount_minor - cents  # 19.99 rather than 20.00

    liked = _by_country(rng, people["country"], _CHANNEL_SHARES)
    seldom = _by_country(rng, country, _CHANNEL_SHARES)
    channel = np.where(rng.random(n) < 0.8, liked[customer], seldom)
    channel = np.where(recurring, CHANNELS.index("server"), channel)
    rtt = np.round(np.array(_RTT_MS)[channel] * np.exp(0.55 * rng.standard_normal(n)), 1)
    form_seconds = np.round(USUAL_FORM_S * np.exp(0.7 * rng.standard_normal(n)), 1)
    form_errors = rng.poisson(np.where(channel == CHANNELS.index("desktop_web"), 0.2, 0.35))
    away = rng.random(n) < 0.08
    payments = _rows(
        PAYMENT_ROW,
        at=at,
        customer=customer,
        method=method,
        amount=np.clip(np.log(amount_minor / middle), -3.0, 3.0),
        category=category,
        channel=channel,
        ln_rtt=np.where(recurring, 0.0, np.log(np.where(recurring, 1.0, rtt) / USUAL_RTT_MS)),
        ln_form=np.where(recurring, 0.0, np.log(form_seconds / USUAL_FORM_S)),
        form_errors=np.where(recurring, 0, form_errors).astype(np.float64),
        merchant_country=np.where(away, np.where(country == 3, 1, 3), country),
        recurring=recurring,
    )
    details = Details(
        amount_minor=amount_minor.astype(np.int64),
        rtt_ms=rtt,
        form_seconds=np.where(recurring, np.nan, form_seconds),
        form_errors=form_errors,
        **card,
    )
    return payments, details
