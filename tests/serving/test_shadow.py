"""Challengers in shadow: scored after the answer, never shown, never in the way."""

import asyncio
import json
import threading
import time

import httpx
import pytest

from models.engine import Engine, ScoreRequest
from serving import shadow as module
from serving.app import App
from serving.experiments import Arm, Experiment
from serving.lineup import Lineup
from serving.loading import Served
from serving.shadow import Shadows

REQUEST = ScoreRequest(
    {
        "attempt_id": "a1", "payment_id": "p1", "created_at": 1_767_605_400_000_000, "amount_minor": 1,
        "currency": "KRW", "country": "KR", "method": "card",
    }
)  # fmt: skip
SHOWN = {"request_id": "r1"}


def lineup_with(served, share=1.0):
    arm = Arm("challenger", share, "models:/payrescue@challenger")
    experiment = Experiment("next", "shadow", "next", (arm,))
    return Lineup(Served(Engine(None)), shadows=((experiment, {"challenger": served}),))


class Slow:
    """A challenger's engine that takes its time."""

    def __init__(self, seconds=0.0, error=None):
        self.seconds, self.error, self.scored = seconds, error, threading.Event()

    def score(self, request, *, request_id, rules_only=False):
        time.sleep(self.seconds)
        self.scored.set()
        if self.error is not None:
            raise self.error
        return {"request_id": request_id, "policy": {"experiment": None, "variant": None}}


def until(happened, seconds=5.0):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.005)


class Fixed:
    """Models that never change."""

    def __init__(self, lineup):
        self._lineup = lineup

    def lineup(self):
        return self._lineup

    def status(self):
        return {}


def test_what_a_challenger_would_have_said_is_handed_on_with_what_was_shown(send, question):
    told = []
    engine = Engine(None, version="9")
    asked = App(Engine(None), models=Fixed(lineup_with(Served(engine))), on_shadow=told.append)
    answer = send(asked, "POST", "/v1/score", question).json()
    until(lambda: told)
    (one,) = told
    assert (one["experiment"], one["variant"], one["payment_id"]) == ("next", "challenger", "p1")
    assert json.loads(json.dumps(one["shown"])) == answer
    assert one["answer"]["model"]["version"] == "9"
    assert one["answer"]["policy"] | {"experiment": "next", "variant": "challenger"} == one["answer"]["policy"]
    assert one["request_id"] == answer["request_id"]
    assert one["microseconds"] > 0


def test_the_answer_tells_nothing_of_a_shadow(send, question):
    asked = App(Engine(None), models=Fixed(lineup_with(Served(Engine(None, version="9")))), on_shadow=[].append)
    told = send(asked, "POST", "/v1/score", question).json()
    assert told["policy"]["experiment"] is None
    assert told["model"]["version"] is None


def test_an_answer_does_not_wait_for_its_shadow(question):
    slow = Slow(0.5)
    asked = App(Engine(None), models=Fixed(lineup_with(Served(slow))), on_shadow=[].append)

    async def once():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=asked), base_url="http://payrescue") as client:
            began = time.perf_counter()
            told = [await client.post("/v1/score", json=question) for _ in range(5)]
            return time.perf_counter() - began, told

    took, told = asyncio.run(once())
    assert {one.status_code for one in told} == {200}
    assert took < 0.4
    assert slow.scored.wait(5)


def test_shadows_wait_while_requests_are_answered():
    busy, slow = [True], Slow()
    shadows = Shadows([].append, lambda: busy[0])
    shadows.offer(lineup_with(Served(slow)), REQUEST, SHOWN)
    assert not slow.scored.wait(0.1)
    busy[0] = False
    assert slow.scored.wait(5)
    shadows.stop()


def test_what_waits_is_bounded_and_what_is_dropped_is_counted(monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE_S", 0.0)
    shadows = Shadows([].append, lambda: True)
    lineup = lineup_with(Served(Slow()))
    for _ in range(1_000):
        shadows.offer(lineup, REQUEST, SHOWN)
    assert len(shadows._waiting) <= module._MOST_WAITING
    until(lambda: shadows.dropped == 1_000)
    assert shadows.scored == 0
    shadows.stop()


@pytest.mark.parametrize("who", ["challenger", "log"])
def test_a_shadow_that_fails_is_counted_logged_once_and_stops_nothing(caplog, who):
    def refuse(told):
        raise ValueError("4111111111111111")

    failing = Slow(error=ValueError("4111111111111111") if who == "challenger" else None)
    shadows = Shadows(refuse if who == "log" else [].append, lambda: False)
    for _ in range(3):
        shadows.offer(lineup_with(Served(failing)), REQUEST, SHOWN)
    until(lambda: shadows.failed == 3)
    assert len(caplog.records) == 1
    assert "4111" not in caplog.text
    shadows.stop()


def test_a_share_of_the_payments_is_scored():
    lineup = lineup_with(Served(Slow()), share=0.3)
    scored = sum(bool(lineup.shadows_for(f"p{i}")) for i in range(5_000))
    assert scored == pytest.approx(1_500, abs=120)
