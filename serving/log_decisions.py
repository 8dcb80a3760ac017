"""What was suggested, out of the decision log: one row for each decision that was shown, and what was then done.

A decision that was asked before its attempt leads to that attempt; one that was asked after a failure, to the payment's next
attempt. It was followed (`yes`) if what was done has the method that was suggested, and the route and the authentication
where these were named; `no` if something else was done, `nothing` if nothing was; empty where the suggestion names no
way to pay. `followed_by` is the attempt that it led to, `outcome` what became of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, pairwise
from typing import Any

import sqlalchemy as sa

from serving.log_export import by_payment
from serving.log_store import LogStore

__all__ = ["COLUMNS", "decisions_of"]

COLUMNS: Mapping[str, str] = {
    "attempt_id": "string",
    "payment_id": "string",
    "asked_at": "timestamp",
    "asked": "string",
    "action": "string",
    "method": "string",
    "route": "string",
    "auth_flow": "string",
    "success_probability": "float64",
    "policy": "string",
    "propensity": "float64",
    "experiment": "string",
    "variant": "string",
    "model_version": "string",
    "degraded": "bool",
    "followed": "string",
    "followed_by": "string",
    "outcome": "string",
    "amount_minor": "int64",
    "currency": "string",
}
"""Columns of the table and their types; `asked` is `before` or `after`, an attempt's id is that of the attempt asked about."""

_MORE = ("at", "action", "answer", "model_version", "degraded")


def decisions_of(store: LogStore) -> Iterator[dict[str, Any]]:
    """Rows of the table, payment by payment; what is missing is absent."""
    for payment_id, rows in groupby(store.stream(by_payment(_MORE)), key=lambda row: row.payment):
        for told in _of_payment(rows):
            yield {"payment_id": payment_id, **told}


def _of_payment(rows: Iterable[sa.Row[Any]]) -> Iterator[dict[str, Any]]:
    told = list(rows)
    fields = {row.attempt_id: row.told if row.told is not None else row.attempt for row in told}
    outcomes = {row.attempt_id: row.outcome for row in told}
    order = sorted(fields, key=lambda attempt_id: fields[attempt_id]["created_at"])
    following = dict(pairwise(order))
    for row in told:
        if row.asked_after is None:
            continue
        after = bool(row.asked_after)
        led_to = following.get(row.attempt_id) if after else row.attempt_id
        done = fields[led_to] if led_to is not None else None
        suggestion = row.answer.get("suggestion") or {}
        found = {
            "attempt_id": row.attempt_id,
            "asked_at": row.at,
            "asked": "after" if after else "before",
            "action": row.action,
            **(row.chosen or {}),
            "success_probability": suggestion.get("success_probability"),
            "policy": row.policy,
            "propensity": row.propensity,
            "experiment": row.experiment,
            "variant": row.variant,
            "model_version": row.model_version,
            "degraded": bool(row.degraded),
            "followed": _followed(row.chosen, done),
            "followed_by": led_to,
            "outcome": outcomes.get(led_to) if led_to is not None else None,
            "amount_minor": fields[row.attempt_id].get("amount_minor"),
            "currency": fields[row.attempt_id].get("currency"),
        }
        yield {name: value for name, value in found.items() if value is not None}


def _followed(chosen: Mapping[str, Any] | None, done: Mapping[str, Any] | None) -> str | None:
    if not chosen:
        return None
    if done is None:
        return "nothing"
    return "yes" if all(done.get(name) == value for name, value in chosen.items()) else "no"
