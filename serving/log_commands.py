"""`payrescue export-log`, and what `payrescue serve` checks of its log before it starts."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.columns import columns
from features.errors import BadInput, Fault
from serving.settings import LOG_VERSION, NO_LOG, ServiceSettings

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["check_log", "export_log"]

_ROWS_AT_ONCE = 20_000


def check_log(url: str) -> None:
    """Raises BadInput for a URL that no log can have, and for a log of another version.

    A database that cannot be reached is none of that: the service starts, and scores without its log.
    """
    if url == NO_LOG or _is_known_good(url):
        return
    from serving.log_store import LogStore, reason_of

    store = LogStore(url)
    if store.file is not None and not store.file.parent.is_dir():
        raise BadInput("serve", [Fault("--log", "a file in a folder that is there", seen=str(store.file))])
    try:
        if store.file is None or store.file.is_file():
            store.prepare()
    except BadInput:
        raise
    except Exception as error:
        said, may_pass = reason_of(error)
        if not may_pass:
            raise BadInput("serve", [Fault("--log", f"a decision log ({said})", seen=store.name)]) from None
    finally:
        store.close()


def _is_known_good(url: str) -> bool:
    """Whether a log is plainly as it should be: a SQLite file of this version, or one that can be made where it is named.

    Said without SQLAlchemy, which would take a fifth of a second of every start to import.
    """
    name = url.removeprefix("sqlite:///")
    if name in {url, "", ":memory:"} or not set(name).isdisjoint("?#%"):
        return False
    file = Path(name)
    if not file.exists():
        return file.parent.is_dir()
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as log:
            return log.execute("SELECT version FROM payrescue_log").fetchall() == [(LOG_VERSION,)]
    except sqlite3.Error:
        return False


def export_log(url: str | None, output: Path, *, say: Callable[[str], object] = print) -> None:
    """`payrescue export-log`. The URL is the service's own where none is given.

    Raises BadInput where there is no log, or no attempt in it.
    """
    if output.suffix not in {".parquet", ".csv"}:
        raise BadInput("--output", [Fault("file", "a name that ends in .parquet or .csv", seen=output.name)])
    from serving.log_export import Exported, attempts_of
    from serving.log_store import LogStore, reason_of

    store = LogStore(url or ServiceSettings.from_environment(os.environ).log)
    if store.file is not None and not store.file.is_file():
        raise BadInput(store.name, message="no such file; want a log that `payrescue serve` wrote")
    exported = Exported()
    try:
        store.check()
        _write(attempts_of(store, exported), output)
    except (BadInput, OSError):
        raise
    except Exception as error:
        raise BadInput(store.name, message=f"cannot be read: {reason_of(error)[0]}") from None
    finally:
        store.close()
    early = f" ({exported.too_early:,} outcomes from before their attempt left out)" if exported.too_early else ""
    say(
        f"{exported.attempts:,} attempts of {exported.payments:,} payments, {exported.with_outcome:,} with an outcome,"
        f" in {output}{early}\nnext: payrescue train --data {output}"
    )


def _write(rows: Iterator[Mapping[str, Any]], output: Path) -> None:
    """Write rows of the attempts table, under another name first, so that a file that is there is whole."""
    import pyarrow as pa

    types = {
        "timestamp": pa.timestamp("us", tz="UTC"),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
    }
    schema = pa.schema([(column.name, types.get(column.type, pa.string())) for column in columns().values()])
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        first = list(islice(rows, 1))
        if not first:
            raise BadInput("log", message="holds no attempts; want at least one that was scored")
        with _writer(part, schema, csv=output.suffix == ".csv") as writer:
            batch: list[Mapping[str, Any]] = [*first, *islice(rows, _ROWS_AT_ONCE)]
            while batch:
                writer.write_batch(_batch(batch, schema))
                batch = list(islice(rows, _ROWS_AT_ONCE))
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def _writer(path: Path, schema: pa.Schema, *, csv: bool) -> Any:
    from pyarrow.csv import CSVWriter
    from pyarrow.parquet import ParquetWriter

    return CSVWriter(str(path), schema) if csv else ParquetWriter(str(path), schema)


def _batch(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    rows = list(rows)
    return pa.RecordBatch.from_arrays(
        [pa.array([row.get(field.name) for row in rows], field.type) for field in schema], schema=schema
    )
