"""The policy of today's routers: success rates over the last outcomes of each way to pay, with elimination."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from features.errors import BadInput, Fault
from models.policies import LEAST_PROPENSITY, Decision, Way

__all__ = ["SuccessRate"]

Key = tuple[str | None, str, str | None, str | None]

_WAY = ("country", "method", "route", "auth_flow")

_FLOOR_SLACK = 1e-12
_MOST_WINDOWS = 20_000


class _Window:
    """The last outcomes of one way, and how many of them succeeded."""

    __slots__ = ("hits", "outcomes", "since")

    def __init__(self, size: int) -> None:
        self.outcomes: deque[bool] = deque(maxlen=size)
        self.hits = 0
        self.since = 0  # microseconds: when the last outcome came

    def record(self, succeeded: bool, at: int) -> None:
        if len(self.outcomes) == self.outcomes.maxlen:
            self.hits -= self.outcomes[0]
        self.outcomes.append(succeeded)
        self.hits += succeeded
        self.since = max(self.since, at)


@dataclass
class SuccessRate:
    """Takes the way (country, method, route, authentication) with the best rate over its last outcomes.

    A way with few outcomes is believed to be as good as all are together, with the weight of `prior` outcomes. Ways whose
    rate is under `eliminate` times the best one's are left alone until `rest_s` after their last outcome; among the
    others, `explore` of the decisions are spread evenly, so that a rate that has changed is noticed.

    `record` tells it of outcomes as they become known. Before the first, every way is as good, and the engine's own
    choice is taken. A way whose route or authentication is not told goes by all of those that share the rest.

    >>> policy = SuccessRate(explore=0.0)
    >>> for outcome in ["bank_decline"] * 9 + ["success"]:
    ...     policy.record({"country": "KR", "method": "card", "route": "north", "outcome": outcome, "resolved_at": 0})
    >>> policy.record({"country": "KR", "method": "wallet", "outcome": "success", "resolved_at": 0})
    >>> policy.probabilities(Decision([Way("retry_same", "card", "north"), Way("alternate_method", "wallet")], "KR"))
    [0.0, 1.0]
    """

    window: int = 125
    explore: float = 0.05
    eliminate: float = 0.5
    prior: float = 10.0
    rest_s: float = 1800.0

    name = "success_rate"

    _windows: dict[Key, _Window] = field(default_factory=dict, init=False, repr=False)
    _known: int = field(default=0, init=False, repr=False)
    _hits: int = field(default=0, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        for name, low, high in (("window", 10, 100_000), ("explore", 0.0, 0.5), ("eliminate", 0.0, 1.0),
                                ("prior", 0.0, 1e6), ("rest_s", 0.0, 1e9)):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                seen = f"{getattr(self, name):g}"
                raise BadInput("policy", [Fault(f"success_rate:{name}", f"{low:g} to {high:g}", seen=seen)])

    def record(self, fields: Mapping[str, Any]) -> None:
        """An attempt that has ended, by column: `country, method, route, auth_flow`, its `outcome` and `resolved_at`.

        Times are in microseconds since 1970; told in the order in which outcomes become known. Without an outcome it is
        pending, and teaches nothing.
        """
        outcome = fields.get("outcome")
        if outcome is None:
            return
        succeeded, at = outcome == "success", fields.get("resolved_at") or 0
        country, method, route, flow = (fields.get(name) for name in _WAY)
        ways = {(country, str(method), of_route, of_flow) for of_route in (route, None) for of_flow in (flow, None)}
        with self._lock:
            for key in ways:
                self._window_of(key).record(succeeded, at)
            self._known += 1
            self._hits += succeeded

    def _window_of(self, key: Key) -> _Window:
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= _MOST_WINDOWS:  # whoever makes up routes does not fill the memory
                self._windows.pop(next(iter(self._windows)))
            window = self._windows[key] = _Window(self.window)
        return window

    def probabilities(self, decision: Decision) -> Sequence[float]:
        """The best rate has what exploration leaves; of equal rates, the way that comes first."""
        with self._lock:
            overall = self._hits / self._known if self._known else 0.5
            found = [self._windows.get(_key(decision.country, way)) for way in decision.ways]
            rates = [self._rate(window, overall) for window in found]
        best = max(range(len(rates)), key=lambda i: (rates[i], -i))
        floor = self.eliminate * rates[best] - _FLOOR_SLACK
        rested = [window is None or decision.at - window.since >= self.rest_s * 1e6 for window in found]
        open_ = [rate >= floor or rest for rate, rest in zip(rates, rested, strict=True)]
        # Spread so thin that logs could not judge by it, exploration would only cost: then the best of them share it
        most = max(1, int(self.explore / LEAST_PROPENSITY + _FLOOR_SLACK))
        tried = sorted((i for i in range(len(rates)) if open_[i] and i != best), key=lambda i: (-rates[i], i))[:most]
        told = [0.0] * len(rates)
        for i in tried if self.explore else ():
            told[i] = self.explore / len(tried)
        told[best] = 1.0 - self.explore if tried else 1.0
        return told

    def _rate(self, window: _Window | None, overall: float) -> float:
        hits, n = (window.hits, len(window.outcomes)) if window is not None else (0, 0)
        return (hits + self.prior * overall) / (n + self.prior) if n + self.prior else overall


def _key(country: str | None, way: Way) -> Key:
    return (country, way.method, way.route, way.auth_flow)
