"""Moments: from text, and from Arrow's times, to UTC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.arrow_columns import MISSING_WORDS, is_text, to_mask

if TYPE_CHECKING:
    from features.faults import Faults

__all__ = ["TIME_WANTED", "no_times", "parse_times", "to_times"]

TIME_WANTED = "a time with its zone, such as 2026-01-05T09:30:00Z"

_ZONED = r"(?i)(?:z|[+-]\d\d:?(?:\d\d)?| utc)$"
_ISO_TIME = r"^\d{4}-\d\d-\d\d"


def no_times(rows: int) -> pd.Series[Any]:
    """A column of missing times, shape (rows,)."""
    return pd.Series(np.full(rows, "NaT", "datetime64[us]")).dt.tz_localize("UTC")


def to_times(name: str, column: pa.ChunkedArray, faults: Faults) -> pd.Series[Any]:
    """`column` as datetime64[us, UTC], shape (rows,); what is no moment is missing, and noted in `faults`."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type):
        if column.type.tz is None:
            bad = to_mask(pc.is_valid(column))
            allowed = f"{TIME_WANTED}; a mapping can say which `timezone` times are in"
            faults.add(name, allowed, bad, lambda row: column[row])
            return no_times(len(column))
        times = column.cast(pa.timestamp("us", "UTC"), safe=False)
        return pd.Series(times.to_pandas().to_numpy(dtype="datetime64[us]"), copy=True).dt.tz_localize("UTC")
    if not is_text(column.type):
        faults.add(name, TIME_WANTED, to_mask(column.is_valid()), lambda row: column[row])
        return no_times(len(column))
    return parse_times(name, column, faults)


def parse_times(
    name: str,
    column: pa.ChunkedArray,
    faults: Faults,
    *,
    zone: str | None = None,
    written: str | None = None,
) -> pd.Series[Any]:
    """Times in text as datetime64[us, UTC], shape (rows,).

    They are written as ISO 8601, or as `written` (strptime) says. Those without a zone are taken to be in
    `zone`, and refused where it is None. An hour that the clock shows twice is read as the later one; one
    that it skips, as its end.
    """
    text = pc.utf8_trim_whitespace(column)
    missing = ~to_mask(pc.is_valid(text)) | to_mask(pc.is_in(pc.utf8_lower(text), pa.array(MISSING_WORDS)))
    if written is None:
        zoned = to_mask(pc.match_substring_regex(text, _ZONED))
        shaped = to_mask(pc.match_substring_regex(text, _ISO_TIME))
    else:
        zoned = np.full(len(column), "%z" in written or "%Z" in written)
        shaped = ~missing
    result = no_times(len(column))
    strings = text.to_pandas().astype(object)
    style = "ISO8601" if written is None else written
    with_zone = shaped & zoned
    if with_zone.any():
        parsed = pd.to_datetime(strings[with_zone], format=style, utc=True, errors="coerce")
        result[with_zone] = parsed.dt.as_unit("us")
    without = shaped & ~zoned
    if zone is not None and without.any():
        naive = pd.to_datetime(strings[without], format=style, errors="coerce").dt.as_unit("us")
        later = np.zeros(len(naive), dtype=np.bool_)
        local = naive.dt.tz_localize(zone, ambiguous=later, nonexistent="shift_forward")
        result[without] = local.dt.tz_convert("UTC")
    allowed = TIME_WANTED if written is None else f"a time written as {written}"
    if zone is None:
        hint = f"{TIME_WANTED}; a mapping can say which `timezone` times are in"
        faults.add(name, hint, without, lambda row: column[row])
        shaped &= zoned
        missing |= without
    bad = result.isna().to_numpy() & ~missing
    faults.add(name, allowed, bad, lambda row: column[row])
    return result
