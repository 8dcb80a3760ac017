"""The product owners' pages over HTTP: files of one folder, as `payrescue report` wrote it, and nothing else.

A page loads what lies beside it and nothing from elsewhere. The folder is read at each request: a report that is written
anew is shown at once.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from serving.problems import Problem
from serving.transport import Plain

__all__ = ["INDEX", "InsightPages"]

INDEX: Final = "index.html"

_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
}
_NAME = re.compile(r"[a-z][a-z0-9_\-]{0,63}(\.[a-z0-9]{1,8}){1,2}", re.ASCII)
_MOST_BYTES = 64 * 1024 * 1024
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Mapping[str, str] = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "private, no-cache",
}


class InsightPages:
    """The files of a folder. `folder` None: there are none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    async def read(self, name: str) -> Plain:
        """A file, ready to be sent. Raises Problem 404 for what is none of the pages."""
        if self._folder is None:
            raise _missing("Start the service with --insights DIR, a folder that payrescue report wrote.")
        found = await asyncio.to_thread(_file, self._folder, name)
        if found is None:
            raise _missing("There is no such page: payrescue report --output DIR writes them.")
        return Plain(found, _TYPES[Path(name).suffix], _HEADERS)


def _file(folder: Path, name: str) -> bytes | None:
    """The content of a plain file that lies in the folder itself; None for any other name, a link out of it among them."""
    if not _NAME.fullmatch(name) or Path(name).suffix not in _TYPES:
        return None
    path = folder / name
    try:
        if path.resolve().parent != folder.resolve() or not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return None
        return path.read_bytes()
    except OSError:
        return None


def _missing(detail: str) -> Problem:
    return Problem(404, "no_such_page", "No page is here", detail)
