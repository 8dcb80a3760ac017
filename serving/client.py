"""A client for checkout: asks the service, and answers by the rules itself where the service does not.

>>> client = Payrescue("http://127.0.0.1:9", timeout_s=0.5)  # nobody listens there
>>> attempt = {"attempt_id": "a1", "payment_id": "p1", "created_at": "2026-01-05T09:30:00Z", "amount_minor": 38000,
...            "currency": "KRW", "country": "KR", "method": "card"}
>>> answer = client.score(attempt, evidence={"code_scheme": "iso8583", "response_code": "51"})
>>> answer["degraded"], answer["suggestion"]["action"]
(True, 'alternate_method')
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast
from uuid import uuid4

from serving.client_types import Answer, Conflict, Refused, Told, Unauthorized, Unavailable
from serving.connections import Connections, Reply

if TYPE_CHECKING:
    from models.engine import Engine
    from serving.requests import RequestReader

__all__ = ["Payrescue"]

Row = Mapping[str, Any]

_AGAIN = frozenset({429, 502, 503, 504})
_JITTER_S = 0.02
_LOCALLY_S = 0.005  # what answering by the rules may take
_REASONS: Mapping[int, type[Refused]] = {401: Unauthorized, 403: Unauthorized, 409: Conflict}


class Payrescue:
    """Asks a Payrescue service. One for all threads.

    `key` is an API key. `timeout_s` is what `score` may take in all, its one retry and its fallback included. `rules` is a
    CSV with your own limits, as the service has it (`payrescue serve --rules`). `rng` draws how long to wait before the retry.
    Looking up the host's name is the system's work, and not limited. Raises ValueError for an address that is no URL.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout_s: float = 0.25,
        rules: Path | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._connections = Connections(url)
        self._timeout_s = timeout_s
        self._rules = rules
        self._rng = rng or random.Random()  # noqa: S311  jitter
        self._headers = {"content-type": "application/json", "accept": "application/json"}
        if key is not None:
            self._headers["authorization"] = f"Bearer {key}"
        self._loading = threading.Lock()
        threading.Thread(
            target=lambda: self._local, name="payrescue", daemon=True
        ).start()  # so that it waits for no import

    def score(
        self,
        attempt: Row,
        *,
        evidence: Row | None = None,
        previous: Sequence[Row] = (),
        candidates: Sequence[Row] | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """What to do next: before an attempt or, with `evidence`, after it has failed. Times may be datetimes with a zone.

        Where the service does not answer in time, the rules answer, here, with `degraded` true. Raises Refused only where
        the request itself is at fault, or its key.
        """
        until = time.monotonic() + self._timeout_s
        asked = {"attempt": attempt, "evidence": evidence, "previous": previous, "candidates": candidates}
        body = _json({name: value for name, value in asked.items() if value is not None})
        request_id = request_id or uuid4().hex
        reply = self._ask("POST", "/v1/score", body, request_id, until - _LOCALLY_S, deadline=True)
        said = _object(reply)
        if reply is not None and reply.status == 200 and "suggestion" in said:
            return cast("Answer", said)
        if reply is not None and 400 <= reply.status < 500 and reply.status not in {*_AGAIN, 408} and "code" in said:
            _refuse(reply, request_id)
        return self._by_the_rules(body, request_id)  # also where something between answered in the service's place

    def outcomes(self, told: Row | Sequence[Row], *, timeout_s: float = 5.0, request_id: str | None = None) -> Told:
        """Tells what became of one attempt or many; when it returns, the service has them on disk.

        Raises Unavailable where nobody answered: tell them again later. Conflict for another outcome than before, Refused
        for what cannot be read.
        """
        request_id = request_id or uuid4().hex
        reply = self._ask("POST", "/v1/outcomes", _json(told), request_id, time.monotonic() + timeout_s)
        return cast("Told", _read(reply, request_id))

    def messages(self, locale: str) -> dict[str, str]:
        """Texts for the customer, by message_key; the ones that came with this client where the service does not answer.

        Raises Refused for a locale that has none.
        """
        request_id = uuid4().hex
        until = time.monotonic() + self._timeout_s
        reply = self._ask("GET", f"/v1/messages/{locale}", None, request_id, until)
        if reply is not None and reply.status not in _AGAIN and reply.status < 500:
            return cast("dict[str, str]", _read(reply, request_id)["messages"])
        from models.messages import locales, messages

        found = messages(locale)
        if found is None:
            raise Refused(404, "no_such_locale", f"There are texts in {', '.join(locales())}.", (), request_id)
        return dict(found[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections. It can be used again."""
        self._connections.close()

    def _ask(
        self, method: str, path: str, body: bytes | None, request_id: str, until: float, *, deadline: bool = False
    ) -> Reply | None:
        """The service's reply; the second, if the first says that it cannot. None where there was none in time."""
        reply = None
        for pause_s in (0.0, self._rng.uniform(0.0, _JITTER_S)):
            if reply is not None and reply.retry_after is not None:
                pause_s = max(pause_s, reply.retry_after)
            if time.monotonic() + pause_s >= until:
                break
            time.sleep(pause_s)
            headers = {**self._headers, "x-request-id": request_id}
            if deadline:
                headers["x-deadline-ms"] = str(max(int((until - time.monotonic()) * 1_000), 1))
            try:
                reply = self._connections.send(method, path, body, headers, until)
            except TimeoutError:
                return None
            except (OSError, HTTPException):
                reply = None
                continue
            if reply.status not in _AGAIN:
                break
        return reply

    def _by_the_rules(self, body: bytes, request_id: str) -> Answer:
        from features.errors import BadInput
        from serving.problems import invalid

        reader, engine = self._local
        try:
            request = reader.read(json.loads(body), now=time.time_ns() // 1_000)
        except BadInput as bad:
            told = invalid(bad)
            raise Refused(told.status, told.code, told.detail, told.errors, request_id) from None
        return cast("Answer", engine.score(request, request_id=request_id))

    @cached_property
    def _local(self) -> tuple[RequestReader, Engine]:
        """What answers in the service's place."""
        with self._loading:
            from models.engine import Engine
            from models.rules import read_rules
            from serving.requests import RequestReader

            return RequestReader(), Engine(None, rules=read_rules(self._rules) if self._rules is not None else None)


def _json(told: Any) -> bytes:
    return json.dumps(told, default=_told, ensure_ascii=False, separators=(",", ":")).encode()


def _told(value: Any) -> Any:
    """What JSON has no form for: times, and rows and lists of other kinds than Python's own."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def _object(reply: Reply | None) -> dict[str, Any]:
    """The object that a reply holds; an empty one where it holds something else."""
    try:
        told = json.loads(reply.body) if reply is not None else None
    except ValueError:
        told = None
    return told if isinstance(told, dict) else {}


def _read(reply: Reply | None, request_id: str) -> dict[str, Any]:
    told = _object(reply)
    if reply is None or reply.status in _AGAIN or reply.status >= 500 or (reply.status == 200 and not told):
        raise Unavailable("the service did not answer in time", request_id)
    if reply.status != 200:
        _refuse(reply, request_id)
    return told


def _refuse(reply: Reply, request_id: str) -> NoReturn:
    """Raises what a reply says is wrong; of what is not the service's (a proxy's page, say) only the status is told."""
    told = _object(reply)
    code, detail = str(told.get("code", "refused")), str(told.get("detail", "Refused, but not by the service."))
    raise _REASONS.get(reply.status, Refused)(reply.status, code, detail, told.get("errors", ()), request_id)
