"""Labels count once they are final, and those that cannot be believed are told."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from features.attempts import check_attempts
from features.kernel import PENDING
from features.rows import Encoder
from training.labels import label_report, matured

START = datetime(2026, 1, 5, tzinfo=UTC)
MINUTE_US = 60_000_000


def table_of(rows):
    """Attempts from (minutes since START, minutes until resolved, outcome, more columns)."""
    made = []
    for i, (begun, lasted, outcome, more) in enumerate(rows):
        created = START + timedelta(minutes=begun)
        resolved = created + timedelta(minutes=lasted) if outcome else None
        made.append(
            {
                "attempt_id": f"a{i}", "payment_id": f"p{i}", "created_at": created, "amount_minor": 100,
                "currency": "KRW", "country": "KR", "method": "card", "resolved_at": resolved, "outcome": outcome, **more,
            }
        )  # fmt: skip
    checked = check_attempts(pd.DataFrame(made), now=datetime(2026, 6, 1, tzinfo=UTC))
    return checked, Encoder.fit(checked).from_table(checked)


def test_an_abandonment_that_was_told_early_counts_only_once_it_is_old_enough():
    _, rows = table_of([(0, 2, "user_abandonment", {}), (100, 1, "success", {}), (200, 1, "success", {})])
    outcome, known_at = matured(rows, 30 * MINUTE_US)
    assert outcome.tolist()[:2] == [3, 0]
    assert known_at[0] == rows.created[0] + 30 * MINUTE_US
    assert known_at[1] == rows.resolved[1]


def test_what_is_too_young_at_the_end_of_the_data_is_not_learnt_from_whatever_it_was():
    _, rows = table_of(
        [(0, 1, "success", {}), (80, 1, "success", {}), (90, 1, "user_abandonment", {}), (100, 0, None, {})]
    )
    outcome, known_at = matured(rows, 30 * MINUTE_US)
    assert outcome.tolist() == [0, -1, -1, -1]
    assert (known_at[1:] == PENDING).all()
    assert rows.outcome.tolist() == [0, 0, 3, -1]


def test_without_a_time_to_mature_labels_are_as_they_were_told():
    _, rows = table_of([(0, 1, "success", {}), (1, 1, "user_abandonment", {})])
    assert matured(rows, 0)[0].tolist() == [0, 3]


def test_failures_that_come_later_are_seen_to_come():
    many = [(i, 1, "success", {}) for i in range(200)] + [(i, 40, "user_abandonment", {}) for i in range(100)]
    report = label_report(*table_of([*many, (3000, 1, "success", {})]), 30.0)
    by_delay = {row["delay"]: row for row in report["moving"]}
    assert by_delay["5 min"]["failed"] == 0.0
    assert by_delay["5 min"]["resolved"] == pytest.approx(200 / 300, abs=0.01)
    assert by_delay["1 h"]["failed"] == pytest.approx(1 / 3, abs=0.01)
    assert by_delay["1 h"]["low"] < 1 / 3 < by_delay["1 h"]["high"]


def test_abandonments_told_too_early_are_warned_of():
    rows = [(i, 2, "user_abandonment", {}) for i in range(50)] + [(i, 1, "success", {}) for i in range(50)]
    report = label_report(*table_of(rows), 30.0)
    assert report["abandonment_told_early"] == 50
    assert any("sooner than 30 minutes" in warning for warning in report["warnings"])


def declines(issuer, counts, start=0):
    rows = []
    for code, count in counts.items():
        told = {"issuer": issuer, "route": "north", "code_scheme": "iso8583", "response_code": code}
        rows += [(start + i, 1, "bank_decline", told) for i in range(count)]
    return rows


@pytest.mark.parametrize(("share", "warned"), [(70, True), (60, False)])
def test_an_issuer_that_gives_one_code_for_most_declines_is_told_with_its_numbers(share, warned):
    rows = declines("lazy", {"51": share, "05": 100 - share}) + declines("other", {"51": 30, "05": 60, "54": 60})
    warnings = label_report(*table_of(rows), 30.0)["warnings"]
    mine = [warning for warning in warnings if "lazy" in warning]
    assert bool(mine) == warned
    assert not [warning for warning in warnings if "'other'" in warning]
    if warned:
        assert "70% of its 100 declines" in mine[0]
        assert "20% of 150" in mine[0]


def test_a_code_that_everybody_gives_is_no_reason_to_warn():
    rows = declines("one", {"05": 90, "51": 10}) + declines("two", {"05": 170, "51": 30})
    assert label_report(*table_of(rows), 30.0)["warnings"] == []


def test_a_few_declines_are_no_reason_to_warn():
    rows = declines("lazy", {"51": 20}) + declines("other", {"05": 200})
    assert not [w for w in label_report(*table_of(rows), 30.0)["warnings"] if "lazy" in w]


def test_codes_are_compared_within_their_scheme():
    theirs = declines("lazy", {"51": 100})
    ours = [
        (begun, lasted, outcome, more | {"code_scheme": "stripe", "response_code": "x"})
        for begun, lasted, outcome, more in declines("other", {"05": 100})
    ]
    assert label_report(*table_of(theirs + ours), 30.0)["warnings"] == []


def test_a_simulated_market_labels_plausibly(table):
    report = label_report(table, Encoder.fit(table).from_table(table), 30.0)
    assert report["warnings"] == []
    resolved = [row["resolved"] for row in report["moving"]]
    assert np.all(np.diff(resolved) > -0.01)
