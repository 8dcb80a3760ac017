"""What was to be expected of each payment before the experiment touched it: the covariate that CUPED takes out.

A small model learns from payments whose outcome was known before the experiment began, from what is known of a payment
before checkout chooses how it is made (Tang et al. 2020 call it CUPAC). Method, route and authentication are left out: the
arms may choose them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FEWEST_BEFORE", "expected_beforehand"]

Array = npt.NDArray[Any]

FEWEST_BEFORE = 1000
"""Payments before the experiment, below which there is too little to learn from."""

_MOST = 100_000
_NUMBERS = (
    "amount_minor", "recurring", "customer_tenure_days", "prior_payments", "network_rtt_ms", "form_seconds", "form_errors",
)  # fmt: skip
_CODES = ("currency", "country", "merchant_country", "merchant_category", "channel")
_TREES = {
    "objective": "binary", "learning_rate": 0.08, "num_leaves": 12, "min_data_in_leaf": 50, "feature_fraction": 0.8,
    "verbose": -1, "deterministic": True, "force_row_wise": True,
}  # fmt: skip
_ROUNDS = 80


def expected_beforehand(
    attempts: pd.DataFrame, first: Array, value: Array, earlier: Array, wanted: Array, rng: np.random.Generator
) -> Array | None:
    """What the metric was to be expected to be of the payments `wanted`, shape (wanted,); None where nothing can tell.

    `first` is the row of each payment's first attempt, `value` (n,) the metric (0 or 1), `earlier` (n,) a mask of payments
    whose outcome was known before the experiment began.
    """
    import lightgbm as lgb

    learnt = np.flatnonzero(earlier)
    if len(learnt) < FEWEST_BEFORE or len(np.unique(value[learnt])) < 2:
        return None
    if len(learnt) > _MOST:
        learnt = np.sort(rng.choice(learnt, _MOST, replace=False))
    matrix = _matrix(attempts, first)
    coded = [place for place in range(matrix.shape[1]) if place >= matrix.shape[1] - _codes_in(attempts)]
    data = lgb.Dataset(matrix[learnt], value[learnt], categorical_feature=coded, params={"verbose": -1})
    model = lgb.train({**_TREES, "seed": int(rng.integers(2**31)), "num_threads": 0}, data, _ROUNDS)
    told: Array = np.asarray(model.predict(matrix[wanted]))
    return told


def _codes_in(attempts: pd.DataFrame) -> int:
    return sum(name in attempts for name in _CODES)


def _matrix(attempts: pd.DataFrame, first: Array) -> Array:
    import pandas as pd

    rows = attempts.iloc[first]
    hour = rows["created_at"].dt.hour.to_numpy(float)
    numbers = [rows[name].to_numpy(np.float64, na_value=np.nan) for name in _NUMBERS if name in rows]
    codes = [pd.factorize(rows[name])[0].astype(float) for name in _CODES if name in rows]
    return np.column_stack([hour, *numbers, *(np.where(code < 0, np.nan, code) for code in codes)])
