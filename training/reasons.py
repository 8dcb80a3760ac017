"""The reason head: why an attempt failed, learnt from its features and from what it left behind; and which reasons stay open.

What a reason needs to be plausible comes from failures that the head has not seen: from the slice of time that calibrates, to
be judged on the last one; for a head that is fitted once more on all attempts, from blocks of all of them, each told by a
head of the other blocks, which is four times as many failures and as good a head.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.columns import CATEGORIES
from features.definitions import EVIDENCE_CODES, EVIDENCE_NUMBERS
from features.own import all_features
from features.taxonomy import reasons
from models.artefact import HeadParts
from models.code_text import CodeText
from models.conformal import least_by_category, named, standing
from models.diagnosis import by_code, read_evidence
from models.heads import Calibration
from training.fit import Fitted
from training.metrics import wilson
from training.settings import TrainSettings
from training.split import Split

if TYPE_CHECKING:
    import pandas as pd

    from training.train import Prepared

__all__ = ["fit_reasons", "plausible_reasons", "refit_reasons", "settled_by_code"]

Array = npt.NDArray[Any]

_FEWEST_PER_REASON = 10
_EVIDENCE = (*EVIDENCE_NUMBERS, *EVIDENCE_CODES)
_MOST_ROUNDS = 120
_BLOCKS = 4
_PATIENCE = 10
_TREES: Mapping[str, Any] = {
    "objective": "multiclass",
    "metric": "multi_logloss",
    "learning_rate": 0.1,  # a tree for each of some twenty reasons in every round: few rounds, small trees
    "num_leaves": 7,
    "lambda_l2": 5.0,  # without it a reason of a dozen failures can send the scores of all others astray
    "feature_fraction": 0.4,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "max_bin": 63,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}


def fit_reasons(data: Prepared, split: Split, columns: tuple[int, ...], settings: TrainSettings) -> Fitted | None:
    """The reason head over the features at `columns` and all evidence; None with fewer than three reasons to tell apart.

    Codes enter as numbers, the most frequent first, not as categories: with few failures of a reason, splits into sets of
    codes fit noise.
    """
    failed = _explained(data)
    fit = np.flatnonzero(split["fit"] & failed)[-settings.reason_rows :]
    stop = np.flatnonzero(split["stop"] & failed)
    vocabulary = data.encoder.vocabularies["reason"]
    counts = np.bincount(data.rows.reason[fit], minlength=len(vocabulary))
    known = reasons()
    classes = tuple(
        name for name, count in zip(vocabulary, counts, strict=True) if count >= _FEWEST_PER_REASON and name in known
    )
    if len(classes) < 3 or not len(stop):
        return None
    known_before = data.matrix.shape[1]
    places = (*columns, *range(known_before, known_before + len(_EVIDENCE)))
    return _fit(data, fit, classes, places, settings, stop=stop)


def refit_reasons(data: Prepared, fitted: Fitted, settings: TrainSettings) -> HeadParts:
    """The same head, with as many trees, from the latest of all explained failures."""
    rows = np.flatnonzero(_explained(data))[-settings.reason_rows :]
    return _fit(data, rows, fitted.parts.classes, fitted.parts.columns, settings, rounds=fitted.rounds).parts


def plausible_reasons(
    data: Prepared, split: Split, fitted: Fitted, settings: TrainSettings, texts: CodeText | None, *, refitted: bool
) -> tuple[dict[str, float], dict[str, Any]]:
    """What a reason of each category needs to be plausible, and how often sets so made held the truth in the last slice.

    The figures are those of thresholds from the slice that calibrates. They serve, too, unless the head is `refitted`: then
    the thresholds to serve are from all explained failures, in blocks of time, each told by a head of the others.
    """
    classes, head = fitted.parts.classes, fitted.parts.head()
    slices = [np.flatnonzero(split[name] & _explained(data)) for name in ("calibrate", "test")]
    if not all(map(len, slices)):
        return {}, {}
    early, late = (_Told.of(data, rows, classes, head.probabilities(_matrix(data, rows)), texts) for rows in slices)
    least = least_by_category(early.stands, early.category.tolist())
    judged = _judged(least, classes, late)
    if refitted:
        rows = np.flatnonzero(_explained(data))[-settings.reason_rows :]
        every = _Told.of(data, rows, classes, _by_others(data, rows, fitted, settings), texts)
        least = least_by_category(every.stands, every.category.tolist())
    return least, judged


def settled_by_code(table: pd.DataFrame, texts: CodeText | None) -> list[tuple[str, ...] | None]:
    """The reasons that the codes of each failed attempt leave; None where no code settles the cause."""
    names = [name for name in _CODES if name in table]
    if not names:
        return [None] * len(table)
    kept = table[names].astype(object)
    told = list(zip(*(kept[name].where(kept[name].notna(), None) for name in names), strict=True))
    found: dict[tuple[Any, ...], tuple[str, ...] | None] = {}
    for one in set(told):
        fields = {name: value for name, value in zip(names, one, strict=True) if value is not None}
        settling = by_code(read_evidence(fields, fields.pop("card_brand", None), texts))
        found[one] = settling.plausible if settling is not None else None
    return [found[one] for one in told]


_CODES = ("code_scheme", "response_code", "advice_code", "trans_status", "trans_status_reason", "card_brand")


@dataclass(frozen=True)
class _Told:
    """Failures as a head told them, (n, n_classes), with their standing, category, payment and what codes settled, (n,)."""

    probabilities: Array
    stands: Array
    category: Array
    payment: Array
    settled: list[tuple[str, ...] | None]

    @classmethod
    def of(cls, data: Prepared, rows: Array, classes: Sequence[str], told: Array, texts: CodeText | None) -> _Told:
        settled = settled_by_code(data.table.iloc[rows], texts)
        truth = [data.encoder.vocabularies["reason"][code] for code in data.rows.reason[rows].tolist()]
        category = np.array(CATEGORIES, object)[data.outcome[rows] - 1]
        return cls(told, standing(classes, told, truth, settled), category, data.payment[rows], settled)


def _by_others(data: Prepared, rows: Array, fitted: Fitted, settings: TrainSettings) -> Array:
    """Probabilities of the rows' reasons, (n, n_classes), each by a head of as many trees that saw other blocks of payments."""
    parts = fitted.parts
    begun = np.full(int(data.payment.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(begun, data.payment, data.rows.created)
    mine = begun[data.payment[rows]]
    block = np.searchsorted(np.quantile(mine, np.arange(1, _BLOCKS) / _BLOCKS), mine, side="right")
    told = np.empty((len(rows), len(parts.classes)))
    alone = replace(settings, threads=1)  # small fits side by side, rather than each on all cores

    def tell(b: int) -> None:
        inside = block == b
        head = _fit(data, rows[~inside], parts.classes, parts.columns, alone, rounds=fitted.rounds).parts.head()
        told[inside] = head.probabilities(_matrix(data, rows[inside]))

    with ThreadPoolExecutor(settings.threads or os.cpu_count()) as pool:
        list(pool.map(tell, np.unique(block).tolist()))
    return told


def _explained(data: Prepared) -> Array:
    """The failures whose category and reason are known, as a mask."""
    mask: Array = (data.outcome > 0) & (data.outcome < 5) & (data.rows.reason >= 0)
    return mask


def _matrix(data: Prepared, rows: Array) -> Array:
    """Features with evidence, (n, n_features + n_evidence)."""
    return np.hstack([data.matrix[rows], data.encoder.evidence_of_table(data.table.iloc[rows])])


def _told(data: Prepared, rows: Array, classes: tuple[str, ...]) -> tuple[Array, Array]:
    """The matrix, and the index of the reason, of the rows whose reason is one of `classes`."""
    vocabulary = data.encoder.vocabularies["reason"]
    index = np.array([classes.index(name) if name in classes else -1 for name in vocabulary])
    answer = index[data.rows.reason[rows]]
    return _matrix(data, rows[answer >= 0]), answer[answer >= 0]


def _judged(least: Mapping[str, float], classes: Sequence[str], late: _Told) -> dict[str, Any]:
    """Coverage of the sets, overall and by category of the true reason, and how many reasons they hold.

    `intervals` has the coverages again, each with its 95 % interval, for which the failures of a payment count as one.
    """
    if not least or not len(late.stands):
        return {}
    known = reasons()
    asked = np.array([least[known[name].category] for name in classes])
    over = (late.probabilities >= asked).sum(axis=1)
    over += late.probabilities[np.arange(len(over)), (first := named(classes, late.probabilities))] < asked[first]
    size = [n if left is None else len(left) for n, left in zip(over.tolist(), late.settled, strict=True)]
    held = late.stands >= np.array([least[name] for name in late.category.tolist()])
    by = {name: mine for name in CATEGORIES if (mine := late.category == name).any()}

    def share(mine: Array) -> dict[str, float]:
        return wilson(float(held[mine].sum()), int(mine.sum()), len(np.unique(late.payment[mine]))).as_dict()

    return {
        "failures": len(held),
        "settled_by_codes": round(float(np.mean([left is not None for left in late.settled])), 4),
        "coverage": round(float(held.mean()), 4),
        "mean_size": round(float(np.mean(size)), 3),
        "coverage_by_category": {name: round(float(held[mine].mean()), 4) for name, mine in by.items()},
        "intervals": {
            "coverage": share(np.ones(len(held), bool)),
            "coverage_by_category": {name: share(mine) for name, mine in by.items()},
        },
    }


def _fit(
    data: Prepared,
    rows: Array,
    classes: tuple[str, ...],
    columns: tuple[int, ...],
    settings: TrainSettings,
    *,
    stop: Array | None = None,
    rounds: int | None = None,
) -> Fitted:
    import lightgbm as lgb

    names = [feature.name for feature in all_features(settings.own)] + list(_EVIDENCE)

    def chosen(rows: Array) -> tuple[Array, Array]:
        matrix, answer = _told(data, rows, classes)
        return np.ascontiguousarray(matrix[:, list(columns)], np.float32), answer

    matrix, answer = chosen(rows)
    parameters = {
        **_TREES,
        "num_class": len(classes),
        "min_data_in_leaf": min(settings.min_data_in_leaf, max(5, len(answer) // 100)),
        "seed": settings.seed,
        "num_threads": settings.threads,
    }
    fixed = {name: parameters[name] for name in ("max_bin", "verbose", "num_threads", "seed", "min_data_in_leaf")}
    learnt = lgb.Dataset(matrix, answer, feature_name=[names[column] for column in columns], params=fixed)
    curves: dict[str, dict[str, list[float]]] = {}
    callbacks: list[Any] = [lgb.record_evaluation(curves)]
    valid = []
    if stop is not None:
        valid = [lgb.Dataset(*chosen(stop), reference=learnt)]
        callbacks.append(lgb.early_stopping(_PATIENCE, verbose=False))
    booster = lgb.train(
        parameters,
        learnt,
        rounds or min(_MOST_ROUNDS, settings.max_rounds),
        valid_sets=valid,
        valid_names=["stop"] * len(valid),
        callbacks=callbacks,
    )
    best = booster.best_iteration if stop is not None else booster.current_iteration()
    curve = tuple(curves["stop"]["multi_logloss"]) if stop is not None else ()
    text = booster.model_to_string(num_iteration=best)
    return Fitted(HeadParts(text, columns, classes, Calibration.none(len(classes))), best, curve, _booster=booster)
