"""How many of a crowd's connections one worker takes at once."""

import asyncio
import errno
import socket
from asyncio import constants

import pytest

from serving.newcomers import FIRST, PAUSE_S, share_newcomers

CROWD = 50


@pytest.fixture
def crowd():
    """A socket that listens, and many that have connected to it; nobody has taken them yet."""
    with socket.create_server(("127.0.0.1", 0), backlog=CROWD) as listening:
        clients = [socket.create_connection(listening.getsockname()) for _ in range(CROWD)]
        yield listening
        for client in clients:
            client.close()


def serve(listening, then, *, shared=True):
    """What `then` says of the connections that a server has taken; and what went wrong meanwhile."""
    taken, wrong = [], []

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport):
            taken.append(transport)

    async def run():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, told: wrong.append(told))
        if shared:
            share_newcomers(loop)
            share_newcomers(loop)  # once is enough
        server = await loop.create_server(Protocol, sock=listening, backlog=CROWD)
        try:
            return await then(server, taken)
        finally:
            for transport in taken:
                transport.abort()
            server.close()
            await asyncio.sleep(3 * PAUSE_S)

    return asyncio.run(run()), wrong


async def soon(_, taken):
    """How many there are before the server has paused."""
    for _ in range(6):
        await asyncio.sleep(0)
    return len(taken)


def test_a_few_are_taken_and_the_others_left_to_whoever_wakes(crowd):
    assert serve(crowd, soon) == (FIRST, [])


def test_one_who_does_not_share_takes_them_all(crowd):
    """That there is something to share."""
    assert serve(crowd, soon, shared=False) == (CROWD, [])


def test_whom_nobody_else_takes_does_not_wait_long(crowd):
    async def all_of_them(_, taken):
        began = asyncio.get_running_loop().time()
        while len(taken) < CROWD:
            assert asyncio.get_running_loop().time() < began + 10
            await asyncio.sleep(0.0005)
        return True

    assert serve(crowd, all_of_them) == (True, [])


def test_a_server_may_be_closed_while_it_pauses(crowd):
    async def closed(server, taken):
        count = await soon(server, taken)
        server.close()
        await asyncio.sleep(5 * PAUSE_S)
        return len(taken) == count

    assert serve(crowd, closed) == (True, [])


class Exhausted(socket.socket):
    """A socket whose process has no file descriptor left, a few times."""

    times, asked = 3, 0

    def accept(self):
        self.asked += 1
        if self.asked <= self.times:
            raise OSError(errno.EMFILE, "too many")
        return super().accept()


def test_without_file_descriptors_it_waits_as_asyncio_does_and_then_takes_more_and_more(crowd, monkeypatch):
    monkeypatch.setattr(constants, "ACCEPT_RETRY_DELAY", 0.05)
    listening = Exhausted(fileno=crowd.detach())

    async def all_of_them(_, taken):
        loop = asyncio.get_running_loop()
        began, before, most = loop.time(), 0, 0
        while len(taken) < CROWD:
            assert loop.time() < began + 10
            await asyncio.sleep(0)
            most, before = max(most, len(taken) - before), len(taken)
        return loop.time() - began >= 0.05, most

    (waited, most), wrong = serve(listening, all_of_them)
    assert waited
    assert most >= 4 * FIRST
    assert len(wrong) <= Exhausted.times


def test_a_loop_with_a_way_of_its_own_is_left_alone():
    share_newcomers(object())
