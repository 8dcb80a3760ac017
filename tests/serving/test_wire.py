"""How answers leave: by one write, for whoever reads to be woken once."""

import asyncio
import logging

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from serving.transport import send_json
from serving.wire import speak_for_uvicorn


class Transport(asyncio.Transport):
    def __init__(self):
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written, self.closed = [], False

    def write(self, data):
        self.written.append(bytes(data))

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


@pytest.fixture
def answered(caplog):
    """What goes over the wire, write by write, and whether the connection was closed, for requests to an application."""
    speak_for_uvicorn()
    assert caplog.handler in logging.getLogger().handlers  # whatever is logged has somewhere to go, as in a worker

    def ask(app, *requests):
        async def run():
            config = uvicorn.Config(app, log_config=None, lifespan="off")  # as BentoML starts it
            config.load()
            protocol, transport = HttpToolsProtocol(config, ServerState(), {}, asyncio.get_running_loop()), Transport()
            protocol.connection_made(transport)
            for request in requests:
                protocol.data_received(request)
                for _ in range(5):
                    await asyncio.sleep(0)
            found = transport.written, transport.closed
            protocol.connection_lost(None)
            return found

        return asyncio.run(run())

    return ask


def ours(**options):
    async def app(scope, receive, send):
        await send_json(send, 200, {"told": scope["path"]}, "r1", **options)

    return app


GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
HEAD, BODY = b"HTTP/1.1 200 OK\r\n", b'\r\n\r\n{"told":"/a"}'


def test_head_and_body_of_ours_go_out_together(answered):
    written, closed = answered(ours(), GET, GET)
    assert [one.startswith(HEAD) and one.endswith(BODY) for one in written] == [True, True]
    assert b"content-length: 13\r\n" in written[0]
    assert not closed


def test_an_answer_that_ends_the_connection_does(answered):
    written, closed = answered(ours(close=True), GET)
    assert b"".join(written).endswith(BODY)
    assert closed


def test_without_keep_alive_the_connection_ends(answered):
    written, closed = answered(ours(), GET.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
    assert b"".join(written).endswith(BODY)
    assert closed


def test_what_others_send_goes_its_usual_way(answered):
    async def theirs(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"some", "more_body": True})
        await send({"type": "http.response.body", "body": b"more"})

    written, _ = answered(theirs, GET)
    assert b"transfer-encoding: chunked" in written[0]
    assert b"".join(written).endswith(b"4\r\nsome\r\n4\r\nmore\r\n0\r\n\r\n")


def test_a_client_that_left_is_written_nothing(answered):
    async def late(scope, receive, send):
        send.__self__.disconnected = True
        await send_json(send, 200, {}, "r1")

    assert answered(late, GET)[0] == []
