"""From a decision as it was answered to a row of the log, in the requests' own thread.

What a request makes can then be let go where it was made. Kept for the log's thread, it would be taken apart there, object by
object, which holds requests up for longer than writing it out does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np

from models.engine import ScoreRequest
from serving.log_records import LoggedDecision

__all__ = ["Written", "written"]

_FEATURE = np.dtype("<f4")
_encode = msgspec.json.Encoder().encode
_WAY = ("method", "route", "auth_flow")  # what a decision chooses of an attempt, and what its propensity is of


class Written(NamedTuple):
    """The values that keep a decision, by the columns of `payrescue_decisions`; objects and arrays are JSON."""

    attempt_id: str
    payment_id: str
    request_id: str
    at: int
    created_at: int
    attempt: str
    evidence: str | None
    previous: str
    candidates: str | None
    answer: str
    action: str
    chosen: str | None
    p_success: float | None
    policy: str
    propensity: float
    experiment: str | None
    variant: str | None
    model_version: str | None
    degraded: bool
    features: bytes | None
    fingerprint: str | None
    latency_us: int
    shown: bool


def written(decision: LoggedDecision) -> Written:
    """A decision as it waits to be kept."""
    request, answer, at, latency_us, features, shown, body = decision
    attempt, evidence, candidates = request.attempt, request.evidence, request.candidates
    policy, outcome, suggestion, model = answer["policy"], answer["outcome"], answer["suggestion"], answer["model"]
    chosen = _chosen(request, suggestion)
    return Written(
        attempt["attempt_id"],
        attempt["payment_id"],
        answer["request_id"],
        at,
        attempt["created_at"],
        _encode(attempt).decode(),
        _encode(evidence).decode() if evidence is not None else None,
        _encode(request.previous).decode(),
        _encode(candidates).decode() if candidates is not None else None,
        (body or _encode(answer)).decode(),
        suggestion["action"],
        _encode(chosen).decode() if chosen is not None else None,
        outcome["success"] if outcome is not None else None,
        policy["name"],
        policy["propensity"],
        policy["experiment"],
        policy["variant"],
        model["version"],
        answer["degraded"],
        features.astype(_FEATURE, copy=False).tobytes() if features is not None else None,
        model["features"],
        latency_us,
        shown,
    )


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
    return {name: named[name] for name in _WAY if named.get(name) is not None}
