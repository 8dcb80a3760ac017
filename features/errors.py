"""What can be wrong with what we are given: one tree of errors, each message saying what to do.

PayrescueError
├── BadInput            data, a request or a setting that cannot be used; holds its faults
│   └── CardNumberFound card numbers where none may be
└── ArtifactMismatch    a model's files do not belong to this code, or were changed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from features.cards import contains_card_number

__all__ = ["ArtifactMismatch", "BadInput", "CardNumberFound", "Fault", "PayrescueError"]


@dataclass(frozen=True)
class Fault:
    """One kind of fault in what was given, with where it was first seen and how often.

    `seen` is the offending value as text, shortened; never a card number. `row` counts data rows from 1, without the
    header; None where the fault is not in a row. `pointer` is the JSON pointer, for requests.
    """

    column: str
    allowed: str
    seen: str | None = None
    row: int | None = None
    count: int = 1
    pointer: str | None = None

    def __str__(self) -> str:
        where = f"row {self.row}, " if self.row is not None else ""
        seen = f" {_unless_card(self.seen)!r}" if self.seen is not None else ""
        times = f" ({self.count} rows)" if self.count > 1 else ""
        return f"{where}{_unless_card(self.column)}{seen}: want {self.allowed}{times}"


def _unless_card(text: str) -> str:
    """What was given, unless somebody typed a card number where a name was wanted: nobody is to read that again."""
    return "(a card number)" if contains_card_number(text) else text


class PayrescueError(Exception):
    """Any error that Payrescue raises on purpose. Its text is one message for a person."""


class BadInput(PayrescueError):
    """What was given cannot be used. `source` names it (a file, say); `faults` are all that was found, up to 20."""

    def __init__(self, source: str, faults: Sequence[Fault] = (), message: str | None = None) -> None:
        self.source = source
        self.faults = tuple(faults)
        self._message = message
        text = message or "; ".join(str(fault) for fault in self.faults)
        super().__init__(f"{source}: {text}")

    def __reduce__(self) -> tuple[type[BadInput], tuple[str, tuple[Fault, ...], str | None]]:
        """What another process raises again."""
        return type(self), (self.source, self.faults, self._message)


class CardNumberFound(BadInput):
    """Card numbers where none may be. Neither the message nor the faults repeat them."""


class ArtifactMismatch(PayrescueError):
    """A model's files were made by other features than these, are of another format, or were changed since."""
