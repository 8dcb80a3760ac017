"""Tables from files and databases, as Arrow tables: nothing in them is judged or converted here.

Text stays text: a CSV gives strings only, so that a code "05" is never the number 5.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.columns import columns
from features.errors import BadInput, Fault

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["is_database", "read_table"]

_NO_ROWS = "holds no attempts, only a header; want at least one row"


def is_database(source: str | Path) -> bool:
    """Whether `source` is a SQLAlchemy URL and not a file.

    >>> is_database("postgresql://reader@host/shop"), is_database("attempts.parquet")
    (True, False)
    """
    return isinstance(source, str) and "://" in source


def read_table(source: str | Path, *, query: str | None = None, delimiter: str = ",") -> tuple[pa.Table, str]:
    """The table behind `source`, and a name of it for messages, without passwords.

    `source` is a Parquet file, a folder of them (one that holds `attempts.parquet` stands for that file), a
    CSV file (.csv or .csv.gz, UTF-8, with a header), or a SQLAlchemy URL, for which `query` says what to
    select. Raises BadInput if it cannot be read or holds no rows.
    """
    if is_database(source):
        from features.attempt_database import read_query

        table, name = read_query(str(source), query)
    else:
        path = Path(source)
        name = str(path)
        if query is not None:
            raise BadInput(name, message="a query needs a database: give its SQLAlchemy URL as the data")
        table = _read_file(path, delimiter)
    if table.num_rows == 0:
        raise BadInput(name, message=_NO_ROWS)
    return table, name


def _categories() -> list[str]:
    """Columns of few distinct values: each value is kept once, which makes all that follows faster."""
    return [name for name, column in columns().items() if column.type == "category"]


def _bad(path: Path, message: str) -> BadInput:
    return BadInput(str(path), message=message)


def _read_file(path: Path, delimiter: str) -> pa.Table:
    if not path.exists():
        raise _bad(path, "no such file; want a Parquet or CSV file, or a folder of Parquet files")
    if path.is_dir():
        return _read_folder(path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror}") from error
    if not start:
        raise _bad(path, "is empty; want a header and at least one row")
    if path.name.lower().endswith((".csv", ".csv.gz")):
        return _read_csv(path, delimiter)
    if start == b"PAR1":
        return _read_parquet(path)
    if path.suffix.lower() in {".parquet", ".pq"}:
        raise _bad(path, "is not a Parquet file, whatever its name says")
    raise _bad(path, "want a Parquet file (.parquet) or a CSV file (.csv, .csv.gz)")


def _read_folder(folder: Path) -> pa.Table:
    import pyarrow as pa

    whole = folder / "attempts.parquet"
    if whole.is_file():
        return _read_file(whole, ",")
    parts = sorted(folder.rglob("*.parquet"))
    if not parts:
        raise _bad(folder, "is a folder without Parquet files; want attempts in *.parquet")
    try:
        return pa.concat_tables([_read_parquet(part) for part in parts], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        text = "its Parquet files differ in the type of a column; want one type in all of them"
        raise _bad(folder, text) from error


def _read_parquet(path: Path) -> pa.Table:
    """One Parquet file, its category columns dictionary-encoded as they are read, which is fastest."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(str(path), read_dictionary=_categories(), partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise _bad(path, "is a damaged Parquet file, or one cut short") from error
    return table.unify_dictionaries()


def _read_csv(path: Path, delimiter: str) -> pa.Table:
    """A CSV file as strings. Rows longer or shorter than the header, and bytes not in UTF-8, are refused."""
    import pyarrow as pa
    from pyarrow import csv

    names, lines = _csv_header(path, delimiter)
    types = dict.fromkeys(names, pa.string())
    types |= {name: pa.dictionary(pa.int32(), pa.string()) for name in _categories() if name in types}

    def parse(broken: Any = None) -> pa.Table:
        return csv.read_csv(
            str(path),
            read_options=csv.ReadOptions(column_names=names, skip_rows=lines, use_threads=broken is None),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=broken),
            convert_options=csv.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True),
        )

    try:
        return parse()
    except (pa.ArrowException, OSError) as error:
        # Arrow's own text quotes the row, and with it whatever is in it: say what is wrong ourselves.
        text = str(error)
        if "Expected" in text and "columns" in text:
            raise BadInput(str(path), _broken_rows(parse, len(names), lines)) from None
        if "UTF8" in text or "UTF-8" in text:
            raise _bad(path, "is not UTF-8 text; want a CSV file saved as UTF-8") from None
        raise _bad(path, "cannot be read as CSV: a quote without its end?") from None


def _csv_header(path: Path, delimiter: str) -> tuple[list[str], int]:
    """The column names, and how many lines they take. Raises BadInput where there are none."""
    import csv
    import gzip

    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter)
            names = [name.strip() for name in next(reader, [])]
            more = file.read(1)
    except UnicodeDecodeError:
        raise _bad(path, "is not UTF-8 text; want a CSV file saved as UTF-8") from None
    except (OSError, EOFError, csv.Error) as error:
        raise _bad(path, f"cannot be read as CSV ({type(error).__name__})") from None
    if not any(names):
        raise _bad(path, "has no header; want the names of the columns in the first line")
    if len(names) == 1:
        for other in set(";\t|,") - {delimiter}:
            if other in names[0]:
                raise _bad(path, f"columns are split by {other!r}, not {delimiter!r}: a mapping can say `delimiter`")
    if not more:
        raise _bad(path, _NO_ROWS)
    return names, reader.line_num


def _broken_rows(parse: Any, want: int, lines: int) -> list[Fault]:
    """The rows that have another number of values than the header, as one fault for the first of them."""
    import pyarrow as pa

    seen: list[tuple[int, int]] = []

    def broken(row: Any) -> str:
        seen.append((row.number - lines, row.actual_columns))
        return "skip"

    with suppress(pa.ArrowException):  # of what else is wrong, the user hears once the rows are mended
        parse(broken)
    row, values = seen[0]
    allowed = f"{want} values, as the header has"
    return [Fault("(the whole row)", allowed, f"{values} values", row, len(seen))]
