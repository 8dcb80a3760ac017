"""The price of fees at which a policy keeps to a limit: the most success for the money."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from features.errors import BadInput, Fault

__all__ = ["Border", "bargains", "border"]

Array = npt.NDArray[Any]

_STEPS = 60
_HIGHEST = 1e3


class Border(NamedTuple):
    """Two prices next to each other, with the limit between them: `price` keeps to it, `other` does not.

    Where `share` of the decisions go by `other`, the limit is met on average.
    """

    price: float
    other: float
    share: float


def bargains(success: Array, fees: Array, price: float) -> Array:
    """What each option is worth at a price: P(success) less the price of the fee to be expected; shapes (n, k)."""
    worth: Array = success - price * fees
    return worth


def border(
    success: Array, fees: Array, usable: Array, *, fee: float | None = None, success_of: float | None = None
) -> Border:
    """The prices, in probability per unit of fee, between which the best bargains meet a limit on average.

    Either the average `fee` is to be no more than that, at the lowest such price; or the average success is to be at least
    `success_of`, at the highest. `success` and `fees` (n, k) are what is to be expected of each option, of which the
    `usable` may be taken. Raises BadInput where no price does.
    """
    rows = np.arange(len(success))

    def average(price: float) -> tuple[float, float]:
        best = np.where(usable, bargains(success, fees, price), -np.inf).argmax(axis=1)
        return float(fees[rows, best].mean()), float(success[rows, best].mean())

    if fee is not None:
        if average(0.0)[0] <= fee:
            return Border(0.0, 0.0, 0.0)
        least = average(_HIGHEST)[0]
        if least > fee:
            raise BadInput(
                "--policy", [Fault("budget:fee", f"{least:.4g} or more: no choice costs less", seen=f"{fee:g}")]
            )
        low, high = 0.0, _HIGHEST  # too cheap, dear enough
    elif success_of is not None:
        most = average(0.0)[1]
        if most < success_of:
            allowed = f"{most:.4g} or less: no choice succeeds more often"
            raise BadInput("--policy", [Fault("budget:success", allowed, seen=f"{success_of:g}")])
        low, high = 0.0, _HIGHEST  # good enough, too dear
        if average(high)[1] >= success_of:
            return Border(high, high, 0.0)
    else:
        raise BadInput("--policy", [Fault("budget", "fee=LIMIT or success=SHARE")])
    for _ in range(_STEPS):
        middle = (low + high) / 2.0 if low > 1e-6 else np.sqrt(max(low, 1e-7) * high)
        spent, reached = average(middle)
        enough = spent <= fee if fee is not None else reached < (success_of or 0.0)
        low, high = (low, middle) if enough else (middle, high)
    (spent, reached), (least, fewest) = average(low), average(high)
    if fee is not None:
        return Border(float(high), float(low), (fee - least) / (spent - least))
    return Border(float(low), float(high), (reached - (success_of or 0.0)) / (reached - fewest))
