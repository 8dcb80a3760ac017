"""Whether chance chose between two sides, as far as the log's propensities can tell.

If each option of a situation is drawn with the propensity that is logged, the inverse propensities of the attempts that got
it add up to the number of attempts in that situation (Horvitz and Thompson 1952). So both sides of a change have to add up to
about as much as there are attempts, times the options that a side is made of. Where the customer chose, they do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LEAST_PROPENSITY", "is_randomised"]

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

LEAST_PROPENSITY = 0.01
_SIGMAS = 3.5
_NEAR = 0.2


def is_randomised(propensity: Array, situation: Mask, before: Mask, after: Mask, options: Array) -> bool:
    """Whether logged propensities account for who is on which side.

    `situation` (n,) are all attempts in which both sides were open, whatever was then done; `options` (n,) what else was
    chosen along (codes). Every attempt of both sides needs a propensity of 0.01 or more.
    """
    both = before | after
    if not both.any() or not (propensity[both] >= LEAST_PROPENSITY).all():
        return False
    there = int(situation.sum())
    totals, errors = [], []
    for side in (before, after):
        inverse = 1.0 / propensity[side]
        k = len(np.unique(options[side]))
        totals.append(float(inverse.sum()) / k)
        errors.append(float((inverse**2).sum()) / k**2)
    apart = abs(totals[0] - totals[1])
    close = all(abs(total - there) <= _NEAR * there for total in totals)
    return close and apart <= _SIGMAS * float(np.sqrt(sum(errors)))
