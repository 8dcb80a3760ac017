"""An answer in the contract's form, and the plain words that say why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from features.columns import CATEGORIES, OUTCOMES
from models.actions import Row
from models.choice import Blocked, Option
from models.diagnosis import Diagnosis
from models.policies import CERTAIN, Drawn

__all__ = ["Verdict", "answer_of", "compared"]


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What was decided, before it is written down."""

    chosen: Option
    message_key: str
    because: tuple[str, ...]
    ranking: Sequence[Option] = ()
    blocked: Sequence[Blocked] = ()
    diagnosis: Diagnosis | None = None
    drawn: Drawn = CERTAIN


def answer_of(attempt: Row, verdict: Verdict, outcome: Sequence[float] | None) -> dict[str, Any]:
    """The parts of the answer that the decision makes, in the contract's order."""
    return {
        "outcome": dict(zip(OUTCOMES, map(float, outcome), strict=True)) if outcome is not None else None,
        "diagnosis": _diagnosis(verdict.diagnosis) if verdict.diagnosis is not None else None,
        "suggestion": _suggestion(attempt, verdict),
        "ranking": [
            {
                "candidate_id": candidate_id,
                "action": option.action,
                "success_probability": option.success,
                "expected_value": _rounded(option.value),
                "evidence": option.evidence,
            }
            for option in verdict.ranking
            if (candidate_id := option.candidate_id) is not None
        ],
        "blocked": [
            {"candidate_id": block.candidate_id, "rule": block.rule, "edition": block.edition}
            for block in verdict.blocked
        ],
    }


def _diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    probability = diagnosis.category_probability
    return {
        "category": diagnosis.category,
        "reason": diagnosis.reason,
        "confidence": diagnosis.confidence,
        "decided_by": diagnosis.decided_by,
        "plausible": list(diagnosis.plausible),
        "category_probability": {name: probability[name] for name in CATEGORIES if name in probability},
    }


def _suggestion(attempt: Row, verdict: Verdict) -> dict[str, Any]:
    chosen = verdict.chosen
    candidate = chosen.candidate or {}
    same_means = candidate.get("method") == attempt["method"] and chosen.action != "retry_other_route"
    return {
        "action": chosen.action,
        "candidate_id": chosen.candidate_id,
        "method": candidate.get("method"),
        "route": candidate.get("route", attempt.get("route") if same_means else None),
        "wait_s": chosen.wait_s,
        "success_probability": chosen.success,
        "expected_value": _rounded(chosen.value),
        "message_key": verdict.message_key,
        "because": list(verdict.because),
    }


def _rounded(value: float | None) -> int | None:
    """Whole minor units."""
    return round(value) if value is not None else None


def _words(attempt: Row, option: Option) -> str:
    """An option in plain words."""
    if option.action == "proceed":
        return "the attempt as it is"
    candidate = option.candidate or {}
    words: str = candidate.get("method", attempt["method"])
    if candidate.get("route") is not None:
        words += f" by {candidate['route']}"
    if option.action == "step_up":
        words += ", authenticated"
    if option.wait_s:
        words += f", {option.wait_s} s later"
    return words


def compared(attempt: Row, chosen: Option, options: Sequence[Option]) -> tuple[str, ...]:
    """The comparison that speaks for what was chosen."""
    if chosen.success is None:
        return ()
    text = f"{_words(attempt, chosen)}: {chosen.success:.0%} likely to succeed"
    others = [option for option in options if option is not chosen and option.success is not None]
    if not others:
        return (text,)
    rival = max(others, key=lambda option: option.value or 0.0)
    return (f"{text}, against {rival.success:.0%} for {_words(attempt, rival)}",)
