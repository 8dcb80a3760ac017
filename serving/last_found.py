"""What the watcher found last, kept from one start of the server to the next.

A server that starts can thus answer by a model at once, before MLflow is even imported, and with the registry down; what the
registry says, seconds later, takes its place as any other version does.
"""

from __future__ import annotations

import json
import logging
import shutil
from hashlib import sha256
from pathlib import Path

from serving.found import FOUND, read_found

__all__ = ["LastFound"]

_LAST = "last-"

_log = logging.getLogger("bentoml.payrescue")


class LastFound:
    """A folder with copies of the models that were found last in an MLflow `store`, and of which URI stood for which."""

    def __init__(self, folder: Path, store: str) -> None:
        self._folder = folder
        self._store = sha256(store.encode()).hexdigest()  # its URI may hold a password
        self._kept: dict[str, str] | None = None
        self._complained = False

    def give(self, into: Path) -> bool:
        """Put what was found into a watcher's folder that is still empty; whether there was anything of this store."""
        try:
            told = json.loads((self._folder / FOUND).read_text(encoding="utf-8"))
            if told["store"] != self._store:
                return False
            models = {}
            for uri, one in told["models"].items():
                name = Path(one["folder"]).name
                copy = into / f"{_LAST}{name}"  # not where the watcher puts it: it is to download it anew
                if not copy.exists():
                    shutil.copytree(self._folder / name, copy, symlinks=True)
                models[uri] = {"version": str(one["version"]), "folder": str(copy)}
            part = into / f"{FOUND}.last"
            part.write_text(json.dumps({"models": models, "trouble": None}), encoding="utf-8")
            part.replace(into / FOUND)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, shutil.Error):
            return False  # never kept, or damaged: the registry is asked as ever
        return True

    def keep(self, found_in: Path) -> bool:
        """Copy what a watcher has found, if it is new; whether it was. What is there stays until the copy is whole."""
        found = read_found(found_in)
        models = {uri: one for uri, one in (found.models if found is not None else {}).items() if one is not None}
        names = {uri: one.folder.name.removeprefix(_LAST) for uri, one in models.items()}
        if not models or names == self._kept:
            return False
        part, old = self._folder.with_suffix(".part"), self._folder.with_suffix(".old")
        try:
            for leftover in (part, old):
                shutil.rmtree(leftover, ignore_errors=True)
            part.mkdir(parents=True)
            for uri, one in models.items():
                if not (part / names[uri]).exists():
                    shutil.copytree(one.folder, part / names[uri], symlinks=True)
            told = {uri: {"version": one.version, "folder": names[uri]} for uri, one in models.items()}
            (part / FOUND).write_text(json.dumps({"store": self._store, "models": told}), encoding="utf-8")
            if self._folder.exists():
                self._folder.rename(old)
            part.rename(self._folder)
            shutil.rmtree(old, ignore_errors=True)
            self._complained = False
        except (OSError, shutil.Error) as error:
            if not self._complained:
                _log.warning("the models cannot be kept for the next start (%s)", type(error).__name__)
            self._complained = True
            return False
        self._kept = names
        return True
