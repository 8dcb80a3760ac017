"""Attempts that are kept elsewhere: what features need of them, where a table is worked on in parts.

Whose customer is in a part has all of their attempts there, so that what is counted by customer is whole. What is counted by
issuer, route, method and the like needs the outcomes of every attempt, and nothing else of them: some fifty bytes each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.definitions import KEYS
from features.kernel import PENDING
from features.rows import Rows, outcomes_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Apart", "Others"]

Array = npt.NDArray[Any]

_SHARED = [place for place, key in enumerate(KEYS) if "customer_id" not in key.parts]
"""Places in KEYS of what attempts of several customers have in common."""


@dataclass(frozen=True)
class Others:
    """Attempts whose outcome is known; arrays of shape (n,) as in Rows, and for each shared key a name of each attempt.

    `index` (n, shared keys): which of `names` an attempt has under each, -1: none.
    """

    created: Array
    resolved: Array
    position: Array
    outcome: Array
    index: Array
    names: tuple[Sequence[str], ...]

    def __len__(self) -> int:
        return len(self.created)

    @classmethod
    def of(cls, table: pd.DataFrame, first: int) -> Others:
        """Those of a checked table; its first row is the `first` of the whole table."""
        created, resolved, outcome, keys = outcomes_of(table, [KEYS[place] for place in _SHARED])
        known = (outcome >= 0) & (resolved != PENDING)
        return cls(
            created[known],
            resolved[known],
            (first + np.arange(len(table)))[known],
            outcome[known].astype(np.int8),
            np.column_stack([index[known] for index, _ in keys]).astype(np.int32),
            tuple(names for _, names in keys),
        )

    def only(self, mask: npt.NDArray[np.bool_]) -> Others:
        """Those where the mask holds."""
        arrays = {name: getattr(self, name)[mask] for name in ("created", "resolved", "position", "outcome", "index")}
        return replace(self, **arrays)

    @classmethod
    def joined(cls, parts: Sequence[Others]) -> Others:
        """Those of several tables together."""
        names: tuple[dict[str, int], ...] = tuple({} for _ in _SHARED)
        moved = []
        for part in parts:
            index = np.empty_like(part.index)
            for column, (place, there) in enumerate(zip(names, part.names, strict=True)):
                to = np.array([place.setdefault(name, len(place)) for name in there] + [-1], np.int32)
                index[:, column] = to[part.index[:, column]]
            moved.append(index)
        return cls(
            np.concatenate([part.created for part in parts]),
            np.concatenate([part.resolved for part in parts]),
            np.concatenate([part.position for part in parts]),
            np.concatenate([part.outcome for part in parts]),
            np.concatenate(moved),
            tuple(map(list, names)),
        )

    def beside(self, rows: Rows, keys: Array, slots_for: Callable[[Sequence[str]], Array]) -> tuple[Rows, Array]:
        """Rows with these after them, and the slots (n, 8) of all: they enter the past, and ask for no features.

        Of these, the kernel reads nothing but when they were known and what became of them, since they have no customer: the
        other arrays stay those of the rows.
        """
        mine = np.full((len(self), len(KEYS)), -1, np.int32)
        for column, (place, names) in enumerate(zip(_SHARED, self.names, strict=True)):
            mine[:, place] = np.append(slots_for(names), np.int32(-1))[self.index[:, column]]
        together = replace(
            rows,
            created=np.concatenate([rows.created, self.created]),
            resolved=np.concatenate([rows.resolved, self.resolved]),
            position=np.concatenate([rows.position, self.position]),
            outcome=np.concatenate([rows.outcome, self.outcome.astype(np.int64)]),
        )
        return together, np.concatenate([keys, mine])


@dataclass(frozen=True)
class Apart:
    """How attempts that are a part of a table stand to the rest of it.

    `position`: the row of the whole table that each is, shape (n,). `begun`: when the whole table's first attempt began
    (microseconds).
    """

    others: Others
    position: Array
    begun: int
