"""What the service counts, and `/metrics`, where Prometheus reads it, summed over all workers.

Counting takes no lock: all of it but `observe_outcome` is done by the event loop's thread.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from pathlib import Path

from serving.cells import Cells
from serving.exposition import Exposition
from serving.metric_places import (
    ACTION,
    AT,
    CAUSE,
    CLASSES,
    CODE,
    DELAY_S,
    LATENCY_S,
    NO_SUCH,
    OTHER_ROUTE,
    PARTS,
    ROUTE,
    SINGLE_AT,
    TIMED,
    WINDOW_MIN,
)

__all__ = ["TEXT_FORMAT", "Meters"]

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
"""The content type of `Meters.text`."""

_REFRESH_S = 1.0


class Meters:
    """Counts of one worker. `folder` is where the workers of one service keep theirs; None: there is but this one.

    `clock` tells seconds since 1970.

    >>> meters = Meters()
    >>> meters.answered("/v1/score", 200, 0.0012)
    >>> 'payrescue_requests_total{route="/v1/score",status="2xx"} 1.0' in meters.text().decode()
    True
    """

    def __init__(self, folder: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._cells = Cells(AT.end, folder)
        self._values = self._cells.values
        self._clock = clock
        self._lock = threading.Lock()
        self._hooks: dict[str, Callable[[], float]] = {}
        for part in PARTS:
            self._values[SINGLE_AT[f"{part}_down"]] = NO_SUCH
        self._which: Callable[[], tuple[str | None, float]] | None = None

    def answered(self, route: str, status: int, seconds: float) -> None:
        """One request was answered; a route that is not in ROUTES counts as `other`."""
        values, place = self._values, ROUTE.get(route, OTHER_ROUTE)
        values[AT.requests + place * len(CLASSES) + status // 100 - 1] += 1.0
        if place < len(TIMED):
            first = AT.latency + place * (len(LATENCY_S) + 2)
            values[first + bisect_left(LATENCY_S, seconds)] += 1.0
            values[first + len(LATENCY_S) + 1] += seconds

    def suggested(self, action: str) -> None:
        """One suggestion was made."""
        self._values[ACTION[action]] += 1.0

    def degraded(self, cause: str) -> None:
        """One answer was degraded, for one of CAUSES."""
        self._values[CAUSE[cause]] += 1.0

    def problem(self, code: str) -> None:
        """One request got a problem document; a code that is not in CODES counts as `other`."""
        self._values[CODE.get(code, CODE["other"])] += 1.0

    def shed(self) -> None:
        """One request was turned away because there were too many."""
        self._values[SINGLE_AT["shed"]] += 1.0

    def state_missed(self) -> None:
        """One request did without the online state: its store was down or too slow."""
        self._values[SINGLE_AT["state_misses"]] += 1.0

    def observe_outcome(self, p_success: float | None, succeeded: bool, delay_s: float) -> None:
        """What became of an attempt was told, `delay_s` seconds after it was known.

        `p_success` is what was predicted, None if nothing was. May be called from any thread.
        """
        values, minute = self._values, int(self._clock() // 60)
        with self._lock:
            values[AT.outcomes + bool(succeeded)] += 1.0
            values[AT.delay + bisect_left(DELAY_S, delay_s)] += 1.0
            values[AT.delay + len(DELAY_S) + 1] += max(delay_s, 0.0)
            if p_success is None:
                return
            slot = AT.calibration + minute % (WINDOW_MIN + 1) * 4
            if values[slot] != minute:
                values[slot] = minute
                values[slot + 1] = values[slot + 2] = values[slot + 3] = 0.0
            values[slot + 1] += 1.0
            values[slot + 2] += p_success
            values[slot + 3] += bool(succeeded)

    def model(self, version: str | None, learnt_until: float) -> None:
        """Names the version that answers, and when the newest attempt that it learnt from was, in seconds since 1970."""
        self._cells.name(version or "")
        self._values[SINGLE_AT["model_from"]] = learnt_until

    def hook(
        self,
        *,
        log_backlog: Callable[[], float] | None = None,
        log_dropped: Callable[[], float] | None = None,
        access_log_dropped: Callable[[], float] | None = None,
        state_behind: Callable[[], float] | None = None,
        reachable: Mapping[str, Callable[[], bool]] | None = None,
        shadows: Mapping[str, Callable[[], float]] | None = None,
        model: Callable[[], tuple[str | None, float]] | None = None,
    ) -> None:
        """Takes numbers that others keep: they are asked for once a second, and whenever Prometheus asks.

        `reachable` says of PARTS whether they are, `shadows` counts by SHADOWS; `model` tells what `Meters.model` takes.
        """
        given = {
            "log_backlog": log_backlog,
            "log_dropped": log_dropped,
            "access_log_dropped": access_log_dropped,
            "state_behind": state_behind,
            **{f"{part}_down": _not(asked) for part, asked in (reachable or {}).items()},
            **{f"shadow_{result}": count for result, count in (shadows or {}).items()},
        }
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
            self._values[SINGLE_AT[name]] = ask()
        if self._which is not None:
            self.model(*self._which())

    def text(self) -> bytes:
        """What Prometheus reads, in its text format. Takes milliseconds: not for the event loop."""
        from prometheus_client import CollectorRegistry, generate_latest

        self._ask()
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Exposition(self._cells.read(), self._clock()))
        return generate_latest(registry)


def _not(asked: Callable[[], bool]) -> Callable[[], float]:
    return lambda: float(not asked())
