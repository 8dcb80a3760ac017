"""Totals on every page equal a plain SQL query on the same table."""

import json
import re

import duckdb
import pandas as pd
import pytest

PAYMENTS = """
    with payments as (
        select payment_id, bool_or(outcome = 'success') as won, bool_or(outcome is null) as pending,
               arg_min(prior_payments, created_at) = 0 as first_time, arg_max(outcome, created_at) as last_outcome,
               arg_max(reason, created_at) as last_reason, arg_min(amount_minor, created_at) as amount,
               any_value(currency) as currency, arg_min(method, created_at) as method
        from attempts group by payment_id),
    counted as (select * from payments where won or not pending)
"""


@pytest.fixture(scope="module")
def ask(table):
    attempts = table.copy()
    for name in attempts.select_dtypes("category"):
        attempts[name] = attempts[name].astype(object).where(attempts[name].notna(), None)
    connection = duckdb.connect()
    connection.register("frame", attempts)
    connection.execute("create table attempts as select * from frame")
    return lambda query: connection.execute(query).fetchall()


@pytest.mark.parametrize(
    ("definition", "query"),
    [
        ("attempt", "select count(*) filter (outcome = 'success'), count(*) from attempts where outcome is not null"),
        ("payment", PAYMENTS + "select count(*) filter (won), count(*) from counted"),
        ("first_time", PAYMENTS + "select count(*) filter (won), count(*) from counted where first_time"),
    ],
)
def test_the_success_rates_of_the_overview(ask, pages, definition, query):
    ((hits, n),) = ask(query)
    told = pd.read_csv(pages / "funnel.csv").query("definition == @definition")
    assert told.query("lost_to == 'success'")["reached"].item() == hits
    assert told["reached"].iloc[0] == n
    assert told["lost"].sum() == n - hits
    page = (pages / "index.html").read_text("utf-8")
    assert f"{100 * hits / n:.1f} %" in page
    assert f"{n:,}" in page


def test_the_funnel_loses_what_each_category_lost(ask, pages):
    lost = dict(ask("select outcome, count(*) from attempts where outcome <> 'success' group by 1"))
    told = pd.read_csv(pages / "funnel.csv").query("definition == 'attempt' and lost_to != 'success'")
    assert dict(zip(told["lost_to"], told["lost"], strict=True)) == lost


def test_the_reasons_by_every_segment(ask, pages):
    told = pd.read_csv(pages / "reasons.csv", keep_default_na=False)
    rows = ask(
        "select coalesce(method, '(missing)'), outcome, coalesce(reason, 'untold'), count(*) from attempts "
        "where outcome <> 'success' group by all"
    )
    mine = told.query("segment == 'method' and failed_attempts > 0")
    keys = mine[["value", "category", "reason"]].itertuples(index=False, name=None)
    assert dict(zip(keys, mine["failed_attempts"], strict=True)) == {tuple(row[:3]): row[3] for row in rows}
    for name, one in told.groupby("segment"):
        assert one["failed_attempts"].sum() == sum(row[3] for row in rows), name


def test_lost_payments_and_lost_money(ask, pages):
    rows = ask(PAYMENTS + "select currency, count(*), sum(amount) from counted where not won group by 1")
    told = pd.read_csv(pages / "reasons.csv", keep_default_na=False).query("segment == 'all'")
    assert told["lost_payments"].sum() == sum(row[1] for row in rows)
    for currency, _, minor in rows:
        digits = {"KRW": 0, "JPY": 0, "USD": 2, "TWD": 2}[currency]
        assert told[f"lost_{currency}"].sum() == pytest.approx(float(minor) / 10**digits)


def test_what_the_explorer_shows_from_any_side(ask, pages):
    page = (pages / "reasons.html").read_text("utf-8")
    cube = json.loads(re.search(r'id="cube">(.*?)</script>', page, re.DOTALL)[1])
    failed, ended = ask("select count(*) filter (outcome <> 'success'), count(outcome) from attempts")[0]
    ((lost, payments),) = ask(PAYMENTS + "select count(*) filter (not won), count(*) from counted")
    for name, pair in cube["pairs"].items():
        assert sum(cell[3] for cell in pair["failed"]) == failed, name
        assert sum(cell[4] for cell in pair["failed"]) == lost, name
        assert [sum(cell[k] for cell in pair["ended"]) for k in (2, 3)] == [ended, payments], name
    one = cube["pairs"]["country|method"]
    card = cube["segments"]["method"].index("card")
    kr = cube["segments"]["country"].index("KR")
    declined = {place for place, cause in enumerate(cube["causes"]) if cause[0] == "bank_decline"}
    query = "select count(*) from attempts where country = 'KR' and method = 'card' and outcome = 'bank_decline'"
    assert sum(c[3] for c in one["failed"] if c[:2] == [kr, card] and c[2] in declined) == ask(query)[0][0]


def test_the_pages_count_the_attempts_that_there_are(ask, pages):
    attempts, payments = ask("select count(*), count(distinct payment_id) from attempts")[0]
    for page in pages.glob("*.html"):
        text = page.read_text("utf-8")
        assert f"{attempts:,}" in text, page.name
        assert f"{payments:,}" in text, page.name


def test_what_recommendations_count_is_what_is_in_the_decisions(decisions, pages):
    page = (pages / "recommendations.html").read_text("utf-8")
    connection = duckdb.connect()
    connection.register("decisions", decisions)
    query = "select count(*), count(*) filter (followed = 'yes') / count(*) from decisions"
    ((n, share),) = connection.execute(query).fetchall()
    assert f"{n} suggestions" in page
    assert f"Followed: {100 * share:.1f} %" in page


def test_what_the_model_page_counts_is_what_was_judged(model, pages):
    page = (pages / "model.html").read_text("utf-8")
    assert f"Measured on {model.card['quality']['model']['success_auc']['n']:,} attempts" in page
    assert f"{model.card['data']['attempts']:,} attempts" in page


def test_the_attempts_that_drivers_look_at(ask, pages):
    ((ended,),) = ask("select count(*) from attempts where outcome is not null")
    assert f"of {ended:,} attempts" in (pages / "drivers.html").read_text("utf-8")
    told = pd.read_csv(pages / "drivers.csv")
    assert set(told["category"]) == {"authentication", "bank_decline", "user_abandonment", "technical"}


def test_the_arms_of_an_experiment_hold_its_payments(ask, pages):
    page = (pages / "experiments.html").read_text("utf-8")
    rows = dict(ask("select variant, count(distinct payment_id) from attempts group by 1"))
    table = re.search(r'id="arms-0".*?<tbody>(.*?)</tbody>', page, re.DOTALL)[1]
    counted = [int(n) for n in re.findall(r'data-raw="(\d+)"', table)]
    unripe = int(re.search(r"not counted</dt><dd>([\d,]+)", page)[1].replace(",", ""))
    assert sum(counted) + unripe == sum(rows.values())
    assert len(counted) == 2


def test_opportunities_for_machines_are_those_of_the_page(pages):
    told = json.loads((pages / "opportunities.json").read_text("utf-8"))
    wanted = {
        *("driver", "segment", "change", "gain_points", "low", "high", "payments_per_month", "amount_minor_per_month"),
        *("evidence", "sample_size", "days"),
    }
    assert told
    assert all(wanted <= set(one) for one in told)
    page = (pages / "opportunities.html").read_text("utf-8")
    assert len(re.findall(r'id="opportunity-\d+"', page)) == len(told)
    assert f"{told[0]['gain_points']:+.1f}".replace("-", "−") in page
