from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.attempts import check_attempts
from features.columns import OUTCOMES, columns
from features.history import History, features_in_passing
from features.kernel import PENDING
from features.rows import Encoded, Encoder, Rows
from training.simulator import simulate

Fields = dict[str, Any]
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def attempts() -> pd.DataFrame:
    """A small simulated market, checked."""
    return check_attempts(simulate(1_500, seed=5).attempts, now=NOW)


@pytest.fixture(scope="session")
def encoder(attempts: pd.DataFrame) -> Encoder:
    return Encoder.fit(attempts)


@pytest.fixture(scope="session")
def rows(attempts: pd.DataFrame, encoder: Encoder) -> Rows:
    return encoder.from_table(attempts)


@pytest.fixture(scope="session")
def matrix(rows: Rows) -> np.ndarray:
    return features_in_passing(rows, History())


@pytest.fixture(scope="session")
def as_fields() -> Callable[[pd.DataFrame], list[Fields]]:
    """Each row of a table as the fields of a request: missing ones absent, times in microseconds."""

    def fields(table: pd.DataFrame) -> list[Fields]:
        plain = {}
        for name in table:
            values = table[name]
            if isinstance(values.dtype, pd.DatetimeTZDtype):
                stamps = values.to_numpy("datetime64[us]").astype(np.int64)
                values = pd.Series(stamps, dtype="Int64").mask(values.isna().to_numpy())
            plain[name] = values.astype(object).where(values.notna(), None).to_list()
        return [{name: values[i] for name, values in plain.items() if values[i] is not None} for i in range(len(table))]

    return fields


@pytest.fixture(scope="session")
def as_table() -> Callable[[list[Fields]], pd.DataFrame]:
    """The table of attempts that these fields make, with the types that a checked one has, in their order."""
    kinds = {"string": "str", "int64": "Int64", "float64": "float64", "bool": "boolean", "category": "category"}

    def table(many: list[Fields]) -> pd.DataFrame:
        made = {}
        for name, column in columns().items():
            if not any(name in one for one in many):
                continue
            values = [one.get(name) for one in many]
            if column.type == "timestamp":
                stamps = np.array([np.iinfo(np.int64).min if at is None else at for at in values], "datetime64[us]")
                made[name] = pd.Series(stamps).dt.tz_localize("UTC")
            elif column.type == "category":
                made[name] = pd.Series(pd.Categorical(values))
            else:
                made[name] = pd.Series(values, dtype=kinds[column.type])
        return pd.DataFrame(made)

    return table


@pytest.fixture(scope="session")
def request_rows(encoder: Encoder) -> Callable[..., tuple[list[Encoded], int]]:
    """What `features_of_request` takes, for earlier attempts and what is asked about."""

    def made(previous: list[Fields], asked: list[Fields], by: Encoder = encoder) -> Any:
        return by.of_request(previous, asked), len(asked)

    return made


@pytest.fixture(scope="session")
def comes_before() -> Callable[[Rows, int, int], bool]:
    """Whether the outcome of row `j` is known to row `i`: by then, and at one moment only if its own row came earlier."""

    def known(rows: Rows, j: int, i: int) -> bool:
        if rows.resolved[j] == PENDING or rows.outcome[j] < 0:
            return False
        if rows.resolved[j] != rows.created[i]:
            return bool(rows.resolved[j] < rows.created[i])
        return (rows.created[j], rows.position[j]) < (rows.created[i], rows.position[i])

    return known


@pytest.fixture(scope="session")
def outcome_names() -> tuple[str, ...]:
    return (*OUTCOMES, "unclassified")
