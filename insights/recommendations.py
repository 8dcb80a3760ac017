"""What came of suggestions: how often checkout followed them, what was then paid, and what other policies would have earned.

`payrescue export-log --decisions FILE` writes the table that this reads: one row for each decision that was shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.errors import BadInput, Fault
from features.places import currency_exponent
from insights.rates import Rate, rate_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ActionTold", "PolicyTold", "Recommendations", "policies_told", "read_decisions", "recommendations"]

Array = npt.NDArray[Any]

_WANTED = ("attempt_id", "payment_id", "asked_at", "action", "policy", "followed", "outcome", "degraded")
_NUMBERS = ("success_probability", "amount_minor")
_MOST_SEEN = 40


@dataclass(frozen=True)
class ActionTold:
    """One action: how often it was suggested, followed, and what succeeded after it was and after it was not.

    Rates of what cannot be followed in the attempts (contact the bank, say) count nothing.
    """

    action: str
    n: int
    followed: Rate
    paid_followed: Rate
    paid_otherwise: Rate


@dataclass(frozen=True)
class Recommendations:
    """All decisions, and by action. `promised` is the mean success probability of the followed ones that have an outcome."""

    n: int
    payments: int
    since: str
    until: str
    degraded: Rate
    followed: Rate
    paid_followed: Rate
    paid_otherwise: Rate
    promised: float
    money: Mapping[str, float]
    policies: tuple[str, ...]
    actions: tuple[ActionTold, ...]


@dataclass(frozen=True)
class PolicyTold:
    """A policy that was not followed, by what the log says. `estimates` by estimator; empty where the log cannot tell.

    `ess`: what the decisions are worth for it; `overlap`: the share of what it does that was ever done.
    """

    name: str
    n: int
    ess: float
    overlap: float
    estimates: Mapping[str, tuple[float, float, float]]


def read_decisions(path: Path) -> pd.DataFrame:
    """The decisions in a file. Raises BadInput for what is none."""
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str) if path.suffix == ".csv" else pd.read_parquet(path)
    except FileNotFoundError:
        raise BadInput(str(path), message="no such file; `payrescue export-log --decisions FILE` writes one") from None
    except (OSError, ValueError):
        raise BadInput(str(path), message="cannot be read as decisions; want a Parquet or CSV file") from None
    missing = [name for name in _WANTED if name not in table]
    if missing:
        raise BadInput(str(path), [Fault(name, "this column, which is missing") for name in missing])
    faults = [fault for name in _NUMBERS if name in table and (fault := _no_number(table[name])) is not None]
    if faults:
        raise BadInput(str(path), faults)
    return table


def _no_number(column: pd.Series[Any]) -> Fault | None:
    """What is wrong with a column of numbers, by the first cell that is none; None where nothing is."""
    import pandas as pd

    wrong = np.flatnonzero(pd.to_numeric(column, errors="coerce").isna().to_numpy() & column.notna().to_numpy())
    if not len(wrong):
        return None
    seen = str(column.iloc[wrong[0]])[:_MOST_SEEN]
    return Fault(str(column.name), "a number", seen=seen, row=int(wrong[0]) + 1, count=len(wrong))


def recommendations(decisions: pd.DataFrame) -> Recommendations | None:
    """The figures of a table of decisions; None for an empty one."""
    if not len(decisions):
        return None
    import pandas as pd

    told = decisions.sort_values("asked_at", kind="stable", ignore_index=True)
    payment = pd.factorize(told["payment_id"])[0].astype(np.int64)
    followed = told["followed"].astype(object).to_numpy()
    outcome = told["outcome"].astype(object)
    ended, paid = outcome.notna().to_numpy(), (outcome == "success").to_numpy()
    took, other = followed == "yes", followed == "no"
    can = took | other | (followed == "nothing")
    action = told["action"].astype(str).to_numpy()

    def figures(mask: Array) -> tuple[Rate, Rate, Rate]:
        return (
            rate_of(took[mask & can], payment[mask & can]),
            rate_of(paid[mask & took & ended], payment[mask & took & ended]),
            rate_of(paid[mask & other & ended], payment[mask & other & ended]),
        )

    everything = np.ones(len(told), bool)
    actions = [
        ActionTold(str(name), int(count), *figures(action == name))
        for name, count in told["action"].value_counts().items()
    ]
    chance = pd.to_numeric(told["success_probability"]).to_numpy(float) if "success_probability" in told else None
    known = took & ended & np.isfinite(chance) if chance is not None else np.zeros(len(told), bool)
    degraded = told["degraded"].astype(str).str.lower().isin(["true", "1"]).to_numpy()
    return Recommendations(
        n=len(told),
        payments=int(payment.max()) + 1,
        since=str(told["asked_at"].iloc[0])[:16],
        until=str(told["asked_at"].iloc[-1])[:16],
        degraded=rate_of(degraded, payment),
        **dict(zip(("followed", "paid_followed", "paid_otherwise"), figures(everything), strict=True)),
        promised=float(chance[known].mean()) if chance is not None and known.any() else float("nan"),
        money=_money(told, took & paid),
        policies=tuple(sorted(map(str, told["policy"].dropna().unique()))),
        actions=tuple(actions),
    )


def _money(told: pd.DataFrame, mask: Array) -> dict[str, float]:
    """Major units by currency of what was paid, each attempt once."""
    if "amount_minor" not in told or "currency" not in told:
        return {}
    import pandas as pd

    paid = told[mask].drop_duplicates("followed_by") if "followed_by" in told else told[mask]
    amount = pd.to_numeric(paid["amount_minor"]).groupby(paid["currency"].astype(str)).sum()
    return {str(name): float(total) * 10.0 ** -currency_exponent(str(name)) for name, total in amount.items()}


def policies_told(found: Mapping[str, Any]) -> Sequence[PolicyTold]:
    """Policies from what `payrescue evaluate-policy --output` writes: the logged one first."""
    return [
        PolicyTold(
            name,
            int(told["n"]),
            float(told["ess"]),
            float(told["overlap"]),
            {
                kind: (float(f["value"]), float(f["low"]), float(f["high"]))
                for kind, f in (told.get("success") or {}).items()
            },
        )
        for name, told in found["policies"].items()
    ]
