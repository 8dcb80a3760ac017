"""What each kind of failure goes with, according to a model: importances, their stability, and how the risk moves.

All of it is association. Whether a change would help, a test tells; each driver names the one that would (`test`, a key of
`driver_tests.json`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from insights.measure import Measure
from models.artefact import Artefact

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Bin", "CategoryDrivers", "Driver", "Drivers", "Fold", "GroupShare", "SegmentDrivers", "drivers"]


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
class Driver:
    """One feature behind one kind of failure.

    `shap` is its share of all that the model's features say (mean |SHAP value|, log-odds); `permutation` its share of what
    shuffling features one at a time costs (log loss on attempts that the model was not fitted on); both sum to 1 over the
    features asked. `folds` are the shares by SHAP in each time fold, oldest first, and `stable` whether it stays among the
    first in each. `disagree`: the two measures differ by more than their intervals allow. `test` names the experiment that
    would tell cause from company.
    """

    feature: str
    label: str
    unit: str
    group: str
    actionable: bool
    shap: Measure
    permutation: Measure
    folds: tuple[float, ...]
    stable: bool
    disagree: bool
    test: str
    curve: tuple[Bin, ...]


@dataclass(frozen=True)
class GroupShare:
    """A group of features (`features.definitions.GROUPS`), by share of what the model's features say."""

    group: str
    shap: Measure
    folds: tuple[float, ...]
    stable: bool


@dataclass(frozen=True)
class SegmentDrivers:
    """What counts in one segment: shares by feature, largest first. `differs`: another feature leads here than overall."""

    column: str
    value: str
    attempts: int
    rate: Measure
    shares: tuple[tuple[str, Measure], ...]
    differs: bool


@dataclass(frozen=True)
class CategoryDrivers:
    """One kind of failure. `rate`: of the attempts that came as far as this stage, how many fell here."""

    category: str
    rate: Measure
    failures: int
    groups: tuple[GroupShare, ...]
    drivers: tuple[Driver, ...]
    segments: tuple[SegmentDrivers, ...]


@dataclass(frozen=True)
class Fold:
    """A stretch of time, ISO 8601 UTC, and how many attempts of it were looked at."""

    since: str
    until: str
    attempts: int


@dataclass(frozen=True)
class Drivers:
    """Drivers of each kind of failure, most frequent first; of failure as such where the model tells no kinds.

    `attempts` were looked at, a sample of `of`; `unseen`: the heads asked were not fitted on any of them.
    """

    categories: tuple[CategoryDrivers, ...]
    folds: tuple[Fold, ...]
    attempts: int
    of: int
    unseen: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def drivers(attempts: pd.DataFrame, model: Artefact, rng: np.random.Generator) -> Drivers:
    """Drivers in a checked table of attempts, by the heads of a model that were judged, not those fitted on everything."""
    raise NotImplementedError
