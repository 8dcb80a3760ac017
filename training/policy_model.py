"""How likely each option is to succeed, learnt from a log: for the direct method, doubly robust, and for policies to choose by.

Two models, averaged in log-odds: one of all options together, with the option as a feature, and one of each option that was
taken often enough. The first shares what options have in common, the second leaves each its own steps. First attempts and
retries have a pair of their own, where there are enough of both: what a payment has been through changes what its means are
worth. On the first attempts of the shop, over six slices of time that followed what was learnt from, log loss was 0.4617, and
0.4645 by one pair for both (with options weighed alike, whatever their share of the log, 0.4954 and 0.4999).
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
    "objective": "binary", "learning_rate": 0.04, "num_leaves": 12, "min_data_in_leaf": 30, "lambda_l2": 5.0,
    "feature_fraction": 0.8, "bagging_fraction": 0.8, "bagging_freq": 1, "max_cat_to_onehot": 8, "verbose": -1,
    "deterministic": True, "force_row_wise": True,
}  # fmt: skip
_TOGETHER_ROUNDS, _EACH_ROUNDS = 400, 80
_LEAST_OF_AN_OPTION = 300
_LEAST_OF_A_KIND = 2_000  # first attempts, or retries, below which they learn from each other
_MOST_ROWS = 200_000  # more attempts would make the model little better, and the wait long
_EDGE = 1e-4


@dataclass(frozen=True)
class _Pair:
    """The model of all options together, and those of single options."""

    together: Any
    each: dict[int, Any]

    def log_odds(self, situation: Array, option: int) -> Array:
        one = np.column_stack([situation, np.full(len(situation), float(option))])
        score: Array = self.together.predict(one, raw_score=True)
        if option in self.each:
            score = (score + self.each[option].predict(situation, raw_score=True)) / 2.0
        return score


@dataclass(frozen=True)
class OptionModel:
    """Success probabilities of options in situations, of first attempts and of retries."""

    options: int
    first: _Pair
    later: _Pair

    def success(self, situation: Array, number: Array) -> Array:
        """P(success) of every option, shape (n, k), in each `situation` (n, m) after `number` (n,) earlier attempts."""
        found = np.empty((len(situation), self.options))
        for rows, pair in ((number == 0, self.first), (number > 0, self.later)):
            for k in range(self.options if rows.any() else 0):
                found[rows, k] = 1.0 / (1.0 + np.exp(-pair.log_odds(situation[rows], k)))
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
    number: Array,
    done: Array,
    success: Array,
    options: int,
    *,
    seed: int = 7,
    threads: int = 1,
) -> OptionModel:
    """Learn from decisions: `situation` (n, m), `done` (n,) the option taken of `options`, `success` (n,) 0 or 1.

    `number` (n,) is how many attempts the payment had seen before.
    """
    if len(done) > _MOST_ROWS:
        some = np.sort(np.random.default_rng(seed).choice(len(done), _MOST_ROWS, replace=False))
        situation, number, done, success = situation[some], number[some], done[some], success[some]

    def pair(rows: Array) -> _Pair:
        return _pair(situation[rows], coded, done[rows], success[rows], options, seed, threads)

    kinds = (number == 0, number > 0)
    if min(int(rows.sum()) for rows in kinds) < _LEAST_OF_A_KIND or not all(_both(success[rows]) for rows in kinds):
        both = pair(np.ones(len(done), bool))
        return OptionModel(options, both, both)
    return OptionModel(options, *(pair(rows) for rows in kinds))


def _pair(
    situation: Array, coded: Sequence[int], done: Array, success: Array, options: int, seed: int, threads: int
) -> _Pair:
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
        if mine.sum() >= _LEAST_OF_AN_OPTION and width and _both(success[mine]):
            each[k] = grown(situation[mine], success[mine], coded, _EACH, _EACH_ROUNDS)
    return _Pair(together, each)


def _both(success: Array) -> bool:
    return bool(0.0 < success.mean() < 1.0)


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
            log.number[others],
            log.done[others],
            log.success[others],
            len(log.options),
            seed=seed,
            threads=threads,
        )
        found[mine] = model.success(situation[mine], log.number[mine])
    chosen: Array = found[asked]
    return chosen
