"""Which attempts a head is asked about: those that came as far as its stage, failures and others drawn apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.columns import CATEGORIES
from features.history import History, features_in_passing
from models.artefact import Artefact
from models.heads import STAGES, Head

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FAILURE", "Asked", "Known", "asked", "known"]

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

FAILURE = "failure"
"""What the success head is asked about, where failures have no reasons."""

_MOST_KNOWN = 200_000  # attempts from which rates are counted
_MOST_ASKED = 2_000  # failures, and as many others, that a head explains
_FEWEST_FAILURES = 50


@dataclass(frozen=True)
class Known:
    """Attempts with an outcome, in order of time, a sample where they are many.

    `row` is their place in the table; `matrix` their features (n, n_features); `outcome` codes as in Rows, 5 where nobody
    explained the failure; `payment` codes; `created` microseconds; `of` how many there are in all.
    """

    row: Array
    matrix: Array
    outcome: Array
    payment: Array
    created: Array
    of: int


@dataclass(frozen=True)
class Asked:
    """One kind of failure: the head that tells it, and who came so far.

    `reached` and `fell` (n,) are masks over Known; `rows` the sample that is explained, indices into Known, with `weight`
    (failures are drawn more often than others); `sign` turns the head's log-odds into those of falling.
    """

    category: str
    head: Head
    text: str
    sign: float
    reached: Mask
    fell: Mask
    rows: Array
    weight: Array


def known(attempts: pd.DataFrame, model: Artefact, rng: np.random.Generator) -> Known:
    """The attempts of a checked table that have an outcome, with features as things stood at each one's creation."""
    import pandas as pd

    rows = model.encoder.from_table(attempts)
    there = np.flatnonzero(rows.outcome >= 0)
    drawn = there if len(there) <= _MOST_KNOWN else rng.choice(there, _MOST_KNOWN, replace=False)
    wanted = np.zeros(len(attempts), bool)
    wanted[drawn] = True
    order = np.lexsort((rows.position, rows.created))
    order = order[wanted[order]]
    matrix = features_in_passing(rows, History(), wanted)[np.cumsum(wanted)[order] - 1]
    payment = pd.factorize(attempts["payment_id"])[0]
    return Known(order, matrix, rows.outcome[order], payment[order], rows.created[order], len(there))


def asked(there: Known, model: Artefact, rng: np.random.Generator) -> Iterator[Asked]:
    """Each kind of failure that happened often enough, by the heads that were judged; of failure as such without stages."""
    outcome = there.outcome
    if STAGES[0] not in model.validated:
        fell = outcome > 0
        yield from _asked(FAILURE, model.validated["success"], -1.0, fell, outcome >= 0, rng)
        return
    passed: list[int] = []
    for stage in STAGES:
        code = 1 + CATEGORIES.index(stage)
        reached = (outcome < 5) & ~np.isin(outcome, passed)
        yield from _asked(stage, model.validated[stage], 1.0, outcome == code, reached, rng)
        passed.append(code)


def _asked(
    category: str, parts: Any, sign: float, fell: Mask, reached: Mask, rng: np.random.Generator
) -> Iterator[Asked]:
    mine, others = np.flatnonzero(fell & reached), np.flatnonzero(~fell & reached)
    if min(len(mine), len(others)) < _FEWEST_FAILURES:
        return
    drawn = [
        side if len(side) <= _MOST_ASKED else rng.choice(side, _MOST_ASKED, replace=False) for side in (mine, others)
    ]
    rows = np.concatenate(drawn)
    weight = np.concatenate(
        [np.full(len(side), len(all_) / len(side)) for side, all_ in zip(drawn, (mine, others), strict=True)]
    )
    order = np.argsort(rows)
    yield Asked(category, parts.head(), parts.text, sign, reached, fell, rows[order], weight[order] / weight.sum())
