"""Watches the registry for all workers: `python -m serving.watch FOLDER SECONDS URI [EXPERIMENTS]`.

A process of its own, so that no worker imports MLflow (160 MB and more than a second). It asks the registry which version each
URI stands for, downloads what is new into its folder, and writes what it found there (`serving/follow.py`); each time it has
asked, it touches that file. It ends, and clears the folder, when its standard input does: with whoever started it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import select
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from features.errors import BadInput
from serving.found import DEFAULT_STORE, FOUND, MODEL_URI, MOST_BYTES, read_found
from serving.imports import import_mlflow

__all__ = ["Registry", "TooLarge", "Watch", "main"]

_QUIET_S = 3.0  # a new SQLite store is being made until nobody has written to it for so long
_NONE_SUCH = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})
_KEPT = 3  # downloads that nothing stands for any more, but that a worker may still be reading


class TooLarge(Exception):
    """A model has more bytes than any is allowed; it is not downloaded."""


class Registry(Protocol):
    """What is asked."""

    def version(self, name: str, alias: str) -> str | None:
        """The version that an alias stands for; None where there is none. May raise anything."""

    def download(self, name: str, version: str, into: Path) -> None:
        """Put a version's files into a folder. Raises LookupError where there is no such version; may raise anything."""


class _MLflow:
    """MLflow's own client."""

    def version(self, name: str, alias: str) -> str | None:
        mlflow = import_mlflow()
        from mlflow.exceptions import MlflowException

        try:
            return str(mlflow.MlflowClient().get_model_version_by_alias(name, alias).version)
        except MlflowException as error:
            if _is_none_such(error):
                return None
            raise

    def download(self, name: str, version: str, into: Path) -> None:
        mlflow = import_mlflow()
        from mlflow.exceptions import MlflowException

        uri = f"models:/{name}/{version}"
        try:
            if _size(mlflow.artifacts.list_artifacts, uri) > MOST_BYTES:
                raise TooLarge
            mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(into))
        except MlflowException as error:
            if _is_none_such(error):
                raise LookupError from None
            raise


def _is_none_such(error: Any) -> bool:
    """Whether MLflow's error says that a registry has no such thing; of a store that MLflow does not know it says so, too."""
    from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException

    return error.error_code in _NONE_SUCH and not isinstance(error, UnsupportedModelRegistryStoreURIException)


def _size(listing: Callable[..., Any], uri: str) -> int:
    """Bytes of everything under a URI, as the store tells them before anything is downloaded."""
    from urllib.parse import quote

    total, left = 0, [""]
    while left and total <= MOST_BYTES:
        under = left.pop()
        for one in listing(artifact_uri=f"{uri}/{quote(under)}" if under else uri):
            if one.is_dir:
                left.append(one.path)
            total += one.file_size or 0
    return total


def _has_a_model(store: str) -> bool:
    """Whether an SQLite store is certainly made: a model can be registered only then."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{store.removeprefix('sqlite:///')}?mode=ro", uri=True)
        ) as opened:
            return opened.execute("SELECT 1 FROM registered_models LIMIT 1").fetchone() is not None
    except sqlite3.Error:
        return False


class Watch:
    """What is watched. `store` is MLflow's, by its URI; `experiments` a file whose models are watched too."""

    def __init__(
        self, folder: Path, uri: str | None, experiments: Path | None, store: str, registry: Registry | None = None
    ) -> None:
        self._folder, self._uri, self._experiments, self._store = folder, uri, experiments, store
        self._registry = registry or _MLflow()
        self._wanted: frozenset[str] = frozenset()
        self._read: int | None = None
        self._written = ""
        self._inode: int | None = None
        found = read_found(folder)  # of a watcher that died: what it found holds until the registry says otherwise
        self._models: dict[str, dict[str, str] | None] = {
            name: {"version": one.version or "", "folder": str(one.folder)} if one is not None else None
            for name, one in (found.models if found is not None else {}).items()
        }

    def look(self) -> bool:
        """Ask once, and write what is new. False where only a new process can go on: the store's file is another."""
        if (ready := self._ready()) is None:
            return False
        trouble = None if ready else "no store yet"
        for uri in sorted(self._uris()) if ready else ():
            try:
                self._models[uri] = self._find(uri)
            except TooLarge:
                trouble = f"a model of more than {MOST_BYTES} bytes"
            except Exception as error:
                trouble = type(error).__name__  # its text may name a server with its password
        self._write(json.dumps({"models": self._models, "trouble": trouble}))
        self._clear()
        return True

    def _uris(self) -> frozenset[str]:
        """The model of the service, and those of the experiments as they were when they could last be read."""
        if self._experiments is not None:
            from serving.experiments import read_experiments  # a tenth of a second, which most need not wait for

            with contextlib.suppress(OSError, BadInput):  # the workers tell what is wrong with the file
                if (when := self._experiments.stat().st_mtime_ns) != self._read:
                    self._read = when
                    told = read_experiments(self._experiments, policies=None)  # the workers have the fees
                    self._wanted = frozenset(uri for experiment in told for uri in experiment.models)
        return self._wanted | ({self._uri} if self._uri is not None else frozenset())

    def _ready(self) -> bool | None:
        """Whether the store may be asked: an SQLite file must be there, and whoever makes it be done. None: it is another."""
        if not self._store.startswith("sqlite:///"):
            return True
        try:
            status = Path(self._store.removeprefix("sqlite:///")).stat()
        except OSError:
            return False if self._inode is None else None
        if self._inode is None:
            if time.time() - status.st_mtime < _QUIET_S and not _has_a_model(self._store):
                return False
            self._inode = status.st_ino
        return True if self._inode == status.st_ino else None

    def _find(self, uri: str) -> dict[str, str] | None:
        told = MODEL_URI.fullmatch(uri)
        if told is None:
            raise ValueError("a model URI is models:/NAME@ALIAS or models:/NAME/VERSION")
        version = told["version"] or self._registry.version(told["name"], told["alias"])
        if version is None:
            return None
        folder = self._folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', told['name'])}-{version}"
        if not folder.is_dir():
            part = folder.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            try:
                self._registry.download(told["name"], version, part)
                part.rename(folder)
            except LookupError:
                return None
            finally:
                shutil.rmtree(part, ignore_errors=True)
        return {"version": version, "folder": str(folder)}

    def _write(self, text: str) -> None:
        """The file is there as a whole, or as it was; its time says when the registry was last asked."""
        path = self._folder / FOUND
        if text == self._written:
            os.utime(path)
            return
        part = path.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)
        self._written = text

    def _clear(self) -> None:
        """Delete the older downloads that nothing stands for."""
        used = {one["folder"] for one in self._models.values() if one is not None}
        found = [path for path in self._folder.iterdir() if path.is_dir() and str(path) not in used]
        for path in sorted(found, key=lambda path: path.stat().st_mtime)[:-_KEPT]:
            shutil.rmtree(path, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Watches until standard input ends; 1 if it has to be started anew."""
    folder, every, uri = Path(arguments[0]), float(arguments[1]), arguments[2] or None
    experiments = Path(arguments[3]) if len(arguments) > 3 else None
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # it asks again soon anyway
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    store = os.environ.setdefault("MLFLOW_TRACKING_URI", DEFAULT_STORE)
    watch = Watch(folder, uri, experiments, store)
    gc.disable()  # what the first look imports stays: to look through it again and again takes a fifth of the time
    while watch.look():
        if not gc.isenabled():
            gc.freeze()
            gc.enable()
        ended, _, _ = select.select([sys.stdin], [], [], every)
        if ended:
            shutil.rmtree(folder, ignore_errors=True)
            return 0
    return 1


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # there is nothing to flush, and to take down what MLflow has imported takes seconds
