"""Hours in which a route or an issuer broke, found in the attempts.

An hour is out of the ordinary if so many technical failures would come by chance, at the rate of the other hours, in fewer
than one of all the hours looked at in a hundred reports (a binomial tail, with Bonferroni's correction). Hours with at most
two quiet ones between them are one outage.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from insights.frame import CAUSES, MISSING, OTHER, Frame
from insights.settings import Mark

__all__ = ["detected_outages"]

Array = npt.NDArray[Any]

_HOUR = 3_600_000_000
_BY = ("route", "issuer")
_ALARM = 0.01
_LEAST_FAILURES = 4
_LEAST_TIMES = 3.0
_GAP = 3
_ROUNDS = 4


def detected_outages(frame: Frame, most: int = 12) -> list[Mark]:
    """Up to `most` outages, those with the most failures, in order of time."""
    if frame.window is None:
        return []
    hour = (frame.created - frame.window[0]) // _HOUR
    hours = int(hour[-1]) + 1
    ended, broke = frame.outcome >= 0, frame.cause == CAUSES.index("technical")
    found: list[tuple[int, Mark]] = []
    for name in _BY:
        if name not in frame.segments:
            continue
        segment = frame.segments[name]
        for place, value in enumerate(segment.values):
            if value in {OTHER, MISSING}:
                continue
            mine = ended & (segment.codes == place)
            n = np.bincount(hour[mine], minlength=hours)
            failures = np.bincount(hour[mine & broke], minlength=hours)
            for begin, end in _spells(_alarming(n, failures, hours * len(segment.values))):
                mark = Mark(
                    "outage",
                    frame.window[0] + begin * _HOUR,
                    frame.window[0] + end * _HOUR,
                    f"{name} {value}",
                    detected=True,
                )
                found.append((int(failures[begin:end].sum()), mark))
    largest = sorted(found, key=lambda item: -item[0])[:most]
    return sorted((mark for _, mark in largest), key=lambda mark: mark.at)


def _alarming(n: Array, failures: Array, looks: int) -> Array:
    """Which hours have more failures than chance explains, at the rate of the hours that have not."""
    from scipy.stats import binom

    alarming = np.zeros(len(n), bool)
    for _ in range(_ROUNDS):
        usual = (failures[~alarming].sum() + 0.5) / (n[~alarming].sum() + 1.0)
        tail = binom.sf(failures - 1, n, usual)
        now = (tail < _ALARM / looks) & (failures >= _LEAST_FAILURES) & (failures > _LEAST_TIMES * usual * n)
        if (now == alarming).all():
            break
        alarming = now
    return alarming


def _spells(alarming: Array) -> list[tuple[int, int]]:
    """Runs of hours, from and until, with small gaps closed."""
    hours = np.flatnonzero(alarming)
    if not len(hours):
        return []
    breaks = np.flatnonzero(np.diff(hours) > _GAP)
    begins, ends = np.append(hours[0], hours[breaks + 1]), np.append(hours[breaks], hours[-1])
    return [(int(begin), int(end) + 1) for begin, end in zip(begins, ends, strict=True)]
