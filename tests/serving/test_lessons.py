"""A policy that learns is told of each outcome once, in the order of the log, and of those from before it was started."""

import threading
import time

import pytest

from models.policies import Decision, Way
from models.success_rate import SuccessRate
from serving.assembly import assemble
from serving.learning import Lessons, Policies
from serving.settings import ServiceSettings
from serving.state import KeptUp

PAID = {"country": "KR", "method": "card", "route": "north", "resolved_at": 1, "outcome": "success"}


def told(n):
    return {"attempt_id": f"a{n}", "resolved_at": n, "n": n}


class Pupil:
    name = "pupil"

    def __init__(self):
        self.told = []

    def record(self, fields):
        self.told.append(fields["n"])

    def probabilities(self, decision):
        return [1.0]


def test_what_the_log_has_is_told_once_and_in_its_order(log_of):
    pupil, log = Pupil(), log_of(*map(told, (1, 2, 5)))
    lessons = Lessons(pupil, log)
    assert lessons.follow() == 3
    assert lessons.follow() == 0
    log.tell(told(9))
    assert lessons.follow() == 1
    assert pupil.told == [1, 2, 5, 9]


def test_it_goes_on_while_the_service_runs(log_of):
    pupil, log = Pupil(), log_of()
    kept_up = KeptUp(Lessons(pupil, log), every_s=0.01)
    kept_up.start()
    log.tell(told(3))
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


def test_an_outcome_that_a_policy_cannot_take_does_not_stop_the_next(caplog, log_of):
    pupil, log = Pupil(), log_of(*map(told, (1, 2, 3)))
    del log.entries[1].fields["n"]
    assert Lessons(pupil, log).follow() == 3
    assert pupil.told == [1, 3]
    assert "outcome 2 cannot be learnt from (KeyError)" in caplog.text


def test_a_start_tells_it_the_last_of_a_long_log(log_of):
    pupil = Pupil()
    lessons = Lessons(pupil, log_of(*map(told, range(1, 8))), most=3)
    assert (lessons.follow(), pupil.told) == (3, [5, 6, 7])


@pytest.fixture
def policies(log_of):
    declined = {**PAID, "attempt_id": "a2", "route": "harbor", "outcome": "bank_decline"}
    made = Policies(None, log_of(PAID | {"attempt_id": "a1"}, declined))
    yield made
    made.close()


def test_two_arms_of_one_policy_share_nothing_but_the_outcomes(policies):
    one, other = (policies.of("success_rate", whose) for whose in ("e/a", "e/b"))
    ways = [Way("retry_same", "card", "harbor"), Way("retry_other_route", "card", "north")]
    assert one is not other
    assert one.probabilities(Decision(ways, "KR")) == other.probabilities(Decision(ways, "KR"))
    assert one.probabilities(Decision(ways, "KR"))[1] > 0.9
    for _ in range(30):
        one.record({**PAID, "route": "harbor"})
        one.record({**PAID, "outcome": "technical"})
    assert one.probabilities(Decision(ways, "KR")) != other.probabilities(Decision(ways, "KR"))


def test_an_arm_keeps_what_it_has_learnt_while_it_is_there(policies):
    kept, gone = policies.of("success_rate", "e/a"), policies.of("success_rate", "e/b")
    policies.keep_only({("success_rate", "e/a")})
    assert policies.of("success_rate", "e/a") is kept
    assert policies.of("success_rate", "e/b") is not gone


def lessons_running():
    return [thread for thread in threading.enumerate() if thread.name == "payrescue-state"]


def test_lessons_end_with_their_arm_and_with_the_service(policies):
    before = len(lessons_running())
    for whose in ("", "e/a", "e/b"):
        policies.of("success_rate", whose)
    assert len(lessons_running()) == before + 3
    policies.keep_only(())
    assert len(lessons_running()) == before + 1
    policies.close()
    assert len(lessons_running()) == before


def test_a_service_that_ends_leaves_no_thread_behind(tmp_path):
    before = set(threading.enumerate())
    settings = ServiceSettings(
        log=f"sqlite:///{tmp_path}/log.db",
        policy="success_rate",
        model="none",
        access_log=0.0,
        follow_s=0,
        snapshots="none",
    )
    assemble(settings, lambda: None, None).close()
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert left <= {"meters"}
