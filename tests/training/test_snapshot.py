"""What is kept of a training, and what is watched: counts that add up, and nobody in them."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from features.attempts import check_attempts
from features.own import OwnColumn
from features.rows import Encoder
from training import snapshot
from training.simulator import simulate
from training.snapshot import coded_columns, customers, failing, meanings, residuals, spells, unseen
from training.watched import BLOCK_US, tally, watched


@pytest.fixture(scope="module")
def made():
    """A table of attempts, its encoder and its rows."""
    table = check_attempts(simulate(900, 8, "outage").attempts, now=datetime(2026, 11, 1, tzinfo=UTC))
    encoder = Encoder.fit(table)
    return table, encoder, encoder.from_table(table)


def all_watched(made, edges=None):
    table, encoder, rows = made
    return {one.name: one for one in watched(table, encoder, rows, np.ones(len(rows), bool), edges or {})}


def test_every_attempt_is_in_one_bin_of_everything_that_is_watched(made):
    found = all_watched(made)
    assert {one.family for one in found.values()} == {"features", "evidence", "outcomes", "delay"}
    for one in found.values():
        assert len(one.bins) == len(one.rows) == len(made[0])
        assert one.bins.min() >= 0
        assert one.bins.max() < len(one.labels)


def test_bins_of_numbers_are_the_same_by_the_edges_that_were_found(made):
    first = all_watched(made)
    edges = {name: one.edges for name, one in first.items() if one.edges is not None}
    again = all_watched(made, edges)
    assert edges
    assert all((again[name].bins == first[name].bins).all() for name in edges)


def test_a_missing_value_a_rare_one_and_one_never_seen_have_bins_of_their_own(made):
    table, encoder, _ = made
    issuer = table["issuer"].astype(object)
    issuer.iloc[0], issuer.iloc[1] = "nobody_s_bank", None
    changed = table.assign(issuer=issuer.astype("category"))
    found = all_watched((changed, encoder, encoder.from_table(changed)))["issuer"]
    assert [found.labels[place] for place in found.bins[:2]] == ["(others)", "(missing)"]


def test_own_columns_are_watched_and_their_new_values_are_seen(made):
    table = made[0].assign(items=np.arange(900.0, 900.0 + len(made[0])), tier=pd.Categorical(["gold"] * len(made[0])))
    own = (
        OwnColumn("items", "items", "-", "form", "numeric"),
        OwnColumn("tier", "a tier", "-", "customer", "categorical"),
    )
    encoder = Encoder.fit(table, own)
    later = table.assign(tier=pd.Categorical(["platinum"] * len(table)))
    found = all_watched((later, encoder, encoder.from_table(later)))
    assert len(np.unique(found["items"].bins)) == 10
    assert {found["tier"].labels[place] for place in found["tier"].bins} == {"(others)"}
    assert (coded_columns(later, encoder, encoder.from_table(later))["tier"] == -1).all()


def test_what_is_judged_is_as_old_as_the_training_waited_for(trained):
    day = 86_400_000_000
    patient = replace(trained, data=replace(trained.data, mature_us=3 * day))
    assert snapshot.snapshot_of(patient)["maturity_us"] == 3 * day > snapshot.snapshot_of(trained)["maturity_us"]


def test_a_column_that_is_not_there_is_missing(made):
    table, encoder, _ = made
    bare = table.drop(columns=["form_seconds", "channel"])
    found = all_watched((bare, encoder, encoder.from_table(bare)))
    for name in ("form_seconds", "channel"):
        assert {found[name].labels[place] for place in found[name].bins} == {"(missing)"}


def test_tallies_by_day_and_by_block_count_every_attempt_once(made):
    _, _, rows = made
    one = all_watched(made)["method"]
    first = int(rows.created.min() // 86_400_000_000)
    days, hours = tally(one.bins, len(one.labels), rows.created, first, 40)
    assert days.sum() == hours.sum() == len(rows)
    assert (days.sum(axis=0) == hours.sum(axis=0)).all()


def test_payments_that_failed_technically_are_counted_once_in_each_block(made):
    table, _, rows = made
    known = table[table["outcome"].notna() & table["route"].notna()].assign(
        block=rows.created[table["outcome"].notna()] // BLOCK_US
    )
    bad = known[known["outcome"] == "technical"]
    wanted = known.groupby(["route", "block"], observed=True)["payment_id"].nunique()
    failed = bad.groupby(["route", "block"], observed=True)["payment_id"].nunique()
    values, block, n, k = failing(table, rows)["route"]
    found = pd.Series(n, index=pd.MultiIndex.from_arrays([values, block]))
    assert found.to_dict() == wanted.to_dict()
    assert {
        key: count for key, count in zip(zip(values, block, strict=True), k, strict=True) if count
    } == failed.to_dict()


@pytest.mark.parametrize("blocks", [1, 6])
def test_a_spell_sums_the_blocks_up_to_its_last(blocks):
    cells = (np.array(["a", "a", "b"]), np.array([10, 12, 11]), np.array([3, 4, 5]), np.array([1, 2, 0]))
    values, last, n, k = spells(cells, blocks)
    for value, end, of, bad in zip(values, last, n, k, strict=True):
        inside = (cells[0] == value) & (cells[1] <= end) & (cells[1] > end - blocks)
        assert (of, bad) == (cells[2][inside].sum(), cells[3][inside].sum())
    assert ("a", 12) in set(zip(values.tolist(), last.tolist(), strict=True))


def test_new_values_are_counted_by_customer(made):
    table, encoder, _ = made
    who = table["customer_id"].astype(str)
    brings = who.isin(who.unique()[:3])
    changed = table.assign(method=table["method"].astype(object).mask(brings, "coins").astype("category"))
    codes = coded_columns(changed, encoder, encoder.from_table(changed))["method"]
    new, all_, values = unseen(changed, "method", codes, customers(changed))
    assert (new, all_, values) == (3, who.nunique(), {"coins": int(brings.sum())})


def test_a_code_s_meanings_are_counted_by_customer(made):
    table, encoder, rows = made
    twice = pd.concat([table, table], ignore_index=True)
    found = meanings(table, encoder, rows)
    assert found == meanings(twice, encoder, encoder.from_table(twice))
    told = table[table["response_code"].notna() & table["reason"].notna()]
    who = told.groupby(["code_scheme", "response_code", "reason"], observed=True)["customer_id"].nunique()
    (scheme, code, reason), count = next(iter(who.items()))
    assert sum(found[f"{scheme}:{code}"][reason].values()) == count


def test_residuals_sum_what_came_less_what_was_predicted():
    rng = np.random.default_rng(0)
    told = rng.dirichlet([4, 1, 1, 1, 1], 500)
    outcome, created = rng.integers(0, 6, 500), rng.integers(0, 50 * BLOCK_US, 500)
    found = residuals(told, outcome, created, {"country": np.repeat(["KR", ""], 250)})
    off = (outcome == 0).sum() - told[:, 0].sum()
    assert sum(found["groups"]["success"]["all"]["off"]) == pytest.approx(off, abs=0.01)
    assert sum(sum(one["off"]) for one in found["groups"]["reliability"].values()) == pytest.approx(off, abs=0.1)
    assert sum(found["groups"]["outcome"]["technical"]["n"]) == (outcome < 5).sum()
    assert found["groups"]["country"] == {}


def test_the_snapshot_is_of_the_latest_days_that_are_enough(made, monkeypatch):
    table = made[0].sort_values("created_at", ignore_index=True)
    assert len(snapshot._latest(table)) == len(table)
    monkeypatch.setattr(snapshot, "_MOST_ATTEMPTS", 10)
    kept = snapshot._latest(table)
    assert kept["created_at"].max() == table["created_at"].max()
    assert (table["created_at"].max().normalize() - kept["created_at"].min().normalize()).days == 14
