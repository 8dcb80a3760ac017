"""What goes into the decision log, and what it answers: plain values that know no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from models.engine import ScoreRequest

__all__ = ["Heard", "LogUnavailable", "LoggedDecision", "OutcomeConflict", "OutcomeTooEarly", "Told"]


class LoggedDecision(NamedTuple):
    """One answer with what it was an answer to.

    `at` is when it was asked, in microseconds since 1970, UTC; `features` the attempt's features as served, shape
    (n_features,), None where no model was asked. `shown` is false for what a challenger said in shadow. `body` is the
    answer's JSON, if it has been written already.
    """

    request: ScoreRequest
    answer: Mapping[str, Any]
    at: int
    latency_us: int
    features: Any = None
    shown: bool = True
    body: bytes | None = None


class Heard(NamedTuple):
    """An outcome that is new, for whoever watches calibration: `p_success` is what was said of the attempt, if anything."""

    p_success: float | None
    succeeded: bool
    delay_us: int  # from when the outcome became known to when it was told


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one request's outcomes; they are on disk.

    `duplicates` had been kept before, with the same content; `unknown_attempts`, of either kind, are of attempts that
    nobody has told.
    """

    accepted: int
    duplicates: int
    unknown_attempts: int
    heard: Sequence[Heard] = ()


class LogUnavailable(Exception):
    """The log cannot be written or read now. `retry_after_s` is when it is worth another try."""

    def __init__(self, reason: str, retry_after_s: int = 1) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(reason)


class OutcomeConflict(Exception):
    """Outcomes that differ from those that are kept of the same attempts. Nothing of their request was kept.

    `differing` has the place of each in its request, and the names of what differs.
    """

    def __init__(self, differing: Sequence[tuple[int, Sequence[str]]]) -> None:
        self.differing = differing
        super().__init__(f"{len(differing)} outcomes differ from those kept")


class OutcomeTooEarly(Exception):
    """Outcomes that became known before their attempts were made. Nothing of their request was kept."""

    def __init__(self, places: Sequence[int]) -> None:
        self.places = places
        super().__init__(f"{len(places)} outcomes are earlier than their attempts")
