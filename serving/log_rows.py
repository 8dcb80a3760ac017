"""From a decision as it was answered to a row of the log; it runs in the log's own thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from models.engine import ScoreRequest
from serving.log_records import LoggedDecision
from serving.log_tables import DECISIONS

__all__ = ["COLUMNS", "WAY", "row_of"]

_encode = msgspec.json.Encoder().encode

WAY = ("method", "route", "auth_flow")
"""What a decision chooses of an attempt, and what its propensity is of."""


COLUMNS = tuple(column.name for column in DECISIONS.columns if column.name != "id")
"""Of `payrescue_decisions`, in the order of a row's values."""


def row_of(decision: LoggedDecision) -> tuple[Any, ...]:
    """The values that keep a decision, in the order of `COLUMNS`."""
    request, answer = decision.request, decision.answer
    attempt, policy, outcome = request.attempt, answer["policy"], answer["outcome"]
    features = decision.features
    row = {
        "attempt_id": attempt["attempt_id"],
        "payment_id": attempt["payment_id"],
        "request_id": answer["request_id"],
        "at": decision.at,
        "created_at": attempt["created_at"],
        "attempt": _json(attempt),
        "evidence": _json(request.evidence),
        "previous": _json(request.previous),
        "candidates": _json(request.candidates),
        "answer": _json(answer),
        "action": answer["suggestion"]["action"],
        "chosen": _json(_chosen(request, answer["suggestion"])),
        "p_success": outcome["success"] if outcome is not None else None,
        "policy": policy["name"],
        "propensity": policy["propensity"],
        "experiment": policy["experiment"],
        "variant": policy["variant"],
        "model_version": answer["model"]["version"],
        "degraded": answer["degraded"],
        "features": features.astype("<f4").tobytes() if features is not None else None,
        "fingerprint": answer["model"]["features"],
        "latency_us": decision.latency_us,
        "shown": decision.shown,
    }
    return tuple([row[name] for name in COLUMNS])


def _json(value: Any) -> str | None:
    return None if value is None else _encode(value).decode()


def _chosen(request: ScoreRequest, suggestion: Mapping[str, Any]) -> dict[str, str] | None:
    """The way to pay that was suggested, as far as it was named; None where it is no way to pay."""
    if suggestion["method"] is None:
        return None
    named = {"method": suggestion["method"], "route": suggestion["route"]}
    if suggestion["action"] == "proceed":
        named = {**request.attempt}
    elif suggestion["candidate_id"] is not None:
        same = (one for one in request.candidates or () if one["candidate_id"] == suggestion["candidate_id"])
        named = next(same, named)
    return {name: named[name] for name in WAY if named.get(name) is not None}
