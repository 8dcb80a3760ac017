"""A worker's side of following the registry: it reads what the watcher found, and swaps between requests.

The watcher (`serving/watch.py`), one process for all workers, keeps a small file up to date, `found.json`: which version each
URI stands for, and in which folder that was downloaded. A thread here looks at it, and at the file of experiments.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from features.errors import BadInput
from serving.experiments import Experiment, read_experiments
from serving.found import FOUND, Found, read_found
from serving.learning import Policies
from serving.lineup import Lineup, iso, line_up, whose
from serving.loading import Served, get_ready
from serving.swap import Swap

__all__ = ["Follower"]

_REACHABLE = "reachable"
_EVERY_S = 0.5
_WAIT_STEP_S = 0.02
_END_S = 2.0  # a model that is just being loaded is not waited for

_log = logging.getLogger("bentoml.payrescue")


def _get_ready() -> None:
    with contextlib.suppress(Exception):  # what loads a model then tells
        get_ready()


class Follower:
    """The models of one worker: those that the watcher finds, and the experiments over them.

    `first` is what answers until there is a champion, and where none is followed: `uri` None. `folder` is the watcher's, None
    where there is none. `silent_s`: after how long without a sign of it the registry counts as silent.
    """

    def __init__(
        self,
        first: Served,
        swap: Swap,
        *,
        uri: str | None = None,
        folder: Path | None = None,
        experiments: Path | None = None,
        silent_s: float = 60.0,
        policies: Policies | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._first, self._swap, self._uri, self._folder = first, swap, uri, folder
        self._path, self._silent_s, self._clock = experiments, silent_s, clock
        self._policies = policies or Policies()
        self._experiments: tuple[Experiment, ...] = ()
        self._read: int | None = None
        self._trouble: str | None = None
        self._found = Found({})
        self._lineup = Lineup(first)
        self._stale = False  # whether something has changed that the line-up does not show yet
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follow-models", daemon=True)

    def lineup(self) -> Lineup:
        """Who answers now."""
        return self._lineup

    def current(self) -> Served:
        """The champion."""
        return self._lineup.champion

    def status(self) -> Mapping[str, Any]:
        """How following goes, as `/readyz` tells it: the registry, the last refusal, experiments that do not run."""
        refused = self._swap.refusal
        lineup = self._lineup
        told: dict[str, Any] = {"registry": self._registry()} if self._folder is not None else {}
        told["last_refusal"] = (
            {"version": refused.version, "why": refused.why, "at": iso(refused.at)} if refused is not None else None
        )
        if self._path is not None:
            running = [experiment.name for experiment, _ in (*lineup.answering, *lineup.shadows)]
            told["experiments"] = {"running": running, "waiting": dict(lineup.waiting), "trouble": self._trouble}
        return told

    def registry_reachable(self) -> bool | None:
        """Whether the registry answers; None where none is followed."""
        return self._registry() == _REACHABLE if self._folder is not None else None

    def _registry(self) -> str:
        if self._folder is None:
            return "not followed"
        try:
            last = (self._folder / FOUND).stat().st_mtime
        except OSError:
            return "silent"
        if self._clock() - last > self._silent_s:
            return "silent"
        return _REACHABLE if self._found.trouble is None else f"unreachable ({self._found.trouble})"

    def look(self) -> bool:
        """Look once at what has changed, and swap. Whether the line-up is another; called by one thread at a time."""
        changed = self._look_at_experiments()
        if self._folder is not None and (found := read_found(self._folder)) is not None:
            self._found = found
        wanted = {uri for experiment in self._experiments for uri in experiment.models}
        wanted |= {self._uri} if self._uri is not None else set()
        for uri in sorted(wanted, key=lambda uri: uri != self._uri):  # the champion first
            located = self._found.models.get(uri)
            if located is not None:  # an alias that is gone leaves the model that serves
                changed |= self._swap.put(uri, located)
        self._stale = self._stale or changed
        if not self._stale:
            return False
        self._swap.keep_only(frozenset(wanted))
        champion = (self._swap.of(self._uri) if self._uri is not None else None) or self._first
        previous = self._swap.previous(self._uri) if self._uri is not None else None
        self._lineup = line_up(champion, previous, self._experiments, self._swap.of, self._policies.of)
        self._stale = False
        # Only now does nobody ask them any more
        self._swap.let_go()
        arms = [(experiment, arm) for experiment in self._experiments for arm in experiment.arms]
        self._policies.keep_only({(arm.policy, whose(experiment, arm)) for experiment, arm in arms if arm.policy})
        return True

    def _look_at_experiments(self) -> bool:
        """Read the experiments anew if the file has changed; one that cannot be used leaves those that run."""
        if self._path is None:
            return False
        try:
            when = self._path.stat().st_mtime_ns
        except OSError:
            when = -1
        if when == self._read:
            return False
        self._read = when
        try:
            self._experiments, self._trouble = read_experiments(self._path, self._policies.named), None
        except BadInput as bad:
            self._trouble = str(bad)
            _log.warning("the experiments stay as they are: %s", bad)
            return False
        return True

    def start(self, wait_s: float = 0.0) -> None:
        """Look once the watcher has asked, after `wait_s` at the latest, and from then on in a thread of its own."""
        until = time.monotonic() + wait_s
        if self._folder is not None and wait_s and not (self._folder / FOUND).is_file():
            readying = threading.Thread(target=_get_ready, name="get-ready", daemon=True)
            readying.start()
            while not (self._folder / FOUND).is_file() and time.monotonic() < until:
                time.sleep(_WAIT_STEP_S)
            found = read_found(self._folder)
            if found is not None and any(found.models.values()):
                readying.join()  # without a model nobody waits for what may have to be compiled first
        try:
            self.look()
        except Exception as error:
            _log.error("following the registry failed (%s); the rules answer until it goes on", type(error).__name__)
        if self._uri is not None and self._swap.of(self._uri) is None:
            _log.warning("no model yet: %s is not there, or cannot be served; the rules answer until it is", self._uri)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and what keeps the models and the policies up with outcomes."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_END_S)
        first = {self._first.state} if self._first.state is not None else set()
        for state in {*self._lineup.states(), *self._swap.states(), *first}:
            state.close()
        self._policies.close()

    def _follow(self) -> None:
        while not self._stop.wait(_EVERY_S):
            try:
                self.look()
            except Exception as error:
                # The thread must outlive whatever a model or a file makes of it
                _log.error("following the registry failed (%s); the models stay as they are", type(error).__name__)
