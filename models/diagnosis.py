"""Why a failed attempt failed: the code's word where it decides, the model's where codes are silent.

Evidence is the `after` columns of an attempt, except the label, by column name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from features.taxonomy import (
    CodeMeaning,
    explain_advice,
    explain_code,
    explain_trans_status,
    reasons,
)
from models.code_answer import SURE, TextReading
from models.code_text import CodeText
from models.conformal import fewest_that_reach, plausible

__all__ = ["Diagnosis", "Evidence", "by_code", "by_model", "by_rules", "read_evidence"]

_UNSETTLED = {"authentication", "user_abandonment"}
"""Categories that codes mix up, so that 3-D Secure may still tell them apart."""

_LEFT_OPEN = {"generic_decline", "authentication_failed"}
"""Reasons that a code may name without settling the cause, however plainly it is put."""

_TOLD_BY_LAST_EVENT = {
    "challenge_closed": "challenge_abandoned",
    "challenge_shown": "challenge_abandoned",
    "page_closed": "user_cancelled",
    "timed_out": "network_timeout",
}
"""What the last thing that the client saw suggests, where nothing else is known."""


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """What the codes of a failed attempt say, each None where they say nothing.

    `text` is the text model's reading of a response code that no table has.
    """

    response: CodeMeaning | None
    authentication: CodeMeaning | None
    advice: CodeMeaning | None
    text: TextReading | None = None

    @property
    def deciding(self) -> CodeMeaning | None:
        """The code that settles the cause, if one does.

        The response code speaks first. Where it is known but leaves open whether authentication failed or was
        left, and where there is none, 3-D Secure decides; a bank that declined without a reason does so after
        authentication, so that 3-D Secure does not explain it. The network's advice comes last.
        """
        if self.response is not None and self.response.decides:
            return self.response
        if self.settling_text is not None:
            return None
        said = self.response or self._category_by_text
        settled = said is not None and said.category not in _UNSETTLED
        for meaning in (None if settled else self.authentication, self.advice):
            if meaning is not None and meaning.decides:
                return meaning
        return None

    @property
    def settling_text(self) -> TextReading | None:
        """The text model's reading, if it is sure of a reason that settles the cause."""
        sure = self.text is not None and self.text.confidence >= SURE and self.text.reason not in _LEFT_OPEN
        return self.text if sure else None

    @property
    def _category_by_text(self) -> TextReading | None:
        """The text model's reading, if it is sure of the category at least."""
        text = self.text
        return text if text is not None and text.category_probability[text.category] >= SURE else None

    @property
    def forbidding(self) -> CodeMeaning | None:
        """The code whose rule forbids trying the same means again, if one does."""
        spoken = (self.response, self.advice, self.authentication)
        return next((meaning for meaning in spoken if meaning is not None and meaning.rule is not None), None)

    @property
    def wait_s(self) -> int | None:
        """Seconds that the network asks to wait before the next try; None where it does not say."""
        return self.advice.wait_s if self.advice is not None else None


class Diagnosis(msgspec.Struct, frozen=True, gc=False):
    """Why an attempt failed.

    `decided_by` is `code`, `text_model` (a code that no table has, read by its words), `model`, or `rules` where
    there is no model and no code decides. `confidence` is the probability of `reason`, None for `rules`.
    `plausible` lists the reasons that cannot be ruled out, likeliest first; where a code decides, the one that it
    names. `sub_reason` is finer than `reason`,
    and known from codes alone.
    """

    category: str
    reason: str
    decided_by: str
    confidence: float | None
    plausible: tuple[str, ...]
    category_probability: Mapping[str, float]
    because: str
    sub_reason: str | None = None
    reason_probability: Mapping[str, float] = msgspec.field(default_factory=dict)


def read_evidence(evidence: Mapping[str, Any], card_brand: str | None, code_text: CodeText | None = None) -> Evidence:
    """What the codes among the evidence say; with a text model, codes that no table has, too."""
    scheme, code = evidence.get("code_scheme"), evidence.get("response_code")
    advice = evidence.get("advice_code")
    response = explain_code(scheme, code, card_brand) if scheme and code else None
    text = code_text.read(code) if code_text is not None and code and response is None else None
    return Evidence(
        response=response,
        text=text if text is not None and text.tells else None,
        authentication=explain_trans_status(
            evidence.get("trans_status"), evidence.get("trans_status_reason"), card_brand
        ),
        advice=explain_advice(advice, scheme, card_brand) if advice else None,
    )


def by_code(evidence: Evidence) -> Diagnosis | None:
    """The diagnosis that a code settles, by its table or, if no table has it, surely by its text; None where none does.

    >>> found = by_code(read_evidence({"code_scheme": "iso8583", "response_code": "54"}, "visa"))
    >>> found.reason, found.sub_reason, found.decided_by
    ('card_data_invalid', 'expired_card', 'code')
    """
    text, meaning = evidence.settling_text, evidence.deciding
    if text is not None:
        return Diagnosis(
            category=text.category,
            reason=text.reason,
            decided_by="text_model",
            confidence=text.confidence,
            plausible=fewest_that_reach(text.reason_probability),
            category_probability=text.category_probability,
            sub_reason=text.sub_reason,
            reason_probability=text.reason_probability,
            because=f"a code that no table has, by its text: {reasons()[text.reason].title} ({text.confidence:.0%})",
        )
    if meaning is None:
        return None
    return Diagnosis(
        category=meaning.category,
        reason=meaning.reason,
        decided_by="code",
        confidence=1.0,
        plausible=(meaning.reason,),
        category_probability={meaning.category: 1.0},
        sub_reason=meaning.sub_reason,
        reason_probability={meaning.reason: 1.0},
        because=f"code {meaning.code} ({meaning.scheme}): {meaning.meaning}",
    )


def by_model(probabilities: Mapping[str, float], least: Mapping[str, float] | None = None) -> Diagnosis:
    """The diagnosis that a model's probabilities amount to: the likeliest category's likeliest reason.

    `least` is what a reason of each category needs to be plausible (`models.conformal`). Without it the plausible ones are
    the fewest that have 90 % together, which nothing held out has shown to hold the truth that often.

    >>> found = by_model({"insufficient_funds": 0.7, "generic_decline": 0.25, "processor_error": 0.05})
    >>> found.category, found.reason, found.plausible
    ('bank_decline', 'insufficient_funds', ('insufficient_funds', 'generic_decline'))
    """
    of_reason = _categories()
    by_category: dict[str, float] = {}
    likeliest: dict[str, str] = {}
    highest: dict[str, float] = {}
    for name, probability in probabilities.items():
        category = of_reason[name]
        by_category[category] = by_category.get(category, 0.0) + probability
        if probability > highest.get(category, -1.0):
            likeliest[category], highest[category] = name, probability
    category = max(by_category, key=by_category.__getitem__)
    reason = likeliest[category]
    confidence = probabilities[reason]
    return Diagnosis(
        category=category,
        reason=reason,
        decided_by="model",
        confidence=confidence,
        plausible=plausible(probabilities, reason, least) if least else fewest_that_reach(probabilities),
        category_probability=by_category,
        reason_probability=dict(probabilities),
        because=f"no code settles it; most likely {reasons()[reason].title} ({confidence:.0%})",
    )


@cache
def _categories() -> dict[str, str]:
    """The category of each reason."""
    return {name: reason.category for name, reason in reasons().items()}


def by_rules(evidence: Evidence, last_event: str | None) -> Diagnosis | None:
    """What can be said with neither a deciding code nor a model: a code's usual reading, or the last event's.

    A code that no table has is read by its text. None where there is nothing to go by.
    """
    meaning = evidence.response or evidence.text or evidence.authentication
    told = _TOLD_BY_LAST_EVENT.get(last_event) if last_event else None
    unsettled = meaning is None or meaning.category in _UNSETTLED
    if told is not None and unsettled:
        reason, because = told, f"the last thing seen was {last_event}"
    elif isinstance(meaning, TextReading):
        reason, because = meaning.reason, f"a code that no table has reads like {reasons()[meaning.reason].title}"
    elif meaning is not None:
        reason, because = meaning.reason, f"code {meaning.code} ({meaning.scheme}): {meaning.meaning}"
    else:
        return None
    category = reasons()[reason].category
    return Diagnosis(
        category=category,
        reason=reason,
        decided_by="rules",
        confidence=None,
        plausible=(reason,),
        category_probability={},
        because=because,
    )
