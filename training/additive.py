"""Fitting the curves that stand beside a head's trees: logistic regression over straight pieces of every feature."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from features.definitions import features
from models.additive import Additive, Curve
from training.calibrate import log_losses

__all__ = ["fit_additive", "share_of_additive"]

Array = npt.NDArray[Any]

_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 1.0)
_INVERSE_PENALTY = 0.1  # sklearn's C: attempts against squared log-odds
_ITERATIONS = 150
_SHARES = np.linspace(0.0, 0.8, 9)


def fit_additive(matrix: Array, happened: Array, columns: Sequence[int]) -> Additive:
    """Curves over `columns` of `matrix` whose sum is the log-odds that it `happened` (n,), regularised towards none."""
    from scipy import sparse
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    pieces, shapes = [], []
    for column in columns:
        values = matrix[:, column].astype(np.float64)
        known = ~np.isnan(values)
        if not known.any():
            continue
        gone = (~known).astype(np.float64)[:, None]
        if features()[column].categories:
            count = int(values[known].max()) + 1
            rows = np.flatnonzero(known)
            one_hot = sparse.csr_matrix(
                (np.ones(len(rows)), (rows, values[known].astype(int))), shape=(len(values), count)
            )
            pieces += [one_hot, sparse.csr_matrix(gone)]
            shapes.append((column, np.empty(0), count))
            continue
        knots = np.unique(np.quantile(values[known], _QUANTILES))
        if len(knots) < 2:
            continue
        risen = np.clip((values[:, None] - knots[:-1]) / np.diff(knots), 0.0, 1.0)
        risen[~known] = 0.0
        pieces += [sparse.csr_matrix(risen), sparse.csr_matrix(gone)]
        shapes.append((column, knots, len(knots) - 1))
    with warnings.catch_warnings():  # stopped close to its optimum, it is as good
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = LogisticRegression(C=_INVERSE_PENALTY, max_iter=_ITERATIONS).fit(
            sparse.hstack(pieces).tocsr(), happened
        )
    weights, at = fitted.coef_[0].tolist(), 0
    curves = []
    for column, knots, count in shapes:
        mine, missing = weights[at : at + count], weights[at + count]
        at += count + 1
        levels = np.concatenate([[0.0], np.cumsum(mine)]).tolist() if len(knots) else mine
        curves.append(Curve(column, tuple(knots.tolist()), tuple(levels), missing))
    return Additive(float(fitted.intercept_[0]), tuple(curves))


def share_of_additive(trees: Array, additive: Array, happened: Array) -> float:
    """How much the curves should count beside the trees, 0 to 0.8: the share with the least log loss of what `happened`.

    `trees` and `additive` are log-odds (n,) of attempts that neither was fitted on.
    """
    losses = [log_losses((1.0 - share) * trees + share * additive, happened).mean() for share in _SHARES]
    return float(_SHARES[int(np.argmin(losses))])
