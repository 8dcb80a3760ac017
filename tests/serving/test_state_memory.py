"""The state in process: what enters, what is remembered, and what a request sees of it."""

import asyncio
import threading

import numpy as np
import pytest

from features.history import History
from features.rows import Encoder
from models.engine import Engine, ScoreRequest
from models.predictor import Predictor
from serving import state_memory
from serving.state import OnlineState, open_state
from serving.state_fold import REMEMBERED_US, Base
from serving.state_memory import MemoryState

T0 = 1_770_000_000_000_000
MINUTE = 60_000_000


class Steady:
    tells_all = False

    reason = None

    def success_probability(self, matrix, *, few=False):
        return np.full(len(matrix), 0.5)

    def outcome_probability(self, matrix, *, few=False):
        return np.full((len(matrix), 5), 0.2)


def ended(n, resolved=None, **changed):
    """An attempt that succeeded, as the log knows it."""
    resolved = T0 + n * MINUTE if resolved is None else resolved
    return {
        "attempt_id": f"a{n}", "payment_id": f"p{n}", "customer_id": "c", "created_at": resolved - MINUTE,
        "amount_minor": 1_000, "currency": "KRW", "country": "KR", "method": "card", "card_brand": "visa",
        "route": "north", "resolved_at": resolved, "outcome": "success", **changed,
    }  # fmt: skip


@pytest.fixture
def encoder():
    from features.definitions import EVIDENCE_CODES, RAW_CODES

    return Encoder(dict.fromkeys((*RAW_CODES, *EVIDENCE_CODES, "reason"), ()), {"KRW": 3.0})


@pytest.fixture
def base(encoder):
    """A model's past that ends at T0."""
    history = History()
    history.record(encoder.from_ended([ended(0)]))
    return Base(encoder, history)


def now_of(store):
    return asyncio.run(store.past(ScoreRequest({}), None))


def seen(store, name="customer\x1fc"):
    return now_of(store).copies([name])[0][0, 2].sum()


class TestWhatEnters:
    def test_what_was_resolved_up_to_the_artefact_s_end_does_not_enter_again(self, base, log_of):
        store = MemoryState(log_of(ended(1, T0 - MINUTE), ended(2, T0), ended(3, T0 + 1)), base)
        assert store.follow() == 3
        assert seen(store) == pytest.approx(2.0)

    def test_it_is_what_the_history_would_record(self, base, encoder, log_of):
        told = [
            ended(n, outcome=what) for n, what in enumerate(("success", "technical", "bank_decline", "technical"), 1)
        ]
        wanted = base.history.copy()
        wanted.record(encoder.from_ended(told))
        MemoryState(log_of(*told), base).follow()
        assert base.history.slots == wanted.slots
        for name in ("sums", "times", "streaks"):
            np.testing.assert_array_equal(getattr(base.history, name), getattr(wanted, name), strict=True)

    @pytest.mark.parametrize("odd", [{"created_at": None}, {"amount_minor": "5"}, {"resolved_at": 2**63}])
    def test_an_outcome_that_cannot_be_read_keeps_no_other_out(self, base, caplog, log_of, odd):
        broken = {name: value for name, value in (ended(2) | odd).items() if value is not None}
        store = MemoryState(log_of(ended(1), broken, ended(3)), base)
        assert (store.follow(), store.seq) == (3, 3)
        assert seen(store) == pytest.approx(3.0, rel=1e-3)
        assert "outcome 2" in caplog.text

    def test_without_a_model_declines_are_kept_all_the_same(self, log_of):
        store = MemoryState(log_of(ended(1, outcome="bank_decline")), None)
        store.follow()
        assert now_of(store).declines(ended(9), since=0, one_amount=False) == 1


class TestWhatIsRemembered:
    def test_an_attempt_has_entered_once_its_outcome_did_whatever_its_time(self, base, log_of):
        store = MemoryState(log_of(ended(5)), base)
        assert not now_of(store).has(ended(5))
        store.follow()
        assert now_of(store).has(ended(5))
        assert not now_of(store).has(ended(6, T0 + MINUTE))
        assert not now_of(store).has({"resolved_at": T0 + MINUTE})

    def test_what_the_artefact_holds_has_entered(self, base, log_of):
        past = now_of(MemoryState(log_of(), base))
        assert past.has(ended(7, T0))
        assert past.has({"resolved_at": T0})
        assert not past.has({"attempt_id": "a7"})

    def test_it_is_remembered_for_two_days_and_not_forever(self, base, log_of):
        log = log_of(ended(1))
        store = MemoryState(log, base)
        for hours in (1, 47, 49, 96, 98, 146):
            log.tell(ended(100 + hours, T0 + hours * 60 * MINUTE))
            store.follow()
            if hours <= 49:
                assert now_of(store).has({"attempt_id": "a1"})
        assert not now_of(store).has({"attempt_id": "a1"})
        assert REMEMBERED_US == 48 * 60 * MINUTE

    def test_many_customers_do_not_fill_the_memory(self, base, log_of):
        store = MemoryState(log_of(*(ended(n, customer_id=f"c{n}") for n in range(1, 200))), base, most_slots=100)
        store.follow()
        assert len(base.history.slots) == len(base.history.times) < 100
        assert seen(store, "customer\x1fc199") == pytest.approx(1.0)
        assert seen(store, "customer\x1fc1") == 0.0
        assert seen(store, "route\x1fnorth") == pytest.approx(200.0, rel=0.02)


class TestARequest:
    def test_sees_no_outcome_half_entered(self, base, monkeypatch, log_of):
        """While a request is scored the log waits."""
        log = log_of(*(ended(n) for n in range(1, 300)))
        store = MemoryState(log, base)
        past = now_of(store)
        with past.lock:
            thread = threading.Thread(target=store.follow)
            thread.start()
            thread.join(timeout=0.2)
            assert thread.is_alive()
            assert seen(store) == pytest.approx(1.0)
        thread.join()
        assert seen(store) == pytest.approx(300.0, rel=0.05)

    def test_outcomes_enter_a_few_at_a_time(self, base, monkeypatch, log_of):
        sizes = []
        enter = History.enter
        monkeypatch.setattr(
            History, "enter", lambda self, rows, some, keys: (sizes.append(len(some)), enter(self, rows, some, keys))
        )
        MemoryState(log_of(*(ended(n) for n in range(1, 300))), base).follow()
        assert sum(sizes) == 299
        assert max(sizes) == state_memory._HELD

    def test_an_earlier_attempt_counts_once_before_and_after_its_outcome_is_told(self, base, encoder, log_of):
        failed = ended(1, outcome="technical")
        asked = {**ended(2, T0 + 5 * MINUTE), "payment_id": "p1"}
        request = ScoreRequest({k: v for k, v in asked.items() if k not in {"outcome", "resolved_at"}}, None, (failed,))
        log = log_of()
        predictor = Predictor(encoder, Steady(), base.history, {})
        store, engine = MemoryState(log, base), Engine(predictor)

        def features():
            engine.score(request, request_id="r", past=now_of(store))
            return predictor.features_of(request.attempt, request.previous)

        before = features()
        log.tell(failed)
        store.follow()
        np.testing.assert_array_equal(features(), before)

    def test_two_questions_about_one_attempt_see_what_came_in_between(self, base, encoder, log_of):
        request = ScoreRequest({k: v for k, v in ended(9).items() if k not in {"outcome", "resolved_at"}})
        log = log_of()
        predictor = Predictor(encoder, Steady(), base.history, {})
        store, engine = MemoryState(log, base), Engine(predictor)
        rows = []
        for n in (1, 2):
            engine.score(request, request_id="r", past=now_of(store))
            rows.append(predictor.features_of(request.attempt, request.previous))
            log.tell(ended(n))
            store.follow()
        assert (rows[0] != rows[1]).any()


class TestFollowing:
    @pytest.fixture
    def following(self, base, log_of):
        log = log_of()
        store = MemoryState(log, base)
        state = OnlineState(store, every_s=30.0)
        state.start()
        yield state, log
        state.close()

    def until(self, true):
        for _ in range(2_000):
            if true():
                return True
            threading.Event().wait(0.001)
        return False

    def test_a_nudge_brings_an_outcome_in_at_once(self, following):
        state, log = following
        log.tell(ended(1))
        state.nudge()
        assert self.until(lambda: state.seq == 1)

    def test_without_one_it_looks_now_and_then(self, base, log_of):
        log = log_of()
        state = OnlineState(MemoryState(log, base), every_s=0.01)
        state.start()
        log.tell(ended(1))
        assert self.until(lambda: state.seq == 1)
        state.close()

    def test_a_log_that_fails_is_asked_again_and_told_of_once(self, base, monkeypatch, caplog, log_of):
        monkeypatch.setattr("serving.state._AFTER_A_FAILURE_S", 0.005)
        log, fails = log_of(ended(1)), [True] * 5

        def after(seq, most):
            if fails:
                fails.pop()
                raise ConnectionError("secret")
            return log_of.after(log, seq, most)

        log.after = after
        state = OnlineState(MemoryState(log, base), every_s=0.005)
        state.start()
        assert self.until(lambda: state.seq == 1 and not state.failing)
        state.close()
        assert caplog.text.count("cannot follow") == 1
        assert "secret" not in caplog.text

    def test_it_ends_in_the_middle_of_a_long_log(self, base, monkeypatch, log_of):
        monkeypatch.setattr("serving.state_memory._READ", 2)
        log = log_of(*(ended(n) for n in range(1, 8)))
        store = MemoryState(log, base)
        assert store.follow(lambda: store.seq >= 4) == 4
        assert (store.follow(), store.seq) == (3, 7)

    def test_it_ends(self, following):
        state, _ = following
        state.close()
        assert not state._thread.is_alive()


def test_a_setting_that_is_no_state_is_refused_and_not_repeated(base, log_of):
    from features.errors import BadInput

    with pytest.raises(BadInput, match="memory, or the URL of a Redis") as refused:
        open_state("postgresql://user:hunter2@host/", log_of(), None)
    assert "hunter2" not in str(refused.value)
