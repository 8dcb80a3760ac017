"""Choosing what a small table can bear: with few attempts, features that only might matter do harm.

Blocked cross-validation within the training slices: families of features are left out one after another, and stay out
where that is no worse. Beyond `select_below_rows` attempts the trees sort it out themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from features.definitions import features
from training.fit import Recipe, fit_head
from training.metrics import binary_log_loss
from training.settings import TrainSettings

__all__ = ["choose_recipe"]

Array = npt.NDArray[Any]

_BLOCKS = 4
_ROUNDS = (150, 300, 500)
_RATE = 0.05


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
    families = [family for family in _families() if set(family[1]) & set(columns)]
    for label, family in families:
        left = tuple(column for column in best.columns if column not in family)
        if not left or left == best.columns:
            continue
        tried = Recipe(left, best.extra_trees)
        found = _losses(matrix, failed, tried, settings)
        if min(found) <= min(losses):
            tell(f"without {label}: log loss {min(found):.5f}, was {min(losses):.5f}")
            best, losses = tried, found
    return best, _ROUNDS[int(np.argmin(losses))]


def _families() -> list[tuple[str, tuple[int, ...]]]:
    """What is tried to be left out: all recent rates, those of one half-life, then single features."""
    names = [feature.name for feature in features()]
    rates = [name for name in names if "_rate_" in name]
    families = [("recent rates", rates)]
    families += [(f"rates of {h}", [name for name in rates if name.endswith(h)]) for h in ("_1h", "_1d", "_30d")]
    families += [(name, [name]) for name in names if name not in rates]
    return [(label, tuple(names.index(name) for name in members)) for label, members in families]


def _losses(matrix: Array, failed: Array, recipe: Recipe, settings: TrainSettings) -> list[float]:
    """Cross-validated log loss after each of _ROUNDS trees; blocks of time, each told by the others."""
    block = np.arange(len(failed)) * _BLOCKS // max(len(failed), 1)
    told = np.empty((len(_ROUNDS), len(failed)))
    for b in range(_BLOCKS):
        inside = block == b
        fitted = fit_head(
            matrix[~inside],
            failed[~inside],
            ("success", "failure"),
            recipe,
            settings,
            rounds=max(_ROUNDS),
            learning_rate=_RATE,
        )
        for r, rounds in enumerate(_ROUNDS):
            told[r, inside] = fitted.after(rounds).probabilities(matrix[inside])[:, 0]
    return [binary_log_loss(failed == 0, row) for row in told]
