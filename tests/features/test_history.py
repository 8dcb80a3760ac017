import io
import pickle
import zipfile

import numba
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import kernel
from features.columns import after_columns
from features.definitions import feature_names
from features.errors import ArtifactMismatch
from features.history import History, features_in_passing, features_of_request, looked_by_name
from features.kernel import PENDING
from features.rows import Encoder

T0 = 1_770_000_000_000_000
MINUTE = 60_000_000
AFTER = after_columns()
AT = {name: place for place, name in enumerate(feature_names())}
FAILURES = ("authentication", "bank_decline", "user_abandonment", "technical", "unclassified")

some = st.none() | st.floats(0, 1e6) | st.integers(0, 9)
attempts_ = st.fixed_dictionaries(
    {
        "payment_id": st.sampled_from(["p1", "p2", "p3"]),
        "created_at": st.integers(0, 40).map(lambda minutes: T0 + minutes * MINUTE),
        "amount_minor": st.integers(0, 10**7),
        "currency": st.sampled_from(["KRW", "USD", "KWD"]),
        "country": st.sampled_from(["KR", "US", "IQ"]),
        "method": st.sampled_from(["card", "wallet"]),
        "lasted": st.none() | st.integers(0, 40),  # minutes until the outcome; None: pending
        "ended": st.sampled_from(["success", *FAILURES]),
    },
    optional={
        "customer_id": st.sampled_from(["c1", "c2", None]),
        "issuer": st.sampled_from(["i1", "i2", None]),
        "route": st.sampled_from(["north", "south", None]),
        "issuer_country": st.sampled_from(["KR", "US", None]),
        "merchant_country": st.sampled_from(["KR", "US", None]),
        "auth_flow": st.sampled_from(["challenge", "none", None]),
        "prior_payments": st.none() | st.integers(0, 3),
        "form_seconds": some,
        "stored": st.none() | st.booleans(),
        "reason": st.sampled_from(["processor_error", "generic_decline", None]),
        "duration_s": some,
    },
)


@pytest.fixture(scope="module")
def market(attempts):
    """Attempts of which no two began at one moment."""
    return attempts.drop_duplicates("created_at", ignore_index=True)


@pytest.fixture(scope="module")
def past(rows):
    past = History()
    past.record(rows)
    return past


def as_told(drawn):
    """Hypothesis' attempts as fields: an outcome, its moment and its reason go together, or are all missing."""
    told = []
    for i, one in enumerate(drawn):
        fields = {name: value for name, value in one.items() if value is not None and name not in {"lasted", "ended"}}
        if one["lasted"] is None:
            fields = {name: value for name, value in fields.items() if name not in {"reason", "duration_s"}}
        else:
            fields |= {"resolved_at": one["created_at"] + one["lasted"] * MINUTE, "outcome": one["ended"]}
        told.append({"attempt_id": f"a{i}", **fields})
    return told


def order_of(rows):
    return np.lexsort((rows.position, rows.created)).tolist()


def chain(rows, i):
    """The rows of a payment's earlier attempts, oldest first."""
    found = []
    while (i := int(rows.previous[i])) >= 0:
        found.append(i)
    return found[::-1]


def before(fields):
    return {name: value for name, value in fields.items() if name not in AFTER}


def as_known(fields, at):
    """What is known of an earlier attempt at a moment."""
    return fields if fields.get("resolved_at", PENDING) <= at else before(fields)


class TestOnePath:
    """A table and a request: the same features, bit for bit."""

    def replay(self, rows, fields, wanted, request_rows, comes_before, encoder):
        """For each wanted row, the features of a request that is made when the past has moved that far."""
        past = History()
        keys, updates, entered = past.keys_of(rows), rows.by_resolution(), 0
        for i in order_of(rows):
            if i not in wanted:
                continue
            first = entered
            while entered < len(updates) and comes_before(rows, updates[entered], i):
                entered += 1
            past.enter(rows, updates[first:entered], keys)
            earlier = chain(rows, i)[-50:]
            previous = [as_known(fields[j], rows.created[i]) for j in earlier]
            request = request_rows(previous, [before(fields[i])], encoder)
            yield i, features_of_request(request[0], past, *request[1:], entered=range(len(earlier)))[0]

    def test_every_kind_of_attempt_of_a_market(
        self, attempts, rows, matrix, encoder, as_fields, request_rows, comes_before
    ):
        fields = as_fields(attempts)
        retries = np.flatnonzero(rows.previous >= 0)
        rng = np.random.default_rng(1)
        wanted = {*rng.choice(len(rows), 400, replace=False).tolist(), *retries[:200].tolist()}
        compared = 0
        for i, found in self.replay(rows, fields, wanted, request_rows, comes_before, encoder):
            np.testing.assert_array_equal(found, matrix[i], strict=True)
            compared += 1
        assert compared == len(wanted)
        assert len(retries) > 100

    @settings(max_examples=60, deadline=None)
    @given(drawn=st.lists(attempts_, min_size=1, max_size=12), seen=st.integers(0, 12))
    def test_whatever_the_attempts_with_values_missing_or_never_seen(
        self, drawn, seen, as_table, request_rows, comes_before
    ):
        fields = as_told(drawn)
        table = as_table(fields)
        encoder = Encoder.fit(table.iloc[: max(1, min(seen, len(table)))])  # the rest holds values without a code
        rows = encoder.from_table(table)
        matrix = features_in_passing(rows, History())
        for i, found in self.replay(rows, fields, set(range(len(rows))), request_rows, comes_before, encoder):
            np.testing.assert_array_equal(found, matrix[i], strict=True)

    @settings(max_examples=60, deadline=None)
    @given(drawn=st.lists(attempts_, min_size=1, max_size=6))
    def test_earlier_attempts_of_a_request_enter_on_top_of_the_past(self, drawn, past, encoder, as_table, request_rows):
        fields = sorted(as_told([{**one, "payment_id": "p1"} for one in drawn]), key=lambda one: one["created_at"])
        table = features_in_passing(encoder.from_table(as_table(fields)), past.copy())
        made, asked = request_rows(fields[:-1], fields[-1:])
        np.testing.assert_array_equal(features_of_request(made, past, asked)[0], table[-1], strict=True)

    def test_asked_rows_do_not_see_one_another_in_whatever_order_they_are_asked(
        self, attempts, rows, past, as_fields, request_rows
    ):
        fields = as_fields(attempts)
        i = int(np.flatnonzero(rows.previous >= 0)[7])
        *earlier, last = [fields[j] for j in chain(rows, i)]
        begun = fields[i]["created_at"]
        previous = [*earlier, {**last, "resolved_at": begun + 30 * MINUTE}]
        asked = [
            {**before(fields[i]), "created_at": begun + wait} for wait in (7 * MINUTE, 0, 90 * MINUTE, 29 * MINUTE)
        ]
        request = request_rows(previous, asked)
        together = features_of_request(request[0], past, *request[1:])
        assert np.isnan(together[:, AT["last_outcome"]]).tolist() == [True, True, False, True]
        for one, found in zip(asked, together, strict=True):
            alone = request_rows(previous, [one])
            np.testing.assert_array_equal(features_of_request(alone[0], past, *alone[1:])[0], found)

    def test_of_earlier_attempts_the_past_may_hold_some(self, as_table, encoder, request_rows):
        shared = {"payment_id": "p", "customer_id": "c", "amount_minor": 100, "currency": "KRW", "country": "KR"}
        shared |= {"method": "card", "route": "north", "outcome": "technical"}
        *previous, asked = [
            {**shared, "attempt_id": f"a{i}", "created_at": T0 + i * MINUTE, "resolved_at": T0 + i * MINUTE + 9}
            for i in range(3)
        ]
        request = request_rows(previous, [before(asked)])
        past = History()
        past.record(encoder.from_table(as_table(previous[:1])))
        np.testing.assert_array_equal(
            features_of_request(request[0], past, *request[1:], entered=[0]),
            features_of_request(request[0], History(), *request[1:]),
        )

    def test_a_request_leaves_the_past_as_it_was(self, attempts, past, as_fields, request_rows):
        kept = past.copy()
        request = request_rows(as_fields(attempts.iloc[:2]), as_fields(attempts.iloc[2:3]))
        features_of_request(request[0], past, *request[1:])
        assert past.slots == kept.slots
        for name in ("sums", "times", "streaks"):
            np.testing.assert_array_equal(getattr(past, name), getattr(kept, name))

    def test_what_the_past_holds_already_does_not_enter_twice(self, attempts, rows, past, as_fields, request_rows):
        i = int(np.flatnonzero((rows.previous >= 0) & (rows.keys[5][0] >= 0))[0])
        fields = as_fields(attempts)
        previous = [fields[j] for j in chain(rows, i)]
        late = {**before(fields[i]), "created_at": past.until + MINUTE}
        request = request_rows(previous, [late])
        known = features_of_request(request[0], past, *request[1:], entered=range(len(previous)))[0]
        again = features_of_request(request[0], past, *request[1:])[0]
        assert again[AT["customer_attempts_30d"]] > known[AT["customer_attempts_30d"]]
        assert again[AT["attempts_before"]] == known[AT["attempts_before"]] == len(previous)

    def test_a_request_before_anything_happened_is_answered(self, attempts, as_fields, request_rows):
        request = request_rows(as_fields(attempts.iloc[:1]), as_fields(attempts.iloc[1:2]))
        assert features_of_request(request[0], History(), *request[1:]).shape == (1, kernel.N_FEATURES)

    def test_both_run_the_same_compiled_code(self, monkeypatch, attempts, encoder, as_fields, request_rows):
        called = []

        def watched(run, shared):
            def watch(*told):
                called.append([numba.typeof(array) for array in shared(told)])
                return run(*told)

            return watch

        # `ask` calls `sweep` with what it unpacks, and with these as they come: of the same types, it is the same machine code
        monkeypatch.setattr(kernel, "sweep", watched(kernel.sweep, lambda told: (*told[4:12], *told[13:-1])))
        monkeypatch.setattr(kernel, "ask", watched(kernel.ask, lambda told: (*kernel.unpack(told[3]), *told[4:])))
        past = History()
        features_in_passing(encoder.from_table(attempts), past)
        for previous in (0, 2):
            request = request_rows(
                as_fields(attempts.iloc[:previous]), as_fields(attempts.iloc[previous : previous + 2])
            )
            features_of_request(request[0], past, *request[1:])
        assert len(called) == 3
        assert called[0] == called[1] == called[2]


class TestNothingLeaks:
    """What is not known at `created_at` changes no feature."""

    def features(self, encoder, table):
        return features_in_passing(encoder.from_table(table), History())

    @settings(max_examples=25, deadline=None)
    @given(share=st.floats(0.02, 1), seed=st.integers(0, 1000))
    def test_what_comes_later_changes_nothing(self, market, encoder, share, seed):
        rng = np.random.default_rng(seed)
        cut = market["created_at"].iloc[int(share * (len(market) - 1))]
        begun = (market["created_at"] <= cut).to_numpy()
        unknown = (market["resolved_at"].isna() | (market["resolved_at"] > cut)).to_numpy()
        # Of attempts not begun yet everything changes, theirs or others' identities too; of those under way, how they end
        changed = market.copy()
        places = np.arange(len(market))
        later = np.flatnonzero(~begun)
        places[later] = rng.permutation(later)
        for name in market:
            if name != "created_at":
                changed[name] = market[name].take(places).array
        strangers = rng.choice(np.flatnonzero(begun), len(later))
        changed.loc[later, ["payment_id", "customer_id"]] = market.loc[
            strangers, ["payment_id", "customer_id"]
        ].to_numpy()
        ended = np.flatnonzero(market["resolved_at"].notna() & (market["resolved_at"] > cut))
        under_way = np.flatnonzero(begun & unknown)
        for name in AFTER:
            if len(ended):
                changed.loc[under_way, name] = market[name].take(rng.choice(ended, len(under_way))).array
        given_, told = self.features(encoder, market), self.features(encoder, changed)
        np.testing.assert_array_equal(told[begun], given_[begun])

    def test_how_an_attempt_ends_changes_none_of_its_own_features(self, market, encoder, matrix):
        swapped = market.copy()
        i = int(np.flatnonzero(market["outcome"] == "success")[40])
        own = self.features(encoder, market)[i]
        swapped.loc[i, ["outcome", "reason", "duration_s"]] = ["technical", "processor_error", 0.0]
        swapped.loc[i, "resolved_at"] = swapped.loc[i, "created_at"]
        np.testing.assert_array_equal(self.features(encoder, swapped)[i], own)

    def test_what_was_known_changes_something(self, market, encoder):
        given_ = self.features(encoder, market)
        rows = encoder.from_table(market)
        i = next(i for i in np.flatnonzero(rows.previous >= 0)[::-1] if rows.outcome[rows.previous[i]] == 2)
        changed = market.copy()
        changed.loc[rows.previous[i], ["outcome", "reason"]] = ["technical", "processor_error"]
        told = self.features(encoder, changed)
        for name in ("last_outcome", "last_reason", "technical_before", "bank_decline_before", "all_success_rate_1h"):
            differs = told[i, AT[name]] != given_[i, AT[name]]
            assert differs == (name != "all_success_rate_1h")
        assert told[i, AT["customer_bank_decline_rate_30d"]] < given_[i, AT["customer_bank_decline_rate_30d"]]
        np.testing.assert_array_equal(told[rows.previous[i]], given_[rows.previous[i]])

    def test_another_customer_s_outcome_counts_from_when_it_was_known(self, as_table):
        def rate(resolved):
            other = {
                "payment_id": "p1",
                "customer_id": "c1",
                "created_at": T0,
                "resolved_at": resolved,
                "outcome": "technical",
            }
            shared = {"amount_minor": 100, "currency": "KRW", "country": "KR", "method": "card", "route": "north"}
            mine = {"payment_id": "p2", "customer_id": "c2", "created_at": T0 + 10 * MINUTE}
            table = as_table([{**other, **shared}, {**mine, **shared}])
            return self.features(Encoder.fit(table), table)[1, AT["route_technical_rate_1h"]]

        assert rate(T0 + 11 * MINUTE) == rate(T0 + 10 * MINUTE + 1) == 0.0
        assert rate(T0 + 10 * MINUTE) > 0.0

    @pytest.mark.parametrize("place", [0, 1])
    def test_at_one_moment_only_an_earlier_row_is_seen_and_never_its_own(self, as_table, place):
        shared = {
            "created_at": T0,
            "amount_minor": 100,
            "currency": "KRW",
            "country": "KR",
            "method": "card",
            "customer_id": "c",
        }
        many = [{**shared, "payment_id": "p0"}, {**shared, "payment_id": "p1"}]
        many[place] |= {"resolved_at": T0, "outcome": "technical"}
        table = as_table(many)
        seen = self.features(Encoder.fit(table), table)[:, AT["customer_attempts_1h"]]
        assert seen.tolist() == ([0.0, 1.0] if place == 0 else [0.0, 0.0])


class TestOrder:
    @settings(max_examples=40, deadline=None)
    @given(drawn=st.lists(attempts_, min_size=2, max_size=14, unique_by=lambda one: one["created_at"]), data=st.data())
    def test_rows_may_come_in_any_order(self, drawn, data, as_table):
        fields = as_told(drawn)
        table = as_table(fields)
        shuffled = data.draw(st.permutations(range(len(fields))))
        encoder = Encoder.fit(table)
        given_ = features_in_passing(encoder.from_table(table), History())
        told = features_in_passing(encoder.from_table(table.iloc[shuffled].reset_index(drop=True)), History())
        np.testing.assert_array_equal(told, given_[shuffled])

    def test_a_market_shuffled_is_the_same_market(self, market, encoder):
        shuffled = np.random.default_rng(3).permutation(len(market))
        given_ = features_in_passing(encoder.from_table(market), History())
        told = features_in_passing(encoder.from_table(market.iloc[shuffled].reset_index(drop=True)), History())
        np.testing.assert_array_equal(told, given_[shuffled])

    def test_one_row_is_a_table(self, attempts, encoder):
        matrix = features_in_passing(encoder.from_table(attempts.iloc[:1]), History())
        assert matrix.shape == (1, kernel.N_FEATURES)

    def test_wanted_rows_come_out_as_they_would_among_all(self, rows, matrix):
        wanted = np.random.default_rng(2).random(len(rows)) < 0.1
        some_, all_ = History(), History()
        np.testing.assert_array_equal(features_in_passing(rows, some_, wanted), matrix[wanted])
        features_in_passing(rows, all_)
        np.testing.assert_array_equal(some_.sums, all_.sums)
        assert some_.until == all_.until == rows.resolved[rows.by_resolution()[-1]]

    def test_the_past_after_a_table_is_the_past_that_records_it(self, rows, past):
        passed = History()
        features_in_passing(rows, passed)
        for name in ("sums", "times", "streaks"):
            np.testing.assert_array_equal(getattr(passed, name), getattr(past, name))
        assert (passed.until, passed.slots) == (past.until, past.slots)


class TestKeptPast:
    def test_saved_and_loaded_it_is_the_same_bit_for_bit(self, past, tmp_path):
        past.save(tmp_path / "history.npz")
        loaded = History.load(tmp_path / "history.npz")
        assert loaded.slots == past.slots
        assert loaded.until == past.until
        for name in ("sums", "times", "streaks"):
            np.testing.assert_array_equal(getattr(loaded, name), getattr(past, name), strict=True)

    def test_with_nothing_in_it_it_can_be_saved_too(self, tmp_path):
        History().save(tmp_path / "history.npz")
        assert len(History.load(tmp_path / "history.npz").times) == 0

    def test_a_copy_moves_on_by_itself(self, past, rows):
        kept = past.sums.copy()
        past.copy().record(rows)
        np.testing.assert_array_equal(past.sums, kept)

    def test_it_grows_by_new_names_and_keeps_what_it_held(self, past):
        grown, names = past.copy(), list(past.slots)
        for n in range(300):
            found = grown.slots_for([f"new{n}", names[n % len(names)], f"new{n}"])
            assert found.tolist() == [len(names) + n, n % len(names), len(names) + n]
        assert len(grown.slots) == len(grown.sums) == len(grown.times) == len(grown.streaks) == len(names) + 300
        for now, before in zip(grown.copies(names), past.copies(names), strict=True):
            np.testing.assert_array_equal(now, before, strict=True)
        assert not any(array.any() for array in grown.copies([f"new{n}" for n in range(300)]))

    @pytest.mark.parametrize("seed", range(20))
    def test_what_rows_look_back_on_is_copied_once_whoever_looks(self, past, seed):
        random = np.random.default_rng(seed)
        names = [*random.choice([*past.slots], 12), "new", "newer", None, None]
        rows = [random.choice(np.array(names, object), 8).tolist() for _ in range(random.integers(0, 12))]
        found, wanted = past.look_up(rows), looked_by_name(past.copies, rows)
        for ours, theirs in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True)
        for row, keys in zip(rows, found.keys, strict=True):
            for name, key in zip(row, keys, strict=True):
                assert (key < 0) == (name is None)
                if name in past.slots:
                    np.testing.assert_array_equal(found.sums[key], past.sums[past.slots[name]])
                    assert found.times[key] == past.times[past.slots[name]]
                elif name is not None:
                    assert not found.sums[key].any()
                    assert found.times[key] == found.streaks[key] == 0

    def test_a_past_of_nothing_can_be_looked_up(self):
        assert History().look_up([["a", None] * 4]).keys.tolist() == [[0, -1] * 4]
        assert [len(part) for part in History().look_up(())] == [0, 0, 0, 0]

    def test_arrays_that_were_put_in_its_place_are_not_lost_when_it_grows(self, past):
        grown = past.copy()
        grown.slots_for(["new"])
        grown.times = grown.times + 1
        grown.slots_for(["newer"])
        assert grown.times[grown.slots["new"]] == 1

    def test_it_becomes_another(self, past):
        becoming, kept = past.copy(), past.keep(3)
        becoming.become(kept)
        becoming.slots_for(["new"])
        assert becoming.slots.keys() == {*past.keep(3).slots, "new"}
        assert len(becoming.times) == len(becoming.slots)
        assert becoming.until == past.until

    @pytest.mark.parametrize("customers", [0, 10, 10**6])
    def test_only_customers_are_forgotten_those_not_seen_for_longest(self, past, customers):
        kept = past.keep(customers)
        everyone = {name for name in past.slots if name.startswith("customer")}
        remembered = {name for name in kept.slots if name.startswith("customer")}
        assert set(past.slots) - set(kept.slots) == everyone - remembered
        assert len(remembered) == min(2 * customers, len(everyone))
        assert kept.until == past.until
        for name, slot in kept.slots.items():
            np.testing.assert_array_equal(kept.sums[slot], past.sums[past.slots[name]])
            assert kept.times[slot] == past.times[past.slots[name]]
            assert kept.streaks[slot] == past.streaks[past.slots[name]]
        if 0 < len(remembered) < len(everyone):
            seen = {name: past.times[past.slots[name]] for name in everyone}
            assert min(seen[name] for name in remembered) >= max(seen[name] for name in everyone - remembered)


class Payload:
    """Says so if it is ever unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


class TestDamagedPast:
    @pytest.fixture
    def file(self, past, tmp_path):
        past.save(tmp_path / "history.npz")
        return tmp_path / "history.npz"

    def rewrite(self, file, **changes):
        with np.load(file) as arrays:
            kept = {name: arrays[name] for name in arrays.files}
        np.savez(file, **{name: array for name, array in (kept | changes).items() if array is not None})

    @pytest.mark.parametrize(
        "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"not a zip", lambda b: b[::-1]]
    )
    def test_a_file_that_cannot_be_read_is_refused(self, file, damage):
        file.write_bytes(damage(file.read_bytes()))
        with pytest.raises(ArtifactMismatch, match=r"history\.npz: not a history"):
            History.load(file)

    def test_a_pickle_inside_is_refused_and_not_executed(self, file):
        array = np.empty(1, object)
        array[0] = Payload()
        self.rewrite(file, sums=array)
        with pytest.raises(ArtifactMismatch, match="not a history"):
            History.load(file)

    def test_a_bare_pickle_is_refused_and_not_executed(self, file):
        file.write_bytes(pickle.dumps(Payload()))
        with pytest.raises(ArtifactMismatch, match="not a history"):
            History.load(file)

    def test_a_pickle_as_a_member_is_refused_and_not_executed(self, file):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("names.npy", pickle.dumps(Payload()))
        with pytest.raises(ArtifactMismatch, match="not a history"):
            History.load(file)

    @pytest.mark.parametrize("name", ["names", "sums", "times", "streaks", "until"])
    def test_a_missing_array_is_refused(self, file, name):
        self.rewrite(file, **{name: None})
        with pytest.raises(ArtifactMismatch, match="KeyError"):
            History.load(file)

    @pytest.mark.parametrize(
        ("name", "array"),
        [
            ("names", np.frombuffer(b"all\x1f\nissuer\x1fx", np.uint8)),
            ("names", np.frombuffer(b"all\x1f\nall\x1f", np.uint8)),
            ("sums", np.zeros((3, 4, 6))),
            ("times", np.zeros(3, np.int64)),
            ("streaks", np.zeros(3, np.int32)),
        ],
    )
    def test_names_that_do_not_match_their_slots_are_refused(self, file, name, array):
        self.rewrite(file, **{name: array})
        with pytest.raises(ArtifactMismatch, match="names want"):
            History.load(file)

    def test_numbers_of_another_kind_are_refused(self, file):
        with np.load(file) as arrays:
            sums = arrays["sums"]
        self.rewrite(file, sums=sums.astype(np.float32))
        with pytest.raises(ArtifactMismatch, match="sums is float32"):
            History.load(file)

    def test_what_is_saved_holds_no_objects(self, file):
        with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as archive:
            for member in archive.namelist():
                array = np.load(io.BytesIO(archive.read(member)), allow_pickle=False)
                assert array.dtype.kind in "iuf"


def test_a_pandas_view_that_cannot_be_written_is_copied(attempts, encoder):
    assert isinstance(attempts["duration_s"].array, pd.arrays.NumpyExtensionArray)
    assert encoder.from_table(attempts).duration.flags.writeable
