import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.state_declines import (
    KEPT_US,
    MOST_DECLINES,
    Decline,
    added,
    count,
    credential_of,
    decline_of,
    packed,
    unpacked,
)

DAY = 86_400_000_000
T0 = 1_770_000_000_000_000
CARD = {
    "attempt_id": "a", "payment_id": "p", "customer_id": "c", "created_at": T0, "amount_minor": 100, "currency": "KRW",
    "method": "card", "card_brand": "visa", "card_funding": "credit", "issuer": "bank",
}  # fmt: skip

declines = st.builds(Decline, st.integers(0, 2**62), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))


@pytest.mark.parametrize("part", ["customer_id", "method", "card_brand", "card_funding", "issuer"])
def test_another_part_is_another_credential(part):
    assert credential_of({**CARD, part: "other"}) != credential_of(CARD)


@pytest.mark.parametrize("part", ["payment_id", "amount_minor", "currency", "created_at"])
def test_what_is_no_part_is_the_same_credential(part):
    assert credential_of({**CARD, part: 7}) == credential_of(CARD)


@pytest.mark.parametrize(
    ("what", "counts"),
    [
        ({"outcome": "bank_decline"}, True),
        ({"outcome": "unclassified"}, True),
        ({"outcome": "technical", "response_code": "91"}, True),
        ({"outcome": "technical"}, False),
        ({"outcome": "success", "response_code": "00"}, False),
        ({"outcome": "user_abandonment"}, False),
    ],
)
def test_what_the_rules_call_declined_is_kept(what, counts):
    assert (decline_of({**CARD, **what}) is not None) == counts


def test_declines_of_other_payments_within_the_window_count():
    told = [{**CARD, "payment_id": f"p{n}", "created_at": T0 - n * DAY, "outcome": "bank_decline"} for n in range(10)]
    kept = [decline_of(one) for one in told]
    assert count(kept, {**CARD, "payment_id": "p2"}, since=T0 - 5 * DAY, one_amount=False) == 4  # 0 1 3 4, not 5


@pytest.mark.parametrize("other", [{"amount_minor": 200}, {"currency": "JPY"}])
def test_of_one_amount_and_currency_only_those_count(other):
    kept = [decline_of({**CARD, **changed, "payment_id": "q", "outcome": "bank_decline"}) for changed in ({}, other)]
    assert count(kept, CARD, since=0, one_amount=True) == 1
    assert count(kept, CARD, since=0, one_amount=False) == 2


def test_what_is_too_old_or_too_many_is_not_kept():
    kept = ()
    for n in range(3 * MOST_DECLINES):
        kept = added(kept, Decline(T0 + n, n, 0))
    assert [one.payment for one in kept] == list(range(2 * MOST_DECLINES, 3 * MOST_DECLINES))
    assert added(kept, Decline(T0 + 2 * KEPT_US, 1, 1)) == (Decline(T0 + 2 * KEPT_US, 1, 1),)


def test_one_that_comes_late_takes_its_place_in_time():
    assert [one.at for one in added((Decline(5, 1, 1), Decline(9, 2, 1)), Decline(7, 3, 1))] == [5, 7, 9]


@given(many=st.lists(declines, max_size=5))
def test_packed_and_unpacked_they_are_the_same(many):
    assert list(unpacked(packed(many))) == many


@given(many=st.lists(declines, min_size=1, max_size=3), cut=st.integers(1, 23))
def test_what_is_cut_off_is_refused(many, cut):
    with pytest.raises(ValueError, match="bytes of declines"):
        unpacked(packed(many)[:-cut])
