"""The state in process, kept in a folder from one start to the next, so that a start need not read all of the log.

A file holds plain arrays, nothing in it that executes, and is named by what it is: the artefact that the state stands on, the
outcome of the log up to which it has come, and the SHA-256 of its bytes. One that is damaged, that stands on another artefact
or that another log has written is never taken; the log is then read as if there were none. The log stays the truth.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from serving.known import OutcomeLog
from serving.state_declines import Decline, packed, unpacked

if TYPE_CHECKING:
    from features.history import History

__all__ = ["KeptStates", "Snapshot"]

_FILE = re.compile(r"(?P<artefact>[0-9a-f]{20})-(?P<seq>\d+)-(?P<sha256>[0-9a-f]{64})\.state", re.ASCII)
_KEPT = 4  # artefacts: the champion, the one before it, an arm or two
_MOST_BYTES = 2**30
_SLICE = 5_000  # names that are written at a time: what holds the interpreter for longer holds requests up
_ABANDONED_S = 600.0

_log = logging.getLogger("bentoml.payrescue")


@dataclass(frozen=True)
class Snapshot:
    """A state as it stood after the outcome `seq`, of which the log says `mark`.

    `history` is None without an artefact; `ids` and `older_ids` are hashes of attempts that have entered, `since` when the
    first of `ids` did, `latest` when the newest outcome was known, in microseconds since 1970, UTC.
    """

    seq: int
    mark: str
    history: History | None
    ids: set[int]
    older_ids: set[int]
    since: int
    latest: int
    declines: dict[str, tuple[Decline, ...]]


class KeptStates:
    """A folder of snapshots. What goes wrong with it is logged once, and changes nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._complained = False

    def seq(self, artefact: str) -> int:
        """Up to which outcome the newest snapshot of an artefact has come; 0 without one."""
        return max((int(found["seq"]) for found, _ in self._files(artefact)), default=0)

    def newest(self, artefact: str, log: OutcomeLog) -> Snapshot | None:
        """The newest snapshot of an artefact that is whole and of this log. Raises what the log does."""
        for found, path in sorted(self._files(artefact), key=lambda one: int(one[0]["seq"]), reverse=True):
            snapshot = _read(path, found["sha256"])
            if snapshot is None:
                _log.warning("a kept state is damaged; the log is read in its place")
                path.unlink(missing_ok=True)
            elif snapshot.seq == int(found["seq"]) and log.mark(snapshot.seq) == snapshot.mark:
                return snapshot
        return None

    def keep(self, artefact: str, snapshot: Snapshot) -> bool:
        """Write a snapshot, and delete those that it takes the place of. Whether it could be written."""
        part = self._folder / f"{artefact}.{os.getpid()}.{secrets.token_hex(4)}.part"  # machines may share the folder
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.savez(file, allow_pickle=False, **_arrays(snapshot))
            with part.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            before = [path for _, path in self._files(artefact)]
            made = self._folder / f"{artefact}-{snapshot.seq}-{digest}.state"
            part.replace(made)
            for path in before:
                if path != made:
                    path.unlink(missing_ok=True)
            self._clear()
        except OSError as error:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            if not self._complained:
                _log.warning("the online state cannot be kept for the next start (%s)", type(error).__name__)
            self._complained = True
            return False
        self._complained = False
        return True

    def _files(self, artefact: str | None = None) -> list[tuple[re.Match[str], Path]]:
        try:
            paths = list(self._folder.iterdir())
        except OSError:
            return []
        named = [(found, path) for path in paths if (found := _FILE.fullmatch(path.name))]
        return [one for one in named if artefact is None or one[0]["artefact"] == artefact]

    def _clear(self) -> None:
        """Delete the snapshots of artefacts that were not written for longest, and what was left half written.

        Other workers do the same meanwhile.
        """
        newest: dict[str, float] = {}
        for found, path in self._files():
            newest[found["artefact"]] = max(newest.get(found["artefact"], 0.0), _written(path))
        gone = set(sorted(newest, key=newest.__getitem__)[:-_KEPT])
        for found, path in self._files():
            if found["artefact"] in gone:
                path.unlink(missing_ok=True)
        for path in self._folder.glob("*.part"):
            if time.time() - _written(path) > _ABANDONED_S:
                path.unlink(missing_ok=True)


def _written(path: Path) -> float:
    """When a file was written, in seconds since 1970; 0 for one that is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _arrays(snapshot: Snapshot) -> dict[str, npt.NDArray[Any]]:
    history, declines = snapshot.history, snapshot.declines
    with_history: Mapping[str, npt.NDArray[Any]] = {}
    if history is not None:
        with_history = {
            "slots": _texts(history.slots),
            "sums": history.sums,
            "times": history.times,
            "streaks": history.streaks,
            "until": np.array([history.until]),
        }
    return {
        "stands": np.array([snapshot.seq, snapshot.since, snapshot.latest]),
        "mark": np.frombuffer(snapshot.mark.encode(), np.uint8),
        "ids": np.fromiter(snapshot.ids, np.uint64, len(snapshot.ids)),
        "older_ids": np.fromiter(snapshot.older_ids, np.uint64, len(snapshot.older_ids)),
        "credentials": _texts(declines),
        "declines": np.frombuffer(b"".join(map(packed, declines.values())), np.uint8),
        "declines_each": np.fromiter(map(len, declines.values()), np.int64, len(declines)),
        **with_history,
    }


def _texts(names: Iterable[str]) -> npt.NDArray[np.uint8]:
    """Texts as bytes: JSON lists, one a line."""
    left = iter(names)
    lines = []
    while some := list(islice(left, _SLICE)):
        lines.append(msgspec.json.encode(some))
    return np.frombuffer(b"\n".join(lines), np.uint8)


def _read(path: Path, sha256: str) -> Snapshot | None:
    """What a file holds; None where it is not what it was when it was written."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                return None
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return _snapshot(arrays)
    except Exception:  # whatever its bytes lead to (BadZipFile, say), the log is read instead
        return None


def _snapshot(arrays: Mapping[str, npt.NDArray[Any]]) -> Snapshot:
    from features.history import History

    seq, since, latest = arrays["stands"].tolist()
    history = None
    if "slots" in arrays:
        slots = {name: i for i, name in enumerate(_told(arrays["slots"]))}
        history = History(slots, arrays["sums"], arrays["times"], arrays["streaks"], int(arrays["until"][0]))
    every = unpacked(arrays["declines"].tobytes())
    ends = np.cumsum(arrays["declines_each"]).tolist()
    declines = {
        name: every[begin:end] for name, begin, end in zip(_told(arrays["credentials"]), [0, *ends], ends, strict=False)
    }
    ids, older_ids = (set(arrays[name].tolist()) for name in ("ids", "older_ids"))
    return Snapshot(seq, arrays["mark"].tobytes().decode(), history, ids, older_ids, since, latest, declines)


def _told(raw: npt.NDArray[Any]) -> list[str]:
    """What `_texts` wrote."""
    lines = raw.tobytes().split(b"\n") if len(raw) else []
    return [name for line in lines for name in msgspec.json.decode(line, type=list[str])]
