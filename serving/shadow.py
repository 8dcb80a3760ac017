"""Scores challengers after the answer has been sent, when nothing else is to be done; what they say is logged, never shown."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from models.engine import ScoreRequest
from serving.lineup import Lineup, Shadow

__all__ = ["OnShadow", "Shadows"]

OnShadow = Callable[[Mapping[str, Any]], object]
"""Takes what a challenger would have answered: `request_id, experiment, variant, payment_id, shown` (what was answered),
`answer` (what it would have been), `microseconds`. Called in the shadows' own thread."""

_MOST_WAITING = 256
_IDLE_S = 0.001
_PATIENCE_S = 1.0  # after which the oldest is let go rather than scored while requests keep coming

_log = logging.getLogger("bentoml.payrescue")


class _Asked(NamedTuple):
    request: ScoreRequest
    shown: Mapping[str, Any]
    shadow: Shadow


class Shadows:
    """Challengers in shadow. `busy` tells whether requests are being answered: then the shadows wait.

    What waits is bounded; what does not fit, or waits for too long, is dropped and counted (`dropped`). `scored` counts the
    others. A challenger that fails is counted (`failed`) and logged once.
    """

    def __init__(self, on_shadow: OnShadow, busy: Callable[[], bool]) -> None:
        self._on_shadow, self._busy = on_shadow, busy
        self._waiting: deque[_Asked] = deque()
        self._some = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self.scored = self.dropped = self.failed = 0

    def offer(self, lineup: Lineup, request: ScoreRequest, answer: Mapping[str, Any]) -> None:
        """Have the shadows of this payment scored later; never waits."""
        for shadow in lineup.shadows_for(request.attempt["payment_id"]) if lineup.shadows else ():
            if len(self._waiting) >= _MOST_WAITING:
                self.dropped += 1
                continue
            self._waiting.append(_Asked(request, answer, shadow))
            if self._thread is None:
                self._thread = threading.Thread(target=self._score, name="shadows", daemon=True)
                self._thread.start()
            self._some.set()

    def stop(self) -> None:
        """End the thread; what waits is dropped."""
        self._stopped = True
        self._some.set()

    def _score(self) -> None:
        while not self._stopped:
            self._some.wait()
            self._some.clear()
            while self._waiting and not self._stopped:
                asked = self._waiting.popleft()
                if self._idle():
                    self._one(asked)
                else:
                    self.dropped += 1

    def _idle(self) -> bool:
        """Whether there came a moment without requests."""
        until = time.monotonic() + _PATIENCE_S
        while self._busy():
            if time.monotonic() > until:
                return False
            time.sleep(_IDLE_S)
        return True

    def _one(self, asked: _Asked) -> None:
        shadow, began = asked.shadow, time.perf_counter()
        try:
            answer = shadow.served.engine.score(asked.request, request_id=asked.shown["request_id"])
            answer["policy"] |= {"experiment": shadow.experiment, "variant": shadow.variant}
            self._on_shadow(
                {
                    "request_id": asked.shown["request_id"],
                    "experiment": shadow.experiment,
                    "variant": shadow.variant,
                    "payment_id": asked.request.attempt["payment_id"],
                    "shown": asked.shown,
                    "answer": answer,
                    "microseconds": round((time.perf_counter() - began) * 1e6),
                }
            )
            self.scored += 1
        except Exception as error:
            self.failed += 1
            if self.failed == 1:
                _log.error("the shadow %s of %s fails (%s)", shadow.variant, shadow.experiment, type(error).__name__)
