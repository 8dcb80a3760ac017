"""The OpenAPI document is true in both directions: schemathesis asks what it allows and what it does not."""

import json
import os
import re
from datetime import UTC, datetime
from math import isfinite

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks

from features.columns import Column, columns
from models.engine import Engine
from serving.app import App
from serving.doors import Doors
from serving.keys import Key
from serving.log import DecisionLog
from serving.metrics import Meters
from serving.openapi import bentoml_schema, document
from serving.schemas import schema_of
from serving.settings import ServiceSettings
from serving.values import Unwanted, hides_card_number, reader_of

pytestmark = pytest.mark.faults

CASES = int(os.environ.get("PAYRESCUE_CASES", "300"))
NOW = datetime(2026, 1, 6, tzinfo=UTC)
SECRET = "payrescue_" + "x" * 43
load_all_checks()

times = st.datetimes(min_value=datetime(2000, 1, 2), max_value=datetime(2026, 1, 6)).map(lambda t: t.isoformat() + "Z")
schemathesis.openapi.format("date-time", times)


def mend(body):
    """Makes a body keep what the document says in words: order, ids of their own, and no card number."""
    if isinstance(body, list):
        for item in body:
            mend(item)
    sound(body)
    if not isinstance(body, dict) or not isinstance(body.get("attempt"), dict):
        return body
    attempt, evidence = body["attempt"], body.get("evidence")
    previous, candidates = body.get("previous"), body.get("candidates")
    starts = attempt.get("created_at")
    if isinstance(evidence, dict) and "resolved_at" in evidence:
        after(evidence, starts)
    if isinstance(candidates, list):
        own_ids(candidates, "candidate_id", set())
    if isinstance(previous, list) and all(isinstance(item, dict) for item in previous):
        own_ids(previous, "attempt_id", {attempt.get("attempt_id")})
        for item in previous:
            if isinstance(item.get("payment_id"), str):
                item["payment_id"] = attempt.get("payment_id")
            if is_time(item.get("created_at")) and is_time(starts):
                item["created_at"] = min(item["created_at"], starts, key=moment)
            after(item, item.get("created_at"))
        if all(is_time(item.get("created_at")) for item in previous):
            previous.sort(key=lambda item: moment(item["created_at"]))
    return body


def sound(part):
    pairs = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for place, value in list(pairs):
        if isinstance(value, dict | list):
            sound(value)
        elif is_time(value) and moment(value) > NOW:
            part[place] = NOW.isoformat()
        elif hides_card_number(value):
            part[place] = type(value)(1)


def moment(text):
    return datetime.fromisoformat(text.upper())


def is_time(value):
    try:
        return isinstance(value, str) and moment(value).tzinfo is not None
    except ValueError:
        return False


def after(row, starts):
    if is_time(row.get("resolved_at")) and is_time(starts):
        row["resolved_at"] = max(row["resolved_at"], starts, key=moment)


def own_ids(rows, name, taken):
    for i, row in enumerate(rows):
        if isinstance(row, dict) and isinstance(row.get(name), str):
            if row[name] in taken:
                row[name] = f"{i}-{row[name]}"[:128]
            taken.add(row[name])


class OneKey:
    """The keys of a service that has one."""

    def find(self, secret):
        return Key("all", ("admin",), "") if secret == SECRET else None


SERVICE = App(Engine(None), doors=Doors(OneKey()), meters=Meters(), clock=lambda: int(NOW.timestamp() * 1e6))
DOCUMENT = document(ServiceSettings(), SERVICE._routes, keys=True)


def described(*, coverage):
    """The document, to be held against the service; by schemathesis's own list of edge cases too, or at random alone."""
    config = schemathesis.Config.from_dict({"phases": {"coverage": {"enabled": coverage}}})
    schema = schemathesis.openapi.from_dict(DOCUMENT, config=config)
    schema.app = SERVICE
    return schema


def asked(cases):
    return settings(
        max_examples=cases, derandomize=True, database=None, suppress_health_check=list(HealthCheck), print_blob=False
    )


def check(case):
    if case.meta.generation.mode.is_positive:
        case.body = mend(case.body)
    case.call_and_validate(checks=CHECKS.get_all(), headers={"Authorization": f"Bearer {SECRET}"})


@described(coverage=True).include(method="GET").parametrize()
@asked(5)
def test_what_is_asked_for_is_as_described(case):
    check(case)


@described(coverage=False).include(path="/v1/score").parametrize()
@asked(40)
def test_a_question_is_read_as_described_and_answered_so(case):
    check(case)


@described(coverage=False).include(path="/v1/score/batch").parametrize()
@asked(8)
def test_a_batch_is_read_as_described_and_answered_so(case):
    check(case)


@pytest.mark.skipif(CASES < 2_000, reason="takes a minute: PAYRESCUE_CASES=2000 runs it")
@described(coverage=True).include(path="/v1/score").parametrize()
@asked(5)
def test_edge_cases_of_each_field_are_read_as_described(case):
    check(case)


readers = {column.name: (schema_of(column), reader_of(column)) for column in columns().values()}
values = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(), st.text(max_size=8), st.text(min_size=60, max_size=70),
    times, st.sampled_from(["KR", "kr", "EUR", "card", "credit", "Y", "success", "123456789", "12345678", "a\u200bb", "\x7f"]),
    st.lists(st.integers(), max_size=2),
)  # fmt: skip


@pytest.mark.parametrize("name", readers)
@settings(max_examples=60, derandomize=True)
@given(value=values)
def test_a_schema_allows_what_the_column_s_reader_reads(name, value):
    schema, reader = readers[name]
    if value is None or hides_card_number(value) or (isinstance(value, float) and not isfinite(value)):
        return  # missing, refused everywhere, or no JSON
    try:
        reader(value)
    except Unwanted:
        read = False
    else:
        read = True
    assert jsonschema_rs.is_valid(schema, value, validate_formats=True) == read


def test_a_merchant_s_own_column_is_in_the_document():
    own = Column(
        "basket_items", "int64", "items", required=False, for_training=False, known="before", meaning="how many"
    )
    found = document(ServiceSettings(), SERVICE._routes, [own])
    assert found["components"]["schemas"]["Attempt"]["properties"]["basket_items"]["type"] == ["integer", "null"]


def test_only_what_the_service_has_is_in_the_document():
    assert list(document(ServiceSettings(), {"/v1/score", "/livez"})["paths"]) == ["/v1/score", "/livez"]


@pytest.mark.parametrize("path", ["/v1/score", "/v1/score/batch", "/v1/outcomes"])
def test_the_example_of_an_operation_is_answered(path, send, tmp_path):
    log = DecisionLog(f"sqlite:///{tmp_path}/log.db")
    app = App(Engine(None), log=log)
    body = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert send(app, "POST", path, body).status_code == 200
    app.close()


def test_every_reference_leads_somewhere():
    names = re.findall(r'"#/components/(\w+)/(\w+)"', json.dumps(DOCUMENT))
    assert [name for part, name in names if name not in DOCUMENT["components"][part]] == []


def test_without_keys_no_operation_wants_one():
    assert '"security"' not in json.dumps(document(ServiceSettings(), SERVICE._routes))


def test_the_document_is_shown_where_bentoml_s_page_looks_for_it(send):
    shown, ours = (send(SERVICE, "GET", path) for path in ("/docs.json", "/openapi.json"))
    assert shown.json() == ours.json() == json.loads(json.dumps(DOCUMENT))


def test_bentoml_s_clients_find_a_method_for_each_question():
    routes = {route["name"]: route for route in bentoml_schema(DOCUMENT)["routes"]}
    assert set(routes) == {"score", "score_batch", "outcomes"}
    assert list(routes["score"]["input"]["properties"]) == ["attempt", "evidence", "previous", "candidates"]
    assert "$ref" not in json.dumps(routes)
