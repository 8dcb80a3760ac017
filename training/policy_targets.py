"""What a policy would have done in each logged decision: its probability of every option."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.columns import after_columns
from features.errors import BadInput, Fault
from models.engine import Engine, ScoreRequest
from models.policies import Always, Decision, Learner, Policy, Rules, Way
from training.policy_log import Log, OptionKey

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Standing", "Target", "always", "by_policy", "by_scores", "logged", "standing"]

Array = npt.NDArray[Any]

_LAST = 10_000
"""Place of an option that the decision table does not name."""


@dataclass(frozen=True)
class Target:
    """`shares` (n, k), a policy's probability of each option; where `as_logged` (n,) it does what the log did instead."""

    shares: Array
    as_logged: Array

    def of_done(self, log: Log) -> Array:
        """Its probability of what was done, shape (n,)."""
        found: Array = self.shares[np.arange(len(log)), log.done]
        return found

    def expects(self, log: Log, of_options: Array) -> Array:
        """What it may expect of a decision, where `of_options` (n, k) is to be expected of each option; shape (n,)."""
        found = np.where(self.shares > 0.0, self.shares * of_options, 0.0).sum(axis=1)
        return np.where(self.as_logged, of_options[np.arange(len(log)), log.done], found)


@dataclass(frozen=True)
class Standing:
    """What the rules say of each decision's options, both (n, k): which are `allowed`, and their `place`, 0 preferred."""

    allowed: Array
    place: Array


def logged(log: Log) -> Target:
    """What was done."""
    return Target(np.zeros(log.open.shape), np.ones(len(log), bool))


def always(log: Log, policy: Always, standing: Standing) -> Target:
    """What is pinned, evenly over what is open and allowed of it; where nothing is, as logged.

    Raises BadInput for a pin that the logged policy did not choose, or never took.
    """
    pinned = [name for name in policy.pins if name not in log.chosen]
    if pinned:
        allowed = "what the logged policy chose: " + ", ".join(log.chosen)
        raise BadInput("--policy", [Fault(policy.name, allowed, seen=pinned[0])])
    fits = np.array([all(getattr(option, n) == v for n, v in policy.pins.items()) for option in log.options])
    if not fits.any():
        seen = sorted({str(getattr(option, name)) for option in log.options for name in policy.pins})
        raise BadInput("--policy", [Fault(policy.name, "what the log has done: " + ", ".join(seen))])
    usable = log.open & standing.allowed & fits
    count = usable.sum(axis=1)
    return _where(usable / np.maximum(count, 1)[:, None], count > 0)


def by_scores(log: Log, worth: Array, standing: Standing) -> Target:
    """The option that is worth most, of those open and allowed; `worth` (n, k), NaN for what is not known."""
    usable = log.open & standing.allowed & ~np.isnan(worth)
    best = np.where(usable, worth, -np.inf).argmax(axis=1)
    shares = np.zeros(log.open.shape)
    shares[np.arange(len(log)), best] = 1.0
    return _where(shares, usable.any(axis=1))


def by_policy(log: Log, policy: Policy, standing: Standing, success: Array | None, before: Log | None = None) -> Target:
    """What a policy says, asked decision by decision in order of time.

    `success` (n, k) is what the options are expected to succeed with. A `Learner` is told of outcomes as they become
    known, those of `before` first.
    """
    tell = _teller(policy, log, before)
    amounts = log.table["amount_minor"].to_numpy(np.int64)
    created = log.table["created_at"].to_numpy("datetime64[us]").astype(np.int64)
    countries = log.table["country"].astype(str).to_numpy()
    shares = np.zeros(log.open.shape)
    usable = log.open & standing.allowed
    if isinstance(policy, Rules):
        # Before an attempt the rules go on with what was meant to be done
        usable = usable & (log.number > 0)[:, None]
    for i in np.flatnonzero(usable.any(axis=1)).tolist():
        tell(int(created[i]))
        places = np.flatnonzero(usable[i])
        if success is not None:
            places = places[np.argsort(-np.nan_to_num(success[i, places], nan=-1.0), kind="stable")]
        else:
            places = places[np.argsort(standing.place[i, places], kind="stable")]
        ways = [
            _way(log.options[k], None if success is None else success[i, k], int(amounts[i]), int(standing.place[i, k]))
            for k in places.tolist()
        ]
        shares[i, places] = policy.probabilities(Decision(ways, countries[i], int(amounts[i]), int(created[i])))
    return _where(shares, usable.any(axis=1))


def _way(option: OptionKey, success: float | None, amount: int, place: int) -> Way:
    known = None if success is None or np.isnan(success) else float(success)
    return Way(
        "option", option.method, option.route, option.auth_flow,
        success=known, value=None if known is None else known * amount, place=place,
    )  # fmt: skip


def _teller(policy: Policy, log: Log, before: Log | None) -> Callable[[int], None]:
    """Tells a policy that goes by outcomes of every one known by a moment."""
    if not isinstance(policy, Learner):
        return lambda _: None
    known: list[dict[Any, Any]] = []
    for part in (before, log):
        if part is not None and len(part):
            column = "resolved_at" if "resolved_at" in part.table else "created_at"
            at = part.table[column].fillna(part.table["created_at"]).to_numpy("datetime64[us]").astype(np.int64)
            kept = part.table[["attempt_id", "payment_id", "amount_minor", "country", "outcome"]].astype(object)
            rows = zip(kept.to_dict("records"), part.done.tolist(), at.tolist(), strict=True)
            known += [dict(row) | part.options[k]._asdict() | {"resolved_at": moment} for row, k, moment in rows]
    known.sort(key=itemgetter("resolved_at"))
    far = [0]

    def tell(moment: int) -> None:
        while far[0] < len(known) and known[far[0]]["resolved_at"] < moment:
            policy.record(known[far[0]])
            far[0] += 1

    return tell


def standing(log: Log, table: pd.DataFrame) -> Standing:
    """What codes, networks and the decision table say of each retry's options, given the payment's last failure in `table`.

    Before a payment's first attempt everything is allowed, and equally placed.
    """
    allowed, place = np.ones(log.open.shape, bool), np.zeros(log.open.shape, np.int64)
    retries = np.flatnonzero(log.number > 0)
    if not len(retries):
        return Standing(allowed, place)
    engine = Engine(None)
    earlier = _earlier(log, table, retries)
    kept: dict[Any, tuple[list[int], list[int]]] = {}
    for i, row in zip(retries.tolist(), earlier, strict=True):
        places = np.flatnonzero(log.open[i])
        key = (tuple(sorted(row.items())), tuple(places.tolist()))
        if key not in kept:
            kept[key] = _told(engine, row, [log.options[k] for k in places.tolist()])
        order, blocked = kept[key]
        place[i] = _LAST
        place[i, places[order]] = np.arange(len(order))
        allowed[i, places[blocked]] = False
    return Standing(allowed, place)


_EVIDENCE = tuple(name for name in after_columns() if name not in {"outcome", "reason", "resolved_at", "duration_s"})
_ASKED = ("method", "route", "auth_flow", "card_brand", "country", "currency", *_EVIDENCE)


def _earlier(log: Log, table: pd.DataFrame, places: Array) -> list[dict[str, Any]]:
    """What the rules look at of the attempt before each of these decisions, missing values left out."""
    ordered = table.sort_values("created_at", kind="stable")
    before = ordered.groupby("payment_id", sort=False, observed=True)["attempt_id"].shift(1)
    mine = dict(zip(ordered["attempt_id"].astype(str), before, strict=True))
    asked = [mine[name] for name in log.table["attempt_id"].astype(str).to_numpy()[places]]
    names = [name for name in _ASKED if name in ordered]
    rows = ordered.set_index("attempt_id").loc[asked, names].astype(object)
    found: list[dict[str, Any]] = [
        {str(name): value for name, value in row.items() if isinstance(value, str)} for row in rows.to_dict("records")
    ]
    return found


def _told(engine: Engine, row: dict[str, Any], options: Sequence[OptionKey]) -> tuple[list[int], list[int]]:
    """Places of the options that the rules allow, the preferred first, and of those that they block."""
    attempt = {"attempt_id": "a", "payment_id": "p", "created_at": 0, "amount_minor": 1}
    attempt |= {name: value for name, value in row.items() if name not in _EVIDENCE}
    evidence = {name: value for name, value in row.items() if name in _EVIDENCE}
    candidates = tuple(
        {"candidate_id": str(place), **{name: value for name, value in option._asdict().items() if value is not None}}
        for place, option in enumerate(options)
    )
    answer = engine.score(ScoreRequest(attempt, evidence, (), candidates), request_id="log")
    order = [int(entry["candidate_id"]) for entry in answer["ranking"]]
    return order, [int(entry["candidate_id"]) for entry in answer["blocked"]]


def _where(shares: Array, decided: Any) -> Target:
    """A target that does as logged where nothing is decided."""
    return Target(np.where(decided[:, None], shares, 0.0), ~decided)
