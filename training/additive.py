"""Fitting the curves that stand beside a head's trees: logistic regression over straight pieces of every feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from features.own import OwnColumn, all_features
from models.additive import Additive, Curve
from training.calibrate import log_losses

__all__ = ["fit_additive", "share_of_additive"]

Array = npt.NDArray[Any]

_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 1.0)
_PENALTY = 5.0  # per squared log-odds of a weight, against the log loss of one attempt
_ITERATIONS = 150
_SHARES = np.linspace(0.0, 0.8, 9)
_Bound = tuple[float | None, float | None]
_FREE: _Bound = (None, None)
_BOUNDS: dict[int, _Bound] = {0: _FREE, 1: (0.0, None), -1: (None, 0.0)}


def fit_additive(
    matrix: Array,
    happened: Array,
    columns: Sequence[int],
    own: tuple[OwnColumn, ...] = (),
    monotone: Mapping[str, int] | None = None,
) -> Additive:
    """Curves over `columns` of `matrix` whose sum is the log-odds that it `happened` (n,), regularised towards none.

    `own` are the merchant's columns that the matrix has; the curve of a feature in `monotone` only rises (1) or falls (-1).
    """
    from scipy import sparse

    pieces, shapes, bounds = [], [], []
    known, monotone = all_features(own), monotone or {}
    for column in columns:
        values = matrix[:, column].astype(np.float64)
        there = ~np.isnan(values)
        if not there.any():
            continue
        gone = (~there).astype(np.float64)[:, None]
        if known[column].categories:
            count = int(values[there].max()) + 1
            rows = np.flatnonzero(there)
            one_hot = sparse.csr_matrix(
                (np.ones(len(rows)), (rows, values[there].astype(int))), shape=(len(values), count)
            )
            pieces += [one_hot, sparse.csr_matrix(gone)]
            shapes.append((column, np.empty(0), count))
            bounds += [_FREE] * (count + 1)
            continue
        knots = np.unique(np.quantile(values[there], _QUANTILES))
        if len(knots) < 2:
            continue
        risen = np.clip((values[:, None] - knots[:-1]) / np.diff(knots), 0.0, 1.0)
        risen[~there] = 0.0
        pieces += [sparse.csr_matrix(risen), sparse.csr_matrix(gone)]
        shapes.append((column, knots, len(knots) - 1))
        bounds += [*[_BOUNDS[monotone.get(known[column].name, 0)]] * (len(knots) - 1), _FREE]
    if not pieces:
        return Additive(_odds_of(happened), ())
    bias, found = _logistic(sparse.hstack(pieces).tocsr(), happened, bounds)
    weights, at = found.tolist(), 0
    curves = []
    for column, knots, count in shapes:
        mine, missing = weights[at : at + count], weights[at + count]
        at += count + 1
        levels = np.concatenate([[0.0], np.cumsum(mine)]).tolist() if len(knots) else mine
        curves.append(Curve(column, tuple(knots.tolist()), tuple(levels), missing))
    return Additive(bias, tuple(curves))


def _logistic(inputs: Any, happened: Array, bounds: Sequence[_Bound]) -> tuple[float, Array]:
    """Bias and weights of a logistic regression with a penalty on the squared weights; stopped close to its optimum.

    Each weight is within its bounds.
    """
    turned = inputs.T.tocsr()

    def loss(packed: Array) -> tuple[float, Array]:
        bias, weights = packed[0], packed[1:]
        odds = inputs @ weights + bias
        slope = 1.0 / (1.0 + np.exp(-np.clip(odds, -500.0, 500.0))) - happened
        value = log_losses(odds, happened).sum() + _PENALTY * (weights @ weights)
        return float(value), np.concatenate([[slope.sum()], turned @ slope + 2.0 * _PENALTY * weights])

    start = np.concatenate([[_odds_of(happened)], np.zeros(inputs.shape[1])])
    within = [_FREE, *bounds] if any(bound != _FREE for bound in bounds) else None
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=within, options={"maxiter": _ITERATIONS}).x
    return float(found[0]), found[1:]


def _odds_of(happened: Array) -> float:
    """Log-odds of its share, half a case added on both sides."""
    return float(np.log((happened.sum() + 0.5) / ((~happened).sum() + 0.5)))


def share_of_additive(trees: Array, additive: Array, happened: Array) -> float:
    """How much the curves should count beside the trees, 0 to 0.8: the share with the least log loss of what `happened`.

    `trees` and `additive` are log-odds (n,) of attempts that neither was fitted on.
    """
    losses = [log_losses((1.0 - share) * trees + share * additive, happened).mean() for share in _SHARES]
    return float(_SHARES[int(np.argmin(losses))])
