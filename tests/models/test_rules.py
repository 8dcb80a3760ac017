"""The table of the networks' rules, and a merchant's own on top of it."""

import csv
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

import models.rules
from features.errors import BadInput, CardNumberFound
from models.actions import decision_table
from models.rules import COLUMNS, network_rules, read_rules
from models.rules_codes import rule_name
from models.rules_list import told

FOLDER = Path(models.rules.__file__).parent
with (FOLDER.parent / "features" / "codes.csv").open(encoding="utf-8") as file:
    CODES = list(csv.DictReader(file))
NOW = 1_767_605_400_000_000
LIMIT = {
    "rule": "visa_declines_30_days",
    "kind": "limit",
    "network": "visa",
    "region": "any",
    "counts": "declines_of_one_amount",
    "window_s": "2592000",
    "limit": "20",
    "edition": "2025-05",
    "effective_from": "2025-05-19",
    "source": "our acquirer",
    "meaning": "twenty since May 2025",
}
CODE_RULE = LIMIT | {
    "rule": "visa_category_1",
    "kind": "never",
    "counts": "codes",
    "window_s": "",
    "limit": "",
    "edition": "2026-10",
}


def micros(year, month, day):
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.fixture
def written(tmp_path):
    def _written(*rows, columns=COLUMNS):
        path = tmp_path / "ours.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        return path

    return _written


def limits(book, network, country=None, at=NOW):
    return {rule.rule: rule.limit for rule in book.limits(network, country, at)}


class TestTheShippedTable:
    def test_every_rule_that_a_code_names_has_a_row_with_its_edition(self):
        names = {
            rule_name(row["rule"] or None, row["sub_reason"])
            for row in CODES
            if row["rule"] or row["advice"] == "never"
        }
        assert {name for name in names if network_rules().named(name) is None} == set()

    def test_every_code_that_asks_to_wait_has_a_row_with_its_edition(self):
        names = {f"{row['scheme']}_wait" for row in CODES if row["wait_s"]}
        assert {name for name in names if network_rules().named(name).kind != "wait"} == set()

    def test_every_row_about_codes_has_codes(self):
        used = {
            rule_name(row["rule"] or None, row["sub_reason"])
            for row in CODES
            if row["rule"] or row["advice"] == "never"
        }
        used |= {f"{row['scheme']}_wait" for row in CODES if row["wait_s"]}
        assert {rule.rule for rule in network_rules().rules if rule.kind != "limit"} == used

    @pytest.mark.parametrize(
        ("network", "country", "wanted"),
        [
            ("visa", "KR", {"visa_declines_30_days": 15}),
            ("Mastercard", "KR", {"mastercard_declines_24_hours": 10, "mastercard_declines_30_days": 35}),
            ("mastercard", "BR", {"mastercard_declines_24_hours": 7, "mastercard_declines_30_days": 35}),
            ("elo", "BR", {"elo_declines_30_days": 15}),
            ("jcb", "JP", {}),
            (None, None, {}),
        ],
    )
    def test_limits_of_a_network_in_a_country(self, network, country, wanted):
        assert limits(network_rules(), network, country) == wanted

    def test_brazil_counts_declines_of_any_amount(self):
        found = {rule.rule: rule.counts for rule in network_rules().limits("mastercard", "BR", NOW)}
        assert found["mastercard_declines_30_days"] == "declines"

    def test_a_limit_holds_from_its_date_on_and_the_wider_one_before(self):
        book = network_rules()
        assert limits(book, "mastercard", "BR", micros(2023, 1, 31))["mastercard_declines_24_hours"] == 10
        assert limits(book, "mastercard", "BR", micros(2023, 2, 1))["mastercard_declines_24_hours"] == 7


class TestAMerchantsOwn:
    def test_a_row_takes_the_place_of_the_one_for_its_rule_network_and_region(self, written):
        book = read_rules(written(LIMIT))
        assert limits(book, "visa") == {"visa_declines_30_days": 20}
        assert limits(book, "mastercard") == limits(network_rules(), "mastercard")

    def test_of_several_editions_the_latest_in_force_holds(self, written):
        older = LIMIT | {"limit": "15", "edition": "2021-04", "effective_from": "2021-04-01"}
        book = read_rules(written(LIMIT, older))
        assert limits(book, "visa", at=micros(2025, 5, 18)) == {"visa_declines_30_days": 15}
        assert limits(book, "visa", at=micros(2025, 5, 19)) == {"visa_declines_30_days": 20}

    def test_a_limit_can_be_switched_off_for_a_region(self, written):
        book = read_rules(written(LIMIT | {"limit": "none", "region": "JP|KR"}))
        assert limits(book, "visa", "KR") == limits(book, "visa", "JP") == {}
        assert limits(book, "visa", "US") == {"visa_declines_30_days": 15}

    def test_a_limit_of_their_own_may_be_for_any_way_to_pay(self, written):
        book = read_rules(written(LIMIT | {"rule": "our_patience", "network": "any", "limit": "3"}))
        assert limits(book, None) == limits(book, "jcb") == {"our_patience": 3}
        assert limits(book, "visa") == {"visa_declines_30_days": 15, "our_patience": 3}

    def test_what_codes_forbid_can_be_told_by_another_edition(self, written):
        assert read_rules(written(CODE_RULE)).named("visa_category_1").edition == "2026-10"

    def test_the_shipped_table_stays_as_it_is(self, written):
        read_rules(written(LIMIT))
        assert limits(network_rules(), "visa") == {"visa_declines_30_days": 15}

    def test_spreadsheets_mark_at_the_start_of_a_file_does_no_harm(self, written):
        path = written(LIMIT)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert limits(read_rules(path), "visa") == {"visa_declines_30_days": 20}

    @pytest.mark.parametrize(
        ("row", "column", "value"),
        [
            (LIMIT | {"rule": "Visa limit"}, "rule", "Visa limit"),
            (LIMIT | {"rule": "visa_category_1"}, "rule", "visa_category_1"),
            (LIMIT | {"kind": "soft"}, "kind", "soft"),
            (LIMIT | {"network": "VISA"}, "network", "VISA"),
            (LIMIT | {"region": "Brazil"}, "region", "Brazil"),
            (LIMIT | {"region": "BR|EU"}, "region", "BR|EU"),
            (LIMIT | {"counts": "tries"}, "counts", "tries"),
            (LIMIT | {"window_s": "30 days"}, "window_s", "30 days"),
            (LIMIT | {"window_s": "0"}, "window_s", "0"),
            (LIMIT | {"limit": "-1"}, "limit", "-1"),
            (LIMIT | {"limit": "1.5"}, "limit", "1.5"),
            (LIMIT | {"edition": " "}, "edition", ""),
            (LIMIT | {"effective_from": "19.05.2025"}, "effective_from", "19.05.2025"),
            (LIMIT | {"source": ""}, "source", ""),
            (LIMIT | {"meaning": ""}, "meaning", ""),
            (CODE_RULE | {"rule": "our_codes"}, "rule", "our_codes"),
            (CODE_RULE | {"kind": "wait"}, "rule", "visa_category_1"),
            (CODE_RULE | {"network": "any"}, "network", "any"),
            (CODE_RULE | {"counts": "declines"}, "counts", "declines"),
            (CODE_RULE | {"limit": "none"}, "limit", "none"),
        ],
    )
    def test_what_cannot_be_used_is_told_with_row_column_value_and_what_is_allowed(self, written, row, column, value):
        with pytest.raises(BadInput) as bad:
            read_rules(written(LIMIT | {"rule": "fine"}, row))
        (fault,) = bad.value.faults
        assert (fault.row, fault.column, fault.seen) == (2, column, value)
        assert fault.allowed

    def test_two_rows_for_one_date_are_refused(self, written):
        with pytest.raises(BadInput, match="row 2, rule 'visa_declines_30_days': want one row for each"):
            read_rules(written(LIMIT, LIMIT))

    @pytest.mark.parametrize("columns", [COLUMNS[:-1], (*COLUMNS, "fee")])
    def test_other_columns_are_refused(self, written, columns):
        with pytest.raises(BadInput, match="want exactly the columns rule, kind"):
            read_rules(written(LIMIT | {"fee": "1"}, columns=columns))

    @pytest.mark.parametrize("line", ["visa,limit\n", "a," * 20 + "\n"])
    def test_a_row_with_another_number_of_values_is_refused(self, written, line):
        path = written(LIMIT)
        path.write_text(path.read_text() + line)
        with pytest.raises(BadInput, match="row 2, row: want 11 values"):
            read_rules(path)

    def test_a_card_number_is_refused_and_not_repeated(self, written):
        with pytest.raises(CardNumberFound) as found:
            read_rules(written(LIMIT | {"meaning": "as for 4111 1111 1111 1111"}))
        assert "4111" not in str(found.value)

    def test_a_file_that_is_not_there_is_told(self, tmp_path):
        with pytest.raises(BadInput, match=r"ours\.csv: cannot be read \(No such file or directory\)"):
            read_rules(tmp_path / "ours.csv")

    @pytest.mark.parametrize("content", [b"\xff\xfe\x00", b'"rule\n'])
    def test_a_file_that_is_no_csv_is_told(self, tmp_path, content):
        path = tmp_path / "ours.csv"
        path.write_bytes(content)
        with pytest.raises(BadInput, match="is no CSV"):
            read_rules(path)


class TestTheList:
    def test_every_rule_is_told_with_its_edition_date_and_source(self):
        text = " ".join(told(network_rules(), decision_table()).split())
        for rule in network_rules().rules:
            assert f"edition {rule.edition}, in force since {rule.effective_from}. Source: {rule.source}" in text
            assert rule.meaning in text

    def test_every_rule_of_the_decision_table_is_told(self):
        text = told(network_rules(), decision_table())
        for plan in decision_table().plans.values():
            assert all(f"{never.rule}  (" in text for never in plan.never.values())
            assert plan.always is None or f"{plan.always.rule}  (" in text

    def test_one_network_s_rules_are_told_with_those_of_all(self):
        text = told(network_rules(), decision_table(), "Visa")
        assert "visa_category_1  (visa)" in text
        assert "never_retry_code  (any way to pay)" in text
        assert "mastercard" not in text

    def test_a_network_without_rules_of_its_own_is_told_as_such(self):
        text = told(network_rules(), decision_table(), "jcb")
        assert text.startswith("No rule is for jcb alone.")
        assert "never_retry_code  (any way to pay)" in text

    def test_limits_are_told_in_words_and_regions_by_name(self):
        text = told(network_rules(), decision_table())
        assert "no further try after 7 declines within 1 day" in text
        assert "mastercard_declines_24_hours  (mastercard, BR)" in text

    def test_a_limit_that_is_switched_off_is_told_as_such(self, written):
        assert "switched off" in told(read_rules(written(LIMIT | {"limit": "none"})), decision_table())


def test_dates_of_the_table_are_not_ahead_of_its_edition():
    assert max(rule.effective_from for rule in network_rules().rules) <= date(2026, 11, 30)
