"""How a risk moves with a feature: where the attempts are, what was seen there, and what the model makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from features.definitions import Feature
from insights.measure import Measure, wilson

__all__ = ["Bin", "Stretch", "stretches"]

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

_MOST = 8
_OTHERS = "others"


@dataclass(frozen=True)
class Bin:
    """A stretch of an effect curve. `label` is a range of the feature or one of its values; None stands for "missing".

    `share`: of the attempts, so that rare stretches are seen to be rare. `observed`: how many of those that came so far
    failed this way. `effect`: what the feature being here adds to that, in percentage points, according to the model, the
    rest being as it is.
    """

    label: str | None
    low: float | None
    high: float | None
    share: float
    observed: Measure
    effect: Measure


@dataclass(frozen=True)
class Stretch:
    """Values of a feature that belong together: a code, a range (both ends count), or what is missing."""

    label: str | None
    low: float | None = None
    high: float | None = None
    codes: tuple[float, ...] = ()

    def of(self, values: Array) -> Mask:
        """Which values are in it."""
        if self.codes:
            return np.isin(values, self.codes)
        if self.low is None or self.high is None:
            return np.isnan(values)
        with np.errstate(invalid="ignore"):
            inside: Mask = (values >= self.low) & (values <= self.high)
        return inside

    def bin(self, values: Array, fell: Mask, effect: Measure) -> Bin:
        """It as a bin: counted among `values` (n,), of which `fell` (n,) failed."""
        mine = self.of(values)
        observed = wilson(float(fell[mine].sum()), int(mine.sum()))
        return Bin(self.label, self.low, self.high, float(mine.mean()), observed, effect)


def stretches(feature: Feature, values: Array, vocabulary: tuple[str, ...]) -> list[Stretch]:
    """A feature's values in at most eight stretches, and one for what is missing."""
    seen = values[~np.isnan(values)]
    if not len(seen):
        return []
    found = _of_codes(seen, vocabulary) if feature.categories else _of_numbers(seen)
    return [*found, Stretch(None)] if len(seen) < len(values) else found


def _of_codes(seen: Array, vocabulary: tuple[str, ...]) -> list[Stretch]:
    codes, counts = np.unique(seen, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    first, rest = codes[order[:_MOST]], codes[order[_MOST:]]
    named = [
        Stretch(vocabulary[int(code)] if int(code) < len(vocabulary) else str(int(code)), codes=(code,))
        for code in first
    ]
    return [*named, Stretch(_OTHERS, codes=tuple(rest.tolist()))] if len(rest) else named


def _of_numbers(seen: Array) -> list[Stretch]:
    """Single values where there are few of them, else ranges with about as many attempts each."""
    values = np.unique(seen)
    if len(values) <= _MOST:
        return [Stretch(f"{value:.4g}", float(value), float(value)) for value in values]
    edges = np.unique(np.quantile(seen, np.linspace(0.0, 1.0, _MOST + 1)))
    found = []
    for low, high in pairwise(edges.tolist()):
        mine = seen[(seen >= low) & ((seen < high) | (high == edges[-1]))]
        if len(mine):
            a, b = float(mine.min()), float(mine.max())
            found.append(Stretch(f"{a:.4g}" if a == b else f"{a:.4g} to {b:.4g}", a, b))
    return found
