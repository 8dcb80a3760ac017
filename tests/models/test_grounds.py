"""What a ranking rests on, and what is said for a candidate: that it moved the score, and that it is true."""

import re
from collections import Counter

import numpy as np
import pytest

from features.columns import after_columns
from features.definitions import feature_names
from models.grounds import Chances
from models.phrases import KINDS, Seen, Side, told_by
from models.predictor import MATURE_US, Predictor
from models.variants import Variant, what_if

AT = {name: place for place, name in enumerate(feature_names())}
AFTER = set(after_columns())
MINUTE = 60_000_000
CANDIDATES = [
    {"candidate_id": "c1", "method": "card", "route": "north", "auth_flow": "frictionless"},
    {"candidate_id": "c2", "method": "card", "route": "harbor", "auth_flow": "challenge", "auth_steps": 1},
    {"candidate_id": "c3", "method": "wallet", "route": "direct", "auth_flow": "none", "auth_steps": 0, "stored": True},
    {"candidate_id": "c4", "method": "bank_transfer", "route": "bankline", "auth_flow": "redirect", "auth_steps": 4},
    {"candidate_id": "c5", "method": "quick_pay", "route": "direct", "wait_s": 3600.0},
]


class Dice:
    """A model whose scores are chance, so that anything may seem to have moved them."""

    tells_all = False

    reason = None

    def __init__(self):
        self.rng = np.random.default_rng(3)

    def success_probability(self, matrix, *, few=False):
        return self.rng.uniform(0.05, 0.95, len(matrix))


class ByColumn:
    """A model that looks at one column: the higher the better, a missing one is worst."""

    tells_all = False

    reason = None

    def __init__(self, name):
        self.column = AT[name]

    def success_probability(self, matrix, *, few=False):
        value = np.nan_to_num(matrix[:, self.column].astype(float), nan=-50.0)
        self.seen = matrix
        return 1.0 / (1.0 + np.exp(-np.clip(value, -20.0, 20.0)))


@pytest.fixture(scope="module")
def asked(every_field, rows, past):
    """Attempts to ask about, each with the payment's earlier ones, after everything that the past holds."""
    shift = 60 * 24 * 60 * MINUTE
    chains = []
    for i in range(0, len(every_field), 4):
        chain, j = [], i
        while j >= 0:
            moved = {k: v + shift if k in {"created_at", "resolved_at"} else v for k, v in every_field[j].items()}
            chain.insert(0, moved)
            j = int(rows.previous[j])
        chains.append(({k: v for k, v in chain[-1].items() if k not in AFTER}, chain[:-1]))
    return chains


@pytest.fixture(scope="module")
def faded(attempts):
    """The attempts with an outcome, in the order in which it became known, and how much each still counts."""
    known = attempts[attempts["resolved_at"].notna()].sort_values("resolved_at", kind="stable")
    hours = (known["resolved_at"].max() - known["resolved_at"]).dt.total_seconds() / 3600.0
    return known.assign(weight=np.exp2(-hours / 720.0), won=known["outcome"] == "success")


def share(rows):
    return f"{(rows['weight'] * rows['won']).sum() / rows['weight'].sum():.0%}"


def streak(rows):
    told = (rows.loc[rows["outcome"] != "unclassified", "outcome"] == "technical").to_numpy()[::-1]
    return len(told) if told.all() else int(np.argmin(told))


def is_true(text, attempt, card, previous, faded):
    """Which of the claims a sentence makes, and whether the attempts bear it out, counted anew."""
    country, customer = attempt["country"], attempt.get("customer_id")
    here = faded[faded["country"] == country]
    theirs = faded[faded["customer_id"] == customer]
    if m := re.fullmatch(r"(\S+) of recent attempts by (\w+) in this country went through, by (\w+) (\S+)", text):
        return "method", (share(here[here["method"] == m[2]]), share(here[here["method"] == m[3]])) == (m[1], m[4])
    if m := re.fullmatch(r"(\S+) of recent attempts over (\w+) went through, over (\w+) (\S+)", text):
        return "route", (share(faded[faded["route"] == m[2]]), share(faded[faded["route"] == m[3]])) == (m[1], m[4])
    if m := re.fullmatch(r"(\w+) has had (\d+) technical failures in a row", text):
        return "streak", streak(faded[faded["route"] == m[1]]) == int(m[2])
    if m := re.fullmatch(
        r"all of this customer's (\w+) payments so far went through(?:: (\d+) or more of them)?", text
    ):
        mine = theirs[theirs["method"] == m[1]]
        return "all", bool(mine["won"].all()) and len(mine) >= int(m[2] or 1)
    if m := re.fullmatch(r"none of this customer's (\w+) payments so far went through", text):
        mine = theirs[theirs["method"] == m[1]]
        return "none", not mine["won"].any() and len(mine) > 0
    if m := re.fullmatch(r"this payment was tried (\w+)(?: times)? by (\w+), not yet by (\w+)", text):
        count = Counter(one["method"] for one in previous)
        told = {"once": 1, "twice": 2}.get(m[1]) or int(m[1])
        return "tried", (count[m[2]], count[m[3]]) == (told, 0)
    if m := re.fullmatch(r"this payment was tried (\w+)(?: times)? over (\w+), not yet over (\w+)", text):
        count = Counter(one["route"] for one in previous if one["method"] == "card")
        told = {"once": 1, "twice": 2}.get(m[1]) or int(m[1])
        return "tried over", (count[m[2]], count[m[3]]) == (told, 0)
    if m := re.fullmatch(r"(\S+) of recent attempts with this card's issuer went through, of all attempts (\S+)", text):
        return "issuer", (share(faded[faded["issuer"] == card["issuer"]]), share(faded)) == (m[1], m[2])
    if m := re.fullmatch(r"the card's issuer has had (\d+) technical failures in a row", text):
        return "issuer streak", streak(faded[faded["issuer"] == card["issuer"]]) == int(m[1])
    if m := re.fullmatch(r"the card was issued abroad, in (\w+)", text):
        return "abroad", card["issuer_country"] == m[1] != attempt.get("merchant_country")
    if text == "the card has expired":
        return "expired", card["card_months_to_expiry"] < 0.0
    if m := re.fullmatch(r"this customer's (\w+) is on file", text):
        return "file", m[1] == "wallet" or (m[1] == attempt.get("method") and attempt["stored"])
    if m := re.fullmatch(r"(\d+) minutes will have passed", text):
        return "wait", m[1] == "60"
    if re.fullmatch(r"it (is authenticated|has less to authenticate): \w+, not \w+", text):
        return "flow", True
    if m := re.fullmatch(r"the customer has (nothing|1 step|\d+ steps) to confirm by, instead of (\d+)", text):
        return "steps", {"nothing": 0, "1 step": 1}.get(m[1], 2) < int(m[2])
    raise AssertionError(f"no test counts this anew: {text}")


def test_every_number_in_a_reason_is_that_of_the_attempts(asked, encoder, past, faded):
    predictor = Predictor(encoder, Dice(), past, {})
    rng, met = np.random.default_rng(5), Counter()
    for attempt, previous in asked:
        chances = predictor.candidate_success(attempt, previous, CANDIDATES)
        for place, against in [rng.permutation(5)[:2] for _ in range(3)]:
            for text in chances.why(int(place), int(against)):
                # What a card candidate knows of the card is the attempt's, or that of an earlier attempt by card
                cards = [one for one in (attempt, *reversed(previous)) if one["method"] == "card"]
                kind, holds = is_true(text, attempt, cards[0] if cards else {}, previous, faded)
                met[kind] += 1
                assert holds, text
    assert {"method", "route", "all", "none", "tried", "abroad", "file", "wait", "flow", "steps"} <= set(met), met


@pytest.fixture
def card_attempt(asked):
    return next((attempt, previous) for attempt, previous in asked if attempt["method"] == "card" and not previous)


def test_only_what_moved_the_score_is_a_reason(encoder, past, card_attempt):
    attempt, previous = card_attempt
    chances = Predictor(encoder, ByColumn("stored"), past, {}).candidate_success(attempt, previous, CANDIDATES)
    assert chances.why(2, 3) == ("this customer's wallet is on file",)


def test_what_speaks_against_is_no_reason(encoder, past, card_attempt):
    attempt, previous = card_attempt
    chances = Predictor(encoder, ByColumn("auth_steps"), past, {}).candidate_success(attempt, previous, CANDIDATES)
    assert not any("confirm" in text for text in chances.why(2, 3))


def test_a_candidate_has_no_reason_against_itself(encoder, past, card_attempt):
    attempt, previous = card_attempt
    chances = Predictor(encoder, Dice(), past, {}).candidate_success(attempt, previous, CANDIDATES)
    assert chances.why(1, 1) == ()


def test_three_reasons_at_most(encoder, past, asked):
    predictor = Predictor(encoder, Dice(), past, {})
    lengths = {len(predictor.candidate_success(*one, CANDIDATES).why(2, 3)) for one in asked[:150]}
    assert max(lengths) == 3


def test_evidence_counts_the_attempts_that_paid_the_same_way(encoder, past, attempts, asked, faded):
    (attempt, previous) = next(one for one in asked if one[0]["country"] == "KR" and one[0]["method"] == "wallet")
    candidate = {"method": "wallet", "route": "direct", "auth_flow": "none"}
    chances = Predictor(encoder, Dice(), past, {}).candidate_success(attempt, previous, [candidate])
    of = faded[(faded["country"] == "KR") & (faded["method"] == "wallet")]
    alike = of[(of["route"] == "direct") & (of["auth_flow"] == "none")]
    since = attempt["created_at"] / 1e6 - faded["resolved_at"].max().timestamp()
    after = max((one.get("duration_s") or 0.0) for one in previous) if previous else 0.0
    left = 2.0 ** (-since / 3600.0 / 720.0)
    assert after == 0.0
    n = alike["weight"].sum() * left
    told = int(re.search(r"(?:like this: )?(\d+)", chances.evidence[0])[1])
    assert told == pytest.approx(n, abs=0.6)
    assert chances.evidence[0].startswith("few") == (n < 30)


def test_without_a_past_there_is_no_evidence_but_an_answer(encoder, card_attempt):
    from features.history import History

    chances = Predictor(encoder, Dice(), History(), {}).candidate_success(*card_attempt, CANDIDATES[:1])
    assert chances.evidence == ["few attempts like this: 0; 0 by card"]
    assert isinstance(chances, Chances)


def side(over: str, **seen: Seen) -> Side:
    attempt = Variant({"method": "card", "route": over}, {"method": "card"}, 0, ())
    return Side(attempt, seen, {"method": 0, "route": 0, "way": 0})


ONE = side("north")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_twice_gives_no_reason(kind):
    assert told_by(kind, ONE, ONE) is None


def test_a_route_s_failures_in_a_row_are_told_before_its_share():
    ill = Seen(90.0, 100.0, 4)
    theirs, ours = side("south", route=ill), side("north", route=Seen(95.0, 100.0, 0))
    assert told_by("route", ours, theirs) == "south has had 4 technical failures in a row"
    well = side("south", route=ill._replace(streak=1))
    assert told_by("route", ours, well) == "95% of recent attempts over north went through, over south 90%"


def test_shares_of_few_attempts_are_not_told():
    ours, theirs = side("north", route=Seen(9.0, 9.5, 0)), side("south", route=Seen(5.0, 100.0, 0))
    assert told_by("route", ours, theirs) is None


SHOWN = {"method": "card", "card_brand": "visa", "issuer": "x", "auth_flow": "none", "auth_exemption": "low_value"}


class TestWhatIf:
    def test_the_card_that_an_earlier_attempt_showed_is_the_one_that_another_try_by_card_uses(self):
        wallet = {"method": "wallet", "created_at": 5}
        earlier = [{**SHOWN, "card_brand": "amex"}, SHOWN, wallet]
        told = what_if(wallet, {"method": "card"}, 9, earlier)
        assert told == {"method": "card", "card_brand": "visa", "issuer": "x", "created_at": 9}

    def test_a_method_never_tried_has_no_card(self):
        assert what_if(SHOWN, {"method": "wallet"}, 9, [SHOWN]) == {"method": "wallet", "created_at": 9}

    def test_what_excused_from_authentication_does_not_outlast_it(self):
        told = what_if(SHOWN, {"method": "card", "auth_flow": "challenge"}, 9)
        assert "auth_exemption" not in told
        assert what_if(SHOWN, {"method": "card", "auth_flow": "none"}, 9)["auth_exemption"] == "low_value"


class TestTheClock:
    @pytest.fixture
    def look(self, encoder, past):
        model = ByColumn("amount")
        return Predictor(encoder, model, past, {}), model

    def test_a_candidate_begins_when_the_failed_attempt_was_over_not_when_it_was_explained(self, look, card_attempt):
        predictor, model = look
        attempt, _ = card_attempt
        failed = {
            **attempt,
            "duration_s": 40.0,
            "resolved_at": attempt["created_at"] + 9 * MINUTE,
            "outcome": "technical",
        }
        predictor.candidate_success(attempt, [failed], CANDIDATES)
        assert model.seen[:, AT["seconds_since_last"]].tolist() == [40.0, 40.0, 40.0, 40.0, 3640.0]

    def test_who_walked_away_is_known_to_have_only_after_a_while_as_in_training(self, look, card_attempt):
        predictor, model = look
        attempt, _ = card_attempt
        failed = {**attempt, "duration_s": 40.0, "resolved_at": attempt["created_at"] + 40_000_000,
                  "outcome": "user_abandonment", "reason": "user_cancelled"}  # fmt: skip
        late = {"method": "card", "wait_s": MATURE_US / 1e6}
        predictor.candidate_success(attempt, [failed], [{"method": "card"}, late])
        assert model.seen[:, AT["user_abandonment_before"]].tolist() == [0.0, 1.0]
        assert failed["resolved_at"] == attempt["created_at"] + 40_000_000
