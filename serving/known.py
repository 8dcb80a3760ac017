"""What the decision log tells the online state: outcomes, in the order in which they were kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Known", "OutcomeLog", "never"]


def never() -> bool:
    """For who reads the log to its end."""
    return False


@dataclass(frozen=True, slots=True)
class Known:
    """One outcome in the log, with the attempt that it is of, as it was scored; times in microseconds since 1970, UTC.

    `fields` are the attempt's `before` columns and what the outcome told: resolved_at, outcome, reason and evidence
    columns. What is missing is absent.
    """

    seq: int
    attempt_id: str
    fields: dict[str, Any]


class OutcomeLog(Protocol):
    """Where outcomes are read from. All of it blocks, and raises what the log does."""

    def after(self, seq: int, most: int) -> list[Known]:
        """At most `most` outcomes with a higher seq, in its order, whose attempt is known; [] if none."""

    def latest(self) -> int:
        """The highest seq of an outcome whose attempt is known; 0 without one."""

    def start(self, until: int | None, window_us: int) -> int:
        """The seq after which all outcomes lie that a state has to be told.

        Those are the ones that were resolved after `until` (None: none is asked for by that), and those that were within
        `window_us` before the newest.
        """

    def mark(self, seq: int) -> str | None:
        """What tells the outcome of that seq from those that other logs have there; None where there is none."""
