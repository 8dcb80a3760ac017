"""What became of attempts: from the JSON of `POST /v1/outcomes` to checked outcomes, every fault with its pointer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from features.columns import Column, columns
from features.taxonomy import reasons
from serving.requests import (
    LABEL,
    RequestFaults,
    all_there,
    ends_after_start,
    no_others,
    read_object,
)
from serving.values import CARD_NUMBER, field_of, hides_card_number

__all__ = ["MOST_OUTCOMES", "WANTED", "Outcome", "OutcomeReader"]

MOST_OUTCOMES = 1_000
"""Most outcomes in one request."""

WANTED = f"an outcome, or an array of 1 to {MOST_OUTCOMES} of them"
"""What a request may be."""

_REQUIRED = dict.fromkeys(("attempt_id", "resolved_at", "outcome")).keys()
_PARTS = ("evidence", "attempt")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt. Times are whole microseconds since 1970, UTC.

    `evidence` holds `after` columns other than resolved_at and the label; `attempt` the `before` columns, where
    whoever tells the outcome tells them too. Missing values are absent.
    """

    attempt_id: str
    resolved_at: int
    outcome: str
    reason: str | None
    evidence: Mapping[str, Any]
    attempt: Mapping[str, Any] | None = None


class OutcomeReader:
    """Reads the JSON of `POST /v1/outcomes`. `extra` are the columns that a merchant declared, known before.

    `after` columns stand beside the outcome or in its `evidence`, each in one of the two places.

    >>> faults = RequestFaults()
    >>> told = {"attempt_id": "a1", "resolved_at": "2026-01-05T09:30:21Z", "outcome": "success", "reason": "risk_block"}
    >>> _ = OutcomeReader().read(told, "", now=1767605421000000, faults=faults)
    >>> print(faults.found[0])
    reason: want no reason where the outcome is success
    """

    def __init__(self, extra: Sequence[Column] = ()) -> None:
        every = [*columns().values(), *extra]
        self._before = {column.name: field_of(column) for column in every if column.known == "before"}
        after = {column.name: field_of(column) for column in every if column.known == "after"}
        self._evidence = {name: field for name, field in after.items() if name not in LABEL}
        self._flat = {"attempt_id": self._before["attempt_id"], **after}
        self._known = (*self._flat, *_PARTS)
        self._required = dict.fromkeys(
            column.name for column in every if column.required and column.name != "attempt_id"
        ).keys()

    def items(self, raw: Any, faults: RequestFaults) -> list[tuple[str, Any]]:
        """The outcomes of one request, unread, each with its JSON pointer: an object, or an array of them."""
        if type(raw) is not list:
            return [("", raw)]
        if not 0 < len(raw) <= MOST_OUTCOMES:
            faults.note("", WANTED)
            return []
        return [(f"/{i}", item) for i, item in enumerate(raw)]

    def read(self, raw: Any, at: str, *, now: int, faults: RequestFaults) -> Outcome | None:
        """One outcome; None where too little of it can be read. `now` is in microseconds since 1970, UTC."""
        if type(raw) is not dict:
            faults.note(at, CARD_NUMBER if hides_card_number(raw) else "an object")
            return None
        no_others(raw, self._known, at, faults)
        flat = {name: value for name, value in raw.items() if name in self._flat}
        told = read_object(flat, self._flat, at, now, faults)
        given = raw.get("evidence")
        evidence = {} if given is None else read_object(given, self._evidence, f"{at}/evidence", now, faults)
        for name in told.keys() & evidence.keys():
            faults.note(f"{at}/evidence/{name}", "this value once: beside the outcome or in evidence")
        told = evidence | told
        inside = given if type(given) is dict else {}
        place = "" if inside.get("resolved_at") is None else "/evidence"
        all_there(told, {**inside, **raw}, _REQUIRED, at, faults)
        _check_reason(told, at, faults)
        attempt = self._attempt(raw.get("attempt"), told, at, now, faults)
        ends_after_start(attempt or {}, told, f"{at}{place}", faults)
        if any(name not in told for name in _REQUIRED):
            return None
        return Outcome(
            told["attempt_id"],
            told["resolved_at"],
            told["outcome"],
            told.get("reason"),
            {name: value for name, value in told.items() if name not in (*_REQUIRED, "reason")},
            attempt,
        )

    def _attempt(
        self, raw: Any, told: Mapping[str, Any], at: str, now: int, faults: RequestFaults
    ) -> dict[str, Any] | None:
        if raw is None:
            return None
        attempt = read_object(raw, self._before, f"{at}/attempt", now, faults)
        all_there(attempt, raw, self._required, f"{at}/attempt", faults)
        attempt_id = told.get("attempt_id")
        if attempt_id is not None and attempt.setdefault("attempt_id", attempt_id) != attempt_id:
            faults.note(f"{at}/attempt/attempt_id", "the attempt_id of the outcome")
        return attempt


def _check_reason(told: Mapping[str, Any], at: str, faults: RequestFaults) -> None:
    """A reason belongs to the category that the outcome names; success and the unexplained have none."""
    outcome, reason = told.get("outcome"), told.get("reason")
    if outcome is None or reason is None:
        return
    allowed = [name for name, known in reasons().items() if known.category == outcome]
    if not allowed:
        faults.note(f"{at}/reason", f"no reason where the outcome is {outcome}")
    elif reason not in allowed:
        faults.note(f"{at}/reason", f"one of {', '.join(allowed)}")
