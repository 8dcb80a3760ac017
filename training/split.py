"""Slices of time: fit, stop, calibrate, test. A payment is never on both sides of a border."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.kernel import PENDING

__all__ = ["SLICES", "Split", "split_by_time"]

Array = npt.NDArray[Any]

SLICES = ("fit", "stop", "calibrate", "test")


@dataclass(frozen=True)
class Split:
    """Which slice each attempt is in (index into SLICES, −1: purged), and when each slice begins (microseconds)."""

    slices: Array
    begins: tuple[int, int, int, int]

    def __getitem__(self, name: str) -> Array:
        """The attempts of a slice, as a mask."""
        mask: Array = self.slices == SLICES.index(name)
        return mask

    @property
    def purged(self) -> int:
        """Attempts left out, because their payment reached over a border."""
        return int((self.slices < 0).sum())


def split_by_time(payment: Array, created: Array, resolved: Array, shares: tuple[float, float, float]) -> Split:
    """Split payments by when they began; `shares` are those of stop, calibrate and test, the rest is fit.

    A payment is purged from its slice if an attempt of it began, or its outcome became known, after the slice had ended:
    whoever trained then could not have known it. `payment` holds integer codes from 0, times are microseconds.

    >>> import numpy as np
    >>> payment = np.array([0, 0, 1, 2, 3])
    >>> created = np.array([0, 35, 10, 30, 40])
    >>> split_by_time(payment, created, created, (0.25, 0.25, 0.25)).slices.tolist()
    [-1, -1, 1, 2, 3]
    """
    n = int(payment.max()) + 1 if len(payment) else 0
    starts = np.full(n, PENDING)
    np.minimum.at(starts, payment, created)
    ends = np.zeros(n, np.int64)
    np.maximum.at(ends, payment, np.where(resolved == PENDING, created, np.maximum(created, resolved)))
    ordered = np.sort(starts)
    cumulated = np.cumsum((1.0 - sum(shares), *shares[:2]))
    borders = [int(ordered[min(n - 1, int(np.ceil(share * n - 1e-9)))]) for share in cumulated] if n else [0, 0, 0]
    which = np.searchsorted(borders, starts, side="right")
    ends_at = np.array([*borders, PENDING])
    which = np.where(ends >= ends_at[which], -1, which)
    begin = int(created.min()) if n else 0
    return Split(which[payment], (begin, borders[0], borders[1], borders[2]))
