"""What a model must beat to be worth having: the prior, a table of success rates, a logistic regression."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from features.own import OwnColumn, all_features

__all__ = ["LinearBaseline", "prior", "rate_table"]

Array = npt.NDArray[Any]

_SHRINKAGE = 20.0  # attempts' worth of belief in the overall shares, for small cells of the table
_MOST_ROWS = 50_000


def prior(outcome: Array, n: int) -> Array:
    """The shares of the outcomes in training, for every one of `n` attempts, shape (n, 5). `outcome` may hold 5s."""
    success = (outcome == 0).mean()
    explained = np.bincount(outcome[(outcome > 0) & (outcome < 5)], minlength=5)[1:].astype(float)
    why = (explained + 0.5) / (explained.sum() + 2.0)
    return np.tile(np.concatenate([[success], (1.0 - success) * why]), (n, 1))


def rate_table(cells: Array, outcome: Array, train: Array, asked: Array) -> Array:
    """Outcome shares of the attempt's cell (its country × method × route, as an integer) in training, shape (n, 5)."""
    overall = prior(outcome[train], 1)[0]
    n = int(cells.max()) + 1
    known = train & (outcome >= 0)
    success = np.bincount(cells[known], outcome[known] == 0, n)
    total = np.bincount(cells[known], minlength=n)
    p = (success + _SHRINKAGE * overall[0]) / (total + _SHRINKAGE)
    why = np.empty((n, 4))
    explained = known & (outcome > 0) & (outcome < 5)
    failures = np.bincount(cells[explained], minlength=n)
    for o in range(1, 5):
        mine = np.bincount(cells[explained & (outcome == o)], minlength=n)
        why[:, o - 1] = (mine + _SHRINKAGE * overall[o] / (1.0 - overall[0])) / (failures + _SHRINKAGE)
    table = np.hstack([p[:, None], (1.0 - p)[:, None] * why])
    found: Array = table[cells[asked]]
    return found


class LinearBaseline:
    """Logistic regression over the same features: categories one-hot, numbers standardised, missing ones flagged.

    Fitted on the latest 50,000 attempts at most: it has few parameters, and more would only take longer.
    """

    def __init__(self, columns: Sequence[int], seed: int, own: tuple[OwnColumn, ...] = ()) -> None:
        from sklearn.compose import ColumnTransformer
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        known = all_features(own)
        self._columns = list(columns)
        coded = [place for place, column in enumerate(columns) if known[column].categories]
        plain = [place for place in range(len(self._columns)) if place not in coded]
        self._numbers = make_pipeline(
            ColumnTransformer(
                [
                    (
                        "numbers",
                        make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), StandardScaler()),
                        plain,
                    ),
                    ("categories", OneHotEncoder(handle_unknown="ignore"), coded),
                ]
            )
        )
        self._seed, self._coded = seed, coded

    def outcome_probability(self, matrix: Array, outcome: Array, train: Array, asked: Array) -> Array:
        """P(outcome) of the `asked` rows, shape (n, 5), fitted on the rows `train` (masks); NaN never."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        overall = prior(outcome[train], 1)[0]
        rows = np.flatnonzero(train & (outcome >= 0))[-_MOST_ROWS:]
        seen = self._numbers.fit_transform(self._chosen(matrix[rows])).astype(np.float32)  # half the time of doubles
        explained = (outcome[rows] > 0) & (outcome[rows] < 5)
        with warnings.catch_warnings():  # stopped close to its optimum, it is as fair a baseline
            warnings.simplefilter("ignore", ConvergenceWarning)
            success = LogisticRegression(C=0.1, max_iter=200).fit(seen, outcome[rows] == 0)
            why = None
            if len(np.unique(outcome[rows][explained])) > 1:
                why = LogisticRegression(C=0.1, max_iter=200).fit(seen[explained], outcome[rows][explained])

        def told(some: Array) -> Array:
            inputs = self._numbers.transform(self._chosen(matrix[some])).astype(np.float32)
            p = success.predict_proba(inputs)[:, 1:].astype(np.float64)
            shares = np.tile(overall[1:] / overall[1:].sum(), (len(p), 1))
            if why is not None:
                shares = np.full_like(shares, 1e-6)
                shares[:, why.classes_ - 1] = why.predict_proba(inputs)
                shares /= shares.sum(axis=1, keepdims=True)
            return np.hstack([p, (1.0 - p) * shares])

        places = np.flatnonzero(asked)
        return np.concatenate([told(places[at : at + _MOST_ROWS]) for at in range(0, max(len(places), 1), _MOST_ROWS)])

    def _chosen(self, matrix: Array) -> Array:
        # Counts and durations are skewed: log1p keeps their sign and tames their tail
        chosen = matrix[:, self._columns].astype(np.float64)
        coded = self._coded
        kept = chosen[:, coded].copy()
        chosen = np.sign(chosen) * np.log1p(np.abs(chosen))
        chosen[:, coded] = np.nan_to_num(kept, nan=-1.0)
        return chosen
