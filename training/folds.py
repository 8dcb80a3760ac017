"""Rolling-origin folds: blocks of time, each told by a model that learnt from what was known before it began.

Before each block lies a gap that is not learnt from, so that the outcomes of what is learnt from have become known, quick
ones and slow ones alike.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.errors import BadInput, Fault
from features.kernel import PENDING
from training.settings import TrainSettings
from training.split import Split, split_by_time

if TYPE_CHECKING:
    from training.train import Prepared

__all__ = ["Told", "rolling_folds", "told_by_folds"]

Array = npt.NDArray[Any]

_FIRST_BLOCK = 0.5  # share of the payments that the first model has before its block
_HOUR_US = 3.6e9


@dataclass(frozen=True)
class Told:
    """What one fold's model told of its block: the rows that have an outcome (n,), and P(outcome) of each, (n, 5)."""

    rows: Array
    probabilities: Array
    learnt_from: int


def rolling_folds(data: Prepared, settings: TrainSettings, *, before_test: bool) -> list[Split]:
    """The folds, earliest first; `test` of each is its block. With `before_test` nothing of the last slice of time is in any.

    Payments are split as `split_by_time` does: one is on one side of a border, and is left out if it reached over it.
    Raises BadInput if a fold would hold no payments.
    """
    payment, created = data.payment, data.rows.created
    n = int(payment.max()) + 1
    starts, ends = np.full(n, PENDING), np.zeros(n, np.int64)
    np.minimum.at(starts, payment, created)
    known = np.where(data.known_at == PENDING, created, np.maximum(created, data.known_at))
    np.maximum.at(ends, payment, known)
    last = int(created.max()) + 1
    if before_test:
        shares = (settings.stop_share, settings.calibrate_share, settings.test_share)
        last = split_by_time(payment, created, data.known_at, shares).begins[3]
        ends = np.where(ends >= last, PENDING, ends)
    ordered = np.sort(starts[starts < last])
    places = np.linspace(_FIRST_BLOCK, 1.0, settings.folds + 1)[:-1] * len(ordered)
    begins = [*(int(ordered[int(place)]) for place in places), last]
    if len(set(begins)) < len(begins):
        raise BadInput("settings", [Fault("folds", "fewer, or payments over a longer time", seen=str(settings.folds))])
    gap = settings.gap_hours * _HOUR_US
    return [
        _fold(payment, starts, ends, (begin, until), int(begin - gap), settings) for begin, until in pairwise(begins)
    ]


def _fold(
    payment: Array, starts: Array, ends: Array, block: tuple[int, int], learnt_until: int, settings: TrainSettings
) -> Split:
    begin, until = block
    mine = np.sort(starts[starts < learnt_until])
    rest = 1.0 - settings.test_share
    cut = np.array(
        [1.0 - (settings.stop_share + settings.calibrate_share) / rest, 1.0 - settings.calibrate_share / rest]
    )
    if not len(mine):
        raise BadInput("settings", [Fault("gap_hours", "less than the time before the first block")])
    inner = [int(mine[int(share * len(mine))]) for share in cut]
    which = np.searchsorted([*inner, learnt_until, begin, until], starts, side="right")
    # Slices 0 to 2 are learnt from, 3 is the gap, 4 the block; what comes later is out of sight
    ends_at = np.array([*inner, begin, 0, PENDING, 0])
    slices = np.where(ends >= ends_at[which], -1, np.where(which == 4, 3, which))
    return Split(slices[payment], (int(starts.min()), inner[0], inner[1], begin))


def told_by_folds(
    data: Prepared,
    settings: TrainSettings,
    folds: Sequence[Split],
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Told]:
    """Each fold's model, fitted as a training would, and what it tells of its block; in the order of time.

    Small tables are fitted side by side, a thread each; whoever stops asking stops what has not begun.
    """
    small = len(data.rows) < settings.refit_below_rows
    workers = (settings.threads or os.cpu_count() or 1) if small else 1
    alone = replace(settings, threads=1) if small else settings
    pool = ThreadPoolExecutor(workers)
    try:
        waiting = [pool.submit(_told, data, alone, fold) for fold in folds]
        for number, one in enumerate(waiting, start=1):
            told = one.result()
            tell(
                f"fold {number} of {len(folds)}: learnt from {told.learnt_from:,}, judged on {len(told.rows):,} attempts"
            )
            yield told
    finally:
        pool.shutdown(cancel_futures=True)


def _told(data: Prepared, settings: TrainSettings, fold: Split) -> Told:
    from training.train import fit_outcome_model

    model = fit_outcome_model(data, fold, settings, reasons=False)[0]
    rows = np.flatnonzero(fold["test"] & (data.outcome >= 0))
    learnt = int(((fold.slices >= 0) & ~fold["test"] & (data.outcome >= 0)).sum())
    return Told(rows, model.outcome_probability(data.matrix[rows]), learnt)
