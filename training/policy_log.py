"""A log of decisions as arrays: what was chosen, with what probability, what else was open, and what came of it.

An *option* is a way to pay: method, route and authentication together. What the logged policy chose of these (`chosen`)
is its action; the rest is part of the situation. Open in a situation is what the log has seen done in it: with the same
country and the same of what was not chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from features.errors import BadInput, Fault

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ACTION", "Log", "OptionKey", "read_log", "read_propensities"]

Array = npt.NDArray[Any]

ACTION = ("method", "route", "auth_flow")
"""What a policy may choose of an attempt."""

_LEAST_SEEN = 5  # fewer attempts than this are somebody's try, not something that is open


class OptionKey(NamedTuple):
    """A way to pay; None is missing."""

    method: str
    route: str | None
    auth_flow: str | None


@dataclass(frozen=True)
class Log:
    """Logged decisions that ended, in order of time. `propensity` is NaN where it is not known.

    `table` has their rows; `options` the ways to pay, in the order in which arrays have them; `done` (n,) the option that was
    taken, `open` (n, k) which were open, the one taken always; `propensity` (n,); `success` (n,) 0 or 1; `payment` (n,) codes
    from 0; `number` (n,) how many attempts the payment had before; `chosen` what the logged policy chose.
    """

    table: pd.DataFrame
    options: tuple[OptionKey, ...]
    done: Array
    open: Array
    propensity: Array
    success: Array
    payment: Array
    number: Array
    chosen: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.done)

    def part(self, mask: Array) -> Log:
        """Some of the decisions, with the same options."""
        return Log(
            self.table[mask].reset_index(drop=True), self.options, self.done[mask], self.open[mask],
            self.propensity[mask], self.success[mask], self.payment[mask], self.number[mask], self.chosen,
        )  # fmt: skip

    def implied_options(self) -> float:
        """How many options a decision had, going by the propensities: the mean of their inverses."""
        return float(np.nanmean(1.0 / self.propensity))


def read_log(
    table: pd.DataFrame,
    *,
    chosen: Sequence[str] = ACTION,
    propensities: tuple[str, Mapping[str, float]] | None = None,
) -> Log:
    """The decisions of a checked table of attempts that have an outcome.

    `propensities` gives those of the values of a column, in place of the table's. Raises BadInput where no decision has one.
    """
    unknown = [name for name in chosen if name not in ACTION]
    if unknown or not chosen:
        raise BadInput("--chosen", [Fault("name", "some of " + ", ".join(ACTION), seen=",".join(chosen))])
    table = table.sort_values("created_at", kind="stable").reset_index(drop=True)
    if not len(table):
        raise BadInput("attempts", message="none; a policy is judged by logged attempts")
    number = table.groupby("payment_id", sort=False, observed=True).cumcount().to_numpy()
    propensity = _propensities(table, propensities)
    outcome = table["outcome"].astype(object) if "outcome" in table else None
    ended = outcome.notna().to_numpy() if outcome is not None else np.zeros(len(table), bool)
    kept = ended
    if outcome is None or not (ended & np.isfinite(propensity)).any():
        lack = "a propensity and an outcome" if ended.any() else "an outcome"
        raise BadInput(
            "attempts",
            message=f"none of {len(table):,} has {lack}; a policy is judged by attempts with an outcome and the `propensity` "
            "with which they were chosen: a column, a mapping's constant, or --propensity route=NAME:SHARE,…",
        )
    options, done = _options(table)
    mine = table[kept].reset_index(drop=True)
    return Log(
        table=mine,
        options=options,
        done=done[kept],
        open=_open(mine, options, done[kept], tuple(chosen)),
        propensity=propensity[kept],
        success=(outcome[kept] == "success").to_numpy().astype(float),
        payment=np.unique(mine["payment_id"].astype(str), return_inverse=True)[1],
        number=number[kept],
        chosen=tuple(name for name in ACTION if name in chosen),
    )


def read_propensities(text: str) -> tuple[str, dict[str, float]]:
    """A column and the probability of each of its values, from `route=north:0.7,harbor:0.3`.

    >>> read_propensities("route=north:0.7,harbor:0.3")
    ('route', {'north': 0.7, 'harbor': 0.3})
    """
    name, _, rest = text.partition("=")
    allowed = "COLUMN=VALUE:SHARE,…, such as route=north:0.7,harbor:0.3, with shares above 0 that sum to 1"
    fault = BadInput("--propensity", [Fault(name or "column", allowed, seen=text)])
    shares: dict[str, float] = {}
    for pair in rest.split(","):
        value, separator, share = pair.rpartition(":")
        try:
            shares[value.strip()] = float(share)
        except ValueError:
            raise fault from None
        if not separator or not 0.0 < shares[value.strip()] <= 1.0:
            raise fault
    if name not in ACTION or not 0.97 <= sum(shares.values()) <= 1.03:
        raise fault
    return name, shares


def _propensities(table: pd.DataFrame, told: tuple[str, Mapping[str, float]] | None) -> Array:
    if told is None:
        found = table["propensity"].to_numpy(np.float64, na_value=np.nan) if "propensity" in table else None
        return found if found is not None else np.full(len(table), np.nan)
    name, shares = told
    values = table[name].astype(object) if name in table else None
    if values is None:
        raise BadInput("--propensity", [Fault("column", "a column that the attempts have", seen=name)])
    lacking = sorted({str(value) for value in values.dropna().unique()} - set(shares))
    if lacking:
        raise BadInput(
            "--propensity", [Fault(name, "a share for every value of the attempts", seen=", ".join(lacking))]
        )
    return values.map(shares).to_numpy(np.float64, na_value=np.nan)


def _options(table: pd.DataFrame) -> tuple[tuple[OptionKey, ...], Array]:
    """The ways to pay of a table, the most used first, and which one each row took."""
    import pandas as pd

    columns = [_texts(table, name) for name in ACTION]
    codes, found = pd.factorize(pd.Series(list(zip(*columns, strict=True)), dtype=object))
    order = np.argsort(-np.bincount(codes, minlength=len(found)), kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return tuple(OptionKey(*found[i]) for i in order), place[codes]


def _texts(table: pd.DataFrame, name: str) -> list[str | None]:
    """A category column as texts, None where missing."""
    if name not in table:
        return [None] * len(table)
    values = table[name].astype(object)
    found: list[str | None] = values.where(values.notna(), None).tolist()
    return found


def _open(table: pd.DataFrame, options: Sequence[OptionKey], done: Array, chosen: tuple[str, ...]) -> Array:
    """Which options the log has seen taken in each decision's situation, shape (n, k)."""
    import pandas as pd

    situation = [_texts(table, name) for name in ("country", *(name for name in ACTION if name not in chosen))]
    codes = pd.factorize(pd.Series(list(zip(*situation, strict=True)), dtype=object))[0]
    seen = np.zeros((int(codes.max()) + 1, len(options)), np.int64)
    np.add.at(seen, (codes, done), 1)
    found: Array = (seen >= _LEAST_SEEN)[codes]
    found[np.arange(len(done)), done] = True
    return found
