"""Which reasons cannot be ruled out: a set that holds the true one as often as promised, whatever the category.

A reason is in the set if the model gives it at least the probability that its category asks for; the reason that is named is
always there. The thresholds come from failures that the model has not seen, by split conformal prediction, with one
threshold for each category of the true reason (Vovk 2012, "Conditional validity of inductive conformal predictors"; the
least ambiguous sets of Sadinle, Lei and Wasserman 2019). What a code decides counts among those failures: its set is the one
reason that it names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from features.columns import CATEGORIES
from features.errors import ArtifactMismatch
from features.taxonomy import reasons

__all__ = ["FEWEST", "LEVEL", "checked", "fewest_that_reach", "least_by_category", "named", "plausible", "standing"]

Array = npt.NDArray[Any]

LEVEL = 0.9
"""How often the set is to hold the true reason."""

FEWEST = 50
"""Failures of a category, below which it takes the threshold of all categories together."""


def plausible(probabilities: Mapping[str, float], named: str, least: Mapping[str, float]) -> tuple[str, ...]:
    """The reasons that cannot be ruled out, likeliest first; `least` as `least_by_category` gives it.

    >>> told = {"insufficient_funds": 0.6, "generic_decline": 0.25, "processor_error": 0.15}
    >>> plausible(told, "insufficient_funds", {"bank_decline": 0.2, "technical": 0.3})
    ('insufficient_funds', 'generic_decline')
    """
    known, floor = reasons(), min(least.values())  # most reasons are below the least of all, and need no category
    found = [
        item
        for item in probabilities.items()
        if item[0] == named or (item[1] >= floor and item[1] >= least[known[item[0]].category])
    ]
    return tuple(name for name, _ in sorted(found, key=itemgetter(1), reverse=True))


def fewest_that_reach(probabilities: Mapping[str, float], level: float = LEVEL) -> tuple[str, ...]:
    """The fewest reasons that have `level` together, likeliest first: for probabilities that nothing was held out for."""
    found, together = [], 0.0
    for name, probability in sorted(probabilities.items(), key=itemgetter(1), reverse=True):
        found.append(name)
        together += probability
        if together >= level:
            break
    return tuple(found)


def named(classes: Sequence[str], probabilities: Array) -> Array:
    """Index of the reason that each row of probabilities (n, k) names: the likeliest of the likeliest category, (n,)."""
    known = reasons()
    category = np.array([CATEGORIES.index(known[name].category) for name in classes])
    shares = np.stack([probabilities[:, category == c].sum(axis=1) for c in range(len(CATEGORIES))], axis=1)
    inside = category[None, :] == shares.argmax(axis=1)[:, None]
    found: Array = np.where(inside, probabilities, -1.0).argmax(axis=1)
    return found


def standing(
    classes: Sequence[str], probabilities: Array, truth: Sequence[str], settled: Sequence[tuple[str, ...] | None]
) -> Array:
    """The highest threshold at which the true reason is in each failure's set, (n,).

    ∞ where it is always there (a code settled it rightly, or the model names it), −∞ where it never is. `settled` are the
    reasons that a code left, None where none decides; then the row of `probabilities` (n, k) over `classes` speaks.
    """
    place = {name: k for k, name in enumerate(classes)}
    index = np.array([place.get(name, -1) for name in truth], np.int64)
    found = np.where(index >= 0, probabilities[np.arange(len(index)), index], -np.inf)
    found[index == named(classes, probabilities)] = np.inf
    for row, left in enumerate(settled):
        if left is not None:
            found[row] = np.inf if truth[row] in left else -np.inf
    return found


def least_by_category(stands: Array, category: Sequence[str], level: float = LEVEL) -> dict[str, float]:
    """The least probability, by category of a reason, with which it is plausible; empty below FEWEST failures.

    `stands` (n,) is the `standing` of failures that the model has not seen, `category` that of their true reasons. The
    highest thresholds that leave out no more than the share 1 − level, as conformal prediction counts it: of the n + 1
    failures that a new one makes with these. 1 is where naming one reason is enough, 0 where no threshold is.
    """
    if len(stands) < FEWEST:
        return {}
    of = np.asarray(category, object)
    mine = {name: stands[of == name] for name in CATEGORIES}
    return {name: _least(some if len(some) >= FEWEST else stands, level) for name, some in mine.items()}


def _least(stands: Array, level: float) -> float:
    spared = math.floor((1.0 - level) * (len(stands) + 1) + 1e-9)
    return float(np.clip(np.sort(stands)[spared - 1], 0.0, 1.0)) if spared else 0.0


def checked(told: Any) -> dict[str, float]:
    """Thresholds as read from a file. Raises ArtifactMismatch unless there is a probability for each category, or nothing."""
    if not isinstance(told, dict) or (told and set(told) != set(CATEGORIES)):
        raise ArtifactMismatch(f"model.json: plausible: want a number for each of {', '.join(CATEGORIES)}")
    for name, least in told.items():
        if isinstance(least, bool) or not isinstance(least, int | float) or not 0.0 <= least <= 1.0:
            raise ArtifactMismatch(f"model.json: plausible: {name} is {least!r}, want a probability, 0 to 1")
    return {name: float(least) for name, least in told.items()}
