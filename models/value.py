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
        full: float = attempt["amount_minor"] * self._margin
        get = candidate.get
        method = get("method", attempt["method"])
        same = method == attempt["method"]
        flow, steps = get("auth_flow"), get("auth_steps")
        if same:
            flow = attempt.get("auth_flow") if flow is None else flow
            steps = attempt.get("auth_steps") if steps is None and flow == attempt.get("auth_flow") else steps
        if steps is None:
            steps = int(flow in _ASKED_OF_CUSTOMER)
        effort, wait_s = self._effort, get("wait_s") or 0.0
        share: float = effort.step * steps
        if effort.methods:
            share += effort.methods.get(method, 0.0)
        if wait_s > 0.0:
            share += effort.wait + effort.hour * min(wait_s / 3600.0, _MOST_HOURS)
        value = full * (success - share)
        if self.fees is not None and self.fees.currency == attempt["currency"]:
            route = get("route") or (attempt.get("route") if same else None)
            named = route if self.fees.by == "route" else method
            value -= self._minor * self._paid(self.fees, named, success)
            if retry and same:
                value -= self._minor * self.fees.retries.get(attempt.get("card_brand") or "", 0.0)
        return value

    @staticmethod
    def _paid(fees: Fees, named: str | None, success: float) -> float:
        """Fees to be expected, in major units. What no fee is named for costs nothing."""
        fee = fees.fees.get(named or "", fees.others)
        return fee.expected(success) if fee is not None else 0.0
