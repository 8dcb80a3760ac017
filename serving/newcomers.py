"""New connections are shared among workers: none takes a whole crowd while the others sleep.

All workers listen on one socket, and asyncio takes from it all that wait, at once: the first to wake gets every connection of a
client that opens many, and answers all of their requests for as long as they last. Here a worker takes a few and leaves the
others to whoever wakes; if some are still left a moment later, it takes twice as many, so that a crowd does not wait.
"""

from __future__ import annotations

import asyncio
import select
import socket
from typing import Any

__all__ = ["FIRST", "PAUSE_S", "share_newcomers"]

FIRST = 2
"""Connections that are taken at first."""

PAUSE_S = 0.001
"""How long others have to wake."""

_TAKES = "_accept_connection"  # of asyncio's own loops; another has its own way


def share_newcomers(loop: asyncio.AbstractEventLoop) -> None:
    """Have a loop take few connections at once, from the next server on that it starts."""
    ours: Any = loop
    theirs: Any = getattr(ours, _TAKES, None)
    if theirs is None or getattr(theirs, "shares", False):
        return
    most, full = FIRST, FIRST

    def take(
        factory: Any, listening: socket.socket, context: Any = None, server: Any = None, backlog: int = 100, *more: Any
    ) -> None:
        nonlocal most, full
        # After a while without file descriptors asyncio comes back with what it was given below
        full = max(full, backlog)
        theirs(factory, listening, context, server, min(most, full), *more)
        left = _waits(listening)
        if left and not ours._remove_reader(listening.fileno()):
            most = FIRST  # there are no file descriptors left: asyncio has stopped looking, and begins again by itself
            return
        most = min(2 * most, full) if left else FIRST
        if left:
            ours.call_later(PAUSE_S, again, factory, listening, context, server, full, *more)

    def again(factory: Any, listening: socket.socket, *more: Any) -> None:
        if listening.fileno() >= 0:  # the server may have been closed
            ours._start_serving(factory, listening, *more)

    take.shares = True  # type: ignore[attr-defined]
    setattr(ours, _TAKES, take)


def _waits(listening: socket.socket) -> bool:
    """Whether a connection waits to be taken."""
    look = select.poll()
    look.register(listening, select.POLLIN)
    return bool(look.poll(0))
