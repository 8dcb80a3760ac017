"""How likely each option is to succeed, learnt from a log: for the direct method, doubly robust, and for policies to choose by.

Two models, averaged in log-odds: one of all options together, with the option as a feature, and one of each option that was
taken often enough. The first shares what options have in common, the second leaves each its own steps. On the first attempts
of the shop, over four slices of time that followed what was learnt from, log loss was 0.4620 with both, 0.4631 and 0.4633
with either alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.definitions import RAW_CODES, RAW_NUMBERS
from features.rows import Encoder
from models.means import OF_THE_FLOW, OF_THE_METHOD
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
_TOGETHER_ROUNDS, _EACH_ROUNDS = 400, 100
_LEAST_OF_AN_OPTION = 300
_MOST_ROWS = 200_000  # more attempts would make the model little better, and the wait long
_EDGE = 1e-4


@dataclass(frozen=True)
class OptionModel:
    """Success probabilities of options in situations."""

    options: int
    coded: tuple[int, ...]
    together: Any
    each: dict[int, Any]

    def success(self, situation: Array) -> Array:
        """P(success) of every option in every situation, shape (n, k)."""
        found = np.empty((len(situation), self.options))
        for k in range(self.options):
            one = np.column_stack([situation, np.full(len(situation), float(k))])
            score = self.together.predict(one, raw_score=True)
            if k in self.each:
                score = (score + self.each[k].predict(situation, raw_score=True)) / 2.0
            found[:, k] = 1.0 / (1.0 + np.exp(-score))
        clipped: Array = found.clip(_EDGE, 1.0 - _EDGE)
        return clipped


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
) -> OptionModel:
    """Learn from decisions: `situation` (n, m), `done` (n,) the option taken of `options`, `success` (n,) 0 or 1."""
    import lightgbm as lgb

    def grown(matrix: Array, label: Array, codes: Sequence[int], parameters: dict[str, Any], rounds: int) -> Any:
        data = lgb.Dataset(matrix, label, categorical_feature=list(codes), params={"verbose": -1})
        return lgb.train({**parameters, "seed": seed, "num_threads": threads}, data, rounds)

    if len(done) > _MOST_ROWS:
        some = np.sort(np.random.default_rng(seed).choice(len(done), _MOST_ROWS, replace=False))
        situation, done, success = situation[some], done[some], success[some]
    width = situation.shape[1]
    together = grown(
        np.column_stack([situation, done.astype(float)]), success, [*coded, width], _TOGETHER, _TOGETHER_ROUNDS
    )
    each = {}
    for k in range(options):
        mine = done == k
        if mine.sum() >= _LEAST_OF_AN_OPTION and width and 0.0 < success[mine].mean() < 1.0:
            each[k] = grown(situation[mine], success[mine], coded, _EACH, _EACH_ROUNDS)
    return OptionModel(options, tuple(coded), together, each)


def cross_fitted(
    situation: Array, coded: Sequence[int], log: Log, asked: Array, *, folds: int = 5, seed: int = 7, threads: int = 1
) -> Array:
    """P(success) of every option in the decisions `asked` (mask), shape (asked, k), by models that never saw their payment.

    Each model learns from all other decisions of the log, asked about or not.
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
        )
        found[mine] = model.success(situation[mine])
    chosen: Array = found[asked]
    return chosen
