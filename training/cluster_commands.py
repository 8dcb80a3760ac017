"""`payrescue score` and `recommend` with `--engine dask`: from a model's address to a table, by a cluster's workers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from features.errors import BadInput
from models.rules import RuleBook
from models.value import Worth

if TYPE_CHECKING:
    import pandas as pd

    from training.train import Tell

__all__ = ["recommend_on_cluster", "score_on_cluster"]


def score_on_cluster(
    data: str,
    query: str | None,
    mapping: str | None,
    history: str | None,
    model: str,
    scheduler: str | None,
    tell: Tell,
) -> pd.DataFrame:
    """The scores of the attempts in `data`."""
    from training import cluster_tables, tracking
    from training.cluster import connected

    _want_no_query(query)
    tracking.store()
    artefact = tracking.fetch(model)[0]
    with connected(scheduler, tell) as client:
        return cluster_tables.score_on_cluster(client, artefact, data, mapping, history, now=datetime.now(UTC))


def recommend_on_cluster(
    data: str,
    query: str | None,
    mapping: str | None,
    history: str | None,
    model: str,
    scheduler: str | None,
    tell: Tell,
    *,
    candidates: pd.DataFrame,
    rules: RuleBook | None,
    worth: Worth | None,
) -> pd.DataFrame:
    """What to do next after the attempts in `data`."""
    from training import cluster_tables, tracking
    from training.cluster import connected

    _want_no_query(query)
    tracking.store()
    artefact = tracking.fetch(model)[0]
    with connected(scheduler, tell) as client:
        return cluster_tables.recommend_on_cluster(
            client, artefact, data, mapping, history, candidates, rules, worth, now=datetime.now(UTC)
        )


def _want_no_query(query: str | None) -> None:
    if query is not None:
        raise BadInput("--engine", message="--engine dask reads Parquet; for a database take the local engine")
