"""What the OpenAPI document says of `POST /v1/outcomes` is true in both directions."""

import itertools
from datetime import UTC, datetime

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS, load_all_checks

from models.engine import Engine
from serving.app import App
from serving.log import DecisionLog
from serving.openapi import document
from serving.settings import ServiceSettings
from serving.values import hides_card_number

pytestmark = pytest.mark.faults

NOW = datetime(2026, 1, 6, tzinfo=UTC)
load_all_checks()
SERVICE = App(Engine(None), clock=lambda: int(NOW.timestamp() * 1e6))
CONFIG = schemathesis.Config.from_dict({"phases": {"coverage": {"enabled": False}}})
DESCRIBED = schemathesis.openapi.from_dict(document(ServiceSettings(), {"/v1/outcomes"}), config=CONFIG)
DESCRIBED.app = SERVICE
fresh = itertools.count()


@pytest.fixture(scope="module", autouse=True)
def log(tmp_path_factory):
    """The log that the service keeps outcomes in."""
    log = DecisionLog(f"sqlite:///{tmp_path_factory.mktemp('log')}/log.db")
    SERVICE._outcomes._log = log
    yield log
    log.close()


def mend(body):
    """Makes an outcome keep what the document says in words: times in order and not ahead, one attempt, no card number."""
    for told in body if isinstance(body, list) else [body]:
        told["attempt_id"] = f"a{next(fresh)}"
        told["resolved_at"] = NOW.isoformat()
        for part in (told, told.get("evidence") or {}, told.get("attempt") or {}):
            for name in [name for name, value in part.items() if hides_card_number(value)]:
                part[name] = type(part[name])(1)
        if told.get("attempt"):
            told["attempt"] |= {"created_at": NOW.isoformat()}
            told["attempt"].pop("attempt_id", None)
    return body


@DESCRIBED.parametrize()
@settings(max_examples=40, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_outcomes_are_read_as_described_and_answered_so(case):
    if case.meta.generation.mode.is_positive:
        case.body = mend(case.body)
    case.call_and_validate(checks=CHECKS.get_all())
