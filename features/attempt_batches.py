"""Attempts in Parquet that are read and checked piece by piece, as one machine's memory or a cluster's workers want them.

Pieces put together (`joined`) are the table that `read_attempts` gives. What holds of a whole table only, an id that occurs
once, say, is told from what each piece leaves behind (`Seen`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.attempts import check_table
from features.columns import Column, columns
from features.errors import BadInput, CardNumberFound, Fault

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from features.mapping import Mapping

__all__ = ["Batch", "Seen", "batches_of", "check_together", "joined", "read_batch", "read_in_batches"]

Array = npt.NDArray[Any]

_ROWS = 250_000


@dataclass(frozen=True)
class Batch:
    """Rows `start` to `stop` of a row group of a Parquet file; the first of them is row `first` of the whole source.

    `written` is when the file was written (nanoseconds), so that nobody takes what an older one held for it.
    """

    source: str
    path: str
    group: int
    start: int
    stop: int
    first: int
    written: int

    def __len__(self) -> int:
        return self.stop - self.start


def batches_of(source: str | Path, rows: int = _ROWS) -> list[Batch]:
    """The batches of a Parquet file, or of a folder of them, each of `rows` rows at most; none where it is something else.

    A file that is damaged gives none, too: who reads it whole says what is wrong with it.
    """
    import pyarrow as pa
    from pyarrow import parquet

    path = Path(source)
    if "://" in str(source) or not path.exists():
        return []
    if path.is_dir():
        whole = path / "attempts.parquet"
        files = [whole] if whole.is_file() else sorted(path.rglob("*.parquet"))
    else:
        files = [path]
    found: list[Batch] = []
    first = 0
    try:
        for file in files:
            read, written = parquet.read_metadata(str(file)), file.stat().st_mtime_ns
            for group in range(read.num_row_groups):
                n = read.row_group(group).num_rows
                for start in range(0, n, rows):
                    stop = min(n, start + rows)
                    found.append(Batch(str(source), str(file), group, start, stop, first + start, written))
                first += n
    except (pa.ArrowException, OSError):
        return []
    return found


def read_batch(
    batch: Batch,
    mapping: Mapping | None = None,
    *,
    now: datetime,
    for_training: bool = False,
    extra: Sequence[Column] = (),
) -> pd.DataFrame:
    """The attempts of a batch, checked as `read_attempts` does, but for what holds of the whole table only.

    Raises BadInput, with rows as they count in the whole source.
    """
    table = _row_group(batch.path, batch.group, batch.written).slice(batch.start, len(batch))
    try:
        return check_table(
            table, batch.source, mapping, now=now, for_training=for_training, extra=extra, whole=False
        )  # fmt: skip
    except BadInput as error:
        moved = [fault if fault.row is None else replace(fault, row=fault.row + batch.first) for fault in error.faults]
        kind = CardNumberFound if isinstance(error, CardNumberFound) else BadInput
        raise (kind(error.source, moved) if moved else error) from None


@lru_cache(maxsize=1)
def _row_group(path: str, group: int, written: int) -> pa.Table:  # noqa: ARG001  a key of the cache
    import pyarrow as pa
    from pyarrow import parquet

    try:
        there = parquet.read_schema(path).names
        categories = [name for name, column in columns().items() if column.type == "category" and name in there]
        table = parquet.ParquetFile(path, read_dictionary=categories).read_row_group(group)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(path, message="is a damaged Parquet file, or one cut short") from error
    return table.unify_dictionaries()


@dataclass(frozen=True)
class Seen:
    """What a batch leaves behind for questions about all: hashes of ids, and which of outcome, time and reason it told.

    `attempt`, `payment` and `owner` are uint64, shape (n,). An attempt's owner is its customer, or its payment where no
    customer is told.
    """

    batch: Batch
    attempt: Array
    payment: Array
    owner: Array
    told: frozenset[str]
    succeeded: int
    known: int

    @classmethod
    def of(cls, batch: Batch, table: pd.DataFrame) -> Seen:
        """Of a checked batch."""
        payment = _hashes(table["payment_id"])
        owner = payment
        if "customer_id" in table:
            owner = np.where(table["customer_id"].notna().to_numpy(), _hashes(table["customer_id"]), payment)
        outcome = table["outcome"].dropna() if "outcome" in table else None
        return cls(
            batch,
            _hashes(table["attempt_id"]),
            payment,
            owner,
            frozenset(name for name in _TOLD if name in table and table[name].notna().any()),
            0 if outcome is None else int((outcome == "success").sum()),
            0 if outcome is None else len(outcome),
        )


_TOLD = ("outcome", "resolved_at", "reason")


def _hashes(column: pd.Series[Any]) -> Array:
    import pandas as pd

    return np.asarray(pd.util.hash_array(column.to_numpy(object, na_value=""), categorize=False), np.uint64)


def check_together(seen: Sequence[Seen], *, for_training: bool = False) -> None:
    """Raises BadInput for what only shows across batches: an id told twice, outcomes of one kind, times without outcomes."""
    source = seen[0].batch.source
    ids = np.concatenate([one.attempt for one in seen])
    order = np.argsort(ids, kind="stable")
    again = order[1:][ids[order[1:]] == ids[order[:-1]]]
    if len(again):
        raise BadInput(
            source, [Fault("attempt_id", "an id that no earlier row has", None, int(again.min()) + 1, len(again))]
        )
    everywhere = frozenset[str]().union(*(one.told for one in seen))
    for one in seen:
        row = one.batch.first + 1
        if {"outcome", "resolved_at"} <= everywhere:
            if "outcome" in one.told and "resolved_at" not in one.told:
                raise BadInput(source, [Fault("resolved_at", "a time where the row has an outcome", row=row)])
            if "resolved_at" in one.told and "outcome" not in one.told:
                raise BadInput(source, [Fault("outcome", "an outcome where the row has a resolved_at", row=row)])
        if "outcome" in everywhere and "reason" in one.told and "outcome" not in one.told:
            raise BadInput(source, [Fault("reason", "no reason without an outcome", row=row)])
    if for_training:
        known, succeeded = sum(one.known for one in seen), sum(one.succeeded for one in seen)
        if known == 0:
            raise BadInput(source, [Fault("outcome", "attempts with an outcome to learn from; all are pending")])
        if succeeded in (0, known):
            kind = "failed" if succeeded == 0 else "succeeded"
            allowed = f"both successes and failures to learn from; all attempts {kind}"
            raise BadInput(source, [Fault("outcome", allowed)])


def joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Checked batches as one table, in their order. `parts` is emptied meanwhile, so that nothing is held twice."""
    import pandas as pd
    from pandas.api.types import union_categoricals

    from features.attempt_types import empty_series

    names = list(dict.fromkeys(name for part in parts for name in part.columns))
    order = {name: place for place, name in enumerate(columns())}
    names.sort(key=lambda name: order.get(name, len(order)))
    ignored = dict.fromkeys(name for part in parts for name in part.attrs.get("ignored_columns", ()))
    sizes = [len(part) for part in parts]
    taken = [dict(part.items()) for part in parts]
    parts.clear()
    together = {}
    for name in names:
        found = [part.pop(name, None) for part in taken]
        coded = any(piece is not None and isinstance(piece.dtype, pd.CategoricalDtype) for piece in found)
        kind = "category" if coded else columns()[name].type if name in columns() else "float64"
        pieces = [
            piece if piece is not None else empty_series(kind, size) for piece, size in zip(found, sizes, strict=True)
        ]
        if coded:
            together[name] = pd.Series(union_categoricals(pieces, sort_categories=True))
        else:
            together[name] = pd.concat(pieces, ignore_index=True)
    table = pd.DataFrame(together, copy=False)
    table.attrs["ignored_columns"] = list(ignored)
    return table


def read_in_batches(
    batches: Sequence[Batch],
    mapping: Mapping | None = None,
    *,
    now: datetime,
    for_training: bool = False,
    extra: Sequence[Column] = (),
    far: Callable[[int], None] = lambda _: None,
) -> pd.DataFrame:
    """What `read_attempts` gives of the source, in about half the memory; `far` is told how many rows are read."""
    parts, seen = [], []
    for batch in batches:
        part = read_batch(batch, mapping, now=now, for_training=for_training, extra=extra)
        parts.append(part)
        seen.append(Seen.of(batch, part))
        far(batch.first + len(batch))
    _row_group.cache_clear()
    check_together(seen, for_training=for_training)
    return joined(parts)
