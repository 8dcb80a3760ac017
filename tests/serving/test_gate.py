"""Who waits, who is turned away, and since when a request may have waited."""

import asyncio

import pytest

from models.engine import Engine
from serving.app import App
from serving.gate import Gate
from serving.problems import Problem


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


async def crowd(gate, size, work=lambda: None):
    """What becomes of requests that arrive together: since when each waited, or the problem."""

    async def one():
        since = await gate.enter()
        try:
            work()
            return since
        finally:
            gate.leave()

    return await asyncio.gather(*(one() for _ in range(size)), return_exceptions=True)


def test_all_that_arrived_step_forward_before_any_is_served(clock):
    gate, seen = Gate(10, clock), []
    asyncio.run(crowd(gate, 5, lambda: seen.append(gate.waiting)))
    assert seen == [5, 4, 3, 2, 1]


def test_who_comes_to_a_full_gate_is_turned_away_at_once_and_told_when_to_come_again(clock):
    gate = Gate(3, clock)
    told = asyncio.run(crowd(gate, 5))
    refused = [one for one in told if isinstance(one, Problem)]
    assert [problem.status for problem in refused] == [503, 503]
    assert refused[0].headers == {"retry-after": "1"}
    assert gate.waiting == 0


def test_who_comes_to_an_idle_gate_has_waited_for_nothing(clock):
    gate = Gate(3, clock)
    asyncio.run(crowd(gate, 1))
    clock.now += 1.0
    assert asyncio.run(crowd(gate, 2)) == [101.0, 101.0]


def test_who_comes_right_after_a_crowd_may_have_come_with_it(clock):
    gate = Gate(3, clock)

    def take_long():
        clock.now += 0.02

    asyncio.run(crowd(gate, 2, take_long))
    assert asyncio.run(crowd(gate, 1, take_long)) == [100.0]
    assert asyncio.run(crowd(gate, 1, take_long)) == [
        pytest.approx(100.04)
    ]  # no longer than the crowd just before it took


def test_a_request_that_failed_makes_room(clock):
    gate = Gate(1, clock)

    def fail():
        raise RuntimeError

    told = asyncio.run(crowd(gate, 1, fail))
    assert isinstance(told[0], RuntimeError)
    assert gate.waiting == 0


def test_a_request_that_waits_for_something_else_does_not_make_later_ones_look_late(clock):
    gate = Gate(10, clock)

    async def run():
        first = await gate.enter()  # it waits for a store, say, while others come and go
        clock.now += 0.5
        second = await gate.enter()
        gate.leave()
        gate.leave()
        return first, second

    assert asyncio.run(run()) == (100.0, 100.5)


def test_a_request_that_is_given_up_on_its_way_in_makes_room(clock):
    gate = Gate(1, clock)

    async def run():
        coming = asyncio.ensure_future(gate.enter())
        await asyncio.sleep(0)
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        return await gate.enter()

    assert asyncio.run(run()) == 100.0


def test_who_is_turned_away_is_told_before_anything_is_read():
    app, sent = App(Engine(None)), []
    scope = {"type": "http", "method": "POST", "path": "/v1/score", "headers": [(b"x-request-id", b"mine")]}

    async def never():
        raise AssertionError("nobody looks at a body that is not answered")

    async def send(message):
        sent.append(message)

    while not app.gate.full:
        app.gate.waiting += 1
    asyncio.run(app(scope, never, send))
    assert sent[0]["status"] == 503
    assert {(b"retry-after", b"1"), (b"x-request-id", b"mine")} <= set(sent[0]["headers"])
    assert b'"code":"overloaded"' in sent[1]["body"]


class TestBatches:
    def test_one_goes_after_another(self, clock):
        gate, seen = Gate(10, clock), []

        async def batch(name):
            async with gate.together(10, 100):
                for _ in range(3):
                    seen.append(name)
                    await gate.give_way()

        async def run():
            await asyncio.gather(batch("a"), batch("b"))

        asyncio.run(run())
        assert seen == list("aaabbb")

    def test_they_are_let_in_by_weight_and_the_first_whatever_it_weighs(self, clock):
        gate = Gate(10, clock)

        async def batch(weight):
            async with gate.together(weight, 100):
                await asyncio.sleep(0)
                return weight

        async def run():
            return await asyncio.gather(*map(batch, (60, 40, 1)), return_exceptions=True)

        told = asyncio.run(run())
        assert (told[:2], told[2].status, told[2].headers) == ([60, 40], 503, {"retry-after": "1"})
        assert gate.together_waiting == 0
        assert asyncio.run(batch(1_000)) == 1_000

    def test_while_single_requests_are_turned_away_so_is_a_batch(self, clock):
        gate = Gate(1, clock)

        async def run():
            await gate.enter()
            async with gate.together(1, 100):
                pass

        with pytest.raises(Problem):
            asyncio.run(run())

    def test_one_that_fails_or_is_given_up_makes_room(self, clock):
        gate = Gate(1, clock)

        async def fail():
            async with gate.together(5, 5):
                raise RuntimeError

        async def run():
            running = asyncio.ensure_future(hold())
            await asyncio.sleep(0)
            waiting = asyncio.ensure_future(hold())
            await asyncio.sleep(0)
            assert gate.together_waiting == 4
            waiting.cancel()
            running.cancel()
            await asyncio.gather(waiting, running, return_exceptions=True)

        async def hold():
            async with gate.together(2, 5):
                await asyncio.sleep(60)

        with pytest.raises(RuntimeError):
            asyncio.run(fail())
        asyncio.run(run())
        assert gate.together_waiting == 0

    def test_those_who_came_are_answered_before_it_goes_on(self, clock):
        gate = Gate(10, clock)

        async def run():
            singles = asyncio.ensure_future(crowd(gate, 3))
            await asyncio.sleep(0)  # they are on their way
            await gate.give_way()
            left = gate.waiting
            await singles
            return left

        assert asyncio.run(run()) == 0

    def test_it_lets_those_who_came_go_first_but_does_not_stand_still(self, clock):
        gate = Gate(10, clock)

        async def run():
            await gate.enter()  # and does not leave
            await gate.give_way()

        asyncio.run(asyncio.wait_for(run(), 5))
