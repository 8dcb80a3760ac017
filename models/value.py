"""What a next step is worth: what its success brings, less the fees, less what it asks of the customer.

Value = p · amount · margin − fees − a network's fee for trying again − effort, in minor units of the attempt's currency.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from features.places import currencies
from models.fees import Effort, Fees

__all__ = ["Worth"]

Row = Mapping[str, Any]

_ASKED_OF_CUSTOMER = {"challenge", "redirect"}
_MOST_HOURS = 24.0


class Worth:
    """Weighs what can be done next. Without `fees`, by success alone, but for the effort between things nearly as good.

    Fees count for attempts in their own currency; others are weighed by margin and effort, as if attempts cost nothing.

    >>> attempt = {"method": "card", "currency": "EUR", "amount_minor": 1000}
    >>> Worth().of(attempt, {"method": "wallet"}, 0.8, retry=True)
    800.0
    """

    def __init__(self, fees: Fees | None = None) -> None:
        self.fees = fees
        self._margin = fees.margin if fees is not None else 1.0
        self._effort = fees.effort if fees is not None else Effort()
        self._minor = 10.0 ** currencies()[fees.currency] if fees is not None else 1.0

    def full(self, attempt: Row) -> float:
        """What success brings, before costs."""
        return float(attempt["amount_minor"]) * self._margin

    def of(self, attempt: Row, candidate: Row, success: float, *, retry: bool) -> float:
        """The value to be expected of a candidate; what it leaves out is as in the attempt, if the method is the same.

        `retry`: the attempt has failed, so that trying its card again may cost a fee of the network.
        """
        full = self.full(attempt)
        same = candidate.get("method", attempt["method"]) == attempt["method"]
        means: Row = {**attempt, "auth_steps": None, **candidate} if same else candidate
        if same and means.get("auth_flow") == attempt.get("auth_flow") and means["auth_steps"] is None:
            means = {**means, "auth_steps": attempt.get("auth_steps")}
        value = success * full - full * self._share_of_effort(means, candidate.get("wait_s") or 0.0)
        if self.fees is not None and self.fees.currency == attempt["currency"]:
            value -= self._minor * self._paid(attempt, means, success, retry=retry and same)
        return value

    def _paid(self, attempt: Row, means: Row, success: float, *, retry: bool) -> float:
        """Fees to be expected, in major units. What no fee is named for costs nothing."""
        fees = self.fees
        if fees is None:
            return 0.0
        fee = fees.fees.get(means.get(fees.by) or "", fees.others)
        again = fees.retries.get(attempt.get("card_brand") or "", 0.0) if retry else 0.0
        return again + (fee.expected(success) if fee is not None else 0.0)

    def _share_of_effort(self, means: Row, wait_s: float) -> float:
        """What the customer's effort costs, as a share of what success brings."""
        effort = self._effort
        steps = means.get("auth_steps")
        if steps is None:
            steps = int(means.get("auth_flow") in _ASKED_OF_CUSTOMER)
        waited = effort.wait + effort.hour * min(wait_s / 3600.0, _MOST_HOURS) if wait_s > 0.0 else 0.0
        return effort.step * steps + waited + effort.methods.get(means["method"], 0.0)
