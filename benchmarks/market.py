"""A simulated market as large as is asked for, in a folder of Parquet files in order of time."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from training.simulator import simulate

__all__ = ["write_market"]

_AT_ONCE = 1_000_000  # attempts: more would need more memory to make up than to learn from
_DAYS = 28
_PAYMENTS = 0.8507  # for each attempt: about one in six is a retry


def write_market(attempts: int, folder: Path, seed: int = 7) -> int:
    """Write about so many attempts into `folder`, and return how many; beyond a million, four weeks follow upon four weeks.

    The same customers come back in each; ids of attempts and payments are told apart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for month, begin in enumerate(range(0, attempts, _AT_ONCE)):
        payments = round(min(_AT_ONCE, attempts - begin) * _PAYMENTS)
        table = simulate(payments, seed + month, days=_DAYS).attempts
        for name in ("attempt_id", "payment_id"):
            table[name] = f"{month}-" + table[name]
        for name in ("created_at", "resolved_at"):
            table[name] += pd.Timedelta(days=_DAYS * month)
        table.sort_values("created_at", kind="stable").to_parquet(
            folder / f"attempts-{month:03}.parquet", index=False, row_group_size=250_000
        )
        written += len(table)
    return written
