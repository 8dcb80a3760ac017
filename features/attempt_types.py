"""From whatever Arrow type a column came in to the one that the attempts table wants, and what could not be
converted.

Text of other types is read where it can mean one thing only: "12" is a count, 5411 a merchant category. It is
refused where it cannot: 5 is no response code (was it "05"?), 12.5 no count, a time without a zone no moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.allowed import LENGTHS
from features.arrow_columns import MISSING_WORDS, is_scalar, is_text, to_mask
from features.attempt_times import TIME_WANTED, to_times
from features.errors import Fault

if TYPE_CHECKING:
    from features.faults import Faults

__all__ = ["empty_series", "to_series"]

_TRUE = ["true", "t", "yes", "y", "1", "1.0"]
_FALSE = ["false", "f", "no", "n", "0", "0.0"]
_CODES = frozenset({"response_code", "advice_code", "trans_status_reason"})
_UNPRINTABLE = r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]"

_DTYPES = {
    "string": "str",
    "timestamp": "datetime64[us, UTC]",
    "int64": "Int64",
    "float64": "float64",
    "bool": "boolean",
}
_WANTED = {
    "string": "text",
    "timestamp": TIME_WANTED,
    "int64": "a whole number",
    "float64": "a number",
    "bool": "true or false",
    "category": "text",
}


def empty_series(type_: str, rows: int) -> pd.Series[Any]:
    """A column of this type in which every value is missing, shape (rows,)."""
    if type_ == "category":
        return pd.Series(pd.Categorical.from_codes(np.full(rows, -1, np.int8), pd.Index([], dtype="str")))
    if type_ == "int64":
        return pd.Series(pd.array([pd.NA] * rows, dtype="Int64"))
    return pd.Series([None] * rows, dtype=_DTYPES[type_])


def to_series(name: str, type_: str, column: pa.ChunkedArray, faults: Faults) -> pd.Series[Any]:
    """`column` as the pandas column that the attempts table has for `type_`, shape (rows,).

    Values that cannot be converted are missing in it, and noted in `faults`.
    """
    if column.null_count == len(column):
        return empty_series(type_, len(column))
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not is_scalar(kind) or (type_ != "timestamp" and pa.types.is_temporal(kind)):
        faults.note(Fault(name, _WANTED[type_], f"a column of {_spoken(kind)}", count=len(column)))
        return empty_series(type_, len(column))
    converted = {
        "string": _text,
        "category": _category,
        "int64": _whole,
        "float64": _number,
        "bool": _truth,
        "timestamp": to_times,
    }[type_]
    return converted(name, column, faults)


def _spoken(kind: pa.DataType) -> str:
    if pa.types.is_temporal(kind):
        return "times"
    if pa.types.is_boolean(kind):
        return "truth values"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numbers"
    return str(kind)


def _refuse_type(name: str, type_: str, column: pa.ChunkedArray, faults: Faults) -> pd.Series[Any]:
    """Note that no value of `column` can be of this type."""
    rows = len(column)
    bad = to_mask(pc.is_valid(column))
    seen = column.filter(pc.is_valid(column))[0]
    hint = "; as a number it lost its leading zeros" if name in _CODES else ""
    faults.add(name, _WANTED[type_] + hint, bad, lambda _: seen.as_py())
    return empty_series(type_, rows)


def _check_text(type_: str, values: Any) -> tuple[Any, Any]:
    """Which of the text values are too long or cannot be printed."""
    longest = LENGTHS[type_]
    too_long = pc.greater(pc.utf8_length(values), longest)
    odd = pc.invert(pc.ascii_is_printable(values))
    if pc.any(odd).as_py():
        odd = pc.match_substring_regex(values, _UNPRINTABLE)
    return too_long, odd


def _as_text(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """`column` as strings; whole numbers are written out unless they are codes. None if it is no text."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if is_text(column.type):
        return column.cast(pa.large_string())
    if name in _CODES:
        return None
    if pa.types.is_floating(column.type):
        valid = pc.and_(pc.is_finite(column), pc.less(pc.abs(column), 2.0**53))
        whole = pc.equal(pc.floor(column), column)
        if not pc.all(pc.or_(pc.and_(valid, whole), pc.is_nan(column))).as_py():
            return None
        column = pc.if_else(pc.is_nan(column), None, column).cast(pa.int64())
    if pa.types.is_integer(column.type):
        return column.cast(pa.large_string())
    return None


def _text(name: str, column: pa.ChunkedArray, faults: Faults) -> pd.Series[Any]:
    text = _as_text(name, column)
    if text is None:
        return _refuse_type(name, "string", column, faults)
    empty = pc.equal(text, "")
    if pc.any(empty).as_py():
        text = pc.if_else(empty, None, text)
    too_long, odd = _check_text("string", text)
    faults.add(name, f"at most {LENGTHS['string']} characters", to_mask(too_long), lambda row: text[row])
    faults.add(name, "printable characters", to_mask(odd), lambda row: ascii(text[row].as_py())[1:-1])
    return pd.Series(pd.array(text, dtype="str"))


def _category(name: str, column: pa.ChunkedArray, faults: Faults) -> pd.Series[Any]:
    if pa.types.is_dictionary(column.type) and is_text(column.type.value_type):
        encoded = column.unify_dictionaries()
    else:
        text = _as_text(name, column)
        if text is None:
            return _refuse_type(name, "category", column, faults)
        encoded = text.dictionary_encode()
    flat = encoded.combine_chunks()
    if isinstance(flat, pa.ChunkedArray):
        flat = flat.chunk(0)
    seen = flat.dictionary.to_pylist()
    names = sorted({value for value in seen if value})
    place = {value: code for code, value in enumerate(names)}
    moved = np.array([place[value] if value else -1 for value in seen] + [-1], dtype=np.int32)
    codes = moved[flat.indices.fill_null(len(seen)).to_numpy(zero_copy_only=False)]
    used = np.bincount(codes[codes >= 0], minlength=len(names)) > 0
    if not used.all():
        codes = np.append(np.where(used, np.cumsum(used) - 1, -1), -1)[codes]
        names = [value for value, kept in zip(names, used, strict=True) if kept]
    if names:
        too_long, odd = _check_text("category", pa.array(names, pa.large_string()))
        for unfit, allowed in (
            (too_long, f"at most {LENGTHS['category']} characters"),
            (odd, "printable characters"),
        ):
            if pc.any(unfit).as_py():
                bad = np.append(to_mask(unfit), False)[codes]
                faults.add(name, allowed, bad, lambda row: ascii(names[codes[row]])[1:-1])
    return pd.Series(pd.Categorical.from_codes(codes, pd.Index(names, dtype="str")))


def _parsed(name: str, type_: str, column: pa.ChunkedArray, faults: Faults) -> Any:
    """`column` as float64 with NaN for missing, or None if it holds no numbers at all."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not is_text(column.type):
        if pa.types.is_boolean(column.type):
            return None
        return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    try:
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        text = pc.utf8_trim_whitespace(column)
        numbers = pd.to_numeric(text.to_pandas().astype(object), errors="coerce").to_numpy(dtype=np.float64)
        missing = to_mask(pc.is_in(pc.utf8_lower(text), pa.array(MISSING_WORDS)))
        bad = np.isnan(numbers) & ~missing & to_mask(pc.is_valid(column))
        faults.add(name, _WANTED[type_], bad, lambda row: column[row])
        return numbers


def _number(name: str, column: pa.ChunkedArray, faults: Faults) -> pd.Series[Any]:
    numbers = _parsed(name, "float64", column, faults)
    if numbers is None:
        return _refuse_type(name, "float64", column, faults)
    endless = np.isinf(numbers)
    faults.add(name, "a finite number", endless, lambda row: column[row])
    return pd.Series(np.where(endless, np.nan, numbers) if endless.any() else numbers, copy=True)


def _whole(name: str, column: pa.ChunkedArray, faults: Faults) -> pd.Series[Any]:
    if pa.types.is_integer(column.type) and column.type != pa.uint64():
        whole = column.cast(pa.int64())
        if whole.null_count == 0:
            return pd.Series(whole.to_numpy(), copy=True)
        return pd.Series(
            pd.arrays.IntegerArray(np.array(pc.fill_null(whole, 0).to_numpy()), ~to_mask(pc.is_valid(whole)))
        )
    numbers = _parsed(name, "int64", column, faults)
    if numbers is None:
        return _refuse_type(name, "int64", column, faults)
    missing = np.isnan(numbers)
    bad = ~missing & ~((np.abs(numbers) < 2.0**63) & (np.floor(numbers) == numbers))
    faults.add(name, _WANTED["int64"], bad, lambda row: column[row])
    gone = missing | bad
    values = np.where(gone, 0, numbers).astype(np.int64)
    return pd.Series(pd.arrays.IntegerArray(values, gone) if gone.any() else values)


def _truth(name: str, column: pa.ChunkedArray, faults: Faults) -> pd.Series[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_boolean(column.type):
        valid = pc.is_valid(column)
        return pd.Series(pd.arrays.BooleanArray(to_mask(column), ~to_mask(valid)))
    if not (is_text(column.type) or pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return _refuse_type(name, "bool", column, faults)
    text = pc.utf8_lower(pc.utf8_trim_whitespace(column.cast(pa.string())))
    true = to_mask(pc.is_in(text, pa.array(_TRUE)))
    false = to_mask(pc.is_in(text, pa.array(_FALSE)))
    missing = ~to_mask(pc.is_valid(text)) | to_mask(pc.is_in(text, pa.array(MISSING_WORDS)))
    faults.add(name, _WANTED["bool"], ~(true | false | missing), lambda row: column[row])
    return pd.Series(pd.arrays.BooleanArray(true, ~(true | false)))
