"""`payrescue export-log --decisions`: what was suggested, and what was then done."""

import asyncio
from datetime import UTC, datetime

import pandas as pd
import pytest
from click.testing import CliRunner

import payrescue
from insights.recommendations import read_decisions, recommendations
from models.engine import Engine
from serving.log import DecisionLog
from serving.log_decisions import COLUMNS
from serving.log_records import LoggedDecision
from serving.outcomes import OutcomeReader
from serving.requests import RequestFaults, RequestReader

NOW = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp() * 1e6)
ATTEMPT = {"payment_id": "p1", "amount_minor": 100, "currency": "KRW", "country": "KR"}
WALLET = {"method": "wallet", "route": "harbor"}


class Service:
    """Asks and tells a log of its own, then gives back the decisions by attempt."""

    def __init__(self, folder):
        self.url, self.folder = f"sqlite:///{folder}/log.db", folder
        self.log = DecisionLog(self.url)

    def ask(self, attempt_id, at, *, failed, suggested=None, **attempt):
        told = {"attempt_id": attempt_id, "created_at": f"2026-01-05T09:3{at}:00Z", "method": "card", "route": "north"}
        raw = {"attempt": ATTEMPT | told | attempt, "candidates": [{"candidate_id": "c", **WALLET}]}
        if failed:
            raw["evidence"] = {"code_scheme": "iso8583", "response_code": "05"}
        request = RequestReader().read(raw, now=NOW)
        answer = Engine(None).score(request, request_id="r")
        answer["suggestion"] |= suggested or {}
        self.log.offer(LoggedDecision(request, answer, NOW, 1))

    def tell(self, attempt_id, at, outcome, **attempt):
        told = {"attempt_id": attempt_id, "resolved_at": f"2026-01-05T09:3{at}:30Z", "outcome": outcome}
        if attempt:
            told["attempt"] = ATTEMPT | {"created_at": f"2026-01-05T09:3{at}:00Z"} | attempt
        faults = RequestFaults()
        read = OutcomeReader().read(told, "", now=NOW, faults=faults)
        faults.raise_if_any()
        asyncio.run(self.log.tell([read]))

    def decisions(self, ending=".parquet"):
        self.log.close()
        out = self.folder / f"decisions{ending}"
        words = [
            "export-log",
            "--log",
            self.url,
            "--output",
            str(self.folder / "attempts.csv"),
            "--decisions",
            str(out),
        ]
        done = CliRunner().invoke(payrescue.main, words)
        assert done.exit_code == 0, done.output
        assert f"what was suggested is in {out}" in done.stdout
        return read_decisions(out)


@pytest.fixture
def service(tmp_path):
    service = Service(tmp_path)
    yield service
    service.log.close()


OFFER = {"action": "alternate_method", "candidate_id": "c", **WALLET}


def row(found, attempt_id):
    return found.set_index("attempt_id").loc[attempt_id]


def test_a_suggestion_that_the_next_attempt_follows(service):
    service.ask("a1", 0, failed=True, suggested=OFFER | {"success_probability": 0.8})
    service.tell("a2", 1, "success", **WALLET)
    found = service.decisions()
    assert list(found.columns) == list(COLUMNS)
    told = row(found, "a1")
    assert told[["asked", "action", "method", "route", "followed", "followed_by", "outcome"]].tolist() == [
        "after", "alternate_method", "wallet", "harbor", "yes", "a2", "success",
    ]  # fmt: skip
    assert (told["success_probability"], told["amount_minor"], told["currency"]) == (0.8, 100, "KRW")


def test_a_suggestion_after_which_something_else_or_nothing_is_done(service):
    service.ask("a1", 0, failed=True, suggested=OFFER)
    service.tell("a2", 1, "bank_decline", method="card", route="north")
    service.ask("a2", 1, failed=True, suggested=OFFER)
    found = service.decisions()
    assert row(found, "a1")["followed"] == "no"
    assert row(found, "a1")["outcome"] == "bank_decline"
    assert row(found, "a2")["followed"] == "nothing"
    assert pd.isna(row(found, "a2")["outcome"])


def test_a_suggestion_before_an_attempt_is_about_that_attempt(service):
    service.ask("a1", 0, failed=False)
    service.tell("a1", 0, "success")
    told = row(service.decisions(), "a1")
    assert told[["asked", "action", "followed", "followed_by", "outcome"]].tolist() == [
        "before", "proceed", "yes", "a1", "success",
    ]  # fmt: skip


def test_what_names_no_way_to_pay_cannot_be_followed(service):
    nothing = {"action": "contact_bank", "candidate_id": None, "method": None, "route": None}
    service.ask("a1", 0, failed=True, suggested=nothing)
    assert pd.isna(row(service.decisions(), "a1")["followed"])


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_the_pages_count_what_was_exported(service, ending):
    service.ask("a1", 0, failed=True, suggested=OFFER)
    service.tell("a2", 1, "success", **WALLET)
    found = recommendations(service.decisions(ending))
    assert (found.n, found.followed.hits, found.paid_followed.hits, found.money) == (1, 1, 1, {"KRW": 100.0})


def test_a_name_that_tells_no_format_is_refused_before_any_work(tmp_path):
    words = ["export-log", "--output", str(tmp_path / "a.csv"), "--decisions", str(tmp_path / "d.txt")]
    done = CliRunner().invoke(payrescue.main, words)
    assert done.exit_code == 2
    assert "--decisions: file 'd.txt': want a name that ends in .parquet or .csv" in done.stderr
