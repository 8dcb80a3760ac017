"""Writes what a command made: under another name first, so that a file that is there is whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import BadInput, Fault

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["want_engine", "want_table", "write_table", "write_text"]


def want_engine(name: str, scheduler: str | None) -> None:
    """Refuse a scheduler that nobody would ask."""
    if scheduler is not None and name != "dask":
        raise BadInput("--scheduler", [Fault("engine", "--engine dask, whose scheduler this is", seen=name)])


def want_table(path: Path) -> None:
    """Refuse a name that tells no format; before the work, not after it."""
    if path.suffix not in {".parquet", ".csv"}:
        raise BadInput("--output", [Fault("file", "a name that ends in .parquet or .csv", seen=path.name)])


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as Parquet or CSV, by the ending of its name; folders that are missing are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _beside(path)
    try:
        if path.suffix == ".csv":
            frame.to_csv(part, index=False)
        else:
            frame.to_parquet(part, index=False)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(text: str, path: Path) -> None:
    """Write a text as UTF-8; folders that are missing are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _beside(path)
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")
