"""Where a training does its work: in this process, in memory or, beyond a size, out of it; or on a cluster."""

from __future__ import annotations

import contextlib
import ctypes
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from features.rows import Encoder
from training.fit import Fitted, fit_head
from training.output import want_engine
from training.own import own_of_training
from training.pace import pace
from training.settings import TrainSettings
from training.train import Fit, Prepared, Tell, prepare

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Engine", "Local", "engine", "give_back", "tell_ignored"]


class Engine(Protocol):
    """What is done where the work is."""

    @property
    def fit(self) -> Fit:
        """Grows the trees of a head, as `fit_head` does."""

    def read(
        self, data: str, query: str | None, mapping: str | None, *, now: datetime, others: Sequence[TrainSettings] = ()
    ) -> pd.DataFrame:
        """The attempts, checked, with outcomes to learn from; with the own columns that `others` declare, too."""

    def prepare(self, table: pd.DataFrame, encoder: Encoder | None = None) -> Prepared:
        """Their features; of the table that was read."""


class Local:
    """This process. With more attempts than `stream_above_rows`, they are read in pieces and their features kept in a file.

    What is read, computed and learnt is the same, bit for bit.
    """

    def __init__(self, settings: TrainSettings, folder: Path, tell: Tell) -> None:
        self._settings, self._folder, self._tell = settings, folder, tell

    def read(
        self, data: str, query: str | None, mapping: str | None, *, now: datetime, others: Sequence[TrainSettings] = ()
    ) -> pd.DataFrame:
        """The attempts, checked, with outcomes to learn from; with the own columns that `others` declare, too."""
        from features.attempt_batches import batches_of, read_in_batches
        from features.attempts import read_attempts
        from features.mapping import read_mapping

        batches = batches_of(data) if query is None else []
        rows = sum(map(len, batches))
        own = own_of_training(self._settings, *others)
        names = read_mapping(mapping, own) if mapping is not None else None
        if rows <= self._settings.stream_above_rows or (names is not None and names.payments is not None):
            return read_attempts(data, names, now=now, query=query, for_training=True, extra=own, progress=self._tell)
        self._tell(f"{data}: {rows:,} rows are more than stream_above_rows: reading them in {len(batches)} pieces")
        far = pace("reading", rows, self._tell)
        table = read_in_batches(batches, names, now=now, for_training=True, extra=own, far=far)
        tell_ignored(data, table, self._tell)
        give_back()
        return table

    def prepare(self, table: pd.DataFrame, encoder: Encoder | None = None) -> Prepared:
        """Features, in memory, or, of many attempts, in a file, where they take 364 bytes each."""
        far = pace("features", len(table), self._tell)
        own, mature = self._settings.own, self._settings.mature_minutes
        if len(table) <= self._settings.stream_above_rows:
            return prepare(table, encoder, own, mature_minutes=mature, far=far)
        place = Path(tempfile.mkdtemp(dir=self._folder))
        self._tell(f"features of {len(table):,} attempts are kept in a file ({len(table) * 364 / 1e9:.1f} GB)")
        prepared = prepare(table, encoder, own, mature_minutes=mature, folder=place, far=far)
        prepared = replace(
            prepared, rows=replace(prepared.rows, keys=())
        )  # the features are made: nobody looks back again
        give_back()
        return prepared

    def fit(self, matrix: Any, answer: Any, classes: Sequence[str], *args: Any, **named: Any) -> Fitted:
        """Grows the trees of a head, as `fit_head` does, and says how far it is."""
        most = named.get("rounds") or self._settings.max_rounds
        far = pace(f"{classes[0]} head", most, self._tell, of="trees at most")
        fitted = fit_head(matrix, answer, classes, *args, far=far, **named)
        if len(answer) > self._settings.stream_above_rows:
            give_back()
        return fitted


def give_back() -> None:
    """Hand back memory that is free, but that allocators keep for the next who asks: of ten million attempts, gigabytes."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):  # elsewhere than with glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def tell_ignored(data: str, table: pd.DataFrame, tell: Tell) -> None:
    """Say which columns of the source nobody asked for."""
    if ignored := table.attrs["ignored_columns"]:
        tell(f"{data}: ignored columns that are not of the attempts table: {', '.join(ignored)}")


@contextlib.contextmanager
def engine(name: str, scheduler: str | None, settings: TrainSettings, tell: Tell) -> Iterator[Engine]:
    """The engine, `local` or `dask`; `scheduler` is the address of a Dask cluster. What it keeps in files goes with it."""
    want_engine(name, scheduler)
    with tempfile.TemporaryDirectory(prefix="payrescue-", ignore_cleanup_errors=True) as folder:
        if name == "local":
            yield Local(settings, Path(folder), tell)
        else:
            from training.cluster import connected
            from training.cluster_train import Dask

            with connected(scheduler, tell) as client:
                yield Dask(client, settings, Path(folder), tell)
