"""What `POST /v1/outcomes` answers: how many outcomes are on disk, or one problem, and then none of them is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from features.errors import BadInput
from serving.log import DecisionLog
from serving.log_records import Heard, LogUnavailable, OutcomeConflict, OutcomeTooEarly, Told
from serving.outcomes import MOST_OUTCOMES, WANTED, Outcome, OutcomeReader
from serving.pieces import parsed
from serving.problems import Problem, invalid
from serving.requests import MOST_FAULTS, RequestFaults

__all__ = ["OutcomeRoute"]

_BREATH = 16  # outcomes that are read between two looks at other clients


class OutcomeRoute:
    """Answers by the log; without one, that outcomes cannot be kept here.

    `reader` gives what reads outcomes now; `heard` is told of those that are new.
    """

    def __init__(
        self,
        log: DecisionLog | None,
        reader: Callable[[], OutcomeReader],
        clock: Callable[[], int],
        heard: Callable[[Sequence[Heard]], object] = lambda heard: heard,
    ) -> None:
        self._log, self._reader, self._clock, self._heard = log, reader, clock, heard

    async def told_by(self, body: bytes) -> dict[str, int]:
        """What became of the outcomes in a body. Raises Problem: 400, 409, 413, 422, 503."""
        return await self.told(await parsed(body, MOST_OUTCOMES, WANTED))

    async def told(self, raw: Any) -> dict[str, int]:
        """What became of the outcomes in the JSON value `raw`. Raises Problem: 409, 422, 503."""
        if self._log is None:
            raise Problem(503, "no_log", "Outcomes are not kept here", "The service was started without a log.")
        outcomes = await self._read(raw)
        single = type(raw) is not list
        try:
            told = await self._log.tell(outcomes)
        except OutcomeConflict as conflict:
            raise _conflicting(conflict, single=single) from None
        except OutcomeTooEarly as early:
            faults = RequestFaults()
            for place in early.places:
                faults.note(f"{_at(place, single=single)}/resolved_at", "a time not before the attempt's created_at")
            raise invalid(BadInput("request", faults.found[:MOST_FAULTS])) from None
        except LogUnavailable as down:
            raise _not_kept(down) from None
        self._heard(told.heard)
        return _answer(told)

    async def _read(self, raw: Any) -> Sequence[Outcome]:
        faults, now, reader = RequestFaults(), self._clock(), self._reader()
        outcomes = []
        for i, (at, item) in enumerate(reader.items(raw, faults)):
            if i % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
            outcomes.append(reader.read(item, at, now=now, faults=faults))
        try:
            faults.raise_if_any()
        except BadInput as bad:
            raise invalid(bad) from None
        return [outcome for outcome in outcomes if outcome is not None]


def _answer(told: Told) -> dict[str, int]:
    return {
        "accepted": told.accepted,
        "duplicates": told.duplicates,
        "unknown_attempts": told.unknown_attempts,
    }


def _at(place: int, *, single: bool) -> str:
    return "" if single else f"/{place}"


def _conflicting(conflict: OutcomeConflict, *, single: bool) -> Problem:
    return Problem(
        409,
        "conflicting_outcome",
        "Another outcome is kept",
        "The outcome of an attempt does not change once it is kept. Nothing of this request was kept.",
        [
            {
                "pointer": f"{_at(place, single=single)}/attempt_id",
                "code": "conflict",
                "detail": f"the outcome that is kept of this attempt differs in {', '.join(names)}",
            }
            for place, names in conflict.differing[:MOST_FAULTS]
        ],
    )


def _not_kept(down: LogUnavailable) -> Problem:
    return Problem(
        503,
        "log_unavailable",
        "The log cannot be written",
        "The outcomes may not have been kept: send them again. Scoring goes on.",
        headers={"retry-after": str(down.retry_after_s)},
    )
