"""Scores and recommendations by a Dask cluster: what the local engine gives, in the same order, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.errors import BadInput, Fault
from features.mapping import read_mapping
from features.others import Apart
from models.artefact import Artefact
from models.rules import RuleBook
from models.tables import check_candidates, recommend_table, score_table
from models.value import Worth
from training.cluster import Parted, scan

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["recommend_on_cluster", "score_on_cluster"]

Array = npt.NDArray[Any]


def score_on_cluster(
    client: Any, artefact: Artefact, data: str, mapping: str | None, history: str | None, *, now: datetime
) -> pd.DataFrame:
    """What `score_table` gives of the attempts in `data`, which may look back on those in `history`."""
    import pandas as pd

    parted, asked = _both(client, data, mapping, history, now)
    shared = client.scatter(artefact, broadcast=True, hash=False)
    found, order = _in_order(client, parted.of_each_part(_scored, asked[0], asked[1], shared))
    scores: pd.DataFrame = pd.concat(found, ignore_index=True).iloc[order].reset_index(drop=True)
    return scores


def recommend_on_cluster(
    client: Any,
    artefact: Artefact,
    data: str,
    mapping: str | None,
    history: str | None,
    candidates: pd.DataFrame,
    rules: RuleBook | None = None,
    worth: Worth | None = None,
    *,
    now: datetime,
) -> pd.DataFrame:
    """What `recommend_table` gives of the attempts in `data`, which may look back on those in `history`."""
    import pandas as pd

    parted, asked = _both(client, data, mapping, history, now)
    check_candidates(candidates)
    shared = client.scatter(artefact, broadcast=True, hash=False)
    theirs = client.scatter(candidates, broadcast=True, hash=False)
    futures = parted.of_each_part(_recommended, asked[0], asked[1], shared, theirs, rules, worth)
    found, order = _in_order(client, futures)
    table = pd.concat(found, ignore_index=True).infer_objects()  # a part in which nothing was blocked knew no texts
    missing = ~candidates["candidate_id"].isin(table["candidate_id"]).to_numpy()
    if missing.any():
        row = int(missing.argmax()) + 1
        fault = Fault("attempt_id", "an attempt_id of the attempts", row=row, count=int(missing.sum()))
        raise BadInput("candidates", [fault])
    ranked: pd.DataFrame = table.iloc[order].reset_index(drop=True)
    return ranked


def _both(
    client: Any, data: str, mapping: str | None, history: str | None, now: datetime
) -> tuple[Parted, tuple[int, Array]]:
    """The past, if any, and the attempts, in parts; from which row on they are asked about, and which of the past are not also
    asked about, by row."""
    names = read_mapping(mapping) if mapping is not None else None
    parted = scan(client, [history, data] if history else [data], names, now=now)
    ids = np.concatenate([one.attempt for one in parted.seen])
    first = next(batch.first for batch in parted.batches if batch.source == str(data)) if history != data else 0
    return parted, (first, np.flatnonzero(np.isin(ids[:first], ids[first:])))


def _in_order(client: Any, futures: Sequence[Any]) -> tuple[list[Any], Array]:
    """The tables of the parts, and the order of their rows together, by the key that each row has."""
    found = client.gather(list(futures))
    keys = [key for _, key in found]
    return [table for table, _ in found], np.lexsort(tuple(np.concatenate(keys).T[::-1]))


def _parted_past(
    table: pd.DataFrame, apart: Apart, first: int, again: Array
) -> tuple[pd.DataFrame, pd.DataFrame | None, Apart]:
    """The attempts of a part that are asked about, and those that they may look back on."""
    asked = apart.position >= first
    past = ~asked & ~np.isin(apart.position, again)
    others = apart.others.only(~np.isin(apart.others.position, again))
    position = np.concatenate([apart.position[past], apart.position[asked]])
    mine = table[asked].reset_index(drop=True)
    return mine, table[past].reset_index(drop=True) if first else None, Apart(others, position, apart.begun)


def _scored(
    table: pd.DataFrame, apart: Apart, first: int, again: Array, artefact: Artefact
) -> tuple[pd.DataFrame, Array]:
    mine, past, seen = _parted_past(table, apart, first, again)
    return score_table(artefact, mine, past, seen), apart.position[apart.position >= first][:, None]


def _recommended(
    table: pd.DataFrame,
    apart: Apart,
    first: int,
    again: Array,
    artefact: Artefact,
    candidates: pd.DataFrame,
    rules: RuleBook | None,
    worth: Worth | None,
) -> tuple[pd.DataFrame, Array]:
    mine, past, seen = _parted_past(table, apart, first, again)
    here = candidates[candidates["attempt_id"].isin(mine["attempt_id"])].reset_index(drop=True)
    found = recommend_table(artefact, mine, here, past, rules=rules, worth=worth, apart=seen)
    place = mine.set_index("attempt_id").index.get_indexer(found["attempt_id"].array)
    created = mine["created_at"].to_numpy("datetime64[us]").astype(np.int64)[place]
    position = apart.position[apart.position >= first][place]
    return found, np.column_stack([created, position, np.arange(len(found))])
