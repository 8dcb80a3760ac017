"""Servers for a benchmark: started on a free port, waited for, weighed, and stopped with all that they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

__all__ = ["Server", "free_port", "running"]

_STARTS_WITHIN_S = 120
_STOPS_WITHIN_S = 30


@dataclass(frozen=True)
class Server:
    """A running server: where it is, how long it took until it was ready, and its process."""

    url: str
    ready_s: float
    pid: int

    def megabytes(self) -> list[float]:
        """Memory that each of its processes has to itself (proportional share), MB, largest first."""
        return sorted((_megabytes(pid) for pid in [self.pid, *_children(self.pid)]), reverse=True)


def free_port() -> int:
    """A port that nothing listens on here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    words: Sequence[str], port: int, folder: Path, environment: Mapping[str, str], ready: str = "/readyz"
) -> Iterator[Server]:
    """The server that a command starts, once `ready` answers with 200. Raises RuntimeError with its log if it never does."""
    url, log = f"http://127.0.0.1:{port}", folder / f"server_{port}.log"
    began = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(
            words, cwd=folder, env={**os.environ, **environment}, stdout=out, stderr=out, start_new_session=True
        )
    try:
        while not _answers(url + ready):
            if process.poll() is not None or time.perf_counter() - began > _STARTS_WITHIN_S:
                raise RuntimeError(f"{' '.join(words)}: did not start\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
        yield Server(url, time.perf_counter() - began, process.pid)
    finally:
        with_children = [process.pid, *_children(process.pid)]
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pid in with_children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _children(pid: int) -> list[int]:
    """Processes that a process started, and those that they did."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            child = int(stat.parent.name)
            found += [child, *_children(child)]
    return found


def _megabytes(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024.0 for line in lines if line.startswith("Pss:")), 0.0)
