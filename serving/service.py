"""The BentoML service. `bentoml serve` in the repository's root finds it; `payrescue serve` starts it too.

Our own ASGI application stands before all of BentoML's routes, so that every answer, errors and probes among
them, is ours: BentoML's own errors come in three forms, and one of them repeats what was sent.
"""

from __future__ import annotations

import atexit
import gc
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import bentoml

from models.fees import read_fees
from models.rules import read_rules
from models.value import Worth
from serving.app import App
from serving.follow import Follower
from serving.keeper import Keeper, watched
from serving.loading import load, locate
from serving.requests import RequestReader
from serving.settings import NO_MODEL, ServiceSettings
from serving.swap import Swap
from serving.transport import Receive, Scope, Send

__all__ = ["Front", "Payrescue"]

_SETTINGS = ServiceSettings.from_environment(os.environ)
_FOLLOWED = "PAYRESCUE_FOLLOWED"  # the watcher's folder, from the server to its workers
_FIRST_ANSWER_S = 30.0
_SILENT_S = 60.0


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
        await self._bentoml(scope, receive, send)


def _load() -> App:
    settings = ServiceSettings.from_environment(os.environ)
    # Rules that cannot be used stop the service: falling back on others would break the merchant's unseen
    rules = read_rules(Path(settings.rules)) if settings.rules is not None else None
    worth = Worth(read_fees(Path(settings.fees))) if settings.fees is not None else None
    followed = os.environ.get(_FOLLOWED)
    uri = watched(settings) if followed is not None else None
    served = load(locate(settings, os.environ) if uri is None else None, rules, worth)
    follower = Follower(
        replace(served, since=_now()),
        Swap(rules, worth, clock=_now),
        uri=uri,
        folder=Path(followed) if followed is not None else None,
        experiments=Path(settings.experiments) if settings.experiments is not None else None,
        silent_s=_SILENT_S + 3 * settings.follow_s,
    )
    follower.start(_FIRST_ANSWER_S)  # the watcher began before this process did
    app = App(served.engine, settings, reader=RequestReader(served.extra), models=follower)
    gc.collect()
    gc.freeze()  # a full collection of what is loaded would stop the service for tens of milliseconds
    return app


def _now() -> int:
    return time.time_ns() // 1_000


def _locate_once() -> None:
    """Finds the model before the workers start, and has it followed from then on, for all of them by one watcher."""
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"  # a payment service tells nobody that it runs
    os.environ.pop(_FOLLOWED, None)
    settings = ServiceSettings.from_environment(os.environ)
    if settings.follow_s and (watched(settings) is not None or settings.experiments is not None):
        keeper = Keeper(settings, os.environ)
        atexit.register(keeper.stop)
        keeper.start()
        os.environ[_FOLLOWED] = str(keeper.folder)
        return
    located = locate(settings, os.environ)
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
