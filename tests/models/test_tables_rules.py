"""A table of attempts is held to the same rules as requests are."""

import pandas as pd
import pytest

from models.engine import Engine, ScoreRequest
from models.rules import RuleBook, network_rules
from models.tables import recommend_table

START = pd.Timestamp("2026-01-05T09:30:00Z")
LIMIT = 15


@pytest.fixture
def table():
    """One payment: sixteen declines of one Visa card; and one that ended with a lost card."""
    rows = [
        {
            "attempt_id": f"a{i}",
            "payment_id": "p1",
            "response_code": "05",
            "created_at": START + pd.Timedelta(minutes=i),
        }
        for i in range(LIMIT + 1)
    ]
    rows += [
        {"attempt_id": "b0", "payment_id": "p2", "response_code": "41", "created_at": START},
        {"attempt_id": "b1", "payment_id": "p2", "response_code": "05", "created_at": START + pd.Timedelta(minutes=5)},
    ]
    shared = {"amount_minor": 100, "currency": "EUR", "country": "DE", "method": "card", "route": "north"}
    shared |= {"card_brand": "visa", "code_scheme": "iso8583", "outcome": "bank_decline"}
    return pd.DataFrame([shared | row for row in rows])


@pytest.fixture
def candidates(table):
    ways = [("card", "north"), ("card", "harbor"), ("wallet", None)]
    rows = [
        {"attempt_id": attempt, "candidate_id": f"{attempt}-{i}", "method": method, "route": route}
        for attempt in table["attempt_id"]
        for i, (method, route) in enumerate(ways)
    ]
    return pd.DataFrame(rows)


def told(found):
    """For each attempt, the rules that its candidates are blocked by."""
    by = found.assign(place=found["candidate_id"].str[-1]).sort_values("place").groupby("attempt_id")["blocked_by"]
    return {attempt: [None if pd.isna(rule) else rule for rule in rules] for attempt, rules in by}


def test_blocked_by_names_the_limit_from_the_attempt_on_that_reached_it(table, candidates):
    found = told(recommend_table(None, table, candidates))
    assert found[f"a{LIMIT - 2}"] == [None, None, None]
    assert found[f"a{LIMIT - 1}"] == ["visa_declines_30_days", "visa_declines_30_days", None]


def test_blocked_by_names_a_code_of_an_earlier_attempt(table, candidates):
    found = told(recommend_table(None, table, candidates))
    assert found["b0"] == found["b1"] == ["visa_category_1", "visa_category_1", None]


def test_a_merchant_s_own_rules_hold_for_tables_too(table, candidates):
    kept = RuleBook(tuple(rule for rule in network_rules().rules if rule.kind != "limit"))
    found = told(recommend_table(None, table, candidates, rules=kept))
    assert found[f"a{LIMIT}"] == [None, None, None]
    assert found["b1"] == ["visa_category_1", "visa_category_1", None]


def test_a_row_is_blocked_as_the_same_request_is(table, candidates):
    found = told(recommend_table(None, table, candidates))
    plain = table.assign(created_at=(table["created_at"] - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(microseconds=1))
    rows = plain[plain["payment_id"] == "p1"].to_dict("records")
    evidence = {name: rows[-1].pop(name) for name in ("code_scheme", "response_code")}
    del rows[-1]["outcome"]
    mine = candidates[candidates["attempt_id"] == rows[-1]["attempt_id"]].to_dict("records")
    ways = tuple(
        {name: value for name, value in way.items() if name != "attempt_id" and isinstance(value, str)} for way in mine
    )
    answer = Engine(None).score(ScoreRequest(rows[-1], evidence, tuple(rows[:-1]), ways), request_id="r")
    blocked = {block["candidate_id"]: block["rule"] for block in answer["blocked"]}
    assert [blocked.get(way["candidate_id"]) for way in ways] == found[rows[-1]["attempt_id"]]
