"""The service as one ASGI application: its routes, and one form of error for whatever comes in."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from features.columns import Column
from features.errors import BadInput
from models.engine import Engine
from models.messages import locales, messages
from serving.access_log import AccessLog, Entry
from serving.batch_route import BatchRoute
from serving.doors import Doors
from serving.gate import Gate
from serving.insight_pages import INDEX, InsightPages
from serving.lineup import Fixed, Models, iso
from serving.loading import Served
from serving.log import DecisionLog
from serving.log_records import Heard
from serving.metric_places import SHADOWS
from serving.metrics import TEXT_FORMAT, Meters
from serving.openapi import bentoml_schema, document
from serving.outcome_route import OutcomeRoute
from serving.outcomes import OutcomeReader
from serving.problems import Problem, invalid
from serving.readers import Readers
from serving.scoring import Scoring, Timing
from serving.settings import ServiceSettings
from serving.shadow import OnShadow
from serving.standing import Standing
from serving.state import OnlineState
from serving.transport import (
    Answered,
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

_SCORE = "/v1/score"


class Call(msgspec.Struct, frozen=True, gc=False):
    """One HTTP request, as a route sees it."""

    scope: Scope
    receive: Receive
    request_id: str
    started: float  # of time.perf_counter
    rest: str  # of the path, after the route's own


Route = Callable[[Call], Awaitable[Any]]


class App:
    """Answers HTTP by an engine, or by `models`, of which each request sees one from its start to its end.

    `card` is the model card; None without a model. `clock` tells microseconds since 1970, UTC. `state` is what outcomes have
    told since the engine's model learnt; `log` keeps decisions and outcomes; `on_shadow` takes what challengers in shadow
    would have answered, the log if not given. `doors` says who may come in, `meters` counts, `access_log` writes a line for
    each request. What is None is not done.
    """

    def __init__(
        self,
        engine: Engine,
        settings: ServiceSettings | None = None,
        *,
        card: Mapping[str, Any] | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
        models: Models | None = None,
        state: OnlineState | None = None,
        log: DecisionLog | None = None,
        on_shadow: OnShadow | None = None,
        doors: Doors | None = None,
        meters: Meters | None = None,
        access_log: AccessLog | None = None,
    ) -> None:
        self._models: Models = models or Fixed(Served(engine, card, state=state))
        self._settings = settings or ServiceSettings()
        self._readers = Readers()
        self._clock = clock
        self._log, self._doors, self._meters, self._access_log = log, doors, meters, access_log
        self._requests = 0  # being answered now
        self._scoring = Scoring(
            self._models, log=log, meters=meters, on_shadow=on_shadow, busy=lambda: self._requests > 0
        )
        self._outcomes = OutcomeRoute(log, self._outcome_reader, clock, self._heard)
        self.standing = Standing(self._models, log)
        """What the service stands on beside itself, and what of it is down."""
        if meters is not None:
            shadows = {result: partial(self._scoring.shadowed, result) for result in SHADOWS}
            meters.hook(shadows=shadows, state_behind=self.standing.behind, reachable=self.standing.parts())
        self._insights = InsightPages(Path(self._settings.insights) if self._settings.insights is not None else None)
        self._documents: tuple[Sequence[Column], Plain, Plain] | None = None
        self.gate = Gate(self._settings.most_waiting)
        self._batches = BatchRoute(self._scoring, self.gate, clock, most=self._settings.most_batch)
        self.draining = False
        """Whether the service is about to leave: it says so at `/readyz`, and asks clients to come back elsewhere."""
        self._routes: dict[str, tuple[str, Route]] = {
            _SCORE: ("POST", self._score),
            "/v1/score/batch": ("POST", self._score_batch),
            "/v1/outcomes": ("POST", self._told),
            "/v1/model": ("GET", self._model),
            "/v1/messages/": ("GET", self._messages),
            "/insights": ("GET", self._insights_begin),
            "/insights/": ("GET", self._insights_page),
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
        self._requests += 1
        try:
            if self.gate.full and scope["path"] == _SCORE and scope["method"] == "POST":
                await self._turn_away(scope, send)
            else:
                await self._answer(scope, receive, send)
        finally:
            self._requests -= 1

    async def _turn_away(self, scope: Scope, send: Send) -> None:
        """Of a crowd most are turned away, and those who are let in wait for what that takes: only the key is looked at."""
        started, request_id, problem = time.perf_counter(), request_id_of(scope), self.gate.refusal()
        if self._doors is not None:
            try:
                self._doors.check_key(scope, _SCORE)
            except Problem as told:
                problem = told
        await send_problem(send, problem, request_id, close=self.draining)
        self._note(scope, request_id, started, _SCORE, None, problem)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
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
            await send_problem(send, problem, request_id, head=head, close=self.draining)
        else:
            try:
                await send_json(send, 200, content, request_id, head=head, close=self.draining)
            finally:
                if type(content) is Answered:
                    content.afterwards()  # nobody waits for it
        self._note(scope, request_id, started, name, content, problem)

    def _note(
        self, scope: Scope, request_id: str, started: float, name: str, content: Any, problem: Problem | None
    ) -> None:
        """Counts a request that was answered, and writes its line."""
        seconds = time.perf_counter() - started
        status = problem.status if problem is not None else 200
        if self._meters is not None:
            self._meters.answered(name, status, seconds)
            if problem is not None and status >= 400:
                self._meters.problem(problem.code)
                if problem.code == "overloaded":
                    self._meters.shed()
        if self._access_log is not None:
            answer = content.told if type(content) is Answered else None
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

    def _find(self, scope: Scope) -> tuple[str, Route, str]:
        path = scope["path"] if scope["path"] != "/insights/" else "/insights"
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
        deadline_s = self._deadline(call)
        body = await read_body(call.scope, call.receive, self._settings.most_body_bytes)
        since = await self.gate.enter()
        try:
            now, lineup = self._clock(), self._scoring.lineup()
            reader = self._readers.requests(lineup.extra)
            request = reader.read_plain(body, now=now)
            if request is None:
                try:
                    request = reader.read(parse_json(body), now=now)
                except BadInput as bad:
                    raise invalid(bad) from None
            timing = Timing(now, min(since, call.started), deadline_s)
            return await self._scoring.answer(lineup, request, call.request_id, timing)
        finally:
            self.gate.leave()

    async def _score_batch(self, call: Call) -> Any:
        deadline_s = self._deadline(call, endless=True)
        body = await read_body(call.scope, call.receive, self._settings.most_batch_bytes)
        lineup = self._scoring.lineup()
        reader = self._readers.requests(lineup.extra)
        return await self._batches.answer(reader, lineup, body, call.request_id, call.started, deadline_s)

    def _deadline(self, call: Call, *, endless: bool = False) -> float:
        """Seconds that a request has: by its `X-Deadline-Ms`, else by the settings, or as long as it takes."""
        text = header(call.scope, b"x-deadline-ms")
        if text is None:
            return float("inf") if endless else self._settings.deadline_ms / 1_000
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise Problem(
                400,
                "invalid_header",
                "A header is not valid",
                "X-Deadline-Ms wants a whole number of milliseconds.",
            )
        return int(text) / 1_000

    async def _told(self, call: Call) -> Any:
        body = await read_body(call.scope, call.receive, self._settings.most_batch_bytes)
        return {"request_id": call.request_id, **await self._outcomes.told_by(body)}

    def _heard(self, heard: Sequence[Heard]) -> None:
        """Outcomes are in the log: those that keep up with it are told, and what was predicted is held against them."""
        for state in self._models.lineup().states():
            state.nudge()
        if self._meters is not None:
            for one in heard:
                self._meters.observe_outcome(one.p_success, one.succeeded, one.delay_us / 1e6)

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

    async def _insights_begin(self, call: Call) -> Any:
        location = INDEX if call.scope["path"].endswith("/") else f"insights/{INDEX}"
        raise Problem(307, "moved", "The pages begin elsewhere", f"See {INDEX}.", headers={"location": location})

    async def _insights_page(self, call: Call) -> Any:
        return await self._insights.read(call.rest)

    async def _metrics(self, call: Call) -> Any:  # noqa: ARG002  every route takes the call
        if self._meters is None:
            raise Problem(404, "not_found", "Nothing is counted here", "This service keeps no metrics.")
        return Plain(await asyncio.to_thread(self._meters.text), TEXT_FORMAT)

    async def _openapi(self, call: Call) -> Any:  # noqa: ARG002  every route takes the call
        return (await asyncio.to_thread(self._described))[1]

    async def _bentoml_schema(self, call: Call) -> Any:  # noqa: ARG002  every route takes the call
        return (await asyncio.to_thread(self._described))[2]

    def _described(self) -> tuple[Sequence[Column], Plain, Plain]:
        """The own columns that it speaks of, the OpenAPI document, and BentoML's description; made in some tenths of a second."""
        extra, made = self._models.lineup().extra, self._documents
        if made is None or made[0] != extra:
            keyed = self._doors is not None and self._doors.keyed
            told = document(self._settings, self._routes, extra, keys=keyed)
            made = self._documents = extra, as_json(told), as_json(bentoml_schema(told))
        return made

    def _outcome_reader(self) -> OutcomeReader:
        """What reads outcomes now."""
        return self._readers.outcomes(self._models.lineup().extra)

    async def _alive(self, call: Call) -> Any:  # noqa: ARG002  every route takes the call
        return {"status": "alive"}

    async def _ready(self, call: Call) -> Any:  # noqa: ARG002  every route takes the call
        if self.draining:
            raise Problem(503, "draining", "Leaving", "This server finishes what it has begun, and takes no more.")
        served = self._models.lineup().champion
        return {
            "status": "ready",
            "version": served.engine.version,
            "degraded": served.engine.predictor is None,
            "since": iso(served.since),
            "down": self.standing.down(),
            "log": "none" if self._log is None else "ready" if self._log.available else "unavailable",
            "state": "none" if served.state is None else "behind" if served.state.failing else "following",
            **self._models.status(),
        }

    def close(self) -> None:
        """Write what the log has still to write, and end what runs beside the requests. It blocks, for seconds at most.

        Whatever goes wrong on the way, the log is closed.
        """
        with ExitStack() as last:  # the other way round
            if self._access_log is not None:
                last.callback(self._access_log.stop)
            if self._log is not None:
                last.callback(self._log.close)
            last.callback(self._models.close)
            self._scoring.close()


def _not_found() -> Problem:
    return Problem(404, "not_found", "Nothing is here", "No such address: see the contract for those there are.")


def _failed() -> Problem:
    return Problem(
        500,
        "internal_error",
        "The service failed",
        "The fault is ours: look for request_id in the service's log.",
    )
