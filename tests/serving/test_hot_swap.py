"""Fifty models swapped in while requests are answered: every answer is whole, and of the version that it names."""

import asyncio
import json
import threading
import time

import pytest

from models.engine import Engine
from serving.app import App
from serving.lineup import line_up
from serving.loading import Located, take
from serving.requests import RequestReader
from serving.swap import Swap

pytestmark = pytest.mark.faults

URI = "models:/payrescue@champion"
SWAPS = 50
CLIENTS = 4
BATCH = 8


class Swapping:
    """Models that a thread swaps, as the follower does."""

    def __init__(self, swap):
        self._swap = swap
        self.arrange()

    def arrange(self):
        self._lineup = line_up(self._swap.of(URI), self._swap.previous(URI), (), self._swap.of)

    def lineup(self):
        return self._lineup

    def status(self):
        return {}


async def post(app, path, content):
    sent = []
    inbox = [{"type": "http.request", "body": json.dumps(content).encode()}]

    async def receive():
        return inbox.pop()

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    await app({"type": "http", "method": "POST", "path": path, "headers": headers}, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


def told(answer):
    return {**answer, "request_id": None}


def test_fifty_hot_swaps_under_load_tear_no_answer(versions, question, now, figure):
    located = [Located(versions["gloomy" if i % 2 else "hopeful"], str(i)) for i in range(SWAPS + 1)]
    offline = {}
    for kind in (0, 1):
        engine = take(located[kind]).engine
        attempts = [question["attempt"] | {"payment_id": f"p{i}", "attempt_id": f"a{i}"} for i in range(BATCH)]
        for i, attempt in enumerate(attempts):
            request = RequestReader().read(question | {"attempt": attempt}, now=now)
            offline[kind, i] = json.loads(json.dumps(told(engine.score(request, request_id="r"))))
    assert abs(offline[0, 0]["outcome"]["success"] - offline[1, 0]["outcome"]["success"]) > 0.3
    swap = Swap(clock=lambda: now)
    assert swap.put(URI, located[0])
    models = Swapping(swap)
    app = App(Engine(None), models=models, clock=lambda: now)
    seen, done = [], threading.Event()

    def swapping():
        for one in located[1:]:
            assert swap.put(URI, one)
            models.arrange()
        done.set()

    async def client(place):
        asked = [question | {"attempt": attempt} for attempt in attempts]
        while not done.is_set():
            if place == 0:
                status, answers = await post(app, "/v1/score/batch", asked)
                assert len({answer["model"]["version"] for answer in answers}) == 1
                seen.extend((status, i, answer) for i, answer in enumerate(answers))
            else:
                i = len(seen) % BATCH
                status, answer = await post(app, "/v1/score", asked[i])
                seen.append((status, i, answer))
            await asyncio.sleep(0.001)

    async def load():
        await asyncio.gather(*(client(place) for place in range(CLIENTS)))

    thread = threading.Thread(target=swapping)
    began = time.monotonic()
    thread.start()
    asyncio.run(load())
    thread.join()
    assert time.monotonic() - began < 20
    assert {status for status, _, _ in seen} == {200}
    for _, i, answer in seen:
        kind = int(answer["model"]["version"]) % 2
        expected = {**offline[kind, i], "model": {**offline[kind, i]["model"], "version": answer["model"]["version"]}}
        assert told(answer) == expected
    figure(
        f"{SWAPS} hot swaps under load: {len(seen):,} answers, all as computed offline by the version that they name"
    )
    assert len({answer["model"]["version"] for _, _, answer in seen}) > SWAPS / 2
