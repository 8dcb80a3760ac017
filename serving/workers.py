"""The first process of `payrescue serve`: it starts the workers, starts anew one that dies, and lets them finish at the end.

The workers are BentoML's, and so is the way: the same library, Circus, watches over the same command. BentoML's own first
process imports all of BentoML for that, which takes as long as an empty worker takes to be there.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from serving.keeper import Keeper, follows
from serving.settings import ServiceSettings

__all__ = ["FOLLOWED", "SERVICE", "before_them", "configured_by_bentoml", "watch_over"]

SERVICE = "serving.service:Payrescue"
"""What the workers serve, as BentoML names it."""

FOLLOWED = "PAYRESCUE_FOLLOWED"
"""The environment variable by which the first process tells the workers of the watcher's folder."""

_SOCKET = "payrescue"
_BACKLOG = 2048  # as BentoML has it
_LOOK_S = 1.0
_SOON_S = 0.05
_NEVER_S = 86_400.0  # how long workers may take to finish: as BentoML has it, they have a deadline of their own
_BENTOML_SETTINGS = ("BENTOML_CONFIG", "BENTOML_CONFIG_OPTIONS", "BENTOML_CONFIG_OVERRIDES")


def configured_by_bentoml(environment: Mapping[str, str]) -> bool:
    """Whether BentoML was given settings of its own, such as certificates, which only its own first process reads."""
    return any(environment.get(name) for name in _BENTOML_SETTINGS)


def before_them(settings: ServiceSettings) -> None:
    """Find the model, and have it followed from then on, for all workers by one watcher; make a place for their counts.

    What they have to know goes into this process's environment, which they inherit.
    """
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"  # a payment service tells nobody that it runs
    os.environ.pop("PAYRESCUE_METRICS", None)
    with contextlib.suppress(OSError):  # nowhere to write: each worker then tells its own counts
        shared = tempfile.mkdtemp(prefix="payrescue-metrics-")
        os.environ["PAYRESCUE_METRICS"] = shared
        atexit.register(shutil.rmtree, shared, ignore_errors=True)
    os.environ.pop(FOLLOWED, None)
    if follows(settings):
        keeper = Keeper(settings, os.environ)
        atexit.register(keeper.stop)
        keeper.start()
        os.environ[FOLLOWED] = str(keeper.folder)
        return
    from serving.loading import locate
    from serving.settings import NO_MODEL

    located = locate(settings, os.environ)
    os.environ["PAYRESCUE_MODEL"] = str(located.folder.resolve()) if located is not None else NO_MODEL
    os.environ["PAYRESCUE_MODEL_VERSION"] = (located.version or "") if located is not None else ""


def watch_over(settings: ServiceSettings) -> None:
    """Start the workers, and see to them until SIGTERM or Ctrl-C; one that dies is started anew, all of them upon SIGHUP."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")  # before Circus, which has a format of its own
    from circus.arbiter import Arbiter
    from circus.sockets import CircusSocket
    from circus.watcher import Watcher

    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    workers = Watcher(
        name="payrescue",
        cmd=shlex.quote(sys.executable),
        args=[
            *("-m", "_bentoml_impl.worker.service", SERVICE, "--service-name", "payrescue"),
            *("--fd", f"$(circus.sockets.{_SOCKET})", "--backlog", str(_BACKLOG), "--worker-id", "$(CIRCUS.WID)"),
        ],
        numprocesses=settings.workers,
        use_sockets=True,
        copy_env=True,
        stop_children=True,
        graceful_timeout=_NEVER_S,
    )
    arbiter = Arbiter(
        [workers],
        # Circus takes commands, to start programs among them: where nobody can reach it
        endpoint="inproc://commands",
        pubsub_endpoint="inproc://events",
        check_delay=_LOOK_S,
        sockets=[CircusSocket(name=_SOCKET, host=settings.host, port=settings.port, family=family, backlog=_BACKLOG)],
    )
    arbiter.ctrl.sys_hdl.quit = partial(_quit, arbiter)
    arbiter.manage_watchers = partial(_look, arbiter, arbiter.manage_watchers)
    arbiter.start().result()


def _look(arbiter: Any, theirs: Callable[[], object]) -> object:
    """Look after the workers, unless they are just being started or replaced: Circus would log its own refusal, with a trace."""
    return theirs() if arbiter._exclusive_running_command is None else None


def _quit(arbiter: Any) -> None:
    """End on a signal, once what is being done is done: Circus forgets one that comes while it starts a worker."""

    def leave() -> None:
        if arbiter._exclusive_running_command is None:
            arbiter.stop()
        else:
            arbiter.loop.call_later(_SOON_S, leave)

    arbiter.loop.add_callback_from_signal(leave)
