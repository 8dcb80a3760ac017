"""Attempts to pay, read from files and databases and checked against the contract's table.

The attempts table is a pandas.DataFrame with one row per attempt, in the order of the source, and a plain row
index. Its columns are those of `features.columns` that the source has, in the contract's order, then declared
further ones:

    contract type   pandas dtype                                missing
    string          str                                         NaN
    timestamp       datetime64[us, UTC]                         NaT
    int64           int64, or Int64 where values are missing    pd.NA
    float64         float64                                     NaN
    bool            boolean                                     pd.NA
    category        category, of str in alphabetical order      NaN

`frame.attrs["ignored_columns"]` lists columns that the source has and nobody asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from features.columns import Column, columns
from features.errors import BadInput, CardNumberFound, Fault
from features.faults import Faults

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from features.mapping import Mapping

__all__ = ["check_attempts", "check_table", "read_attempts"]


def read_attempts(
    source: str | Path,
    mapping: Mapping | str | Path | None = None,
    *,
    now: datetime,
    query: str | None = None,
    for_training: bool = False,
    extra: Sequence[Column] = (),
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """The attempts in `source`, as the attempts table (see the module).

    `source` is a Parquet file, a folder of them, a CSV file (.csv, .csv.gz), or a SQLAlchemy URL with a
    `query`. `mapping` (or the YAML file of one) brings in other people's columns and values. `now` (aware) is
    what times may not lie after. `for_training` also wants outcomes, of success and of failure. `extra` are
    columns of the merchant's own.

    Raises BadInput with all the faults found, up to 20; CardNumberFound where there are card numbers.
    """
    from features.attempt_files import read_table
    from features.mapping import Mapping, read_mapping

    tell = progress or (lambda _: None)
    if mapping is not None and not isinstance(mapping, Mapping):
        mapping = read_mapping(mapping, extra)
    delimiter = mapping.delimiter if mapping is not None else ","
    table, name = read_table(source, query=query, delimiter=delimiter)
    tell(f"{name}: read {table.num_rows:,} rows, {table.num_columns} columns")
    frame = check_table(table, name, mapping, now=now, for_training=for_training, extra=extra)
    ignored = frame.attrs["ignored_columns"]
    if ignored:
        tell(f"{name}: ignored columns that are not of the attempts table: {', '.join(ignored)}")
    return frame


def check_attempts(
    frame: pd.DataFrame,
    *,
    source: str = "attempts",
    now: datetime,
    mapping: Mapping | None = None,
    for_training: bool = False,
    extra: Sequence[Column] = (),
) -> pd.DataFrame:
    """The attempts in `frame`, as the attempts table (see the module); `frame` stays as it is.

    `source` names it in messages. For the rest, see `read_attempts`.
    """
    import pyarrow as pa

    from features.arrow_columns import to_arrow

    names = [str(name) for name in frame.columns]
    arrays = []
    for place, name in enumerate(names):
        try:
            arrays.append(to_arrow(frame.iloc[:, place]))
        except pa.ArrowException:
            raise BadInput(source, [Fault(name, "values of one type")]) from None
    if len(frame) == 0:
        raise BadInput(source, message="holds no attempts; want at least one row")
    table = pa.Table.from_arrays(arrays, names=names)
    return check_table(table, source, mapping, now=now, for_training=for_training, extra=extra)


def check_table(
    table: pa.Table,
    source: str,
    mapping: Mapping | None,
    *,
    now: datetime,
    for_training: bool,
    extra: Sequence[Column],
    whole: bool = True,
) -> pd.DataFrame:
    """The attempts in an Arrow table. One that is a piece, not the `whole`, need not have both successes and failures."""
    import pandas as pd

    from features.attempt_rules import check_values, check_whole_rows
    from features.attempt_types import to_series

    if now.tzinfo is None:
        raise ValueError("now: want a datetime with a zone")
    wanted = _wanted(extra, source)
    _refuse_cards(table, source)
    _refuse_names(table, source)
    faults = Faults(source)
    ignored = [name for name in table.column_names if name not in wanted]
    if mapping is not None:
        from features.mapping_rules import apply_mapping

        table, ignored = apply_mapping(mapping, table, wanted, faults)
    for name, column in wanted.items():
        must = column.required or (for_training and column.for_training)
        if must and name not in table.column_names and name not in faults.columns:
            faults.add(name, "this column, which is missing" + _nearest(name, table.column_names))
    frame = pd.DataFrame(
        {
            name: to_series(name, column.type, table[name], faults)
            for name, column in wanted.items()
            if name in table.column_names
        }
    )
    check_values(frame, faults, now=now)
    check_whole_rows(frame, faults)
    if for_training and whole:
        _check_learnable(frame, faults)
    faults.refuse()
    frame.attrs["ignored_columns"] = ignored
    return frame


def _wanted(extra: Sequence[Column], source: str) -> dict[str, Column]:
    """The contract's columns and the merchant's own, by name."""
    clash = [column.name for column in extra if column.name in columns()]
    if clash:
        raise BadInput(source, [Fault(name, "a name that the contract does not use") for name in clash])
    return columns() | {column.name: column for column in extra}


def _refuse_names(table: pa.Table, source: str) -> None:
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise BadInput(source, [Fault(" ".join(name.split()), "one column of this name, not more") for name in twice])


def _refuse_cards(table: pa.Table, source: str) -> None:
    from features.card_columns import find_card_numbers

    faults = find_card_numbers(table)
    if faults:
        raise CardNumberFound(source, faults[:20])


def _nearest(name: str, there: Sequence[str]) -> str:
    """A hint at the column that was meant, if one is close."""
    from difflib import get_close_matches

    close = get_close_matches(name, [other for other in there if other not in columns()], n=1, cutoff=0.75)
    return f" (is it {close[0]!r}?)" if close else ""


def _check_learnable(frame: pd.DataFrame, faults: Faults) -> None:
    """Note outcomes that nothing can be learnt from: none, or all of one kind."""
    if "outcome" not in frame or "outcome" in faults.columns:
        return
    outcomes = frame["outcome"].dropna()
    succeeded = int((outcomes == "success").sum())
    if len(outcomes) == 0:
        faults.add("outcome", "attempts with an outcome to learn from; all are pending")
    elif succeeded in (0, len(outcomes)):
        kind = "failed" if succeeded == 0 else "succeeded"
        faults.add("outcome", f"both successes and failures to learn from; all attempts {kind}")
