"""The BentoML service. `bentoml serve` in the repository's root finds it; `payrescue serve` starts it too.

Our own ASGI application stands before all of BentoML's routes, so that every answer, errors and probes among
them, is ours: BentoML's own errors come in three forms, and one of them repeats what was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

import bentoml

import models  # noqa: F401  # with a Bento, this folder is off the path once this module is loaded: later, it were not found
from features.errors import BadInput
from serving.found import STARTED
from serving.pages import is_page, only_from_here, page_paths
from serving.settings import ServiceSettings
from serving.workers import FOLLOWED, before_them

if TYPE_CHECKING:
    from serving.app import App
    from serving.transport import Receive, Scope, Send

__all__ = ["Front", "Payrescue"]

Application = Callable[["Scope", "Receive", "Send"], Awaitable[None]]

_SETTINGS = ServiceSettings.from_environment(os.environ)
_NOT_AGAIN_S = 5.0
_COLLECT_AT = (20_000, 20, 50)  # objects made before the collector looks: ten times as many as it comes with


class Front:
    """ASGI middleware that answers every HTTP request itself; BentoML has its page at `/`, and the server's start and end.

    The model is loaded as the server starts, before the first request is read. From then on it stands before all of
    BentoML's own middleware, whose tracing alone would take a fifth of a millisecond of each request.
    """

    def __init__(self, app: Application) -> None:
        self._bentoml = app
        self._app: App | None = None
        self._pages = page_paths(Path(bentoml.__file__).parent)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] == "http" and self._app is not None and not is_page(scope, self._pages):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._bentoml(scope, receive, only_from_here(send))
        else:
            await self._bentoml(scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The server's start and end."""
        # Here and not above: what starts the workers imports this module too, and has no use for the rest
        from serving.assembly import assemble
        from serving.loading import locate
        from serving.newcomers import share_newcomers
        from serving.wire import speak_for_uvicorn

        speak_for_uvicorn()
        share_newcomers(asyncio.get_running_loop())
        followed = os.environ.get(FOLLOWED)
        settings = ServiceSettings.from_environment(os.environ)
        gc.disable()  # what is made from here on stays: there is next to nothing to collect
        try:
            with _leaving_at_once():
                app = assemble(settings, lambda: locate(settings, os.environ), Path(followed) if followed else None)
        except Exception as error:
            # Merely raised, uvicorn would take it that nobody minds the start, and serve what is behind, without keys
            said = str(error) if isinstance(error, BadInput) else type(error).__name__
            await receive()
            await asyncio.sleep(_NOT_AGAIN_S)  # who started this worker starts it anew at once, at the others' expense
            await send({"type": "lifespan.startup.failed", "message": f"payrescue cannot be served: {said}"})
            return
        self._app = app
        gc.freeze()  # a full collection of what is loaded would stop the service for tens of milliseconds
        gc.set_threshold(*_COLLECT_AT)
        gc.enable()
        self._go_first(scope["app"], app)
        if followed:
            with contextlib.suppress(OSError):  # then nobody waits for it either
                Path(followed, STARTED).touch()
        _leave_slowly(app, settings.drain_s)
        await self._bentoml(scope, receive, _closing(app, send))

    def _go_first(self, starlette: Any, ours: App) -> None:
        behind: Application = starlette.middleware_stack
        pages = self._pages

        async def first(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and not is_page(scope, pages):
                await ours(scope, receive, send)
            else:
                await behind(scope, receive, send)

        starlette.middleware_stack = first


def _closing(app: App, send: Send) -> Send:
    """Sends on, but closes the application before the server hears that all is done: it waits for nothing after that."""

    async def sent(message: MutableMapping[str, Any]) -> None:
        if message["type"].startswith("lifespan.shutdown"):
            await asyncio.to_thread(app.close)
        await send(message)

    return sent


@contextlib.contextmanager
def _leaving_at_once() -> Iterator[None]:
    """Until the first request is taken there is nothing to lose, and loading and catching up may take long: SIGTERM ends it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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


def _before_the_workers() -> None:
    before_them(ServiceSettings.from_environment(os.environ))


class _Payrescue:
    """Knows why payments fail, before and after, and tells checkout what to do next."""

    before_the_workers: ClassVar[Any] = bentoml.on_deployment(_before_the_workers)


Payrescue: Any = bentoml.service(
    name="payrescue",
    workers=_SETTINGS.workers,
    http={"host": _SETTINGS.host, "port": _SETTINGS.port},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    envs=[{"name": "OTEL_SDK_DISABLED", "value": "true"}],
)(_Payrescue)
Payrescue.add_asgi_middleware(Front)
