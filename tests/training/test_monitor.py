"""`payrescue monitor`: quiet weeks stay quiet, and what changes is seen, named, and told what to do about."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

import payrescue
from features.attempts import check_attempts
from features.errors import BadInput
from models.artefact import save
from models.tables import matrix_of
from training.monitor import monitor
from training.monitor_checks import predicted
from training.monitor_output import gauges, lines, page, write
from training.simulator import simulate
from training.snapshot import snapshot_of
from training.tracking import add_to
from training.train import train

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own store

NOW = datetime(2027, 1, 1, tzinfo=UTC)
WEEK = pd.Timedelta(days=7)
OWN = (
    "{basket_items: {label: items in the basket, unit: items, group: amount, kind: numeric}, "
    "tier: {label: tier of the loyalty programme, group: customer, kind: categorical}}"
)


@pytest.fixture(scope="module")
def weeks():
    """The attempts of some weeks of one market in which nothing changes, by the first week and the one after the last."""
    table = check_attempts(simulate(45_000, 43, days=182).attempts, now=NOW)
    rng = np.random.default_rng(2)
    tier = pd.Categorical(rng.choice(["gold", "silver"], len(table)), ["gold", "silver"])
    table = table.assign(basket_items=rng.poisson(3.0, len(table)).astype(float), tier=tier)
    week = (table["created_at"] - table["created_at"].min().normalize()) // WEEK
    return lambda first, end: table[(week >= first) & (week < end)].reset_index(drop=True)


@pytest.fixture(scope="module")
def trained(weeks, settings):
    found = train(weeks(0, 4), replace(settings, own_columns=OWN))
    return found.artefact, json.loads(json.dumps(snapshot_of(found)))


@pytest.fixture(scope="module")
def look(trained, weeks):
    """What is found of a table of the fifth week, which the weeks before it are the past of."""
    return lambda table, past=None: monitor(*trained, table, past=weeks(0, 4) if past is None else past)


@pytest.fixture
def week(weeks):
    return weeks(4, 5)


@pytest.fixture(scope="module")
def quiet(look, weeks):
    return look(weeks(4, 5))


def families(report):
    return {check.family for check in report.alarms}


@pytest.mark.parametrize("number", [4, 5, 6, 7])
def test_a_week_in_which_nothing_changes_raises_no_alarm(look, weeks, number):
    report = look(weeks(number, number + 1), weeks(0, number))
    assert report.alarms == []
    assert report.retrain == "no"
    assert report.about["checks"] > 60


@pytest.mark.parametrize(
    "part",
    [
        lambda table: table["created_at"].dt.day_of_week >= 5,
        lambda table: table["created_at"].dt.hour < 6,
        lambda table: table["created_at"] < table["created_at"].min() + pd.Timedelta(days=2),
    ],
    ids=["a weekend", "nights", "two days"],
)
def test_part_of_a_week_is_held_against_such_a_part(look, week, part):
    assert look(week[part(week)].reset_index(drop=True)).alarms == []


def changed(column, change):
    return lambda table: table.assign(**{column: change(table[column].astype(object), table).astype("category")})


def route_down(table):
    begin = table["created_at"].min().normalize() + pd.Timedelta(days=2, hours=4)
    inside = (table["created_at"] - begin) / pd.Timedelta(hours=1)
    down = (table["route"] == "north") & (inside >= 0) & (inside < 8)
    assert down.sum() > 5
    outcome = table["outcome"].astype(object).mask(down, "technical")
    return table.assign(outcome=outcome.astype("category"), reason=table["reason"].mask(down))


def gives_up(table):
    return table.index % 6 == 0


CHANGES = {
    "a new issuer": (
        changed("issuer", lambda issuer, table: issuer.mask(issuer.notna() & (table.index % 12 == 0), "new_bank")),
        "unknown values", "yes", "new_bank",
    ),
    "codes that change places": (
        changed("response_code", lambda code, _: code.replace({"05": "51", "51": "05"})),
        "codes", "not yet", "code iso8583:",
    ),
    "codes with other names": (
        changed("response_code", lambda code, _: code.where(code.isna(), "R" + code.astype(str))),
        "unknown codes", "not yet", "response code",
    ),
    "a route that is down": (route_down, "outage", "not yet", "route north failed technically"),
    "outcomes that come late": (
        lambda table: table.assign(resolved_at=table["resolved_at"] + pd.Timedelta(hours=2)),
        "delay", "not yet", "time until an outcome is known",
    ),
    "a column that is gone": (
        lambda table: table.drop(columns="form_seconds"), "features", "", "(missing): 100.0 %",
    ),
    "a merchant's own number that grows": (
        lambda table: table.assign(basket_items=table["basket_items"] + 2.0), "features", "not yet", "items in the basket",
    ),
    "a merchant's own category with a new value": (
        changed("tier", lambda tier, table: tier.mask(table.index % 3 == 0, "platinum")), "unknown values", "yes", "platinum",
    ),
    "customers who give up more often": (
        changed("outcome", lambda outcome, table: outcome.mask((outcome == "success") & gives_up(table), "user_abandonment")),
        "calibration", "yes", "success came in",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "family", "retrain", "says"), CHANGES.values(), ids=CHANGES)
def test_what_changes_is_seen_and_named_with_what_to_do(look, week, change, family, retrain, says):
    report = look(change(week))
    assert family in families(report)
    assert says in " ".join(check.says for check in report.alarms if check.family == family)
    assert retrain in {report.retrain, ""}
    assert len(report.next) == len(report.why) == len(families(report))


def test_the_same_attempts_and_seed_give_the_same_report(look, week, quiet):
    assert look(week).as_dict() == quiet.as_dict()


def test_without_the_attempts_in_between_calibration_is_not_judged_and_says_so(trained, weeks):
    report = monitor(*trained, weeks(7, 8))
    assert "calibration" not in {check.family for check in report.checks}
    assert "Give the attempts in between" in report.notes[0]
    assert report.alarms == []


def test_a_week_that_begins_where_the_model_s_past_ends_needs_no_history(trained, week, quiet):
    report = monitor(*trained, week)
    assert report.notes == []
    assert {check.family for check in report.checks} == {check.family for check in quiet.checks}


def test_a_week_that_begins_before_the_model_s_past_ends_is_told_as_with_all_of_that_past(trained, weeks):
    artefact, kept = trained
    table = pd.concat([weeks(3, 4).tail(60), weeks(4, 5)], ignore_index=True)
    rows = artefact.encoder.from_table(table)
    assert rows.created.min() < artefact.history.until
    every = np.ones(len(table), bool)
    ours, carried = predicted(artefact, table, rows, every, None, kept["maturity_us"])
    theirs, wanted = predicted(artefact, table, rows, every, weeks(0, 4), kept["maturity_us"])
    assert ours.sum() > 0.95 * len(weeks(4, 5))
    assert not (ours & ~theirs).any()
    np.testing.assert_allclose(carried, wanted[ours[theirs]], atol=1e-9)
    empty = artefact.outcome_model().outcome_probability(matrix_of(artefact, table, table.head(1))[ours])
    assert np.abs(empty - carried).max() > 0.1
    report = monitor(*trained, table)
    assert report.alarms == []
    assert "without the 60 attempts that the model has learnt from" in report.notes[0]


def test_attempts_that_the_model_has_learnt_from_do_not_judge_it(trained, weeks):
    report = monitor(*trained, weeks(2, 4))
    assert "calibration" not in {check.family for check in report.checks}
    assert "the model has learnt from" in report.notes[0]


def test_too_few_attempts_are_refused(look, week):
    with pytest.raises(BadInput, match="99 attempts are too few to tell drift from chance; want 100 or more"):
        look(week.head(99))


def test_the_snapshot_names_no_customer_payment_or_attempt(trained, weeks):
    kept = json.dumps(trained[1])
    for column in ("customer_id", "payment_id", "attempt_id"):
        assert not [value for value in weeks(0, 4)[column].head(200) if f'"{value}"' in kept]
    assert len(kept) < 600_000


def test_gauges_are_prometheus_s_and_tell_what_the_report_does(look, week):
    report = look(CHANGES["a new issuer"][0](week))
    told = {family.name: family.samples for family in text_string_to_metric_families(gauges(report, "version 3"))}
    assert told["payrescue_monitor_alarms"][0].value == len(report.alarms)
    assert told["payrescue_monitor_retrain"][0].value == 2
    psi = {sample.labels["check"]: sample.value for sample in told["payrescue_monitor_psi"]}
    assert psi == {check.name: check.value for check in report.checks if check.statistic == "psi"}
    assert len(told["payrescue_monitor_p"]) == len(report.checks)


def test_the_page_says_it_in_words_and_needs_nothing_else(look, week):
    report = look(CHANGES["a new issuer"][0](week))
    html = page(report, "version 3")
    assert "<h1>Train again</h1>" in html
    assert report.why[0] in html
    assert "http" not in html
    assert "<script" not in html


def test_what_is_written_is_json_gauges_and_a_page(quiet, tmp_path):
    write(quiet, "version 1", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"monitor.json", "monitor.prom", "monitor.html"}
    told = json.loads((tmp_path / "out" / "monitor.json").read_text())
    assert (told["alarm"], told["retrain"], len(told["checks"])) == (False, "no", quiet.about["checks"])
    assert "train again: no" in list(lines(quiet, "version 1"))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """The address of a store of MLflow's with nothing in it."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.mark.parametrize("kept", [None, {"format": 0}], ids=["none", "of another format"])
def test_a_model_without_a_snapshot_is_refused_with_what_to_do(trained, week, store, tmp_path, monkeypatch, kept):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    save(trained[0], tmp_path / "model")
    if kept is not None:
        add_to(tmp_path / "model", "snapshot.json", kept)
    week.to_parquet(tmp_path / "week.parquet")
    done = CliRunner().invoke(payrescue.main, ["monitor", "--data", "week.parquet", "--model", "model"])
    assert done.exit_code == 2
    assert "holds no snapshot.json of this version; train again to have one" in done.stderr


def test_the_command_writes_what_it_found_and_says_so(trained, weeks, store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    save(trained[0], tmp_path / "model")
    add_to(tmp_path / "model", "snapshot.json", trained[1])
    weeks(4, 5).to_parquet(tmp_path / "week.parquet")
    weeks(0, 4).to_parquet(tmp_path / "before.parquet")
    words = [
        "monitor",
        "--data",
        "week.parquet",
        "--history",
        "before.parquet",
        "--model",
        "model",
        "--output",
        "found",
    ]
    done = CliRunner().invoke(payrescue.main, words)
    assert done.exit_code == 0, done.output
    assert "train again: no" in done.stdout
    assert json.loads((tmp_path / "found" / "monitor.json").read_text())["alarm"] is False
