"""What each kind of failure goes with, according to a model: importances, their stability, and how the risk moves.

All of it is association. Whether a change would help, a test tells; each driver names the one that would (`test`, a key of
`driver_tests.json`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.definitions import GROUPS, Feature
from features.own import all_features
from insights.drivers_asked import Asked, Known, asked, known
from insights.drivers_curves import Bin, stretches
from insights.drivers_said import Resamples, contributions, log_odds, losses_by_shuffling
from insights.measure import Measure, plain, wilson
from models.artefact import Artefact

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Bin", "CategoryDrivers", "Driver", "Drivers", "Fold", "GroupShare", "SegmentDrivers", "drivers"]

Array = npt.NDArray[Any]

_FOLDS = 4
_SHOWN = 12  # features of one kind of failure
_SEGMENTED_BY = ("country", "method", "channel", "first_time")
_FEWEST_IN_SEGMENT = 150
_SHOWN_IN_SEGMENT = 5
_TESTS = (
    ("auth_", "fewer_steps"), ("route", "other_route"), ("issuer_route", "other_route"),
    ("issuer_technical", "other_route"), ("way_", "other_method"),
    ("method", "other_method"), ("stored", "keep_credential"), ("network_token", "network_token"),
    ("card_months_to_expiry", "renew_card"), ("cross_border", "local_acquirer"), ("network_rtt", "lighter_page"),
    ("form_", "simpler_form"),
)  # fmt: skip
"""The test that would tell, by the beginning of a feature's name; what an earlier attempt left behind comes before."""


@dataclass(frozen=True)
class Driver:
    """One feature behind one kind of failure.

    `shap` is its share of all that the model's features say (mean |SHAP value|, log-odds); `permutation` its share of what
    shuffling the features shown one at a time costs (log loss). `folds` are the shares by SHAP in each time fold, oldest
    first, and `stable` whether each is at least half of the whole and at most twice. `disagree`: the two measures' intervals
    do not meet, and one is twice the other. `test` names the experiment that would tell cause from company.
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
    """What counts in one segment: shares by feature, largest first. `differs`: another feature leads here than
    overall, beyond chance."""

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

    `attempts` were counted, a sample of `of` where there are many. `unseen`: what shuffling costs was measured on attempts
    later than all that the heads were fitted on.
    """

    categories: tuple[CategoryDrivers, ...]
    folds: tuple[Fold, ...]
    attempts: int
    of: int
    unseen: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        told: dict[str, Any] = plain(self)
        return told


def drivers(attempts: pd.DataFrame, model: Artefact, rng: np.random.Generator) -> Drivers:
    """Drivers in a checked table of attempts, by the heads of a model that were judged, not those fitted on everything.

    A kind of failure that happened fewer than 50 times is left out.
    """
    there = known(attempts, model, rng)
    if not len(there.row):
        return Drivers((), (), 0, there.of, unseen=False)
    edges = np.quantile(there.created, np.linspace(0.0, 1.0, _FOLDS + 1))
    fold = np.searchsorted(edges[1:-1], there.created, side="right")
    segments = {column: _values(attempts, column)[there.row] for column in _SEGMENTED_BY}
    late = there.created >= model.window["judged_from"]
    found, unseen = [], True
    for one in asked(there, model, rng):
        told, blind = _category(one, there, model, fold, segments, late, rng)
        found.append(told)
        unseen &= blind
    return Drivers(
        categories=tuple(sorted(found, key=lambda one: -one.failures)),
        folds=tuple(_fold(there.created[fold == k]) for k in range(_FOLDS) if (fold == k).any()),
        attempts=len(there.row),
        of=there.of,
        unseen=unseen and bool(found),
    )


def _category(
    one: Asked, there: Known, model: Artefact, fold: Array, segments: dict[str, Array], late: Array,
    rng: np.random.Generator,
) -> tuple[CategoryDrivers, bool]:  # fmt: skip
    matrix, fell = there.matrix[one.rows], one.fell[one.rows]
    every = all_features(model.encoder.own)
    said = contributions(one, matrix)
    resamples = Resamples(there.payment[one.rows], one.weight, rng)
    shap = resamples.shares(np.abs(said))
    shown = sorted(range(said.shape[1]), key=lambda column: -shap[column].value)[:_SHOWN]
    shown = [column for column in shown if shap[column].value > 0.0]
    by_fold = [_shares(np.abs(said), one.weight, fold[one.rows] == k) for k in range(_FOLDS)]
    # What a head was fitted on, it would miss more than what it was not
    blind = late[one.rows] & one.reached[one.rows]
    unseen = min(int((blind & fell).sum()), int((blind & ~fell).sum())) >= _FEWEST_IN_SEGMENT
    costs = losses_by_shuffling(one, matrix, fell, shown, rng)
    permutation = resamples.shares(costs, np.flatnonzero(blind) if unseen else None)
    score = log_odds(one, matrix)
    made = []
    for place, column in enumerate(shown):
        feature, values = every[column], there.matrix[one.reached, column]
        vocabulary = model.encoder.vocabularies.get(feature.categories or "", ())
        effect = 100.0 * (_risk(score) - _risk(score - said[:, column]))
        curve = tuple(
            stretch.bin(values, one.fell[one.reached], resamples.mean(effect, mine))
            for stretch in stretches(feature, values, vocabulary)
            if (mine := stretch.of(matrix[:, column])).any()
        )
        folds = tuple(float(shares[column]) for shares in by_fold)
        made.append(
            Driver(
                feature=feature.name,
                label=feature.label,
                unit=feature.unit,
                group=feature.group,
                actionable=feature.actionable,
                shap=shap[column],
                permutation=permutation[place],
                folds=folds,
                stable=_is_stable(shap[column].value, folds),
                disagree=_disagree(shap[column], permutation[place]),
                test=_test(feature.name, feature.group, feature.actionable),
                curve=curve,
            )
        )
    reached = int(one.reached.sum())
    names = [feature.name for feature in every]
    return CategoryDrivers(
        category=one.category,
        rate=wilson(float(one.fell.sum()), reached),
        failures=int(one.fell.sum()),
        groups=tuple(_groups(said, every, one, resamples, fold)),
        drivers=tuple(made),
        segments=tuple(_segments(one, said, names, resamples, segments, shown[0])),
    ), unseen


def _risk(score: Array) -> Array:
    risk: Array = 1.0 / (1.0 + np.exp(-score))
    return risk


def _shares(amounts: Array, weight: Array, among: Array) -> Array:
    sums = weight[among] @ amounts[among]
    shares: Array = sums / max(float(sums.sum()), 1e-300)
    return shares


def _is_stable(whole: float, folds: tuple[float, ...]) -> bool:
    return all(0.5 * whole <= share <= 2.0 * whole for share in folds)


def _disagree(a: Measure, b: Measure) -> bool:
    apart = a.high < b.low or b.high < a.low
    return apart and max(a.value, b.value) > 2.0 * min(a.value, b.value)


def _test(name: str, group: str, actionable: bool) -> str:
    if not actionable:
        return "context"
    if group == "history":
        return "retry_rules"
    return next((test for beginning, test in _TESTS if name.startswith(beginning)), "context")


def _groups(
    said: Array, features: Sequence[Feature], one: Asked, resamples: Resamples, fold: Array
) -> Iterator[GroupShare]:
    """What the features of a group say together, in the order of their shares."""
    of = np.array([GROUPS.index(feature.group) for feature in features])
    together = np.abs(np.column_stack([said[:, of == place].sum(axis=1) for place in range(len(GROUPS))]))
    shares = resamples.shares(together)
    by_fold = [_shares(together, one.weight, fold[one.rows] == k) for k in range(_FOLDS)]
    for place in sorted(range(len(GROUPS)), key=lambda place: -shares[place].value):
        folds = tuple(float(each[place]) for each in by_fold)
        yield GroupShare(GROUPS[place], shares[place], folds, _is_stable(shares[place].value, folds))


def _segments(
    one: Asked, said: Array, names: Sequence[str], resamples: Resamples, segments: dict[str, Array], leads: int
) -> Iterator[SegmentDrivers]:
    """What counts in each segment with enough failures among those explained; `leads` is the column that does so overall."""
    fell = one.fell[one.rows]
    for column, values in segments.items():
        mine = values[one.rows]
        for value in sorted({*mine.tolist()} - {""}):
            among = np.flatnonzero(mine == value)
            if min(int(fell[among].sum()), int((~fell[among]).sum())) < _FEWEST_IN_SEGMENT:
                continue
            shares = resamples.shares(np.abs(said), among)
            first = sorted(range(len(names)), key=lambda place: -shares[place].value)[:_SHOWN_IN_SEGMENT]
            here = one.reached & (values == value)
            yield SegmentDrivers(
                column=column,
                value=value,
                attempts=int(here.sum()),
                rate=wilson(float(one.fell[here].sum()), int(here.sum())),
                shares=tuple((names[place], shares[place]) for place in first),
                differs=shares[first[0]].low > shares[leads].high,
            )


def _values(attempts: pd.DataFrame, column: str) -> Array:
    """A column as text, empty where missing."""
    if column == "first_time":
        if "prior_payments" not in attempts:
            return np.full(len(attempts), "")
        before = attempts["prior_payments"].to_numpy(np.float64, na_value=np.nan)
        return np.where(np.isnan(before), "", np.where(before == 0, "first time", "returning"))
    if column not in attempts:
        return np.full(len(attempts), "")
    values = attempts[column].astype(object)
    told: Array = values.where(values.notna(), "").to_numpy().astype(str)
    return told


def _fold(created: Array) -> Fold:
    since, until = (
        datetime.fromtimestamp(int(moment) / 1e6, UTC).isoformat(timespec="seconds")
        for moment in (created.min(), created.max())
    )
    return Fold(since, until, len(created))
