"""The same data, settings, code and packages give the same artefact, hash for hash; what a run records so that this can be shown.

A run keeps `reproduce.json`: where its data were and their sha256, the settings, the commit, the versions of the packages that
the numbers come from, and the hash of every file of the artefact. The hash of an artefact is taken over those, but for the model
card, which names the run and the time.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.columns import columns
from features.errors import BadInput
from features.own import OwnColumn
from training.settings import TrainSettings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RECORD", "Origin", "artefact_hash", "differences", "environment", "origin_of", "record", "settings_of"]

RECORD = "reproduce.json"
"""What a run keeps it under."""

_PACKAGES = ("payrescue", "lightgbm", "numba", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy")
_NOT_HASHED = frozenset({"model_card.json"})


@dataclass(frozen=True)
class Origin:
    """Where a training's attempts came from, and the sha256 of what was there; `attempts` counts them.

    A database has no file: `sha256` is then that of the table that it gave.
    """

    data: str
    query: str | None
    mapping: str | None
    sha256: str
    mapping_sha256: str | None
    attempts: int


def origin_of(
    data: str, query: str | None, mapping: str | None, table: pd.DataFrame, own: Sequence[OwnColumn] = ()
) -> Origin:
    """The origin of a checked table; the URL of a database is kept without its password.

    Columns beyond the contract's and the `own` ones, such as a champion's, are no part of what was learnt from.
    """
    from training.tracking import without_password

    path = Path(data)
    told = _hash_of_files(path) if path.exists() else _hash_of_table(table, own)
    mapped = _hash_of_files(Path(mapping)) if mapping else None
    where = str(path.resolve()) if path.exists() else without_password(data)
    return Origin(where, query, str(Path(mapping).resolve()) if mapping else None, told, mapped, len(table))


def artefact_hash(folder: Path) -> str:
    """The hash of an artefact: over its format, the features' fingerprint, and the hash of every file but the model card."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    files = {name: known["sha256"] for name, known in manifest["files"].items() if name not in _NOT_HASHED}
    told = json.dumps([manifest["format"], manifest["fingerprint"], sorted(files.items())], separators=(",", ":"))
    return f"sha256:{hashlib.sha256(told.encode()).hexdigest()}"


def record(origin: Origin, settings: TrainSettings, folder: Path) -> dict[str, Any]:
    """What a run keeps, so that it can be done again; `folder` is the artefact's."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return {
        "origin": asdict(origin),
        "settings": asdict(settings),
        "environment": environment(),
        "artefact": {
            "sha256": artefact_hash(folder),
            "files": {name: known["sha256"] for name, known in manifest["files"].items() if name not in _NOT_HASHED},
        },
    }


@cache
def environment() -> dict[str, str]:
    """What the numbers hang on beside data and settings, each in words: commit, Python, packages, processor, cores."""
    told = {"commit": _commit(), "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            told[name] = version(name)
        except PackageNotFoundError:
            told[name] = "not installed"
    return told | {"platform": f"{sys.platform} {platform.machine()}", "cores": str(os.cpu_count())}


def differences(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs between two environments or two lists of files, in words.

    >>> differences({"numpy": "2.4", "scipy": "1"}, {"numpy": "2.5", "scipy": "1"})
    ['numpy: 2.4 then, 2.5 now']
    """
    names = [*then, *(name for name in now if name not in then)]
    return [
        f"{name}: {then.get(name, 'none')} then, {now.get(name, 'none')} now"
        for name in names
        if then.get(name) != now.get(name)
    ]


def settings_of(told: Mapping[str, Any]) -> TrainSettings:
    """The settings that a run recorded. Raises BadInput for one that this version does not know."""
    try:
        return TrainSettings(**told)
    except TypeError as error:
        raise BadInput("reproduce", message=f"the run has settings that this version has not ({error})") from None


def _hash_of_files(path: Path) -> str:
    """sha256 of a file, or of the names and contents of a folder's Parquet files."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256()
    for part in sorted(path.rglob("*.parquet")):
        whole.update(f"{part.relative_to(path).as_posix()} {_hash_of_files(part)}\n".encode())
    return whole.hexdigest()


def _hash_of_table(table: pd.DataFrame, own: Sequence[OwnColumn]) -> str:
    import pandas as pd

    known = columns().keys() | {column.name for column in own}
    learnt = table[[name for name in table.columns if name in known]]
    rows = pd.util.hash_pandas_object(learnt, index=False).to_numpy()
    return hashlib.sha256(",".join(learnt.columns).encode() + rows.tobytes()).hexdigest()


def _commit() -> str:
    """The commit of the code, and whether it has changes beside it."""
    here = ["git", "-C", str(Path(__file__).parent)]
    words = (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
    told = [subprocess.run([*here, *one], capture_output=True, text=True, check=False) for one in words]  # noqa: S603
    if told[0].returncode != 0:
        return "not a git checkout"
    return told[0].stdout.strip() + (" with uncommitted changes" if told[1].stdout.strip() else "")
