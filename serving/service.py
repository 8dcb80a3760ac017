"""The BentoML service. `bentoml serve` in the repository's root finds it; `payrescue serve` starts it too.

Our own ASGI application stands before all of BentoML's routes, so that every answer, errors and probes among
them, is ours: BentoML's own errors come in three forms, and one of them repeats what was sent.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, ClassVar

import bentoml

from models.fees import read_fees
from models.rules import read_rules
from models.value import Worth
from serving.app import App
from serving.loading import load, locate
from serving.log import DecisionLog
from serving.outcomes import OutcomeReader
from serving.requests import RequestReader
from serving.settings import NO_LOG, NO_MODEL, ServiceSettings
from serving.transport import Receive, Scope, Send

__all__ = ["Front", "Payrescue"]

_SETTINGS = ServiceSettings.from_environment(os.environ)


class Front:
    """ASGI middleware that answers every HTTP request itself; what else comes goes on to BentoML.

    The model is loaded as the server starts, before the first request is read.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._bentoml = app
        self._app: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the server's start and end."""
        if scope["type"] == "http" and self._app is not None:
            await self._app(scope, receive, send)
            return
        if scope["type"] == "lifespan":
            self._app = _load()
            send = _closing(self._app, send)
        await self._bentoml(scope, receive, send)


def _closing(app: App, send: Send) -> Send:
    """Sends on, but closes the application before the server hears that all is done: it waits for nothing after that."""

    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"].startswith("lifespan.shutdown"):
            await asyncio.to_thread(app.close)
        await send(message)

    return sent


def _load() -> App:
    settings = ServiceSettings.from_environment(os.environ)
    # Rules that cannot be used stop the service: falling back on others would break the merchant's unseen
    rules = read_rules(Path(settings.rules)) if settings.rules is not None else None
    worth = Worth(read_fees(Path(settings.fees))) if settings.fees is not None else None
    served = load(locate(settings, os.environ), rules, worth)
    app = App(
        served.engine,
        settings,
        reader=RequestReader(served.extra),
        card=served.card,
        log=DecisionLog(settings.log) if settings.log != NO_LOG else None,
        outcomes=OutcomeReader(served.extra),
    )
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
