"""Why simulated attempts fail, how long a reason lasts, what is tried next, and which codes processors send for it.

All of it is data: the orders of the hurdles, situations and actions are the kernel's, the reasons' names those of the
taxonomy, the codes those that the schemes publish for that meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from training.simulator_kernel import CONTEXTS, HURDLES, KINDS

__all__ = [
    "CATEGORY_OF", "CODES", "GENERIC_CODE", "MASTERCARD_ADVICE", "REASONS", "ROUTE_SCHEME", "SHARED_CODE", "THREE_DS",
    "Persistence", "advice", "reason_facts", "reason_odds",
]  # fmt: skip

CATEGORY_OF: Mapping[str, str] = {
    "authentication_required": "authentication",
    "authentication_failed": "authentication",
    "incorrect_otp_or_pin": "authentication",
    "auth_attempts_exceeded": "authentication",
    "not_enrolled": "authentication",
    "insufficient_funds": "bank_decline",
    "generic_decline": "bank_decline",
    "limit_exceeded": "bank_decline",
    "card_data_invalid": "bank_decline",
    "incorrect_cvv": "bank_decline",
    "lost_or_stolen": "bank_decline",
    "suspected_fraud": "bank_decline",
    "risk_block": "bank_decline",
    "account_unusable": "bank_decline",
    "not_permitted": "bank_decline",
    "authorization_revoked": "bank_decline",
    "user_cancelled": "user_abandonment",
    "session_timeout": "user_abandonment",
    "challenge_abandoned": "user_abandonment",
    "issuer_unavailable": "technical",
    "processor_error": "technical",
    "network_timeout": "technical",
    "three_ds_unavailable": "technical",
    "config_error": "technical",
    "request_error": "technical",
}
REASONS = tuple(CATEGORY_OF)
"""Every reason, in the order of the kernel's numbers."""

_ODDS: Mapping[str, Mapping[str, float]] = {
    "route_3ds": {"processor_error": 40, "network_timeout": 25, "three_ds_unavailable": 20, "config_error": 5,
                  "request_error": 10},
    "route_plain": {"processor_error": 50, "network_timeout": 34, "config_error": 6, "request_error": 10},
    "issuer": {"issuer_unavailable": 100},
    "leave_auth": {"challenge_abandoned": 62, "user_cancelled": 24, "session_timeout": 14},
    "leave_plain": {"user_cancelled": 64, "session_timeout": 36},
    "auth_none": {"authentication_required": 100},
    "auth_frictionless": {"authentication_failed": 55, "authentication_required": 30, "not_enrolled": 15},
    "auth_active_card": {"incorrect_otp_or_pin": 52, "authentication_failed": 28, "auth_attempts_exceeded": 12,
                         "not_enrolled": 8},
    "auth_active_other": {"incorrect_otp_or_pin": 58, "authentication_failed": 28, "auth_attempts_exceeded": 14},
    "funds_usual": {"insufficient_funds": 84, "limit_exceeded": 16},
    "funds_large": {"insufficient_funds": 62, "limit_exceeded": 38},
    "risk_expired": {"card_data_invalid": 92, "generic_decline": 8},
    "risk_typed": {"generic_decline": 40, "suspected_fraud": 20, "risk_block": 10, "not_permitted": 8,
                   "account_unusable": 5, "lost_or_stolen": 3, "card_data_invalid": 6, "incorrect_cvv": 8},
    "risk_stored": {"generic_decline": 50, "suspected_fraud": 20, "risk_block": 9, "not_permitted": 8,
                    "account_unusable": 8, "lost_or_stolen": 5},
    "risk_recurring": {"generic_decline": 55, "suspected_fraud": 8, "account_unusable": 15, "lost_or_stolen": 8,
                       "authorization_revoked": 14},
    "risk_other": {"generic_decline": 50, "suspected_fraud": 18, "risk_block": 14, "account_unusable": 8,
                   "not_permitted": 10},
}  # fmt: skip


class Persistence(NamedTuple):
    """What a failure does to the payment's next attempts: logits at `hurdle`, by how much of the means is the same.

    It halves every `half_life_s`, seconds since the failure was seen.
    """

    hurdle: str
    same: float
    other_flow: float
    other_route: float
    other_method: float
    half_life_s: float


_DAY, _HOUR = 86400.0, 3600.0
_PERSISTENCE: Mapping[str, Persistence] = {
    "authentication_required": Persistence("auth", 2.8, 0.0, 2.4, 0.0, 5 * _DAY),
    "authentication_failed": Persistence("auth", 1.3, 0.3, 1.0, 0.0, _DAY),
    "incorrect_otp_or_pin": Persistence("auth", 0.8, 0.1, 0.8, 0.0, _DAY),
    "auth_attempts_exceeded": Persistence("auth", 2.8, 0.3, 2.4, 0.0, _DAY),
    "not_enrolled": Persistence("auth", 2.8, 0.3, 2.4, 0.0, 30 * _DAY),
    "insufficient_funds": Persistence("funds", 2.8, 2.8, 2.8, 0.3, 4 * _DAY),
    "generic_decline": Persistence("risk", 1.5, 0.8, 0.5, 0.1, 6 * _HOUR),
    "limit_exceeded": Persistence("funds", 2.8, 2.8, 2.8, 0.3, 2 * _DAY),
    "card_data_invalid": Persistence("risk", 7.0, 7.0, 7.0, 0.0, 60 * _DAY),
    "incorrect_cvv": Persistence("risk", 0.3, 0.3, 0.3, 0.0, _DAY),
    "lost_or_stolen": Persistence("risk", 7.0, 7.0, 7.0, 0.1, 90 * _DAY),
    "suspected_fraud": Persistence("risk", 2.1, 0.8, 1.4, 0.5, 2 * _DAY),
    "risk_block": Persistence("risk", 3.1, 2.4, 2.4, 0.8, 5 * _DAY),
    "account_unusable": Persistence("risk", 7.0, 7.0, 7.0, 0.1, 90 * _DAY),
    "not_permitted": Persistence("risk", 3.5, 3.1, 1.4, 0.1, 30 * _DAY),
    "authorization_revoked": Persistence("risk", 7.0, 7.0, 7.0, 0.1, 90 * _DAY),
    "user_cancelled": Persistence("leave", 0.7, 0.1, 0.6, 0.0, 2 * _HOUR),
    "session_timeout": Persistence("leave", 0.7, 0.1, 0.6, 0.0, 2 * _HOUR),
    "challenge_abandoned": Persistence("leave", 1.0, 0.1, 0.8, 0.0, 2 * _HOUR),
    "issuer_unavailable": Persistence("issuer", 1.0, 1.0, 1.0, 0.0, 0.5 * _HOUR),
    "processor_error": Persistence("route", 1.0, 1.0, 0.0, 0.0, 0.5 * _HOUR),
    "network_timeout": Persistence("route", 0.8, 0.8, 0.1, 0.1, 0.5 * _HOUR),
    "three_ds_unavailable": Persistence("route", 1.4, 0.1, 0.8, 0.0, _HOUR),
    "config_error": Persistence("route", 3.5, 3.1, 0.1, 0.0, 2 * _DAY),
    "request_error": Persistence("route", 2.4, 2.1, 0.3, 0.1, 2 * _DAY),
}

_TIMEOUTS: Mapping[str, float] = {"network_timeout": 30.0, "three_ds_unavailable": 10.0}
"""Seconds after which such an attempt is given up, or twice that."""

_LEAN: Mapping[str, Mapping[str, float]] = {
    "authentication": {"same": 0.8, "step_up": 0.8, "ease": 0.6, "other_method": 0.2, "later": -1.0},
    "bank_decline": {"same": 0.3, "other_route": 0.3, "step_up": 0.3, "other_method": 0.4, "later": -0.6},
    "user_abandonment": {"same": 0.6, "resume": 1.2, "ease": 0.8, "other_method": 0.2, "later": -0.8},
    "technical": {"same": 0.6, "other_route": 1.1, "later": -0.4, "other_method": 0.0},
}
_LEAN_REASON: Mapping[str, Mapping[str, float]] = {
    "insufficient_funds": {"other_method": 0.9, "same": 0.0},
    "suspected_fraud": {"step_up": 1.2},
    "issuer_unavailable": {"later": 0.5, "other_method": 0.8},
    "card_data_invalid": {"other_method": 1.0},
}


def _grid(rows: Mapping[str, Mapping[str, float]], names: tuple[str, ...]) -> npt.NDArray[np.float64]:
    return np.array([[row.get(name, 0.0) for name in names] for row in rows.values()])


def reason_odds() -> npt.NDArray[np.float64]:
    """Cumulative probabilities of the reasons in each of the kernel's situations, [CONTEXTS, REASONS]."""
    odds = _grid({context: _ODDS[context] for context in CONTEXTS}, REASONS)
    cumulative = np.cumsum(odds / odds.sum(axis=1, keepdims=True), axis=1)
    return np.where(cumulative > 1.0 - 1e-9, 1.0, cumulative)


def reason_facts() -> npt.NDArray[np.float64]:
    """Each reason's persistence, the number of the hurdle where it persists, and its fixed seconds, [REASONS, 7]."""
    rows = [(reason, _PERSISTENCE[reason]) for reason in REASONS]
    return np.array([(*row[1:], HURDLES.index(row.hurdle), _TIMEOUTS.get(reason, 0.0)) for reason, row in rows])


def advice() -> npt.NDArray[np.float64]:
    """What the logged policy leans to after each reason, [REASONS, KINDS]."""
    rows = {reason: {**_LEAN[CATEGORY_OF[reason]], **_LEAN_REASON.get(reason, {})} for reason in REASONS}
    return _grid(rows, KINDS)


ROUTE_SCHEME: Mapping[str, str] = {
    "north": "iso8583",
    "harbor": "iso8583",
    "summit": "stripe",
    "delta": "adyen",
    "direct": "adyen",
    "bankline": "iso8583",
    "clearway": "iso8583",
}
"""Whose codes a route passes on; routes that are not here send none."""

CODES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "iso8583": {
        "authentication_required": ("70",), "incorrect_otp_or_pin": ("55",), "auth_attempts_exceeded": ("75", "38"),
        "insufficient_funds": ("51",), "generic_decline": ("05",), "limit_exceeded": ("61", "65"),
        "card_data_invalid": ("54", "14"), "lost_or_stolen": ("41", "43"), "suspected_fraud": ("59", "34"),
        "account_unusable": ("78", "42"), "not_permitted": ("57", "62"), "issuer_unavailable": ("91",),
        "processor_error": ("96", "06"), "network_timeout": ("68",), "config_error": ("58", "03"),
        "request_error": ("12", "30"),
    },
    "stripe": {
        "authentication_required": ("authentication_required",), "incorrect_otp_or_pin": ("incorrect_pin",),
        "auth_attempts_exceeded": ("pin_try_exceeded",), "insufficient_funds": ("insufficient_funds",),
        "generic_decline": ("generic_decline", "do_not_honor"), "limit_exceeded": ("card_velocity_exceeded",),
        "card_data_invalid": ("expired_card", "incorrect_number"), "incorrect_cvv": ("incorrect_cvc",),
        "lost_or_stolen": ("lost_card", "stolen_card"), "suspected_fraud": ("security_violation",),
        "risk_block": ("fraudulent",), "account_unusable": ("invalid_account",),
        "not_permitted": ("transaction_not_allowed", "card_not_supported"),
        "authorization_revoked": ("revocation_of_authorization",), "issuer_unavailable": ("issuer_not_available",),
        "processor_error": ("processing_error",),
    },
    "adyen": {
        "authentication_required": ("38",), "authentication_failed": ("11",), "incorrect_otp_or_pin": ("17",),
        "auth_attempts_exceeded": ("18",), "insufficient_funds": ("12",), "generic_decline": ("2", "27"),
        "limit_exceeded": ("28",), "card_data_invalid": ("6", "8"), "incorrect_cvv": ("24",),
        "suspected_fraud": ("31",), "risk_block": ("20", "14"), "account_unusable": ("5",), "not_permitted": ("23",),
        "authorization_revoked": ("26",), "user_cancelled": ("16",), "issuer_unavailable": ("9",),
        "processor_error": ("4",), "three_ds_unavailable": ("42",), "request_error": ("21",),
    },
}  # fmt: skip
"""Codes that say a reason, likeliest first; a reason that is not here has none in that scheme."""

GENERIC_CODE: Mapping[str, str] = {"iso8583": "05", "stripe": "do_not_honor", "adyen": "2"}
"""What a bank that will not say why sends."""

SHARED_CODE: Mapping[str, str] = {"stripe": "authentication_not_handled", "adyen": "11"}
"""One code for failed authentication and for a challenge that the customer closed."""

THREE_DS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "authentication_failed": ("N", ("01", "02", "09", "15")),
    "incorrect_otp_or_pin": ("N", ("01", "")),
    "auth_attempts_exceeded": ("N", ("19", "04")),
    "not_enrolled": ("N", ("13", "03")),
    "authentication_required": ("C", ("",)),
    "challenge_abandoned": ("N", ("", "14", "26")),
    "user_cancelled": ("N", ("", "01")),
    "session_timeout": ("N", ("14", "")),
    "three_ds_unavailable": ("U", ("22",)),
}
"""3-D Secure status and reasons (one of them; empty: none) of what fails before the bank is asked."""

MASTERCARD_ADVICE: Mapping[str, tuple[str, ...]] = {
    "insufficient_funds": ("02", "24", "25"),
    "generic_decline": ("02", "24", "03"),
    "limit_exceeded": ("25", "02"),
    "card_data_invalid": ("01",),
    "lost_or_stolen": ("03",),
    "suspected_fraud": ("03", "02"),
    "account_unusable": ("03", "01"),
    "not_permitted": ("03",),
    "authorization_revoked": ("21",),
}
"""The network's advice on retrying, one of them."""
