"""What the decision log tells the online state: outcomes, in the order in which they were kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Known", "OutcomeLog"]


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
    """Where outcomes are read from."""

    def after(self, seq: int, most: int) -> list[Known]:
        """At most `most` outcomes with a higher seq, in its order, whose attempt is known; [] if none. It blocks."""
