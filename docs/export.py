"""Made-up attempts as a shop's own export would have them: other names, other values, local times, major units.

For docs/guide.md: `python ../docs/export.py made_up/attempts.parquet` writes `export.csv`, as it would have come a week before
the end, and `later.csv`, what that week brought.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

__all__ = ["main", "of_a_shop"]

_INSTRUMENTS = {
    "card": "CARD",
    "bank_transfer": "BANK",
    "wallet": "WALLET",
    "quick_pay": "QUICK",
    "convenience_store": "CVS",
    "carrier_billing": "PHONE",
    "bnpl": "LATER",
}
_RESULTS = {
    "success": "PAID",
    "authentication": "3DS_FAILED",
    "bank_decline": "REFUSED",
    "user_abandonment": "LEFT",
    "technical": "ERROR",
    "unclassified": "FAILED",
}
_NAMES = {
    "attempt_id": "id",
    "payment_id": "order_no",
    "customer_id": "buyer",
    "country": "shop",
    "channel": "client",
    "route": "psp",
    "card_brand": "scheme",
    "issuer": "bank",
    "stored": "saved",
    "auth_flow": "sca",
    "auth_steps": "sca_steps",
    "form_errors": "typos",
    "duration_s": "took",
    "code_scheme": "code_of",
    "response_code": "code",
    "trans_status": "trans_status",
    "last_event": "last_event",
    "reason": "why",
}
_MINOR = {"KRW": 1, "JPY": 1, "TWD": 100, "USD": 100}
_ZONE = "Asia/Seoul"
_LATER = pd.Timedelta(days=7)
_KNOWN_LATER = (
    "resolved_at", "duration_s", "code_scheme", "response_code", "trans_status", "last_event", "outcome", "reason",
)  # fmt: skip


def of_a_shop(attempts: pd.DataFrame) -> pd.DataFrame:
    """Attempts of the contract's table, as the shop's export has them: a row each, in the same order."""
    theirs = attempts[list(_NAMES)].rename(columns=_NAMES)
    theirs.insert(2, "time", attempts["created_at"].dt.tz_convert(_ZONE).dt.strftime("%d.%m.%Y %H:%M:%S"))
    theirs.insert(3, "total", attempts["amount_minor"] / attempts["currency"].map(_MINOR).astype(float))
    theirs.insert(4, "cur", attempts["currency"])
    theirs.insert(5, "pay_by", attempts["method"].map(_INSTRUMENTS))
    theirs.insert(6, "result", attempts["outcome"].map(_RESULTS))
    theirs.insert(7, "answered_ms", _since_1970_ms(attempts["resolved_at"]))
    return theirs


def _since_1970_ms(moments: pd.Series) -> pd.Series:
    return ((moments - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(milliseconds=1)).astype("Int64")


def main(path: str) -> None:
    """Write `export.csv` and `later.csv` into the current folder."""
    attempts = pd.read_parquet(path)
    asked = attempts["created_at"].max() - _LATER
    before = attempts[attempts["created_at"] < asked].copy()
    before.loc[before["resolved_at"] >= asked, list(_KNOWN_LATER)] = None  # the answer had not come yet
    later = attempts[attempts["created_at"] >= asked]
    for name, these in (("export.csv", before), ("later.csv", later)):
        of_a_shop(these).to_csv(Path(name), sep=";", index=False)
        sys.stdout.write(f"{len(these):,} attempts in {name}\n")


if __name__ == "__main__":
    main(sys.argv[1])
