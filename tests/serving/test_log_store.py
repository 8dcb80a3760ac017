"""The log in a database, on SQLite and on PostgreSQL: what is kept, what is refused, and in which order it is read."""

import sqlite3
import threading
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa

from features.errors import BadInput
from models.engine import Engine
from serving.log_records import Heard, LoggedDecision, OutcomeConflict, OutcomeTooEarly, Told
from serving.log_rows import Written, written
from serving.log_store import LogStore, Telling
from serving.log_tables import DECISIONS, LOG, OUTCOMES
from serving.outcomes import Outcome
from serving.requests import RequestReader

CREATED = 1_767_605_400_000_000
RESOLVED = CREATED + 21_000_000


@pytest.fixture
def decided(question, now):
    """A decision about an attempt, asked after it failed unless said otherwise."""

    def _decided(attempt_id="a1", *, before=False, engine=None, features=None, shown=True, **attempt):
        raw = question | {"attempt": question["attempt"] | {"attempt_id": attempt_id, **attempt}}
        if before:
            del raw["evidence"]
        request = RequestReader().read(raw, now=now)
        answer = (engine or Engine(None)).score(request, request_id="r1")
        return LoggedDecision(request, answer, now, 950, features, shown)

    return _decided


def outcome(attempt_id="a1", **changed):
    told = Outcome(attempt_id, RESOLVED, "bank_decline", "insufficient_funds", {"response_code": "51"})
    return replace(told, **changed)


def tell(store, *outcomes, patient=False):
    (result,) = store.write([], [Telling(outcomes, patient)], told_at=RESOLVED + 5)
    return result


def rows(store, table):
    return list(store.stream(sa.select(table)))


def test_what_is_written_has_a_place_for_each_column():
    assert Written._fields == tuple(column.name for column in DECISIONS.columns if column.name != "id")


def test_an_answer_that_was_written_for_its_client_is_not_written_again(decided):
    sent = b'{"as": "it was sent"}'
    assert written(decided()._replace(body=sent)).answer == sent.decode()


def test_a_decision_is_kept_as_it_was_made(store, decided):
    features = np.array([0.1, np.nan, -3e30], np.float32)
    made = decided(features=features)
    store.write([written(made)], [], told_at=0)
    (row,) = rows(store, DECISIONS)
    assert (row.attempt_id, row.payment_id, row.request_id, row.latency_us) == ("a1", "p1", "r1", 950)
    assert row.attempt == made.request.attempt
    assert row.evidence == made.request.evidence
    assert row.candidates == list(made.request.candidates)
    assert row.answer == made.answer
    assert row.action == made.answer["suggestion"]["action"]
    assert (row.policy, row.propensity, row.degraded, row.model_version) == ("rules", 1.0, True, None)
    assert row.features == features.tobytes()


def test_what_is_chosen_is_kept_as_far_as_it_was_named(store, decided):
    store.write([written(decided()), written(decided(before=True))], [], told_at=0)
    after, before = (row.chosen for row in rows(store, DECISIONS))
    assert after == {"method": "card", "route": "harbor"}
    assert before == {"method": "card", "route": "north"}


def test_an_outcome_comes_back_with_its_attempt(store, decided):
    made = decided(customer_id="c9", card_months_to_expiry=0.1)
    store.write([written(made)], [Telling([outcome()])], told_at=0)
    (known,) = store.after(0, 10)
    assert (known.seq, known.attempt_id) == (1, "a1")
    assert known.fields == {
        **made.request.attempt,
        "resolved_at": RESOLVED,
        "outcome": "bank_decline",
        "reason": "insufficient_funds",
        "response_code": "51",
    }


def test_the_decision_asked_before_the_attempt_tells_what_it_was(store, decided):
    asked = [decided(before=True, route="first"), decided(before=True, route="newest"), decided(route="after")]
    store.write([*map(written, asked)], [Telling([outcome()])], told_at=0)
    assert store.after(0, 1)[0].fields["route"] == "newest"


def test_what_a_challenger_said_in_shadow_tells_nothing(store, decided):
    store.write([written(decided(shown=False))], [], told_at=0)
    assert tell(store, outcome()).unknown_attempts == 1


def test_the_outcome_s_own_attempt_counts_before_any_decision(store, decided):
    store.write([written(decided(route="asked"))], [], told_at=0)
    attempt = decided(route="done").request.attempt
    tell(store, outcome(attempt=attempt))
    assert store.after(0, 1)[0].fields["route"] == "done"


HOUR = 3_600_000_000


@pytest.fixture
def by_the_hour(store, decided):
    """A log with an outcome for each of these hours."""

    def _told(*hours):
        for i, hour in enumerate(hours):
            store.write([written(decided(f"b{i}"))], [], told_at=0)
            tell(store, outcome(f"b{i}", resolved_at=RESOLVED + hour * HOUR))
        return store

    return _told


@pytest.mark.parametrize(
    ("hours", "until", "window", "starts"),
    [
        ((), 0, 5, 0),
        ((1, 2, 3, 9), 2, 5, 2),  # what was resolved since the model learnt
        ((1, 2, 3, 9), 9, 7, 2),  # what is within the window
        ((1, 2, 3, 9), None, 7, 2),
        ((1, 2, 3, 9), 20, 0, 4),  # nothing
        ((1, 9, 2, 3), 2, 1, 1),  # whatever the order in which they were told
    ],
)
def test_a_state_has_to_be_told_what_its_model_has_not_learnt_and_what_is_recent(
    by_the_hour, hours, until, window, starts
):
    at = None if until is None else RESOLVED + until * HOUR
    assert by_the_hour(*hours).start(at, window * HOUR) == starts


def test_the_latest_is_of_an_attempt_that_is_known(store, decided):
    assert store.latest() == 0
    store.write([written(decided())], [], told_at=0)
    tell(store, outcome())
    tell(store, outcome("nobody's"))
    assert store.latest() == 1


def test_a_mark_tells_an_outcome_from_all_others(store, decided):
    tell(store, outcome(), outcome("a2"))
    first, second = store.mark(1), store.mark(2)
    assert first is not None
    assert first != second
    assert store.mark(1) == first
    assert store.mark(3) is None


def test_the_same_outcome_again_is_a_duplicate(store, decided):
    store.write([written(decided())], [], told_at=0)
    assert (tell(store, outcome()).accepted, tell(store, outcome()).duplicates) == (1, 1)
    assert len(rows(store, OUTCOMES)) == 1


def test_the_same_outcome_twice_in_one_request_is_kept_once(store):
    told = tell(store, outcome(), outcome())
    assert (told.accepted, told.duplicates, told.unknown_attempts) == (1, 1, 2)


@pytest.mark.parametrize(
    "changed",
    [{"resolved_at": RESOLVED + 1}, {"outcome": "success", "reason": None}, {"evidence": {}}, {"reason": None}],
)
def test_another_outcome_of_the_same_attempt_conflicts_and_nothing_of_its_request_is_kept(store, changed):
    tell(store, outcome())
    refused = tell(store, outcome("a2"), outcome(**changed))
    assert isinstance(refused, OutcomeConflict)
    ((place, names),) = refused.differing
    assert place == 1
    assert set(changed) <= {*names, "evidence"}
    assert [row.attempt_id for row in rows(store, OUTCOMES)] == ["a1"]


def test_an_attempt_that_was_told_otherwise_conflicts_and_one_that_was_not_told_does_not(store, decided):
    attempt = decided().request.attempt
    assert tell(store, outcome(attempt=attempt)).accepted == 1
    refused = tell(store, outcome(attempt={**attempt, "amount_minor": 1}))
    assert isinstance(refused, OutcomeConflict)
    assert list(refused.differing[0][1]) == ["attempt"]
    assert tell(store, outcome()).duplicates == 1


def test_a_request_that_is_refused_does_not_hinder_others(store):
    conflicting = Telling([outcome("a2"), outcome(outcome="technical", reason=None)])
    results = store.write([], [Telling([outcome()]), conflicting, Telling([outcome("a3")])], told_at=RESOLVED)
    assert [type(result) for result in results] == [Told, OutcomeConflict, Told]
    assert [row.attempt_id for row in rows(store, OUTCOMES)] == ["a1", "a3"]


def test_an_outcome_from_before_its_attempt_is_refused(store, decided):
    store.write([written(decided())], [], told_at=0)
    refused = tell(store, outcome("a2"), outcome(resolved_at=CREATED - 1))
    assert isinstance(refused, OutcomeTooEarly)
    assert list(refused.places) == [1]
    assert rows(store, OUTCOMES) == []


def test_an_outcome_of_an_unknown_attempt_is_kept_and_not_followed(store):
    assert tell(store, outcome()) == Told(1, 0, 1, [Heard(None, False, 5)])
    assert store.after(0, 10) == []


def test_told_again_once_its_attempt_is_known_it_is_followed_anew(store, decided):
    tell(store, outcome(), outcome("a2"))
    tell(store, outcome("b1", attempt=decided("b1").request.attempt))
    store.write([written(decided("a2"))], [], told_at=0)
    assert [known.seq for known in store.after(0, 10)] == [3]
    told = tell(store, outcome(attempt=decided().request.attempt), outcome("a2"))
    assert (told.accepted, told.duplicates, told.unknown_attempts) == (2, 0, 0)
    assert [(known.seq, known.attempt_id) for known in store.after(3, 10)] == [(4, "a1"), (5, "a2")]
    assert tell(store, outcome(), outcome("a2")).duplicates == 2


def test_a_decision_that_comes_after_the_outcome_changes_nothing_that_was_read(store, decided):
    tell(store, outcome())
    store.write([written(decided())], [], told_at=0)
    assert store.after(0, 10) == []


def test_the_patient_are_put_off_while_an_attempt_is_unknown(store, decided):
    assert tell(store, outcome(), patient=True) is None
    assert rows(store, OUTCOMES) == []
    store.write([written(decided())], [], told_at=0)
    assert tell(store, outcome(), patient=True).accepted == 1


def test_what_was_said_of_an_attempt_is_told_with_its_outcome(store, decided):
    made = decided()
    made.answer["outcome"] = {"success": 0.625}
    store.write([written(made)], [], told_at=0)
    assert tell(store, outcome()).heard == [Heard(0.625, False, 5)]


def test_only_so_many_are_read_at_once_in_order(store, decided):
    attempts = [decided(f"a{i}") for i in range(5)]
    store.write([*map(written, attempts)], [Telling([outcome(f"a{i}") for i in (3, 1, 4, 0, 2)])], told_at=0)
    assert [known.attempt_id for known in store.after(0, 2)] == ["a3", "a1"]
    assert [known.attempt_id for known in store.after(2, 2)] == ["a4", "a0"]
    assert [known.seq for known in store.after(4, 9)] == [5]


def test_who_follows_the_log_misses_no_outcome_that_others_write(store, url, decided):
    attempt = decided().request.attempt
    failed = []

    def write(name):
        ours = LogStore(url)
        try:
            for i in range(25):
                told = [outcome(f"{name}-{i}-{j}", attempt=attempt) for j in range(3)]
                ours.write([], [Telling(told)], told_at=0)
        except Exception as error:
            failed.append(error)
        finally:
            ours.close()

    writers = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for writer in writers:
        writer.start()
    followed = []
    while any(writer.is_alive() for writer in writers):
        followed += store.after(followed[-1].seq if followed else 0, 50)
    while more := store.after(followed[-1].seq, 50):
        followed += more
    assert failed == []
    assert [known.seq for known in followed] == list(range(1, 301))
    assert len({known.attempt_id for known in followed}) == 300


def test_several_may_make_the_tables_at_once(url):
    failed = []

    def prepare():
        ours = LogStore(url)
        try:
            ours.prepare()
        except Exception as error:
            failed.append(error)
        finally:
            ours.close()

    threads = [threading.Thread(target=prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_log_of_another_version_is_refused_in_one_sentence(store):
    with store._engine.begin() as connection:
        connection.execute(sa.update(LOG).values(version=9))
    with pytest.raises(BadInput, match=r"is a decision log of version 9; this Payrescue wants version 1$"):
        store.prepare()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("payrescue.db", "want a SQLAlchemy URL"),
        ("mysql://host/log", "of SQLite or PostgreSQL"),
        ("sqlite://", "want a file"),
        ("sqlite:///:memory:", "want a file"),
        ("postgresql+nosuch://host/log", "driver is not installed"),
    ],
)
def test_a_url_that_no_log_can_have_is_refused(url, said):
    with pytest.raises(BadInput, match=said):
        LogStore(url)


def test_a_file_that_another_writes_as_it_is_opened_is_waited_for(tmp_path):
    """SQLite itself gives up at once where it is to keep its journal otherwise."""
    writer = sqlite3.connect(tmp_path / "log.db", isolation_level=None, check_same_thread=False)
    writer.execute("CREATE TABLE others (id)")
    writer.execute("BEGIN IMMEDIATE")
    store = LogStore(f"sqlite:///{tmp_path}/log.db")
    later = threading.Timer(0.3, writer.rollback)
    later.start()
    store.prepare()
    later.join()
    writer.close()
    tell(store, outcome())
    store.close()


def test_a_commit_of_sqlite_is_on_disk_and_readers_do_not_hinder_it(tmp_path):
    store = LogStore(f"sqlite:///{tmp_path}/log.db")
    store.prepare()
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2  # FULL
        connection.execute(sa.select(OUTCOMES)).all()
        tell(store, outcome())
    store.close()


def test_a_log_needs_no_table_of_its_own_file(tmp_path):
    sqlite3.connect(tmp_path / "shop.db").execute("CREATE TABLE orders (id)").connection.close()
    store = LogStore(f"sqlite:///{tmp_path}/shop.db")
    store.prepare()
    assert tell(store, outcome()).accepted == 1
    store.close()
