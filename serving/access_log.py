"""One line of JSON for each request: who asked what, how it ended, how long it took; never a value of the request.

A request only leaves its facts in a queue; a thread writes them. What the reader of the stream does not take in time is
dropped and counted, so that nobody who asks has to wait for a log.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, TextIO

import msgspec

__all__ = ["AccessLog", "Entry"]

_MOST_WAITING = 10_000
_EVERY_S = 0.2
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_encode = msgspec.json.Encoder().encode


class Entry(NamedTuple):
    """One request. `at` is in seconds since 1970; `route` is one of the service's, never the path that was sent."""

    at: float
    request_id: str
    method: str
    route: str
    status: int
    ms: float
    code: str | None = None  # of the problem document
    degraded: bool | None = None
    action: str | None = None


class AccessLog:
    """Writes entries to a stream. `share` of them, evenly: every one by default."""

    def __init__(self, stream: TextIO | None = None, *, share: float = 1.0) -> None:
        self._stream = stream if stream is not None else sys.stdout
        self._share = share
        self._due = 0.0
        self._waiting: deque[Entry] = deque()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self.dropped = 0

    def note(self, entry: Entry) -> None:
        """Takes one request; a failure of ours (5xx) is written whatever the share."""
        self._due += self._share
        if self._due < 1.0 and entry.status < 500:
            return
        self._due -= self._due // 1.0
        if len(self._waiting) >= _MOST_WAITING:
            self.dropped += 1
            return
        self._waiting.append(entry)

    def start(self) -> None:
        """Writes from now on, in a thread of its own."""
        self._thread = threading.Thread(target=self._write_on, name="access log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Writes what is left, and ends; waits a second at most."""
        self._done.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    def flush(self) -> None:
        """Writes what waits. A stream that is gone takes the lines with it."""
        lines = []
        while self._waiting:
            lines.append(_line(self._waiting.popleft()))
        if lines:
            try:
                self._stream.write(b"".join(lines).decode())
                self._stream.flush()
            except (OSError, ValueError):
                self.dropped += len(lines)

    def _write_on(self) -> None:
        while not self._done.wait(_EVERY_S):
            self.flush()
        self.flush()


class _Line(msgspec.Struct, omit_defaults=True, gc=False):
    """What is written of a request, in this order, without what is None."""

    time: str
    request_id: str
    method: str
    route: str
    status: int
    ms: float
    code: str | None = None
    degraded: bool | None = None
    action: str | None = None


def _line(entry: Entry) -> bytes:
    at, request_id, method, route, status, ms, code, degraded, action = entry
    second, part = divmod(round(at * 1e6), 1_000_000)
    known = method if method in _METHODS else "other"
    line = _Line(f"{_text(second)}.{part:06d}Z", request_id, known, route, status, round(ms, 3), code, degraded, action)
    return _encode(line) + b"\n"


@lru_cache(maxsize=2)  # many requests come in one second
def _text(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
