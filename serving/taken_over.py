"""A child of ours from before we became another program: `os.execve` keeps the process, and forgets what it knew."""

from __future__ import annotations

import os
import signal
import subprocess
import time

__all__ = ["TakenOver"]

_LOOK_S = 0.05


class TakenOver:
    """A child that this process had before it became another program: of a `subprocess.Popen`, what a keeper needs."""

    def __init__(self, pid: int, door: int) -> None:
        os.set_inheritable(door, False)  # a worker that held it too would keep the watcher alive
        self.pid, self.stdin = pid, os.fdopen(door, "wb")

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, 0 where somebody else has asked for it. Raises TimeoutExpired."""
        until = time.monotonic() + timeout if timeout is not None else None
        try:
            while True:
                ended, status = os.waitpid(self.pid, os.WNOHANG if until is not None else 0)
                if ended:
                    return os.waitstatus_to_exitcode(status)
                if until is not None and time.monotonic() >= until:
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
                time.sleep(_LOOK_S)
        except ChildProcessError:
            return 0

    def kill(self) -> None:
        """End it at once."""
        os.kill(self.pid, signal.SIGKILL)
