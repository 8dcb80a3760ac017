"""Whatever order things come in: scores, outcomes, new models, rollbacks, restarts; what was promised holds after each."""

import asyncio
from dataclasses import replace

import httpx
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from models.engine import Engine
from serving.app import App
from serving.lineup import line_up
from serving.loading import Located
from serving.log import DecisionLog
from serving.state import open_state
from serving.swap import Swap

pytestmark = pytest.mark.faults

URI = "models:/payrescue@champion"
NOW = 1_767_700_000_000_000
ATTEMPT = {
    "payment_id": "p1", "created_at": "2026-01-05T09:30:00Z", "amount_minor": 38000, "currency": "KRW", "country": "KR",
    "method": "card", "route": "north", "customer_id": "c1",
}  # fmt: skip
RESOLVED = "2026-01-05T09:30:30Z"
ENDS = ("success", "bank_decline", "technical")


class Service(RuleBasedStateMachine):
    """One worker over a log in a file."""

    versions: dict
    folder = None
    count = 0

    def __init__(self):
        super().__init__()
        Service.count += 1
        self.url = f"sqlite:///{self.folder}/{self.count}.db"
        self.told, self.scored, self.joined = {}, set(), set()
        self.history, self.swaps = [], 0
        self.runner = asyncio.Runner()
        self.begin()
        self.take_up("hopeful")

    def begin(self):
        """A new process, as far as the application can tell."""
        self.log = DecisionLog(self.url, clock=lambda: NOW)
        self.states = []
        self.swap = Swap(clock=lambda: NOW, prepare=self.with_state)
        self.app = App(Engine(None), models=self, log=self.log, clock=lambda: NOW)

    def with_state(self, served):
        state = open_state("memory", self.log, served.engine.predictor)
        state.catch_up()
        self.states.append(state)
        return replace(served, state=state)

    def lineup(self):
        return line_up(self.swap.of(URI), self.swap.previous(URI), (), self.swap.of)

    def status(self):
        return {}

    def close(self):
        pass

    def take_up(self, kind):
        self.swaps += 1
        located = Located(self.versions[kind], str(self.swaps))
        assert self.swap.put(URI, located)
        self.history.append(located)

    def post(self, path, content):
        async def once():
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://payrescue") as client:
                return await client.post(path, json=content)

        return self.runner.run(once())

    @rule(n=st.integers(0, 9))
    def score(self, n):
        answer = self.post("/v1/score", {"attempt": {**ATTEMPT, "attempt_id": f"a{n}"}})
        assert answer.status_code == 200
        assert answer.json()["model"]["version"] == self.history[-1].version
        assert not answer.json()["degraded"]
        self.scored.add(f"a{n}")

    @rule(n=st.integers(0, 9), end=st.sampled_from(ENDS))
    def outcome(self, n, end):
        told = {"attempt_id": f"a{n}", "resolved_at": RESOLVED, "outcome": end}
        before = self.told.get(f"a{n}")
        answer = self.post("/v1/outcomes", told)
        if before is None:
            assert answer.json()["accepted"] == 1
            self.told[f"a{n}"] = end
        elif before == end:
            # Of an attempt that has become known since, it is told anew: those who follow the log hear of it now
            new = f"a{n}" in self.scored - self.joined
            assert (answer.json()["accepted"], answer.json()["duplicates"]) == (int(new), int(not new))
        else:
            assert answer.status_code == 409
        if before in {None, end} and f"a{n}" in self.scored:
            self.joined.add(f"a{n}")  # an attempt that is not known yet is joined when its outcome is told again

    @rule(kind=st.sampled_from(("hopeful", "gloomy")))
    def reload(self, kind):
        self.take_up(kind)

    @precondition(lambda self: len(self.history) > 1)
    @rule()
    def rollback(self):
        self.history.pop()
        assert self.swap.put(URI, self.history[-1])

    @rule()
    def restart(self):
        self.end()
        self.begin()
        assert self.swap.put(URI, self.history[-1])

    def end(self):
        for state in self.states:
            state.close()
        self.log.close()

    @invariant()
    def acknowledged_outcomes_are_in_the_log_in_one_order(self):
        known = self.log.after(0, 1_000)
        assert [one.seq for one in known] == sorted({one.seq for one in known})
        assert {one.attempt_id: one.fields["outcome"] for one in known} == {
            name: self.told[name] for name in self.joined
        }

    def teardown(self):
        self.end()
        self.runner.close()


def test_what_was_promised_holds_whatever_comes_in_whatever_order(versions, tmp_path, figure):
    Service.versions, Service.folder, Service.count = versions, tmp_path, 0
    run_state_machine_as_test(Service, settings=settings(max_examples=25, stateful_step_count=25, deadline=None))
    figure(f"state machine: {Service.count} histories of up to 25 steps, 0 promises broken")
