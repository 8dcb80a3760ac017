import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.kernel import put_back

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
