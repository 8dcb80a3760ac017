"""What the service counts, by name, and where each number stands among a worker's cells (`serving/cells.py`).

Labels come from fixed lists, so that no request can make new series.
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

from models.actions import ACTIONS

__all__ = [
    "ACTION", "AT", "CAUSE", "CAUSES", "CLASSES", "CODE", "CODES", "DELAY_S", "LATENCY_S", "NO_SUCH", "OTHER_ROUTE", "PARTS",
    "ROUTE", "ROUTES", "SHADOWS", "SINGLE_AT", "TIMED", "WINDOW_MIN",
]  # fmt: skip

ROUTES = (
    "/v1/score",
    "/v1/score/batch",
    "/v1/outcomes",
    "/v1/messages/",
    "/v1/model",
    "/insights",
    "/insights/",
    "/readyz",
    "/livez",
    "/metrics",
    "other",
)
CAUSES = ("no_model", "deadline", "error", "state")
"""Why the rules answered in place of a model, or a model without the state of the last minutes."""

CODES = (
    *("unauthorized", "forbidden", "other_host", "card_number", "security_code", "invalid_request", "malformed_json"),
    *("nested_too_deeply", "body_too_large", "headers_too_large", "unsupported_media_type", "invalid_header"),
    *("not_found", "method_not_allowed", "no_such_locale", "body_too_slow", "overloaded", "draining"),
    "no_such_page",
    *("conflicting_outcome", "log_unavailable", "no_log", "malformed_http", "internal_error", "other"),
)
"""Codes of problem documents."""

PARTS = ("log", "registry", "state")
"""What a worker stands on beside itself; one that it was not given is not told of."""

SHADOWS = ("scored", "dropped", "failed")
"""What becomes of what is offered to challengers in shadow."""

LATENCY_S = (0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
DELAY_S = (1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0)
TIMED = ROUTES[:3]
CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
WINDOW_MIN = 60


class Places(NamedTuple):
    """Where each kind of number begins among the cells."""

    requests: int
    latency: int
    degraded: int
    suggestions: int
    problems: int
    delay: int
    calibration: int
    outcomes: int
    single: int
    end: int


_HOOKED = (
    *("access_log_dropped", "log_dropped", "log_backlog", "state_behind"),
    *(f"{part}_down" for part in PARTS),
    *(f"shadow_{result}" for result in SHADOWS),
)
_SINGLE = ("state_misses", "shed", "model_from", *_HOOKED)
NO_SUCH = -1.0  # of a part that a worker was not given
_SIZES = (
    len(ROUTES) * len(CLASSES),
    len(TIMED) * (len(LATENCY_S) + 2),  # buckets, the one beyond them, the sum
    len(CAUSES),
    len(ACTIONS),
    len(CODES),
    len(DELAY_S) + 2,
    (WINDOW_MIN + 1) * 4,  # minute, outcomes, predicted, observed
    2,
    len(_SINGLE),
)
AT = Places(*accumulate((0, *_SIZES)))
ROUTE = {route: i for i, route in enumerate(ROUTES)} | {"/healthz": ROUTES.index("/livez")}
OTHER_ROUTE = len(ROUTES) - 1
CAUSE = {cause: AT.degraded + i for i, cause in enumerate(CAUSES)}
ACTION = {action: AT.suggestions + i for i, action in enumerate(ACTIONS)}
CODE = {code: AT.problems + i for i, code in enumerate(CODES)}
SINGLE_AT = {name: AT.single + i for i, name in enumerate(_SINGLE)}
