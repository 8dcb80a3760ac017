"""What values of the attempts table may be: vocabularies, ranges, lengths; for files and requests alike."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf

__all__ = [
    "COUNTRY_COLUMNS",
    "EARLIEST",
    "LENGTHS",
    "RANGES",
    "TOLERANCE_AHEAD",
    "VOCABULARIES",
    "Range",
]

VOCABULARIES: dict[str, tuple[str, ...]] = {
    "channel": ("ios_app", "android_app", "mobile_web", "desktop_web", "in_app_browser", "server"),
    "card_funding": ("credit", "debit", "prepaid"),
    "auth_flow": ("none", "frictionless", "challenge", "redirect"),
    "auth_exemption": (
        "none",
        "low_value",
        "risk_analysis",
        "recurring",
        "trusted_merchant",
        "secure_corporate",
    ),
    "trans_status": ("Y", "A", "N", "U", "R", "C", "I", "D"),
    "last_event": (
        "submitted",
        "challenge_shown",
        "challenge_closed",
        "redirected",
        "returned",
        "page_closed",
        "timed_out",
    ),
    "outcome": (
        "success",
        "authentication",
        "bank_decline",
        "user_abandonment",
        "technical",
        "unclassified",
    ),
}
"""Columns whose values are known in full. Every other category takes any short text."""

COUNTRY_COLUMNS = ("country", "merchant_country", "issuer_country")


_ROUNDING = 1e-12


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both allowed unless `above_low` leaves `low` out.

    >>> str(RANGES["propensity"]), str(RANGES["duration_s"])
    ('more than 0, at most 1', 'at least 0')
    """

    low: float
    high: float | None = None
    above_low: bool = False

    def __str__(self) -> str:
        low = f"more than {self.low:g}" if self.above_low else f"at least {self.low:g}"
        return low if self.high is None else f"{low}, at most {self.high:g}"

    @property
    def top(self) -> float:
        """The largest number that passes: a hair above `high`, as probabilities that are summed may be."""
        return inf if self.high is None else self.high + abs(self.high) * _ROUNDING

    def __contains__(self, number: float) -> bool:
        above = number > self.low if self.above_low else number >= self.low
        return above and number <= self.top


RANGES: dict[str, Range] = {
    "amount_minor": Range(0, 1e15),
    "customer_tenure_days": Range(0),
    "prior_payments": Range(0),
    "network_rtt_ms": Range(0),
    "form_seconds": Range(0),
    "form_errors": Range(0),
    "card_months_to_expiry": Range(-600, 600),
    "auth_steps": Range(0, 50),
    "propensity": Range(0, 1, above_low=True),
    "duration_s": Range(0),
}
"""Every number of the table. 1e15 minor units is more than any payment; floats still count them exactly."""

LENGTHS = {"string": 128, "category": 64}
"""Most characters of a text, by column type."""

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""No attempt was made before; an earlier time is a wrong unit or an empty clock."""

TOLERANCE_AHEAD = timedelta(days=1)
"""How far ahead of now a time may lie: clocks differ, but not by more than that."""
