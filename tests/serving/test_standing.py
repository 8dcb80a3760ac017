"""What `/readyz` and the metrics say of the parts that the service stands on."""

import threading
import time

import pytest

from models.engine import Engine
from serving.app import App
from serving.lineup import Fixed
from serving.loading import Served
from serving.log_records import LogUnavailable
from serving.metrics import Meters
from serving.state import OnlineState


class Folded:
    """A state's store, as it is told to be."""

    misses = 0

    def __init__(self):
        self.seq, self.reachable, self.error, self.in_the_log = 4, True, None, 4
        self.closed, self.unread = 0, None
        self.at_work = lambda: None

    def follow(self, ends):
        self.at_work()
        if self.error is not None:
            raise self.error
        entered, self.seq = self.in_the_log - self.seq, self.in_the_log
        return entered

    def latest(self):
        if self.unread is not None or isinstance(self.error, LogUnavailable):
            raise self.unread or self.error
        return self.in_the_log

    def keep(self):
        pass

    def close(self):
        self.closed += 1
        if self.error is not None:
            raise self.error


class Log:
    available = True
    backlog = dropped = 0

    def close(self):
        pass


class Models(Fixed):
    registry = None

    def registry_reachable(self):
        return self.registry


@pytest.fixture
def folded():
    return Folded()


@pytest.fixture
def state(folded):
    return OnlineState(folded)


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def models(state):
    return Models(Served(Engine(None), state=state))


def told(send, models, log=None):
    """What is down by `/readyz`, and what the metrics say of each part."""
    meters = Meters()
    app = App(Engine(None), models=models, log=log, meters=meters)
    parts = [line.split() for line in meters.text().decode().splitlines() if line.startswith("payrescue_reachable{")]
    reachable = {name.split('"')[1]: float(value) for name, value in parts}
    down = send(app, "GET", "/readyz").json()["down"]
    assert down == [part for part, value in reachable.items() if not value]
    return down, set(reachable)


def test_of_what_it_was_not_given_nothing_is_told(send):
    assert told(send, Fixed(Served(Engine(None)))) == ([], set())


def test_all_that_it_was_given_is_told(send, models, log):
    models.registry = True
    assert told(send, models, log) == ([], {"log", "registry", "state"})


def test_a_registry_that_does_not_answer_is_down(send, models):
    models.registry = False
    assert told(send, models) == (["registry"], {"registry", "state"})


def test_a_log_that_cannot_be_written_is_down(send, models, log):
    log.available = False
    assert told(send, models, log)[0] == ["log"]


def test_a_log_that_the_state_cannot_read_is_down_and_the_state_is_not(send, models, state, log, folded):
    folded.error = LogUnavailable("no")
    state.catch_up()
    assert told(send, models, log)[0] == ["log"]


def test_a_store_that_cannot_be_written_is_down(send, models, state, log, folded):
    folded.error = ConnectionError()
    state.catch_up()
    assert told(send, models, log)[0] == ["state"]


def test_both_are_down_where_neither_the_store_nor_the_log_can_be_had(send, models, state, log, folded):
    folded.error, folded.unread = ConnectionError(), LogUnavailable("no")
    state.catch_up()
    assert told(send, models, log)[0] == ["log", "state"]


def test_a_store_that_requests_cannot_read_is_down(send, models, log, folded):
    folded.reachable = False
    assert told(send, models, log)[0] == ["state"]


def test_how_far_the_state_is_behind_is_known_while_it_catches_up(state, folded):
    told, folded.in_the_log = [], 10
    folded.at_work = lambda: told.append(state.behind)
    state.catch_up()
    assert (told, state.behind) == ([6], 0)


def test_how_far_the_state_is_behind_is_known_while_it_cannot_follow(state, folded):
    assert state.behind == 0
    folded.error, folded.in_the_log = ConnectionError(), 10
    state.catch_up()
    assert state.behind == 6
    folded.error = None
    state.catch_up()
    assert state.behind == 0


def test_a_state_that_cannot_be_kept_for_want_of_the_log_ends_all_the_same(state, folded):
    folded.error = LogUnavailable("no")
    state.close()
    assert folded.closed == 1


@pytest.mark.parametrize(("deadline_ms", "asked"), [("60000", 1), ("0", 0)])
def test_past_its_deadline_a_request_does_not_wait_for_the_state(send, question, state, folded, deadline_ms, asked):
    seen = []

    async def past(request, engine):
        seen.append(request)
        return

    folded.past = past
    app = App(Engine(None), models=Fixed(Served(Engine(None), state=state)), clock=lambda: 1_767_700_000_000_000)
    assert send(app, "POST", "/v1/score", question, headers={"x-deadline-ms": deadline_ms}).status_code == 200
    assert len(seen) == asked


def test_a_state_that_is_read_and_read_is_left_alone_and_the_log_is_closed_all_the_same(log, folded):
    released, closed = threading.Event(), []
    folded.at_work, log.close = released.wait, lambda: closed.append("log")
    state = OnlineState(folded)
    state.start()
    began = time.monotonic()
    App(Engine(None), models=Fixed(Served(Engine(None), state=state)), log=log).close()
    assert (closed, folded.closed) == (["log"], 0)
    assert time.monotonic() - began < 5
    released.set()


def test_the_log_is_closed_even_if_the_models_cannot_be(log, models):
    def fails():
        raise OSError

    closed, models.close, log.close = [], fails, lambda: closed.append("log")
    with pytest.raises(OSError):
        App(Engine(None), models=models, log=log).close()
    assert closed == ["log"]
