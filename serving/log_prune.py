"""Takes out of the decision log what nobody needs any more: no answer, no check of a repeat, and no state that is filled anew.

An outcome goes once it was told and resolved before a moment, if every model that serves has learnt from that time already, and
if nothing was asked about its attempt since. A decision goes once it was asked before that moment and its attempt's outcome
is not kept. What is left is what it was: an outcome that is kept can be repeated, and contradicted, as before, and a state
that is filled from the log answers as it would have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from serving.log_store import LogStore
from serving.log_tables import DECISIONS, OUTCOMES
from serving.state_declines import KEPT_US

__all__ = ["LEAST_US", "Pruned", "prune"]

LEAST_US = KEPT_US
"""The shortest time for which a log may be kept, in microseconds: the networks' limits count declines for as long."""

_AT_ONCE = 5_000  # rows of one transaction, in which nobody else writes


@dataclass
class Pruned:
    """How many rows went, or would go, and how many there were.

    `needed` are outcomes that are old enough to go, but that a model which serves has not learnt from.
    """

    decisions: int = 0
    outcomes: int = 0
    needed: int = 0
    all_decisions: int = 0
    all_outcomes: int = 0


def prune(
    store: LogStore,
    before: int,
    learnt_until: int | None,
    *,
    dry: bool = False,
    tell: Callable[[Pruned], object] = lambda pruned: pruned,
) -> Pruned:
    """Take out what is older than `before`, in microseconds since 1970, UTC; with `dry`, only count it.

    `learnt_until` is the moment up to which every model that serves has learnt; None where none serves but the rules. It goes
    by some thousand rows a transaction, so that a service that writes hardly waits; `tell` hears how far it is.
    """
    pruned = Pruned()
    goes = _goes(OUTCOMES, before, learnt_until)
    kept = OUTCOMES.alias()
    stays = sa.exists().where(kept.c.attempt_id == DECISIONS.c.attempt_id, ~_goes(kept, before, learnt_until))
    with store.reading() as connection:
        pruned.all_outcomes = _count(connection, OUTCOMES, sa.true())
        pruned.all_decisions = _count(connection, DECISIONS, sa.true())
        pruned.needed = _count(connection, OUTCOMES, sa.and_(_goes(OUTCOMES, before, None), ~goes))
    for outcomes in _pieces(store, OUTCOMES, OUTCOMES.c.seq, goes, dry=dry):
        pruned.outcomes += outcomes
        tell(pruned)
    for decisions in _pieces(store, DECISIONS, DECISIONS.c.id, sa.and_(DECISIONS.c.at < before, ~stays), dry=dry):
        pruned.decisions += decisions
        tell(pruned)
    return pruned


def _goes(outcomes: sa.FromClause, before: int, learnt_until: int | None) -> sa.ColumnElement[bool]:
    """Whether an outcome goes."""
    of, asked = outcomes.c, DECISIONS.alias()
    since = sa.exists().where(asked.c.attempt_id == of.attempt_id, asked.c.at >= before)
    learnt = sa.true() if learnt_until is None else of.resolved_at <= learnt_until
    return sa.and_(of.told_at < before, of.resolved_at < before, learnt, ~since)


def _count(connection: sa.Connection, table: sa.Table, where: sa.ColumnElement[bool]) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table).where(where)).scalar_one())


def _pieces(
    store: LogStore, table: sa.Table, key: sa.Column[Any], goes: sa.ColumnElement[bool], *, dry: bool
) -> Iterator[int]:
    """How many rows of each piece of a table go."""
    reached = -1
    while True:
        with store.reading() as connection:
            piece = sa.select(key).where(key > reached).order_by(key).limit(_AT_ONCE).subquery()
            last = connection.execute(sa.select(sa.func.max(piece.c[key.name]))).scalar()
            if last is None:
                return
            here = sa.and_(key > reached, key <= last, goes)
            going = _count(connection, table, here)
        if going and not dry:
            with store.writing() as connection:
                going = connection.execute(sa.delete(table).where(here)).rowcount
        yield going
        reached = last
