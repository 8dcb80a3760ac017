"""What the service counts, and `/metrics`, where Prometheus reads it, summed over all workers.

Labels come from fixed lists, so that no request can make new series. Counting takes no lock: all of it but
`observe_outcome` is done by the event loop's thread.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from models.actions import ACTIONS
from serving.cells import Cells, Reading

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["CAUSES", "CODES", "LATENCY_S", "ROUTES", "TEXT_FORMAT", "Meters"]

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
"""The content type of `Meters.text`."""

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
    *("unauthorized", "forbidden", "card_number", "security_code", "invalid_request", "malformed_json"),
    *("nested_too_deeply", "body_too_large", "headers_too_large", "unsupported_media_type", "invalid_header"),
    *("not_found", "method_not_allowed", "no_such_locale", "body_too_slow", "overloaded", "draining"),
    *(
        "no_such_page",
        "moved",
        "conflicting_outcome",
        "log_unavailable",
        "no_log",
        "malformed_http",
        "internal_error",
        "other",
    ),
)
"""Codes of problem documents."""

LATENCY_S = (0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_DELAY_S = (1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0)
_TIMED = ROUTES[:3]
_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_WINDOW_MIN = 60
_REFRESH_S = 1.0


class _Places(NamedTuple):
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


_SINGLE = ("state_misses", "shed", "access_log_dropped", "log_dropped", "log_backlog", "model_from")
_SIZES = (
    len(ROUTES) * len(_CLASSES),
    len(_TIMED) * (len(LATENCY_S) + 2),  # buckets, the one beyond them, the sum
    len(CAUSES),
    len(ACTIONS),
    len(CODES),
    len(_DELAY_S) + 2,
    (_WINDOW_MIN + 1) * 4,  # minute, outcomes, predicted, observed
    2,
    len(_SINGLE),
)
_AT = _Places(*accumulate((0, *_SIZES)))
_ROUTE = {route: i for i, route in enumerate(ROUTES)} | {"/healthz": ROUTES.index("/livez")}
_OTHER_ROUTE = len(ROUTES) - 1
_CAUSE = {cause: _AT.degraded + i for i, cause in enumerate(CAUSES)}
_ACTION = {action: _AT.suggestions + i for i, action in enumerate(ACTIONS)}
_CODE = {code: _AT.problems + i for i, code in enumerate(CODES)}
_SINGLE_AT = {name: _AT.single + i for i, name in enumerate(_SINGLE)}


class Meters:
    """Counts of one worker. `folder` is where the workers of one service keep theirs; None: there is but this one.

    `clock` tells seconds since 1970.

    >>> meters = Meters()
    >>> meters.answered("/v1/score", 200, 0.0012)
    >>> 'payrescue_requests_total{route="/v1/score",status="2xx"} 1.0' in meters.text().decode()
    True
    """

    def __init__(self, folder: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._cells = Cells(_AT.end, folder)
        self._values = self._cells.values
        self._clock = clock
        self._lock = threading.Lock()
        self._hooks: dict[str, Callable[[], float]] = {}
        self._which: Callable[[], tuple[str | None, float]] | None = None

    def answered(self, route: str, status: int, seconds: float) -> None:
        """One request was answered; a route that is not in ROUTES counts as `other`."""
        values, place = self._values, _ROUTE.get(route, _OTHER_ROUTE)
        values[_AT.requests + place * len(_CLASSES) + status // 100 - 1] += 1.0
        if place < len(_TIMED):
            first = _AT.latency + place * (len(LATENCY_S) + 2)
            values[first + bisect_left(LATENCY_S, seconds)] += 1.0
            values[first + len(LATENCY_S) + 1] += seconds

    def suggested(self, action: str) -> None:
        """One suggestion was made."""
        self._values[_ACTION[action]] += 1.0

    def degraded(self, cause: str) -> None:
        """One answer was degraded, for one of CAUSES."""
        self._values[_CAUSE[cause]] += 1.0

    def problem(self, code: str) -> None:
        """One request got a problem document; a code that is not in CODES counts as `other`."""
        self._values[_CODE.get(code, _CODE["other"])] += 1.0

    def shed(self) -> None:
        """One request was turned away because there were too many."""
        self._values[_SINGLE_AT["shed"]] += 1.0

    def state_missed(self) -> None:
        """One request did without the online state: its store was down or too slow."""
        self._values[_SINGLE_AT["state_misses"]] += 1.0

    def observe_outcome(self, p_success: float | None, succeeded: bool, delay_s: float) -> None:
        """What became of an attempt was told, `delay_s` seconds after it was known.

        `p_success` is what was predicted, None if nothing was. May be called from any thread.
        """
        values, minute = self._values, int(self._clock() // 60)
        with self._lock:
            values[_AT.outcomes + bool(succeeded)] += 1.0
            values[_AT.delay + bisect_left(_DELAY_S, delay_s)] += 1.0
            values[_AT.delay + len(_DELAY_S) + 1] += max(delay_s, 0.0)
            if p_success is None:
                return
            slot = _AT.calibration + minute % (_WINDOW_MIN + 1) * 4
            if values[slot] != minute:
                values[slot] = minute
                values[slot + 1] = values[slot + 2] = values[slot + 3] = 0.0
            values[slot + 1] += 1.0
            values[slot + 2] += p_success
            values[slot + 3] += bool(succeeded)

    def model(self, version: str | None, learnt_until: float) -> None:
        """Names the version that answers, and when the newest attempt that it learnt from was, in seconds since 1970."""
        self._cells.name(version or "")
        self._values[_SINGLE_AT["model_from"]] = learnt_until

    def hook(
        self,
        *,
        log_backlog: Callable[[], float] | None = None,
        log_dropped: Callable[[], float] | None = None,
        access_log_dropped: Callable[[], float] | None = None,
        model: Callable[[], tuple[str | None, float]] | None = None,
    ) -> None:
        """Takes numbers that others keep: they are asked for once a second, and whenever Prometheus asks.

        `model` tells what `Meters.model` takes.
        """
        given = {"log_backlog": log_backlog, "log_dropped": log_dropped, "access_log_dropped": access_log_dropped}
        self._hooks |= {name: ask for name, ask in given.items() if ask is not None}
        self._which = model or self._which

    def watch(self) -> None:
        """Asks the hooks once a second from now on, in a thread of its own, so that other workers can tell them."""
        threading.Thread(target=self._look, name="meters", daemon=True).start()

    def _look(self) -> None:
        pause = threading.Event()
        while not pause.wait(_REFRESH_S):
            self._ask()

    def _ask(self) -> None:
        for name, ask in self._hooks.items():
            self._values[_SINGLE_AT[name]] = ask()
        if self._which is not None:
            self.model(*self._which())

    def text(self) -> bytes:
        """What Prometheus reads, in its text format. Takes milliseconds: not for the event loop."""
        from prometheus_client import CollectorRegistry, generate_latest

        self._ask()
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """Every family of metrics, as prometheus_client has them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        readings = self._cells.read()
        sums = [sum(column) for column in zip(*(reading.values for reading in readings), strict=True)]
        yield _counter(
            "requests",
            "Requests answered.",
            ("route", "status"),
            [
                ((route, kind), sums[_AT.requests + i * len(_CLASSES) + j])
                for i, route in enumerate(ROUTES)
                for j, kind in enumerate(_CLASSES)
                if kind in {"2xx", "4xx", "5xx"}
            ],
        )
        size = len(LATENCY_S) + 2
        parts = [sums[_AT.latency + i * size : _AT.latency + (i + 1) * size] for i in range(len(_TIMED))]
        yield _histogram(
            "request_seconds",
            "Time from a request's head to its answer.",
            "route",
            LATENCY_S,
            zip(_TIMED, parts, strict=True),
        )
        yield _by(
            "degraded", "Answers without a model, or without the online state.", "cause", CAUSES, sums, _AT.degraded
        )
        yield _by("suggestions", "Suggestions by action.", "action", ACTIONS, sums, _AT.suggestions)
        yield _by("problems", "Problem documents by code.", "code", CODES, sums, _AT.problems)
        yield _by("outcomes", "Outcomes told.", "result", ("failure", "success"), sums, _AT.outcomes)
        delay = sums[_AT.delay : _AT.delay + len(_DELAY_S) + 2]
        yield _histogram("outcome_delay_seconds", "From an outcome to its being told.", None, _DELAY_S, [("", delay)])
        for name, meaning in _COUNTED.items():
            yield CounterMetricFamily(f"payrescue_{name}", meaning, value=sums[_SINGLE_AT[name]])
        living = [reading for reading in readings if reading.alive]
        yield GaugeMetricFamily("payrescue_workers", "Workers that answer.", value=len(living))
        backlog = sum(reading.values[_SINGLE_AT["log_backlog"]] for reading in living)
        yield GaugeMetricFamily("payrescue_log_backlog", "Decisions that wait to be written.", value=backlog)
        yield from self._models(living)
        yield from self._calibration(readings)

    def _models(self, living: Sequence[Reading]) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        info = GaugeMetricFamily(
            "payrescue_model_info", "Workers by the version that they answer with.", labels=["version"]
        )
        versions = [reading.label or "none" for reading in living]
        for version in sorted(set(versions)):
            info.add_metric([version], versions.count(version))
        yield info
        since = [reading.values[_SINGLE_AT["model_from"]] for reading in living]
        age = max((self._clock() - at for at in since if at), default=float("nan"))
        yield GaugeMetricFamily("payrescue_model_age_seconds", "Since the newest attempt learnt from.", value=age)

    def _calibration(self, readings: Sequence[Reading]) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        now = int(self._clock() // 60)
        count = predicted = observed = 0.0
        for reading in readings:
            for slot in range(_AT.calibration, _AT.calibration + _SIZES[6], 4):
                minute, n, p, y = reading.values[slot : slot + 4]
                if now - _WINDOW_MIN < minute <= now:
                    count, predicted, observed = count + n, predicted + p, observed + y
        told = {
            "predicted": ("Mean success predicted for attempts whose outcome came in within the last hour.", predicted),
            "observed": ("Mean success of the same attempts.", observed),
        }
        for name, (meaning, total) in told.items():
            mean = total / count if count else float("nan")
            yield GaugeMetricFamily(f"payrescue_calibration_{name}", meaning, value=mean)
        yield GaugeMetricFamily("payrescue_calibration_outcomes", "How many attempts these are.", value=count)


_COUNTED = {
    "shed": "Requests turned away because there were too many.",
    "state_misses": "Requests answered without the online state.",
    "log_dropped": "Decisions that could not be kept.",
    "access_log_dropped": "Lines of the access log that could not be written.",
}


def _counter(name: str, meaning: str, labels: Sequence[str], values: Sequence[tuple[Sequence[str], float]]) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(f"payrescue_{name}", meaning, labels=labels)
    for told, value in values:
        family.add_metric(told, value)
    return family


def _by(name: str, meaning: str, label: str, words: Sequence[str], sums: Sequence[float], first: int) -> Metric:
    """One counter for each word, from adjoining cells."""
    return _counter(name, meaning, (label,), [((word,), sums[first + i]) for i, word in enumerate(words)])


def _histogram(
    name: str,
    meaning: str,
    label: str | None,
    bounds: Sequence[float],
    rows: Iterator[tuple[str, Sequence[float]]] | list[tuple[str, list[float]]],
) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(f"payrescue_{name}", meaning, labels=[label] if label else [])
    for told, cells in rows:
        counts = accumulate(cells[:-1])
        uppers = [*(str(bound) for bound in bounds), "+Inf"]
        family.add_metric([told] if label else [], list(zip(uppers, counts, strict=True)), cells[-1])
    return family
