"""The BentoML service. `bentoml serve` in the repository's root finds it; `payrescue serve` starts it too.

Our own ASGI application stands before all of BentoML's routes, so that every answer, errors and probes among
them, is ours: BentoML's own errors come in three forms, and one of them repeats what was sent.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

import bentoml

from models.fees import read_fees
from models.rules import read_rules
from models.value import Worth
from serving.app import App
from serving.loading import load, locate
from serving.requests import RequestReader
from serving.settings import NO_MODEL, ServiceSettings
from serving.transport import Receive, Scope, Send

__all__ = ["Front", "Payrescue"]

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_SETTINGS = ServiceSettings.from_environment(os.environ)


class Front:
    """ASGI middleware that answers every HTTP request itself; what else comes goes on to BentoML.

    The model is loaded as the server starts, before the first request is read. From then on it stands before all of
    BentoML's own middleware, whose tracing alone would take a fifth of a millisecond of each request.
    """

    def __init__(self, app: Application) -> None:
        self._bentoml = app
        self._app: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the server's start and end."""
        if scope["type"] == "http" and self._app is not None:
            await self._app(scope, receive, send)
            return
        if scope["type"] == "lifespan":
            self._app = _load()
            self._go_first(scope["app"], self._app)
            _leave_slowly(self._app, _SETTINGS.drain_s)
        await self._bentoml(scope, receive, send)

    def _go_first(self, starlette: Any, ours: App) -> None:
        behind: Application = starlette.middleware_stack

        async def first(scope: Scope, receive: Receive, send: Send) -> None:
            await (ours if scope["type"] == "http" else behind)(scope, receive, send)

        starlette.middleware_stack = first


def _leave_slowly(app: App, drain_s: float) -> None:
    """On SIGTERM, say so first: `/readyz` fails for a while before the server closes its door, for balancers to hear of it.

    BentoML's server closes it at once, and what was on its way is lost.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # a test's server; signals are for the main thread
    loop, at_once = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

    def leave(number: int, frame: FrameType | None) -> None:
        if app.draining or not callable(at_once):
            return
        app.draining = True
        loop.call_soon_threadsafe(loop.call_later, drain_s, at_once, number, frame)

    signal.signal(signal.SIGTERM, leave)


def _load() -> App:
    settings = ServiceSettings.from_environment(os.environ)
    # Rules that cannot be used stop the service: falling back on others would break the merchant's unseen
    rules = read_rules(Path(settings.rules)) if settings.rules is not None else None
    worth = Worth(read_fees(Path(settings.fees))) if settings.fees is not None else None
    served = load(locate(settings, os.environ), rules, worth)
    app = App(served.engine, settings, reader=RequestReader(served.extra), card=served.card)
    gc.collect()
    gc.freeze()  # a full collection of what is loaded would stop the service for tens of milliseconds
    return app


def _locate_once() -> None:
    """Finds the model before the workers start, so that all of them load the same one."""
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"  # a payment service tells nobody that it runs
    located = locate(ServiceSettings.from_environment(os.environ), os.environ)
    os.environ["PAYRESCUE_MODEL"] = str(located.folder.resolve()) if located is not None else NO_MODEL
    os.environ["PAYRESCUE_MODEL_VERSION"] = (located.version or "") if located is not None else ""


class _Payrescue:
    """Knows why payments fail, before and after, and tells checkout what to do next."""

    locate_once: ClassVar[Any] = bentoml.on_deployment(_locate_once)


Payrescue: Any = bentoml.service(
    name="payrescue",
    workers=_SETTINGS.workers,
    http={"host": _SETTINGS.host, "port": _SETTINGS.port},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    envs=[{"name": "OTEL_SDK_DISABLED", "value": "true"}],
)(_Payrescue)
Payrescue.add_asgi_middleware(Front)
