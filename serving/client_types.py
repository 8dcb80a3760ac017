"""What `serving.client` gives back and raises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

__all__ = [
    "Answer",
    "ClientError",
    "Conflict",
    "Diagnosis",
    "Refused",
    "Suggestion",
    "Told",
    "Unauthorized",
    "Unavailable",
]


class ClientError(Exception):
    """Any error of the client. `request_id` is what the service's log calls the request.

    ClientError
    ├── Unavailable       nobody answered in time, or only to say that they cannot
    └── Refused           the service, or the client in its place, says no: asking again changes nothing
        ├── Unauthorized  no key, or one that is not for this
        └── Conflict      it contradicts what was told before
    """

    def __init__(self, message: str, request_id: str) -> None:
        self.request_id = request_id
        super().__init__(message)


class Unavailable(ClientError):
    """Nobody answered in time. What was sent may or may not have come through: send it again, it is not counted twice."""


class Refused(ClientError):
    """The request was refused. `errors` says what is wrong where, by JSON pointer, and never repeats a value."""

    def __init__(
        self, status: int, code: str, detail: str, errors: Sequence[Mapping[str, str]], request_id: str
    ) -> None:
        self.status = status
        self.code = code
        self.errors = tuple(errors)
        places = "; ".join(f"{error['pointer'] or '/'}: {error['detail']}" for error in errors)
        super().__init__(f"{status} {code}: {detail}" + (f" {places}" if places else ""), request_id)


class Unauthorized(Refused):
    """The service wants a key, or another one."""


class Conflict(Refused):
    """An outcome contradicts the one that was told before."""


class Suggestion(TypedDict):
    """What to do next."""

    action: str
    candidate_id: str | None
    method: str | None
    route: str | None
    wait_s: float
    success_probability: float | None
    expected_value: int | None
    message_key: str
    because: list[str]


class Diagnosis(TypedDict):
    """Why an attempt failed."""

    category: str
    reason: str
    confidence: float | None
    decided_by: str
    plausible: list[str]
    category_probability: dict[str, float]


class Answer(TypedDict):
    """The answer of `POST /v1/score`."""

    request_id: str
    attempt_id: str
    degraded: bool
    model: dict[str, str | None]
    outcome: dict[str, float] | None
    diagnosis: Diagnosis | None
    suggestion: Suggestion
    ranking: list[dict[str, Any]]
    blocked: list[dict[str, Any]]
    policy: dict[str, Any]


class Told(TypedDict):
    """The answer of `POST /v1/outcomes`."""

    request_id: str
    accepted: int
    duplicates: int
    unknown_attempts: int
