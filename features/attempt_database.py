"""Tables from a database: a SQLAlchemy URL and a query. No message shows a password or a value."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import BadInput
from features.faults import without_numbers

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_query"]

_ROWS_AT_ONCE = 50_000


def read_query(url: str, query: str | None) -> tuple[pa.Table, str]:
    """What `query` selects from the database at `url`, and a name of the database for messages.

    Raises BadInput if there is no such database, no driver for it, or no answer to the query.
    """
    import sqlalchemy
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        raise BadInput("database", message="want a SQLAlchemy URL, such as sqlite:///shop.db") from None
    name = f"{address.drivername}://{address.host or ''}/{address.database or ''}"
    if not query:
        raise BadInput(name, message="a database needs a query, such as SELECT * FROM attempts")
    file = address.database if address.get_backend_name() == "sqlite" else None
    if file and file != ":memory:" and not file.startswith("file:") and not Path(file).is_file():
        raise BadInput(name, message="no such file; SQLite would make an empty one")
    try:
        engine = sqlalchemy.create_engine(address)
    except NoSuchModuleError:
        raise BadInput(name, message="SQLAlchemy knows no such database; want a dialect it has") from None
    except ImportError as error:
        raise BadInput(name, message=f"its driver is not installed: {error.name}") from None
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            result = connection.execute(sqlalchemy.text(query))
            if not result.returns_rows:
                raise BadInput(name, message="the query selects nothing; want a SELECT")
            return _rows_to_table(result), name
    except SQLAlchemyError as error:
        # The driver's own words, without the statement and its parameters that SQLAlchemy adds.
        said = str(getattr(error, "orig", None) or type(error).__name__).splitlines()[0]
        raise BadInput(name, message=f"the query failed: {without_numbers(said)}") from None
    finally:
        engine.dispose()


def _rows_to_table(result: Any) -> pa.Table:
    import pyarrow as pa

    names = list(result.keys())
    pieces: list[list[Any]] = [[] for _ in names]
    for rows in result.partitions(_ROWS_AT_ONCE):
        for piece, values in zip(pieces, zip(*rows, strict=True), strict=True):
            piece.extend(values)
    return pa.Table.from_arrays([_to_array(piece) for piece in pieces], names=names)


def _to_array(values: list[Any]) -> pa.Array:
    """Python values as one Arrow array; as text where their types differ, which SQLite allows."""
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
