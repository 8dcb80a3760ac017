"""Training by a Dask cluster: reading, features and, of heads that learn from many attempts, growing the trees.

What comes after (calibration, baselines, judging) is the client's, by the same code as in a local training: it holds the table,
and the features in a file. Features are those of the local engine, bit for bit, and so is a head that the client grows.
Trees that workers grow together (`lightgbm.dask`) are nearly so: each worker proposes borders of bins from its own rows, and
sums of gradients come in another order. Since workers cannot agree to stop, `max_rounds` trees are grown, and those after
the best round are cut off.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.definitions import RAW_CODES, RAW_NUMBERS
from features.errors import BadInput
from features.history import History, features_in_passing
from features.kernel import N_FEATURES
from features.mapping import read_mapping
from features.others import Apart
from features.rows import Counts, Encoder, Rows
from models.artefact import HeadParts
from models.heads import Calibration
from training.cluster import Parted, scan
from training.engine import give_back, tell_ignored
from training.fit import Fitted, Recipe, fit_head, names_and_codes, parameters_of
from training.matrix import Selected, mapped
from training.own import own_of_training
from training.rounds import best_round
from training.settings import TrainSettings
from training.train import Prepared

if TYPE_CHECKING:
    import pandas as pd

    from training.train import Tell

__all__ = ["Dask"]

Array = npt.NDArray[Any]

_TRIES = 3
_MINUTES = 5  # after which a worker no longer waits for one that is gone


class Dask:
    """A cluster's workers, and this process for what does not grow with the table."""

    def __init__(self, client: Any, settings: TrainSettings, folder: Path, tell: Tell) -> None:
        self._client, self._settings, self._folder, self._tell = client, settings, folder, tell
        self._parted: Parted | None = None
        self._made: list[Any] = []  # futures of each part's features, all that stays on the workers
        self._part = self._row = np.empty(0, np.int64)  # where in these a row of the matrix is
        self._place = np.empty(0, np.int64)  # which row of the matrix each row that was read is

    def read(
        self, data: str, query: str | None, mapping: str | None, *, now: datetime, others: Sequence[TrainSettings] = ()
    ) -> pd.DataFrame:
        """The attempts, checked by the workers, with outcomes to learn from; with the own columns of `others`, too."""
        from features.attempt_batches import joined

        if query is not None:
            raise BadInput("--engine", message="--engine dask reads Parquet; for a database take the local engine")
        own = own_of_training(self._settings, *others)
        names = read_mapping(mapping, own) if mapping is not None else None
        self._parted = scan(self._client, [data], names, now=now, for_training=True, extra=own)
        self._tell(
            f"{data}: {len(self._parted):,} rows in {len(self._parted.batches)} batches, {self._parted.n_parts} parts"
        )
        table = joined([self._client.gather(one) for one in self._parted.tables])
        give_back()
        tell_ignored(data, table, self._tell)
        self._place = np.empty(len(table), np.int64)
        self._place[np.argsort(table["created_at"].to_numpy("datetime64[us]"), kind="stable")] = np.arange(len(table))
        return table

    def prepare(self, table: pd.DataFrame, encoder: Encoder | None = None) -> Prepared:
        """Features of the table that was read, made by the workers and fetched from them, part by part.

        The table may be in order of time by now.
        """
        from dask.distributed import as_completed

        parted = self._parted
        if parted is None or len(parted) != len(table):
            raise ValueError("prepare: want the table that this engine has read")
        if encoder is None:
            own = self._settings.own
            counted = [self._client.submit(Counts.of, one, own, pure=False) for one in parted.tables]
            encoder = Encoder.counted(sum(self._client.gather(counted[1:]), self._client.gather(counted[0])), own)
        made = parted.of_each_part(_features, encoder)
        matrices = [self._client.submit(_matrix_of, one, pure=False) for one in made]
        matrix, rows = self._matrix(len(table), len(encoder.own)), _rows(len(table))
        self._part, self._row = np.empty(len(table), np.int64), np.empty(len(table), np.int64)
        number = {future.key: p for p, future in enumerate(made)}
        pasts: dict[int, History] = {}
        done = 0
        for future in as_completed(made):
            p, part = number[future.key], future.result()
            mine = self._place[part.position]
            matrix[mine] = part.matrix
            for name in _KEPT:
                getattr(rows, name)[mine] = part.rows[name]
            self._part[mine], self._row[mine] = p, np.arange(len(mine))
            pasts[p] = part.history
            done += len(mine)
            self._tell(f"features: {done:,} of {len(table):,} attempts are here")
        self._made = matrices
        del made, future, part
        self._client.run(give_back, on_error="ignore")  # one that is about to die has nothing to give
        give_back()
        ordered = table.sort_values("created_at", kind="stable", ignore_index=True)
        payment = np.unique(ordered["payment_id"], return_inverse=True)[1]
        past = History.joined([pasts[p] for p in sorted(pasts)])
        return Prepared(ordered, encoder, rows, matrix, payment, past, round(self._settings.mature_minutes * 60e6))

    def _matrix(self, rows: int, own: int) -> Array:
        """In a file where heads are grown by the workers, too, so that it is told by its rows."""
        if rows <= min(self._settings.stream_above_rows, self._settings.cluster_above_rows):
            return np.empty((rows, N_FEATURES + own), np.float32)
        return mapped(rows, Path(tempfile.mkdtemp(dir=self._folder)), own)

    def fit(
        self,
        matrix: Array | Selected,
        answer: Array,
        classes: Sequence[str],
        recipe: Recipe,
        settings: TrainSettings,
        *,
        stop: tuple[Array | Selected, Array] | None = None,
        rounds: int | None = None,
    ) -> Fitted:
        """As `fit_head`; by the workers together, where there are more attempts than `cluster_above_rows`.

        A worker that dies meanwhile has the head grown anew, twice at most.
        """
        if len(answer) <= settings.cluster_above_rows or not isinstance(matrix, Selected):
            return fit_head(matrix, answer, classes, recipe, settings, stop=stop, rounds=rounds)
        most = rounds or settings.max_rounds
        for left in reversed(range(_TRIES)):
            try:
                booster = self._grow(matrix, answer, classes, recipe, settings, most)
                break
            except Exception as error:
                if not left:
                    raise
                self._tell(f"growing the {classes[0]} head again: {type(error).__name__}")
        best, curve = most, tuple[float, ...]()
        if stop is not None:
            best, curve = best_round(booster, *stop, recipe.columns, settings.early_stopping_rounds)
        text = booster.model_to_string(num_iteration=best)
        return Fitted(
            HeadParts(text, tuple(recipe.columns), tuple(classes), Calibration.none(1)), best, curve, _booster=booster
        )

    def _grow(
        self,
        matrix: Selected,
        answer: Array,
        classes: Sequence[str],
        recipe: Recipe,
        settings: TrainSettings,
        rounds: int,
    ) -> Any:
        """Trees that tell the first of two answers, grown by the workers, each on what it holds."""
        import dask.array as da
        from dask import delayed
        from lightgbm import DaskLGBMRegressor

        columns = list(recipe.columns)
        parts = self._part[matrix.rows]
        inputs, labels = [], []
        for p, made in enumerate(self._made):
            mine = parts == p
            if not mine.any():
                continue
            rows = self._row[matrix.rows[mine]]
            taken = self._client.submit(_taken, made, rows, columns, pure=False)
            inputs.append(da.from_delayed(delayed(taken), (len(rows), len(columns)), np.float32))
            labels.append(da.from_array((answer[mine] == 0).astype(np.float32), chunks=len(rows)))
        parameters = parameters_of(recipe, settings, classes, len(answer))
        del parameters["num_threads"]  # as many as the workers have
        names, coded = names_and_codes(columns, settings.own)
        # The regressor, since the classifier would number the answers that each part holds for itself
        model = DaskLGBMRegressor(
            client=self._client, n_estimators=rounds, tree_learner="data", time_out=_MINUTES, **parameters
        )
        with (
            contextlib.redirect_stdout(sys.stderr),  # LightGBM prints
            warnings.catch_warnings(),
        ):
            # It says that it takes the workers' number of threads, which is what we want
            warnings.filterwarnings("ignore", "Parameter .* will be ignored", UserWarning)
            # The answers, which are with the graph so that those of a worker that dies are not lost
            warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
            model.fit(da.concatenate(inputs), da.concatenate(labels), feature_name=names, categorical_feature=coded)
        return model.booster_


@dataclass(frozen=True)
class _Part:
    """What a worker made of its part."""

    position: Array
    matrix: Array
    rows: dict[str, Array]
    history: History


_KEPT = ("created", "resolved", "outcome", "reason", "numbers", "codes", "reference")


def _features(table: pd.DataFrame, apart: Apart, encoder: Encoder) -> _Part:
    rows = replace(encoder.from_table(table), position=apart.position)
    history = History()
    matrix = features_in_passing(rows, history, others=apart.others)
    return _Part(apart.position, matrix, {name: getattr(rows, name) for name in _KEPT}, history)


def _matrix_of(part: _Part) -> Array:
    return part.matrix


def _taken(matrix: Array, rows: Array, columns: list[int]) -> Array:
    return np.ascontiguousarray(matrix[rows][:, columns])


def _rows(n: int) -> Rows:
    """Rows to be filled with what is kept of them; what only features of retries need is not."""
    return Rows(
        created=np.empty(n, np.int64),
        resolved=np.empty(n, np.int64),
        outcome=np.empty(n, np.int64),
        reason=np.empty(n, np.int64),
        duration=np.empty(0),
        numbers=np.empty((n, len(RAW_NUMBERS))),
        codes=np.empty((n, len(RAW_CODES)), np.int32),
        reference=np.empty((n, 3)),
        previous=np.empty(0, np.int64),
        position=np.arange(n),
    )
