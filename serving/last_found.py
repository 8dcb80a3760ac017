"""What the watcher found last, kept from one start of the server to the next.

A server that starts can thus answer by a model at once, before MLflow is even imported, and with the registry down; what the
registry says, seconds later, takes its place as any other version does.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

from models.kept import Kept, KeptModels
from serving.found import FOUND, read_found

__all__ = ["LastFound"]

_LAST = "last-"

_log = logging.getLogger("bentoml.payrescue")


class LastFound:
    """A folder with copies of the models that were found last in an MLflow `store`, and of which URI stood for which."""

    def __init__(self, folder: Path, store: str) -> None:
        self._models = KeptModels(folder, store)
        self._kept: dict[str, str] | None = None
        self._complained = False

    def give(self, into: Path) -> bool:
        """Put what was found into a watcher's folder that is still empty; whether there was anything of this store."""
        try:
            models = {}
            kept = self._models.models() or {}
            for uri, one in kept.items():
                copy = into / f"{_LAST}{one.name}"  # not where the watcher puts it: it is to download it anew
                if not copy.exists():
                    shutil.copytree(one.folder, copy, symlinks=True)
                models[uri] = {"version": one.version, "folder": str(copy)}
            if not models:
                return False
            part = into / f"{FOUND}.last"
            part.write_text(json.dumps({"models": models, "trouble": None}), encoding="utf-8")
            part.replace(into / FOUND)
        except (OSError, shutil.Error):
            return False  # gone meanwhile: the registry is asked as ever
        self._kept = {uri: one.name for uri, one in kept.items()}
        return True

    def keep(self, found_in: Path) -> bool:
        """Copy what a watcher has found, if it is new; whether it was. What is there stays until the copy is whole."""
        found = read_found(found_in)
        models = {
            uri: Kept(one.version or "", one.folder, one.folder.name.removeprefix(_LAST))
            for uri, one in (found.models if found is not None else {}).items()
            if one is not None
        }
        names = {uri: one.name for uri, one in models.items()}
        if not models or names == self._kept:
            return False
        try:
            if not self._models.replace(models):
                return False  # another is about it; in a moment
            self._complained = False
        except (OSError, shutil.Error) as error:
            if not self._complained:
                _log.warning("the models cannot be kept for the next start (%s)", type(error).__name__)
            self._complained = True
            return False
        self._kept = names
        return True
