"""The decision log beside the request path: decisions go through a bounded queue, outcomes are awaited until they are on disk.

One thread writes, in groups: many requests share one transaction, and one wait for the disk. Whatever becomes of the
database, scoring goes on; the log counts what it could not keep, says so once a minute, and tries again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from serving.known import Known
from serving.log_records import LoggedDecision, LogUnavailable, Told
from serving.log_rows import Written, written
from serving.outcomes import Outcome

if TYPE_CHECKING:
    from serving.log_store import LogStore

__all__ = ["DecisionLog"]

T = TypeVar("T")

_log = logging.getLogger("bentoml.payrescue")

_GROUP_S = 0.1  # how long decisions wait for others to be written with
_GROUP = 500  # decisions that are written without waiting for more
_PATIENCE_S = 0.3  # how long an outcome waits for a decision that another process may still hold: three groups
_ANSWER_S = 10.0  # how long a client is kept waiting
_MOST_WAITING = 1_000  # requests with outcomes
_LONGEST_PAUSE_S = 5.0
_COMPLAIN_S = 60.0


@dataclass(eq=False, slots=True)
class _Job:
    """One request's outcomes, and where to tell what became of them."""

    outcomes: Sequence[Outcome]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Told]
    due: float = 0.0  # of time.monotonic; later than now once it was put off
    patient: bool = True
    result: Told | Exception | None = field(default=None)


class DecisionLog:
    """Keeps decisions and outcomes at a SQLAlchemy URL. It connects in its own thread, and again after failures.

    `most` decisions may wait to be written. `clock` tells microseconds since 1970, UTC.
    """

    def __init__(
        self, url: str, *, most: int = 10_000, clock: Callable[[], int] = lambda: time.time_ns() // 1_000
    ) -> None:
        self._url, self._most, self._clock = url, most, clock
        self._decisions: deque[Written] = deque()
        self._jobs: deque[_Job] = deque()
        self._put_off: list[_Job] = []
        self._held: list[Written] = []  # of a group that failed, and is to be tried again
        self._something, self._urgent, self._closing = Event(), Event(), Event()
        self._store: LogStore | None = None
        self._opening = Lock()
        self._refused = self._lost = 0  # decisions, for want of room; and by failures, counted by the thread
        self._failures = 0
        self._again_at = self._complain_at = 0.0
        self._thread = Thread(target=self._run, name="payrescue-log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Decisions that could not be kept."""
        return self._refused + self._lost

    @property
    def backlog(self) -> int:
        """Decisions that wait to be written."""
        return len(self._decisions) + len(self._held)

    @property
    def available(self) -> bool:
        """Whether the log could be written when it was last tried."""
        return self._failures == 0 and not self._closing.is_set()

    def offer(self, decision: LoggedDecision) -> bool:
        """Have a decision written soon; False, and counted, where there is no more room. It never waits."""
        if len(self._decisions) + len(self._held) >= self._most:
            self._refused += 1
            return False
        try:
            self._decisions.append(written(decision))
        except Exception:
            self._refused += 1
            raise
        # Not by how many wait: the loop's thread and the shadows' may come at once, and neither be the first
        if not self._something.is_set():
            self._something.set()
        if len(self._decisions) >= _GROUP and not self._urgent.is_set():
            self._urgent.set()
        return True

    async def tell(self, outcomes: Sequence[Outcome]) -> Told:
        """Keep the outcomes of one request, all or none. When it returns, they are on disk.

        Raises OutcomeConflict, OutcomeTooEarly; LogUnavailable where they may not have been kept: tell them again.
        """
        pause = self._again_at - time.monotonic()
        if self._closing.is_set() or len(self._jobs) >= _MOST_WAITING or (self._failures and pause > 0):
            raise LogUnavailable("the log cannot be written now", max(1, round(pause)))
        loop = asyncio.get_running_loop()
        job = _Job(outcomes, loop, loop.create_future())
        self._jobs.append(job)
        self._urgent.set()
        self._something.set()
        try:
            return await asyncio.wait_for(job.future, _ANSWER_S)
        except TimeoutError:
            raise LogUnavailable("the log took too long") from None

    def after(self, seq: int, most: int) -> list[Known]:
        """At most `most` outcomes with a higher seq, in its order, whose attempt is known. It blocks, as all reading does.

        Raises LogUnavailable where the log cannot be read.
        """
        return self._read(lambda store: store.after(seq, most))

    def latest(self) -> int:
        """The highest seq of an outcome whose attempt is known; 0 without one. Raises LogUnavailable."""
        return self._read(lambda store: store.latest())

    def start(self, until: int | None, window_us: int) -> int:
        """The seq after which all outcomes lie that a state has to be told (see `OutcomeLog`). Raises LogUnavailable."""
        return self._read(lambda store: store.start(until, window_us))

    def mark(self, seq: int) -> str | None:
        """What tells an outcome from those of other logs (see `OutcomeLog`). Raises LogUnavailable."""
        return self._read(lambda store: store.mark(seq))

    def _read(self, ask: Callable[[LogStore], T]) -> T:
        try:
            return ask(self._opened())
        except Exception as error:
            from serving.log_store import reason_of

            raise LogUnavailable(reason_of(error)[0]) from None

    def close(self, within_s: float = 10.0) -> None:
        """Write what waits, and stop. What could not be written within that time is lost."""
        self._closing.set()
        self._urgent.set()
        self._something.set()
        self._thread.join(within_s)
        if self._store is not None and not self._thread.is_alive():
            self._store.close()

    def _run(self) -> None:
        self._write([], [])  # connects, so that a log that cannot be written is known from the start
        while True:
            last = self._closing.is_set()
            self._wait()
            # Outcomes are taken before decisions: what their attempts were asked about is then among those
            jobs = self._take_jobs()
            decisions = self._held + _taken(self._decisions)
            if jobs or decisions or self._failures:
                self._write(decisions, jobs)
            if last:
                self._lost += len(self._held)
                break

    def _wait(self) -> None:
        """Until there is something to write, and what comes together with it has come."""
        if self._closing.is_set():
            return
        if self._failures:
            self._closing.wait(self._again_at - time.monotonic())
        elif not self._decisions:
            due = min((job.due for job in self._put_off), default=None)
            self._something.wait(None if due is None else due - time.monotonic())
        if not (self._jobs or self._closing.is_set()):
            due = min((job.due for job in self._put_off), default=float("inf"))
            self._urgent.wait(min(_GROUP_S, max(0.0, due - time.monotonic())))
        self._something.clear()
        self._urgent.clear()

    def _take_jobs(self) -> list[_Job]:
        now = time.monotonic()
        jobs = _taken(self._jobs)
        jobs += [job for job in self._put_off if job.due <= now or self._closing.is_set()]
        self._put_off = [job for job in self._put_off if job not in jobs]
        return [job for job in jobs if not job.future.done()]

    def _write(self, decisions: list[Written], jobs: Sequence[_Job]) -> None:
        try:
            store = self._opened()
            from serving.log_store import Telling

            patient = not self._closing.is_set()
            tellings = [Telling(job.outcomes, patient and job.patient) for job in jobs]
            results = store.write(decisions, tellings, told_at=self._clock())
        except Exception as error:
            self._failed(error, decisions)
            down = LogUnavailable("the log cannot be written", max(1, round(self._again_at - time.monotonic())))
            _answer(jobs, [down] * len(jobs))
            return
        if self._failures:
            _log.warning("the log can be written again; %d decisions could not be kept so far", self.dropped)
        self._held, self._failures = [], 0
        settled = []
        for job, result in zip(jobs, results, strict=True):
            if result is None:
                job.patient, job.due = False, time.monotonic() + _PATIENCE_S
                self._put_off.append(job)
            else:
                settled.append((job, result))
        _answer([job for job, _ in settled], [result for _, result in settled])

    def _opened(self) -> LogStore:
        """The store, connected and with its tables."""
        with self._opening:
            if self._store is None or self._failures:
                from serving.log_store import LogStore

                store = self._store or LogStore(self._url)
                store.prepare()
                self._store = store
            return self._store

    def _failed(self, error: Exception, decisions: list[Written]) -> None:
        """Count and say what failed. What may pass is tried again later; what the database refuses is given up."""
        from serving.log_store import reason_of

        said, may_pass = reason_of(error)
        self._held = decisions if may_pass else []
        self._lost += 0 if may_pass else len(decisions)
        self._failures += 1
        now = time.monotonic()
        self._again_at = now + min(0.1 * 2**self._failures, _LONGEST_PAUSE_S)
        if now >= self._complain_at:
            self._complain_at = now + _COMPLAIN_S
            _log.warning("the log cannot be written (%s); %d decisions could not be kept so far", said, self.dropped)


def _taken(queue: deque[Any]) -> list[Any]:
    """All that is in a queue, which others may go on filling."""
    return [queue.popleft() for _ in range(len(queue))]


def _answer(jobs: Iterable[_Job], results: Iterable[Any]) -> None:
    """Tell each waiting client, by one call for each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job, result in zip(jobs, results, strict=True):
        job.result = result
        by_loop.setdefault(job.loop, []).append(job)
    for loop, ours in by_loop.items():
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
            loop.call_soon_threadsafe(_settle, ours)


def _settle(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if isinstance(job.result, Exception):
            job.future.set_exception(job.result)
        elif job.result is not None:
            job.future.set_result(job.result)
