"""`payrescue export-log`: what was asked and told comes back as the attempts table, which training takes as it is."""

import asyncio
import contextlib
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import payrescue
from features.allowed import VOCABULARIES
from features.attempts import check_attempts, read_attempts
from features.columns import after_columns, before_columns, columns
from features.errors import BadInput
from features.own import OwnColumn, as_columns
from models.engine import Engine
from serving.app import App
from serving.log import DecisionLog
from serving.log_commands import check_log, export_log
from serving.log_records import LoggedDecision
from serving.outcomes import OutcomeReader
from serving.requests import RequestFaults, RequestReader
from training.settings import TrainSettings
from training.simulator import simulate
from training.train import train

LED = ["policy", "propensity", "experiment", "variant"]
WHEN = datetime(2026, 6, 1, tzinfo=UTC)
START = "2026-01-05T09:30:00Z"
NOW = int(WHEN.timestamp() * 1e6)


class Kept:
    """A log in a file: what is asked and told by JSON, as it stands there, and what comes back."""

    def __init__(self, url, folder):
        self.url, self.file, self.own = url, folder / "attempts.parquet", ()
        self.log = DecisionLog(self.url)

    def ask(self, attempt_id, *, failed=False, by=None, candidates=None, suggested=None, **attempt):
        told = {
            "attempt_id": attempt_id,
            "payment_id": "p1",
            "created_at": START,
            "amount_minor": 100,
            "method": "card",
        }
        raw = {
            "attempt": told | {"currency": "KRW", "country": "KR", "route": "north"} | attempt,
            "candidates": candidates,
        }
        if failed:
            raw["evidence"] = {"code_scheme": "iso8583", "response_code": "05"}
        request = RequestReader(self.own).read(raw, now=NOW)
        answer = Engine(None).score(request, request_id="r1")
        answer["policy"] |= by or {}
        answer["suggestion"] |= suggested or {}
        self.log.offer(LoggedDecision(request, answer, NOW, 1))

    def tell(self, attempt_id, outcome="success", **told):
        raw = {"attempt_id": attempt_id, "resolved_at": "2026-01-05T09:31:00Z", "outcome": outcome} | told
        faults = RequestFaults()
        read = OutcomeReader().read(raw, "", now=NOW, faults=faults)
        faults.raise_if_any()
        asyncio.run(self.log.tell([read]))

    def attempts(self):
        """The exported table, checked, by attempt_id."""
        self.log.close()
        export_log(self.url, self.file, say=lambda _: None)
        return read_attempts(self.file, now=WHEN, extra=self.own).set_index("attempt_id")


@pytest.fixture(params=["sqlite", "postgresql"])
def kept(request, tmp_path):
    sqlite = request.param == "sqlite"
    kept = Kept(f"sqlite:///{tmp_path}/log.db" if sqlite else request.getfixturevalue("postgres_url"), tmp_path)
    yield kept
    kept.log.close()


def told(column):
    """Values of a column, None where they are missing."""
    return [None if pd.isna(value) else value for value in column]


def test_an_attempt_comes_back_with_its_outcome(kept):
    kept.ask("a1", customer_id="c1", form_seconds=3.25, stored=True, auth_steps=2)
    kept.tell("a1", "bank_decline", reason="limit_exceeded", response_code="61", duration_s=21.5)
    (row,) = kept.attempts().reset_index().to_dict("records")
    known = {name: value for name, value in row.items() if not pd.isna(value)}
    assert known == {
        "attempt_id": "a1", "payment_id": "p1", "customer_id": "c1", "created_at": pd.Timestamp(START),
        "amount_minor": 100, "currency": "KRW", "country": "KR", "method": "card", "route": "north",
        "form_seconds": 3.25, "stored": True, "auth_steps": 2, "policy": "rules", "propensity": 1.0,
        "resolved_at": pd.Timestamp("2026-01-05T09:31:00Z"), "outcome": "bank_decline", "reason": "limit_exceeded",
        "response_code": "61", "duration_s": 21.5,
    }  # fmt: skip


def test_own_columns_come_back_with_the_type_that_they_had(kept):
    items = OwnColumn("basket_items", "items in the basket", "items", "amount", "numeric")
    tier = OwnColumn("tier", "tier of the loyalty programme", "category", "customer", "categorical")
    kept.own = as_columns((items, tier))
    kept.ask("a1", basket_items=3)
    kept.ask("a2", basket_items=2.5, tier="gold")
    found = kept.attempts()
    assert told(found["basket_items"]) == [3.0, 2.5]
    assert told(found["tier"]) == [None, "gold"]


def test_an_attempt_without_an_outcome_is_pending(kept):
    kept.ask("a1", failed=True)
    kept.ask("a2")
    kept.tell("a2")
    found = kept.attempts()
    assert found.loc["a1", ["resolved_at", "outcome", "response_code"]].isna().all()
    assert told(found["outcome"]) == [None, "success"]


def test_an_attempt_is_one_row_however_often_it_was_asked_about(kept):
    kept.ask("a1", route="first")
    kept.ask("a1", route="newest")
    kept.ask("a1", failed=True, route="after")
    kept.ask("a1", payment_id="p2")
    found = kept.attempts()
    assert list(found.index) == ["a1"]
    assert found.loc["a1", "payment_id"] == "p1"


def test_what_the_outcome_tells_of_its_attempt_counts(kept):
    kept.ask("a1", route="asked")
    attempt = {"payment_id": "p1", "created_at": START, "amount_minor": 100, "currency": "KRW", "country": "KR"}
    kept.tell("a1", attempt=attempt | {"method": "card", "route": "done"})
    kept.tell("b1", attempt=attempt | {"method": "wallet", "payment_id": "p9"})
    kept.tell("nobody-told-of-this-one")
    found = kept.attempts()
    assert told(found["route"]) == ["done", None]
    assert told(found["payment_id"]) == ["p1", "p9"]
    assert told(found["policy"]) == [None, None]  # the first was not made as it was suggested


def test_the_policy_of_an_attempt_made_as_it_was_asked_about_is_the_decision_s(kept):
    kept.ask("a1", by={"name": "explore", "propensity": 0.04, "experiment": "e1", "variant": "b"})
    assert told(kept.attempts().loc["a1", LED]) == ["explore", 0.04, "e1", "b"]


def test_the_policy_of_a_retry_is_that_of_the_decision_after_the_attempt_before_it(kept):
    way = {"candidate_id": "c2", "method": "wallet", "route": "harbor"}
    candidates = [{"candidate_id": "c1", "method": "card"}, way]
    suggested = {"action": "alternate_method"} | way
    policy = {"name": "greedy", "propensity": 0.96}
    kept.ask("a1", failed=True, candidates=candidates, by=policy, suggested=suggested)
    attempt = {"payment_id": "p1", "created_at": "2026-01-05T09:30:30Z", "amount_minor": 100, "currency": "KRW"}
    kept.tell("a2", attempt=attempt | {"country": "KR", "method": "wallet", "route": "harbor", "channel": "ios_app"})
    assert told(kept.attempts().loc["a2", LED]) == ["greedy", 0.96, None, None]


@pytest.mark.parametrize("done", [{"method": "bnpl"}, {"route": "south"}, {"auth_flow": "redirect"}])
def test_what_was_not_done_as_suggested_has_no_policy(kept, done):
    way = {"candidate_id": "c2", "method": "wallet", "route": "harbor", "auth_flow": "none"}
    suggested = {"action": "alternate_method", "candidate_id": "c2", "method": "wallet", "route": "harbor"}
    kept.ask("a1", failed=True, candidates=[way], suggested=suggested)
    attempt = {"payment_id": "p1", "created_at": "2026-01-05T09:30:30Z", "amount_minor": 100, "currency": "KRW"}
    made = {"country": "KR", "method": "wallet", "route": "harbor", "auth_flow": "none"} | done
    kept.tell("a2", attempt=attempt | made)
    assert told(kept.attempts().loc["a2", LED]) == [None] * 4


def test_a_decision_about_an_earlier_attempt_than_the_last_led_to_nothing(kept):
    kept.ask(
        "a1", failed=True, suggested={"action": "retry_same", "method": "card", "route": None, "candidate_id": None}
    )
    attempt = {"payment_id": "p1", "amount_minor": 100, "currency": "KRW", "country": "KR", "method": "card"}
    kept.tell("a2", "unclassified", attempt=attempt | {"created_at": "2026-01-05T09:30:30Z"})
    kept.tell("a3", attempt=attempt | {"created_at": "2026-01-05T09:30:40Z"})
    assert told(kept.attempts()["policy"]) == [None, "rules", None]


def test_what_checkout_told_of_its_own_policy_counts(kept):
    kept.ask("a1", by={"name": "explore", "propensity": 0.5}, propensity=0.25, variant="ours")
    assert told(kept.attempts().loc["a1", LED]) == [None, 0.25, None, "ours"]


def test_an_outcome_from_before_its_attempt_leaves_it_pending(kept):
    kept.tell("a1", resolved_at="2026-01-05T09:29:00Z")
    kept.ask("a1")
    kept.log.close()
    said = []
    export_log(kept.url, kept.file, say=said.append)
    assert "1 outcomes from before their attempt left out" in said[0]
    assert read_attempts(kept.file, now=WHEN)["outcome"].isna().all()


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_both_formats_are_read_as_the_same_table(kept, ending):
    kept.ask("a1", merchant_category='本、"雑誌"\u3000', form_seconds=0.1 + 0.2, stored=False)
    kept.tell("a1", "technical", reason="config_error", response_code="05")
    kept.file = kept.file.with_suffix(ending)
    found = kept.attempts().loc["a1"]
    assert (found["merchant_category"], found["form_seconds"]) == ('本、"雑誌"\u3000', 0.1 + 0.2)
    assert (found["response_code"], bool(found["stored"])) == ("05", False)


def as_json(row, names):
    told = {name: row[name] for name in names if name in row and not pd.isna(row[name])}
    for name, value in told.items():
        if columns()[name].type == "timestamp":
            told[name] = value.isoformat()
        elif isinstance(value, np.generic):
            told[name] = value.item()
    return told


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """A simulated market, and what is exported after all of it was asked about and told over HTTP."""
    folder = tmp_path_factory.mktemp("replayed")
    attempts = check_attempts(simulate(1_500, seed=6).attempts, now=WHEN)
    log = DecisionLog(f"sqlite:///{folder}/log.db")
    app = App(Engine(None), log=log, clock=lambda: NOW)
    rows = attempts.to_dict("records")
    questions = [{"attempt": as_json(row, before_columns()), "candidates": []} for row in rows]
    outcomes = [
        {"attempt_id": row["attempt_id"], **as_json(row, after_columns())}
        for row in rows
        if not pd.isna(row["outcome"])
    ]

    async def replay():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://payrescue", timeout=60) as client:
            for i in range(0, len(rows), 500):
                assert (await client.post("/v1/score/batch", json=questions[i : i + 500])).is_success
            for i in range(0, len(outcomes), 500):
                assert (await client.post("/v1/outcomes", json=outcomes[i : i + 500])).json()["unknown_attempts"] == 0

    asyncio.run(replay())
    log.close()
    file = folder / "attempts.parquet"
    done = CliRunner().invoke(
        payrescue.main, ["export-log", "--log", f"sqlite:///{folder}/log.db", "--output", str(file)]
    )
    assert done.exit_code == 0, done.output
    return attempts, read_attempts(file, now=WHEN, for_training=True), done.stdout


def test_a_market_comes_back_as_it_was(replayed):
    attempts, exported, said = replayed
    exported = exported.set_index("attempt_id").loc[attempts["attempt_id"]].reset_index()
    for name in attempts:
        assert told(exported[name]) == told(attempts[name]), name
    assert said.startswith(f"{len(attempts):,} attempts of 1,500 payments")


def test_a_training_takes_what_is_exported(replayed):
    quick = TrainSettings(threads=1, select_below_rows=0, refit_below_rows=0, max_rounds=5, resamples=20)
    assert len(train(replayed[1], quick).data.table) == len(replayed[0])


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), min_size=1, max_size=9)
VALUES = {
    "string": TEXT,
    "category": TEXT,
    "bool": st.booleans(),
    "int64": st.integers(0, 50),
    "float64": st.floats(0.1, 1),
}
KNOWN = {
    "payment_id": st.sampled_from(["p1", "p2"]),
    "created_at": st.datetimes(datetime(2000, 1, 2), datetime(2026, 5, 1)).map(lambda at: at.isoformat() + "Z"),
    **{name: st.just("KR") for name in ("country", "merchant_country", "issuer_country")},
    "currency": st.just("KRW"),
    **{name: st.sampled_from(words) for name, words in VOCABULARIES.items()},
}
BEFORE = {name: KNOWN.get(name, VALUES.get(columns()[name].type)) for name in before_columns() if name != "attempt_id"}
REQUIRED = {name for name in BEFORE if columns()[name].required}


@given(
    st.lists(
        st.fixed_dictionaries(
            {name: BEFORE[name] for name in REQUIRED},
            optional={name: values for name, values in BEFORE.items() if name not in REQUIRED},
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=20, phases=[Phase.explicit, Phase.generate])  # an example takes too long to shrink
def test_whatever_the_service_took_is_taken_as_attempts(attempts):
    with TemporaryDirectory() as folder:
        kept = Kept(f"sqlite:///{folder}/log.db", Path(folder))
        taken = 0
        for i, attempt in enumerate(attempts):
            with contextlib.suppress(BadInput):  # which the service would have said at once
                kept.ask(f"a{i}", **attempt)
                taken += 1
        assert len(kept.attempts() if taken else ()) == taken
        kept.log.close()


def give(*words):
    done = CliRunner().invoke(payrescue.main, ["export-log", *words])
    return done.exit_code, done.stderr.strip()


def test_what_cannot_be_exported_is_told_in_one_line(tmp_path):
    nowhere, other = f"sqlite:///{tmp_path}/none.db", tmp_path / "other.db"
    assert give("--log", nowhere, "--output", "a.parquet") == (
        2,
        f"payrescue: sqlite:///{tmp_path}/none.db: no such file; want a log that `payrescue serve` wrote",
    )
    other.write_bytes(b"")
    code, said = give("--log", f"sqlite:///{other}", "--output", "a.parquet")
    assert (code, said.rpartition(": ")[2]) == (2, "holds no decision log; want one that `payrescue serve` wrote")
    other.write_bytes(b"attempt_id;payment_id\n" * 100)
    code, said = give("--log", f"sqlite:///{other}", "--output", "a.parquet")
    assert (code, "file is not a database" in said) == (2, True)
    assert give("--log", nowhere, "--output", "a.xlsx")[0] == 2


def test_an_empty_log_is_told_and_nothing_is_written(tmp_path):
    log = DecisionLog(f"sqlite:///{tmp_path}/log.db")
    log.close()
    code, said = give("--log", f"sqlite:///{tmp_path}/log.db", "--output", str(tmp_path / "a.parquet"))
    assert (code, "holds no attempts" in said) == (2, True)
    assert not (tmp_path / "a.parquet").exists()


def test_the_log_of_the_service_is_exported_where_none_is_named(kept, monkeypatch, tmp_path):
    kept.ask("a1")
    kept.log.close()
    monkeypatch.setitem(os.environ, "PAYRESCUE_LOG", kept.url)
    export_log(None, tmp_path / "a.csv", say=lambda _: None)
    assert (tmp_path / "a.csv").is_file()


@pytest.mark.parametrize(
    ("url", "said"),
    [("mysql://h/x", "want a SQLAlchemy URL"), ("sqlite:///{}/no/log.db", "in a folder that is there")],
)
def test_a_log_that_no_service_can_have_is_refused_before_it_starts(tmp_path, url, said):
    with pytest.raises(BadInput, match=said):
        check_log(url.format(tmp_path))


def test_a_file_that_is_no_log_is_refused_before_the_service_starts(tmp_path):
    (tmp_path / "log.db").write_bytes(b"attempt_id;payment_id\n" * 100)
    with pytest.raises(BadInput, match="file is not a database"):
        check_log(f"sqlite:///{tmp_path}/log.db")


def test_a_database_that_cannot_be_reached_does_not_keep_the_service_from_starting(free_port):
    began = time.monotonic()
    check_log(f"postgresql://payrescue@127.0.0.1:{free_port}/log")
    check_log("none")
    assert time.monotonic() - began < 10
