"""From a checked request to its answer, with all that belongs to it: whose answer it is, what is known now, what is kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from models.engine import ScoreRequest
from serving.lineup import Lineup, Models
from serving.loading import Served
from serving.log import DecisionLog
from serving.log_records import LoggedDecision
from serving.metrics import Meters
from serving.shadow import OnShadow, Shadows
from serving.transport import Answered, answered

__all__ = ["Scoring", "Timing"]

_log = logging.getLogger("bentoml.payrescue")


class Timing(msgspec.Struct, frozen=True, gc=False):
    """When a request was asked (microseconds since 1970, UTC), since when it waits and how long it may take (seconds).

    `since` is of time.perf_counter.
    """

    asked_at: int
    since: float
    deadline_s: float

    @property
    def late(self) -> bool:
        """Whether its time is over."""
        return time.perf_counter() - self.since > self.deadline_s


class Scoring:
    """Asks the model of a payment, and hands the decision to those who keep, count and try it.

    `busy` tells whether other requests are being answered: challengers in shadow wait until none is.
    """

    def __init__(
        self,
        models: Models,
        *,
        log: DecisionLog | None = None,
        meters: Meters | None = None,
        on_shadow: OnShadow | None = None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._models, self._log, self._meters = models, log, meters
        if on_shadow is None and log is not None:
            on_shadow = self._keep_shadow
        self._shadows = Shadows(on_shadow, busy) if on_shadow is not None else None

    def lineup(self) -> Lineup:
        """Who answers now: to be asked once for all that is to be answered alike."""
        return self._models.lineup()

    async def answer(self, lineup: Lineup, request: ScoreRequest, request_id: str, timing: Timing) -> Answered:
        """The answer of `POST /v1/score`: by the rules where its time is over. Counting and keeping it is left."""
        served, experiment, variant = lineup.for_payment(request.attempt["payment_id"])
        past = None
        if served.state is not None and not timing.late:
            past = await served.state.past(request, served.engine)
        late = timing.late
        answer = served.engine.score(request, request_id=request_id, rules_only=late, past=past)
        if experiment is not None:
            answer["policy"] |= {"experiment": experiment, "variant": variant}
        features_of = (
            getattr(served.engine.predictor, "features_of", None) if self._log is not None and not late else None
        )
        features = features_of(request.attempt, request.previous) if features_of is not None else None
        latency_us = int((time.perf_counter() - timing.since) * 1e6)
        missed = past is not None and past.missed

        def afterwards(body: bytes) -> None:
            try:
                if self._log is not None:
                    self._log.offer(LoggedDecision(request, answer, timing.asked_at, latency_us, features, body=body))
                if self._shadows is not None:
                    self._shadows.offer(lineup, request, answer)
                if self._meters is not None:
                    self._count(self._meters, served, answer, late=late, missed=missed)
            except Exception as error:  # its text may hold values of the request
                _log.error("request %s was answered, but could not be kept: %s", request_id, type(error).__name__)

        return answered(answer, afterwards)

    def shadowed(self, result: str) -> int:
        """How many answers were offered to challengers in shadow and came to that: `scored`, `dropped` or `failed`."""
        count: int = getattr(self._shadows, result) if self._shadows is not None else 0
        return count

    def close(self) -> None:
        """Let the challengers be."""
        if self._shadows is not None:
            self._shadows.stop()

    @staticmethod
    def _count(meters: Meters, served: Served, answer: Mapping[str, Any], *, late: bool, missed: bool) -> None:
        meters.suggested(answer["suggestion"]["action"])
        if missed:
            meters.state_missed()
        if answer["degraded"]:
            without = served.engine.predictor is None
            meters.degraded("no_model" if without else "deadline" if late else "state" if missed else "error")

    def _keep_shadow(self, told: Mapping[str, Any]) -> None:
        """Hand the log what a challenger would have answered."""
        if self._log is not None:
            now = time.time_ns() // 1_000
            self._log.offer(LoggedDecision(told["request"], told["answer"], now, told["microseconds"], shown=False))
