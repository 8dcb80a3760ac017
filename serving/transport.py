"""HTTP by hand, on ASGI: reading a body within its limit, and sending an answer."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec

from features.cards import contains_card_number
from serving.problems import Problem

__all__ = [
    "CHECKED",
    "Answered",
    "ClientLeft",
    "Plain",
    "Receive",
    "Scope",
    "Send",
    "answered",
    "as_json",
    "header",
    "malformed",
    "parse_json",
    "read_body",
    "request_id_of",
    "send_json",
    "send_problem",
]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

CHECKED = "payrescue.checked"
"""In a message that begins an answer: its headers are ours, tell its length, and need no look by the server."""

_PREFIX = uuid4().hex[:20]  # of this process; with a count, as unique as one for each request, and at once
_count = count()
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,63}", re.ASCII)
_MOST_DRAINED = 64 * 1024 * 1024
_MOST_DEPTH = 16  # the contract needs five
_MOST_BODY_S = 30  # well before BentoML gives up, whose error is of another form
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Plain:
    """An answer whose bytes are ready, of the content type `kind`; `headers` take the place of those of other answers."""

    body: bytes
    kind: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Answered(NamedTuple):
    """An answer to a question, its JSON, and what is left to do once that is on its way: to keep it, and to count it.

    Nothing is raised by it.
    """

    told: Mapping[str, Any]
    body: bytes
    afterwards: Callable[[], object]


def answered(told: Mapping[str, Any], afterwards: Callable[[bytes], object]) -> Answered:
    """An answer that will not change any more; `afterwards` is given its JSON."""
    body = _encode(told)
    return Answered(told, body, partial(afterwards, body))


class ClientLeft(Exception):
    """The client closed the connection before it had sent its request."""


def header(scope: Scope, name: bytes) -> str | None:
    """A header's value; None if the request has none of that name (in lower case)."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return None


def request_id_of(scope: Scope) -> str:
    """The client's `X-Request-Id` where it is harmless, else one of ours."""
    given = header(scope, b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given) and not contains_card_number(given):
        return given
    return f"{_PREFIX}{next(_count):012x}"


def _check_type(scope: Scope) -> None:
    kind = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    encoding = (header(scope, b"content-encoding") or "identity").strip().lower()
    if kind != "application/json" or encoding != "identity":
        raise Problem(
            415,
            "unsupported_media_type",
            "The body is of another type",
            "Send the body as application/json, not compressed.",
        )


async def read_body(scope: Scope, receive: Receive, most: int) -> bytes:
    """The body of a request. Raises Problem 413 for more than `most` bytes, 415 for another type than JSON.

    Raises Problem 408 for a body that takes too long. Of a body that is too large nothing is kept, but it is
    read on to its end (within reason), because many clients look for an answer only then.
    """
    try:
        if _is_here(receive):
            body = await _within(most, scope, receive)
        else:
            async with asyncio.timeout(_MOST_BODY_S):
                body = await _within(most, scope, receive)
    except TimeoutError:
        raise Problem(
            408,
            "body_too_slow",
            "The body took too long",
            f"A body has to arrive within {_MOST_BODY_S} seconds.",
            headers={"connection": "close"},
        ) from None
    _check_type(scope)
    return body


def _is_here(receive: Receive) -> bool:
    """Whether uvicorn has the whole body already, so that nothing will be waited for; a timer costs more than reading."""
    return getattr(getattr(receive, "__self__", None), "more_body", True) is False


async def _within(most: int, scope: Scope, receive: Receive) -> bytes:
    announced = header(scope, b"content-length") or "0"
    too_large = not announced.isdigit() or int(announced) > most
    chunks: list[bytes] = []
    size = 0
    more = True
    while more and size <= _MOST_DRAINED:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientLeft
        chunk = message.get("body", b"")
        size += len(chunk)
        too_large = too_large or size > most
        if too_large:
            chunks.clear()
        else:
            chunks.append(chunk)
        more = message.get("more_body", False)
    if too_large:
        raise Problem(
            413,
            "body_too_large",
            "The body is too large",
            f"A body here may have up to {most} bytes.",
            headers={"connection": "close"},
        )
    return b"".join(chunks)


def parse_json(body: bytes) -> Any:
    """The value of a JSON text. Raises Problem 400.

    NaN and Infinity, which are no JSON but which many clients write, are read as what they mean, so that the
    error can point at them: no field takes them.
    """
    try:
        return _shallow(_decode(body), body)
    except (ValueError, RecursionError):  # UnicodeDecodeError among them, which msgspec's own errors are not
        if b"NaN" in body or b"Infinity" in body:
            try:
                return _shallow(json.loads(body), body)
            except (ValueError, RecursionError):
                pass  # broken in other ways too
    raise malformed()


def malformed() -> Problem:
    """What one is told whose body is no JSON."""
    return Problem(
        400,
        "malformed_json",
        "The body is no JSON",
        "The body must be one JSON text in UTF-8, not nested deeply.",
    )


def _shallow(value: Any, body: bytes) -> Any:
    """The value that a body told, if it is not nested deeply; what opens few brackets need not be walked."""
    if body.count(b"{") + body.count(b"[") > _MOST_DEPTH and _deeper(value, _MOST_DEPTH):
        raise Problem(
            400,
            "nested_too_deeply",
            "The body is nested too deeply",
            f"Objects and arrays here may stand in each other up to {_MOST_DEPTH} deep.",
        )
    return value


def _deeper(value: Any, most: int) -> bool:
    inside = list(value.values()) if type(value) is dict else value
    return type(inside) is list and (most == 0 or any(_deeper(item, most - 1) for item in inside))


def as_json(content: Any) -> Plain:
    """JSON whose bytes are made once and sent often."""
    return Plain(_encode(content), "application/json")


async def send_json(
    send: Send,
    status: int,
    content: Any,
    request_id: str,
    *,
    kind: bytes = b"application/json",
    headers: Mapping[str, str] | None = None,
    head: bool = False,
    close: bool = False,
) -> None:
    """Sends an answer, without its body for a HEAD request. One whose bytes are there goes out as it is.

    With `close` the connection ends with it.
    """
    if type(content) is Plain:
        body, kind = content.body, content.kind.encode()
        headers = {**content.headers, **(headers or {})}
    else:
        body = content.body if type(content) is Answered else _encode(content)
    lines = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request_id.encode()),
    ]
    if "cache-control" not in (headers or {}):
        lines.append((b"cache-control", b"no-store"))
    lines += [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    if close and "connection" not in (headers or {}):
        lines.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": lines, CHECKED: True})
    await send({"type": "http.response.body", "body": b"" if head else body})


async def send_problem(
    send: Send, problem: Problem, request_id: str, *, head: bool = False, close: bool = False
) -> None:
    """Sends a problem document."""
    await send_json(
        send,
        problem.status,
        problem.document(request_id),
        request_id,
        kind=b"application/problem+json",
        headers=problem.headers,
        head=head,
        close=close,
    )
