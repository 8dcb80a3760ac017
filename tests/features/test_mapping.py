"""Mappings: what their files may say, and what they make of other people's tables."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.attempts import check_attempts, read_attempts
from features.columns import Column
from features.errors import BadInput
from features.mapping import Payments, Rule, parse_mapping, read_mapping

NOW = datetime(2026, 2, 1, tzinfo=UTC)
EXAMPLE = Path(__file__).parents[2] / "examples" / "shop_attempts.yaml"

BASE = """
timezone: UTC
columns:
  attempt_id: {template: "shop-{id}"}
  payment_id: order
  created_at: time
  amount_minor: {from: amount, unit: major}
  currency: {constant: EUR}
  country: {from: land, values: {Norge: NO, Deutschland: DE}}
  method: {constant: card}
"""

THEIRS: dict[str, list[Any]] = {
    "id": [1, 2, 3],
    "order": ["o1", "o1", "o2"],
    "time": ["2026-01-05 09:30:00", "2026-01-05T09:31:00", "2026-01-05T10:00:00+01:00"],
    "amount": ["5.25", "5.25", "10"],
    "land": ["Norge", "Norge", "Deutschland"],
}


def mapped(more: str = "", **changed: Any) -> pd.DataFrame:
    """Their table, with some columns changed, under BASE with `more` rules of columns."""
    frame = pd.DataFrame({name: values for name, values in (THEIRS | changed).items() if values is not None})
    return check_attempts(frame, source="shop.csv", mapping=parse_mapping(BASE + more), now=NOW)


def refusal(more: str = "", **changed: Any) -> str:
    with pytest.raises(BadInput) as caught:
        mapped(more, **changed)
    return str(caught.value)


def fault(text: str, extra: list[Column] | None = None) -> str:
    with pytest.raises(BadInput) as caught:
        parse_mapping(text, name="shop.yaml", extra=extra or [])
    return str(caught.value)


def test_columns_values_constants_and_units_become_ours() -> None:
    frame = mapped()
    assert frame["attempt_id"].tolist() == ["shop-1", "shop-2", "shop-3"]
    assert frame["payment_id"].tolist() == ["o1", "o1", "o2"]
    assert frame["amount_minor"].tolist() == [525, 525, 1000]
    assert frame["country"].tolist() == ["NO", "NO", "DE"]
    assert frame["currency"].tolist() == ["EUR"] * 3


def test_times_without_a_zone_are_in_the_mappings_and_others_keep_theirs() -> None:
    assert mapped()["created_at"].tolist() == [
        pd.Timestamp("2026-01-05T09:30:00Z"),
        pd.Timestamp("2026-01-05T09:31:00Z"),
        pd.Timestamp("2026-01-05T09:00:00Z"),
    ]


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2025-07-01 12:00", "2025-07-01T10:00Z"),
        ("2025-12-01 12:00", "2025-12-01T11:00Z"),
        ("2025-10-26 02:30", "2025-10-26T01:30Z"),
        ("2025-03-30 02:30", "2025-03-30T01:00Z"),
    ],
)
@pytest.mark.parametrize("as_text", [True, False])
def test_summer_time_is_kept_also_where_the_clock_is_set(local: str, utc: str, as_text: bool) -> None:
    mapping = parse_mapping(BASE.replace("UTC", "Europe/Berlin"))
    times = pd.Series([local] * 3)
    frame = pd.DataFrame(THEIRS | {"time": times if as_text else pd.to_datetime(times)})
    assert check_attempts(frame, mapping=mapping, now=NOW)["created_at"][0] == pd.Timestamp(utc)


def test_times_may_be_written_in_another_way() -> None:
    frame = mapped('  resolved_at: {from: done, format: "%d.%m.%Y %H:%M", plus_s: 1.5}\n', done=["5.1.2026 11:00"] * 3)
    assert frame["resolved_at"].tolist() == [pd.Timestamp("2026-01-05T11:00:01.5Z")] * 3


@pytest.mark.parametrize(("epoch", "number"), [("s", 1767610800), ("ms", 1767610800_000), ("us", 1767610800_000_000)])
def test_times_may_be_counted_since_1970(epoch: str, number: int) -> None:
    frame = mapped(f"  resolved_at: {{from: done, epoch: {epoch}}}\n", done=[number, number, None])
    assert frame["resolved_at"].tolist() == [pd.Timestamp("2026-01-05T11:00:00Z")] * 2 + [pd.NaT]


def test_a_time_that_is_written_otherwise_is_refused_with_its_row() -> None:
    message = refusal('  resolved_at: {from: done, format: "%d.%m.%Y"}\n', done=["5.1.2026", "2026-01-05", ""])
    assert "row 2, resolved_at '2026-01-05': want a time written as %d.%m.%Y" in message


@settings(max_examples=40)
@given(st.integers(0, 10**12), st.sampled_from([("KRW", 0), ("EUR", 2), ("KWD", 3), ("CLF", 4)]))
def test_amounts_in_major_units_become_exactly_the_minor_units(minor: int, money: tuple[str, int]) -> None:
    code, digits = money
    major = str(minor) if digits == 0 else f"{minor // 10**digits}.{minor % 10**digits:0{digits}}"
    mapping = parse_mapping(BASE.replace("EUR", code))
    frame = check_attempts(pd.DataFrame(THEIRS | {"amount": [major] * 3}), mapping=mapping, now=NOW)
    assert frame["amount_minor"].tolist() == [minor] * 3


def test_an_amount_finer_than_the_minor_unit_is_refused() -> None:
    assert "row 2, amount_minor '5.255': want a whole number of minor units" in refusal(amount=["5", "5.255", "1"])


def test_an_amount_in_each_rows_own_currency_is_counted_in_its_unit() -> None:
    text = BASE.replace("{constant: EUR}", "money")
    frame = pd.DataFrame(THEIRS | {"money": ["KRW", "EUR", "KWD"], "amount": ["5", "5", "5"]})
    assert check_attempts(frame, mapping=parse_mapping(text), now=NOW)["amount_minor"].tolist() == [
        5,
        500,
        5000,
    ]


def test_a_factor_converts_units() -> None:
    assert mapped("  form_seconds: {from: ms, factor: 0.001}\n", ms=[1500, None, 2])["form_seconds"].tolist()[::2] == [
        1.5,
        0.002,
    ]


def test_a_value_that_the_mapping_does_not_know_is_refused() -> None:
    message = refusal(land=["Norge", "Sverige", "Sverige"])
    assert (
        message == "shop.csv: row 2, country 'Sverige': want one of the mapping's values: Norge | Deutschland (2 rows)"
    )


@pytest.mark.parametrize(("others", "seen"), [("keep", ["visa", "other"]), ("missing", ["visa"])])
def test_other_values_are_kept_or_dropped_if_the_mapping_says_so(others: str, seen: list[str]) -> None:
    frame = mapped(f"  card_brand: {{from: card, values: {{V: visa}}, others: {others}}}\n", card=["V", "other", None])
    assert frame["card_brand"].dropna().tolist() == seen


def test_a_value_may_be_mapped_to_nothing() -> None:
    frame = mapped('  card_funding: {from: kind, values: {C: credit, U: ""}}\n', kind=["C", "U", None])
    assert frame["card_funding"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize("success", [[1, 0, None], [True, False, None], ["1", "0", ""], [1.0, 0.0, None]])
def test_truths_of_any_type_are_mapped_by_how_they_are_written(success: list[Any]) -> None:
    text = "  outcome: {from: ok, values: {1: success, true: success, 0: unclassified, false: unclassified}}\n"
    assert mapped(text, ok=success)["outcome"].dropna().tolist() == ["success", "unclassified"]


def test_columns_with_a_name_of_ours_are_taken_as_they_are_unless_ignored() -> None:
    kept = mapped("", route=["north"] * 3, reason=["free text"] * 3, outcome=None, note=["x"] * 3)
    assert kept["route"].tolist() == ["north"] * 3
    assert kept.attrs["ignored_columns"] == ["note"]
    dropped = mapped("ignore: [reason]\n", reason=["free text"] * 3)
    assert "reason" not in dropped


def test_rows_can_be_numbered() -> None:
    mapping = parse_mapping(BASE.replace("shop-{id}", "{row}"))
    assert check_attempts(pd.DataFrame(THEIRS), mapping=mapping, now=NOW)["attempt_id"].tolist() == [
        "1",
        "2",
        "3",
    ]


def test_a_column_that_the_data_lacks_is_named() -> None:
    assert "payment_id: want a column 'order' in the data, as the mapping says" in refusal(order=None)


def test_faults_of_the_mapping_and_of_the_values_are_told_together() -> None:
    message = refusal("  route: PSP\n", land=["Sverige"] * 3, amount=["-1"] * 3)
    assert message.count("want") == 3


def test_a_mapping_does_not_change_the_frame() -> None:
    frame = pd.DataFrame(THEIRS)
    check_attempts(frame, mapping=parse_mapping(BASE), now=NOW)
    pd.testing.assert_frame_equal(frame, pd.DataFrame(THEIRS))


PAYMENTS = (
    BASE.replace("  payment_id: order\n", "")
    + """
  card_brand: card
  outcome: {from: ok, values: {1: success, 0: unclassified}}
payments: {same: [country, amount_minor, card_brand], within_s: 60, until: success}
"""
)


def payments(rows: list[tuple[int, str, int]]) -> list[str]:
    """Payment of each attempt, given its second, card and success."""
    start = pd.Timestamp("2026-01-05T09:00:00")
    frame = pd.DataFrame(
        {
            "id": range(len(rows)),
            "time": [(start + pd.Timedelta(seconds=second)).isoformat() for second, _, _ in rows],
            "amount": [1] * len(rows),
            "land": ["Norge"] * len(rows),
            "card": [card for _, card, _ in rows],
            "ok": [ok for _, _, ok in rows],
        }
    )
    mapping = parse_mapping(PAYMENTS)
    return [name.removeprefix("shop-") for name in check_attempts(frame, mapping=mapping, now=NOW)["payment_id"]]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(0, "v", 0), (60, "v", 0), (120, "v", 1)], ["0", "0", "0"]),
        ([(0, "v", 0), (61, "v", 1)], ["0", "1"]),
        ([(0, "v", 1), (10, "v", 1)], ["0", "1"]),
        ([(0, "v", 0), (10, "m", 0)], ["0", "1"]),
        ([(0, "v", 0), (5, "m", 0), (10, "v", 1), (15, "m", 1)], ["0", "1", "0", "1"]),
        ([(10, "v", 1), (0, "v", 0)], ["1", "1"]),
        ([(0, "v", 0), (0, "v", 0), (0, "v", 1), (0, "v", 0)], ["0", "0", "0", "3"]),
    ],
    ids=["chain", "too late", "after a success", "another card", "interleaved", "file order", "duplicates"],
)
def test_attempts_are_grouped_into_payments(rows: list[tuple[int, str, int]], expected: list[str]) -> None:
    assert payments(rows) == expected


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from("vm"), st.integers(0, 1)), min_size=1, max_size=30))
def test_grouping_agrees_with_going_through_the_rows_one_by_one(rows: list[tuple[int, str, int]]) -> None:
    open_: dict[str, tuple[int, int]] = {}
    expected = [""] * len(rows)
    for place in sorted(range(len(rows)), key=lambda place: rows[place][0]):
        second, card, ok = rows[place]
        first, last = open_.get(card, (place, second))
        if second - last > 60:
            first = place
        expected[place] = str(first)
        open_[card] = (first, second)
        if ok:
            del open_[card]
    assert payments(rows) == expected


def test_retries_can_have_a_rule_of_their_own() -> None:
    text = """  propensity:
    first: {from: PSP, values: {north: 0.7, harbor: 0.3}}
    later: {constant: 0.5}
"""
    frame = mapped(text, PSP=["north", "harbor", "harbor"], time=[f"2026-01-05T09:{m}:00" for m in (31, 30, 40)])
    assert frame["propensity"].tolist() == [0.5, 0.3, 0.3]


def test_the_example_maps_the_shops_rows() -> None:
    csv = pd.DataFrame(
        {
            "row_id": ["0", "1", "2"],
            "tmsp": ["2019-01-01 00:01:11", "2019-01-01 00:01:17", "2019-01-01 00:02:49"],
            "country": ["Germany", "Germany", "Austria"],
            "amount": ["89", "89", "238"],
            "success": ["0", "1", "0"],
            "PSP": ["UK_Card", "UK_Card", "Goldcard"],
            "three_ds": ["0", "0", "1"],
            "card": ["Visa", "Visa", "Diners"],
        }
    )
    frame = check_attempts(csv, mapping=read_mapping(EXAMPLE), now=NOW, for_training=True)
    assert frame["payment_id"].tolist() == ["shop-0", "shop-0", "shop-2"]
    assert frame["amount_minor"].tolist() == [8900, 8900, 23800]
    assert frame["outcome"].tolist() == ["unclassified", "success", "unclassified"]
    assert frame["auth_flow"].tolist() == ["none", "none", "challenge"]
    assert frame["propensity"].tolist() == [0.489, 0.575, 0.075]
    assert frame.attrs["ignored_columns"] == []


def test_a_mapping_file_is_read_with_its_delimiter(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text('delimiter: ";"\n' + BASE, encoding="utf-8")
    pd.DataFrame(THEIRS).to_csv(tmp_path / "shop.csv", sep=";", index=False)
    frame = read_attempts(tmp_path / "shop.csv", tmp_path / "map.yaml", now=NOW)
    pd.testing.assert_frame_equal(frame, mapped())


def test_a_mapping_can_fill_declared_columns() -> None:
    extra = [Column("basket", "float64", "items", False, False, "before", "items in the basket")]
    mapping = parse_mapping(BASE + "  basket: {from: n, factor: 2}\n", extra=extra)
    frame = check_attempts(pd.DataFrame(THEIRS | {"n": [1, 2, 3]}), mapping=mapping, now=NOW, extra=extra)
    assert frame["basket"].tolist() == [2, 4, 6]
    with pytest.raises(BadInput, match="basket: want a column of the attempts table"):
        check_attempts(pd.DataFrame(THEIRS | {"n": [1, 2, 3]}), mapping=mapping, now=NOW)


def test_every_scalar_is_text() -> None:
    mapping = parse_mapping("columns: {country: {from: no, values: {Norway: NO, 1: 05}}}")
    assert mapping.rules["country"] == Rule(source="no", values={"Norway": "NO", "1": "05"})


def test_a_payments_rule_is_read() -> None:
    mapping = parse_mapping("payments: {same: [country], within_s: 60}")
    assert mapping.payments == Payments(("country",), 60.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("columns: [a]", "shop.yaml: columns \"['a']\": want names and values"),
        ("", "want one of columns, delimiter, ignore, payments, timezone"),
        ("map: {}", "map: want one of columns, delimiter, ignore, payments, timezone"),
        (
            "columns: {amount: x}",
            "columns 'amount': want a column of the attempts table (is it 'amount_minor'?)",
        ),
        ("columns: {route: {form: PSP}}", "columns.route.form: want one of from, constant"),
        (
            "columns: {route: {from: a, constant: b}}",
            "columns.route: want one of from, constant, template, or first",
        ),
        (
            "columns: {route: {values: {a: b}}}",
            "columns.route: want one of from, constant, template, or first",
        ),
        (
            "columns: {route: {first: a}}",
            "columns.route: want one of from, constant, template, or first and later",
        ),
        ("columns: {route: {from: a, factor: 2}}", "columns.route.factor: want one of from"),
        (
            "columns: {route: {from: a, others: drop}}",
            "columns.route.others 'drop': want one of refuse, keep, missing",
        ),
        ("columns: {route: {from: a, values: {x: [1]}}}", "columns.route.values.x: want a text"),
        (
            "columns: {form_seconds: {from: a, factor: two}}",
            "columns.form_seconds.factor 'two': want a number",
        ),
        (
            "columns: {amount_minor: {from: a, unit: cents}}",
            "columns.amount_minor.unit 'cents': want one of minor, major",
        ),
        (
            "columns: {created_at: {from: a, epoch: ns}}",
            "columns.created_at.epoch 'ns': want one of s, ms, us",
        ),
        ("timezone: Berlin", "timezone 'Berlin': want an IANA time zone"),
        ("timezone: ../etc", "timezone '../etc': want an IANA time zone"),
        ("delimiter: ab", "delimiter 'ab': want one character"),
        ("ignore: a", "ignore: want a list of column names"),
        ("payments: {same: [country]}", "payments.within_s: want this to be said"),
        (
            "payments: {same: [land], within_s: 60}",
            "payments.same 'land': want a column of the attempts table",
        ),
        ("payments: {same: [country], within_s: -1}", "payments.within_s '-1': want a number of at least 0"),
        (
            "columns: {payment_id: a}\npayments: {same: [country], within_s: 1}",
            "payments: want either this or",
        ),
        ("columns: {route: a, route: b}", "route: want to be said once in what begins on line 1"),
        ("columns: {route: [", "is not YAML on line 1"),
    ],
)
def test_what_a_mapping_may_not_say_is_named(text: str, message: str) -> None:
    assert message in fault(text)


def test_all_that_is_wrong_in_a_mapping_is_told_at_once() -> None:
    assert fault("colums: {}\ntimezone: Mars\ndelimiter: ''").count("want") == 3


def test_a_mapping_file_that_is_missing_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        read_mapping(tmp_path / "none.yaml")
    with pytest.raises(BadInput, match="is not UTF-8 text"):
        read_mapping(tmp_path / "binary.yaml")
