"""Attempts to make pages of: a simulated market with outages, and a model of it with its card."""

import shutil
from datetime import UTC, datetime

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from features.attempts import check_attempts
from features.columns import CATEGORIES
from features.history import History, features_in_passing
from features.own import OwnColumn
from features.rows import Encoder
from insights.frame import frame_of
from insights.model_told import ModelTold
from insights.report import Sources, report
from insights.settings import InsightSettings, Mark
from models.artefact import Artefact, HeadParts
from models.heads import STAGES, Blend, Calibration
from training.policy_report import policies_judged
from training.simulator import simulate

NOW = datetime(2026, 11, 1, tzinfo=UTC)
DAY = 86_400_000_000
BEGIN = 1_767_571_200_000_000  # 2026-01-05


@pytest.fixture(scope="session")
def table():
    attempts = simulate(3500, 4, "outage").attempts
    arm = pd.factorize(attempts["payment_id"])[0] % 2
    told = {"experiment": "simpler_form", "variant": np.where(arm == 1, "challenger", "control")}
    return check_attempts(attempts.assign(**told), now=NOW)


@pytest.fixture(scope="session")
def settings():
    marks = (
        Mark("release", BEGIN + 4 * DAY, None, "checkout 4.2"),
        Mark("experiment", BEGIN + 8 * DAY, BEGIN + 15 * DAY, "fewer passwords"),
    )
    return InsightSettings(targets={"attempt": 0.7, "payment": 0.95}, marks=marks)


@pytest.fixture(scope="session")
def frame(table, settings):
    return frame_of(table, settings)


def head(matrix, answer, classes, columns):
    """A head of a few trees."""
    k = 1 if len(classes) == 2 else len(classes)
    kind = {"objective": "binary"} if k == 1 else {"objective": "multiclass", "num_class": k}
    parameters = {**kind, "num_leaves": 8, "min_data_in_leaf": 20, "num_threads": 1, "verbose": -1}
    data = lgb.Dataset(np.ascontiguousarray(matrix[:, columns]), answer, params=parameters)
    return HeadParts(
        lgb.train(parameters, data, 12).model_to_string(), tuple(columns), classes, Calibration(np.eye(k), np.zeros(k))
    )


def small_model(table, own=()):
    """A small model of all stages and reasons, made at once: a training takes half a minute."""
    ordered = table.sort_values("created_at", kind="stable", ignore_index=True)
    encoder, history = Encoder.fit(ordered, own), History()
    rows = encoder.from_table(ordered)
    matrix = features_in_passing(rows, history)
    known, every = rows.outcome >= 0, list(range(matrix.shape[1]))
    heads = {"success": head(matrix[known], rows.outcome[known] != 0, ("success", "failure"), every)}
    for name in STAGES:
        fell = rows.outcome[known] == 1 + CATEGORIES.index(name)
        heads[name] = head(matrix[known], ~fell, (name, "passed"), every)
    reasons = encoder.vocabularies["reason"][:6]
    told = (rows.outcome > 0) & (rows.outcome < 5) & (rows.reason >= 0) & (rows.reason < len(reasons))
    everything = np.hstack([matrix, encoder.evidence_of_table(ordered)])
    heads["reason"] = head(everything[told], rows.reason[told], reasons, list(range(40, everything.shape[1])))
    return Artefact(
        encoder=encoder, heads=heads, validated=heads, blend=Blend(), category_shares=(0.2, 0.4, 0.3, 0.1), history=history,
        code_text=None, ways={}, about={"trained_at": "2026-10-19T08:00:00+00:00", "rows": len(table)},
        window={"from": int(rows.created.min()), "until": int(rows.created.max()), "judged_from": int(rows.created[-500])},
    )  # fmt: skip


@pytest.fixture(scope="session")
def artefact(table):
    return small_model(table)


OWN = (
    OwnColumn("wobble", "a number that success rises with", "points", "amount", "numeric"),
    OwnColumn("tier", "tier of the loyalty programme", "category", "customer", "categorical"),
)


@pytest.fixture(scope="session")
def with_own(table):
    """The attempts with two columns of the merchant's own, one of which tells much of what became of them."""
    rng = np.random.default_rng(4)
    wobble = rng.normal((table["outcome"] == "success").to_numpy(float) * 2.0, 1.0)
    return table.assign(wobble=wobble, tier=pd.Categorical(rng.choice(["gold", "silver"], len(table))))


@pytest.fixture(scope="session")
def own_artefact(with_own):
    return small_model(with_own, OWN)


def figure(value, n=1054):
    return {"value": value, "low": value - 0.02, "high": value + 0.02, "n": n}


CARD = {
    "data": {
        "window": ["2026-01-05 00:01:45+00:00", "2026-02-02 00:03:57+00:00"], "attempts": 7077, "pending": 3,
        "unclassified": 60, "purged": 12, "outcomes": {},
    },
    "slices_of_time": {"test": {"attempts": 1054, "from": "2026-01-31T04:25:49+00:00"}},
    "quality": {
        name: {"success_auc": figure(auc), "success_calibration_error": figure(0.03)}
        for name, auc in (
            ("model", 0.91), ("prior", 0.5), ("success rate by country, method and route", 0.67), ("logistic regression", 0.9),
        )
    },
    "not_beaten": ["success_log_loss of logistic regression"],
    "categories": {name: {"precision": figure(0.7, 250), "recall": figure(0.5, 250)} for name in CATEGORIES},
    "by_slice": [
        {
            "slice": name, "value": value, "attempts": 400, "success_share": figure(0.75, 400), "promised_share": promised,
            "success_auc": figure(0.9, 400),
        }
        for name, value, promised in (("country", "KR", 0.76), ("method", "card", 0.9), ("first_time", "first time", 0.6))
    ],
    "trees": dict.fromkeys(STAGES, 12),
}  # fmt: skip
"""What the pages read of a card; tests/training holds it against a card that a training wrote."""


@pytest.fixture(scope="session")
def model(artefact):
    moves = (
        {
            "old": None,
            "new": "1",
            "by": "train",
            "reason": "there is no champion yet",
            "at": "2026-10-01T09:00:00+00:00",
        },
        {"old": "1", "new": "2", "by": "promote", "reason": "better on <March>", "at": "2026-10-20T09:00:00+00:00"},
    )
    return ModelTold("payrescue", "2", artefact, CARD, moves, ("1", CARD))


@pytest.fixture(scope="session")
def decisions():
    """Suggestions of which most were followed."""
    rng, n = np.random.default_rng(5), 400
    followed = rng.choice(["yes", "no", "nothing"], n, p=[0.6, 0.3, 0.1])
    return pd.DataFrame(
        {
            "attempt_id": [f"a{i}" for i in range(n)],
            "payment_id": [f"p{i // 2}" for i in range(n)],
            "asked_at": pd.date_range("2026-01-05", periods=n, freq="h", tz="UTC"),
            "action": rng.choice(["proceed", "alternate_method", "retry_other_route"], n),
            "method": "card",
            "success_probability": 0.7,
            "policy": "explore",
            "propensity": 0.9,
            "degraded": rng.random(n) < 0.05,
            "followed": followed,
            "followed_by": [f"b{i}" for i in range(n)],
            "outcome": np.where(followed == "nothing", None, np.where(rng.random(n) < 0.7, "success", "bank_decline")),
            "amount_minor": 1000,
            "currency": "EUR",
        }
    )


@pytest.fixture(scope="session")
def pages(table, settings, model, decisions, tmp_path_factory):
    """A folder with all pages."""
    folder = tmp_path_factory.mktemp("pages")
    sources = Sources(table, settings, model, decisions, policies_judged)
    report(sources, folder, np.random.default_rng(1))
    return folder


@pytest.fixture
def made(tmp_path):
    """Makes pages of a table and nothing else, and returns their folder."""

    def _made(table, **more):
        folder = tmp_path / "made"
        shutil.rmtree(folder, ignore_errors=True)
        report(Sources(table, InsightSettings(), **more), folder, np.random.default_rng(1))
        return folder

    return _made
