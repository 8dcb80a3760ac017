"""What is counted, and what is computed, in parts is that of the whole table, bit for bit."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from features.history import History, features_in_passing
from features.others import Others
from features.rows import Counts, Encoder


@settings(max_examples=15)
@given(cuts=st.lists(st.integers(0, 1_700), max_size=4))
def test_counts_of_pieces_make_the_encoder_of_the_table(attempts, encoder, cuts):
    borders = [0, *sorted(min(cut, len(attempts)) for cut in cuts), len(attempts)]
    pieces = [attempts[a:b] for a, b in pairwise(borders) if a < b]
    assert Encoder.counted(sum(map(Counts.of, pieces[1:]), Counts.of(pieces[0]))) == encoder


def of_parts(table, encoder, part, histories=None):
    """Each row's features, made part by part; a customer, or a payment without one, is in one part."""
    half = len(table) // 2
    others = Others.joined([Others.of(table[:half], 0), Others.of(table[half:], half)])
    matrix = None
    for p in np.unique(part):
        mine = np.flatnonzero(part == p)
        rows = encoder.from_table(table.iloc[mine].reset_index(drop=True))
        rows.position = mine
        history = History()
        found = features_in_passing(rows, history, others=others.only(part[others.position] != p))
        matrix = np.empty((len(table), found.shape[1]), np.float32) if matrix is None else matrix
        matrix[mine] = found
        if histories is not None:
            histories.append(history)
    return matrix


@settings(max_examples=10)
@given(parts=st.integers(1, 5), seed=st.integers(0, 99), coarse=st.booleans())
def test_features_of_parts_are_those_of_the_table(attempts, encoder, matrix, parts, seed, coarse):
    table = attempts
    if coarse:  # many attempts at one moment: then the order of the table decides
        table = attempts.assign(
            created_at=attempts["created_at"].dt.floor("30min"), resolved_at=attempts["resolved_at"].dt.ceil("30min")
        )
        matrix = features_in_passing(encoder.from_table(table), History())
    owner = np.unique(table["customer_id"].fillna(table["payment_id"]), return_inverse=True)[1]
    part = np.random.default_rng(seed).integers(0, parts, owner.max() + 1)[owner]
    np.testing.assert_array_equal(of_parts(table, encoder, part), matrix, strict=True)


def test_the_pasts_of_parts_together_are_that_of_the_table(attempts, encoder, rows):
    whole, pasts = History(), []
    features_in_passing(rows, whole)
    owner = np.unique(attempts["customer_id"].fillna(attempts["payment_id"]), return_inverse=True)[1]
    of_parts(attempts, encoder, owner % 3, pasts)
    together = History.joined(pasts)
    assert (set(together.slots), together.until) == (set(whole.slots), whole.until)
    for found, wanted in zip(together.copies(list(whole.slots)), whole.copies(list(whole.slots)), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_features_may_be_written_into_a_file_and_tell_how_far_they_are(tmp_path, rows, matrix):
    into, told = np.memmap(tmp_path / "features", np.float32, "w+", shape=matrix.shape), []
    assert features_in_passing(rows, History(), into=into, far=told.append) is into
    np.testing.assert_array_equal(np.asarray(into), matrix)
    assert told == [len(rows)]
