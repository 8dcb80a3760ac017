"""HTTP connections that are kept open between requests, for many threads, with one deadline for all of a request."""

from __future__ import annotations

import time
from collections import deque
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import NamedTuple
from urllib.parse import urlsplit

__all__ = ["Connections", "Reply"]

_KEPT_S = 4.0  # uvicorn closes what is idle for five
_CHUNK = 65_536
_LEAST_S = 0.001


class Reply(NamedTuple):
    """What came back. `retry_after` is in seconds; None where the server does not say."""

    status: int
    body: bytes
    retry_after: float | None


class Connections:
    """Connections to one server. Raises ValueError for an address that is no http or https URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("want a URL such as http://payrescue:3000")
        self._kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path.rstrip("/")
        self._idle: deque[tuple[float, HTTPConnection]] = deque()  # its own lock: append and pop are atomic

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str], until: float) -> Reply:
        """Sends one request, which must be safe to send twice, and reads its answer by `until` (of time.monotonic).

        Raises OSError, of which TimeoutError is one, or HTTPException.
        """
        kept = self._kept()
        if kept is not None:
            try:
                return self._send(kept, method, path, body, headers, until)
            except TimeoutError:
                raise
            except (OSError, HTTPException):
                pass  # most likely closed by the server while it was idle: that says nothing about a new one
        return self._send(self._kind(self._host, self._port), method, path, body, headers, until)

    def close(self) -> None:
        """Closes what is idle."""
        while self._idle:
            self._idle.pop()[1].close()

    def _kept(self) -> HTTPConnection | None:
        while True:
            try:
                since, connection = self._idle.pop()
            except IndexError:
                return None
            if time.monotonic() - since < _KEPT_S:
                return connection
            connection.close()

    def _send(
        self,
        connection: HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
        until: float,
    ) -> Reply:
        try:
            self._limit(connection, until)
            connection.request(method, f"{self._path}{path}", body, headers)
            self._limit(connection, until)
            response = connection.getresponse()
            body = self._read(connection, response, until)
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._idle.append((time.monotonic(), connection))
        after = response.getheader("Retry-After", "")
        return Reply(response.status, body, float(after) if after.isascii() and after.isdigit() else None)

    def _read(self, connection: HTTPConnection, response: HTTPResponse, until: float) -> bytes:
        chunks = []
        while True:
            self._limit(connection, until)
            chunk = response.read1(_CHUNK)
            if not chunk:
                break
            chunks.append(chunk)
        if response.length:
            raise IncompleteRead(b"", response.length)
        response.close()  # else the connection waits for more of it
        return b"".join(chunks)

    @staticmethod
    def _limit(connection: HTTPConnection, until: float) -> None:
        left = until - time.monotonic()
        if left <= 0.0:
            raise TimeoutError
        connection.timeout = max(left, _LEAST_S)
        if connection.sock is not None:
            connection.sock.settimeout(connection.timeout)
