"""What stands between a crowd of requests and the one thread that scores them: who waits, who is turned away, since when.

Scoring is work of the processor, done one request at a time, so whatever arrives meanwhile waits where nobody sees it: in
the event loop, and before that in the socket. The gate lets every request that has arrived step forward before any is
scored, counts them, and turns away at once what could only be answered late.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sized
from contextlib import asynccontextmanager
from time import perf_counter

from serving.problems import Problem

__all__ = ["Gate"]

_STEPS_ASIDE = 16  # rounds of the loop in which a batch lets others go first; it is not to stand still for ever
_IDLE_S = 0.0005  # a longer rest than this between two requests, and nothing was waiting in the socket


class Gate:
    """Lets at most `most` requests wait to be scored. `clock` tells seconds, from any moment on."""

    def __init__(self, most: int, clock: Callable[[], float] = perf_counter) -> None:
        self._most, self._clock = most, clock
        self.waiting = 0
        self.together_waiting = 0
        """Questions of the batches that were let in, the one that is being answered among them."""
        self._one_batch = asyncio.Lock()
        self._stepping = 0
        self._since = self._crowd_since = self._crowd_left = float("-inf")

    @property
    def full(self) -> bool:
        """Whether who comes now is turned away."""
        return self.waiting >= self._most

    @staticmethod
    def refusal() -> Problem:
        """What one who is turned away is told."""
        return Problem(
            503,
            "overloaded",
            "Too much at once",
            "More requests wait than can be answered in time. Ask again, or go on without an answer.",
            headers={"retry-after": "1"},
        )

    async def enter(self) -> float:
        """Step forward; the moment from which the request may have waited. Each that entered has to `leave`.

        While a crowd was being served the sockets were not looked at: what comes right after it may have come with it.
        Raises Problem 503 where too many wait already.
        """
        if self.full:
            raise self.refusal()
        now = self._clock()
        if self._stepping == 0:  # the first of those that came in one round of the loop
            self._since = now if now - self._crowd_left > _IDLE_S else self._crowd_since
            self._crowd_since = now
        since = self._since
        self.waiting += 1
        if _nobody_else():
            return since
        self._stepping += 1
        try:
            await asyncio.sleep(0)
        except BaseException:
            self.waiting -= 1
            raise
        finally:
            self._stepping -= 1
        return since

    def leave(self) -> None:
        """The request is answered."""
        self.waiting -= 1
        self._crowd_left = self._clock()

    @asynccontextmanager
    async def together(self, weight: int, most: int) -> AsyncIterator[None]:
        """Let a batch in that weighs as much as `weight` requests, and have it wait until those before it are done.

        Batches that wait weigh at most `most` together. Raises Problem 503 where that is too much, and where single requests
        are being turned away.
        """
        if self.full or (self.together_waiting and self.together_waiting + weight > most):
            raise self.refusal()
        self.together_waiting += weight
        try:
            async with self._one_batch:
                yield
        finally:
            self.together_waiting -= weight

    async def give_way(self) -> None:
        """Between two pieces of a batch: those who have come are answered first."""
        for _ in range(_STEPS_ASIDE):
            await asyncio.sleep(0)
            if not self.waiting:
                break


def _nobody_else() -> bool:
    """Whether nothing else is about to run, so that there is nobody to step forward; False where the loop does not tell."""
    ready: Sized | None = getattr(asyncio.get_running_loop(), "_ready", None)
    return ready is not None and len(ready) == 0
