"""The policies that a product owner would ask about, judged by the attempts' own log, for the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from features.errors import BadInput
from training.policy_evaluate import PolicyQuestion, evaluate_policies
from training.policy_log import ACTION

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["policies_judged"]

_MOST_PAYMENTS = 20_000
_EACH = 3
_PINNED = ("method", "route")


def policies_judged(table: pd.DataFrame) -> dict[str, Any] | None:
    """What `payrescue evaluate-policy` would say of first attempts, the latest 20,000; None where none has a propensity.

    Judged are what was done, the decision table, the last outcomes of each way, and the most used methods and routes always.
    """
    if "propensity" not in table or "outcome" not in table or not table["propensity"].notna().any():
        return None
    mine = table[table["payment_id"].isin(_latest(table))]
    policies = ["rules", "success_rate"]
    for name in _PINNED:
        if name in mine:
            used = mine[name].astype(object).dropna().value_counts().index[:_EACH]
            policies += [f"always:{name}={value}" for value in used if not set(",=:") & set(str(value))]
    question = PolicyQuestion(chosen=ACTION, first=True, last=0.5, expects=False)
    try:
        return evaluate_policies(mine, policies, question)
    except BadInput:  # no attempt with both an outcome and a propensity is left: the page says what would fill it
        return None


def _latest(table: pd.DataFrame) -> Any:
    """The payments that began last."""
    began = table.groupby("payment_id", sort=False, observed=True)["created_at"].min()
    if len(began) <= _MOST_PAYMENTS:
        return began.index
    return began.index[np.argsort(began.to_numpy(), kind="stable")[-_MOST_PAYMENTS:]]
