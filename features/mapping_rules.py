"""Applies a mapping: from a table as somebody else made it to the columns of the attempts table."""

from __future__ import annotations

import re
from collections.abc import Mapping as AnyMapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.arrow_columns import is_scalar, is_text, to_arrow
from features.attempt_times import parse_times
from features.attempt_types import to_series
from features.columns import Column
from features.errors import BadInput, Fault
from features.faults import Faults
from features.mapping import Mapping, Payments, Rule
from features.places import currencies

__all__ = ["apply_mapping"]

_FIELD = re.compile(r"\{([^{}]*)\}")
_PER_SECOND = {"s": 1_000_000, "ms": 1_000, "us": 1}
_AS_GOOD_AS_WHOLE = 1e-6


def apply_mapping(
    mapping: Mapping, table: pa.Table, wanted: AnyMapping[str, Column], faults: Faults
) -> tuple[pa.Table, list[str]]:
    """The columns of `wanted` that `mapping` finds in `table`, and the names of columns that it has no use
    for.

    Values that no rule fits are missing in the result, and noted in `faults`.
    Raises BadInput if the mapping is about columns that are in neither.
    """
    applied = _Applied(mapping, table, wanted, faults)
    made = {name: column for name in wanted if (column := applied.column(name)) is not None}
    unused = [name for name in table.column_names if name not in applied.used]
    return pa.table(made), unused


class _Applied:
    """One table under one mapping; each column is made once, when first asked for."""

    def __init__(self, mapping: Mapping, table: pa.Table, wanted: AnyMapping[str, Column], faults: Faults) -> None:
        self.mapping = mapping
        self.table = table
        self.wanted = wanted
        self.faults = faults
        self.used: set[str] = set()
        self.made: dict[str, pa.ChunkedArray | None] = {}
        strange = [name for name in mapping.rules if name not in wanted]
        if strange:
            raise BadInput(mapping.name, [Fault(name, "a column of the attempts table") for name in strange])

    def column(self, name: str) -> pa.ChunkedArray | None:
        """The column as far as it can be made; None if nothing says where it comes from."""
        if name not in self.made:
            self.made[name] = None  # a column that is asked for while it is made depends on itself
            self.made[name] = self.make(name)
        return self.made[name]

    def make(self, name: str) -> pa.ChunkedArray | None:
        rule = self.mapping.rules.get(name)
        if rule is None and name == "payment_id" and self.mapping.payments is not None:
            return self.group(self.mapping.payments)
        if rule is None:
            if name not in self.table.column_names or name in self.mapping.ignore:
                return None
            rule = Rule(source=name)
        return self.by_rule(name, rule)

    def series(self, name: str) -> pd.Series[Any] | None:
        """The column as the attempts table would have it, without noting again what is wrong with it."""
        column = self.column(name)
        if column is None:
            return None
        return to_series(name, self.wanted[name].type, column, Faults(self.faults.source))

    def by_rule(self, name: str, rule: Rule) -> pa.ChunkedArray | None:
        if rule.first is not None and rule.later is not None:
            return self.by_position(name, rule.first, rule.later)
        if rule.constant is not None:
            column = pa.chunked_array([pa.repeat(rule.constant, self.table.num_rows)])
        elif rule.template is not None:
            column = self.fill(name, rule.template)
        else:
            column = self.theirs(name, str(rule.source))
        if column is None:
            return None
        if rule.values is not None:
            column = self.translate(name, column, rule)
        if self.wanted[name].type == "timestamp":
            return self.times(name, column, rule)
        if rule.unit == "major" or rule.factor != 1:
            return self.scale(name, column, rule)
        return column

    def theirs(self, name: str, source: str) -> pa.ChunkedArray | None:
        if source not in self.table.column_names:
            self.faults.note(Fault(name, f"a column {source!r} in the data, as the mapping says"))
            return None
        self.used.add(source)
        column = self.table[source]
        if not is_scalar(column.type):
            self.faults.note(Fault(name, "text, numbers or times", f"a column of {column.type}"))
            return None
        return column

    def fill(self, name: str, template: str) -> pa.ChunkedArray | None:
        """`template` with the values of each row in its braces; missing where one of them is."""
        pieces: list[Any] = []
        for place, piece in enumerate(_FIELD.split(template)):
            if place % 2 == 0:
                pieces.append(pa.scalar(piece, pa.large_string()))
            elif piece == "row":
                rows = pa.array(np.arange(1, self.table.num_rows + 1))
                pieces.append(rows.cast(pa.large_string()))
            else:
                column = self.theirs(name, piece)
                if column is None:
                    return None
                pieces.append(_texts(column))
        joined = pc.binary_join_element_wise(*pieces, pa.scalar("", pa.large_string()))
        if isinstance(joined, pa.Scalar):
            return pa.chunked_array([pa.repeat(joined, self.table.num_rows)])
        return joined if isinstance(joined, pa.ChunkedArray) else pa.chunked_array([joined])

    def translate(self, name: str, column: pa.ChunkedArray, rule: Rule) -> pa.ChunkedArray:
        """Their values as ours, by the rule's table."""
        values = rule.values or {}
        encoded = pa.concat_arrays(_texts(column).chunks).dictionary_encode()
        seen = encoded.dictionary.to_pylist()
        strange = [value not in values and value != "" for value in seen]
        codes = encoded.indices.fill_null(len(seen)).to_numpy(zero_copy_only=False)
        if rule.others == "refuse" and any(strange):
            bad = np.append(strange, False)[codes]
            allowed = f"one of the mapping's values: {_some(values)}"
            self.faults.add(name, allowed, bad, lambda row: seen[codes[row]])
        others = {value: value if rule.others == "keep" else None for value in seen}
        ours = [values.get(value, others[value]) or None for value in seen]
        return pa.chunked_array([pa.array([*ours, None], pa.large_string()).take(pa.array(codes))])

    def times(self, name: str, column: pa.ChunkedArray, rule: Rule) -> pa.ChunkedArray:
        """Moments in UTC."""
        zone = self.mapping.timezone
        if rule.epoch is not None:
            numbers = to_series(name, "float64", column, self.faults).to_numpy()
            whole = np.rint(np.where(np.isnan(numbers), 0, numbers) * _PER_SECOND[rule.epoch])
            fits = np.abs(whole) < 2.0**62
            self.faults.add(name, f"a time in {rule.epoch} since 1970", ~fits, lambda row: column[row])
            column = pa.chunked_array(
                [
                    pa.array(np.where(fits, whole, 0).astype(np.int64), mask=np.isnan(numbers) | ~fits).cast(
                        pa.timestamp("us", "UTC")
                    )
                ]
            )
        elif pa.types.is_date(column.type) or (pa.types.is_timestamp(column.type) and not column.type.tz):
            if zone is not None:
                local = column.cast(pa.timestamp("us"), safe=False)
                column = pc.assume_timezone(local, zone, ambiguous="latest", nonexistent="latest")
        elif is_text(column.type):
            times = parse_times(name, column, self.faults, zone=zone, written=rule.format)
            column = to_arrow(times)
        if rule.plus_s and pa.types.is_timestamp(column.type):
            column = pc.add(column, pa.scalar(round(rule.plus_s * 1e6), pa.duration("us")))
        return column

    def scale(self, name: str, column: pa.ChunkedArray, rule: Rule) -> pa.ChunkedArray:
        """Numbers in the contract's unit; whole ones must come out whole."""
        numbers = to_series(name, "float64", column, self.faults).to_numpy() * rule.factor
        unit = self.wanted[name].unit
        if rule.unit == "major":
            numbers = numbers * self.minor_per_major(name)
        if self.wanted[name].type == "int64":
            whole = np.rint(numbers)
            bad = np.abs(numbers - whole) > _AS_GOOD_AS_WHOLE * np.maximum(1, np.abs(numbers) * 1e-9)
            self.faults.add(name, f"a whole number of {unit}", bad, lambda row: column[row])
            numbers = np.where(bad, np.nan, whole)
        return pa.chunked_array([pa.array(numbers, from_pandas=True)])

    def minor_per_major(self, name: str) -> npt.NDArray[np.float64]:
        """How many minor units one unit of the row's currency has; NaN where there is no such currency."""
        currency = self.series("currency")
        if currency is None:
            self.faults.note(Fault(name, "a currency to count minor units in: map the currency column too"))
            return np.full(self.table.num_rows, np.nan)
        known = currencies()
        each = [10.0 ** known[code] if code in known else np.nan for code in currency.cat.categories]
        return np.append(each, np.nan)[currency.cat.codes.to_numpy()]

    def by_position(self, name: str, first: Rule, later: Rule) -> pa.ChunkedArray | None:
        """One rule for a payment's first attempt, another for those after it."""
        payment, created = self.series("payment_id"), self.series("created_at")
        parts = [self.by_rule(name, rule) for rule in (first, later)]
        if payment is None or created is None:
            self.faults.note(Fault(name, "a payment_id and a created_at, to tell first attempts from later ones"))
            return None
        if parts[0] is None or parts[1] is None:
            return None
        order = np.argsort(created.to_numpy(), kind="stable")
        retry = np.empty(len(order), dtype=np.bool_)
        retry[order] = payment.iloc[order].duplicated().to_numpy()
        chosen = pc.if_else(pa.array(retry), _texts(parts[1]), _texts(parts[0]))
        return chosen if isinstance(chosen, pa.ChunkedArray) else pa.chunked_array([chosen])

    def group(self, payments: Payments) -> pa.ChunkedArray | None:
        """The payment of each attempt, by the id of the payment's first attempt."""
        needed = [*payments.same, "created_at", "attempt_id", *(["outcome"] if payments.until else [])]
        series = {name: self.series(name) for name in needed}
        missing = [name for name, values in series.items() if values is None]
        if missing:
            self.faults.note(Fault("payment_id", f"{', '.join(missing)}, by which the mapping finds payments"))
            return None
        keys = pd.DataFrame({name: series[name] for name in payments.same})
        key = keys.groupby(list(keys), dropna=False, observed=True, sort=False).ngroup().to_numpy()
        time = _required(series["created_at"]).to_numpy(dtype="datetime64[us]")
        order = np.lexsort((time, key))
        key, time = key[order], time[order]
        starts = np.ones(len(order), dtype=np.bool_)
        starts[1:] = (key[1:] != key[:-1]) | (np.diff(time) > np.timedelta64(round(payments.within_s * 1e6), "us"))
        if payments.until:
            ended = (_required(series["outcome"]) == payments.until).to_numpy()[order]
            starts[1:] |= ended[:-1]
        first = order[starts][np.cumsum(starts) - 1]
        firsts = np.empty_like(order)
        firsts[order] = first
        return to_arrow(_required(series["attempt_id"])).take(pa.array(firsts))


def _required(series: pd.Series[Any] | None) -> pd.Series[Any]:
    if series is None:
        raise AssertionError
    return series


def _texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.cast(pa.large_string())


def _some(values: AnyMapping[str, str]) -> str:
    """The first few of the values, for a message."""
    names = list(values)
    return " | ".join(names[:8]) + (" | …" if len(names) > 8 else "")
