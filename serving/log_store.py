"""The decision log in a database: SQLite or PostgreSQL, by SQLAlchemy. Every call here blocks.

Several processes, on several machines with PostgreSQL, may write to one log. Whoever keeps outcomes holds the lock of the
log's one row until the commit, so that `seq` ascends in the order of commits: no outcome turns up before one that a reader
has seen.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from features.errors import BadInput
from features.faults import without_numbers
from serving.known import Known
from serving.log_records import OutcomeConflict, OutcomeTooEarly, Told
from serving.log_rows import Written
from serving.log_settle import Asked, Kept, settle
from serving.log_tables import DECISIONS, LOG, METADATA, OUTCOMES, VERSION
from serving.outcomes import Outcome

__all__ = ["LogStore", "Telling", "reason_of"]

T = TypeVar("T")

_BUSY_S = 5
_AGAIN_S = 0.02
_STATEMENT_MS = 10_000
_IDS_AT_ONCE = 5_000  # SQLite takes 32,766 values in a statement
_ROWS_AT_ONCE = 100
_TABLES_LOCK = 0x70617972  # of PostgreSQL's advisory locks: two processes must not make the tables at once
_ATTEMPT_KNOWN = sa.or_(OUTCOMES.c.attempt.is_not(sa.null()), OUTCOMES.c.decision_id.is_not(None))
# Asked five times a second by each state that follows the log: made once, since making them takes longer than asking
_AFTER = (
    sa.select(OUTCOMES, DECISIONS.c.attempt.label("asked"))
    .outerjoin(DECISIONS, DECISIONS.c.id == OUTCOMES.c.decision_id)
    .where(OUTCOMES.c.seq > sa.bindparam("seq", type_=sa.BigInteger))
    .where(_ATTEMPT_KNOWN)
    .order_by(OUTCOMES.c.seq)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
_NEWEST = sa.select(OUTCOMES.c.seq).where(_ATTEMPT_KNOWN).order_by(OUTCOMES.c.seq.desc()).limit(1)
_MAY_PASS = {"OperationalError", "InterfaceError", "TimeoutError", "OSError", "BadInput"}


class Telling(NamedTuple):
    """One request's outcomes. `patient`: while an attempt among them is unknown, they had better be tried again later."""

    outcomes: Sequence[Outcome]
    patient: bool = False


Result = Told | OutcomeConflict | OutcomeTooEarly | None
"""What became of a telling; None where it was patient, and nothing of it was kept."""


class LogStore:
    """Reads and writes the log at a SQLAlchemy URL.

    Raises BadInput for a URL that is none, or of a database that is neither SQLite nor PostgreSQL. `prepare` comes first.
    """

    def __init__(self, url: str) -> None:
        address = _address(url)
        self.name = f"{address.get_backend_name()}://{address.host or ''}/{address.database or ''}"
        self._postgres = address.get_backend_name() == "postgresql"
        self.file = Path(address.database) if not self._postgres and address.database else None
        self._engine = _engine(address, postgres=self._postgres)

    def prepare(self) -> None:
        """Make the tables where there are none. Raises BadInput for a log of another version."""
        with self.writing() as connection:
            if self._postgres:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TABLES_LOCK)))
            METADATA.create_all(connection)
            self._check_version(connection)
            if connection.execute(sa.select(sa.func.count()).select_from(LOG)).scalar_one() == 0:
                connection.execute(sa.insert(LOG), {"version": VERSION, "last_seq": 0})

    def check(self) -> None:
        """Raises BadInput for a log of another version, and where there is no log."""
        with self._engine.connect() as connection:
            if not sa.inspect(connection).has_table(LOG.name):
                raise BadInput(self.name, message="holds no decision log; want one that `payrescue serve` wrote")
            self._check_version(connection)

    def _check_version(self, connection: sa.Connection) -> None:
        versions = connection.execute(sa.select(LOG.c.version)).scalars().all()
        if any(version != VERSION for version in versions):
            seen = ", ".join(map(str, versions))
            raise BadInput(
                self.name, message=f"is a decision log of version {seen}; this Payrescue wants version {VERSION}"
            )

    def write(self, decisions: Sequence[Written], tellings: Sequence[Telling], *, told_at: int) -> list[Result]:
        """Write decisions, then outcomes, in one transaction. When it returns, they are on disk.

        The results are in the order of the tellings; one that is refused does not hinder the others.
        """
        with self.writing() as connection:
            for some in _chunks(decisions, _ROWS_AT_ONCE):
                self._insert(connection, some)
            return self._tell(connection, tellings, told_at) if tellings else []

    def _insert(self, connection: sa.Connection, rows: Sequence[Written]) -> None:
        # One statement, bound by hand: the request path shares Python's lock, and drivers take it again for each row
        statement = _insertion("%s" if self._postgres else "?", len(rows))
        connection.exec_driver_sql(statement, tuple(chain.from_iterable(rows)))

    def _tell(self, connection: sa.Connection, tellings: Sequence[Telling], told_at: int) -> list[Result]:
        # Locked before anything is read: what others keep meanwhile would be missed, or written twice
        last: int = connection.execute(sa.select(LOG.c.last_seq).with_for_update()).scalar_one()
        ids = list({outcome.attempt_id for telling in tellings for outcome in telling.outcomes})
        kept, asked = _kept(connection, ids), _asked(connection, ids)
        results: list[Result] = []
        fresh: dict[str, Kept] = {}
        for telling in tellings:
            try:
                settled = settle(telling.outcomes, kept, asked, told_at=told_at)
            except (OutcomeConflict, OutcomeTooEarly) as refused:
                results.append(refused)
                continue
            if settled.told.unknown_attempts and telling.patient:
                results.append(None)
                continue
            kept |= settled.fresh
            fresh |= settled.fresh
            results.append(settled.told)
        if fresh:
            again = [found.seq for found in fresh.values() if found.seq is not None]
            if again:
                connection.execute(sa.delete(OUTCOMES).where(OUTCOMES.c.seq.in_(again)))
            rows = [_told_row(found, last + i, told_at) for i, found in enumerate(fresh.values(), 1)]
            connection.execute(sa.insert(OUTCOMES), rows)
            connection.execute(sa.update(LOG).values(last_seq=last + len(rows)))
        return results

    def after(self, seq: int, most: int) -> list[Known]:
        """At most `most` outcomes with a higher seq, in its order, whose attempt is known (see `OutcomeLog`)."""
        with self._engine.connect() as connection:
            found = connection.execute(_AFTER, {"seq": seq, "most": most})
            return [Known(row.seq, row.attempt_id, _fields(row)) for row in found]

    def latest(self) -> int:
        """The highest seq of an outcome whose attempt is known; 0 without one."""
        with self._engine.connect() as connection:
            return int(connection.execute(_NEWEST).scalar() or 0)

    def start(self, until: int | None, window_us: int) -> int:
        """The seq after which all outcomes lie that a state has to be told (see `OutcomeLog`)."""
        seq, resolved = OUTCOMES.c.seq, OUTCOMES.c.resolved_at
        with self._engine.connect() as connection:
            newest = connection.execute(sa.select(sa.func.max(resolved))).scalar()
            if newest is None:
                return 0
            cut = newest - window_us if until is None else min(newest - window_us, until)
            # In one statement: what is kept between two would lie before the start
            first = sa.func.min(sa.case((resolved > cut, seq)))
            return int(connection.execute(sa.select(sa.func.coalesce(first - 1, sa.func.max(seq), 0))).scalar_one())

    def mark(self, seq: int) -> str | None:
        """What tells the outcome of that seq from those that other logs have there; None where there is none."""
        of = OUTCOMES.c
        with self._engine.connect() as connection:
            query = sa.select(of.attempt_id, of.told_at, of.resolved_at, of.outcome).where(of.seq == seq)
            found = connection.execute(query).one_or_none()
        return None if found is None else sha256(msgspec.json.encode(tuple(found))).hexdigest()

    def stream(self, query: sa.Select[Any] | sa.CompoundSelect[Any]) -> Iterator[sa.Row[Any]]:
        """The rows that a query selects, a few thousand in memory at a time."""
        with self._engine.connect().execution_options(stream_results=True) as connection:
            yield from connection.execute(query, execution_options={"yield_per": 2_000})

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that only reads."""
        with self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection in a transaction of its own, which nobody else writes beside."""
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection


def reason_of(error: Exception) -> tuple[str, bool]:
    """What to say of a failure, without the statement and its values; and whether it may pass, so that it is tried again."""
    cause = getattr(error, "orig", None) or error
    kinds = {kind.__name__ for kind in (*type(error).__mro__, *type(cause).__mro__)}
    own = isinstance(error, BadInput) or cause is not error or type(cause).__module__.startswith(("sqlite3", "psycopg"))
    said = (str(cause).splitlines() or [""])[0] if own else ""
    return without_numbers(f"{type(cause).__name__}{': ' if said else ''}{said}"), bool(kinds & _MAY_PASS)


def _address(url: str) -> URL:
    wanted = "want a SQLAlchemy URL of SQLite or PostgreSQL, such as sqlite:///payrescue-log.db"
    try:
        address = make_url(url)
        backend = address.get_backend_name()
    except (ArgumentError, ValueError):
        raise BadInput("log", message=wanted) from None
    if backend in {"postgres", "postgresql"}:
        plain = address.drivername in {"postgres", "postgresql"}
        return address.set(drivername="postgresql+psycopg") if plain else address
    if backend != "sqlite":
        raise BadInput("log", message=wanted)
    if address.database in {None, "", ":memory:"}:
        raise BadInput("log", message="want a file, such as sqlite:///payrescue-log.db: what is in memory is not kept")
    return address


def _engine(address: URL, *, postgres: bool) -> sa.Engine:
    """Connections that give up in time, and say so by an error, whatever becomes of the database."""
    told: dict[str, Any] = {"timeout": _BUSY_S}
    options: dict[str, Any] = {}
    if postgres:
        told = {
            "connect_timeout": _BUSY_S,
            "tcp_user_timeout": _STATEMENT_MS,
            "options": f"-c statement_timeout={_STATEMENT_MS} -c lock_timeout={_BUSY_S * 1_000}",
        }
        told = {name: value for name, value in told.items() if name not in address.query}
        options = {"pool_pre_ping": True, "isolation_level": "READ COMMITTED"}
    try:
        engine = sa.create_engine(
            address,
            connect_args=told,
            json_serializer=lambda value: msgspec.json.encode(value).decode(),
            json_deserializer=msgspec.json.decode,
            hide_parameters=True,
            **options,
        )
    except (NoSuchModuleError, ImportError) as error:
        raise BadInput("log", message=f"its driver is not installed: {error}") from None
    sa.event.listen(engine, "connect", _connected_postgres if postgres else _connected_sqlite)
    if not postgres:
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _connected_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say, not where Python's driver guesses
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            break
        except sqlite3.OperationalError as error:
            # Where another makes it so at this moment, SQLite does not wait by itself
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_AGAIN_S)
    # Each commit is on disk, not only in the system's memory
    connection.execute("PRAGMA synchronous=FULL").close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer that first reads would fail, not wait, if another wrote in between
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _connected_postgres(connection: Any, _: Any) -> None:
    with connection.cursor() as cursor:  # a server may be set up to answer before a commit is on disk
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
    connection.commit()


def _told_row(kept: Kept, seq: int, told_at: int) -> dict[str, Any]:
    outcome = kept.outcome
    return {
        "seq": seq,
        "attempt_id": outcome.attempt_id,
        "told_at": told_at,
        "resolved_at": outcome.resolved_at,
        "outcome": outcome.outcome,
        "reason": outcome.reason,
        "evidence": outcome.evidence,
        "attempt": outcome.attempt,
        "decision_id": kept.decision_id,
    }


@cache
def _insertion(mark: str, n: int) -> str:
    """The statement that writes `n` decisions, at most `_ROWS_AT_ONCE`, with such a mark for each value."""
    one = ", ".join([mark] * len(Written._fields))
    names = ", ".join(f'"{name}"' for name in Written._fields)
    return f"INSERT INTO {DECISIONS.name} ({names}) VALUES {', '.join([f'({one})'] * n)}"  # noqa: S608


def _chunks(things: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    yield from (things[i : i + most] for i in range(0, len(things), most))


def _kept(connection: sa.Connection, ids: Sequence[str]) -> dict[str, Kept]:
    found = {}
    for some in _chunks(ids, _IDS_AT_ONCE):
        for row in connection.execute(sa.select(OUTCOMES).where(OUTCOMES.c.attempt_id.in_(some))):
            told = Outcome(row.attempt_id, row.resolved_at, row.outcome, row.reason, row.evidence, row.attempt)
            found[row.attempt_id] = Kept(told, row.decision_id, row.seq)
    return found


def _asked(connection: sa.Connection, ids: Sequence[str]) -> Mapping[str, Asked]:
    """The newest decision about each attempt that was asked before it, else the newest."""
    of = DECISIONS.c
    found: dict[str, Asked] = {}
    for some in _chunks(ids, _IDS_AT_ONCE):
        query = (
            sa.select(of.attempt_id, of.id, of.created_at, of.p_success)
            .where(of.attempt_id.in_(some), of.shown)
            .order_by(of.evidence.is_(sa.null()), of.id)
        )
        for row in connection.execute(query):
            found[row.attempt_id] = Asked(row.id, row.created_at, row.p_success)
    return found


def _fields(row: sa.Row[Any]) -> dict[str, Any]:
    told = {"resolved_at": row.resolved_at, "outcome": row.outcome, **row.evidence}
    if row.reason is not None:
        told["reason"] = row.reason
    return {**(row.attempt if row.attempt is not None else row.asked), **told}
