import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.kernel import put_back, still_counting

values = st.sampled_from([0.0, 1.0, 2.0, float("nan")])


@given(arrays(np.float32, (3, 6), elements=values), arrays(np.bool_, (4, 6)), st.integers(0, 2), st.integers(0, 2))
def test_what_differs_is_put_back_kind_by_kind(matrix, members, place, against):
    ours, theirs = matrix[place], matrix[against]
    differ = ~((ours == theirs) | (np.isnan(ours) & np.isnan(theirs)))
    wanted = np.flatnonzero((members & differ).any(axis=1))
    before = matrix.copy()
    kinds, rows = np.empty(len(members), np.int64), np.empty(members.shape, np.float32)
    n = put_back(matrix, place, against, members, kinds, rows)
    np.testing.assert_array_equal(kinds[:n], wanted)
    np.testing.assert_array_equal(rows[:n], np.where(members[wanted], theirs, ours))
    np.testing.assert_array_equal(matrix, before)


@given(arrays(np.float64, (2, 4, 6), elements=st.floats(0, 1e6)), st.integers(-(10**16), 10**16), st.booleans())
def test_what_was_seen_counts_half_as_much_after_30_days(sums, age, other):
    times, at = np.array([10**17, 10**17 + 5]), 10**17 + age
    keys, left = np.full((1, 8), -1, np.int32), np.empty((1, 2))
    keys[0, 7], keys[0, 3] = int(other), int(not other)
    still_counting(keys, (7, 3), np.array([at]), sums, times, left)
    for found, slot in zip(left[0], keys[0, [7, 3]].tolist(), strict=True):
        days = max(at - int(times[slot]), 0) / 86_400_000_000
        assert found == pytest.approx(sum(sums[slot, 2].tolist()) * 0.5 ** (days / 30), rel=1e-12)
