"""A policy that learns is told of each outcome once, in the order of the log, and of those from before it was started."""

import time

import pytest

from models.policies import Decision, Way
from models.success_rate import SuccessRate
from serving.assembly import assemble
from serving.known import Known
from serving.settings import ServiceSettings
from serving.state import KeptUp, Lessons

PAID = {"country": "KR", "method": "card", "route": "north", "resolved_at": 1, "outcome": "success"}


class Pupil:
    name = "pupil"

    def __init__(self):
        self.told = []

    def record(self, fields):
        self.told.append(fields["n"])

    def probabilities(self, decision):
        return [1.0]


class Log:
    def __init__(self, *seqs):
        self.known = [Known(seq, f"a{seq}", {"n": seq}) for seq in seqs]

    def after(self, seq, most):
        return [one for one in self.known if one.seq > seq][:most]


def test_what_the_log_has_is_told_once_and_in_its_order():
    pupil, log = Pupil(), Log(1, 2, 5)
    lessons = Lessons(pupil, log)
    assert lessons.follow() == 3
    assert lessons.follow() == 0
    log.known.append(Known(9, "a9", {"n": 9}))
    assert lessons.follow() == 1
    assert pupil.told == [1, 2, 5, 9]


def test_it_goes_on_while_the_service_runs():
    pupil, log = Pupil(), Log()
    kept_up = KeptUp(Lessons(pupil, log), every_s=0.01)
    kept_up.start()
    log.known += Log(3).known
    until = time.monotonic() + 5
    while not pupil.told and time.monotonic() < until:
        time.sleep(0.01)
    kept_up.close()
    assert pupil.told == [3]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_service_by_success_rates_learns_from_the_outcomes_that_it_is_told(restarted, send, question, now, tmp_path):
    settings = ServiceSettings(
        log=f"sqlite:///{tmp_path}/log.db", policy="success_rate", model="none", access_log=0.0, follow_s=0
    )
    app = assemble(settings, lambda: None, None)
    for i in range(30):
        route = "north" if i % 2 else "harbor"
        attempt = {**question["attempt"], "attempt_id": f"a{i}", "route": route}
        told = {"attempt_id": f"a{i}", "resolved_at": "2026-01-05T09:31:00Z", "attempt": attempt}
        told["outcome"] = "success" if route == "north" else "bank_decline"
        assert send(app, "POST", "/v1/outcomes", told).json()["accepted"] == 1
    if restarted:
        app.close()
        app = assemble(settings, lambda: None, None)
    policy = app._models.lineup().champion.engine.policy
    assert isinstance(policy, SuccessRate)
    ways = [Way("retry_same", "card", "harbor"), Way("retry_other_route", "card", "north")]
    until = time.monotonic() + 5
    while (found := policy.probabilities(Decision(ways, "KR")))[1] < 0.9 and time.monotonic() < until:
        time.sleep(0.05)
    assert found[1] > 0.9
    app.close()


def test_an_outcome_that_a_policy_cannot_take_does_not_stop_the_next(caplog):
    pupil, log = Pupil(), Log(1, 2, 3)
    del log.known[1].fields["n"]
    assert Lessons(pupil, log).follow() == 3
    assert pupil.told == [1, 3]
    assert "outcome 2 cannot be learnt from (KeyError)" in caplog.text
