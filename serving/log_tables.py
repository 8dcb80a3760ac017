"""The tables of the decision log, the same in SQLite and PostgreSQL.

Times are whole microseconds since 1970, UTC. What only people and programs outside read is JSON.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

from serving.settings import LOG_VERSION

__all__ = ["DECISIONS", "LOG", "METADATA", "OUTCOMES", "VERSION"]

VERSION = LOG_VERSION
"""Of these tables. A log of another version is refused."""

METADATA = MetaData()

_Big = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only what it calls INTEGER
_Json = JSON(none_as_null=True)

LOG = Table(
    "payrescue_log",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("last_seq", BigInteger, nullable=False),
    comment="one row: the version of these tables, and the seq given last, which whoever keeps outcomes locks",
)

DECISIONS = Table(
    "payrescue_decisions",
    METADATA,
    Column("id", _Big, primary_key=True),
    Column("attempt_id", Text, nullable=False, index=True),
    Column("payment_id", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("at", BigInteger, nullable=False, comment="when it was asked"),
    Column("created_at", BigInteger, nullable=False, comment="of the attempt"),
    Column("attempt", _Json, nullable=False, comment="before columns"),
    Column("evidence", _Json, comment="what a failed attempt had left behind; null where asked before the attempt"),
    Column("previous", _Json, nullable=False),
    Column("candidates", _Json, comment="null where checkout named none"),
    Column("answer", _Json, nullable=False, comment="as it was sent: ranking, suggestion, blocked, …"),
    Column("action", Text, nullable=False),
    Column(
        "chosen", _Json, comment="method, route, auth_flow of what was suggested; null where it names no way to pay"
    ),
    Column("p_success", Float(53), comment="of the attempt as asked; null without a model"),
    Column("policy", Text, nullable=False),
    Column("propensity", Float(53), nullable=False),
    Column("experiment", Text),
    Column("variant", Text),
    Column("model_version", Text),
    Column("degraded", Boolean, nullable=False),
    Column("features", LargeBinary, comment="the attempt's as served: float32, little-endian, by definition order"),
    Column("fingerprint", Text, comment="of the features' definitions"),
    Column("latency_us", BigInteger, nullable=False),
    Column("shown", Boolean, nullable=False, comment="false for what a challenger said in shadow"),
)

OUTCOMES = Table(
    "payrescue_outcomes",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False, comment="ascending in the order of commits"),
    Column("attempt_id", Text, nullable=False, unique=True),
    Column("told_at", BigInteger, nullable=False),
    Column("resolved_at", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text),
    Column("evidence", _Json, nullable=False),
    Column("attempt", _Json, comment="before columns, where they were told with the outcome"),
    Column("decision_id", BigInteger, comment="the decision that knows the attempt; null where none did"),
)
