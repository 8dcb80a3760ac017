"""The rates of the past as one would write them first, in DuckDB and in pandas: windows of an hour, a day and a month.

For each of the eight keys, the success rate over each window, of outcomes that were known at the attempt's `created_at`: 24 of
the 91 features. A window forgets at once what a decayed rate forgets slowly; it is what both can say plainly.
"""

from __future__ import annotations

import pandas as pd

from features.definitions import KEYS

__all__ = ["by_duckdb", "by_pandas"]

_WINDOWS = {"1h": "1 hour", "1d": "1 day", "30d": "30 days"}


def by_duckdb(table: pd.DataFrame) -> int:
    """How many rows come out, with a rate for each key and window."""
    import duckdb

    parts = sorted({part for key in KEYS for part in key.parts})
    rates = ", ".join(
        f"sum(won) OVER {key.name}_{name} / nullif(sum(known) OVER {key.name}_{name}, 0) AS {key.name}_{name}"
        for key in KEYS
        for name in _WINDOWS
    )
    windows = ", ".join(
        f"{key.name}_{name} AS ({'PARTITION BY ' + ', '.join(key.parts) if key.parts else ''} ORDER BY moment "
        f"RANGE BETWEEN INTERVAL {length} PRECEDING AND CURRENT ROW)"
        for key in KEYS
        for name, length in _WINDOWS.items()
    )
    names = ", ".join(parts)
    query = f"""
        WITH events AS (
            SELECT attempt_id, created_at AS moment, 0 AS known, 0 AS won, {names} FROM attempts
            UNION ALL
            SELECT NULL, resolved_at, 1, (outcome = 'success')::INT, {names} FROM attempts WHERE outcome IS NOT NULL
        ), seen AS (SELECT attempt_id, {rates} FROM events WINDOW {windows})
        SELECT * FROM seen WHERE attempt_id IS NOT NULL
    """
    attempts = table[["attempt_id", "created_at", "resolved_at", "outcome", *parts]]
    with duckdb.connect() as connection:
        connection.register("attempts", attempts)
        return connection.sql(query).to_arrow_table().num_rows


def by_pandas(table: pd.DataFrame) -> int:
    """How many rates come out: for each row, key and window, asked attempts and known outcomes both being rows."""
    parts = sorted({part for key in KEYS for part in key.parts})
    asked = table[["created_at", *parts]].rename(columns={"created_at": "at"}).assign(known=0.0, won=0.0)
    ended = table.loc[table["outcome"].notna(), ["resolved_at", "outcome", *parts]].rename(
        columns={"resolved_at": "at"}
    )
    ended = ended.assign(known=1.0, won=(ended.pop("outcome") == "success").astype(float))
    events = pd.concat([asked, ended]).sort_values("at", kind="stable").set_index("at")
    rates = 0
    for key in KEYS:
        whose = events.groupby(list(key.parts), observed=True, dropna=False).ngroup() if key.parts else 0
        grouped = events[["known", "won"]].assign(whose=whose).groupby("whose")[["known", "won"]]
        for window in _WINDOWS:
            sums = grouped.rolling(window).sum()
            rates += len(sums["won"] / sums["known"])
    return rates
