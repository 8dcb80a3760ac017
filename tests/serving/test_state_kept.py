"""The state in process, kept from one start to the next: the same as if all of the log were read, or not taken at all."""

import asyncio
import hashlib
import io
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.definitions import EVIDENCE_CODES, RAW_CODES
from features.history import History
from features.rows import Encoder
from models.engine import ScoreRequest
from serving import state_memory
from serving.state_declines import KEPT_US
from serving.state_fold import REMEMBERED_US, Base
from serving.state_kept import KeptStates
from serving.state_memory import MemoryState

T0 = 1_770_000_000_000_000
HOUR = 3_600_000_000
DAY = 24 * HOUR
OUTCOMES = ("success", "technical", "bank_decline", "user_abandonment")


def ended(n, resolved, **changed):
    return {
        "attempt_id": f"a{n}", "payment_id": f"p{n}", "customer_id": f"c{n % 5}", "created_at": resolved - HOUR,
        "amount_minor": 1_000, "currency": "KRW", "country": "KR", "method": "card", "card_brand": "visa",
        "route": ("north", "harbor")[n % 2], "resolved_at": resolved, "outcome": OUTCOMES[n % 4], **changed,
    }  # fmt: skip


def base():
    """A model's past that ends at T0; the same each time, and each time its own."""
    encoder = Encoder(dict.fromkeys((*RAW_CODES, *EVIDENCE_CODES, "reason"), ()), {"KRW": 3.0})
    history = History()
    history.record(encoder.from_ended([ended(0, T0)]))
    return Base(encoder, history)


def replayed(log, made=None):
    """A state that has read all of a log from its beginning."""
    store = MemoryState(log, base() if made is None else made)
    store._begun = True
    store.follow()
    return store


def same(found, wanted, attempts, now):
    """Whether two states answer alike, bit for bit."""
    one, other = found._base.history, wanted._base.history
    assert set(one.slots) == set(other.slots)
    for mine, theirs in zip(one.copies(one.slots), other.copies(one.slots), strict=True):
        np.testing.assert_array_equal(mine, theirs, strict=True)
    assert (one.until, found.seq, found._latest) == (other.until, wanted.seq, wanted._latest)
    pasts = [asyncio.run(store.past(ScoreRequest({}), None)) for store in (found, wanted)]
    for attempt in attempts:
        asked = {name: value for name, value in attempt.items() if name != "resolved_at"}
        asked |= {"payment_id": "another", "created_at": now}
        for one_amount in (False, True):
            told = [past.declines(asked, since=now - 30 * DAY, one_amount=one_amount) for past in pasts]
            assert told[0] == told[1]
        if (
            attempt["resolved_at"] > found._latest - REMEMBERED_US
        ):  # older ones may be forgotten, by the batches they came in
            assert len({past.has(asked) for past in pasts}) == 1


@pytest.fixture
def kept(tmp_path):
    return KeptStates(tmp_path / "kept")


@pytest.fixture(autouse=True)
def worth_keeping(monkeypatch):
    monkeypatch.setattr(state_memory, "_WORTH_KEEPING", 1)


class TestWhereAStateBegins:
    @settings(max_examples=60, derandomize=True)
    @given(st.lists(st.integers(-90, 40), min_size=1, max_size=60), st.randoms(use_true_random=False))
    def test_what_is_not_read_changes_no_answer(self, log_of, days, rng):
        times = [T0 + day * DAY + rng.randrange(DAY) for day in days]
        attempts = [ended(n, at, customer_id=f"c{n % 3}") for n, at in enumerate(times, 1)]
        log = log_of(*attempts)
        found = MemoryState(log, base())
        found.follow()
        same(found, replayed(log), attempts, max(times))

    def test_it_begins_with_what_may_still_count(self, log_of):
        log = log_of(*(ended(n, T0 + (n - 100) * DAY) for n in range(1, 101)))
        sizes = []
        after = log.after
        log.after = lambda seq, most: sizes.append(seq) or after(seq, most)
        MemoryState(log, base()).follow()
        assert sizes[0] == 100 - KEPT_US // DAY - 1 or sizes[0] == 100 - KEPT_US // DAY

    def test_of_a_model_that_is_old_all_since_its_end_is_read(self, log_of):
        log = log_of(*(ended(n, T0 + n * DAY) for n in range(1, 101)))
        store = MemoryState(log, base())
        assert store.follow() == 100


class TestKept:
    @pytest.mark.parametrize("cut", [1, 7, 50, 99, 100])
    def test_with_what_came_since_it_is_what_a_whole_replay_gives(self, log_of, kept, cut):
        rng = random.Random(cut)
        attempts = [ended(n, T0 + n * HOUR + rng.randrange(HOUR)) for n in range(1, 101)]
        before = MemoryState(log_of(*attempts[:cut]), base(), kept=kept)
        before.follow()
        before.close()
        log = log_of(*attempts)
        found = MemoryState(log, base(), kept=kept)
        assert found.follow() == 100 - cut
        same(found, replayed(log), attempts, T0 + 101 * HOUR)

    def test_what_is_remembered_of_attempts_is_kept_over_both_generations(self, log_of, kept):
        times = [T0 + 1, T0 + REMEMBERED_US + 2, T0 + 2 * REMEMBERED_US + 3]
        attempts = [ended(n, at) for n, at in enumerate(times, 1)]
        log = log_of()
        before = MemoryState(log, base(), kept=kept)
        for attempt in attempts:
            log.tell(attempt)
            before.follow()
        before.close()
        found = MemoryState(log, base(), kept=kept)
        assert found.follow() == 0
        assert (found._ids, found._older_ids, found._ids_since) == (before._ids, before._older_ids, before._ids_since)
        assert list(found._declines) == list(before._declines)

    def test_it_is_kept_every_so_many_outcomes_and_only_the_newest_stays(self, log_of, kept, monkeypatch, tmp_path):
        monkeypatch.setattr(state_memory, "_KEEP_EVERY", 10)
        log = log_of()
        store = MemoryState(log, base(), kept=kept)
        stood = []
        for n in range(1, 36):
            log.tell(ended(n, T0 + n))
            store.follow()
            store.keep()
            stood.append(kept.seq(store._artefact))
        assert stood == [0] * 9 + [10] * 10 + [20] * 10 + [30] * 6
        assert len(list((tmp_path / "kept").iterdir())) == 1

    def test_what_another_worker_has_kept_is_not_written_again(self, log_of, kept, monkeypatch, tmp_path):
        monkeypatch.setattr(state_memory, "_KEEP_EVERY", 10)
        log = log_of(*(ended(n, T0 + n) for n in range(1, 16)))
        one, other = (MemoryState(log, base(), kept=kept) for _ in range(2))
        one.follow()
        one.keep()
        (path,) = (tmp_path / "kept").iterdir()
        written = path.stat().st_mtime_ns
        other._begun = True
        other.follow()
        other.keep()
        assert [(path.stat().st_mtime_ns, path.name)] == [(written, one.name) for one in (tmp_path / "kept").iterdir()]

    def test_without_a_model_declines_are_kept(self, log_of, kept):
        log = log_of(*(ended(n, T0 + n, outcome="bank_decline") for n in range(1, 9)))
        before = MemoryState(log, None, kept=kept)
        before.follow()
        before.close()
        found = MemoryState(log, None, kept=kept)
        assert (found.follow(), found._declines) == (0, before._declines)


class TestNotTaken:
    @pytest.fixture
    def log(self, log_of):
        return log_of(*(ended(n, T0 + n * HOUR) for n in range(1, 21)))

    @pytest.fixture
    def path(self, log, kept, tmp_path):
        store = MemoryState(log, base(), kept=kept)
        store.follow()
        store.close()
        (path,) = (tmp_path / "kept").iterdir()
        return path

    def test_one_with_a_flipped_bit(self, log, kept, path, caplog):
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
        found = MemoryState(log, base(), kept=kept)
        assert found.follow() == 20
        assert "damaged" in caplog.text
        assert not path.exists()

    @pytest.mark.parametrize("left", [0, 100])
    def test_one_that_is_cut_short(self, log, kept, path, left):
        path.write_bytes(path.read_bytes()[:left])
        assert MemoryState(log, base(), kept=kept).follow() == 20

    @pytest.mark.parametrize("other", ["encoder", "until", "sums", "none"])
    def test_one_of_another_artefact(self, log, kept, path, other):
        made = base()
        if other == "encoder":
            made.encoder.usual_log2["KRW"] = 4.0
        elif other == "until":
            made.history.until -= 1
        elif other == "sums":
            made.history.sums[0, 0, 0] += 1e-9
        assert MemoryState(log, None if other == "none" else made, kept=kept).follow() == 20

    def test_one_that_another_log_has_written(self, log_of, kept, path):
        log = log_of(*(ended(n, T0 + n * HOUR) for n in range(101, 131)))
        assert MemoryState(log, base(), kept=kept).follow() == 30

    def test_one_that_is_ahead_of_the_log(self, log, log_of, kept, path):
        shorter = log_of(*(known.fields for known in log.entries[:5]))
        assert MemoryState(shorter, base(), kept=kept).follow() == 5

    def test_one_whose_name_says_another_place(self, log, kept, path):
        path.rename(path.with_name(path.name.replace("-20-", "-19-")))
        assert MemoryState(log, base(), kept=kept).follow() == 20

    @pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 no archive either"])
    def test_one_that_is_no_archive_though_its_name_has_its_hash(self, log, kept, path, content, caplog):
        artefact = path.name.partition("-")[0]
        path.unlink()
        path.with_name(f"{artefact}-20-{hashlib.sha256(content).hexdigest()}.state").write_bytes(content)
        assert MemoryState(log, base(), kept=kept).follow() == 20
        assert caplog.text.count("a kept state is damaged") == 1

    def test_one_that_would_execute_something(self, log, kept, path, tmp_path):
        class Executes:
            def __reduce__(self):
                return Path.touch, (tmp_path / "executed",)

        raw = io.BytesIO()
        np.savez(raw, stands=np.array([Executes()], dtype=object))
        digest = hashlib.sha256(raw.getvalue()).hexdigest()
        artefact = path.name.partition("-")[0]
        path.unlink()
        path.with_name(f"{artefact}-20-{digest}.state").write_bytes(raw.getvalue())
        assert MemoryState(log, base(), kept=kept).follow() == 20
        assert not (tmp_path / "executed").exists()


class TestTheFolder:
    def test_one_that_cannot_be_written_is_told_of_once_and_changes_nothing(self, log_of, tmp_path, caplog):
        (tmp_path / "file").write_text("")
        log = log_of()
        store = MemoryState(log, base(), kept=KeptStates(tmp_path / "file"))
        for n in range(1, 4):
            log.tell(ended(n, T0 + n))
            store.follow()
            store.close()
        assert (store.seq, caplog.text.count("cannot be kept")) == (3, 1)

    def test_of_many_artefacts_the_last_few_are_kept(self, log_of, kept, tmp_path):
        log = log_of(ended(1, T0 + 1))
        for n in range(7):
            made = base()
            made.encoder.usual_log2["KRW"] = float(n)
            store = MemoryState(log, made, kept=kept)
            store.follow()
            store.close()
        assert len(list((tmp_path / "kept").iterdir())) == 4

    def test_a_mark_of_no_outcome_keeps_nothing(self, log_of, kept, tmp_path):
        log = log_of(ended(1, T0 + 1))
        store = MemoryState(log, base(), kept=kept)
        store.follow()
        log.entries.clear()
        store.close()
        assert not (tmp_path / "kept").exists()

    def test_two_that_write_at_once_do_not_write_into_each_other(self, log_of, kept, monkeypatch):
        log = log_of(*(ended(n, T0 + n) for n in range(1, 9)))
        one, other = (MemoryState(log, base(), kept=kept) for _ in range(2))
        for store in (one, other):
            store.follow()
        save, told = np.savez, []

        def meanwhile(*given, **more):
            monkeypatch.setattr(np, "savez", save)
            other.close()
            told.append(len(list(kept._folder.glob("*.state"))))
            save(*given, **more)

        monkeypatch.setattr(np, "savez", meanwhile)
        one.close()
        assert told == [1]
        assert kept.newest(one._artefact, log).seq == 8
        assert not kept._complained

    def test_a_file_that_goes_away_while_the_folder_is_looked_through_is_no_trouble(self, log_of, kept, monkeypatch):
        log = log_of(ended(1, T0 + 1))
        store = MemoryState(log, base(), kept=kept)
        store.follow()
        kept._folder.mkdir()
        gone = kept._folder / "x.1.part"
        monkeypatch.setattr(Path, "glob", lambda folder, pattern: [gone])
        store.close()
        assert not kept._complained

    def test_a_snapshot_is_read_as_it_was_written(self, log_of, kept):
        log = log_of(*(ended(n, T0 + n) for n in range(1, 9)))
        store = MemoryState(log, base(), kept=kept)
        store.follow()
        store.close()
        found = kept.newest(store._artefact, log)
        assert (found.seq, found.mark, found.ids) == (8, log.mark(8), store._ids)
        assert replace(found, history=None, declines={}).since == store._ids_since
