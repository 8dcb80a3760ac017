"""What the outcome log tells the online state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Known", "OutcomeLog"]


@dataclass(frozen=True, slots=True)
class Known:
    """One outcome in the log, with the attempt that it is of, as it was scored; times in microseconds since 1970, UTC.

    `fields` are the attempt's `before` columns, as `ScoreRequest.attempt` holds them, and what the outcome told:
    `resolved_at`, `outcome`, `reason`, evidence columns. `seq` ascends in the order in which outcomes were committed.
    """

    seq: int
    attempt_id: str
    fields: dict[str, Any]


class OutcomeLog(Protocol):
    """Where outcomes are kept."""

    def after(self, seq: int, most: int) -> list[Known]:
        """At most so many outcomes with a higher `seq`, in its order, whose attempt is known; blocking; [] if none."""
