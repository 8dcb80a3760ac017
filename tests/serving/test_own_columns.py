"""The service takes a merchant's own columns when the model that answers declares them, and models come and go."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import numpy as np
import pandas as pd
import pytest

from features.attempts import check_attempts
from features.columns import before_columns
from features.history import History, features_in_passing
from features.own import OwnColumn
from features.rows import Encoder
from models.artefact import Artefact, HeadParts, save
from models.engine import Engine
from models.golden import golden_rows
from models.heads import Blend, Calibration
from models.tables import fields_of, score_table
from serving.app import App
from serving.lineup import Lineup
from serving.loading import Located, take
from serving.swap import Swap
from training.simulator import simulate

OWN = (
    OwnColumn("basket_items", "items in the basket", "items", "amount", "numeric"),
    OwnColumn("bin_tier", "tier of the card", "category", "issuer", "categorical"),
)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(8)
    made = check_attempts(simulate(600, seed=6).attempts, now=datetime(2026, 6, 1, tzinfo=UTC))
    made["basket_items"] = np.where(rng.random(len(made)) < 0.1, np.nan, rng.integers(1, 30, len(made)))
    made["bin_tier"] = pd.Categorical(rng.choice(["black", "plain", None], len(made)))
    return made


@pytest.fixture(scope="module")
def model(table) -> Artefact:
    """A success head over everything, which goes by the own columns: few items and black cards succeed."""
    import lightgbm as lgb

    encoder = Encoder.fit(table, OWN)
    history = History()
    matrix = features_in_passing(encoder.from_table(table), history)
    items, tier = matrix[:, -2], matrix[:, -1]
    won = (np.nan_to_num(items, nan=9.0) < 12) ^ (tier == encoder.codes["bin_tier"]["plain"])
    parameters = {"objective": "binary", "num_leaves": 8, "num_threads": 1, "verbose": -1}
    data = lgb.Dataset(matrix, won, categorical_feature=[matrix.shape[1] - 1])
    text = lgb.train(parameters, data, 20).model_to_string()
    success = HeadParts(text, tuple(range(matrix.shape[1])), ("success", "failure"), Calibration.none(1))
    made = Artefact(
        encoder=encoder, heads={"success": success}, validated={"success": success}, blend=Blend(),
        category_shares=(0.2, 0.4, 0.3, 0.1), history=history, code_text=None, ways={"KR": [("card", "north")]},
        window={"from": 1, "until": history.until, "judged_from": 2}, about={},
    )  # fmt: skip
    return replace(made, golden=golden_rows(made, table))


@pytest.fixture(scope="module")
def with_own(model, tmp_path_factory) -> Located:
    folder = tmp_path_factory.mktemp("own") / "model"
    save(model, folder)
    return Located(folder, "2")


@pytest.fixture
def without_own(versions) -> Located:
    return Located(versions["hopeful"], "1")


class Models:
    """Whoever is put in place answers."""

    def __init__(self, champion, previous=None):
        self.put(champion, previous)

    def put(self, champion, previous=None):
        self._lineup = Lineup(champion, previous)

    def lineup(self):
        return self._lineup

    def status(self):
        return {}

    def close(self):
        pass


@pytest.fixture
def ask(now):
    """Sends JSON to an address of an app, and gives status and answer."""

    def _ask(app, path, body=None):
        async def send():
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                return await (client.get(path) if body is None else client.post(path, json=body))

        answer = asyncio.run(send())
        return answer.status_code, answer.json()

    return _ask


def app_of(models, now):
    return App(Engine(None), models=models, clock=lambda: now)


def test_they_are_answered_by_and_unknown_fields_are_still_refused(ask, now, question, with_own):
    del question["evidence"]
    app = app_of(Models(take(with_own)), now)
    told = []
    for own in ({"basket_items": 3}, {"basket_items": 25}, {"basket_items": 3, "bin_tier": "plain"}, {}):
        status, answer = ask(app, "/v1/score", question | {"attempt": question["attempt"] | own})
        assert (status, answer["degraded"]) == (200, False)
        told.append(answer["outcome"]["success"])
    assert told[0] > 0.6 > 0.4 > told[1]
    assert told[2] < 0.4
    status, answer = ask(app, "/v1/score", question | {"attempt": question["attempt"] | {"basket": 3}})
    assert (status, answer["errors"][0]["pointer"]) == (422, "/attempt/basket")


@pytest.mark.parametrize("value", ["3", True, [3]])
def test_a_value_of_another_kind_is_refused_by_its_place(ask, now, question, with_own, value):
    question["attempt"]["basket_items"] = value
    status, answer = ask(app_of(Models(take(with_own)), now), "/v1/score", question)
    assert (status, answer["errors"][0]["pointer"]) == (422, "/attempt/basket_items")


def test_the_openapi_document_names_them_with_unit_and_meaning(ask, now, with_own):
    _, document = ask(app_of(Models(take(with_own)), now), "/openapi.json")
    told = document["components"]["schemas"]["Attempt"]["properties"]
    assert told["basket_items"]["description"] == "items in the basket (items)"
    assert told["bin_tier"]["type"] == ["string", "null"]
    assert "basket_items" not in document["components"]["schemas"]["Candidate"]["properties"]


def test_models_with_and_without_them_are_swapped_and_what_checkout_sends_goes_on(
    ask, now, question, with_own, without_own
):
    del question["evidence"]
    swap = Swap(clock=lambda: now)
    swap.put("models:/m@champion", without_own)
    models = Models(swap.of("models:/m@champion"))
    app, told = app_of(models, now), question | {"attempt": question["attempt"] | {"basket_items": 3}}
    assert ask(app, "/v1/score", told)[0] == 422
    assert "basket_items" not in ask(app, "/openapi.json")[1]["components"]["schemas"]["Attempt"]["properties"]
    for located in (with_own, without_own):
        swap.put("models:/m@champion", located)
        assert swap.refusal is None
        models.put(swap.of("models:/m@champion"), swap.previous("models:/m@champion"))
        for asked in (question, told):
            status, answer = ask(app, "/v1/score", asked)
            assert (status, answer["degraded"], answer["model"]["version"]) == (200, False, located.version)
        assert "basket_items" in ask(app, "/openapi.json")[1]["components"]["schemas"]["Attempt"]["properties"]


def test_a_request_is_scored_as_its_row_of_the_table_is(ask, now, model, with_own, table):
    last = table.tail(30).reset_index(drop=True)
    last["payment_id"] = last["attempt_id"]
    last["bin_tier"] = last["bin_tier"].cat.add_categories("new").where(last.index % 4 > 0, "new")
    last["created_at"] += pd.Timedelta(model.history.until - last["created_at"].min().value // 1000 + 10**9, unit="us")
    last = last[[name for name in [*before_columns(), "basket_items", "bin_tier"] if name in last]]
    last["customer_id"] = [f"new-{i}" for i in range(len(last))]
    predictor = take(with_own).engine.predictor
    by_row = [predictor.outcome(fields, [])[0] for fields in fields_of(last)]
    assert by_row == score_table(model, last)["p_success"].tolist()


def test_what_belongs_to_the_card_does_not_carry_over_to_another_method(with_own, model):
    predictor = take(with_own).engine.predictor
    attempt = {
        "created_at": model.history.until, "amount_minor": 100, "currency": "KRW", "country": "KR", "method": "card",
        "basket_items": 3.0, "bin_tier": "plain",
    }  # fmt: skip
    same, other = predictor.candidate_success(attempt, [], [{"method": "card"}, {"method": "wallet"}])
    without = predictor.candidate_success({**attempt, "bin_tier": None}, [], [{"method": "wallet"}])[0]
    assert other == without != same
