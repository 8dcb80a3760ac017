"""`payrescue prune-log`: what goes, what stays, and that nobody notices of what stayed."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

import payrescue
from features.errors import BadInput
from models.artefact import Artefact, save
from models.engine import Engine
from serving.log_commands import export_log, prune_log
from serving.log_prune import LEAST_US, prune
from serving.log_records import LoggedDecision, OutcomeConflict
from serving.log_rows import written
from serving.log_store import Telling
from serving.outcomes import Outcome
from serving.requests import RequestReader
from serving.state_fold import Base
from serving.state_memory import MemoryState

DAY = 86_400_000_000
NOW = 1_767_700_000_000_000


@pytest.fixture
def log(store, question):
    return Written(store, question)


class Written:
    """A log, by days before now."""

    def __init__(self, store, question):
        self.store, self.question, self.now = store, question, NOW

    def decision(self, attempt_id, asked_days, *, before=False, shown=True):
        raw = self.question | {"attempt": self.question["attempt"] | {"attempt_id": attempt_id, "customer_id": "c1"}}
        if before:
            del raw["evidence"]
        request = RequestReader().read(raw, now=2**62)
        attempt = {**request.attempt, "created_at": self.now - round(asked_days * DAY)}
        request = replace(request, attempt=attempt)
        answer = Engine(None).score(request, request_id="r")
        made = LoggedDecision(request, answer, self.now - round(asked_days * DAY), 9, None, shown)
        self.store.write([written(made)], [], told_at=0)

    def outcome(self, attempt_id, resolved_days, told_days=None, *, what="bank_decline"):
        told_at = self.now - round((resolved_days if told_days is None else told_days) * DAY)
        told = Outcome(attempt_id, self.now - round(resolved_days * DAY), what, None, {})
        (result,) = self.store.write([], [Telling([told])], told_at=told_at)
        return result

    def attempt(self, attempt_id, days):
        self.decision(attempt_id, days, before=True)
        self.outcome(attempt_id, days)

    @property
    def left(self):
        """The attempts that the log still has outcomes and decisions of."""
        with self.store.reading() as connection:
            tables = ("payrescue_outcomes", "payrescue_decisions")
            every = [connection.exec_driver_sql(f"SELECT attempt_id FROM {table}").scalars() for table in tables]
            return [sorted(rows) for rows in every]


def pruned(log, days=100, until=NOW, **options):
    found = prune(log.store, NOW - days * DAY, until, **options)
    return found.outcomes, found.decisions


def test_what_is_older_goes_and_the_rest_stays(log):
    for attempt_id, days in (("a1", 300), ("a2", 101), ("a3", 99), ("a4", 1)):
        log.attempt(attempt_id, days)
    assert pruned(log) == (2, 2)
    assert log.left == [["a3", "a4"], ["a3", "a4"]]


def test_a_dry_run_says_what_would_go_and_takes_nothing(log):
    for n in range(8):
        log.attempt(f"a{n}", 97 + n)
    log.decision("a7", 5)
    before = log.left
    told = pruned(log, dry=True)
    assert log.left == before
    assert pruned(log) == told == (3, 3)


def test_what_a_model_has_not_learnt_from_stays_however_old(log):
    for attempt_id, days in (("a1", 300), ("a2", 200)):
        log.attempt(attempt_id, days)
    assert pruned(log, until=NOW - 250 * DAY) == (1, 1)
    assert log.left == [["a2"], ["a2"]]
    assert prune(log.store, NOW - 100 * DAY, NOW - 250 * DAY).needed == 1
    assert pruned(log, until=None) == (1, 1)


@pytest.mark.parametrize("kept_for", ["told late", "asked again"])
def test_an_old_attempt_of_which_something_was_heard_since_stays_whole(log, kept_for):
    log.decision("a1", 300, before=True)
    log.outcome("a1", 300, 50 if kept_for == "told late" else 300)
    if kept_for == "asked again":
        log.decision("a1", 40)
    assert pruned(log) == (0, 0)


def test_decisions_go_without_an_outcome_and_those_in_shadow_with_theirs(log):
    log.decision("a1", 300)
    log.decision("a2", 300, shown=False)
    log.decision("a3", 30, shown=False)
    assert pruned(log) == (0, 2)
    assert log.left == [[], ["a3"]]


def test_an_outcome_that_is_kept_is_repeated_and_contradicted_as_before(log):
    log.attempt("a1", 300)
    log.attempt("a2", 60)
    pruned(log)
    assert log.outcome("a2", 60).duplicates == 1
    assert isinstance(log.outcome("a2", 60, what="technical"), OutcomeConflict)


def test_seq_goes_on_where_it_was(log):
    for n in range(3):
        log.attempt(f"a{n}", 300)
    pruned(log)
    log.attempt("b", 1)
    assert [known.seq for known in log.store.after(0, 9)] == [4]


def test_it_goes_by_pieces_and_says_how_far_it_is(log, monkeypatch):
    monkeypatch.setattr("serving.log_prune._AT_ONCE", 2)
    for n in range(7):
        log.attempt(f"a{n}", 300 - n)
    far = []
    assert pruned(log, tell=lambda so_far: far.append(so_far.outcomes + so_far.decisions)) == (7, 7)
    assert far == [2, 4, 6, 7, 9, 11, 13, 14]


def test_a_state_that_is_filled_anew_is_what_it_was(log, artefact: Artefact):
    until = NOW - 120 * DAY

    def state():
        history = artefact.history.copy()
        history.until = until
        made = MemoryState(log.store, Base(artefact.encoder, history))
        made.follow()
        return made

    for n, days in enumerate((400, 200, 150, 119, 90, 40, 20, 3)):
        log.attempt(f"a{n}", days)
    before = state()
    assert pruned(log, days=100, until=until) == (3, 3)
    after = state()
    mine, theirs = after._base.history, before._base.history
    assert mine.slots == theirs.slots
    for one, other in zip(mine.copies(mine.slots), theirs.copies(mine.slots), strict=True):
        assert (one == other).all()
    assert (after._declines, after._ids, after.seq) == (before._declines, before._ids, before.seq)


class TestCommand:
    @pytest.fixture
    def folder(self, artefact, tmp_path):
        save(artefact, tmp_path / "model")
        return tmp_path / "model"

    @pytest.fixture
    def said(self):
        return []

    def test_it_says_what_went_and_what_a_model_needs(self, log, url, folder, artefact, said):
        log.now = artefact.history.until + 200 * DAY
        for attempt_id, days in (("a1", 201), ("a2", 199), ("a3", 60)):
            log.attempt(attempt_id, days)
        prune_log(url, 100, [str(folder), "none"], now=log.now, say=said.append)
        assert said[-1].splitlines() == [
            "1 of 3 decisions and 1 of 3 outcomes are gone",
            "1 more outcomes are as old, but a model that serves has not learnt from them",
        ]
        assert log.left == [["a2", "a3"], ["a2", "a3"]]

    def test_a_dry_run_only_says_it(self, log, url, said):
        log.attempt("a1", 90)
        prune_log(url, 50, ["none"], now=NOW, dry=True, say=said.append)
        assert said == ["1 of 1 decisions and 1 of 1 outcomes would go"]
        assert log.left == [["a1"], ["a1"]]

    @pytest.mark.parametrize("days", [0, 30.9, float("nan"), 1e9])
    def test_no_shorter_than_limits_look_back(self, url, store, days, said):
        with pytest.raises(BadInput, match="--older-than"):
            prune_log(url, days, ["none"], now=NOW, say=said.append)
        assert LEAST_US == 31 * DAY

    def test_a_model_that_cannot_be_found_keeps_everything(self, log, url, tmp_path, said):
        log.attempt("a1", 300)
        with pytest.raises(BadInput, match="--model"):
            prune_log(url, 50, [str(tmp_path / "nowhere")], now=NOW, say=said.append)
        (tmp_path / "damaged").mkdir()
        (tmp_path / "damaged" / "manifest.json").write_text("{}")
        with pytest.raises(BadInput, match="--model"):
            prune_log(url, 50, [str(tmp_path / "damaged")], now=NOW, say=said.append)
        assert log.left == [["a1"], ["a1"]]

    def test_what_is_left_can_be_exported(self, log, url, tmp_path, said):
        for attempt_id, days in (("a1", 300), ("a2", 60)):
            log.attempt(attempt_id, days)
        prune_log(url, 100, ["none"], now=NOW, say=said.append)
        export_log(url, tmp_path / "left.parquet", say=said.append)
        assert said[-1].startswith("1 attempts of 1 payments, 1 with an outcome")

    def test_from_the_command_line(self, tmp_path):
        done = CliRunner().invoke(
            payrescue.main,
            ["prune-log", "--log", f"sqlite:///{tmp_path}/none.db", "--older-than", "90", "--model", "none"],
        )
        assert (done.exit_code, Path(tmp_path / "none.db").exists()) == (2, False)
        assert "no such file" in done.output
