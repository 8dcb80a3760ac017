"""The past, as it was known: decayed outcomes of every issuer, route, method and customer, and what they give a row.

The same arithmetic runs over a table in order of time and over one request on top of a kept past (`features.kernel`), so
that what serves equals what was trained on, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features import kernel
from features.definitions import KEYS
from features.errors import ArtifactMismatch
from features.rows import Rows

__all__ = ["History", "features_in_passing", "features_of_request"]

Array = npt.NDArray[Any]


@dataclass
class History:
    """Decayed sums by slot, and which slot is whose.

    `sums` has shape (slots, 4, 6): three half-lives and what was to be expected, `times` (microseconds since 1970) and `streaks` shape (slots,). `until` is the
    moment up to which outcomes have entered.
    """

    slots: dict[str, int] = field(default_factory=dict)
    sums: Array = field(default_factory=lambda: np.zeros((0, kernel.PLANES, kernel.OUTCOME_SLOTS)))
    times: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    streaks: Array = field(default_factory=lambda: np.zeros(0, np.int32))
    until: int = 0

    def slots_for(self, names: Iterable[str]) -> Array:
        """The slot of each name; a new, empty one where it had none."""
        slots = self.slots
        found = np.fromiter((slots.setdefault(name, len(slots)) for name in names), np.int32)
        missing = len(slots) - len(self.times)
        if missing > 0:
            self.sums = np.concatenate([self.sums, np.zeros((missing, kernel.PLANES, kernel.OUTCOME_SLOTS))])
            self.times = np.concatenate([self.times, np.zeros(missing, np.int64)])
            self.streaks = np.concatenate([self.streaks, np.zeros(missing, np.int32)])
        return found

    def keep(self, customers: int) -> History:
        """A copy that remembers, of customers, only those seen last, so that it stays small enough to carry."""
        names = np.array(list(self.slots), dtype=object)
        private = np.array([name.startswith("customer") for name in self.slots], dtype=bool)
        order = np.argsort(-self.times[private], kind="stable")
        kept = np.sort(np.concatenate([np.flatnonzero(~private), np.flatnonzero(private)[order[: 2 * customers]]]))
        return History(
            {str(name): i for i, name in enumerate(names[kept])},
            self.sums[kept],
            self.times[kept],
            self.streaks[kept],
            self.until,
        )

    def save(self, path: Path) -> None:
        """Write as plain arrays (.npz), nothing in them that executes."""
        names = "\n".join(self.slots).encode()
        arrays = {"sums": self.sums, "times": self.times, "streaks": self.streaks}
        with path.open("wb") as file:
            np.savez_compressed(
                file,
                names=np.frombuffer(names, np.uint8),
                until=np.array([self.until]),
                allow_pickle=False,
                **arrays,
            )

    @classmethod
    def load(cls, path: Path) -> History:
        """Read what `save` wrote. Raises ArtifactMismatch if the file is another or damaged."""
        try:
            with np.load(path, allow_pickle=False) as file:
                names = file["names"].tobytes().decode()
                sums, times, streaks = file["sums"], file["times"], file["streaks"]
                until = int(file["until"][0])
        except Exception as error:
            raise ArtifactMismatch(f"{path.name}: not a history that can be read ({type(error).__name__})") from error
        slots = {name: i for i, name in enumerate(names.split("\n"))} if names else {}
        if not (
            len(slots) == len(times) == len(streaks) and sums.shape == (len(slots), kernel.PLANES, kernel.OUTCOME_SLOTS)
        ):
            raise ArtifactMismatch(f"{path.name}: {len(slots)} names for {len(times)} slots")
        return cls(slots, sums, times, streaks, until)

    def record(self, rows: Rows) -> None:
        """Let the known outcomes of rows enter, in the order in which they became known."""
        keys = self._keys(rows)
        updates = rows.by_resolution()
        kernel.record_all(updates, *rows.known(), keys, self.sums, self.times, self.streaks)
        if len(updates):
            self.until = max(self.until, int(rows.resolved[updates[-1]]))

    def _keys(self, rows: Rows) -> Array:
        keys = np.full((len(rows), len(KEYS)), -1, np.int32)
        for k, (index, names) in enumerate(rows.keys):
            slots = self.slots_for(names)
            present = index >= 0
            keys[present, k] = slots[index[present]]
        return keys


def features_in_passing(rows: Rows, history: History, wanted: npt.NDArray[np.bool_] | None = None) -> Array:
    """Features of rows, shape (n, n_features), float32, while time passes over them.

    Every row sees what was known at its own `created`, of the other rows and of `history`, which moves on: afterwards all
    the rows' known outcomes have entered it. With `wanted`, only those rows come out, in their order.
    """
    order = np.lexsort((rows.position, rows.created)).astype(np.int64)
    places = np.arange(len(rows))
    if wanted is not None:
        order = order[wanted[order]]
        places = np.cumsum(wanted) - 1
    updates = rows.by_resolution()
    keys = history._keys(rows)
    out = np.empty((len(order), kernel.N_FEATURES), np.float32)
    entered = kernel.sweep(
        order, places[order], updates, *rows.arrays(), keys, history.sums, history.times, history.streaks, out
    )
    kernel.record_all(updates[entered:], *rows.known(), keys, history.sums, history.times, history.streaks)
    if len(updates):
        history.until = max(history.until, int(rows.resolved[updates[-1]]))
    return out


def features_of_request(
    rows: Rows, history: History, names: Sequence[Sequence[str | None]], asked: Sequence[int]
) -> Array:
    """Features of the rows `asked` of one request, shape (len(asked), n_features), float32; `history` stays as it is.

    The other rows, the payment's earlier attempts, enter a copy of the few slots that the request touches. `names` are the
    rows' slot names in the order of KEYS, None where a part that is needed is missing.
    """
    local: dict[str, int] = {}
    keys = np.array(
        [[-1 if name is None else local.setdefault(name, len(local)) for name in row] for row in names],
        np.int32,
    )
    kept = [history.slots.get(name, -1) for name in local]
    where = np.array(kept)
    sums, times, streaks = history.sums[where], history.times[where], history.streaks[where]
    if -1 in kept:
        new = where < 0
        sums[new], times[new], streaks[new] = 0.0, 0, 0
    out = np.empty((len(asked), kernel.N_FEATURES), np.float32)
    order = np.array(sorted(range(len(asked)), key=lambda q: rows.created[asked[q]]), np.int64)
    updates = rows.by_resolution() if len(rows) > len(asked) else np.empty(0, np.int64)
    kernel.sweep(np.array(asked, np.int64)[order], order, updates, *rows.arrays(), keys, sums, times, streaks, out)
    return out
