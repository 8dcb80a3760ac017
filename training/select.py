"""Choosing what a small table can bear: with few attempts, features that only might matter do harm.

Cross-validation forward in time within the training slices: families of features are left out one after another, and stay
out where that is no worse: first the recent rates, then the features that the trees make least of. Each block of time is told
by what came before it, as it will be in service: told by later ones too, features that only follow a drift look useful. Beyond
`select_below_rows` attempts the trees sort it out themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from features.own import OwnColumn, all_features
from training.fit import Recipe, fit_head
from training.metrics import binary_log_loss
from training.settings import TrainSettings

__all__ = ["choose_recipe"]

Array = npt.NDArray[Any]

_BLOCKS, _JUDGED = 6, 4
_ROUNDS = (150, 300, 500)
_RATE = 0.05
_MOST_TRIED = 12


def choose_recipe(
    matrix: Array,
    failed: Array,
    columns: tuple[int, ...],
    settings: TrainSettings,
    tell: Callable[[str], None],
) -> tuple[Recipe, int]:
    """The recipe with the least cross-validated log loss, and how many trees it took; rows in order of time.

    `failed` is 0 for a success. Starts from all usable `columns`, with ordinary and with random thresholds; then leaves out
    one family after another where that is no worse, the widest first.
    """
    plain, random = (Recipe(columns, extra_trees=extra) for extra in (False, True))
    by_recipe = {recipe: _losses(matrix, failed, recipe, settings) for recipe in (plain, random)}
    best = min(by_recipe, key=lambda recipe: min(by_recipe[recipe]))
    losses = by_recipe[best]
    gains = fit_head(
        matrix, failed, ("success", "failure"), best, settings, rounds=_ROUNDS[0], learning_rate=_RATE
    ).gains()
    for label, family in _families(gains, settings.own):
        left = tuple(column for column in best.columns if column not in family)
        if not left or left == best.columns:
            continue
        tried = Recipe(left, best.extra_trees)
        found = _losses(matrix, failed, tried, settings)
        if min(found) <= min(losses):
            tell(f"without {label}: log loss {min(found):.5f}, was {min(losses):.5f}")
            best, losses = tried, found
    return best, _ROUNDS[int(np.argmin(losses))]


def _families(gains: Mapping[str, float], own: tuple[OwnColumn, ...] = ()) -> list[tuple[str, tuple[int, ...]]]:
    """What is tried to be left out: all recent rates, those of one half-life, then the features of least gain, least first."""
    names = [feature.name for feature in all_features(own)]
    rates = [name for name in names if "_rate_" in name]
    families = [("recent rates", rates)]
    families += [(f"rates of {h}", [name for name in rates if name.endswith(h)]) for h in ("_1h", "_1d", "_30d")]
    least = sorted((name for name in gains if name not in rates), key=gains.__getitem__)
    families += [(name, [name]) for name in least[:_MOST_TRIED]]
    return [(label, tuple(names.index(name) for name in members)) for label, members in families]


def _losses(matrix: Array, failed: Array, recipe: Recipe, settings: TrainSettings) -> list[float]:
    """Log loss after each of _ROUNDS trees, of the later blocks of time, each told by all that came before it."""
    block = np.arange(len(failed)) * _BLOCKS // max(len(failed), 1)
    judged = block >= _BLOCKS - _JUDGED
    told = np.empty((len(_ROUNDS), len(failed)))
    alone = replace(settings, threads=1)  # many small fits side by side, rather than each on all cores

    def judge(b: int) -> None:
        inside, earlier = block == b, block < b
        fitted = fit_head(
            matrix[earlier],
            failed[earlier],
            ("success", "failure"),
            recipe,
            alone,
            rounds=max(_ROUNDS),
            learning_rate=_RATE,
        )
        for r, rounds in enumerate(_ROUNDS):
            told[r, inside] = fitted.after(rounds).probabilities(matrix[inside])[:, 0]

    with ThreadPoolExecutor(settings.threads or os.cpu_count()) as pool:
        list(pool.map(judge, range(_BLOCKS - _JUDGED, _BLOCKS)))
    return [binary_log_loss(failed[judged] == 0, row[judged]) for row in told]
