"""Attempts as arrays: what the kernel reads, made from a table of attempts or from the fields of one request.

An `Encoder` holds what must be remembered to do that the same way again: the vocabulary of each category, and the usual
amount in each currency. Both roads, `from_table` and `encode`, look each value up in the same dictionaries.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from features.columns import OUTCOMES
from features.definitions import EVIDENCE_CODES, EVIDENCE_NUMBERS, KEYS, RAW_CODES, RAW_NUMBERS, Key
from features.kernel import CODES, ENDED, N_FEATURES, NUMBERS, PENDING, unpack
from features.own import OwnColumn
from features.places import countries, currencies

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Counts",
    "Encoded",
    "Encoder",
    "Rows",
    "blanks",
    "code_at",
    "number_at",
    "outcomes_of",
    "own_of",
    "packed_rows",
    "set_begin",
    "set_code",
    "set_number",
    "slot_names",
    "slots_of",
]

Array = npt.NDArray[Any]
Fields = Mapping[str, Any]

_OUTCOME_CODES = {name: code for code, name in enumerate((*OUTCOMES, "unclassified"))}
_COUNTRIES = ("country", "merchant_country", "issuer_country")  # share one vocabulary: they are compared
_SEPARATOR = "\x1f"
_NAN = float("nan")
_NO_NUMBERS = (_NAN,) * len(RAW_NUMBERS)
_NO_CODES = (-1,) * len(RAW_CODES)
MAX_CATEGORIES = 512
"""Values of one column that get a code of their own, the most frequent first; the others are told by their history."""


@dataclass(slots=True, eq=False)  # not frozen: that would cost a request a microsecond
class Rows:
    """Attempts, one per row of each array.

    `created`, `resolved`: microseconds since 1970 (PENDING where not known). `outcome`: index into OUTCOMES, 5 where nobody
    explained the failure, -1 unknown. `reason`: code, -1 unknown. `numbers` (n, 11) and `codes` (n, 13) in the order of
    RAW_NUMBERS and RAW_CODES; NaN and -1 where missing or never seen. `reference` (n, 3): minor units per major one, usual
    amount (log2 of major units), offset of the buyer's clock (microseconds). `previous`: row of the payment's attempt
    before, -1 at its first. `keys`: for each of KEYS, which name each row has (-1: none), and the names. `own` (n, k): values
    and codes of a merchant's own columns, float32, NaN where missing or never seen; None where there are none.
    """

    created: Array
    resolved: Array
    outcome: Array
    reason: Array
    duration: Array
    numbers: Array
    codes: Array
    reference: Array
    previous: Array
    position: Array
    keys: tuple[tuple[Array, Sequence[str]], ...] = ()
    own: Array | None = None

    def __len__(self) -> int:
        return len(self.created)

    def arrays(self) -> tuple[Array, ...]:
        """What the kernel takes, in its order."""
        return (
            self.position,
            self.created,
            self.resolved,
            self.outcome,
            self.reason,
            self.duration,
            self.numbers,
            self.codes,
            self.reference,
            self.previous,
        )

    def known(self) -> tuple[Array, ...]:
        """What the kernel takes to let outcomes enter the past."""
        return (self.resolved, self.outcome, self.numbers, self.reference)

    def room(self, wanted: Array, into: Array | None = None) -> Array:
        """A matrix for the features of the rows `wanted`, shape (len(wanted), n_features), `into` if given.

        Own columns are filled in.
        """
        if into is not None:
            if self.own is not None:
                into[:, N_FEATURES:] = self.own[wanted]
            return into
        if self.own is None:
            return np.empty((len(wanted), N_FEATURES), np.float32)
        out = np.empty((len(wanted), N_FEATURES + self.own.shape[1]), np.float32)
        out[:, N_FEATURES:] = self.own[wanted]
        return out

    def by_resolution(self) -> Array:
        """Rows whose outcome is known, in the order in which it became known."""
        known = np.flatnonzero((self.outcome >= 0) & (self.resolved != PENDING))
        if len(known) > 1:
            known = known[np.lexsort((self.position[known], self.created[known], self.resolved[known]))]
        return known


def slot_names(fields: Fields) -> tuple[str | None, ...]:
    """Whose past an attempt looks at, in the order of KEYS; None where a part that is needed is missing.

    Spelt out, because a loop over KEYS takes three times as long; a test holds it to them.
    """
    get = fields.get
    return slots_of(get("customer_id"), *map(get, _PARTS))


def slots_of(
    customer: Any, country: Any, method: Any, brand: Any, issuer: Any, route: Any, flow: Any
) -> tuple[str | None, ...]:
    """The same, of the columns that they are made of."""
    many = _names_of_many(country, method, brand, issuer, route, flow)
    if not isinstance(customer, str) or not customer:
        return many
    with_method = f"customer_method\x1f{customer}\x1f{method}" if method and isinstance(method, str) else None
    everything, of_issuer, of_route, of_method, of_both, _, _, way = many
    return (everything, of_issuer, of_route, of_method, of_both, f"customer\x1f{customer}", with_method, way)


_PARTS = ("country", "method", "card_brand", "issuer", "route", "auth_flow")


@lru_cache(maxsize=4096)  # the same few ways to pay come again and again; customers do not
def _names_of_many(*parts: Any) -> tuple[str | None, ...]:
    """The slots that many customers share; None for those of one customer."""
    country, method, brand, issuer, route, flow = (part if isinstance(part, str) else "" for part in parts)
    return (
        "all\x1f",
        f"issuer\x1f{issuer}" if issuer else None,
        f"route\x1f{route}" if route else None,
        f"method\x1f{country}\x1f{method}",
        f"issuer_route\x1f{issuer}\x1f{route}" if issuer and route else None,
        None,
        None,
        f"way\x1f{country}\x1f{method}\x1f{brand}\x1f{route}\x1f{flow}",
    )


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """One attempt of a request: when it began (microseconds since 1970), and all of it, packed as the kernel reads it.

    `slots` are the names that `slot_names` gives; `own` are the values and codes of a merchant's own columns.
    """

    created: int
    packed: bytes | bytearray
    slots: tuple[str | None, ...]
    own: Sequence[float]


_PACK = struct.Struct(f"=4qd{len(RAW_NUMBERS)}d3d{len(RAW_CODES)}i{'4x' if len(RAW_CODES) % 2 else ''}").pack
_ENDED_AT, _NUMBERS_AT, _CODES_AT = 8 * ENDED, 8 * NUMBERS, 8 * CODES
set_begin, set_number, set_code, _set_end = (struct.Struct(f"={kind}").pack_into for kind in ("q", "d", "i", "3qd"))
_NOT_ENDED = (PENDING, -1, -1)  # when an outcome was known, that, and its reason


def number_at(place: int) -> int:
    """Where one of RAW_NUMBERS, by its place, stands in what is packed: for `set_number`."""
    return _NUMBERS_AT + 8 * place


def code_at(place: int) -> int:
    """Where one of RAW_CODES, by its place, stands in what is packed: for `set_code`."""
    return _CODES_AT + 4 * place


def blanks(codes: Sequence[int], numbers: Sequence[int]) -> list[tuple[slice, bytes]]:
    """What makes these codes and numbers missing in what is packed: where bytes go, and which."""
    missing = [(number_at(place), struct.pack("=d", _NAN)) for place in numbers]
    missing += [(code_at(place), struct.pack("=i", -1)) for place in codes]
    runs: list[tuple[int, bytes]] = []
    for at, blank in sorted(missing):
        if runs and runs[-1][0] + len(runs[-1][1]) == at:
            runs[-1] = (runs[-1][0], runs[-1][1] + blank)
        else:
            runs.append((at, blank))
    return [(slice(at, at + len(blank)), blank) for at, blank in runs]


@dataclass(frozen=True)
class Counts:
    """What an Encoder is fitted on. Counts of the pieces of a table add up to those of the table.

    `values`: how often each value occurs, by column. `amounts`: the distinct amounts (minor units, increasing) and how often
    each occurs, by currency.
    """

    values: Mapping[str, Mapping[str, int]]
    amounts: Mapping[str, tuple[Array, Array]]

    @classmethod
    def of(cls, table: pd.DataFrame, own: tuple[OwnColumn, ...] = ()) -> Counts:
        """Counts of a checked table of attempts, which holds the `own` columns, too."""
        coded = [column.name for column in own if column.kind == "categorical"]
        values = {name: _counts(table, name) for name in (*RAW_CODES, *EVIDENCE_CODES, "reason", *coded)}
        amount = table["amount_minor"].to_numpy(np.float64)
        index, currencies_seen = _distinct(table, "currency")
        amounts = {}
        for code, currency in enumerate(currencies_seen):
            mine = amount[index == code]
            if len(mine):
                amounts[currency] = np.unique(mine, return_counts=True)
        return cls(values, amounts)

    def __add__(self, other: Counts) -> Counts:
        values = {name: dict(found) for name, found in self.values.items()}
        for name, found in other.values.items():
            mine = values[name]
            for value, count in found.items():
                mine[value] = mine.get(value, 0) + count
        amounts = dict(self.amounts)
        for currency, (there, times) in other.amounts.items():
            ours, ours_times = amounts.get(currency, (there[:0], times[:0]))
            amount, place = np.unique(np.concatenate([ours, there]), return_inverse=True)
            counted = np.bincount(place, np.concatenate([ours_times, times])).astype(np.int64)
            amounts[currency] = (amount, counted)
        return Counts(values, amounts)


@dataclass(frozen=True)
class Encoder:
    """What must be remembered to turn attempts into arrays.

    `vocabularies`: values with a code of their own, by column, most frequent first; `response_code` is "scheme:code".
    `usual_log2`: median of log2(amount in major units), by currency. `own`: a merchant's own columns.
    """

    vocabularies: Mapping[str, tuple[str, ...]]
    usual_log2: Mapping[str, float]
    own: tuple[OwnColumn, ...] = ()

    @classmethod
    def fit(cls, table: pd.DataFrame, own: tuple[OwnColumn, ...] = ()) -> Encoder:
        """Learn vocabularies and usual amounts from a checked table of attempts, which holds the `own` columns, too."""
        return cls.counted(Counts.of(table, own), own)

    @classmethod
    def counted(cls, counts: Counts, own: tuple[OwnColumn, ...] = ()) -> Encoder:
        """The same, from what was counted of the table, in one piece or in several."""
        by_column = dict(counts.values)
        shared: dict[str, int] = {}
        for name in _COUNTRIES:
            for value, count in by_column[name].items():
                shared[value] = shared.get(value, 0) + count
        by_column |= dict.fromkeys(_COUNTRIES, shared)
        vocabularies = {}
        for name, found in by_column.items():
            ordered = sorted(found, key=lambda value: (-found[value], value))
            vocabularies[name] = tuple(ordered[:MAX_CATEGORIES])
        scale = {code: 10.0**exponent for code, exponent in currencies().items()}
        usual = {}
        for currency, (amounts, times) in sorted(counts.amounts.items()):
            passed = np.cumsum(times)
            middle = [(passed[-1] - 1) // 2, passed[-1] // 2]
            amount = amounts[np.searchsorted(passed, middle, side="right")] / scale.get(currency, 100.0)
            usual[currency] = float(np.median(np.log2(np.maximum(amount, 1e-6))))
        return cls(vocabularies, usual, own)

    @cached_property
    def codes(self) -> dict[str, dict[str | None, int]]:
        """Code by value, by column."""
        return {name: {value: code for code, value in enumerate(values)} for name, values in self.vocabularies.items()}

    @cached_property
    def code_columns(self) -> list[dict[str | None, int]]:
        """Code by value, of each of RAW_CODES."""
        return [self.codes[name] for name in RAW_CODES]

    @cached_property
    def _scale(self) -> dict[str, float]:
        return {code: 10.0**exponent for code, exponent in currencies().items()}

    @cached_property
    def _offset(self) -> dict[str, float]:
        return {code: hours * 3.6e9 for code, hours in countries().items()}

    def encode(self, fields: Fields, *, ended: bool = False) -> Encoded:
        """One attempt of a request; what became of it is told only of one that has `ended`.

        Raises ValueError for a value of another kind than its column's.
        """
        get = fields.get
        currency, created = get("currency", ""), fields["created_at"]
        end, duration = (self._end_of(fields), get("duration_s")) if ended else (_NOT_ENDED, None)
        numbers = (_NAN if duration is None else duration, *map(get, RAW_NUMBERS, _NO_NUMBERS))
        rest = (
            self._scale.get(currency, 100.0),
            self.usual_log2.get(currency, _NAN),
            self._offset.get(get("country", ""), _NAN),
            *map(dict.get, self.code_columns, map(get, RAW_CODES), _NO_CODES),
        )
        try:
            packed = _PACK(created, *end, *numbers, *rest)
        except struct.error:  # None among them
            told = [_NAN if number is None else number for number in numbers]
            try:
                packed = _PACK(created, *end, *told, *rest)
            except struct.error:
                raise ValueError("an attempt has a value of another kind than its column's") from None
        return Encoded(created, packed, slot_names(fields), self._own_of(fields) if self.own else ())

    def ended(self, one: Encoded, fields: Fields) -> Encoded:
        """An attempt that was encoded before it ended, with what `fields` tell of its end."""
        duration, packed = fields.get("duration_s"), bytearray(one.packed)
        _set_end(packed, _ENDED_AT, *self._end_of(fields), _NAN if duration is None else duration)
        return Encoded(one.created, packed, one.slots, one.own)

    def _end_of(self, fields: Fields) -> tuple[int, int, int]:
        get = fields.get
        at = get("resolved_at")
        return (
            at if at is not None and at == at else PENDING,
            _OUTCOME_CODES.get(get("outcome", ""), -1),
            self.codes["reason"].get(get("reason", ""), -1),
        )

    def of_request(self, previous: Sequence[Fields], asked: Sequence[Fields]) -> list[Encoded]:
        """The payment's earlier attempts, oldest first, then those that are asked about."""
        return [*(self.encode(fields, ended=True) for fields in previous), *map(self.encode, asked)]

    def _own_of(self, fields: Fields) -> list[float]:
        """Own columns of one attempt; a value of another kind than was declared says nothing."""
        told = []
        for column in self.own:
            value = fields.get(column.name)
            if column.kind == "categorical":
                told.append(self.codes[column.name].get(value, _NAN) if isinstance(value, str) else _NAN)
            else:
                told.append(float(value) if isinstance(value, int | float) else _NAN)
        return told

    def _own_of_table(self, table: pd.DataFrame) -> Array | None:
        """Own columns of a table, as `_own_of` has them; None where there are none."""
        import pandas as pd

        if not self.own:
            return None
        out = np.full((len(table), len(self.own)), _NAN)
        for c, column in enumerate(self.own):
            if column.name not in table:
                continue
            coded = isinstance(table[column.name].dtype, pd.CategoricalDtype)
            if column.kind == "categorical" and coded:
                out[:, c] = self._look_up(table, column.name, self.codes[column.name], _NAN)
            elif column.kind == "numeric" and not coded:
                out[:, c] = _floats(table, column.name)
        return out.astype(np.float32)

    def from_ended(self, attempts: Sequence[Fields]) -> Rows:
        """Rows of one or more attempts whose outcome is told, of whatever payments, with the names of their slots.

        They are what `History.enter` takes, as `from_table` makes them; no features are computed of them.
        """
        encoded, n = [self.encode(fields, ended=True) for fields in attempts], len(attempts)
        created, resolved, outcome, reason, duration, numbers, codes, reference = unpack(packed_rows(encoded))
        keys = tuple(_indexed(names) for names in zip(*(one.slots for one in encoded), strict=True))
        alone, own = np.full(n, -1, np.int64), own_of(encoded) if self.own else None
        return Rows(
            created, resolved, outcome, reason, duration, numbers, codes, reference, alone, np.arange(n), keys, own
        )

    def from_table(self, table: pd.DataFrame) -> Rows:
        """Rows of a checked table of attempts, in its order."""
        n = len(table)
        numbers = np.full((n, len(RAW_NUMBERS)), _NAN)
        for c, name in enumerate(RAW_NUMBERS):
            if name in table:
                numbers[:, c] = table[name].to_numpy(np.float64, na_value=_NAN)
        codes = np.full((n, len(RAW_CODES)), -1, np.int32)
        for c, name in enumerate(RAW_CODES):
            codes[:, c] = self._look_up(table, name, self.codes[name], -1)
        created, resolved, outcome, keys = outcomes_of(table)
        return Rows(
            created=created,
            resolved=resolved,
            outcome=outcome,
            reason=self._look_up(table, "reason", self.codes["reason"], -1).astype(np.int64),
            duration=_floats(table, "duration_s"),
            numbers=numbers,
            codes=codes,
            reference=np.column_stack(
                [
                    self._look_up(table, "currency", self._scale, 100.0),
                    self._look_up(table, "currency", self.usual_log2, _NAN),
                    self._look_up(table, "country", self._offset, _NAN),
                ]
            ),
            previous=_previous(table, created),
            position=np.arange(n),
            keys=keys,
            own=self._own_of_table(table),
        )

    def evidence(self, attempts: Sequence[Fields]) -> Array:
        """What ended attempts left behind, shape (n, 6), float32, for the fields of requests."""
        rows = []
        for fields in attempts:
            row = [_NAN if (value := fields.get(name)) is None else value for name in EVIDENCE_NUMBERS]
            for name in EVIDENCE_CODES:
                value = fields.get(name)
                if name == "response_code" and value is not None:
                    scheme = fields.get("code_scheme")
                    value = f"{scheme if isinstance(scheme, str) else ''}:{value}"
                row.append(self.codes[name].get(value, _NAN) if value is not None else _NAN)
            rows.append(row)
        return np.array(rows, np.float32)

    def evidence_of_table(self, table: pd.DataFrame) -> Array:
        """What ended attempts left behind, shape (n, 6), float32."""
        out = np.full((len(table), len(EVIDENCE_NUMBERS) + len(EVIDENCE_CODES)), _NAN, np.float32)
        for c, name in enumerate(EVIDENCE_NUMBERS):
            out[:, c] = _floats(table, name)
        for c, name in enumerate(EVIDENCE_CODES, start=len(EVIDENCE_NUMBERS)):
            out[:, c] = self._look_up(table, name, self.codes[name], _NAN)
        return out

    @staticmethod
    def _look_up(table: pd.DataFrame, name: str, by_value: Mapping[Any, float], missing: float) -> Array:
        """The number that stands for each value of a column, looked up once per distinct value."""
        kind = np.float64 if isinstance(missing, float) else np.int32
        index, values = _distinct(table, name)
        found = np.array([by_value.get(value, missing) for value in values] + [missing], kind)
        return found[index]


def packed_rows(encoded: Sequence[Encoded]) -> Array:
    """What the kernel unpacks, shape (n * PACKED,)."""
    return np.frombuffer(bytearray().join([one.packed for one in encoded]), np.int64)


def own_of(encoded: Sequence[Encoded]) -> Array:
    """A merchant's own columns, shape (n, n_own), float32."""
    return np.array([one.own for one in encoded], np.float64).astype(np.float32)


def outcomes_of(
    table: pd.DataFrame, keys: Sequence[Key] = KEYS
) -> tuple[Array, Array, Array, tuple[tuple[Array, Sequence[str]], ...]]:
    """When attempts began and were known to have ended, what became of them, and whose past that enters: as in Rows."""
    created = _microseconds(table["created_at"])
    resolved = _microseconds(table["resolved_at"]) if "resolved_at" in table else np.full(len(table), PENDING)
    outcome = Encoder._look_up(table, "outcome", _OUTCOME_CODES, -1).astype(np.int64)
    return created, resolved, outcome, tuple(_names(table, key) for key in keys)


def _distinct(table: pd.DataFrame, name: str) -> tuple[Array, list[str]]:
    """Index into the distinct values, -1 where missing; and those values. A response code is told with its scheme."""
    if name not in table:
        return np.full(len(table), -1), []
    if name == "response_code":
        index, names = _pairs([_distinct(table, "code_scheme"), _column(table, name)], ":")
        index = np.where(_column(table, name)[0] >= 0, index, -1)
        return index, names
    return _column(table, name)


def _column(table: pd.DataFrame, name: str) -> tuple[Array, list[str]]:
    import pandas as pd

    column = table[name]
    if isinstance(column.dtype, pd.CategoricalDtype):
        index, values = column.cat.codes.to_numpy(), column.cat.categories
    else:
        index, values = pd.factorize(column)
    # By way of an object array: one by one, values that Arrow holds are slow to come
    return index.astype(np.int64), [str(value) for value in np.asarray(values, object).tolist()]


def _pairs(parts: Sequence[tuple[Array, list[str]]], separator: str) -> tuple[Array, list[str]]:
    """Distinct combinations of several columns, a missing part as nothing."""
    import pandas as pd

    combined = np.zeros(len(parts[0][0]), np.int64)
    for index, values in parts:
        combined = combined * (len(values) + 1) + (index + 1)
    index, distinct = pd.factorize(combined)
    texts = []
    for _, values in reversed(parts):
        size = len(values) + 1
        with_none = ["", *values]
        texts.append([with_none[code] for code in (distinct % size).tolist()])
        distinct = distinct // size
    return index.astype(np.int64), [separator.join(text) for text in zip(*reversed(texts), strict=True)]


def _indexed(names: Sequence[str | None]) -> tuple[Array, list[str]]:
    """Which of the distinct names each row has (-1: none), and those."""
    places: dict[str, int] = {}
    place = places.setdefault
    index = np.array([-1 if name is None else place(name, len(places)) for name in names], np.int64)
    return index, list(places)


def _names(table: pd.DataFrame, key: Key) -> tuple[Array, list[str]]:
    """Which slot name each row has under a key (-1: none), and the names."""
    if not key.parts:
        return np.zeros(len(table), np.int64), [key.name + _SEPARATOR]
    parts = [_distinct(table, part) for part in key.parts]
    index, names = _pairs(parts, _SEPARATOR) if len(parts) > 1 else parts[0]
    if key.needed:
        missing = np.zeros(len(table), bool)
        for part, _ in parts:
            missing |= part < 0
        index = np.where(missing, -1, index)
    return index, [key.name + _SEPARATOR + name for name in names]


def _previous(table: pd.DataFrame, created: Array) -> Array:
    """Row of the same payment's attempt before, in time and, at equal times, in the table's order; -1 at the first."""
    import pandas as pd

    payment, _ = pd.factorize(table["payment_id"])
    order = np.lexsort((created, payment))
    previous = np.full(len(table), -1, np.int64)
    follows = payment[order[1:]] == payment[order[:-1]]
    previous[order[1:][follows]] = order[:-1][follows]
    return previous


def _microseconds(column: pd.Series[Any]) -> Array:
    times = column.to_numpy("datetime64[us]")
    return np.where(np.isnat(times), PENDING, times.astype(np.int64))


def _floats(table: pd.DataFrame, name: str) -> Array:
    # A copy: pandas hands out a read-only view, for which the kernel would be compiled a second time
    return table[name].to_numpy(np.float64, na_value=_NAN, copy=True) if name in table else np.full(len(table), _NAN)


def _counts(table: pd.DataFrame, name: str) -> dict[str, int]:
    index, values = _distinct(table, name)
    counts = np.bincount(index[index >= 0], minlength=len(values))
    return {value: int(count) for value, count in zip(values, counts, strict=True) if count}
