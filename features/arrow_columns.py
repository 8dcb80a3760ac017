"""Columns between pandas and Arrow, and what is asked of Arrow columns in several places."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["MISSING_WORDS", "is_scalar", "is_text", "to_arrow", "to_mask"]

MISSING_WORDS = ("", "nan", "null", "none", "na", "n/a", "nat", "<na>")
"""How a missing number, time or truth value is written in text. For other text only "" is: NA is Namibia."""


def to_arrow(series: pd.Series[Any]) -> pa.ChunkedArray:
    """`series` in Arrow; NaN and the like are missing in it, and numbers among texts are texts.

    Raises pa.ArrowException for other mixtures of types.
    """
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        moments = series.dt.tz_convert(None).to_numpy()
        array = pa.array(moments, from_pandas=True)
        return pa.chunked_array([array.cast(pa.timestamp(array.type.unit, "UTC"))])
    try:
        array = pa.array(series.tolist() if series.dtype == object else series.array, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        values = series.astype(object).where(series.notna(), None)
        if not values.map(lambda value: value is None or isinstance(value, str | int | float)).all():
            raise
        array = pa.array([None if value is None else str(value) for value in values], pa.large_string())
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def is_scalar(kind: pa.DataType) -> bool:
    """Whether a column of this type holds single values that can be shown: no lists, no bytes."""
    types = pa.types
    return not (types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind))


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def to_mask(values: Any) -> npt.NDArray[np.bool_]:
    """Arrow truth values as numpy ones; missing is False."""
    return np.asarray(pc.fill_null(values, False).to_numpy(zero_copy_only=False), dtype=np.bool_)
