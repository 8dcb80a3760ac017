"""How likely each option is to succeed, learnt from a log: for the direct method, doubly robust, and for policies to choose by.

Three models, averaged in log-odds: boosted trees of all options together, with the option as a feature, which share what options
have in common; and, of each option that was taken often enough, boosted trees and a forest of a few deep steps, which leave it
its own. How much each counts is what would have told the later part of the log best. On a log of few columns and few options
the forest tells most (the shop, first attempts, seven slices of time that followed what was learnt from: log loss 0.4594 with
it, 0.4629 without), on one of many the first does (simulated: 0.345 alone, 0.351 with the second, 0.38 with the forest).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from features.definitions import RAW_CODES, RAW_NUMBERS
from features.rows import Encoder
from models.means import OF_THE_FLOW, OF_THE_METHOD
from training.calibrate import log_losses
from training.policy_log import Log

__all__ = ["OptionModel", "cross_fitted", "fit_option_model", "situations"]

Array = npt.NDArray[Any]

_TOGETHER = {
    "objective": "binary", "learning_rate": 0.03, "num_leaves": 15, "min_data_in_leaf": 20, "extra_trees": True,
    "feature_fraction": 0.9, "max_cat_to_onehot": 8, "verbose": -1, "deterministic": True, "force_row_wise": True,
}  # fmt: skip
_EACH = {
    "objective": "binary", "learning_rate": 0.03, "num_leaves": 8, "min_data_in_leaf": 30, "feature_fraction": 0.8,
    "bagging_fraction": 0.8, "bagging_freq": 1, "max_cat_to_onehot": 8, "verbose": -1, "deterministic": True,
    "force_row_wise": True,
}  # fmt: skip
_FOREST = {
    "objective": "regression", "boosting": "rf", "num_leaves": 8, "min_data_in_leaf": 30, "bagging_fraction": 0.632,
    "bagging_freq": 1, "max_cat_to_onehot": 8, "verbose": -1, "deterministic": True, "force_row_wise": True,
}  # fmt: skip
_TOGETHER_ROUNDS, _EACH_ROUNDS, _FOREST_TREES = 400, 100, 150
_LEAST_OF_AN_OPTION = 300
_MOST_ROWS = 200_000  # more attempts would make the model little better, and the wait long
_MOST_TRIED, _LEAST_TRIED, _TRIED = 30_000, 1_000, 0.25
_STEPS = 4
_SHARES = tuple(
    (t / _STEPS, e / _STEPS, (_STEPS - t - e) / _STEPS) for t in range(_STEPS + 1) for e in range(_STEPS + 1 - t)
)
_UNTRIED = (0.5, 0.25, 0.25)
_EDGE = 1e-4
_FOREST_EDGE = 0.01  # a leaf of 30 without a success knows no better


@dataclass(frozen=True)
class OptionModel:
    """Success probabilities of options in situations.

    `each` has the boosted trees and the forest of the options that have their own; `shares` say how much `together`, these
    trees and this forest count.
    """

    options: int
    together: Any
    each: Mapping[int, tuple[Any, Any]]
    shares: tuple[float, float, float] = _UNTRIED

    def success(self, situation: Array) -> Array:
        """P(success) of every option in every situation, shape (n, k)."""
        odds = [self.scores(situation, k) @ np.array(self.shares) for k in range(self.options)]
        clipped: Array = (1.0 / (1.0 + np.exp(-np.column_stack(odds)))).clip(_EDGE, 1.0 - _EDGE)
        return clipped

    def scores(self, situation: Array, option: int) -> Array:
        """Log-odds of an option by each of the three, shape (n, 3)."""
        one = np.column_stack([situation, np.full(len(situation), float(option))])
        together = self.together.predict(one, raw_score=True)
        if option not in self.each:
            return np.column_stack([together] * 3)
        trees, forest = self.each[option]
        p = forest.predict(situation).clip(_FOREST_EDGE, 1.0 - _FOREST_EDGE)
        return np.column_stack([together, trees.predict(situation, raw_score=True), np.log(p / (1.0 - p))])


def situations(log: Log) -> tuple[Array, tuple[int, ...]]:
    """What is known of each decision before an option is chosen, shape (n, m), and which of its columns are codes.

    The columns of the table that vary, the hour of the day in UTC and the number of earlier attempts.
    """
    encoder = Encoder.fit(log.table)
    rows = encoder.from_table(log.table)
    # What belongs to the means rather than to the buyer would tell which option was taken
    left_out = {*log.chosen, *(OF_THE_METHOD if "method" in log.chosen else ())}
    left_out |= set(OF_THE_FLOW) if "auth_flow" in log.chosen else set()
    kept = [place for place, name in enumerate(RAW_CODES) if name not in left_out]
    codes = np.where(rows.codes[:, kept] < 0, np.nan, rows.codes[:, kept].astype(float))
    numbers = rows.numbers[:, [place for place, name in enumerate(RAW_NUMBERS) if name not in left_out]]
    hour = (rows.created % 86_400_000_000) / 3.6e9
    everything = np.column_stack([numbers, hour, log.number, codes])
    is_code = np.arange(everything.shape[1]) >= numbers.shape[1] + 2
    varies = np.array([_varies(column) for column in everything.T], bool)
    return everything[:, varies], tuple(np.flatnonzero(is_code[varies]).tolist())


def _varies(column: Array) -> bool:
    seen = column[~np.isnan(column)]
    return len(seen) > 0 and (seen.min() < seen.max() or len(seen) < len(column))


def fit_option_model(
    situation: Array,
    coded: Sequence[int],
    done: Array,
    success: Array,
    options: int,
    *,
    seed: int = 7,
    threads: int = 1,
    shares: tuple[float, float, float] | None = None,
) -> OptionModel:
    """Learn from decisions in order of time: `situation` (n, m), `done` (n,) the option taken, `success` (n,) 0 or 1.

    Without `shares` they are chosen by the later decisions.
    """
    if len(done) > _MOST_ROWS:
        some = np.sort(np.random.default_rng(seed).choice(len(done), _MOST_ROWS, replace=False))
        situation, done, success = situation[some], done[some], success[some]

    def fitted(rows: slice) -> OptionModel:
        return _fit(situation[rows], coded, done[rows], success[rows], options, seed, threads)

    first = max(len(done) - _MOST_TRIED, 0)
    if shares is None and len(done) >= _LEAST_TRIED:
        cut = len(done) - int(_TRIED * (len(done) - first))
        shares = _best_shares(fitted(slice(first, cut)), situation[cut:], done[cut:], success[cut:])
    return replace(fitted(slice(None)), shares=shares or _UNTRIED)


def _fit(
    situation: Array, coded: Sequence[int], done: Array, success: Array, options: int, seed: int, threads: int
) -> OptionModel:
    import lightgbm as lgb

    def grown(matrix: Array, label: Array, codes: Sequence[int], parameters: dict[str, Any], rounds: int) -> Any:
        data = lgb.Dataset(matrix, label, categorical_feature=list(codes), params={"verbose": -1})
        return lgb.train({**parameters, "seed": seed, "num_threads": threads}, data, rounds)

    width = situation.shape[1]
    together = grown(
        np.column_stack([situation, done.astype(float)]), success, [*coded, width], _TOGETHER, _TOGETHER_ROUNDS
    )
    each = {}
    for k in range(options):
        mine = done == k
        if mine.sum() >= _LEAST_OF_AN_OPTION and width and 0.0 < success[mine].mean() < 1.0:
            own = situation[mine], success[mine], coded
            each[k] = grown(*own, _EACH, _EACH_ROUNDS), grown(*own, _FOREST, _FOREST_TREES)
    return OptionModel(options, together, each)


def _best_shares(model: OptionModel, situation: Array, done: Array, success: Array) -> tuple[float, float, float]:
    """How much each is to count by what came of later decisions: the mean of all shares, each as likely as it makes that."""
    told = np.empty((len(done), 3))
    for k in np.unique(done).tolist():
        told[done == k] = model.scores(situation[done == k], k)
    tried = np.array(_SHARES)
    losses = np.array([log_losses(told @ shares, success > 0.0).sum() for shares in tried])
    likely = np.exp(losses.min() - losses)
    together, trees, forest = (likely @ tried / likely.sum()).tolist()
    return together, trees, forest


def cross_fitted(
    situation: Array,
    coded: Sequence[int],
    log: Log,
    asked: Array,
    *,
    folds: int = 5,
    seed: int = 7,
    threads: int = 1,
    shares: tuple[float, float, float] | None = None,
) -> Array:
    """P(success) of every option in the decisions `asked` (mask), shape (asked, k), by models that never saw their payment.

    Each model learns from all other decisions of the log, asked about or not; `shares` as in `fit_option_model`.
    """
    payments = int(log.payment.max()) + 1
    fold = np.random.default_rng(seed).permutation(payments)[log.payment] % folds
    found = np.empty((len(log), len(log.options)))
    for f in range(folds):
        mine, others = asked & (fold == f), fold != f
        if not mine.any():
            continue
        model = fit_option_model(
            situation[others],
            coded,
            log.done[others],
            log.success[others],
            len(log.options),
            seed=seed,
            threads=threads,
            shares=shares,
        )
        found[mine] = model.success(situation[mine])
    chosen: Array = found[asked]
    return chosen
