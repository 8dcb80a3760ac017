"""What each feature is called, means, is measured in, and whether someone can act on it.

The order here is the order of the columns that `features.kernel` fills; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from features.columns import CATEGORIES

__all__ = [
    "EVIDENCE_CODES",
    "EVIDENCE_NUMBERS",
    "GROUPS",
    "HALF_LIVES",
    "KEYS",
    "RAW_CODES",
    "RAW_NUMBERS",
    "Feature",
    "Key",
    "feature_names",
    "features",
]

GROUPS = (
    "customer",
    "amount",
    "method",
    "route",
    "authentication",
    "issuer",
    "device",
    "form",
    "history",
    "calendar",
)

RAW_NUMBERS = (
    "amount_minor",
    "recurring",
    "customer_tenure_days",
    "prior_payments",
    "network_rtt_ms",
    "form_seconds",
    "form_errors",
    "stored",
    "network_token",
    "card_months_to_expiry",
    "auth_steps",
)
"""Number columns of the attempts table, in the order in which the kernel reads them."""

RAW_CODES = (
    "currency",
    "country",
    "merchant_country",
    "merchant_category",
    "channel",
    "method",
    "card_brand",
    "card_funding",
    "issuer",
    "issuer_country",
    "route",
    "auth_flow",
    "auth_exemption",
)
"""Category columns of the attempts table, in the order in which the kernel reads their codes."""

EVIDENCE_NUMBERS = ("duration_s",)
EVIDENCE_CODES = ("response_code", "advice_code", "trans_status", "trans_status_reason", "last_event")
"""What an ended attempt leaves behind, as the diagnosis reads it. `response_code` is taken with its scheme."""

HALF_LIVES = (("1h", 1.0), ("1d", 24.0), ("30d", 720.0))
"""Name and length, in hours, of the half-lives with which past outcomes fade."""


@dataclass(frozen=True)
class Key:
    """What past outcomes are counted by. A `needed` part that is missing means: no past to look at."""

    name: str
    label: str
    parts: tuple[str, ...]
    needed: bool
    group: str


KEYS = (
    Key("all", "all payments", (), needed=False, group="history"),
    Key("issuer", "this issuer", ("issuer",), needed=True, group="issuer"),
    Key("route", "this route", ("route",), needed=True, group="route"),
    Key("method", "this method in this country", ("country", "method"), needed=False, group="method"),
    Key("issuer_route", "this issuer on this route", ("issuer", "route"), needed=True, group="issuer"),
    Key("customer", "this customer", ("customer_id",), needed=True, group="customer"),
    Key(
        "customer_method",
        "this customer with this method",
        ("customer_id", "method"),
        needed=True,
        group="customer",
    ),
    Key(
        "way",
        "this way to pay (country, method, brand, route and authentication together)",
        ("country", "method", "card_brand", "route", "auth_flow"),
        needed=False,
        group="route",
    ),
)


@dataclass(frozen=True)
class Feature:
    """One column of the matrix that the model sees.

    `group` is one of GROUPS; `actionable`: checkout, the merchant or its processors can change it; `categories`, the column
    whose vocabulary its codes come from, None for a number; `cycle_days`, the length of the cycle that it runs through: a
    model cannot learn it from a shorter window.
    """

    name: str
    label: str
    unit: str
    group: str
    actionable: bool
    categories: str | None = None
    cycle_days: float = 0.0


def _raw() -> Iterator[Feature]:
    yield Feature("amount", "amount", "major units of the currency", "amount", actionable=False)
    yield Feature("recurring", "charged with no customer present", "0 or 1", "customer", actionable=False)
    yield Feature("customer_tenure_days", "age of the customer's account", "days", "customer", actionable=False)
    yield Feature(
        "prior_payments",
        "the customer's successful payments before",
        "payments",
        "customer",
        actionable=False,
    )
    yield Feature("network_rtt_ms", "network round trip", "ms", "device", actionable=True)
    yield Feature("form_seconds", "time on the payment form", "s", "form", actionable=True)
    yield Feature("form_errors", "errors shown on the payment form", "errors", "form", actionable=True)
    yield Feature("stored", "credential on file", "0 or 1", "method", actionable=True)
    yield Feature("network_token", "network token instead of the card number", "0 or 1", "method", actionable=True)
    yield Feature("card_months_to_expiry", "time until the card expires", "months", "method", actionable=True)
    yield Feature(
        "auth_steps",
        "passwords, codes and confirmations asked for",
        "steps",
        "authentication",
        actionable=True,
    )
    for name, label, group, actionable in (
        ("currency", "currency", "amount", False),
        ("country", "buyer's country", "customer", False),
        ("merchant_country", "merchant's country", "amount", False),
        ("merchant_category", "kind of merchant", "amount", False),
        ("channel", "app, browser or server", "device", False),
        ("method", "payment method", "method", True),
        ("card_brand", "card brand", "method", False),
        ("card_funding", "credit, debit or prepaid", "method", False),
        ("issuer", "issuer", "issuer", False),
        ("issuer_country", "issuer's country", "issuer", False),
        ("route", "processor or acquirer", "route", True),
        ("auth_flow", "authentication flow", "authentication", True),
        ("auth_exemption", "exemption from authentication", "authentication", True),
    ):
        yield Feature(name, label, "category", group, actionable, categories=name)


def _computed() -> Iterator[Feature]:
    yield Feature("first_time", "first payment of this customer", "0 or 1", "customer", actionable=False)
    yield Feature(
        "amount_against_usual",
        "amount against the usual one in its currency",
        "doublings (log2)",
        "amount",
        actionable=False,
    )
    yield Feature("cross_border", "issuer abroad, seen from the merchant", "0 or 1", "issuer", actionable=True)
    yield Feature("hour", "hour of the day where the buyer is", "h", "calendar", actionable=False, cycle_days=1.0)
    yield Feature("weekend", "weekend where the buyer is", "0 or 1", "calendar", actionable=False, cycle_days=7.0)
    yield Feature(
        "day_of_month",
        "day of the month where the buyer is",
        "day",
        "calendar",
        actionable=False,
        cycle_days=31.0,
    )


def _payment() -> Iterator[Feature]:
    yield Feature(
        "attempts_before",
        "earlier attempts to pay for the same purchase",
        "attempts",
        "history",
        actionable=True,
    )
    for category in CATEGORIES:
        yield Feature(
            f"{category}_before",
            f"earlier attempts of this purchase that ended in {category.replace('_', ' ')}",
            "attempts",
            "history",
            actionable=True,
        )
    yield Feature(
        "last_outcome",
        "how the last attempt ended",
        "category",
        "history",
        actionable=False,
        categories="outcome",
    )
    yield Feature(
        "last_reason",
        "why the last attempt failed",
        "category",
        "history",
        actionable=False,
        categories="reason",
    )
    yield Feature("seconds_since_last", "time since the last attempt began", "s", "history", actionable=True)
    yield Feature("last_duration_s", "how long the last attempt took", "s", "history", actionable=False)
    yield Feature("same_method", "same method as the last attempt", "0 or 1", "history", actionable=True)
    yield Feature("same_route", "same route as the last attempt", "0 or 1", "history", actionable=True)
    yield Feature("same_flow", "same authentication flow as the last attempt", "0 or 1", "history", actionable=True)
    yield Feature(
        "method_tries",
        "earlier attempts of this purchase with this method",
        "attempts",
        "history",
        actionable=True,
    )
    yield Feature(
        "route_tries",
        "earlier attempts of this purchase on this route",
        "attempts",
        "history",
        actionable=True,
    )
    yield Feature(
        "way_tries",
        "earlier attempts of this purchase with this method, on this route, authenticated this way",
        "attempts",
        "history",
        actionable=True,
    )
    yield Feature(
        "method_last_reason",
        "why the last attempt with this method failed",
        "category",
        "history",
        actionable=False,
        categories="reason",
    )
    yield Feature(
        "seconds_since_method", "time since the last attempt with this method began", "s", "history", actionable=True
    )
    yield Feature(
        "method_same_route", "same route as the last attempt with this method", "0 or 1", "history", actionable=True
    )
    yield Feature(
        "method_same_flow",
        "same authentication flow as the last attempt with this method",
        "0 or 1",
        "history",
        actionable=True,
    )


_SPOKEN = {"1h": "1 h", "1d": "1 day", "30d": "30 days"}


def _rates() -> Iterator[Feature]:
    for key in KEYS:
        for name, _ in HALF_LIVES:
            yield Feature(
                f"{key.name}_success_rate_{name}",
                f"recent success of {key.label} (half-life {_SPOKEN[name]})",
                "share of attempts",
                key.group,
                actionable=key.name in {"route", "method", "issuer_route", "way"},
            )
    for name, label in (("issuer", "this issuer"), ("route", "this route")):
        group = name
        yield Feature(
            f"{name}_technical_rate_1h",
            f"technical failures of {label} (half-life 1 h)",
            "share of attempts",
            group,
            actionable=True,
        )
        yield Feature(
            f"{name}_technical_streak",
            f"technical failures of {label} in a row, just now",
            "attempts",
            group,
            actionable=True,
        )
    yield Feature(
        "issuer_bank_decline_rate_1d",
        "declines by this issuer (half-life 1 day)",
        "share of attempts",
        "issuer",
        actionable=False,
    )
    for category in CATEGORIES:
        yield Feature(
            f"customer_{category}_rate_30d",
            f"this customer's attempts that end in {category.replace('_', ' ')} (half-life 30 days)",
            "share of attempts",
            "customer",
            actionable=False,
        )
    yield Feature(
        "customer_attempts_1h",
        "this customer's attempts just now (half-life 1 h)",
        "attempts",
        "customer",
        actionable=False,
    )
    yield Feature(
        "customer_attempts_30d",
        "this customer's attempts lately (half-life 30 days)",
        "attempts",
        "customer",
        actionable=False,
    )
    yield Feature(
        "customer_method_attempts_30d",
        "this customer's attempts with this method (half-life 30 days)",
        "attempts",
        "customer",
        actionable=False,
    )
    for category in CATEGORIES:
        yield Feature(
            f"customer_{category}_against_usual",
            f"how often this customer's attempts end in {category.replace('_', ' ')}, against what is usual for how they paid",
            "times the usual",
            "customer",
            actionable=False,
        )
    yield Feature(
        "amount_against_paid",
        "amount against the largest that this customer has paid",
        "doublings (log2)",
        "customer",
        actionable=False,
    )
    yield Feature(
        "amount_against_declined",
        "amount against the smallest that this customer's bank has declined",
        "doublings (log2)",
        "customer",
        actionable=False,
    )


@cache
def features() -> tuple[Feature, ...]:
    """Every feature, in the order of the matrix's columns."""
    return (*_raw(), *_computed(), *_payment(), *_rates())


@cache
def feature_names() -> tuple[str, ...]:
    """Names of the matrix's columns.

    >>> feature_names()[:2]
    ('amount', 'recurring')
    """
    return tuple(feature.name for feature in features())
