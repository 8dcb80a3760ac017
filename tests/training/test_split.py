"""Slices of time never share a payment, nor what was not known yet."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.kernel import PENDING
from training.split import SLICES, split_by_time

SHARES = (0.1, 0.1, 0.2)


@st.composite
def attempts(draw):
    n = draw(st.integers(20, 120))
    payment = np.sort(np.array(draw(st.lists(st.integers(0, n // 2), min_size=n, max_size=n))))
    payment = np.unique(payment, return_inverse=True)[1]
    created = np.array(draw(st.lists(st.integers(0, 10_000), min_size=n, max_size=n)))
    waits = draw(st.lists(st.one_of(st.integers(0, 500), st.just(None)), min_size=n, max_size=n))
    resolved = np.array([PENDING if wait is None else at + wait for at, wait in zip(created, waits, strict=True)])
    return payment, created, resolved


@given(attempts())
def test_a_payment_is_in_one_slice_only(drawn):
    payment, created, resolved = drawn
    slices = split_by_time(payment, created, resolved, SHARES).slices
    for code in np.unique(payment):
        assert len(set(slices[payment == code].tolist())) == 1


@given(attempts())
def test_everything_in_a_slice_was_known_before_the_next_began(drawn):
    payment, created, resolved = drawn
    split = split_by_time(payment, created, resolved, SHARES)
    for place in range(len(SLICES) - 1):
        mine = split.slices == place
        known = resolved[mine & (resolved != PENDING)]
        assert (created[mine] < split.begins[place + 1]).all()
        assert (known < split.begins[place + 1]).all()


@given(attempts())
def test_the_test_slice_is_never_purged(drawn):
    payment, created, resolved = drawn
    split = split_by_time(payment, created, resolved, SHARES)
    starts = np.array([created[payment == code].min() for code in payment])
    assert ((starts >= split.begins[3]) == split["test"]).all()


def test_slices_have_their_shares_of_payments():
    payment = np.arange(1000)
    created = payment * 10
    split = split_by_time(payment, created, created, (0.1, 0.1, 0.15))
    assert [int(split[name].sum()) for name in SLICES] == [650, 100, 100, 150]
    assert split.purged == 0
