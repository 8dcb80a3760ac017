"""JSON Schema of what the service answers. Answers may get further members; those here stay."""

from __future__ import annotations

from typing import Any

from features.columns import CATEGORIES, OUTCOMES
from features.taxonomy import reasons
from models.actions import ACTIONS
from models.messages import locales, message_keys

__all__ = ["answer_schemas"]

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_WHOLE: Schema = {"type": "integer", "minimum": 0}
_WHOLE_OR_NULL: Schema = {"type": ["integer", "null"]}
_TRUTH: Schema = {"type": "boolean"}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_SHARE_OR_NULL: Schema = {**_SHARE, "type": ["number", "null"]}


def _object(says: str, /, **properties: Schema) -> Schema:
    """An object that has all of these."""
    return {"type": "object", "description": says, "properties": properties, "required": list(properties)}


def _one_of(words: Any) -> Schema:
    return {"type": "string", "enum": list(words)}


def _many(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def answer_schemas() -> dict[str, Schema]:
    """What is answered, by name."""
    action, reason = _one_of(ACTIONS), _one_of(reasons())
    probabilities = {"type": "object", "properties": dict.fromkeys(CATEGORIES, _SHARE), "additionalProperties": False}
    return {
        "Answer": _object(
            "What will become of the attempt or why it failed, and what to do next.",
            request_id=_TEXT,
            attempt_id=_TEXT,
            degraded={**_TRUTH, "description": "Whether the rules answered, not the model."},
            model=_object("What answered.", name=_TEXT, version=_TEXT_OR_NULL, features=_TEXT_OR_NULL),
            outcome=_or_null(_object("Probabilities; they sum to 1.", **dict.fromkeys(OUTCOMES, _SHARE))),
            diagnosis=_or_null(
                _object(
                    "Why it failed.",
                    category=_one_of(CATEGORIES),
                    reason=reason,
                    confidence=_SHARE_OR_NULL,
                    decided_by=_TEXT,
                    plausible={**_many(reason), "description": "The reasons that cannot be ruled out at 90 %."},
                    category_probability=probabilities,
                )
            ),
            suggestion=_object(
                "What to do next.",
                action=action,
                candidate_id=_TEXT_OR_NULL,
                method=_TEXT_OR_NULL,
                route=_TEXT_OR_NULL,
                wait_s={"type": "number", "minimum": 0},
                success_probability=_SHARE_OR_NULL,
                expected_value={**_WHOLE_OR_NULL, "description": "In minor units of the attempt's currency."},
                message_key=_one_of(message_keys()),
                because={**_many(_TEXT), "maxItems": 3},
            ),
            ranking=_many(
                _object(
                    "A candidate, the best first.",
                    candidate_id=_TEXT,
                    action=action,
                    success_probability=_SHARE_OR_NULL,
                    expected_value=_WHOLE_OR_NULL,
                    evidence={"type": ["number", "null"], "description": "How many attempts paid the same way."},
                )
            ),
            blocked=_many(_object("What a rule forbids.", candidate_id=_TEXT_OR_NULL, rule=_TEXT, edition=_TEXT)),
            policy=_object(
                "How it was chosen.",
                name=_TEXT,
                propensity=_SHARE,
                explored=_TRUTH,
                experiment=_TEXT_OR_NULL,
                variant=_TEXT_OR_NULL,
            ),
        ),
        "Answers": _many(_ref("Answer")),
        "Told": _object(
            "What was kept.", request_id=_TEXT, accepted=_WHOLE, duplicates=_WHOLE, unknown_attempts=_WHOLE
        ),
        "Messages": _object(
            "Texts for the customer by message_key.",
            locale=_one_of(locales()),
            messages=_object("By key.", **dict.fromkeys(message_keys(), _TEXT)),
        ),
        "Model": _object(
            "What answers.",
            name=_TEXT,
            version=_TEXT_OR_NULL,
            features=_TEXT_OR_NULL,
            degraded=_TRUTH,
            card={"type": ["object", "null"], "description": "The model card."},
        ),
        "Alive": _object("It lives.", status=_TEXT),
        "Ready": _object(
            "It answers.",
            status=_TEXT,
            version=_TEXT_OR_NULL,
            degraded=_TRUTH,
            down={**_many(_TEXT), "description": "what it stands on and does not reach: log, registry, state"},
        ),
        "Problem": _object(
            "RFC 9457. None holds a value of the request.",
            type=_TEXT,
            title=_TEXT,
            status={"type": "integer", "minimum": 300, "maximum": 599},
            detail=_TEXT,
            instance=_TEXT,
            code={**_TEXT, "description": "Stable: decide by it."},
            request_id=_TEXT,
            errors=_many(
                _object("A fault.", pointer={**_TEXT, "description": "JSON pointer"}, code=_TEXT, detail=_TEXT)
            ),
        ),
    }
