from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from features.columns import after_columns
from features.definitions import feature_names
from features.errors import ArtifactMismatch
from features.fingerprint import fingerprint
from features.history import features_in_passing
from features.kernel import N_FEATURES, unpack
from features.rows import packed_rows
from features.taxonomy import reasons
from models.artefact import load
from models.heads import OutcomeModel
from models.predictor import Predictor
from models.variants import Variants, what_if

AFTER = set(after_columns())
AT = {name: place for place, name in enumerate(feature_names())}
MINUTE = 60_000_000
CARD = {
    "attempt_id": "a1", "payment_id": "p1", "customer_id": "c1", "created_at": 1_000, "amount_minor": 38_000,
    "currency": "KRW", "country": "KR", "method": "card", "card_brand": "visa", "card_funding": "credit",
    "card_months_to_expiry": 7.0, "network_token": True, "issuer": "bank", "issuer_country": "KR", "route": "north",
    "auth_flow": "challenge", "auth_steps": 3, "auth_exemption": "none", "stored": True, "channel": "mobile_web",
}  # fmt: skip


def before(fields):
    return {name: value for name, value in fields.items() if name not in AFTER}


class TestWhatIf:
    def test_another_route_changes_nothing_but_the_route_and_the_moment(self):
        assert what_if(CARD, {"method": "card", "route": "harbor"}, 5_000) == {
            **CARD,
            "route": "harbor",
            "created_at": 5_000,
        }

    def test_another_method_leaves_the_card_its_bank_and_its_road_behind(self):
        changed = what_if(CARD, {"method": "quick_pay"}, 5_000)
        kept = ("attempt_id", "payment_id", "customer_id", "amount_minor", "currency", "country", "channel")
        assert changed == {**{name: CARD[name] for name in kept}, "method": "quick_pay", "created_at": 5_000}

    def test_what_a_candidate_with_another_method_says_holds(self):
        changed = what_if(CARD, {"method": "wallet", "route": "lake", "stored": False, "auth_steps": 0}, 5_000)
        assert (changed["route"], changed["stored"], changed["auth_steps"]) == ("lake", False, 0)
        assert "issuer" not in changed

    def test_another_authentication_takes_its_steps_with_it_unless_they_are_told(self):
        assert "auth_steps" not in what_if(CARD, {"method": "card", "auth_flow": "frictionless"}, 0)
        assert what_if(CARD, {"method": "card", "auth_flow": "frictionless", "auth_steps": 1}, 0)["auth_steps"] == 1
        assert what_if(CARD, {"method": "card", "auth_flow": "challenge"}, 0)["auth_steps"] == 3

    def test_what_a_candidate_leaves_open_stays(self):
        assert what_if(CARD, {"candidate_id": "c", "method": "card", "route": None, "stored": None}, 1_000) == CARD

    @pytest.mark.parametrize("wait", [None, 0, 90, 0.5])
    def test_a_wait_moves_the_moment(self, wait):
        assert what_if(CARD, {"method": "card", "wait_s": wait}, 5_000)["created_at"] == 5_000 + int((wait or 0) * 1e6)

    def test_the_attempt_stays_as_it_is(self):
        given_ = dict(CARD)
        what_if(CARD, {"method": "wallet", "wait_s": 3}, 5_000)
        assert given_ == CARD


means = st.fixed_dictionaries(
    {"method": st.sampled_from(["card", "wallet", "bank_transfer"])},
    optional={
        "route": st.sampled_from(["north", "lake", "harbor"]) | st.none(),
        "auth_flow": st.sampled_from(["none", "frictionless", "challenge", "redirect"]) | st.none(),
        "auth_steps": st.integers(0, 4),
        "stored": st.booleans(),
        "network_token": st.booleans(),
        "wait_s": st.integers(0, 90_000),
    },
)


def assert_same(found, wanted):
    for value, other in zip(*(unpack(packed_rows([one])) for one in (found, wanted)), strict=True):
        np.testing.assert_array_equal(value, other)
    assert replace(found, packed=b"", own=()) == replace(wanted, packed=b"", own=())
    np.testing.assert_array_equal(found.own, wanted.own)


@given(
    place=st.integers(0, 10**6),
    candidates=st.lists(means, max_size=3),
    earlier=st.sets(st.integers(0, 50), max_size=3),
    at=st.integers(0, 10**9),
)
def test_another_way_to_pay_is_encoded_as_the_whole_attempt_would_be(
    artefact, every_field, place, candidates, earlier, at
):
    """Only what changes is encoded anew, whatever the attempt was, and whatever card was shown earlier."""
    attempt, encoder = before(every_field[place % len(every_field)]), artefact.encoder
    shown = [every_field[i] for i in earlier]
    variants = Variants(encoder, attempt, encoder.encode(attempt), candidates, at, shown)
    for i, candidate in enumerate(candidates):
        asked = what_if(attempt, candidate, at, shown, encoder.own)
        assert variants[i] == asked
        one = variants.one(i)
        assert variants.method(i) == one.method == asked["method"]
        assert one.created == asked["created_at"]
        own = {column.name for column in encoder.own}
        told = {*attempt, *candidate, *(name for past in shown for name in past)} - {"created_at", "wait_s", *own}
        assert {name: one.get(name) for name in told} == {name: asked.get(name) for name in told}
        assert_same(variants.encoded[i], encoder.encode(asked))


def test_an_attempt_that_ended_is_encoded_by_what_is_known_of_its_end(artefact, every_field):
    encoder = artefact.encoder
    for whole in every_field[:50]:
        found = encoder.ended(encoder.encode(before(whole)), whole)
        assert_same(found, encoder.encode(whole, ended=True))


@pytest.fixture(scope="module")
def predictor(artefact):
    return Predictor(artefact.encoder, artefact.outcome_model(), artefact.history, artefact.ways)


@pytest.fixture(scope="module")
def retry(every_field, rows):
    """An attempt after two others of its payment, all begun anew after everything that the model knows of."""
    third = [i for i in np.flatnonzero(rows.previous >= 0) if rows.previous[rows.previous[i]] >= 0]
    i = next(
        i for i in third if rows.resolved[[rows.previous[i], rows.previous[rows.previous[i]]]].max() < rows.created[i]
    )
    chain = [int(rows.previous[rows.previous[i]]), int(rows.previous[i]), int(i)]
    shift = 30 * 24 * 60 * MINUTE
    times = ("created_at", "resolved_at")
    moved = [{k: v + shift if k in times else v for k, v in every_field[j].items()} for j in chain]
    return before(moved[-1]), moved[:-1]


CANDIDATES = [
    {"candidate_id": "c1", "method": "card", "route": "north"},
    {"candidate_id": "c2", "method": "card", "route": "harbor", "wait_s": 3600},
    {"candidate_id": "c3", "method": "quick_pay"},
    {"candidate_id": "c4", "method": "bank_transfer", "route": "lake", "auth_flow": "redirect", "auth_steps": 4},
]


class TestPredictor:
    def test_outcomes_are_probabilities(self, predictor, retry):
        told = predictor.outcome(*retry)
        assert len(told) == 5
        assert all(0.0 < p < 1.0 for p in told)
        assert sum(told) == pytest.approx(1.0)

    def test_candidates_differ_by_what_they_are(self, predictor, retry):
        told = predictor.candidate_success(*retry, CANDIDATES)
        assert all(0.0 < p < 1.0 for p in told)
        assert told[0] != told[2] != told[3]

    def test_no_candidates_have_no_probabilities(self, predictor, retry):
        assert predictor.candidate_success(*retry, []) == []

    def test_a_candidate_s_probability_does_not_depend_on_the_others(self, predictor, retry):
        together = predictor.candidate_success(*retry, CANDIDATES)
        alone = [predictor.candidate_success(*retry, [one])[0] for one in CANDIDATES]
        assert alone == pytest.approx(together, rel=1e-12)

    def test_an_earlier_attempt_with_the_same_columns_is_not_taken_for_the_attempt_itself(self, artefact, retry):
        attempt, previous = retry
        means = {"method": "bank_transfer", "route": "elsewhere"}
        other = {**attempt, **means, "attempt_id": "other", "outcome": "technical"}

        def fresh():
            return Predictor(artefact.encoder, artefact.outcome_model(), artefact.history, artefact.ways)

        asked_before = fresh()
        asked_before.outcome(attempt, previous)
        found = asked_before.candidate_success(attempt, [*previous, other], CANDIDATES)
        assert found == fresh().candidate_success(attempt, [*previous, other], CANDIDATES)
        failed = {**attempt, "outcome": "technical"}
        assert found != fresh().candidate_success(attempt, [*previous, failed], CANDIDATES)

    def test_an_outcome_is_not_that_of_an_attempt_that_another_thread_asked_about(self, artefact, retry, monkeypatch):
        one = Predictor(artefact.encoder, artefact.outcome_model(), artefact.history, artefact.ways)
        wanted, asked = one.outcome(*retry), one._features_of

        def meanwhile(attempt, previous):
            found = asked(attempt, previous)
            asked({**attempt, "attempt_id": "other"}, [])
            one._last[0] = one._last[0]._replace(outcome=[0.2] * 5)
            return found

        monkeypatch.setattr(one, "_features_of", meanwhile)
        assert one.outcome(*retry) == wanted

    def test_doing_the_same_at_the_same_moment_is_the_attempt_itself(self, predictor, retry):
        attempt, previous = retry
        (told,) = predictor.candidate_success(attempt, previous, [{"method": attempt["method"]}])
        assert told == predictor.outcome(attempt, previous)[0]

    def test_reasons_are_those_of_the_head_and_sum_to_one(self, predictor, retry, heads):
        told = predictor.reasons(*retry, {"last_event": "timed_out", "duration_s": 30.0})
        assert set(told) == set(heads["reason"].classes)
        assert sum(told.values()) == pytest.approx(1.0)

    def test_evidence_changes_what_is_believed(self, predictor, retry):
        closed = predictor.reasons(*retry, {"last_event": "challenge_closed", "duration_s": 40.0})
        declined = predictor.reasons(
            *retry, {"last_event": "returned", "code_scheme": "iso8583", "response_code": "51"}
        )
        assert closed != declined

    def test_without_a_reason_head_each_category_is_shared_out_evenly(self, artefact, retry):
        whole = artefact.outcome_model()
        model = OutcomeModel(whole.success, whole.stages, None, whole.category_shares)
        predictor = Predictor(artefact.encoder, model, artefact.history, {})
        told = predictor.reasons(*retry, {})
        outcome = predictor.outcome(*retry)
        assert set(told) == set(reasons())
        assert sum(told.values()) == pytest.approx(1.0)
        technical = [p for name, p in told.items() if reasons()[name].category == "technical"]
        assert len(set(technical)) == 1
        assert sum(technical) == pytest.approx(outcome[4] / sum(outcome[1:]))

    def test_ways_to_pay_are_those_of_the_country(self, predictor):
        assert list(predictor.ways_to_pay("KR")) == [("card", "north"), ("wallet", None)]
        assert list(predictor.ways_to_pay("FR")) == []

    def test_what_it_is_asked_is_left_as_it_is(self, predictor, retry):
        attempt, previous = retry
        kept = (dict(attempt), [dict(one) for one in previous])
        predictor.candidate_success(attempt, previous, CANDIDATES)
        assert kept == (attempt, previous)

    def test_the_features_of_the_last_question_are_told_and_of_no_other(self, predictor, retry):
        attempt, previous = retry
        predictor.outcome(attempt, previous)
        told = predictor.features_of(attempt, previous)
        assert told.shape == (N_FEATURES,)
        assert predictor.features_of({**attempt}, previous) is None
        predictor.outcome({**attempt}, previous)
        assert predictor.features_of(attempt, previous) is None

    def test_values_never_seen_are_answered(self, predictor, retry):
        attempt, previous = retry
        odd = {**attempt, "method": "barter", "route": "moon", "country": "AQ", "currency": "CLF", "issuer": "x"}
        assert sum(predictor.outcome(odd, previous)) == pytest.approx(1.0)

    def test_the_least_that_can_be_asked_is_answered(self, predictor):
        least = {"created_at": 10**15, "amount_minor": 1, "currency": "KRW", "country": "KR", "method": "card"}
        assert sum(predictor.outcome(least, [{"created_at": 10**15 - 1, "method": "card"}])) == pytest.approx(1.0)

    def test_from_eight_threads_at_once_the_answers_are_those_of_one(self, predictor, every_field):
        asked = [before(fields) for fields in every_field[:64]]

        def answer(fields):
            success = predictor.candidate_success(fields, [], CANDIDATES)
            return predictor.outcome(fields, []), success, predictor.reasons(fields, [], {})

        alone = [answer(fields) for fields in asked]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(answer, asked * 4))
        assert together == alone * 4


class Looking:
    """A model that keeps what it is shown."""

    tells_all = False

    reason = None

    def success_probability(self, matrix, *, few):
        self.seen = matrix
        return np.zeros(len(matrix))

    def outcome_probability(self, matrix, *, few):
        self.seen = matrix
        return np.full((len(matrix), 5), 0.2)


class TestWhatTheModelSees:
    @pytest.fixture
    def look(self, artefact):
        model = Looking()
        return Predictor(artefact.encoder, model, artefact.history, {}), model

    def test_a_request_is_seen_as_the_last_row_of_its_table(self, look, artefact, retry, attempts):
        attempt, previous = retry
        predictor, model = look
        predictor.outcome(attempt, previous)
        ids = [one["attempt_id"] for one in (*previous, attempt)]
        table = attempts[attempts["attempt_id"].isin(ids)].reset_index(drop=True)
        for name in ("created_at", "resolved_at"):
            table[name] += np.timedelta64(30, "D")
        wanted = features_in_passing(artefact.encoder.from_table(table), artefact.history.copy())
        np.testing.assert_array_equal(model.seen[0], wanted[-1], strict=True)

    def test_a_candidate_comes_after_everything_that_has_ended(self, look, retry):
        attempt, previous = retry
        predictor, model = look
        ended = {**attempt, "resolved_at": attempt["created_at"] + 9 * MINUTE, "outcome": "technical"}
        predictor.candidate_success(attempt, [*previous, ended], [{"method": "card"}, {"method": "card", "wait_s": 60}])
        assert model.seen[:, AT["seconds_since_last"]].tolist() == [540.0, 600.0]
        assert model.seen[:, AT["last_outcome"]].tolist() == [4.0, 4.0]
        assert model.seen[:, AT["attempts_before"]].tolist() == [3.0, 3.0]

    def test_another_method_has_no_card(self, look, retry):
        predictor, model = look
        predictor.candidate_success(
            {**CARD, "created_at": retry[0]["created_at"]}, [], [{"method": "quick_pay"}, {"method": "card"}]
        )
        of_card = [AT[name] for name in ("issuer_success_rate_1h", "issuer_technical_streak", "card_months_to_expiry")]
        assert np.isnan(model.seen[0, of_card]).all()
        assert model.seen[1, AT["card_months_to_expiry"]] == 7.0

    def test_what_an_earlier_attempt_leaves_out_is_as_in_this_one(self, look, retry):
        attempt, previous = retry
        predictor, model = look
        shared = ("currency", "country", "amount_minor", "customer_id")
        predictor.outcome(attempt, previous)
        whole = model.seen
        predictor.outcome(attempt, [{n: v for n, v in one.items() if n not in shared} for one in previous])
        np.testing.assert_array_equal(model.seen, whole)

    def test_what_the_kept_past_holds_already_does_not_enter_twice(self, look, artefact, retry):
        attempt, previous = retry
        predictor, model = look
        until = artefact.history.until
        early = {**previous[-1], "created_at": until - MINUTE, "resolved_at": until}
        predictor.outcome(attempt, [early])
        once = model.seen[0, AT["customer_attempts_30d"]]
        predictor.outcome(attempt, [{**early, "resolved_at": until + 1}])
        left = 0.5 ** ((attempt["created_at"] - until) / 3.6e9 / 720)
        assert model.seen[0, AT["customer_attempts_30d"]] == pytest.approx(once + left, rel=1e-6)
        assert model.seen[0, AT["attempts_before"]] == 1.0


class Elsewhere:
    """A past that holds one customer's slots, and what the test says has entered."""

    def __init__(self, history, entered=()):
        self.history, self.entered, self.asked = history, entered, []

    def look_up(self, names):
        self.asked += [name for row in names for name in row if name is not None]
        return self.history.look_up(names)

    def has(self, attempt):
        return attempt["attempt_id"] in self.entered


class TestAnotherPast:
    """What a request looks back on may be another past than the artefact's."""

    @pytest.fixture
    def predictor(self, artefact):
        return Predictor(artefact.encoder, Looking(), artefact.history, artefact.ways)

    def test_features_and_evidence_are_of_that_past(self, predictor, artefact, retry, rows):
        attempt, previous = retry
        moved = artefact.history.copy()
        moved.record(rows)
        there = predictor.on(Elsewhere(moved, [one["attempt_id"] for one in previous]))
        there.outcome(attempt, previous)
        found = there.features_of(attempt, previous)
        predictor.outcome(attempt, previous)
        own = predictor.features_of(attempt, previous)
        assert found[AT["customer_attempts_30d"]] != own[AT["customer_attempts_30d"]]
        assert found[AT["attempts_before"]] == own[AT["attempts_before"]]
        once, twice = (p.candidate_success(*retry, CANDIDATES[:1]).evidence for p in (predictor, there))
        assert once != twice

    def test_what_has_entered_is_what_that_past_says(self, predictor, artefact, retry):
        attempt, previous = retry
        counted = []
        for entered in ([], [previous[0]["attempt_id"]], [one["attempt_id"] for one in previous]):
            there = predictor.on(Elsewhere(artefact.history, entered))
            there.outcome(attempt, previous)
            counted.append(there.features_of(attempt, previous)[AT["all_success_rate_30d"]])
        assert len(set(counted)) == 3

    def test_one_question_s_features_are_not_those_of_another_past(self, predictor, artefact, retry, rows):
        moved = artefact.history.copy()
        moved.record(rows)
        kept = []
        for past in (Elsewhere(artefact.history), Elsewhere(moved)):
            predictor.on(past).outcome(*retry)
            kept.append(predictor.features_of(*retry))
        assert (kept[0] != kept[1]).any()

    def test_features_are_kept_of_the_last_attempt_alone(self, predictor, retry):
        attempt, previous = retry
        assert predictor.features_of(attempt, previous) is None
        predictor.outcome(attempt, previous)
        assert predictor.features_of(attempt, previous).shape == (len(AT),)
        assert predictor.features_of(dict(attempt), previous) is None

    def test_the_slots_it_names_are_all_that_it_looks_at(self, predictor, artefact, retry):
        attempt, previous = retry
        there = Elsewhere(artefact.history)
        asked = predictor.on(there)
        asked.outcome(attempt, previous)
        asked.candidate_success(attempt, [*previous, {**attempt, "outcome": "technical"}], CANDIDATES).why(2, 0)
        named = predictor.slots_of(attempt, previous, CANDIDATES)
        assert set(there.asked) - {""} == set(named)
        assert len(named) == len(set(named))

    @pytest.mark.parametrize("place", [None, 0, 1])
    def test_what_was_asked_before_changes_nothing_that_the_model_sees(self, artefact, retry, place):
        attempt, (first, second) = retry
        previous = ({**first, "method": "wallet", "outcome": "technical"}, {**second, "outcome": "bank_decline"})
        failed = (*previous, {**attempt, "outcome": "technical", "resolved_at": attempt["created_at"] + MINUTE})
        past = Elsewhere(artefact.history, [] if place is None else [previous[place]["attempt_id"]])
        seen = []
        for asked_before in (True, False):
            there = Predictor(artefact.encoder, Looking(), artefact.history, artefact.ways).on(past)
            if asked_before:
                there.outcome(attempt, previous)
            there.candidate_success(attempt, failed, CANDIDATES)
            seen.append(there._model.seen)
        np.testing.assert_array_equal(*seen)


class TestLoading:
    def test_from_its_folder_it_answers_as_before(self, folder, predictor, retry):
        loaded = Predictor.load(folder)
        assert loaded.outcome(*retry) == predictor.outcome(*retry)
        assert loaded.candidate_success(*retry, CANDIDATES) == predictor.candidate_success(*retry, CANDIDATES)
        assert loaded.fingerprint == fingerprint()

    def test_a_damaged_folder_is_refused(self, folder):
        (folder / "history.npz").unlink()
        with pytest.raises(ArtifactMismatch, match=r"history\.npz"):
            Predictor.load(folder)

    def test_asking_moves_nothing(self, folder, retry):
        loaded = Predictor.load(folder)
        first = loaded.outcome(*retry)
        for _ in range(3):
            loaded.candidate_success(*retry, CANDIDATES)
        assert loaded.outcome(*retry) == first
        np.testing.assert_array_equal(loaded.history.sums, load(folder).history.sums)
