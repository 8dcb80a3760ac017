"""The online state: what outcomes have told since the model was trained. One interface, two stores.

Whatever the store, the state is the same fold over the log of outcomes (`serving.state_fold`), so that several workers, a
restart and a Redis that was lost all come to the same; features as served then equal those of training, bit for bit.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from serving.known import OutcomeLog, never
from serving.log_records import LogUnavailable
from serving.settings import IN_MEMORY, NOWHERE, check_state
from serving.state_fold import Base
from serving.state_kept import KeptStates
from serving.state_memory import MemoryState

if TYPE_CHECKING:
    from models.engine import Engine, ScoreRequest
    from models.online import OnlinePast

__all__ = ["DEADLINE_S", "Fold", "KeptUp", "OnlineState", "Store", "open_state"]

_log = logging.getLogger("bentoml.payrescue")

DEADLINE_S = 0.010
"""How long a request waits for a store that is not in process."""

_EVERY_S = 0.2
_AFTER_A_FAILURE_S = 1.0
_END_S = 1.0


class Fold(Protocol):
    """What outcomes enter, in the order of the log."""

    seq: int
    """Up to which outcome the log has entered."""

    def follow(self, ends: Callable[[], bool] = never) -> int:
        """Let in what the log has and the state has not, until it `ends`; returns how many outcomes; blocking.

        Raises what log or store do.
        """

    def latest(self) -> int:
        """Up to which outcome the log could tell it; blocking. Raises what the log does."""

    def keep(self) -> None:
        """Keep what the next start needs, if that is due; blocking. Raises what the log does."""

    def close(self) -> None:
        """End; on the event loop, if requests were answered. May raise what the log does."""


class Store(Fold, Protocol):
    """Where the state is kept."""

    @property
    def reachable(self) -> bool:
        """Whether requests get from it what is known now."""

    misses: int
    """Requests that were answered without what is known now."""

    async def past(self, request: ScoreRequest, engine: Engine) -> OnlinePast:
        """What is known now of all that an answer looks at. Never raises."""


class KeptUp:
    """A fold, and the thread that keeps it up with the log: at once after a `nudge`, else every 200 ms."""

    def __init__(self, fold: Fold, *, every_s: float = _EVERY_S) -> None:
        self._fold, self._every_s = fold, every_s
        self._told = threading.Event()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="payrescue-state", daemon=True)
        self._newest = 0
        self.failing = False
        """Whether the log could not be followed when it was last tried."""
        self.without_log = self.without_store = False
        """Which of the two was missing then."""

    @property
    def seq(self) -> int:
        """Up to which outcome the log has entered."""
        return self._fold.seq

    @property
    def behind(self) -> int:
        """How many outcomes at most have not entered, though the log has them; as last seen."""
        return max(0, self._newest - self._fold.seq)

    def catch_up(self) -> None:
        """Let in what the log has now; where it cannot be read, that is tried again once started. Blocking."""
        try:
            self._follow()
        except Exception as error:
            self._complain(error)

    def start(self) -> None:
        """Begin to follow the log."""
        self._thread.start()

    def nudge(self) -> None:
        """Say that an outcome is in the log; from any thread."""
        self._told.set()

    def close(self) -> None:
        """Stop following; on the event loop, if requests were answered.

        What has just been read is waited for, a second at most.
        """
        self._ends.set()
        self._told.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_END_S)
        if self._thread.is_alive():
            _log.warning("the online state is left as it is: what it waits for takes too long")
            return
        with suppress(LogUnavailable):  # it could not be kept: the next start reads the log
            self._fold.close()

    def _follow(self) -> None:
        with suppress(Exception):  # what follows says what is wrong
            self._newest = self._fold.latest()  # before: while it catches up, that is how far it has to go
        self._fold.follow(self._ends.is_set)

    def _run(self) -> None:
        while not self._ends.is_set():
            try:
                self._follow()
                self.failing = self.without_log = self.without_store = False
                self._fold.keep()
            except Exception as error:
                self._complain(error)
                self._ends.wait(_AFTER_A_FAILURE_S)
            else:
                self._told.wait(self._every_s)
            self._told.clear()

    def _complain(self, error: Exception) -> None:
        if not self.failing and not self._ends.is_set():
            _log.warning("the online state cannot follow the log (%s); it goes on trying", type(error).__name__)
        self.failing, self.without_store = True, not isinstance(error, LogUnavailable)
        try:
            self._newest = self._fold.latest()
            self.without_log = not self.without_store
        except Exception:  # whatever it is, the thread is to go on
            self.without_log = True


class OnlineState(KeptUp):
    """A store that is kept up with the log."""

    def __init__(self, store: Store, *, every_s: float = _EVERY_S) -> None:
        super().__init__(store, every_s=every_s)
        self._store = store

    @property
    def misses(self) -> int:
        """Requests that were answered without what is known now."""
        return self._store.misses

    @property
    def reachable(self) -> bool:
        """Whether what outcomes tell can be written where it is kept, and read from there."""
        return self._store.reachable and not self.without_store

    async def past(self, request: ScoreRequest, engine: Engine) -> OnlinePast:
        """What is known now of all that an answer looks at. Never raises."""
        return await self._store.past(request, engine)


def open_state(
    setting: str,
    log: OutcomeLog,
    predictor: Any | None,
    *,
    deadline_s: float = DEADLINE_S,
    snapshots: str = NOWHERE,
) -> OnlineState:
    """The state that a setting names, of a loaded model (`models.predictor`), or, without one, of the rules alone.

    In memory, the model's own past moves from now on, and is kept in the folder `snapshots` for the next start; a Redis has
    `deadline_s` to answer a request. Raises BadInput for what is no state.
    """
    check_state(setting)
    base = Base(predictor.encoder, predictor.history) if predictor is not None else None
    if setting == IN_MEMORY:
        kept = KeptStates(Path(snapshots)) if snapshots != NOWHERE else None
        return OnlineState(MemoryState(log, base, kept=kept))
    from serving.state_redis import RedisState

    return OnlineState(RedisState(setting, log, base, deadline_s=deadline_s))
