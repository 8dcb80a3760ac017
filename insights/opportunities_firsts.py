"""First attempts of payments, with what became of them: what opportunities are estimated from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.history import History, features_in_passing
from features.own import OwnColumn
from features.rows import Encoder
from insights.experiment_units import DAY_US, payments_of
from models.artefact import Artefact

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Firsts", "first_attempts"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Firsts:
    """First attempts whose outcome is known, of payments that are settled, in order of time.

    `table` has their rows, `matrix` their features (n, n_features); `success` (n,) whether the attempt went through, `paid`
    whether the payment was paid in the end; `customer` (n,) codes, of the payment where no customer is named; `propensity`
    (n,), NaN where not logged. `days` is the time that they span; `own` are the merchant's columns, the matrix's last ones.
    """

    table: pd.DataFrame
    matrix: Array
    success: Array
    paid: Array
    customer: Array
    propensity: Array
    amount_minor: Array
    days: float
    own: tuple[OwnColumn, ...] = ()

    def __len__(self) -> int:
        return len(self.success)

    @property
    def per_month(self) -> float:
        """30 days over the days that they span."""
        return 30.0 / self.days

    def part(self, mask: Array) -> Firsts:
        """Some of them, over the same days."""
        return Firsts(
            self.table[mask].reset_index(drop=True), self.matrix[mask], self.success[mask], self.paid[mask],
            self.customer[mask], self.propensity[mask], self.amount_minor[mask], self.days,
            self.own,
        )  # fmt: skip

    def values(self, column: str) -> Array:
        """A category column as text, empty where missing."""
        if column not in self.table:
            return np.full(len(self), "")
        values = self.table[column].astype(object)
        told: Array = values.where(values.notna(), "").to_numpy().astype(str)
        return told

    def numbers(self, column: str) -> Array:
        """A number column, NaN where missing."""
        if column not in self.table:
            return np.full(len(self), np.nan)
        told: Array = self.table[column].to_numpy(np.float64, na_value=np.nan)
        return told


def first_attempts(attempts: pd.DataFrame, model: Artefact | None) -> Firsts:
    """Those of a checked table of attempts. The features' vocabularies are the model's, or, without one, the table's own."""
    payments = payments_of(attempts)
    known = attempts["outcome"].notna().to_numpy() if "outcome" in attempts else np.zeros(len(attempts), bool)
    kept = payments.ripe & known[payments.first]
    rows = payments.first[kept]
    wanted = np.zeros(len(attempts), bool)
    wanted[rows] = True
    encoder = model.encoder if model is not None else Encoder.fit(attempts)
    matrix = features_in_passing(encoder.from_table(attempts), History(), wanted)
    created = attempts["created_at"].to_numpy("datetime64[us]").astype(np.int64)
    in_time = rows[np.lexsort((rows, created[rows]))]
    matrix = matrix[np.cumsum(wanted)[in_time] - 1]  # features come out in the table's order
    payment = np.full(len(attempts), -1)
    payment[rows] = np.flatnonzero(kept)
    place = payment[in_time]
    table = attempts.iloc[in_time].reset_index(drop=True)
    begun = created[in_time]
    return Firsts(
        table=table,
        matrix=matrix,
        success=payments.values["first_try"][place],
        paid=payments.values["paid"][place],
        customer=_customers(table),
        propensity=_floats(table, "propensity"),
        amount_minor=table["amount_minor"].to_numpy(np.float64, na_value=np.nan),
        days=max(float(np.ptp(begun)) / DAY_US, 1.0) if len(begun) else 1.0,
        own=encoder.own,
    )


def _customers(table: pd.DataFrame) -> Array:
    import pandas as pd

    payment = pd.factorize(table["payment_id"])[0]
    if "customer_id" not in table:
        return payment
    customer = pd.factorize(table["customer_id"])[0]
    return np.where(customer < 0, len(table) + payment, customer)


def _floats(table: pd.DataFrame, name: str) -> Array:
    if name not in table:
        return np.full(len(table), np.nan)
    found: Array = table[name].to_numpy(np.float64, na_value=np.nan)
    return found
