"""The attempts table, out of the decision log: one row for each attempt, as `payrescue train` reads it.

What an attempt was is told by its outcome where that told it, else by the newest decision that was asked before it,
else by the newest. An attempt without an outcome is pending. The decision that led to an attempt is the newest that was
asked

- about this attempt, before it was made; or, where there is none,
- about the payment's attempt before this one, after that had failed,

if what was then done is what it suggested: the method, and the route and the authentication where it named them. The
attempt then has the decision's policy, propensity, experiment and variant. Elsewhere it has none of them; what checkout
itself told of them with the attempt always counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from serving.log_store import LogStore
from serving.log_tables import DECISIONS, OUTCOMES

__all__ = ["Exported", "attempts_of", "by_payment"]

_LED = ("policy", "propensity", "experiment", "variant")


@dataclass
class Exported:
    """How much was given back.

    `too_early` are outcomes from before their attempt, which came to be known only later: their attempts are pending.
    """

    attempts: int = 0
    payments: int = 0
    with_outcome: int = 0
    too_early: int = 0


@dataclass
class _Attempt:
    """What the log has of one attempt: the newest decision that was asked before it and after it, or its outcome alone."""

    before: sa.Row[Any] | None = None
    after: sa.Row[Any] | None = None
    alone: sa.Row[Any] | None = None

    @property
    def row(self) -> sa.Row[Any]:
        """The one that tells what it was; each has the outcome."""
        found = self.before or self.after or self.alone
        if found is None:
            raise AssertionError("an attempt without a row")
        return found

    @property
    def fields(self) -> dict[str, Any]:
        """Its `before` columns."""
        told: dict[str, Any] = self.row.told if self.row.told is not None else self.row.attempt
        return told


def attempts_of(store: LogStore, exported: Exported) -> Iterator[dict[str, Any]]:
    """Rows of the attempts table, payment by payment; what is missing is absent. Counts in `exported`."""
    for payment_id, rows in groupby(store.stream(by_payment()), key=lambda row: row.payment):
        exported.payments += 1
        for attempt in _of_payment(rows, exported):
            exported.attempts += 1
            exported.with_outcome += "outcome" in attempt
            yield attempt | {"payment_id": payment_id}


def by_payment(more: Sequence[str] = ()) -> sa.CompoundSelect[Any]:
    """Decisions with the outcomes of their attempts, then outcomes alone that told their attempt; together by payment.

    `more` names further columns of the decisions.
    """
    of, told = DECISIONS.c, OUTCOMES.c
    first = DECISIONS.alias()
    # An attempt that was told with two payments belongs to the first
    payment = (
        sa.select(first.c.payment_id)
        .where(first.c.attempt_id == of.attempt_id, first.c.shown)
        .order_by(first.c.id)
        .limit(1)
        .scalar_subquery()
    )
    asked = {
        "place": of.id,
        "attempt": of.attempt,
        "asked_after": of.evidence.is_not(sa.null()),
        "chosen": of.chosen,
        **{name: of[name] for name in (*_LED, *more)},
    }
    kept = [told.attempt.label("told"), told.resolved_at, told.outcome, told.reason, told.evidence]
    decisions = (
        sa.select(
            payment.label("payment"), of.attempt_id, *(column.label(name) for name, column in asked.items()), *kept
        )
        .outerjoin(OUTCOMES, told.attempt_id == of.attempt_id)
        .where(of.shown)
    )
    missing = [sa.cast(sa.null(), column.type).label(name) for name, column in asked.items()]
    alone = sa.select(told.attempt["payment_id"].as_string(), told.attempt_id, *missing, *kept).where(
        told.attempt.is_not(sa.null()),
        ~sa.exists().where(of.attempt_id == told.attempt_id, of.shown),
    )
    return sa.union_all(decisions, alone).order_by("payment", "place")


def _of_payment(rows: Iterable[sa.Row[Any]], exported: Exported) -> Iterator[dict[str, Any]]:
    """The attempts of one payment, in the order in which they were made."""
    attempts: dict[str, _Attempt] = {}
    for row in rows:
        attempt = attempts.setdefault(row.attempt_id, _Attempt())
        if row.asked_after is None:
            attempt.alone = row
        elif row.asked_after:
            attempt.after = row
        else:
            attempt.before = row
    previous: _Attempt | None = None
    for attempt in sorted(attempts.values(), key=lambda attempt: attempt.fields["created_at"]):
        fields = attempt.fields
        decision = attempt.before or (previous.after if previous is not None else None)
        previous = attempt
        yield _led_to(fields, decision) | fields | _ended(fields, attempt.row, exported)


def _led_to(fields: Mapping[str, Any], decision: sa.Row[Any] | None) -> dict[str, Any]:
    """Policy, propensity, experiment and variant of the decision, if it was followed."""
    if decision is None or not decision.chosen or "policy" in fields or "propensity" in fields:
        return {}
    if any(fields.get(name) != value for name, value in decision.chosen.items()):
        return {}
    return {name: value for name in _LED if (value := getattr(decision, name)) is not None}


def _ended(fields: Mapping[str, Any], row: sa.Row[Any], exported: Exported) -> dict[str, Any]:
    """The `after` columns; none of a pending attempt."""
    if row.outcome is None:
        return {}
    if row.resolved_at < fields["created_at"]:
        exported.too_early += 1
        return {}
    reason = {} if row.reason is None else {"reason": row.reason}
    return {"resolved_at": row.resolved_at, "outcome": row.outcome, **reason, **row.evidence}
