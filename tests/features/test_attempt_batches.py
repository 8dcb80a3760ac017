"""Attempts that are read in batches are those that are read at once; what is wrong with them is told by the same rows."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from features.attempt_batches import batches_of, joined, read_batch, read_in_batches
from features.attempts import read_attempts
from features.errors import BadInput

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def written(tmp_path, attempts):
    def write(change=lambda table: table, rows=None):
        path = tmp_path / "attempts.parquet"
        change(attempts.copy()).to_parquet(path, index=False, row_group_size=rows)
        return path

    return write


@pytest.mark.parametrize(("group", "batch"), [(None, 400), (500, 10_000), (700, 300)])
def test_batches_together_are_the_table(written, group, batch):
    path = written(rows=group)
    batches = batches_of(path, batch)
    assert len(batches) > 1
    pd.testing.assert_frame_equal(read_in_batches(batches, now=NOW), read_attempts(path, now=NOW))


def test_a_folder_with_columns_that_only_some_files_have(tmp_path, attempts):
    attempts[:900].drop(columns="route").to_parquet(tmp_path / "a.parquet", index=False)
    attempts[900:].to_parquet(tmp_path / "b.parquet", index=False)
    pd.testing.assert_frame_equal(read_in_batches(batches_of(tmp_path), now=NOW), read_attempts(tmp_path, now=NOW))


def test_what_is_no_parquet_has_no_batches(tmp_path):
    (tmp_path / "attempts.csv").write_text("attempt_id\n1\n")
    assert batches_of(tmp_path / "attempts.csv") == []
    assert batches_of("sqlite:///shop.db") == []


def test_a_fault_is_told_by_its_row_in_the_whole_file(written):
    def spoil(table):
        table["amount_minor"] = table["amount_minor"].where(table.index != 1_234, -5)
        return table

    with pytest.raises(BadInput, match=r"row 1235, amount_minor '-5'"):
        read_in_batches(batches_of(written(spoil), 500), now=NOW)


def test_an_id_in_two_batches_is_told(written):
    def twice(table):
        table["attempt_id"] = table["attempt_id"].where(table.index != 1_500, table["attempt_id"].iloc[3])
        return table

    with pytest.raises(BadInput, match=r"row 1501, attempt_id: want an id that no earlier row has"):
        read_in_batches(batches_of(written(twice), 500), now=NOW)


@pytest.mark.parametrize("names", [["outcome", "reason"], ["resolved_at"]])
def test_a_batch_that_tells_no_times_or_outcomes_where_others_do_is_refused(written, names):
    def empty(table):
        for name in names:
            table[name] = table[name].where(table.index >= 500)
        return table

    def read():
        return read_in_batches(batches_of(written(empty), 500), now=NOW)

    with pytest.raises(BadInput, match="where the row has"):
        read()


def test_a_batch_may_have_successes_alone_but_not_the_whole(written):
    def only(table):
        return table[table["outcome"] == "success"]

    batches = batches_of(written(lambda table: table.sort_values("outcome", ignore_index=True)), 200)
    assert read_in_batches(batches, now=NOW, for_training=True)["outcome"].nunique() > 2
    with pytest.raises(BadInput, match="all attempts succeeded"):
        read_in_batches(batches_of(written(only), 200), now=NOW, for_training=True)


def test_joining_leaves_the_batches_as_they_were(written):
    parts = [read_batch(batch, now=NOW) for batch in batches_of(written(), 500)]
    before = [part.copy() for part in parts]
    joined(list(parts))
    for part, was in zip(parts, before, strict=True):
        pd.testing.assert_frame_equal(part, was)
