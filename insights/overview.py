"""The Overview's figures: three success rates, now and over time, where attempts are lost, what moved since the last period."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from insights.frame import CAUSES, SEGMENTS, Frame, Units
from insights.movement import Movement, Periods, movement, periods_of
from insights.outages import detected_outages
from insights.rates import Rate, rate_of, rates_by
from insights.settings import DEFINITIONS, InsightSettings, Mark

__all__ = ["Funnel", "Lost", "Overview", "Series", "Success", "overview"]

Array = npt.NDArray[Any]

_HOUR = 3_600_000_000
_STEPS = (("hour", _HOUR, 3 * 24 * _HOUR), ("day", 24 * _HOUR, 120 * 24 * _HOUR))
_WEEK = ("week", 7 * 24 * _HOUR)


@dataclass(frozen=True)
class Series:
    """A rate in each step of time: `step` names it, `at` are the beginnings, microseconds since 1970."""

    step: str
    at: tuple[int, ...]
    rates: tuple[Rate, ...]


@dataclass(frozen=True)
class Lost:
    """What is lost at one place: `reached` came so far, `lost` went no further, `share` of all with its interval."""

    cause: str
    reached: int
    lost: int
    share: Rate


@dataclass(frozen=True)
class Funnel:
    """From all to the successes; `rescued` succeeded after an attempt had failed, None where attempts are counted."""

    n: int
    success: Rate
    lost: tuple[Lost, ...]
    rescued: Rate | None


@dataclass(frozen=True)
class Success:
    """One definition of the success rate. `target` None where none is set; `moved` by segment."""

    definition: str
    rate: Rate
    target: float | None
    series: Series
    funnel: Funnel
    moved: Mapping[str, Movement]


@dataclass(frozen=True)
class Overview:
    """`successes` by definition; one that nothing can be counted of is missing."""

    attempts: int
    payments: int
    pending: int
    successes: Mapping[str, Success]
    marks: tuple[Mark, ...]
    periods: Periods | None


def overview(frame: Frame, settings: InsightSettings) -> Overview:
    """Everything that the page tells."""
    periods = periods_of(frame)
    successes = {}
    for definition in DEFINITIONS:
        units = frame.units(definition)
        if len(units):
            successes[definition] = _success(frame, units, settings.targets.get(definition), periods)
    marks = sorted([*_within(frame, settings.marks), *detected_outages(frame)], key=lambda mark: mark.at)
    return Overview(
        attempts=len(frame),
        payments=len(frame.first),
        pending=int((frame.outcome < 0).sum()),
        successes=successes,
        marks=tuple(marks),
        periods=periods,
    )


def _within(frame: Frame, marks: tuple[Mark, ...]) -> list[Mark]:
    """The marks that lie in the attempts' time, at least in part."""
    if frame.window is None:
        return []
    begin, end = frame.window
    return [mark for mark in marks if mark.at <= end and (mark.until or mark.at) >= begin]


def _success(frame: Frame, units: Units, target: float | None, periods: Periods | None) -> Success:
    cluster = frame.cluster[units.row]
    moved: dict[str, Movement] = {}
    if periods is not None:
        for name in SEGMENTS:
            if name in frame.segments and len(frame.segments[name].values) > 1:
                found = movement(frame, units, name, periods)
                if found is not None:
                    moved[name] = found
    return Success(
        units.definition,
        rate_of(units.success, cluster),
        target,
        _series(frame, units),
        _funnel(frame, units),
        moved,
    )


def _series(frame: Frame, units: Units) -> Series:
    when = frame.created[units.row]
    begin, end = int(when.min()), int(when.max())
    name, width = next(((name, width) for name, width, most in _STEPS if end - begin <= most), _WEEK)
    start = begin // width * width if name != "week" else begin // (24 * _HOUR) * (24 * _HOUR)
    place = (when - start) // width
    k = int(place.max()) + 1
    rates = rates_by(place, k, units.success, frame.cluster[units.row])
    kept = [i for i in range(k) if rates[i].n]
    return Series(name, tuple(int(start + i * width) for i in kept), tuple(rates[i] for i in kept))


def _funnel(frame: Frame, units: Units) -> Funnel:
    cluster = frame.cluster[units.row]
    cause = np.where(units.success, -1, frame.cause[units.last])
    reached, lost = len(units), []
    for place, name in enumerate(CAUSES):
        here = cause == place
        share = rate_of(here, cluster)
        if share.hits or name != "unclassified":
            lost.append(Lost(name, reached, share.hits, share))
        reached -= share.hits
    rescued = None
    if units.definition != "attempt":
        rescued = rate_of(units.success & (frame.outcome[units.row] > 0), cluster)
    return Funnel(len(units), rate_of(units.success, cluster), tuple(lost), rescued)
