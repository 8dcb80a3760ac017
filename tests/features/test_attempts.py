"""The attempts table: what is accepted, what becomes of it, what is refused and in which words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from features.allowed import RANGES, VOCABULARIES
from features.arrow_columns import to_arrow
from features.attempts import check_attempts, read_attempts
from features.columns import Column, columns
from features.errors import BadInput, CardNumberFound, Fault

NOW = datetime(2026, 2, 1, tzinfo=UTC)
PAN = "4111111111111111"

FULL: dict[str, Sequence[Any]] = {
    "attempt_id": ["a1", "a2", "a3", "a4"],
    "payment_id": ["p1", "p1", "p2", "p3"],
    "customer_id": ["c1", "c1", None, "c2"],
    "created_at": pd.to_datetime(
        ["2026-01-05T09:30:00Z", "2026-01-05T09:31:00Z", "2026-01-05T10:00:00Z", "2026-01-31T23:59:00Z"]
    ),
    "amount_minor": [38000, 38000, 0, 1999],
    "currency": ["KRW", "KRW", "JPY", "USD"],
    "country": ["KR", "KR", "JP", "US"],
    "merchant_category": ["5411", None, "shoes", "5411"],
    "recurring": [False, False, None, True],
    "prior_payments": [0, 1, None, 7],
    "network_rtt_ms": [12.5, np.nan, 80.0, 40.0],
    "method": ["card", "wallet", "konbini", "card"],
    "issuer": ["41111111", None, None, "bank-7"],
    "auth_flow": ["challenge", None, None, "none"],
    "resolved_at": pd.to_datetime(["2026-01-05T09:30:20Z", "2026-01-05T09:31:05Z", "2026-01-05T10:00:00Z", None]),
    "code_scheme": ["iso8583", None, None, None],
    "response_code": ["05", None, None, None],
    "outcome": ["bank_decline", "success", "unclassified", None],
    "reason": ["generic_decline", None, None, None],
}


def attempts(**changed: Any) -> pd.DataFrame:
    """Four good attempts, the last one pending, with some columns changed; None leaves a column out."""
    return pd.DataFrame({name: values for name, values in (FULL | changed).items() if values is not None})


def checked(frame: pd.DataFrame, **options: Any) -> pd.DataFrame:
    return check_attempts(frame, source="shop.parquet", now=NOW, **options)


def refusal(frame: pd.DataFrame, **options: Any) -> str:
    with pytest.raises(BadInput) as caught:
        checked(frame, **options)
    return str(caught.value)


def test_every_column_gets_the_type_that_is_promised() -> None:
    frame = checked(attempts())
    promised = {"string": "str", "timestamp": "datetime64[us, UTC]", "float64": "float64", "bool": "boolean"}
    for name in frame.columns.drop(["amount_minor", "prior_payments"]):
        assert str(frame[name].dtype) == promised.get(columns()[name].type, "category")
    assert str(frame["amount_minor"].dtype) == "int64"
    assert str(frame["prior_payments"].dtype) == "Int64"


def test_values_and_their_order_stay() -> None:
    frame = checked(attempts())
    for name, values in attempts().items():
        seen = [None if pd.isna(value) else value for value in frame[name].astype(object)]
        assert seen == [None if pd.isna(value) else value for value in values.astype(object)]


def test_columns_come_in_the_order_of_the_contract() -> None:
    frame = checked(attempts()[list(reversed(FULL))])
    assert list(frame.columns) == [name for name in columns() if name in FULL]


def test_checking_twice_changes_nothing() -> None:
    once = checked(attempts())
    pd.testing.assert_frame_equal(checked(once), once)


def test_the_frame_that_was_given_stays_as_it_was() -> None:
    frame = attempts()
    result = checked(frame)
    result.loc[0, "amount_minor"] = 1
    result.loc[0, "network_rtt_ms"] = 1
    pd.testing.assert_frame_equal(frame, attempts())


def test_only_required_columns_are_enough() -> None:
    required = [name for name, column in columns().items() if column.required]
    assert list(checked(attempts()[required]).columns) == required


@pytest.mark.parametrize("name", [name for name, column in columns().items() if column.required])
def test_a_required_column_may_not_be_missing(name: str) -> None:
    assert f"{name}: want this column, which is missing" in refusal(attempts(**{name: None}))


@pytest.mark.parametrize("name", [name for name, column in columns().items() if column.required])
def test_a_required_value_may_not_be_missing(name: str) -> None:
    values = pd.Series(FULL[name]).astype(object)
    values[2] = None
    assert f"row 3, {name}: want a value in every row" in refusal(attempts(**{name: values}))


@pytest.mark.parametrize("empty", [[None] * 4, [np.nan] * 4, [""] * 4, [pd.NA] * 4])
def test_optional_columns_may_be_empty(empty: list[object]) -> None:
    optional = [name for name, column in columns().items() if not column.required]
    frame = checked(attempts(**dict.fromkeys(optional, empty)))
    assert frame[optional].isna().all(axis=None)


def test_a_missing_column_with_a_similar_name_is_pointed_at() -> None:
    frame = attempts().rename(columns={"amount_minor": "amount_minr"})
    assert "is it 'amount_minr'?" in refusal(frame)


def test_columns_that_nobody_asked_for_are_named_and_left_out() -> None:
    frame = checked(attempts(basket_size=[1, 2, 3, 4], note=["x"] * 4))
    assert frame.attrs["ignored_columns"] == ["basket_size", "note"]
    assert "note" not in frame


def test_declared_columns_are_kept_and_checked() -> None:
    extra = [
        Column("basket_size", "float64", "items", False, False, "before", "items in the basket"),
        Column("tier", "category", "", False, False, "before", "the customer's tier"),
    ]
    frame = checked(attempts(basket_size=["1", "2.5", "", None], tier=["gold", None, "gold", "tin"]), extra=extra)
    assert frame["basket_size"].dropna().tolist() == [1, 2.5]
    assert list(frame["tier"].cat.categories) == ["gold", "tin"]
    assert "row 2, basket_size 'two'" in refusal(attempts(basket_size=[1, "two", 3, 4], tier=None), extra=extra)


def test_a_declared_column_may_not_take_a_name_of_the_contract() -> None:
    extra = [Column("route", "category", "", False, False, "before", "another route")]
    assert "route: want a name that the contract does not use" in refusal(attempts(), extra=extra)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("amount_minor", [1, 2, -5, -6], "row 3, amount_minor '-5': want at least 0, at most 1e+15 (2 rows)"),
        ("amount_minor", [1, 2, 3, 10**16], "row 4, amount_minor"),
        ("amount_minor", [1, 2.5, 3, 4], "row 2, amount_minor '2.5': want a whole number"),
        ("amount_minor", ["1", "2", "x", "4"], "row 3, amount_minor 'x': want a whole number"),
        ("amount_minor", [1, 2, np.inf, 4], "row 3, amount_minor 'inf': want a"),
        ("amount_minor", [True, False, True, True], "row 1, amount_minor 'True': want a whole number"),
        ("propensity", [0.5, 0, 1, 1], "row 2, propensity '0': want more than 0, at most 1"),
        ("propensity", [0.5, 1.1, 1, 1], "row 2, propensity '1.1'"),
        ("network_rtt_ms", [1, np.inf, 3, 4], "row 2, network_rtt_ms 'inf': want a finite number"),
        ("duration_s", [1, -0.5, 3, 4], "row 2, duration_s '-0.5': want at least 0"),
        ("auth_steps", [1, 51, 3, 4], "row 2, auth_steps '51': want at least 0, at most 50"),
        ("card_months_to_expiry", [-601, 0, 0, 0], "row 1, card_months_to_expiry '-601'"),
        (
            "currency",
            ["KRW", "EU", "JPY", "USD"],
            "row 2, currency 'EU': want an ISO 4217 code, such as 'EUR'",
        ),
        ("country", ["KR", "kr", "JP", "US"], "row 2, country 'kr': want an ISO 3166-1 alpha-2 code"),
        ("issuer_country", ["KR", None, "UK", "US"], "row 3, issuer_country 'UK'"),
        (
            "auth_flow",
            ["none", "3ds", None, "none"],
            "row 2, auth_flow '3ds': want none | frictionless | challenge",
        ),
        (
            "outcome",
            ["lost", "success", "success", None],
            "row 1, outcome 'lost': want success | authentication",
        ),
        ("trans_status", ["Y", "X", None, None], "row 2, trans_status 'X': want Y | A | N"),
        ("recurring", ["yes", "maybe", "", "0"], "row 2, recurring 'maybe': want true or false"),
        (
            "route",
            ["x" * 65, None, None, None],
            "route 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…': want at most 64",
        ),
        ("route", [None, "a\nb", None, None], "row 2, route 'a\\\\nb': want printable characters"),
        (
            "attempt_id",
            ["a", "b", "a", "a"],
            "row 3, attempt_id 'a': want an id that no earlier row has (2 rows)",
        ),
        ("attempt_id", ["a", "b", "c\x00", "d"], "row 3, attempt_id 'c\\\\x00': want printable characters"),
        ("attempt_id", [1.5, 2.5, 3.5, 4.5], "row 1, attempt_id '1.5': want text"),
        (
            "response_code",
            [5, None, None, None],
            "response_code '5.0': want text; as a number it lost its leading",
        ),
        (
            "customer_id",
            ["c", "jo@shop.com", None, None],
            "row 2, customer_id: want a pseudonym, not an e-mail",
        ),
        (
            "issuer",
            ["411111111", None, None, None],
            "row 1, issuer: want a pseudonym, or at most the first 8",
        ),
        (
            "created_at",
            ["2026-01-05 09:30"] * 4,
            "row 1, created_at '2026-01-05 09:30': want a time with its zone",
        ),
        (
            "created_at",
            ["2026-01-05T09:30:00Z", "soon", "5", "2026-13-01T00:00:00Z"],
            "row 2, created_at 'soon'",
        ),
        ("created_at", [1767605400] * 4, "row 1, created_at '1767605400': want a time with its zone"),
        (
            "created_at",
            ["1999-12-31T23:59:59Z"] * 4,
            "row 1, created_at '1999-12-31T23:59:59+00:00': want a time since",
        ),
        ("created_at", ["2026-02-02T00:00:01Z"] * 4, "want a time not in the future (now is 2026-02-01"),
    ],
)
def test_a_bad_value_is_named_with_its_row_and_what_is_allowed(name: str, values: Any, message: str) -> None:
    assert message in refusal(attempts(**{name: pd.Series(values)}))


@pytest.mark.parametrize("name", VOCABULARIES)
def test_a_closed_vocabulary_is_the_one_that_the_contract_lists(name: str) -> None:
    listed = columns()[name].meaning
    assert all(word in listed for word in VOCABULARIES[name])
    if "|" in listed:
        assert len(listed.split("|")) == len(VOCABULARIES[name])


def test_a_probability_that_was_summed_may_be_a_hair_above_one() -> None:
    assert checked(attempts(propensity=[0.1 + 0.2 + 0.7, 1 + 4e-16, 1, None]))["propensity"].notna().sum() == 3


def test_every_number_of_the_table_has_a_range() -> None:
    assert RANGES.keys() == {name for name, column in columns().items() if column.type in {"int64", "float64"}}


def test_times_without_a_zone_are_refused() -> None:
    naive = pd.Series(FULL["created_at"]).dt.tz_localize(None)
    message = refusal(attempts(created_at=naive))
    assert "row 1, created_at '2026-01-05 09:30:00': want a time with its zone" in message
    assert "`timezone`" in message


def test_times_of_any_zone_become_utc() -> None:
    seoul = pd.Series(FULL["created_at"]).dt.tz_convert("Asia/Seoul")
    pd.testing.assert_frame_equal(checked(attempts(created_at=seoul)), checked(attempts()))


def test_a_time_within_a_days_difference_of_clocks_is_accepted() -> None:
    ahead = pd.Series([NOW + timedelta(hours=23)] * 4)
    assert checked(attempts(created_at=ahead, resolved_at=None)).shape[0] == 4


def test_whole_numbers_that_pandas_made_floats_are_whole_again() -> None:
    frame = checked(attempts(prior_payments=[0.0, 1.0, np.nan, 7.0], merchant_category=[5411.0, np.nan, 1, 2]))
    assert frame["prior_payments"].tolist() == [0, 1, pd.NA, 7]
    assert list(frame["merchant_category"].cat.categories) == ["1", "2", "5411"]


def test_numbers_beyond_what_floats_hold_stay_exact() -> None:
    ids = [2**62 + 1, 2**62 + 2, 2**62 + 3, 2**62 + 4]
    assert checked(attempts(payment_id=ids))["payment_id"].tolist() == [str(number) for number in ids]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"resolved_at": ["2026-01-05T09:29:59Z", *["2026-01-06T00:00:00Z"] * 2, None]},
            "not before the row's created_at",
        ),
        (
            {"resolved_at": ["2026-01-05T10:30:00Z", None, "2026-01-06T00:00:00Z", None]},
            "row 2, resolved_at: want a time",
        ),
        (
            {"outcome": [None, "success", "success", None], "reason": None},
            "row 1, outcome: want an outcome where",
        ),
        (
            {"reason": [None, "expired_card", None, None]},
            "row 2, reason 'expired_card': want no reason where the outcome is s",
        ),
        ({"reason": [None, None, "expired_card", None]}, "want no reason where the outcome is unclassified"),
        (
            {"reason": [None, None, None, "expired_card"]},
            "row 4, reason 'expired_card': want no reason without an outcome",
        ),
    ],
)
def test_columns_that_contradict_each_other_are_refused(changed: dict[str, Any], message: str) -> None:
    assert message in refusal(attempts(**changed))


def test_an_outcome_whose_time_nobody_recorded_is_accepted() -> None:
    assert checked(attempts(resolved_at=None))["outcome"].notna().sum() == 3


def test_faults_are_told_all_at_once_and_each_once() -> None:
    frame = attempts(currency=["EU"] * 4, country=["Korea"] * 4, amount_minor=[-1] * 4, created_at=["soon"] * 4)
    with pytest.raises(BadInput) as caught:
        checked(frame)
    assert sorted(fault.column for fault in caught.value.faults) == [
        "amount_minor",
        "country",
        "created_at",
        "currency",
    ]
    assert all(fault.count == 4 for fault in caught.value.faults)


def test_no_more_than_twenty_faults_are_told_and_the_rest_counted() -> None:
    odd = {name: ["x" * 200] * 4 for name, column in columns().items() if column.type == "category"}
    with pytest.raises(BadInput, match=r"and \d+ more kinds of fault") as caught:
        checked(attempts(**odd))
    assert len(caught.value.faults) == 20


def test_an_empty_frame_is_refused() -> None:
    assert refusal(attempts().head(0)) == "shop.parquet: holds no attempts; want at least one row"


def test_a_column_twice_is_refused() -> None:
    frame = pd.concat([attempts(), attempts()[["route_"]] if "route_" in FULL else attempts()[["method"]]], axis=1)
    assert "method: want one column of this name, not more" in refusal(frame)


def test_a_column_of_lists_is_refused() -> None:
    assert "route 'a column of list" in refusal(attempts(route=[["a"], ["b"], [], []]))


def test_a_column_of_values_of_many_types_is_refused() -> None:
    assert "form_seconds: want values of one type" in refusal(attempts(form_seconds=[1.5, {"a": 1}, "x", b"y"]))


ODD = [
    pa.array([time(1), None, time(2), None]),
    pa.array([timedelta(1), None, None, None]),
    pa.array([b"x", b"\xff", None, b""]),
    pa.array([[1], [2], None, []]),
    pa.array([{"a": 1}, None, {"a": 2}, None]),
    pa.array([Decimal("1.50"), None, Decimal(2), None]),
    pa.array([date(2026, 1, 1)] * 4),
    pa.array([1, None, 2, 2]).dictionary_encode(),
    pa.array([True, None, False, True]),
    pa.array([2**64 - 1, 1, None, 0], pa.uint64()),
    pa.array([float("nan"), float("inf"), -0.0, 1e300]),
    pa.array(["", "nan", "0x10", "1e3"]),
    pa.array([-(2**40), 2**40, 0, None], pa.timestamp("s", "UTC")),
    pa.array([0, 1, 2, None], pa.timestamp("ns")),
    pa.array(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-02-30T00:00:00Z", "2026-01-05T25:00:00Z"]),
    pa.array(["x" * 1000, "\u202e", "\x00", "é"]).dictionary_encode(),
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: str(odd.type))
def test_whatever_a_column_holds_it_is_read_or_refused(odd: pa.Array, tmp_path: Path) -> None:
    given = {name: to_arrow(column) for name, column in attempts().items()}
    path = tmp_path / "shop.parquet"
    for name in ("attempt_id", "created_at", "amount_minor", "form_seconds", "stored", "route", "outcome"):
        parquet.write_table(pa.table(given | {name: odd}), path)
        faults: tuple[Fault, ...] = ()
        try:
            read_attempts(path, now=NOW)
        except BadInput as error:
            faults = error.faults
        assert {fault.column for fault in faults} <= {name, "resolved_at", "outcome", "reason"}


def test_now_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="zone"):
        check_attempts(attempts(), now=datetime(2026, 1, 1))


def test_training_needs_outcomes() -> None:
    assert "outcome: want this column, which is missing" in refusal(
        attempts(outcome=None, reason=None), for_training=True
    )


def test_training_needs_something_that_is_not_pending() -> None:
    pending = attempts(outcome=[None] * 4, reason=None, resolved_at=None)
    assert "all are pending" in refusal(pending, for_training=True)
    assert len(checked(pending)) == 4


@pytest.mark.parametrize(
    ("outcome", "message"), [("success", "all attempts succeeded"), ("technical", "all attempts failed")]
)
def test_training_needs_successes_and_failures(outcome: str, message: str) -> None:
    same = attempts(outcome=[outcome, outcome, outcome, None], reason=None)
    assert message in refusal(same, for_training=True)


@pytest.mark.parametrize("name", ["attempt_id", "customer_id", "issuer", "method", "note"])
def test_card_numbers_are_refused_in_any_column_and_never_printed(name: str) -> None:
    with pytest.raises(CardNumberFound) as caught:
        checked(attempts(**{name: ["a", "b", PAN, "d"]}))
    assert f"row 3, {name}: want no card numbers" in str(caught.value)
    assert PAN[:9] not in repr(caught.value) + str(caught.value.faults)


def test_a_long_number_that_is_refused_for_another_reason_is_not_printed() -> None:
    message = refusal(attempts(currency=["4111111111111112"] * 4))
    assert "currency '<long number>'" in message


@settings(max_examples=50)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "amount_minor": st.integers(0, 10**12 - 1),  # with 13 digits, some are card numbers, which are refused
                "currency": st.sampled_from(["KRW", "EUR"]),
                "route": st.none() | st.text(st.characters(categories=["L", "P"]), min_size=1, max_size=64),
                "network_rtt_ms": st.none() | st.floats(0, 1e12, exclude_max=True),
                "prior_payments": st.none() | st.integers(0, 10**12 - 1),
                "stored": st.none() | st.booleans(),
            }
        ),
        min_size=1,
        max_size=20,
    )
)
def test_whatever_is_allowed_comes_back_as_it_was(rows: list[dict[str, Any]]) -> None:
    given = pd.DataFrame(
        [
            {
                "attempt_id": f"a{place}",
                "payment_id": "p",
                "created_at": NOW - timedelta(microseconds=place + 1),
                "country": "KR",
                "method": "card",
                **row,
            }
            for place, row in enumerate(rows)
        ]
    )
    frame = checked(given)
    for name in rows[0]:
        assert [None if pd.isna(value) else value for value in frame[name].astype(object)] == [
            row[name] for row in rows
        ]
