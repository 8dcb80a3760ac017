"""The online state in process: each worker follows the log, and moves the past that its model looks back on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving.known import Known, OutcomeLog, never
from serving.state_declines import Decline, added, count, credential_of, hashed
from serving.state_fold import REMEMBERED_US, Base, begins, digest_of, had, told_by
from serving.state_kept import KeptStates, Snapshot

if TYPE_CHECKING:
    from features.past import Looked
    from models.engine import Engine, ScoreRequest

__all__ = ["MemoryState"]

_READ = 2_000  # outcomes at a time: some 20 ms of encoding, in slices that the interpreter shares out
_HELD = 128  # outcomes that enter while requests wait: some 0.1 ms
_MOST_IDS = 500_000  # in each of two generations
_MOST_CREDENTIALS = 200_000
_MOST_SLOTS = 600_000  # some 200 MB; beyond, the customers not seen for longest are forgotten
_KEPT_CUSTOMERS = 0.4  # of as many slots, of which a customer has two
_KEEP_EVERY = 20_000  # outcomes: some 0.4 s to read again
_WORTH_KEEPING = 1_000


class MemoryState:
    """The state of one process. Its base's history moves.

    A request holds its lock while it is scored, and what the log brings enters in between, a few outcomes at a time. What is
    remembered is bounded: of very many customers, credentials or attempts, those not seen for longest are forgotten.

    With `kept`, it begins with what was kept there of this artefact, and is kept there now and then: the same, bit for bit,
    as if all of the log were read again.
    """

    misses = 0
    """What is in process is never missed."""

    reachable = True
    """What is in process always is."""

    def __init__(
        self, log: OutcomeLog, base: Base | None, *, most_slots: int = _MOST_SLOTS, kept: KeptStates | None = None
    ) -> None:
        self.seq = 0
        """Up to which outcome the log has entered."""
        self._log, self._base = log, base
        self._until = base.history.until if base is not None else 0
        self._latest = self._until
        self._lock, self._turn = Lock(), Lock()
        self._ids: set[int] = set()
        self._older_ids: set[int] = set()
        self._ids_since = 0
        self._declines: dict[str, tuple[Decline, ...]] = {}
        self._kept = kept
        self._artefact = digest_of(base) if kept is not None else ""
        self._begun, self._kept_seq = False, 0
        self._most_slots = max(most_slots, int(1.25 * len(base.history.slots)) if base is not None else 0)

    async def past(self, request: ScoreRequest, engine: Engine) -> _Past:  # noqa: ARG002  a store elsewhere asks by them
        """What is known now."""
        return _Past(self)

    def follow(self, ends: Callable[[], bool] = never) -> int:
        """Let in what the log has and the state has not; returns how many outcomes that were. Not on the request path.

        Between two readings it asks whether that `ends`.
        """
        entered = 0
        with self._turn:
            if not self._begun:
                self._begin()
            while not ends() and (outcomes := self._log.after(self.seq, _READ)):
                self._enter(outcomes)
                entered += len(outcomes)
        return entered

    def latest(self) -> int:
        """Up to which outcome the log could tell it."""
        return self._log.latest()

    def keep(self) -> None:
        """Keep the state for the next start, if so much has entered since it was kept that this is worth it."""
        self._keep(_KEEP_EVERY)

    def close(self) -> None:
        """Keep the state, if that is worth it."""
        self._keep(_WORTH_KEEPING)

    def _begin(self) -> None:
        """From what was kept, else from where the log begins to matter."""
        found = self._kept.newest(self._artefact, self._log) if self._kept is not None else None
        if found is None:
            self.seq = self._kept_seq = begins(self._log, self._base)
        else:
            with self._lock:
                if self._base is not None and found.history is not None:
                    self._base.history.become(found.history)
                self._ids, self._older_ids, self._ids_since = found.ids, found.older_ids, found.since
                self._declines, self._latest = found.declines, found.latest
            self.seq = self._kept_seq = found.seq
        self._begun = True

    def _keep(self, every: int) -> None:
        if self._kept is None:
            return
        with self._turn:  # nothing enters meanwhile; requests only read
            if self.seq - self._kept_seq < every:
                return
            self._kept_seq = max(self._kept_seq, self._kept.seq(self._artefact))  # other workers keep theirs there
            if self.seq - self._kept_seq < every:
                return
            mark = self._log.mark(self.seq)
            if mark is None:
                return
            history = self._base.history if self._base is not None else None
            ids = (self._ids, self._older_ids, self._ids_since)
            self._kept.keep(self._artefact, Snapshot(self.seq, mark, history, *ids, self._latest, self._declines))
            self._kept_seq = self.seq

    def _enter(self, outcomes: list[Known]) -> None:
        told = told_by(outcomes, self._base, self._until)
        if told.rows is not None and self._base is not None:
            history = self._base.history
            keys = history.keys_of(told.rows)
            ids = [hashed(one) for one in told.ids]
            for first in range(0, len(ids), _HELD):
                some = np.arange(first, min(first + _HELD, len(ids)))
                with self._lock:
                    history.enter(told.rows, some, keys)
                    self._ids.update(ids[first : first + _HELD])
            self._latest = max(self._latest, int(told.rows.resolved.max()))
            self._forget()
        with self._lock:
            for credential, decline in told.declines:
                # The credential that was just declined is the last to be forgotten
                self._declines[credential] = added(self._declines.pop(credential, ()), decline)
            while len(self._declines) > _MOST_CREDENTIALS:
                del self._declines[next(iter(self._declines))]
        self.seq = outcomes[-1].seq

    def _forget(self) -> None:
        """Make room where there is too much."""
        if self._latest - self._ids_since > REMEMBERED_US or len(self._ids) > _MOST_IDS:
            self._older_ids, self._ids, self._ids_since = self._ids, set(), self._latest
        history = self._base.history if self._base is not None else None
        if history is not None and len(history.slots) > self._most_slots:
            kept = history.keep(int(_KEPT_CUSTOMERS * self._most_slots))
            with self._lock:
                history.become(kept)


class _Past:
    """What one request looks back on: all of it is in the state, under its lock."""

    __slots__ = ("_asked", "_state")

    missed = False

    def __init__(self, state: MemoryState) -> None:
        self._state = state
        self._asked: tuple[Mapping[str, Any] | None, tuple[Decline, ...]] = (None, ())

    @property
    def lock(self) -> AbstractContextManager[object]:
        return self._state._lock

    def copies(self, names: Collection[str]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        base = self._state._base
        if base is None:
            raise RuntimeError("without a model there is no past to look up")
        return base.history.copies(names)

    def look_up(self, names: Sequence[Sequence[str | None]]) -> Looked:
        base = self._state._base
        if base is None:
            raise RuntimeError("without a model there is no past to look up")
        return base.history.look_up(names)

    def has(self, attempt: Mapping[str, Any]) -> bool:
        attempt_id, state = attempt.get("attempt_id"), self._state
        # Without an id nobody can have told the log of it
        entered = hashed(attempt_id) if attempt_id is not None else None
        return entered in state._ids or entered in state._older_ids or had(attempt, state._until)

    def declines(self, attempt: Mapping[str, Any], *, since: int, one_amount: bool) -> int:
        asked, kept = self._asked
        if asked is not attempt:  # each rule asks about the same one
            kept = self._state._declines.get(credential_of(attempt) or "", ())
            self._asked = attempt, kept
        return count(kept, attempt, since=since, one_amount=one_amount) if kept else 0
