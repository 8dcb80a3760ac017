"""What came of suggestions, from small tables that can be counted by hand."""

import pandas as pd
import pytest

from features.errors import BadInput
from insights.recommendations import read_decisions, recommendations


@pytest.fixture
def decisions():
    return pd.DataFrame(
        {
            "attempt_id": ["a1", "a2", "a3", "a4", "a5"],
            "payment_id": ["p1", "p2", "p3", "p4", "p5"],
            "asked_at": pd.date_range("2026-01-05", periods=5, freq="h", tz="UTC"),
            "action": ["alternate_method", "alternate_method", "alternate_method", "contact_bank", "proceed"],
            "policy": ["greedy"] * 5,
            "followed": ["yes", "yes", "no", None, "nothing"],
            "followed_by": ["b1", "b2", "b3", None, None],
            "outcome": ["success", "bank_decline", "success", None, None],
            "degraded": [False, False, True, False, False],
            "success_probability": [0.8, 0.6, 0.7, None, 0.9],
            "amount_minor": [1000, 2000, 4000, 500, 100],
            "currency": ["EUR"] * 5,
        }
    )


def test_followed_counts_what_names_a_way_to_pay(decisions):
    found = recommendations(decisions)
    assert (found.n, found.payments) == (5, 5)
    assert (found.followed.hits, found.followed.n) == (2, 4)
    assert (found.paid_followed.hits, found.paid_followed.n) == (1, 2)
    assert (found.paid_otherwise.hits, found.paid_otherwise.n) == (1, 1)
    assert found.promised == pytest.approx(0.7)
    assert found.money == {"EUR": 10.0}
    assert found.degraded.hits == 1


def test_each_action_has_its_own_figures(decisions):
    by_action = {one.action: one for one in recommendations(decisions).actions}
    assert (by_action["alternate_method"].followed.hits, by_action["alternate_method"].followed.n) == (2, 3)
    assert by_action["contact_bank"].followed.n == 0
    assert by_action["proceed"].paid_followed.n == 0


def test_no_decisions_have_no_figures(decisions):
    assert recommendations(decisions.iloc[:0]) is None


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_decisions_in_files_give_the_same_figures(decisions, tmp_path, ending):
    path = tmp_path / f"decisions{ending}"
    decisions.to_csv(path, index=False) if ending == ".csv" else decisions.to_parquet(path)
    assert recommendations(read_decisions(path)).followed == recommendations(decisions).followed
    assert recommendations(read_decisions(path)).paid_followed == recommendations(decisions).paid_followed


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_text_where_a_number_is_wanted_is_told_by_its_place(decisions, tmp_path, ending):
    path = tmp_path / f"decisions{ending}"
    decisions["amount_minor"] = ["1000", "EUR 20", None, "500", "one hundred"]
    decisions["success_probability"] = ["0.8", "0.6", "0.7", None, "high"]
    decisions.to_csv(path, index=False) if ending == ".csv" else decisions.to_parquet(path)
    with pytest.raises(BadInput) as refused:
        read_decisions(path)
    told = str(refused.value)
    assert "row 2, amount_minor 'EUR 20': want a number (2 rows)" in told
    assert "row 5, success_probability 'high': want a number" in told


def test_what_is_no_table_of_decisions_is_refused(decisions, tmp_path):
    path = tmp_path / "decisions.csv"
    with pytest.raises(BadInput, match="no such file"):
        read_decisions(path)
    decisions.drop(columns=["followed", "policy"]).to_csv(path, index=False)
    with pytest.raises(BadInput, match=r"policy: want this column, which is missing; followed: want this column"):
        read_decisions(path)
    (tmp_path / "x.parquet").write_bytes(b"no")
    with pytest.raises(BadInput, match="cannot be read as decisions"):
        read_decisions(tmp_path / "x.parquet")
