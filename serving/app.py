"""The service as one ASGI application: its routes, and one form of error for whatever comes in."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from features.errors import BadInput
from models.engine import Engine
from models.messages import locales, messages
from serving.access_log import AccessLog, Entry
from serving.doors import Doors
from serving.metrics import TEXT_FORMAT, Meters
from serving.openapi import bentoml_schema, document
from serving.problems import Problem, invalid
from serving.requests import RequestReader
from serving.settings import ServiceSettings
from serving.transport import (
    ClientLeft,
    Plain,
    Receive,
    Scope,
    Send,
    as_json,
    header,
    parse_json,
    read_body,
    request_id_of,
    send_json,
    send_problem,
)

__all__ = ["App", "Call"]

_log = logging.getLogger("bentoml.payrescue")  # BentoML's logger is the one that its server shows

_BATCH_BREATH = 16  # requests of a batch between two looks at other clients


@dataclass(frozen=True)
class Call:
    """One HTTP request, as a route sees it."""

    scope: Scope
    receive: Receive
    request_id: str
    started: float  # of time.perf_counter
    rest: str  # of the path, after the route's own


Route = Callable[[Call], Awaitable[Any]]


class App:
    """Answers HTTP by an engine.

    `card` is the model card; None without a model. `clock` tells microseconds since 1970, UTC. `doors` says who may come
    in, `meters` counts, `access_log` writes a line for each request: None of them, none of that.
    """

    def __init__(
        self,
        engine: Engine,
        settings: ServiceSettings | None = None,
        *,
        reader: RequestReader | None = None,
        card: Mapping[str, Any] | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
        doors: Doors | None = None,
        meters: Meters | None = None,
        access_log: AccessLog | None = None,
    ) -> None:
        self._engine = engine
        self._settings = settings or ServiceSettings()
        self._reader = reader or RequestReader()
        self._card = card
        self._clock = clock
        self._doors = doors
        self._meters = meters
        self._access_log = access_log
        self._documents: tuple[Plain, Plain] | None = None
        self._routes: dict[str, tuple[str, Route]] = {
            "/v1/score": ("POST", self._score),
            "/v1/score/batch": ("POST", self._score_batch),
            "/v1/model": ("GET", self._model),
            "/v1/messages/": ("GET", self._messages),
            "/livez": ("GET", self._alive),
            "/healthz": ("GET", self._alive),
            "/readyz": ("GET", self._ready),
            "/metrics": ("GET", self._metrics),
            "/openapi.json": ("GET", self._openapi),
            "/docs.json": ("GET", self._openapi),
            "/schema.json": ("GET", self._bentoml_schema),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Whatever goes wrong, the answer is a problem document."""
        started = time.perf_counter()
        request_id = request_id_of(scope)
        head = scope["method"] == "HEAD"
        name, content, problem = "other", None, None
        try:
            name, route, rest = self._find(scope)
            if self._doors is not None:
                self._doors.admit(scope, name)
            content = await route(Call(scope, receive, request_id, started, rest))
        except Problem as told:
            problem = told
        except ClientLeft:
            return
        except Exception as error:
            # Neither the error's text nor its traceback is logged: both may hold values of the request.
            _log.error("request %s failed: %s", request_id, type(error).__name__)
            problem = _failed()
        if problem is not None:
            await send_problem(send, problem, request_id, head=head)
        else:
            await send_json(send, 200, content, request_id, head=head)
        self._note(scope, request_id, started, name, content, problem)

    def _note(
        self, scope: Scope, request_id: str, started: float, name: str, content: Any, problem: Problem | None
    ) -> None:
        """Counts a request that was answered, and writes its line."""
        seconds = time.perf_counter() - started
        status = problem.status if problem is not None else 200
        if self._meters is not None:
            self._meters.answered(name, status, seconds)
            if problem is not None:
                self._meters.problem(problem.code)
        if self._access_log is not None:
            answer = content if name == "/v1/score" and problem is None else None
            self._access_log.note(
                Entry(
                    time.time(),
                    request_id,
                    scope["method"],
                    name,
                    status,
                    seconds * 1_000,
                    problem.code if problem is not None else None,
                    answer["degraded"] if answer is not None else None,
                    answer["suggestion"]["action"] if answer is not None else None,
                )
            )

    def _scored(self, answer: dict[str, Any], *, late: bool) -> dict[str, Any]:
        """The answer, once it is counted."""
        if self._meters is not None:
            self._meters.suggested(answer["suggestion"]["action"])
            if answer["degraded"]:
                without = self._engine.predictor is None
                self._meters.degraded("no_model" if without else "deadline" if late else "error")
        return answer

    def _find(self, scope: Scope) -> tuple[str, Route, str]:
        path = scope["path"]
        parent, _, rest = path.rpartition("/")
        name = path
        found = self._routes.get(path) if not path.endswith("/") else None
        if found is not None:
            rest = ""
        elif rest:
            name = f"{parent}/"
            found = self._routes.get(name)
        if found is None:
            raise _not_found()
        method, route = found
        if scope["method"] != method and (scope["method"], method) != ("HEAD", "GET"):
            allow = "GET, HEAD" if method == "GET" else method
            raise Problem(
                405,
                "method_not_allowed",
                "Another method is wanted",
                f"This address takes {allow}.",
                headers={"allow": allow},
            )
        return name, route, rest

    async def _score(self, call: Call) -> Any:
        deadline = _deadline(call)
        raw = parse_json(await read_body(call.scope, call.receive, self._settings.most_body_bytes))
        try:
            request = self._reader.read(raw, now=self._clock())
        except BadInput as bad:
            raise invalid(bad) from None
        late = time.perf_counter() - call.started > deadline
        return self._scored(self._engine.score(request, request_id=call.request_id, rules_only=late), late=late)

    async def _score_batch(self, call: Call) -> Any:
        deadline = _deadline(call)
        raw = parse_json(await read_body(call.scope, call.receive, self._settings.most_batch_bytes))
        try:
            requests = self._reader.read_batch(raw, now=self._clock(), most=self._settings.most_batch)
        except BadInput as bad:
            raise invalid(bad) from None
        answers = []
        for i, request in enumerate(requests):
            if i % _BATCH_BREATH == 0:
                await asyncio.sleep(0)
            late = time.perf_counter() - call.started > deadline
            answer = self._engine.score(request, request_id=f"{call.request_id}.{i}", rules_only=late)
            answers.append(self._scored(answer, late=late))
        return answers

    async def _messages(self, call: Call) -> Any:
        found = messages(call.rest)
        if found is None:
            raise Problem(
                404,
                "no_such_locale",
                "No texts in this language",
                f"There are texts in {', '.join(locales())}.",
            )
        locale, texts = found
        return {"locale": locale, "messages": texts}

    async def _model(self, call: Call) -> Any:  # noqa: ARG002  every route takes the call
        predictor = self._engine.predictor
        return {
            "name": "payrescue",
            "version": self._engine.version,
            "features": predictor.fingerprint if predictor is not None else None,
            "degraded": predictor is None,
            "card": self._card,
        }

    async def _metrics(self, call: Call) -> Any:  # noqa: ARG002  every route takes the call
        if self._meters is None:
            raise Problem(404, "not_found", "Nothing is counted here", "This service keeps no metrics.")
        return Plain(await asyncio.to_thread(self._meters.text), TEXT_FORMAT)

    async def _openapi(self, call: Call) -> Any:  # noqa: ARG002  every route takes the call
        return (await asyncio.to_thread(self._described))[0]

    async def _bentoml_schema(self, call: Call) -> Any:  # noqa: ARG002  every route takes the call
        return (await asyncio.to_thread(self._described))[1]

    def _described(self) -> tuple[Plain, Plain]:
        """The OpenAPI document, and BentoML's description; made once, in some tenths of a second."""
        if self._documents is None:
            keyed = self._doors is not None and self._doors.keyed
            made = document(self._settings, self._routes, self._reader.extra, keys=keyed)
            self._documents = as_json(made), as_json(bentoml_schema(made))
        return self._documents

    async def _alive(self, call: Call) -> Any:  # noqa: ARG002  every route takes the call
        return {"status": "alive"}

    async def _ready(self, call: Call) -> Any:  # noqa: ARG002  every route takes the call
        return {
            "status": "ready",
            "version": self._engine.version,
            "degraded": self._engine.predictor is None,
        }


def _not_found() -> Problem:
    return Problem(404, "not_found", "Nothing is here", "No such address: see the contract for those there are.")


def _failed() -> Problem:
    return Problem(
        500,
        "internal_error",
        "The service failed",
        "The fault is ours: look for request_id in the service's log.",
    )


def _deadline(call: Call) -> float:
    """Seconds that the client gives us, by `X-Deadline-Ms`; endless where it does not say."""
    text = header(call.scope, b"x-deadline-ms")
    if text is None:
        return float("inf")
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise Problem(
            400,
            "invalid_header",
            "A header is not valid",
            "X-Deadline-Ms wants a whole number of milliseconds.",
        )
    return int(text) / 1_000
