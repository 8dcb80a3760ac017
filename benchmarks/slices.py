"""What is learnt from, and what is judged by: attempts of earlier and of later payments."""

from __future__ import annotations

import pandas as pd

__all__ = ["earlier_and_later"]


def earlier_and_later(table: pd.DataFrame, share: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The attempts of payments that began in the first `share` of the attempts, and of those that began later."""
    begun = table.groupby("payment_id")["created_at"].transform("min")
    cut = begun.quantile(share)
    return table[begun < cut].reset_index(drop=True), table[begun >= cut].reset_index(drop=True)
