"""What Redis told one request, over what the artefact carries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from features.history import looked_by_name
from features.past import Looked
from serving.state_declines import Decline, count, credential_of, unpacked
from serving.state_fold import Base, had

__all__ = ["SLOT", "Damaged", "Named", "RedisPast", "declines_in"]

SLOT = np.dtype([("sums", "<f8", (4, 6)), ("time", "<i8"), ("streak", "<i4")])
"""A slot of the past as bytes: nothing of it is rounded."""

Named = tuple[str, str]
"""A value's kind and name: `s` a slot, `i` an attempt whose outcome has entered, `c` a credential's declines."""

_NOTHING: AbstractContextManager[object] = nullcontext()


class Damaged(Exception):
    """A value in Redis is not one that was written."""


class RedisPast:
    """What Redis told one request; where it told nothing, what the artefact carries."""

    __slots__ = ("_base", "_told", "_until", "missed")

    def __init__(self, base: Base | None, told: Mapping[Named, bytes], *, missed: bool = False) -> None:
        self._base, self._told, self.missed = base, told, missed
        self._until = base.history.until if base is not None else 0

    lock = _NOTHING  # nobody else has it

    def check(self) -> None:
        """Raises Damaged where a value is not of the length that was written."""
        for (kind, _), value in self._told.items():
            if kind == "s" and len(value) != SLOT.itemsize:
                raise Damaged
            if kind == "c":
                declines_in(value)

    def copies(self, names: Collection[str]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        """Copies of these names' slots, in their order: what moved since the artefact, else its own."""
        if self._base is None:
            raise RuntimeError("without a model there is no past to look up")
        sums, times, streaks = self._base.history.copies(names)
        moved = [(i, value) for i, name in enumerate(names) if (value := self._told.get(("s", name))) is not None]
        if moved:
            where = [i for i, _ in moved]
            found = np.frombuffer(b"".join(value for _, value in moved), SLOT)
            sums[where], times[where], streaks[where] = found["sums"], found["time"], found["streak"]
        return sums, times, streaks

    def look_up(self, names: Sequence[Sequence[str | None]]) -> Looked:
        """The same, of rows by their slots' names."""
        return looked_by_name(self.copies, names)

    def has(self, attempt: Mapping[str, Any]) -> bool:
        """Whether the outcome of an attempt has entered; without an id nobody can have told the log of it."""
        return ("i", attempt.get("attempt_id")) in self._told or had(attempt, self._until)

    def declines(self, attempt: Mapping[str, Any], *, since: int, one_amount: bool) -> int:
        """How many attempts of other payments, with the same credential, were declined after `since`."""
        value = self._told.get(("c", credential_of(attempt) or ""))
        return count(declines_in(value), attempt, since=since, one_amount=one_amount) if value is not None else 0


def declines_in(value: bytes) -> tuple[Decline, ...]:
    """Declines from Redis. Raises Damaged."""
    try:
        return unpacked(value)
    except ValueError:
        raise Damaged from None
