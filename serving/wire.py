"""What uvicorn refuses before it asks any application, said as we say it: problem documents, and a limit for the head.

uvicorn answers a request that is no HTTP with a line of plain text, leaves WebSocket handshakes to a library with words of
its own, and lets a head grow without end; none of it can be set from where BentoML starts it. So some methods of its
protocols are replaced, once, when a worker starts. And it writes head and body of an answer by two calls, by which the client
is woken twice; ASGI has a server wait with the head for the body, and ours then go out together.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any
from uuid import uuid4

from serving.problems import Problem
from serving.transport import CHECKED, as_json

__all__ = ["MOST_HEAD_BYTES", "speak_for_uvicorn"]

MOST_HEAD_BYTES = 64 * 1024
"""Most bytes of a request line and its headers, give or take one read from the socket."""

_REASONS = {400: "Bad Request", 431: "Request Header Fields Too Large"}


def _malformed() -> Problem:
    return Problem(400, "malformed_http", "The request is no HTTP", "What came cannot be read as an HTTP/1.1 request.")


def _too_long() -> Problem:
    detail = f"The request line and the headers together may have up to {MOST_HEAD_BYTES} bytes."
    return Problem(431, "headers_too_large", "The headers are too large", detail)


def _written(problem: Problem) -> bytes:
    """A whole answer, as it goes over the wire."""
    request_id = uuid4().hex
    body = as_json(problem.document(request_id)).body
    head = (
        f"HTTP/1.1 {problem.status} {_REASONS[problem.status]}\r\n"
        "content-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\n"
        "cache-control: no-store\r\n"
        f"x-request-id: {request_id}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + body


def speak_for_uvicorn() -> None:
    """Makes uvicorn's HTTP protocols refuse in our words. What is not there to be replaced stays as it is."""
    from uvicorn.protocols.http import h11_impl, httptools_impl

    for protocol in (httptools_impl.HttpToolsProtocol, h11_impl.H11Protocol):
        protocol.send_400_response = _refuse  # type: ignore[method-assign]
        protocol._should_upgrade = _never  # type: ignore[method-assign]
        protocol._unsupported_upgrade_warning = _unsaid  # type: ignore[method-assign]
        _leave_access_log(protocol)
    _limit_head(httptools_impl.HttpToolsProtocol)  # h11 has a limit of its own
    _join_answers(httptools_impl.RequestResponseCycle, httptools_impl.STATUS_LINE)


def _refuse(self: Any, msg: str) -> None:  # noqa: ARG001  uvicorn's signature
    self.transport.write(_written(_malformed()))
    self.transport.close()


def _never(self: Any) -> bool:  # noqa: ARG001  uvicorn's signature
    """There is no WebSocket here: who asks for one is answered as if they had not."""
    return False


def _unsaid(self: Any) -> None:
    """uvicorn would log a line for each request with an Upgrade header."""


def _leave_access_log(protocol: Any) -> None:
    """Its lines of access are ours to write.

    BentoML has a handler for whatever is logged, so that uvicorn would make each line, to be thrown away, and would not leave
    an answer to us.
    """
    made = protocol.connection_made
    if getattr(made, "leaves", False):
        return

    def connection_made(self: Any, transport: Any) -> None:
        self.access_log = False
        made(self, transport)

    connection_made.leaves = True  # type: ignore[attr-defined]
    protocol.connection_made = connection_made


def _limit_head(protocol: Any) -> None:
    begin, complete, receive = protocol.on_message_begin, protocol.on_headers_complete, protocol.data_received
    if getattr(receive, "limited", False):
        return

    def on_message_begin(self: Any) -> None:
        self.head_bytes = 0
        begin(self)

    def on_headers_complete(self: Any) -> None:
        self.head_bytes = None
        complete(self)

    def data_received(self: Any, data: bytes) -> None:
        if getattr(self, "head_bytes", None) is not None:
            self.head_bytes += len(data)
            if self.head_bytes > MOST_HEAD_BYTES:
                self.transport.write(_written(_too_long()))
                self.transport.close()
                return
        receive(self, data)

    data_received.limited = True  # type: ignore[attr-defined]
    protocol.on_message_begin = on_message_begin
    protocol.on_headers_complete = on_headers_complete
    protocol.data_received = data_received


def _join_answers(cycle: Any, status_line: Mapping[int, bytes]) -> None:
    theirs = cycle.send
    if getattr(theirs, "joins", False):
        return

    async def send(self: Any, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start" and message.get(CHECKED) and not self.response_started:
            self.head = message  # nothing goes out before the body is there
            return
        head = self.__dict__.pop("head", None)
        if head is None:
            await theirs(self, message)
        elif _is_plain(self, head, message):
            lines = [status_line[head["status"]]]
            for name, value in (*self.default_headers, *head["headers"]):
                lines += (name, b": ", value, b"\r\n")
            lines += (b"\r\n", message["body"])
            self.response_started = self.response_complete = True
            self.transport.write(b"".join(lines))
            self.message_event.set()
            self.on_response()
        else:
            await theirs(self, head)
            await theirs(self, message)

    send.joins = True  # type: ignore[attr-defined]
    cycle.send = send


def _is_plain(cycle: Any, head: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether there is nothing to an answer but to write it: the connection is open, stays open, and takes bytes."""
    return not (
        cycle.disconnected
        or cycle.flow.write_paused
        or cycle.waiting_for_100_continue
        or cycle.access_log
        or not cycle.keep_alive
        or cycle.scope["method"] == "HEAD"
        or body.get("more_body", False)
        or any(name == b"connection" for name, _ in head["headers"])
    )
