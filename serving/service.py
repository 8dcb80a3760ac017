"""The BentoML service. `bentoml serve` in the repository's root finds it; `payrescue serve` starts it too.

Our own ASGI application stands before all of BentoML's routes, so that every answer, errors and probes among
them, is ours: BentoML's own errors come in three forms, and one of them repeats what was sent.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import bentoml

from models.fees import read_fees
from models.rules import read_rules
from models.value import Worth
from serving.access_log import AccessLog
from serving.app import App
from serving.doors import Doors
from serving.keys import KeyRing
from serving.loading import load, locate
from serving.metrics import Meters
from serving.pages import is_page, only_from_here, page_paths
from serving.requests import RequestReader
from serving.settings import NO_MODEL, ServiceSettings
from serving.transport import Receive, Scope, Send
from serving.wire import speak_for_uvicorn

__all__ = ["Front", "Payrescue"]

_SETTINGS = ServiceSettings.from_environment(os.environ)


class Front:
    """ASGI middleware that answers every HTTP request itself; BentoML has its page at `/`, and the server's start and end.

    The model is loaded as the server starts, before the first request is read.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._bentoml = app
        self._app: App | None = None
        self._pages = page_paths(Path(bentoml.__file__).parent)
        speak_for_uvicorn()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the server's start and end."""
        if scope["type"] == "http" and self._app is not None:
            if is_page(scope, self._pages):
                await self._bentoml(scope, receive, only_from_here(send))
            else:
                await self._app(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        else:
            await self._bentoml(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The server's start and end."""
        settings = ServiceSettings.from_environment(os.environ)
        access_log = AccessLog(share=settings.access_log) if settings.access_log else None
        self._app = _load(settings, access_log)
        await self._bentoml(scope, receive, send)
        if access_log is not None:
            access_log.stop()


def _load(settings: ServiceSettings, access_log: AccessLog | None) -> App:
    keys = KeyRing(Path(settings.keys)) if settings.keys is not None else None
    # Rules that cannot be used stop the service: falling back on others would break the merchant's unseen
    rules = read_rules(Path(settings.rules)) if settings.rules is not None else None
    worth = Worth(read_fees(Path(settings.fees))) if settings.fees is not None else None
    served = load(locate(settings, os.environ), rules, worth)
    meters = _meters(settings, served.engine.version, served.card, access_log)
    app = App(
        served.engine,
        settings,
        reader=RequestReader(served.extra),
        card=served.card,
        doors=Doors(keys),
        meters=meters,
        access_log=access_log,
    )
    if keys is not None:
        keys.watch()
    if access_log is not None:
        access_log.start()
    meters.watch()
    gc.collect()
    gc.freeze()  # a full collection of what is loaded would stop the service for tens of milliseconds
    return app


def _meters(
    settings: ServiceSettings, version: str | None, card: Mapping[str, Any] | None, access_log: AccessLog | None
) -> Meters:
    meters = Meters(Path(settings.metrics) if settings.metrics is not None else None)
    if access_log is not None:
        meters.hook(access_log_dropped=lambda: access_log.dropped)
    until = card["data"]["window"][1] if card is not None else None
    meters.model(version, datetime.fromisoformat(until).timestamp() if until is not None else 0.0)
    return meters


def _locate_once() -> None:
    """Finds the model before the workers start, so that all of them load the same one."""
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"  # a payment service tells nobody that it runs
    located = locate(ServiceSettings.from_environment(os.environ), os.environ)
    os.environ["PAYRESCUE_MODEL"] = str(located.folder.resolve()) if located is not None else NO_MODEL
    os.environ["PAYRESCUE_MODEL_VERSION"] = (located.version or "") if located is not None else ""
    os.environ.pop("PAYRESCUE_METRICS", None)
    with contextlib.suppress(OSError):  # nowhere to write: each worker then tells its own counts
        shared = tempfile.mkdtemp(prefix="payrescue-metrics-")
        os.environ["PAYRESCUE_METRICS"] = shared
        atexit.register(shutil.rmtree, shared, ignore_errors=True)


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
