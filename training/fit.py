"""Fitting the trees of a head: which features it may use, when it stops."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.definitions import EVIDENCE_CODES, EVIDENCE_NUMBERS
from features.own import OwnColumn, all_features
from models.artefact import HeadParts
from models.booster import Booster
from models.heads import Calibration, Head
from training.settings import TrainSettings

__all__ = ["Fitted", "Recipe", "fit_head", "usable_columns"]

Array = npt.NDArray[Any]

_DAY_US = 86_400e6
_STAGE = {"learning_rate": 0.05, "num_leaves": 6, "feature_fraction": 1.0, "max_bin": 47}
_MANY = 200_000  # attempts, from which on there is enough to grow larger trees
_STAGE_OF_MANY = {"num_leaves": 15, "max_bin": 127, "learning_rate": 0.08}
_EVIDENCE = (*EVIDENCE_NUMBERS, *EVIDENCE_CODES)


@dataclass(frozen=True)
class Recipe:
    """Positions of the features that a head may use, and what kind of trees it grows.

    `extra_trees` draw their thresholds at random. `stage`: many small ones over coarse bins, since of the attempts that
    reach a stage few fall there.
    """

    columns: tuple[int, ...]
    extra_trees: bool = False
    stage: bool = False


@dataclass(frozen=True)
class Fitted:
    """A head's trees, how many rounds they took, and the log loss after each round on the slice that stopped them."""

    parts: HeadParts
    rounds: int
    curve: tuple[float, ...]
    curves: float = 0.0  # how much an additive part counts beside the trees
    _booster: Any = None

    def after(self, rounds: int) -> Head:
        """The head as it was after that many rounds."""
        text = self._booster.model_to_string(num_iteration=rounds)
        return Head(Booster(text, self.parts.columns), self.parts.classes, self.parts.calibration)

    def gains(self) -> dict[str, float]:
        """Share of the trees' gain by feature, largest first."""
        gain = self._booster.feature_importance("gain")
        shares = gain / max(gain.sum(), 1e-12)
        order = np.argsort(-shares, kind="stable")
        names = self._booster.feature_name()
        return {names[place]: round(float(shares[place]), 5) for place in order}


def usable_columns(
    matrix: Array, span_us: float, own: tuple[OwnColumn, ...] = (), left_out: Collection[str] = ()
) -> tuple[int, ...]:
    """Features that vary in these rows, say what no earlier one says, and whose cycle, if any, fits twice into their time.

    None of those that are to be `left_out`.
    """
    usable, said = [], set()
    for column, feature in enumerate(all_features(own)):
        values = matrix[:, column]
        seen = values[~np.isnan(values)]
        told = hashlib.sha256(np.where(np.isnan(values), np.float32(np.nan), values).tobytes()).digest()
        if (
            feature.name not in left_out
            and len(seen)
            and (seen.min() < seen.max() or len(seen) < len(values))
            and feature.cycle_days * 2 <= span_us / _DAY_US
            and told not in said
        ):
            usable.append(column)
            said.add(told)
    return tuple(usable)


def fit_head(
    matrix: Array,
    answer: Array,
    classes: Sequence[str],
    recipe: Recipe,
    settings: TrainSettings,
    *,
    stop: tuple[Array, Array] | None = None,
    rounds: int | None = None,
    learning_rate: float | None = None,
) -> Fitted:
    """Fit trees that tell `answer` (index into `classes`) from `matrix`; both (n, …), in order of time.

    With `stop` (matrix, answer of a later slice), add trees until its log loss improves no more; else just `rounds`.
    """
    import lightgbm as lgb

    names = [feature.name for feature in all_features(settings.own)] + list(_EVIDENCE)
    coded = {f.name for f in all_features(settings.own) if f.categories} | set(EVIDENCE_CODES)
    columns = list(recipe.columns)
    binary = len(classes) == 2
    parameters: dict[str, Any] = {
        "objective": "binary" if binary else "multiclass",
        "metric": "binary_logloss" if binary else "multi_logloss",
        "learning_rate": learning_rate or settings.learning_rate,
        "num_leaves": settings.num_leaves,
        "min_data_in_leaf": min(settings.min_data_in_leaf, max(5, len(answer) // 100)),
        "feature_fraction": max(settings.feature_fraction, min(1.0, 12 / max(len(columns), 1))),
        "bagging_fraction": settings.bagging_fraction if not recipe.extra_trees else 1.0,
        "bagging_freq": 1,
        "extra_trees": recipe.extra_trees,
        "max_bin": 127,
        "max_cat_to_onehot": 8,
        "seed": settings.seed,
        "num_threads": settings.threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    if recipe.stage:
        parameters |= _STAGE | (_STAGE_OF_MANY if len(answer) > _MANY else {})
        parameters |= {
            "min_data_in_leaf": settings.stage_min_data_in_leaf,
            "feature_fraction_bynode": settings.stage_feature_fraction,
            "learning_rate": settings.stage_learning_rate or parameters["learning_rate"],
            "num_leaves": settings.stage_num_leaves or parameters["num_leaves"],
        }
    if not binary:
        parameters["num_class"] = len(classes)
    held = settings.monotone_of(classes[0])
    if held:
        parameters["monotone_constraints"] = [held.get(names[column], 0) for column in columns]
    label = _label(answer, binary)
    data = lgb.Dataset(
        _chosen(matrix, columns),
        label,
        feature_name=[names[column] for column in columns],
        categorical_feature=[place for place, column in enumerate(columns) if names[column] in coded],
        params={k: parameters[k] for k in ("max_bin", "verbose", "num_threads", "seed", "min_data_in_leaf")},
    )
    curves: dict[str, dict[str, list[float]]] = {}
    callbacks: list[Any] = [lgb.record_evaluation(curves)]
    valid = []
    if stop is not None:
        valid = [lgb.Dataset(_chosen(stop[0], columns), _label(stop[1], binary), reference=data)]
        callbacks.append(lgb.early_stopping(settings.early_stopping_rounds, verbose=False))
    booster = lgb.train(
        parameters,
        data,
        rounds or settings.max_rounds,
        valid_sets=valid,
        valid_names=["stop"] * len(valid),
        callbacks=callbacks,
    )
    best = booster.best_iteration if stop is not None else booster.current_iteration()
    curve = next(iter(curves["stop"].values())) if stop is not None else []
    text = booster.model_to_string(num_iteration=best)
    k = 1 if binary else len(classes)
    return Fitted(
        HeadParts(text, tuple(columns), tuple(classes), Calibration.none(k)), best, tuple(curve), _booster=booster
    )


def _label(answer: Array, binary: bool) -> Array:
    # LightGBM scores the odds of label 1; ours are those of the first answer
    return (answer == 0).astype(np.float32) if binary else answer.astype(np.float32)


def _chosen(matrix: Array, columns: Sequence[int]) -> Array:
    return np.ascontiguousarray(matrix[:, list(columns)], np.float32)
