"""Collects what is wrong with a table, column by column, so that all of it is told at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from features.errors import BadInput, Fault

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["MOST_FAULTS", "Faults", "shown", "without_numbers"]

MOST_FAULTS = 20
"""How many kinds of fault one message tells."""

_LONG_NUMBER = re.compile(r"\d(?:[\s._/\-]*\d){12,}")


def without_numbers(text: str) -> str:
    """`text` with what is long enough to be a card number left out."""
    return _LONG_NUMBER.sub("<long number>", text)


def shown(value: object) -> str:
    """`value` as a message may show it: at most 40 characters, and no long number, as it could be a card's.

    >>> shown("EU"), shown("no. 4111 1111 1111 1111")
    ('EU', 'no. <long number>')
    """
    text = without_numbers(str(value))
    return text if len(text) <= 40 else text[:39] + "…"


class Faults:
    """The faults of one table. Rows count from 1, without the header."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.found: list[Fault] = []
        self.columns: set[str] = set()

    def add(
        self,
        column: str,
        allowed: str,
        bad: npt.NDArray[np.bool_] | None = None,
        value: Callable[[int], object] | None = None,
    ) -> None:
        """Note a fault of `column` in the rows where `bad` holds, or of the column as such if None.

        `value(row)`, row from 0, gives what is seen there; without it, nothing is shown.
        """
        if bad is None:
            self.columns.add(column)
            self.found.append(Fault(column, allowed))
            return
        count = int(bad.sum())
        if count == 0:
            return
        first = int(bad.argmax())
        seen = None if value is None else shown(value(first))
        self.columns.add(column)
        self.found.append(Fault(column, allowed, seen, first + 1, count))

    def note(self, fault: Fault) -> None:
        """Take over a fault made elsewhere."""
        self.columns.add(fault.column)
        self.found.append(fault)

    def refuse(self) -> None:
        """Raise BadInput with the first 20 faults if there are any."""
        if not self.found:
            return
        kept = self.found[:MOST_FAULTS]
        left = len(self.found) - len(kept)
        message = None
        if left:
            message = "; ".join(map(str, kept)) + f"; and {left} more kinds of fault"
        raise BadInput(self.source, kept, message)
