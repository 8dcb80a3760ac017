"""Models kept on this machine, for a server to start on before it has asked its registry.

The server keeps what it found last (`serving/last_found.py`), and whoever makes a version the champion beside it leaves that
version here (`training/at_hand.py`). Nothing is trusted for lying here: it is checked as any model is when it is loaded, and the
registry has the last word.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

__all__ = ["FOLDER", "NOWHERE", "Kept", "KeptModels"]

FOLDER = "payrescue-models"
"""Where models are kept if `PAYRESCUE_LAST_MODELS` names no other place, in the current folder."""

NOWHERE = "none"
"""In place of a folder: nothing is kept."""

_TOLD = "found.json"
_SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Kept:
    """A model that is kept, or is to be: its version in the registry, its files, and the name of its copy."""

    version: str
    folder: Path
    name: str


class KeptModels:
    """A `folder` with copies of models of one MLflow `store`, and of which URI stood for which."""

    def __init__(self, folder: Path, store: str) -> None:
        self._folder = folder
        path = store.removeprefix(_SQLITE)
        # From another folder, the same words name another file
        named = f"{_SQLITE}{Path(path).absolute()}" if path != store else store
        self._store = sha256(named.encode()).hexdigest()  # its URI may hold a password

    def models(self) -> dict[str, Kept] | None:
        """What is kept of this store, by URI; None where nothing is, where it is another's, or damaged."""
        try:
            told = json.loads((self._folder / _TOLD).read_text(encoding="utf-8"))
            if told["store"] != self._store:
                return None
            named = {str(uri): (str(one["version"]), Path(one["folder"]).name) for uri, one in told["models"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        found = {uri: Kept(version, self._folder / name, name) for uri, (version, name) in named.items()}
        return found if found and all(one.folder.is_dir() for one in found.values()) else None

    def replace(self, models: Mapping[str, Kept]) -> bool:
        """Keep copies of these and nothing else. False where somebody else is about it.

        What is there stays until the copies are whole. Raises OSError or shutil.Error where nothing can be kept.
        """
        with self._alone() as alone:
            if alone:
                self._write(models)
            return alone

    def add(self, uri: str, version: str, files: Path) -> bool:
        """Keep a copy of these files as what a URI stands for, beside what is kept for others. Whether it was done.

        Not where somebody else is about it, nor where another store's models are kept. Raises as `replace` does.
        """
        with self._alone() as alone:
            there = self.models()
            if not alone or (there is None and (self._folder / _TOLD).exists()):
                return False
            # Nobody else's name: a version's files may have changed
            name = f"{sha256(uri.encode()).hexdigest()[:8]}-{version}"
            self._write({**(there or {}), uri: Kept(version, files, name)})
            return True

    def _write(self, models: Mapping[str, Kept]) -> None:
        part, old = self._folder.with_suffix(".part"), self._folder.with_suffix(".old")
        for leftover in (part, old):
            shutil.rmtree(leftover, ignore_errors=True)
        part.mkdir(parents=True)
        for one in models.values():
            if not (part / one.name).exists():
                shutil.copytree(one.folder, part / one.name, symlinks=True)
        told = {uri: {"version": one.version, "folder": one.name} for uri, one in models.items()}
        (part / _TOLD).write_text(json.dumps({"store": self._store, "models": told}), encoding="utf-8")
        if self._folder.exists():
            self._folder.rename(old)
        part.rename(self._folder)
        shutil.rmtree(old, ignore_errors=True)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether nobody else writes here meanwhile: a server and a training may come at once."""
        above = self._folder.absolute().parent
        above.mkdir(parents=True, exist_ok=True)
        held = os.open(above, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(held)
