"""The service as one ASGI application: its routes, and one form of error for whatever comes in."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from features.errors import BadInput
from models.engine import Engine, ScoreRequest
from models.messages import locales, messages
from serving.lineup import Fixed, Lineup, Models, iso
from serving.loading import Served
from serving.problems import Problem, invalid
from serving.requests import RequestReader
from serving.settings import ServiceSettings
from serving.shadow import OnShadow, Shadows
from serving.transport import (
    ClientLeft,
    Receive,
    Scope,
    Send,
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
    """Answers HTTP by an engine, or by `models`, of which each request sees one from its start to its end.

    `card` is the model card; None without a model. `clock` tells microseconds since 1970, UTC. `on_shadow` takes what
    challengers in shadow would have answered (`serving/shadow.py`).
    """

    def __init__(
        self,
        engine: Engine,
        settings: ServiceSettings | None = None,
        *,
        reader: RequestReader | None = None,
        card: Mapping[str, Any] | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
        models: Models | None = None,
        on_shadow: OnShadow | None = None,
    ) -> None:
        self._models: Models = models or Fixed(Served(engine, card))
        self._requests = 0  # being answered now
        self._shadows = Shadows(on_shadow, self._is_busy) if on_shadow is not None else None
        self._settings = settings or ServiceSettings()
        self._reader = reader or RequestReader()
        self._clock = clock
        self._routes: dict[str, tuple[str, Route]] = {
            "/v1/score": ("POST", self._score),
            "/v1/score/batch": ("POST", self._score_batch),
            "/v1/model": ("GET", self._model),
            "/v1/messages/": ("GET", self._messages),
            "/livez": ("GET", self._alive),
            "/healthz": ("GET", self._alive),
            "/readyz": ("GET", self._ready),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Whatever goes wrong, the answer is a problem document."""
        started = time.perf_counter()
        request_id = request_id_of(scope)
        head = scope["method"] == "HEAD"
        self._requests += 1
        try:
            await self._answer(scope, receive, send, started, request_id, head)
        finally:
            self._requests -= 1

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, started: float, request_id: str, head: bool
    ) -> None:
        try:
            route, rest = self._find(scope)
            content = await route(Call(scope, receive, request_id, started, rest))
        except Problem as problem:
            await send_problem(send, problem, request_id, head=head)
        except ClientLeft:
            return
        except Exception as error:
            # Neither the error's text nor its traceback is logged: both may hold values of the request.
            _log.error("request %s failed: %s", request_id, type(error).__name__)
            await send_problem(send, _failed(), request_id, head=head)
        else:
            await send_json(send, 200, content, request_id, head=head)

    def _find(self, scope: Scope) -> tuple[Route, str]:
        path = scope["path"]
        parent, _, rest = path.rpartition("/")
        found = self._routes.get(path) if not path.endswith("/") else None
        if found is not None:
            rest = ""
        elif rest:
            found = self._routes.get(f"{parent}/")
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
        return route, rest

    async def _score(self, call: Call) -> Any:
        deadline = _deadline(call)
        raw = parse_json(await read_body(call.scope, call.receive, self._settings.most_body_bytes))
        try:
            request = self._reader.read(raw, now=self._clock())
        except BadInput as bad:
            raise invalid(bad) from None
        return self._scored(self._models.lineup(), request, call, deadline, call.request_id)

    def _scored(
        self, lineup: Lineup, request: ScoreRequest, call: Call, deadline: float, request_id: str
    ) -> dict[str, Any]:
        """One answer, by whoever answers this payment; challengers in shadow are asked once nothing else is to be done."""
        served, experiment, variant = lineup.for_payment(request.attempt["payment_id"])
        late = time.perf_counter() - call.started > deadline
        answer = served.engine.score(request, request_id=request_id, rules_only=late)
        answer["policy"]["experiment"], answer["policy"]["variant"] = experiment, variant
        if self._shadows is not None:
            self._shadows.offer(lineup, request, answer)
        return answer

    def _is_busy(self) -> bool:
        return self._requests > 0

    async def _score_batch(self, call: Call) -> Any:
        deadline = _deadline(call)
        raw = parse_json(await read_body(call.scope, call.receive, self._settings.most_batch_bytes))
        try:
            requests = self._reader.read_batch(raw, now=self._clock(), most=self._settings.most_batch)
        except BadInput as bad:
            raise invalid(bad) from None
        answers, lineup = [], self._models.lineup()
        for i, request in enumerate(requests):
            if i % _BATCH_BREATH == 0:
                await asyncio.sleep(0)
            answers.append(self._scored(lineup, request, call, deadline, f"{call.request_id}.{i}"))
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
        lineup = self._models.lineup()
        served, previous = lineup.champion, lineup.previous
        predictor = served.engine.predictor
        return {
            "name": "payrescue",
            "version": served.engine.version,
            "features": predictor.fingerprint if predictor is not None else None,
            "degraded": predictor is None,
            "card": served.card,
            "since": iso(served.since),
            "previous": {"version": previous.engine.version, "since": iso(previous.since)}
            if previous is not None
            else None,
            **self._models.status(),
        }

    async def _alive(self, call: Call) -> Any:  # noqa: ARG002  every route takes the call
        return {"status": "alive"}

    async def _ready(self, call: Call) -> Any:  # noqa: ARG002  every route takes the call
        served = self._models.lineup().champion
        return {
            "status": "ready",
            "version": served.engine.version,
            "degraded": served.engine.predictor is None,
            "since": iso(served.since),
            **self._models.status(),
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
