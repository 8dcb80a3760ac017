"""`payrescue export-log` and `prune-log`, and what `payrescue serve` checks of its log before it starts."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.columns import columns
from features.errors import BadInput, Fault
from serving.settings import LOG_VERSION, NO_LOG, NO_MODEL, ServiceSettings

if TYPE_CHECKING:
    import pyarrow as pa

    from serving.log_store import LogStore

__all__ = ["check_log", "export_log", "prune_log"]

_ROWS_AT_ONCE = 20_000
_DAY_US = 86_400_000_000
_MOST_DAYS = 36_500
_TELL_EVERY = 100_000


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


def export_log(
    url: str | None, output: Path, *, decisions: Path | None = None, say: Callable[[str], object] = print
) -> None:
    """`payrescue export-log`. The URL is the service's own where none is given; `decisions` gets what was suggested, too.

    Raises BadInput where there is no log, or no attempt in it.
    """
    for option, path in (("--output", output), ("--decisions", decisions)):
        if path is not None and path.suffix not in {".parquet", ".csv"}:
            raise BadInput(option, [Fault("file", "a name that ends in .parquet or .csv", seen=path.name)])
    from serving.log_decisions import COLUMNS, decisions_of
    from serving.log_export import Exported, attempts_of

    exported = Exported()
    with _opened(url) as store:
        own = _own_columns(attempts_of(store, Exported()))
        known = {column.name: column.type for column in columns().values()}
        _write(attempts_of(store, exported), output, known | own)
        if decisions is not None:
            _write(decisions_of(store), decisions, COLUMNS)
    early = f" ({exported.too_early:,} outcomes from before their attempt left out)" if exported.too_early else ""
    suggested = f"what was suggested is in {decisions}\n" if decisions is not None else ""
    say(
        f"{exported.attempts:,} attempts of {exported.payments:,} payments, {exported.with_outcome:,} with an outcome,"
        f" in {output}{early}\n{suggested}next: payrescue train --data {output}"
    )


def prune_log(
    url: str | None,
    days: float,
    models: Sequence[str],
    *,
    now: int,
    dry: bool = False,
    say: Callable[[str], object] = print,
) -> None:
    """`payrescue prune-log`: takes out what is older than `days`; `now` is in microseconds since 1970, UTC.

    `models` are all that serve from the log; the service's own if none is named. Raises BadInput where there is no log, where
    a model cannot be found, and for fewer days than the networks' limits look back.
    """
    from serving.log_prune import LEAST_US, Pruned, prune

    least = LEAST_US / _DAY_US
    if not least <= days <= _MOST_DAYS:
        wanted = f"days, from {least:g}: the networks' limits count declines for as long"
        raise BadInput("prune-log", [Fault("--older-than", wanted, seen=f"{days:g}")])
    settings = ServiceSettings.from_environment(os.environ)
    learnt = [until for uri in models or (settings.model,) if (until := _learnt_until(uri, settings)) is not None]
    told = 0

    def tell(pruned: Pruned) -> None:
        nonlocal told
        gone = pruned.outcomes + pruned.decisions
        if gone - told >= _TELL_EVERY:
            told = gone
            say(f"{gone:,} rows so far")

    with _opened(url) as store:
        before = now - round(days * _DAY_US)
        pruned = prune(store, before, min(learnt, default=None), dry=dry, tell=tell)
    verb = "would go" if dry else "are gone"
    kept = f"\n{pruned.needed:,} more outcomes are as old, but a model that serves has not learnt from them"
    say(
        f"{pruned.decisions:,} of {pruned.all_decisions:,} decisions and {pruned.outcomes:,} of {pruned.all_outcomes:,} outcomes"
        f" {verb}{kept if pruned.needed else ''}"
    )


def _learnt_until(uri: str, settings: ServiceSettings) -> int | None:
    """The moment up to which outcomes have entered a model's past; None for the rules alone."""
    from serving.loading import artefact_folder, locate

    if uri == NO_MODEL:
        return None
    located = locate(replace(settings, model=uri), os.environ)
    if located is None:
        wanted = f"each model that serves from this log, where it can be found; or {NO_MODEL}, if none does"
        raise BadInput("prune-log", [Fault("--model", wanted, seen=uri)])
    from features.errors import ArtifactMismatch
    from features.history import History

    try:
        return History.load(artefact_folder(located.folder) / "history.npz").until
    except ArtifactMismatch as error:
        raise BadInput("prune-log", [Fault("--model", f"a model that can be read ({error})", seen=uri)]) from None


@contextmanager
def _opened(url: str | None) -> Iterator[LogStore]:
    """A log that is there, the service's own where no URL is given. Raises BadInput for what fails."""
    from serving.log_store import LogStore, reason_of

    store = LogStore(url or ServiceSettings.from_environment(os.environ).log)
    if store.file is not None and not store.file.is_file():
        raise BadInput(store.name, message="no such file; want a log that `payrescue serve` wrote")
    try:
        store.check()
        yield store
    except (BadInput, OSError):
        raise
    except Exception as error:
        raise BadInput(store.name, message=f"cannot be read: {reason_of(error)[0]}") from None
    finally:
        store.close()


def _own_columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Type by name of the columns that the table has beyond the contract's: those that models declared, as checkout sent them."""
    found: dict[str, str] = {}
    for row in rows:
        for name in row.keys() - columns().keys():
            if isinstance(row[name], str) or name not in found:
                found[name] = "category" if isinstance(row[name], str) else "float64"
    return dict(sorted(found.items()))


def _write(rows: Iterator[Mapping[str, Any]], output: Path, kinds: Mapping[str, str]) -> None:
    """Write rows of a table with columns of these types, under another name first, so that a file that is there is whole."""
    import pyarrow as pa

    types = {
        "timestamp": pa.timestamp("us", tz="UTC"),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
    }
    schema = pa.schema([(name, types.get(kind, pa.string())) for name, kind in kinds.items()])
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
        [
            pa.array([_value(row.get(field.name), text=field.type == pa.string()) for row in rows], field.type)
            for field in schema
        ],
        schema=schema,
    )


def _value(value: Any, *, text: bool) -> Any:
    """A value as its column has it: what was sent as a number once and as text later is text."""
    return str(value) if text and isinstance(value, int | float) else value
