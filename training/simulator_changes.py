"""Changes to first attempts, which the simulator can judge beside what happened: the truth about an intervention.

A change names columns of the attempts table and what they would be: `method`, `route`, `auth_flow` (names), `stored`,
`network_token` (0 or 1), `form_errors`, `form_seconds`, `network_rtt_ms` (numbers, or an array with one for each payment in
order of arrival, NaN where it stays). What follows from them follows: with another method, route and authentication are the
logged policy's choice; with another authentication, the passwords are those that it asks for; with a stored card, the network
token is there where the customer's card has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.errors import BadInput, Fault
from training.simulator_kernel import ASKED, NUMBER, PAYMENT, Run
from training.simulator_market import FLOWS, METHODS, ROUTES, USUAL_FORM_S, USUAL_RTT_MS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Change", "asked_of", "would_table"]

Change = Mapping[str, Any]

_NAMED: Mapping[str, tuple[str, Sequence[str]]] = {
    "method": ("method", METHODS),
    "route": ("route", ROUTES),
    "auth_flow": ("flow", FLOWS),
}
_COUNTED = {"stored": "stored", "network_token": "token", "form_errors": "form_errors"}
_IN_LOGS = {"form_seconds": ("ln_form", USUAL_FORM_S), "network_rtt_ms": ("ln_rtt", USUAL_RTT_MS)}


def asked_of(changes: Sequence[Change], payments: int) -> npt.NDArray[np.float64]:
    """Changes as the kernel reads them, shape (payments, changes, ASKED). Raises BadInput for what cannot be changed."""
    asked = np.full((payments, len(changes), len(ASKED)), np.nan)
    allowed = ", ".join((*_NAMED, *_COUNTED, *_IN_LOGS))
    for place, change in enumerate(changes):
        for column, value in change.items():
            if column in _NAMED:
                name, members = _NAMED[column]
                if value not in members:
                    raise BadInput("changes", [Fault(column, ", ".join(members), seen=str(value))])
                asked[:, place, ASKED.index(name)] = members.index(value)
            elif column in _COUNTED:
                asked[:, place, ASKED.index(_COUNTED[column])] = value
            elif column in _IN_LOGS:
                name, usual = _IN_LOGS[column]
                asked[:, place, ASKED.index(name)] = np.log(np.asarray(value, float) / usual)
            else:
                raise BadInput("changes", [Fault(column, allowed)])
    return asked


def would_table(run: Run, attempts: pd.DataFrame) -> pd.DataFrame:
    """`attempt_id` of each first attempt, `change`, and p_success and full_success as they would have been."""
    import pandas as pd

    first = np.flatnonzero(run.ints[:, NUMBER] == 1)
    would = run.would[run.ints[first, PAYMENT]]
    k = would.shape[1]
    return pd.DataFrame(
        {
            "attempt_id": attempts["attempt_id"].to_numpy()[np.repeat(first, k)],
            "change": np.tile(np.arange(k), len(first)),
            "p_success": would[:, :, 0].ravel(),
            "full_success": would[:, :, 1].ravel(),
        }
    )
