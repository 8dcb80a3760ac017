"""The past, as it was known: decayed outcomes of every issuer, route, method and customer, and what they give a row.

The same arithmetic runs over a table in order of time and over one request on top of a kept past (`features.kernel`), so
that what serves equals what was trained on, bit for bit.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features import kernel
from features.definitions import KEYS
from features.errors import ArtifactMismatch
from features.others import Others
from features.past import Looked, Past
from features.rows import Encoded, Rows, own_of, packed_rows

__all__ = ["History", "features_in_passing", "features_of_request", "features_over", "looked_by_name"]

Array = npt.NDArray[Any]

_NOWHERE = repeat(-1)
_NEVER = kernel.PENDING
_AT_ONCE = 250_000  # rows between two words on how far it is
_SPARE = 1.5  # room that growing makes, so that the next names do not have everything copied again


@dataclass(eq=False)
class History:
    """Decayed sums by slot, and which slot is whose.

    `sums` has shape (slots, 4, 6): three half-lives and what was to be expected; `times` (microseconds since 1970) and
    `streaks`, shape (slots,). `until` is the moment up to which outcomes have entered.
    """

    slots: dict[str, int] = field(default_factory=dict)
    sums: Array = field(default_factory=lambda: np.zeros((0, kernel.PLANES, kernel.OUTCOME_SLOTS)))
    times: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    streaks: Array = field(default_factory=lambda: np.zeros(0, np.int32))
    until: int = 0
    _room: dict[str, Array] = field(default_factory=dict, repr=False)  # what the arrays are the beginnings of

    def slots_for(self, names: Sequence[str]) -> Array:
        """The slot of each name; a new, empty one where it had none.

        A name is there only once its slot is, so that another thread may look up names meanwhile.
        """
        slots = self.slots
        new_names = dict.fromkeys(name for name in names if name not in slots)
        if new_names:
            self._grow(len(slots) + len(new_names))
            slots.update(zip(new_names, range(len(slots), len(slots) + len(new_names)), strict=True))
        return np.fromiter(map(slots.__getitem__, names), np.int32, len(names))

    def _grow(self, n: int) -> None:
        """Have `n` slots, the new ones empty."""
        now = {"sums": self.sums, "times": self.times, "streaks": self.streaks}
        room = self._room
        if not room or len(room["times"]) < n or any(array.base is not room[name] for name, array in now.items()):
            room = self._empty(max(n, int(_SPARE * len(self.times))))
            for name, array in now.items():
                room[name][: len(array)] = array
            self._room = room
        self.sums, self.times, self.streaks = room["sums"][:n], room["times"][:n], room["streaks"][:n]

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

    @classmethod
    def joined(cls, histories: Sequence[History]) -> History:
        """One of all the slots of several that share some, which then hold the same in each: parts of a table give such."""
        names: dict[str, int] = {}
        kept = []
        for history in histories:
            new = np.array([name not in names for name in history.slots], bool)
            names.update((name, len(names)) for name in history.slots if name not in names)
            kept.append((history.sums[new], history.times[new], history.streaks[new]))
        sums, times, streaks = (np.concatenate(arrays) for arrays in zip(*kept, strict=True))
        return cls(names, sums, times, streaks, max(history.until for history in histories))

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
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                names = file["names"].tobytes().decode()
                sums, times, streaks = file["sums"], file["times"], file["streaks"]
                until = int(file["until"][0])
        except Exception as error:
            raise ArtifactMismatch(f"{path.name}: not a history that can be read ({type(error).__name__})") from error
        slots = {name: i for i, name in enumerate(names.split("\n"))} if names else {}
        there = {"sums": sums, "times": times, "streaks": streaks}
        for name, wanted in History._empty(len(slots)).items():
            if (found := there[name]).shape != wanted.shape or found.dtype != wanted.dtype:
                raise ArtifactMismatch(
                    f"{path.name}: {name} is {found.dtype} of shape {found.shape}; "
                    f"{len(slots)} names want {wanted.dtype} of shape {wanted.shape}"
                )
        return cls(slots, sums, times, streaks, until)

    @staticmethod
    def _empty(n: int) -> dict[str, Array]:
        """`n` slots that nothing has entered."""
        return {
            "sums": np.zeros((n, kernel.PLANES, kernel.OUTCOME_SLOTS)),
            "times": np.zeros(n, np.int64),
            "streaks": np.zeros(n, np.int32),
        }

    def copy(self) -> History:
        """One that can move on by itself."""
        return History(dict(self.slots), self.sums.copy(), self.times.copy(), self.streaks.copy(), self.until)

    def become(self, other: History) -> None:
        """Hold what another holds, which is then no longer its own."""
        self.slots, self.sums, self.times, self.streaks = other.slots, other.sums, other.times, other.streaks
        self.until, self._room = other.until, other._room

    def record(self, rows: Rows) -> None:
        """Let the known outcomes of rows enter, in the order in which they became known."""
        self.enter(rows, rows.by_resolution(), self.keys_of(rows))

    def enter(self, rows: Rows, updates: Array, keys: Array) -> None:
        """Let the outcomes of the rows `updates` enter, in that order, which is the one in which they became known."""
        if len(updates):
            kernel.record_all(updates, *rows.known(), keys, self.sums, self.times, self.streaks)
            self.until = max(self.until, int(rows.resolved[updates[-1]]))

    def has(self, attempt: Mapping[str, Any]) -> bool:
        """Whether the outcome of an attempt has entered: whatever was known by `until` has."""
        known: bool = (attempt.get("resolved_at") or _NEVER) <= self.until
        return known

    def copies(self, names: Collection[str]) -> tuple[Array, Array, Array]:
        """Copies of the slots of these names, in their order; an empty one for a name that has none."""
        places = np.array([*map(self.slots.get, names, repeat(-1))], np.int64)
        there, new = places >= 0, self._empty(len(places))
        for name, empty in new.items():
            empty[there] = getattr(self, name)[places[there]]
        return new["sums"], new["times"], new["streaks"]

    def look_up(self, names: Sequence[Sequence[str | None]]) -> Looked:
        """Copies of the slots of rows whose names, in the order of KEYS, these are; None where a part that is needed is missing.

        A name that has no slot has an empty one here.
        """
        keys, numbered = _numbered(names)
        n = len(numbered)
        places = np.fromiter(map(self.slots.get, numbered, _NOWHERE), np.int64, n)
        sums = np.empty((n, kernel.PLANES, kernel.OUTCOME_SLOTS))
        times, streaks = np.empty(n, np.int64), np.empty(n, np.int32)
        kernel.gathered(places, self.sums, self.times, self.streaks, sums, times, streaks)
        return Looked(keys, sums, times, streaks)

    def keys_of(self, rows: Rows) -> Array:
        """The slot of each row for each of KEYS, shape (n, 8), −1 for none; new slots for what is new."""
        keys = np.full((len(rows), len(KEYS)), -1, np.int32)
        for k, (index, names) in enumerate(rows.keys):
            slots = self.slots_for(names)
            present = index >= 0
            keys[present, k] = slots[index[present]]
        return keys


def features_in_passing(
    rows: Rows,
    history: History,
    wanted: npt.NDArray[np.bool_] | None = None,
    *,
    others: Others | None = None,
    into: Array | None = None,
    far: Callable[[int], None] = lambda _: None,
) -> Array:
    """Features of rows, shape (n, n_features), float32, while time passes over them.

    Every row sees what was known at its own `created`, of the other rows and of `history`, which moves on: afterwards all
    the rows' known outcomes have entered it. With `wanted`, only those rows come out, in their order. `others` are attempts
    of other customers, which are kept elsewhere: what became of them enters, too. `into` is filled if given: it may be a
    file mapped into memory. `far` is told how many rows are done.
    """
    order = np.lexsort((rows.position, rows.created)).astype(np.int64)
    places = np.arange(len(rows))
    out = rows.room(places if wanted is None else np.flatnonzero(wanted), into)
    if wanted is not None:
        order = order[wanted[order]]
        places = np.cumsum(wanted) - 1
    keys = history.keys_of(rows)
    if others is not None:
        rows, keys = others.beside(rows, keys, history.slots_for)
    updates = rows.by_resolution()
    entered = 0
    for first in range(0, len(order), _AT_ONCE):
        some = order[first : first + _AT_ONCE]
        entered += kernel.sweep(
            some,
            places[some],
            updates[entered:],
            *rows.arrays(),
            keys,
            history.sums,
            history.times,
            history.streaks,
            out,
        )
        far(first + len(some))
    if entered:
        history.until = max(history.until, int(rows.resolved[updates[entered - 1]]))
    history.enter(rows, updates[entered:], keys)
    return out


def looked_by_name(
    copies: Callable[[Collection[str]], tuple[Array, Array, Array]], names: Sequence[Sequence[str | None]]
) -> Looked:
    """What a past looks up that gives `copies` of slots by their names, as `History.look_up` does."""
    keys, numbered = _numbered(names)
    return Looked(keys, *copies([*numbered]))


def _numbered(names: Sequence[Sequence[str | None]]) -> tuple[Array, dict[str, int]]:
    """Which of the different names each row has under each of KEYS, shape (n, 8), −1 for None; and these, in order."""
    numbered: dict[str | None, int] = {None: -1}
    number = numbered.setdefault
    places = array("i", [number(name, len(numbered) - 1) for row in names for name in row])
    del numbered[None]
    return np.frombuffer(places, np.int32).reshape(-1, len(KEYS)), numbered  # type: ignore[return-value]


def features_of_request(encoded: Sequence[Encoded], past: Past, asked: int, *, entered: Collection[int] = ()) -> Array:
    """Features of the last so many rows of one request, shape (asked, n_features), float32; `past` stays as it is.

    The other rows, the payment's earlier attempts, oldest first, enter a copy of the few slots that the request touches, but
    for those that `past` holds already: `entered`.
    """
    return features_over(encoded, past.look_up([one.slots for one in encoded]), asked, entered=entered)


def features_over(encoded: Sequence[Encoded], looked: Looked, asked: int, *, entered: Collection[int] = ()) -> Array:
    """The same, of rows whose slots are `looked` up, and stay as they are."""
    first = len(encoded) - asked
    held = np.zeros(first, np.bool_)
    for place in entered:
        held[place] = True
    n_own = len(encoded[-1].own)
    out = np.empty((asked, kernel.N_FEATURES + n_own), np.float32)
    kernel.ask(first, held, out, packed_rows(encoded), *looked)
    if n_own:
        out[:, kernel.N_FEATURES :] = own_of(encoded[first:])
    return out
