"""The attempts as the pages count them: arrays of codes, made once, that every page goes by.

An attempt without an outcome is pending: it counts nowhere but among the pending. A payment is decided once one of its
attempts succeeded or none is pending; it is then lost, or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.columns import OUTCOMES
from features.places import currency_exponent
from insights.settings import DEFINITIONS, InsightSettings
from models.heads import STAGES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CAUSES", "MISSING", "OTHER", "SEGMENTS", "Frame", "Segment", "Units", "frame_of"]

Array = npt.NDArray[Any]

CAUSES = (*STAGES, "unclassified")
"""Where an attempt can be lost, in the order in which it meets them; what nobody explained comes last."""

SEGMENTS = ("country", "method", "route", "issuer", "channel", "payer", "amount_band")
"""What attempts are told apart by."""

OTHER, MISSING = "(other)", "(missing)"
"""The rarer values of a segment together, and attempts that have none."""

_MOST_VALUES = 9
_BANDS = ("lowest", "low", "high", "highest")
_CODES = {name: code for code, name in enumerate((*OUTCOMES, "unclassified"))}


@dataclass(frozen=True)
class Segment:
    """One way to tell attempts apart: the place of each attempt's value in `values`, the most used first, shape (n,)."""

    name: str
    codes: Array
    values: tuple[str, ...]


@dataclass(frozen=True)
class Units:
    """What one definition of the success rate counts.

    `row` is the attempt that stands for it (where, when), `last` the one that ended it (why), both places in the frame,
    shape (n,); `success` whether it succeeded.
    """

    definition: str
    row: Array
    last: Array
    success: Array

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True)
class Frame:
    """Attempts in order of time.

    `created` in microseconds since 1970; `outcome` −1 pending, then as in OUTCOMES, 5 unclassified; `cause` a place in
    CAUSES, −1 where it did not fail; `reason` a place in `reasons`, −1 where none is told; `payment` and `cluster`
    (customer, or payment where there is no customer) codes from 0; `first` and `last` the places of each payment's first and
    last attempt; `money` what an attempt is worth in major units of `currencies[currency]`; `new` whether the payer has
    paid nothing before, NaN where that is not known.
    """

    created: Array
    outcome: Array
    cause: Array
    reason: Array
    reasons: tuple[str, ...]
    payment: Array
    cluster: Array
    first: Array
    last: Array
    money: Array
    currency: Array
    currencies: tuple[str, ...]
    new: Array
    segments: Mapping[str, Segment]

    def __len__(self) -> int:
        return len(self.created)

    @property
    def window(self) -> tuple[int, int] | None:
        """When the first and the last attempt were made; None without attempts."""
        return (int(self.created[0]), int(self.created[-1])) if len(self) else None

    def units(self, definition: str) -> Units:
        """What a definition of DEFINITIONS counts."""
        if definition == "attempt":
            row = np.flatnonzero(self.outcome >= 0)
            return Units(definition, row, row, self.outcome[row] == 0)
        payments = len(self.first)
        won = np.bincount(self.payment[self.outcome == 0], minlength=payments) > 0
        pending = np.bincount(self.payment[self.outcome < 0], minlength=payments) > 0
        counted = won | ~pending
        if definition == "first_time":
            counted = counted & (self.new[self.first] == 1.0)
        elif definition != "payment":
            raise ValueError(f"definition {definition!r}: want one of {', '.join(DEFINITIONS)}")
        return Units(definition, self.first[counted], self.last[counted], won[counted])


def frame_of(table: pd.DataFrame, settings: InsightSettings) -> Frame:
    """The frame of a checked table of attempts."""
    table = table.sort_values("created_at", kind="stable", ignore_index=True)
    n = len(table)
    outcome = _outcomes(table)
    reason, reasons = _coded(table, "reason")
    payment = _codes(table["payment_id"])
    customer: pd.Series | None = table.get("customer_id")
    order = np.arange(n)
    payments = int(payment.max()) + 1 if n else 0
    first, last = np.full(payments, n), np.full(payments, -1)
    np.minimum.at(first, payment, order)
    np.maximum.at(last, payment, order)
    money, currency, currencies = _money(table, settings)
    new = np.full(n, np.nan)
    if "prior_payments" in table:
        prior = table["prior_payments"].to_numpy(np.float64, na_value=np.nan)
        new = np.where(np.isnan(prior), np.nan, prior == 0.0)
    cause = np.full(n, -1, np.int8)
    for place, name in enumerate(CAUSES):
        cause[outcome == _CODES[name]] = place
    segments = {name: _segment(name, *_coded(table, name)) for name in SEGMENTS[:5] if name in table}
    payer = np.where(np.isnan(new), -1, np.where(new == 1.0, 0, 1))
    segments["payer"] = _segment("payer", payer, ("first_time", "returning"))
    segments["amount_band"] = Segment("amount_band", _bands(money, currency, len(currencies)), _BANDS)
    return Frame(
        created=table["created_at"].to_numpy("datetime64[us]").astype(np.int64),
        outcome=outcome,
        cause=cause,
        reason=np.where(outcome > 0, reason, -1),
        reasons=reasons,
        payment=payment,
        cluster=_clusters(customer, payment),
        first=first,
        last=last,
        money=money,
        currency=currency,
        currencies=currencies,
        new=new,
        segments=segments,
    )


def _codes(values: pd.Series) -> Array:
    import pandas as pd

    found: Array = pd.factorize(values)[0].astype(np.int64)
    return found


def _clusters(customer: pd.Series | None, payment: Array) -> Array:
    """The customer of each attempt; a payment without a customer is one of its own."""
    if customer is None or not len(payment):
        return payment
    codes = _codes(customer)
    found: Array = np.where(codes < 0, codes.max() + 1 + payment, codes)
    return found


def _coded(table: pd.DataFrame, name: str) -> tuple[Array, tuple[str, ...]]:
    """A category column as codes, −1 where missing, and its values."""
    if name not in table:
        return np.full(len(table), -1, np.int64), ()
    column = table[name].astype("category")
    return column.cat.codes.to_numpy().astype(np.int64), tuple(map(str, column.cat.categories))


def _outcomes(table: pd.DataFrame) -> Array:
    codes, values = _coded(table, "outcome")
    known = np.array([*(_CODES[value] for value in values), -1], np.int8)
    found: Array = known[codes]  # −1 is the last
    return found


def _segment(name: str, codes: Array, values: tuple[str, ...]) -> Segment:
    """The most used values, then the others together, then the missing."""
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    order = [int(place) for place in np.argsort(-counts, kind="stable") if counts[place]]
    kept, rest = order[:_MOST_VALUES], order[_MOST_VALUES:]
    if len(rest) == 1:
        kept, rest = order, []
    named = [values[place] for place in kept] + ([OTHER] if rest else [])
    place_of = np.full(len(values) + 1, -1, np.int64)
    place_of[kept] = np.arange(len(kept))
    place_of[rest] = len(kept)
    if (codes < 0).any():
        place_of[-1] = len(named)
        named.append(MISSING)
    return Segment(name, place_of[codes], tuple(named))


def _money(table: pd.DataFrame, settings: InsightSettings) -> tuple[Array, Array, tuple[str, ...]]:
    """Amounts in major units: of the one currency that the settings have a rate to from each, else each of its own."""
    codes, values = _coded(table, "currency")
    counts = np.bincount(codes[codes >= 0], minlength=len(values)) if len(values) else np.zeros(0, int)
    used = [values[place] for place in np.argsort(-counts, kind="stable") if counts[place]]
    unit = np.array([10.0 ** -currency_exponent(value) for value in values] or [1.0])
    amount = table["amount_minor"].to_numpy(np.float64) * unit[codes]
    rates = {settings.currency: 1.0, **settings.rates} if settings.currency else {}
    if used and all(value in rates for value in used):
        rate = np.array([rates.get(value, np.nan) for value in values])
        return amount * rate[codes], np.zeros(len(table), np.int64), (str(settings.currency),)
    place_of = np.array([used.index(value) if value in used else -1 for value in values] or [-1])
    return amount, place_of[codes], tuple(used)


def _bands(money: Array, currency: Array, currencies: int) -> Array:
    """The quarter of its currency's amounts that each amount is in."""
    found = np.zeros(len(money), np.int64)
    for code in range(currencies):
        mine = currency == code
        if mine.any():
            found[mine] = np.searchsorted(np.quantile(money[mine], [0.25, 0.5, 0.75]), money[mine], side="left")
    return found
