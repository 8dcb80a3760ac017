"""Load over HTTP from one process: closed loops that saturate a server, and an open loop that does not wait for it.

Written on bare connections, because on a machine that also runs the server every microsecond here is one that the server
does not get. An open loop's latency counts from when a request was due, so that a server that stalls cannot hide it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

__all__ = ["Load", "closed", "open_loop", "request_bytes"]

_MOST_CONNECTIONS = 2_000
_GRACE_S = 10.0  # for answers still under way when the load ends


@dataclass
class Load:
    """What became of the requests: seconds that answers took, by status; and those that got none."""

    latencies: dict[int, list[float]] = field(default_factory=dict)
    lost: int = 0
    seconds: float = 0.0
    degraded: int = 0

    @property
    def statuses(self) -> Counter[int]:
        """Answers by status."""
        return Counter({status: len(took) for status, took in self.latencies.items()})

    @property
    def per_second(self) -> float:
        """Answers with status 200, per second."""
        return len(self.latencies.get(200, ())) / self.seconds if self.seconds else 0.0

    def percentile_ms(self, share: float, status: int = 200) -> float:
        """The latency that `share` (0 to 1) of the answers with a status stay within, ms; NaN where there are none."""
        took: npt.NDArray[Any] = np.array(self.latencies.get(status, ()))
        return float(np.quantile(took, share) * 1000.0) if len(took) else float("nan")


def request_bytes(url: str, bodies: Sequence[bytes], headers: dict[str, str] | None = None) -> list[bytes]:
    """Each body as one HTTP/1.1 POST to `url`."""
    parts = urlsplit(url)
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n{more}content-length: "
    return [head.encode() + str(len(body)).encode() + b"\r\n\r\n" + body for body in bodies]


class _Connection(asyncio.Protocol):
    """One connection with at most one request under way."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._received = b""
        self._due = 0.0
        self._transport: Any = None
        self.busy = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._run.transports.add(transport)
        self._run.connected(self)

    def ask(self, request: bytes, due: float) -> None:
        self.busy, self._due = True, due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            self._received = received
            return
        head = received[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r", 1)[0]) if at >= 0 else 0
        if len(received) < end + 4 + length:
            self._received = received
            return
        self._received = b""
        self.busy = False
        status = int(received[9:12])
        self._run.answered(self, status, perf_counter() - self._due, received)
        if b"connection: close" in head:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio calls it so
        self._run.transports.discard(self._transport)
        self._run.gone(self, under_way=self.busy)
        self.busy = False


class _Run(ABC):
    """What all connections of a load share."""

    def __init__(self, url: str, requests: Sequence[bytes]) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self.load = Load()
        self.requests: Iterator[bytes] = cycle(requests)
        self.until = float("inf")
        self.transports: set[Any] = set()

    async def connect(self) -> None:
        await asyncio.get_running_loop().create_connection(lambda: _Connection(self), self.host, self.port)

    async def hang_up(self) -> None:
        """Close every connection, and let the loop see it done."""
        for transport in list(self.transports):
            transport.abort()
        while self.transports:
            await asyncio.sleep(0.001)

    @abstractmethod
    def connected(self, connection: _Connection) -> None:
        """A connection is there, and free."""

    def answered(self, connection: _Connection, status: int, took: float, received: bytes) -> None:
        self.load.latencies.setdefault(status, []).append(took)
        if b'"degraded":true' in received:
            self.load.degraded += 1
        self.free(connection)

    @abstractmethod
    def free(self, connection: _Connection) -> None:
        """A connection has its answer."""

    def gone(self, connection: _Connection, *, under_way: bool) -> None:  # noqa: ARG002  an open loop keeps them
        if under_way:
            self.load.lost += 1


class _Closed(_Run):
    """Every connection asks again as soon as it has its answer."""

    busy = 0
    """Requests under way."""

    def connected(self, connection: _Connection) -> None:
        self._ask(connection)

    def free(self, connection: _Connection) -> None:
        self.busy -= 1
        self._ask(connection)

    def gone(self, connection: _Connection, *, under_way: bool) -> None:
        super().gone(connection, under_way=under_way)
        self.busy -= under_way

    def _ask(self, connection: _Connection) -> None:
        now = perf_counter()
        if now < self.until:
            self.busy += 1
            connection.ask(next(self.requests), now)


class _Open(_Run):
    """Requests fall due at a rate; one that finds no free connection waits for one, and its latency counts."""

    def __init__(self, url: str, requests: Sequence[bytes]) -> None:
        super().__init__(url, requests)
        self.idle: deque[_Connection] = deque()
        self.waiting: deque[float] = deque()
        self.opened = 0

    def connected(self, connection: _Connection) -> None:
        self.free(connection)

    def free(self, connection: _Connection) -> None:
        if self.waiting:
            connection.ask(next(self.requests), self.waiting.popleft())
        else:
            self.idle.append(connection)

    def gone(self, connection: _Connection, *, under_way: bool) -> None:
        super().gone(connection, under_way=under_way)
        self.opened -= 1
        if connection in self.idle:
            self.idle.remove(connection)

    def due(self, at: float) -> None:
        if self.idle:
            self.idle.pop().ask(next(self.requests), at)
        else:
            self.waiting.append(at)


def closed(url: str, requests: Sequence[bytes], *, connections: int, seconds: float) -> Load:
    """The load that so many connections make, each asking as soon as it is answered."""

    async def run() -> Load:
        shared = _Closed(url, requests)
        began = perf_counter()
        shared.until = began + seconds
        await asyncio.gather(*(shared.connect() for _ in range(connections)))
        await asyncio.sleep(seconds)
        until = perf_counter() + _GRACE_S
        while shared.busy and perf_counter() < until:
            await asyncio.sleep(0.001)
        shared.load.seconds = perf_counter() - began
        await shared.hang_up()
        return shared.load

    return _run(run())


def open_loop(url: str, requests: Sequence[bytes], *, per_second: float, seconds: float, seed: int = 7) -> Load:
    """The load of independent customers: requests fall due at random, so many per second, answered or not."""

    async def run() -> Load:
        shared = _Open(url, requests)
        gaps = np.random.default_rng(seed).exponential(1.0 / per_second, int(per_second * seconds * 1.2) + 10)
        dues = np.cumsum(gaps)
        began = perf_counter()
        opening: set[asyncio.Task[None]] = set()
        count = 0
        while (now := perf_counter() - began) < seconds:
            while count < len(dues) and dues[count] <= now:
                shared.due(began + float(dues[count]))
                count += 1
            for _ in range(min(len(shared.waiting), 50)):
                if shared.opened < _MOST_CONNECTIONS:
                    shared.opened += 1
                    task = asyncio.ensure_future(shared.connect())
                    opening.add(task)
                    task.add_done_callback(opening.discard)
            await asyncio.sleep(
                max(float(dues[count]) - (perf_counter() - began), 0.0) if not shared.waiting else 0.0005
            )
        shared.load.seconds = perf_counter() - began
        end = perf_counter() + _GRACE_S
        while sum(shared.load.statuses.values()) + shared.load.lost < count and perf_counter() < end:
            await asyncio.sleep(0.05)
        unanswered = count - sum(shared.load.statuses.values())
        for task in opening:
            task.cancel()
        await shared.hang_up()
        shared.load.lost = unanswered
        return shared.load

    return _run(run())


def _run(what: Coroutine[Any, Any, Load]) -> Load:
    return asyncio.run(what)
