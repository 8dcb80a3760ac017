"""Keeps one watcher of the registry running beside the server, from before the workers start until the server ends.

Importing MLflow takes longer than all that a worker does before it answers. Where the workers can start on what was found last,
the watcher waits for the first of them, and leaves it the processor; where they cannot, it is started before they are.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from serving.found import DEFAULT_STORE, STARTED
from serving.last_found import LastFound
from serving.settings import NO_MODEL, NOWHERE, ServiceSettings

__all__ = ["Keeper", "follows", "watched"]

_log = logging.getLogger("bentoml.payrescue")

_SOONEST_S = 1.0
_LATEST_S = 30.0
_REMEMBER_S = 2.0
_HEAD_START_S = 10.0  # how long a watcher waits at most for a worker that starts on what was found last
_LOOK_S = 0.05
_PROGRAM = (sys.executable, "-m", "serving.watch")


def watched(settings: ServiceSettings) -> str | None:
    """The URI that is followed by these settings: a model of the registry. A folder is not, nor are the rules alone."""
    return settings.model if settings.model != NO_MODEL and settings.model.startswith("models:/") else None


def follows(settings: ServiceSettings) -> bool:
    """Whether a watcher is wanted by these settings."""
    return bool(settings.follow_s) and (watched(settings) is not None or settings.experiments is not None)


def _last_found(settings: ServiceSettings, environment: Mapping[str, str]) -> LastFound | None:
    if settings.last_models == NOWHERE:
        return None
    return LastFound(Path(settings.last_models), environment.get("MLFLOW_TRACKING_URI", DEFAULT_STORE))


class Keeper:
    """Starts the watcher, and starts it anew when it dies. `folder` is where it puts what it finds, of this server alone.

    It begins with what was found when the server last ran (`serving/last_found.py`).
    """

    def __init__(
        self,
        settings: ServiceSettings,
        environment: Mapping[str, str],
        *,
        program: Sequence[str] = _PROGRAM,
        head_start_s: float = _HEAD_START_S,
    ) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path(tempfile.mkdtemp(prefix="payrescue-models-"))
        experiments = (settings.experiments,) if settings.experiments is not None else ()
        self._words = [*program, str(self.folder), str(settings.follow_s), watched(settings) or "", *experiments]
        ours = str(Path(__file__).parent.parent)  # in a Bento, only the server's own path leads here
        path = os.pathsep.join(filter(None, (ours, environment.get("PYTHONPATH"))))
        self._environment = {"MLFLOW_TRACKING_URI": DEFAULT_STORE, **environment, "PYTHONPATH": path}
        self._last = _last_found(settings, self._environment)
        given = self._last is not None and self._last.give(self.folder)
        self._head_start_s = head_start_s if given else 0.0
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start the watcher, and see to it from then on; if there is a model already, not before a worker answers by it."""
        if not self._head_start_s:
            self._spawn()
        threading.Thread(target=self._keep, name="keep-watcher", daemon=True).start()
        if self._last is not None:
            threading.Thread(target=self._remember, args=(self._last,), name="keep-models", daemon=True).start()

    def stop(self) -> None:
        """End the watcher, and delete the folder."""
        self._stopping.set()
        if self._process is not None:
            _close(self._process)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remember(self, last: LastFound) -> None:
        while not self._stopping.wait(_REMEMBER_S):
            last.keep(self.folder)

    @property
    def pid(self) -> int | None:
        """The watcher's process."""
        return self._process.pid if self._process is not None else None

    def _spawn(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603  our own module, by our own interpreter
            self._words,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the server; the watcher ends with its standard input
        )

    def _keep(self) -> None:
        until = time.monotonic() + self._head_start_s
        while not (self.folder / STARTED).exists() and time.monotonic() < until:
            if self._stopping.wait(_LOOK_S):
                return
        if self._process is None:
            self._spawn()
        pause = _SOONEST_S
        while self._process is not None:
            began = time.monotonic()
            code = self._process.wait()
            _close(self._process)
            if self._stopping.is_set():
                return
            pause = _SOONEST_S if time.monotonic() - began > _LATEST_S else min(2 * pause, _LATEST_S)
            _log.warning("the watcher of the registry ended (%d); it is started anew in %.0f s", code, pause)
            if self._stopping.wait(pause):
                return
            self._spawn()


def _close(process: subprocess.Popen[bytes]) -> None:
    """End a watcher's standard input, which is how it knows that it is to end."""
    if process.stdin is not None:
        process.stdin.close()
