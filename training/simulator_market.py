"""The simulated market: who offers what in which country, and what makes an attempt fall at which hurdle.

Effects are logits of falling at a hurdle. Those of issuers are drawn once, from a generator of their own, so that the
market is the same whatever the seed of a run: what was learnt on one simulation holds in the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from training.simulator_codes import advice, reason_facts, reason_odds
from training.simulator_kernel import BLOCKS, HURDLES, NUMBERS, Market
from training.stories import Story

__all__ = [
    "BRANDS", "CHANNELS", "COUNTRIES", "CURRENCIES", "FLOWS", "FUNDINGS", "ISSUERS", "ISSUERS_EACH", "MERCHANT_CATEGORIES",
    "METHODS", "METHOD_SHARES", "OFFSET_HOURS", "ROUTES", "USUAL_FORM_S", "USUAL_RTT_MS", "issuer_masking", "market",
]  # fmt: skip

COUNTRIES = ("KR", "JP", "TW", "US")
CURRENCIES: Mapping[str, str] = {"KR": "KRW", "JP": "JPY", "TW": "TWD", "US": "USD"}
OFFSET_HOURS: Mapping[str, int] = {"KR": 9, "JP": 9, "TW": 8, "US": -6}
"""Local time less UTC; the US lives on one clock here."""
METHODS = ("card", "wallet", "bank_transfer", "quick_pay", "carrier_billing", "convenience_store", "bnpl")
ROUTES = ("north", "harbor", "summit", "delta", "direct", "bankline", "clearway", "telco", "storelink")
FLOWS = ("none", "frictionless", "challenge", "redirect")
CHANNELS = ("ios_app", "android_app", "mobile_web", "desktop_web", "in_app_browser", "server")
MERCHANT_CATEGORIES = ("fashion", "electronics", "groceries", "games", "travel", "beauty")
BRANDS = ("visa", "mastercard", "amex", "jcb", "unionpay")
FUNDINGS = ("credit", "debit", "prepaid")
USUAL_RTT_MS, USUAL_FORM_S = 85.0, 32.0
"""A round trip and a time on the form, against which others are long or short."""
_ISSUER_NAMES: Mapping[str, str] = {
    "kr": "hanul saebyeok dalbit narae mirinae byeolha garam onnuri haedam solbit",
    "jp": "akatsuki hoshino kazemori tsukikage shiranami yamabiko hanaikada kiritani asagiri umikaze",
    "tw": "qinghe baiyun lanxing chenxi haifeng yunlu zhulin shanyue xingchen lvzhou",
    "us": "cedarline bluemesa ironwood harborlight redfern larkspur stonebrook amberfield northfork willowgate",
}
ISSUERS = tuple(f"{country}_{name}" for country, names in _ISSUER_NAMES.items() for name in names.split())
"""Invented banks, ten a country, in the countries' order."""
ISSUERS_EACH = 10

METHOD_SHARES: Mapping[str, Mapping[str, float]] = {
    "KR": {"card": 0.50, "quick_pay": 0.24, "bank_transfer": 0.10, "wallet": 0.10, "carrier_billing": 0.06},
    "JP": {"card": 0.60, "convenience_store": 0.14, "wallet": 0.14, "bank_transfer": 0.06, "carrier_billing": 0.06},
    "TW": {"card": 0.62, "wallet": 0.18, "convenience_store": 0.12, "bank_transfer": 0.08},
    "US": {"card": 0.66, "wallet": 0.20, "bnpl": 0.08, "bank_transfer": 0.06},
}
"""What customers of a country like to pay by; also what there is."""

_ROUTES_OF: Mapping[str, Mapping[str, str]] = {
    "card": {"KR": "north harbor delta", "JP": "north harbor summit", "TW": "north summit delta",
             "US": "north harbor summit delta"},
    "wallet": {"KR": "direct north", "JP": "direct harbor", "TW": "direct north", "US": "direct harbor"},
    "bank_transfer": {"KR": "bankline clearway", "JP": "bankline", "TW": "bankline clearway", "US": "bankline"},
    "quick_pay": {"KR": "direct", "TW": "direct"},
    "carrier_billing": {"KR": "telco", "JP": "telco"},
    "convenience_store": {"JP": "storelink", "TW": "storelink"},
    "bnpl": {"US": "direct"},
}  # fmt: skip
_ROUTE_LEAN: Mapping[str, Mapping[str, float]] = {
    "KR": {"north": 0.7, "direct": 0.6, "bankline": 0.5},
    "JP": {"harbor": 0.6, "direct": 0.6},
    "TW": {"summit": 0.4, "north": 0.3, "direct": 0.5, "bankline": 0.4},
    "US": {"delta": 0.4, "summit": 0.4, "direct": 0.6},
}
_FLOWS_OF: Mapping[str, str] = {
    "card": "none frictionless challenge",
    "wallet": "none frictionless",
    "bank_transfer": "redirect",
    "quick_pay": "none frictionless",
    "carrier_billing": "challenge",
    "convenience_store": "none",
    "bnpl": "redirect",
}
_FLOW_LEAN: Mapping[str, tuple[float, float, float, float]] = {
    "none": (-0.3, -0.6, -0.6, 0.5),
    "frictionless": (0.3, 0.0, 0.0, 0.2),
    "challenge": (0.1, 0.5, 0.8, -0.7),
    "redirect": (0.0, 0.0, 0.0, 0.0),
}
_STEPS: Mapping[tuple[str, str], tuple[int, int, int, int]] = {
    ("card", "challenge"): (2, 1, 1, 1),
    ("wallet", "frictionless"): (1, 1, 1, 1),
    ("bank_transfer", "redirect"): (4, 3, 3, 2),
    ("quick_pay", "frictionless"): (1, 1, 1, 1),
    ("carrier_billing", "challenge"): (2, 1, 1, 1),
    ("bnpl", "redirect"): (2, 2, 2, 2),
}
_USUAL_FLOW: Mapping[str, str] = {
    "card": "frictionless", "wallet": "none", "bank_transfer": "redirect", "quick_pay": "none",
    "carrier_billing": "challenge", "convenience_store": "none", "bnpl": "redirect",
}  # fmt: skip

Effects = Mapping[str, Mapping[str, float]]

_NUMBERS: Effects = {
    "ln_steps": {"leave": 0.85, "auth": 0.55},
    "ln_rtt": {"route": 2.76, "leave": 1.55},
    "ln_form": {"leave": 1.9},
    "form_errors": {"leave": 1.46, "auth": 1.13},
    "amount": {"leave": 0.34, "funds": 1.98, "risk": 1.13},
    "first": {"leave": 0.60, "auth": 1.40, "risk": 1.40},
    "ln_prior": {"leave": -0.34, "auth": -0.34, "risk": -0.95},
    "ln_tenure": {"risk": -0.14},
    "payday": {"funds": 0.6},
    "weekend": {"leave": 0.17},
    "stored": {"leave": -1.55, "risk": -1.72},
    "token": {"risk": -1.72},
    "cross_border": {"auth": 2.07, "risk": 4.48},
    "expired": {"risk": 9.0},
    "debit": {"funds": 2.42},
    "prepaid": {"funds": 3.45, "risk": 3.1},
    "earlier": {"leave": 0.17, "risk": 0.17},
    "recurring": {"leave": -8.0, "auth": -1.2, "funds": 0.75},
}
_BY_COUNTRY: Effects = {
    "KR": {"route": -5.85, "issuer": -5.85, "leave": -5.65, "auth": -5.55, "funds": -5.95, "risk": -3.95},
    "JP": {"route": -6.05, "issuer": -5.85, "leave": -5.45, "auth": -5.15, "funds": -5.95, "risk": -3.35},
    "TW": {"route": -5.65, "issuer": -5.55, "leave": -5.55, "auth": -5.45, "funds": -5.75, "risk": -3.65},
    "US": {"route": -6.05, "issuer": -6.05, "leave": -5.65, "auth": -5.85, "funds": -5.75, "risk": -2.85},
}
_BY_METHOD: Effects = {
    "card": {},
    "wallet": {"leave": -0.6, "auth": -1.35, "funds": -0.45, "risk": -2.25, "route": -0.3},
    "bank_transfer": {"leave": 0.3, "auth": 0.0, "funds": -0.3, "risk": -3.75, "route": 0.75},
    "quick_pay": {"leave": -0.75, "auth": -1.2, "funds": -0.45, "risk": -3.3},
    "carrier_billing": {"leave": 0.3, "auth": -0.45, "funds": 0.45, "risk": -2.4, "route": 0.45},
    "convenience_store": {"leave": 3.15, "auth": -9.0, "funds": -9.0, "risk": -9.0},
    "bnpl": {"leave": 0.6, "auth": -0.75, "funds": -0.3, "risk": -0.3},
}
_BY_ROUTE: Effects = {
    "north": {"route": -0.45},
    "harbor": {"route": 0.15, "risk": -0.22},
    "summit": {"route": 0.75, "risk": -0.75},
    "delta": {"route": 2.1, "risk": 1.05},
    "direct": {"route": -0.6},
    "bankline": {"route": 0.3},
    "clearway": {"route": -0.3, "leave": 0.38},
    "telco": {},
    "storelink": {"route": -1.2},
}
_BY_FLOW: Effects = {
    "none": {"auth": 0.3},
    "frictionless": {"auth": 0.15, "risk": -0.9},
    "challenge": {"leave": 1.42, "auth": 2.25, "risk": -3.0, "route": 0.3},
    "redirect": {"leave": 0.9, "auth": 0.75, "route": 0.3},
}
_BY_CHANNEL: Effects = {
    "ios_app": {},
    "android_app": {},
    "mobile_web": {"leave": 1.22},
    "desktop_web": {},
    "in_app_browser": {"leave": 1.82},
    "server": {},
}
_BY_CATEGORY: Effects = {
    "fashion": {},
    "electronics": {"risk": 1.01},
    "groceries": {"risk": -2.03},
    "games": {"risk": 3.24, "funds": 1.82},
    "travel": {},
    "beauty": {},
}
_FLOW_CHANNEL: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("challenge", "in_app_browser"): {"leave": 0.5, "auth": 0.4, "route": 0.3},
    ("redirect", "in_app_browser"): {"leave": 0.6, "auth": 0.25, "route": 0.45},
    ("redirect", "desktop_web"): {"leave": -0.2},
    ("challenge", "ios_app"): {"leave": -0.15, "auth": -0.15},
}
_FIRST_METHOD: Effects = {
    "bank_transfer": {"leave": 0.0, "auth": -0.3},
    "bnpl": {"leave": 0.2, "risk": 0.3},
    "quick_pay": {"risk": -0.4, "auth": -0.3},
}
_AMOUNT_METHOD: Effects = {
    "carrier_billing": {"funds": 0.4},
}
_AMOUNT_FLOW: Effects = {"none": {"auth": 0.35}}
_NIGHT_COUNTRY: Effects = {"JP": {"risk": 0.3}, "US": {"risk": 0.7}}
_MAINTENANCE_METHOD: Effects = {"bank_transfer": {"route": 1.2}, "quick_pay": {"route": 0.6}}

_HIDDEN: Mapping[str, tuple[float, float, float]] = {
    "leave": (0.21, 0.0, -0.21),  # impatient, usual, patient
    "auth": (0.21, 0.0, -0.21),  # clumsy, usual, skilled
    "funds": (0.25, 0.0, -0.25),  # short of money, usual, well off
    "risk": (0.0, 0.0, 0.0),
}
_PRIORS: Mapping[str, tuple[tuple[float, float, float], ...]] = {
    "KR": ((0.30, 0.50, 0.20), (0.20, 0.50, 0.30), (0.25, 0.45, 0.30)),
    "JP": ((0.20, 0.50, 0.30), (0.30, 0.50, 0.20), (0.20, 0.50, 0.30)),
    "TW": ((0.25, 0.50, 0.25), (0.25, 0.50, 0.25), (0.30, 0.45, 0.25)),
    "US": ((0.30, 0.45, 0.25), (0.25, 0.50, 0.25), (0.35, 0.40, 0.25)),
}
_RETRY_PATIENCE = (-1.0, 0.1, 1.0)
_RETRY_HURDLE: Mapping[str, float] = {
    "route": 1.1, "issuer": 0.7, "leave": 0.1, "auth": 1.0, "funds": 0.7, "risk": 0.6,
}  # fmt: skip
_LASTS: Mapping[str, tuple[float, float, float]] = {
    "route": (1.2, 0.05, 0.6), "issuer": (2.0, 0.05, 0.5), "leave": (3.6, 0.10, 1.1), "auth": (2.6, 0.20, 0.5),
    "funds": (1.1, 0.45, 0.45), "risk": (1.1, 0.45, 0.45), "success": (1.0, 0.45, 0.45),
}  # fmt: skip
"""ln seconds, ln seconds per step, spread, of what ends there."""

_PAYDAYS: Mapping[str, tuple[int, ...]] = {"KR": (10, 25), "JP": (10, 25), "TW": (5, 20), "US": (1, 15)}
"""Days of the month; the days before one are short of money."""

_Array = npt.NDArray[np.float64]


def _table(members: tuple[str, ...], effects: Effects) -> _Array:
    return np.array([[effects.get(member, {}).get(k, 0.0) for k in HURDLES] for member in members])


def _issuer_effects() -> tuple[_Array, _Array, _Array, _Array]:
    """Effects [issuer, 6], of (issuer, flow) on authentication, of (issuer, route) on risk; and how much is masked.

    Issuers come in few sorts: strict or lenient, with a weak or a sound challenge page, some that want authentication
    always, some that shun one route. So there is something to learn of each that a month of attempts can teach.
    """
    rng = np.random.default_rng(2026)
    n = len(ISSUERS)
    own = np.zeros((n, len(HURDLES)))
    own[:, HURDLES.index("risk")] = rng.choice([-0.55, 0.0, 0.7], n, p=[0.3, 0.4, 0.3])
    flow = np.zeros((n, len(FLOWS)))
    flow[:, FLOWS.index("challenge")] = rng.choice([-0.25, 0.7], n, p=[0.65, 0.35])
    flow[:, FLOWS.index("none")] = rng.choice([-0.25, 1.1], n, p=[0.75, 0.25])
    route = np.zeros((n, len(ROUTES)))
    shunned = rng.choice([ROUTES.index(name) for name in ("north", "harbor", "summit", "delta")], n)
    route[np.arange(n), shunned] = np.where(rng.random(n) < 0.3, 0.8, 0.0)
    return own, flow, route, rng.uniform(0.3, 0.7, n)


def issuer_masking() -> _Array:
    """How often each issuer says no more than "declined" when it declines, shape (issuers,)."""
    return _issuer_effects()[3]


def _calendar(start: datetime, hours: int) -> _Array:
    """Per country and hour since the start: night, the banks' nightly maintenance, days before pay-day, weekend."""
    out = np.zeros((len(COUNTRIES), hours, 4))
    for c, country in enumerate(COUNTRIES):
        for h in range(hours):
            local = start + timedelta(hours=h + OFFSET_HOURS[country])
            out[c, h, 0] = local.hour < 6
            out[c, h, 1] = local.hour == 0 or local.hour == 23
            out[c, h, 2] = any((local + timedelta(days=d)).day in _PAYDAYS[country] for d in (1, 2, 3))
            out[c, h, 3] = local.weekday() >= 5
    return out


def _members(table: Mapping[str, Mapping[str, str]]) -> npt.NDArray[np.bool_]:
    return np.array(
        [
            [[route in table[method].get(country, "").split() for route in ROUTES] for method in METHODS]
            for country in COUNTRIES
        ]
    )


def _steps() -> npt.NDArray[np.int64]:
    nothing = (0, 0, 0, 0)
    return np.array(
        [[[_STEPS.get((method, flow), nothing)[c] for flow in FLOWS] for method in METHODS] for c in range(4)]
    )


def _effects() -> tuple[_Array, npt.NDArray[np.int64]]:
    """All effects, [row, 6], and the first row of each block."""
    own, issuer_flow, issuer_route, _ = _issuer_effects()
    pairs = [_FLOW_CHANNEL.get((flow, channel), {}) for flow in FLOWS for channel in CHANNELS]
    blocks = {
        "numbers": _table(NUMBERS, _NUMBERS),
        "country": _table(COUNTRIES, _BY_COUNTRY),
        "method": _table(METHODS, _BY_METHOD),
        "route": _table(ROUTES, _BY_ROUTE),
        "flow": _table(FLOWS, _BY_FLOW),
        "channel": _table(CHANNELS, _BY_CHANNEL),
        "category": _table(MERCHANT_CATEGORIES, _BY_CATEGORY),
        "issuer": own,
        "flow_channel": np.array([[pair.get(k, 0.0) for k in HURDLES] for pair in pairs]),
        "first_method": _table(METHODS, _FIRST_METHOD),
        "amount_method": _table(METHODS, _AMOUNT_METHOD),
        "amount_flow": _table(FLOWS, _AMOUNT_FLOW),
        "night_country": _table(COUNTRIES, _NIGHT_COUNTRY),
        "maintenance_method": _table(METHODS, _MAINTENANCE_METHOD),
        "issuer_flow": _only("auth", issuer_flow),
        "issuer_route": _only("risk", issuer_route),
    }
    rows = [blocks[name] for name in BLOCKS]
    return np.concatenate(rows), np.cumsum([0] + [len(block) for block in rows[:-1]])


def _only(hurdle: str, values: _Array) -> _Array:
    """A block of effects on one hurdle, a row for each value."""
    out = np.zeros((values.size, len(HURDLES)))
    out[:, HURDLES.index(hurdle)] = values.ravel()
    return out


def _method_facts() -> npt.NDArray[np.int64]:
    card = [method == "card" for method in METHODS]
    return np.stack(
        [
            [FLOWS.index(_USUAL_FLOW[method]) for method in METHODS],
            np.where(card, FLOWS.index("challenge"), -1),
            np.where(card, FLOWS.index("frictionless"), -1),
            card,
            [method in {"card", "wallet", "quick_pay"} for method in METHODS],
        ],
        axis=1,
    )


def market(story: Story, start: datetime, hours: int) -> Market:
    """The market's tables for a story whose clock runs from `start` for so many hours."""
    effects, block = _effects()
    health = (story.route_health, story.issuer_health)
    hidden = {**_HIDDEN, "route": (0.0, health[0].illness, 0.0), "issuer": (0.0, health[1].illness, 0.0)}
    return Market(
        effects=effects,
        block=block,
        calendar=_calendar(start, hours),
        hidden=np.array([hidden[k] for k in HURDLES]),
        priors=np.array([_PRIORS[country] for country in COUNTRIES]),
        health=np.array([(kind.share_ill, kind.rate) for kind in health]),
        retry_patience=np.array(_RETRY_PATIENCE),
        retry_hurdle=np.array([_RETRY_HURDLE[k] for k in HURDLES]),
        reason_odds=reason_odds(),
        reasons=reason_facts(),
        advice=advice(),
        duration=np.array([_LASTS[k] for k in (*HURDLES, "success")]),
        routes=_members(_ROUTES_OF),
        flows=np.array([[flow in _FLOWS_OF[method].split() for flow in FLOWS] for method in METHODS]),
        methods=np.array([[method in METHOD_SHARES[country] for method in METHODS] for country in COUNTRIES]),
        route_lean=np.array([[_ROUTE_LEAN[c].get(route, 0.0) for route in ROUTES] for c in COUNTRIES]),
        flow_lean=np.array([_FLOW_LEAN[flow] for flow in FLOWS]),
        steps=_steps(),
        issuer_steps=np.arange(len(ISSUERS)) % 3 // 2,
        method_facts=_method_facts(),
        flow_facts=np.array(
            [(flow in {"challenge", "redirect"}, flow in {"frictionless", "challenge"}) for flow in FLOWS], np.int64
        ),
        gateway=np.array([country in story.gateway_countries for country in COUNTRIES], np.int64),
        gateway_method=np.array([METHODS.index("bank_transfer"), METHODS.index("quick_pay")]),
    )
