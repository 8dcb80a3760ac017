"""The one form of every error: RFC 9457 problem documents, which never hold a value of the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from features.errors import BadInput, Fault
from serving.values import CARD_NUMBER, REQUIRED, SECURITY_CODE, UNKNOWN

__all__ = ["Problem", "invalid"]


@dataclass(eq=False)
class Problem(Exception):
    """What went wrong with one request: an HTTP status, a stable code, and words for a person."""

    status: int
    code: str
    title: str
    detail: str
    errors: Sequence[Mapping[str, Any]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self, request_id: str) -> dict[str, Any]:
        """The problem document, in RFC 9457's members and ours: code, request_id, errors."""
        return {
            "type": f"urn:payrescue:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": f"urn:payrescue:request:{request_id}",
            "code": self.code,
            "request_id": request_id,
            "errors": list(self.errors),
        }


_CODES = {CARD_NUMBER: "card_number", SECURITY_CODE: "security_code", REQUIRED: "required", UNKNOWN: "unknown_field"}


def _code(fault: Fault) -> str:
    return _CODES.get(fault.allowed, "invalid")


def invalid(bad: BadInput) -> Problem:
    """The problem that the faults of a request amount to: 422, each fault with its JSON pointer."""
    errors = [
        {"pointer": fault.pointer or "", "code": _code(fault), "detail": f"want {fault.allowed}"}
        for fault in bad.faults
    ]
    found = len(errors)
    if any(error["code"] == "card_number" for error in errors):
        return Problem(
            422,
            "card_number",
            "A card number was sent",
            "This service must never be sent card numbers. Nothing of the request was kept or logged.",
            errors,
        )
    if any(error["code"] == "security_code" for error in errors):
        return Problem(
            422,
            "security_code",
            "Card data was sent",
            "This service must never be sent security codes, nor what else a card holds. Nothing of the request was kept.",
            errors,
        )
    return Problem(
        422,
        "invalid_request",
        "The request does not say what it should",
        f"{found} {'field is' if found == 1 else 'fields are'} not as the contract has it: see errors.",
        errors,
    )
