"""Numbers that several processes count at once: a file of cells for each, mapped into memory, summed when they are read.

Adding to a cell costs as much as adding to an array, so that counting is never what a request waits for. A process that
has ended leaves its file, and so its counts; what holds only while it lives is read from the living alone.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LABEL_BYTES", "Cells", "Reading"]

LABEL_BYTES = 256
"""Room for one text per process, in UTF-8."""

_CELL_BYTES = 8
_FILE = re.compile(r"(\d+)\.cells")


@dataclass(frozen=True)
class Reading:
    """What one process has counted, `alive` as long as it runs."""

    label: str
    values: tuple[float, ...]
    alive: bool


class Cells:
    """`size` numbers, all 0 at first, and a label. With a folder, they are shared with who reads it.

    >>> cells = Cells(2)
    >>> cells.values[1] += 2.5
    >>> [reading.values for reading in cells.read()]
    [(0.0, 2.5)]
    """

    def __init__(self, size: int, folder: Path | None = None) -> None:
        self._folder = folder
        self._bytes = LABEL_BYTES + size * _CELL_BYTES
        if folder is None:
            self._memory = mmap.mmap(-1, self._bytes)
        else:
            path = folder / f"{os.getpid()}.cells"
            with path.open("w+b") as file:
                file.truncate(self._bytes)
                self._memory = mmap.mmap(file.fileno(), self._bytes)
        self.values = memoryview(self._memory)[LABEL_BYTES:].cast("d")

    def name(self, label: str) -> None:
        """Sets the label; what does not fit is cut off."""
        raw = label.encode()[:LABEL_BYTES]
        self._memory[:LABEL_BYTES] = raw.decode(errors="ignore").encode().ljust(LABEL_BYTES, b"\0")

    def read(self) -> list[Reading]:
        """What every process has counted, this one among them."""
        if self._folder is None:
            return [self._reading(bytes(self._memory), alive=True)]
        return list(self._readings(self._folder))

    def _readings(self, folder: Path) -> Iterator[Reading]:
        for path in sorted(folder.iterdir()):
            found = _FILE.fullmatch(path.name)
            raw = path.read_bytes() if found else b""
            if found and len(raw) == self._bytes:  # else another edition's, or one just being made
                yield self._reading(raw, alive=_runs(int(found[1])))

    @staticmethod
    def _reading(raw: bytes, *, alive: bool) -> Reading:
        label = raw[:LABEL_BYTES].rstrip(b"\0").decode(errors="replace")
        return Reading(label, tuple(memoryview(raw)[LABEL_BYTES:].cast("d")), alive)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
