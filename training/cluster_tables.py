"""Scores and recommendations by a Dask cluster: what the local engine gives, in the same order, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from training.own import own_of_models

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["recommend_on_cluster", "score_on_cluster"]

Array = npt.NDArray[Any]


def score_on_cluster(
    client: Any, artefact: Artefact, data: str, mapping: str | None, history: str | None, *, now: datetime
) -> pd.DataFrame:
    """What `score_table` gives of the attempts in `data`, which may look back on those in `history`."""
    import pandas as pd

    parted, asked = _both(client, artefact, data, mapping, history, now)
    shared = client.scatter(artefact, broadcast=True, hash=False)
    found, order = _in_order(client, parted.of_each_part(_scored, asked, shared))
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

    parted, asked = _both(client, artefact, data, mapping, history, now)
    check_candidates(candidates)
    shared = client.scatter(artefact, broadcast=True, hash=False)
    theirs = client.scatter(candidates, broadcast=True, hash=False)
    futures = parted.of_each_part(_recommended, asked, shared, theirs, rules, worth)
    found, order = _in_order(client, futures)
    table = pd.concat(found, ignore_index=True).infer_objects()  # a part in which nothing was blocked knew no texts
    missing = ~candidates["candidate_id"].isin(table["candidate_id"]).to_numpy()
    if missing.any():
        row = int(missing.argmax()) + 1
        fault = Fault("attempt_id", "an attempt_id of the attempts", row=row, count=int(missing.sum()))
        raise BadInput("candidates", [fault])
    ranked: pd.DataFrame = table.iloc[order].reset_index(drop=True)
    return ranked


@dataclass(frozen=True)
class _Asked:
    """Which attempts are asked about: those from row `first` on. Of the earlier ones, those at `again` are the same ones.

    `back` says whether there is a past to look back on.
    """

    first: int
    again: Array
    back: bool


def _both(
    client: Any, artefact: Artefact, data: str, mapping: str | None, history: str | None, now: datetime
) -> tuple[Parted, _Asked]:
    """The past, if any, and the attempts, in parts, with the own columns of the model."""
    own = own_of_models(artefact)
    names = read_mapping(mapping, own) if mapping is not None else None
    before = [history] if history is not None and history != data else []
    parted = scan(client, [*before, data], names, now=now, extra=own)
    ids = np.concatenate([one.attempt for one in parted.seen])
    first = sum(len(batch) for batch in parted.batches if batch.source != data)
    return parted, _Asked(first, np.flatnonzero(np.isin(ids[:first], ids[first:])), history is not None)


def _in_order(client: Any, futures: Sequence[Any]) -> tuple[list[Any], Array]:
    """The tables of the parts, and the order of their rows together, by the key that each row has."""
    found = client.gather(list(futures))
    keys = [key for _, key in found]
    told = [table for table, _ in found if len(table)]  # a part without attempts does not know what its columns hold
    return told or [found[0][0]], np.lexsort(tuple(np.concatenate(keys).T[::-1]))


def _parted_past(table: pd.DataFrame, apart: Apart, asked: _Asked) -> tuple[pd.DataFrame, pd.DataFrame | None, Apart]:
    """The attempts of a part that are asked about, and those that they may look back on."""
    now = apart.position >= asked.first
    past = ~now & ~np.isin(apart.position, asked.again)
    others = apart.others.only(~np.isin(apart.others.position, asked.again))
    position = np.concatenate([apart.position[past], apart.position[now]])
    mine, earlier = table[now].reset_index(drop=True), table[past].reset_index(drop=True)
    return mine, earlier if asked.back else None, Apart(others, position, apart.begun)


def _scored(table: pd.DataFrame, apart: Apart, asked: _Asked, artefact: Artefact) -> tuple[pd.DataFrame, Array]:
    mine, past, seen = _parted_past(table, apart, asked)
    return score_table(artefact, mine, past, seen), apart.position[apart.position >= asked.first][:, None]


def _recommended(
    table: pd.DataFrame,
    apart: Apart,
    asked: _Asked,
    artefact: Artefact,
    candidates: pd.DataFrame,
    rules: RuleBook | None,
    worth: Worth | None,
) -> tuple[pd.DataFrame, Array]:
    mine, past, seen = _parted_past(table, apart, asked)
    here = candidates[candidates["attempt_id"].isin(mine["attempt_id"])].reset_index(drop=True)
    found = recommend_table(artefact, mine, here, past, rules=rules, worth=worth, apart=seen)
    place = mine.set_index("attempt_id").index.get_indexer(found["attempt_id"].array)
    created = mine["created_at"].to_numpy("datetime64[us]").astype(np.int64)[place]
    position = apart.position[apart.position >= asked.first][place]
    return found, np.column_stack([created, position, np.arange(len(found))])
