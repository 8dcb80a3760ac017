"""JSON Schema (2020-12, as OpenAPI 3.1 has it) of what the service reads, from the tables that its readers go by."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from features.allowed import COUNTRY_COLUMNS, EARLIEST, LENGTHS, RANGES, TOLERANCE_AHEAD, VOCABULARIES, Range
from features.columns import Column, columns
from features.places import countries, currencies
from features.taxonomy import reasons
from serving.requests import CANDIDATE_COLUMNS, MOST_CANDIDATES, MOST_PREVIOUS, SHARED
from serving.values import LONGEST_ISSUER_DIGITS, LONGEST_WAIT_S, MOST_NUMBER, REFUSED_CATEGORIES

__all__ = ["or_null", "request_schemas", "schema_of", "text_schema"]

Schema = dict[str, Any]

_LABEL = ("outcome", "reason")
_CENTURIES = f"{EARLIEST.year // 1000}[0-9]{{3}}"
_TIME = (
    rf"^{_CENTURIES}-[0-9]{{2}}-[0-9]{{2}}[Tt ][0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(\.[0-9]{{1,9}})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)


@cache
def _printable() -> str:
    """A pattern of what is not refused in text: no control, format, surrogate or line-break characters."""
    refused = [at for at in range(sys.maxunicode + 1) if unicodedata.category(chr(at)) in REFUSED_CATEGORIES]
    spans: list[list[int]] = []
    for at in refused:
        if spans and spans[-1][1] == at - 1:
            spans[-1][1] = at
        else:
            spans.append([at, at])
    # Surrogates cannot stand in JSON's text, and what lies beyond the first plane is written as itself
    said = (f"{_escaped(low)}-{_escaped(high)}" for low, high in spans if not 0xD800 <= low <= 0xDFFF)
    return f"^[^{''.join(said)}]+$"


def _escaped(point: int) -> str:
    return f"\\u{point:04x}" if point <= 0xFFFF else chr(point)


def text_schema(longest: int) -> Schema:
    """Text of 1 to `longest` printable characters."""
    return {"type": "string", "minLength": 1, "maxLength": longest, "pattern": _printable()}


def _number(within: Range | None, *, whole: bool) -> Schema:
    kind = "integer" if whole else "number"
    if within is None:
        return {"type": kind, "minimum": -MOST_NUMBER, "maximum": MOST_NUMBER}
    low = {"exclusiveMinimum" if within.above_low else "minimum": within.low}
    return {"type": kind, **low, "maximum": within.high if within.high is not None else MOST_NUMBER}


def schema_of(column: Column) -> Schema:
    """What a column's value may be, where it is not missing."""
    if column.name in VOCABULARIES:
        return {"type": "string", "enum": list(VOCABULARIES[column.name])}
    if column.name in COUNTRY_COLUMNS:
        return {"type": "string", "enum": list(countries())}
    if column.name == "currency":
        return {"type": "string", "enum": list(currencies())}
    if column.name == "issuer":
        return text_schema(LENGTHS["category"]) | {
            "not": {"type": "string", "pattern": f"^[0-9]{{{LONGEST_ISSUER_DIGITS + 1},}}$"}
        }
    if column.type in {"string", "category"}:
        return text_schema(LENGTHS[column.type])
    if column.type == "bool":
        return {"type": "boolean"}
    if column.type == "timestamp":
        return {"type": "string", "format": "date-time", "pattern": _TIME}
    return _number(RANGES.get(column.name), whole=column.type == "int64")


def or_null(schema: Schema) -> Schema:
    """The same, or null, which is missing."""
    wider = {**schema, "type": [schema["type"], "null"]}
    if "enum" in schema:
        wider["enum"] = [*schema["enum"], None]
    return wider


def _object(found: Iterable[Column], required: Sequence[str], says: str) -> Schema:
    properties = {}
    for column in found:
        schema = schema_of(column) if column.name in required else or_null(schema_of(column))
        unit = f" ({column.unit})" if column.unit and column.type != "timestamp" else ""
        unit += f"; at most {TOLERANCE_AHEAD.days} day ahead of now" if column.type == "timestamp" else ""
        properties[column.name] = {**schema, "description": f"{column.meaning}{unit}"}
    return {
        "type": "object",
        "description": says,
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _reasons_of(outcome: str) -> Schema:
    """Which reasons an outcome can have."""
    known = [name for name, reason in reasons().items() if reason.category == outcome]
    return {
        "if": {"properties": {"outcome": {"const": outcome}}},
        "then": {"properties": {"reason": {"enum": [*known, None]}}},
    }


def _list(of: str, most: int, says: str) -> Schema:
    return {
        "type": ["array", "null"],
        "items": {"$ref": f"#/components/schemas/{of}"},
        "maxItems": most,
        "description": says,
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def request_schemas(extra: Sequence[Column], *, most_batch: int) -> dict[str, Schema]:
    """What may be sent, by name. `extra` are the columns that a merchant declared."""
    every = [*columns().values(), *extra]
    before = [column for column in every if column.known == "before"]
    after = [column for column in every if column.known == "after"]
    required = [column.name for column in every if column.required]
    wait = Column(
        "wait_s", "float64", "s", required=False, for_training=False, known="before", meaning="how long to wait"
    )
    candidate_id = Column(
        "candidate_id", "string", "", required=True, for_training=False, known="before", meaning="what answers call it"
    )
    by_name = {column.name: column for column in every}
    candidate = _object(
        [candidate_id, *(by_name[name] for name in CANDIDATE_COLUMNS), wait],
        ["candidate_id", "method"],
        "Something that checkout could do next. What it leaves out is as it was in the attempt.",
    )
    candidate["properties"]["wait_s"] |= {"minimum": 0, "maximum": LONGEST_WAIT_S}
    told = ("attempt_id", "resolved_at", "outcome")
    outcome = _object(
        [by_name[name] for name in (*told, "reason")],
        told,
        "What became of an attempt. `resolved_at` is not before the attempt's `created_at`.",
    )
    outcome["properties"]["reason"] = {
        **or_null({"type": "string", "enum": list(reasons())}),
        "description": "One of the outcome's reasons; success and unclassified have none.",
    }
    outcome["properties"] |= {
        "evidence": {"anyOf": [_ref("ToldEvidence"), {"type": "null"}]},
        "attempt": {"anyOf": [_ref("ToldAttempt"), {"type": "null"}]},
    }
    outcome["allOf"] = [_reasons_of(category) for category in VOCABULARIES["outcome"]]
    return {
        "Attempt": _object(before, required, "What is known of an attempt when it is submitted."),
        "Evidence": _object(
            [column for column in after if column.name not in _LABEL],
            [],
            "What a failed attempt left behind. `resolved_at` is not before the attempt's `created_at`.",
        ),
        "Earlier": _object(
            [*before, *after],
            [name for name in required if name not in SHARED],
            "An earlier attempt of the same payment. What the payment has may be left out: " + ", ".join(SHARED) + ".",
        ),
        "Candidate": candidate,
        "ScoreRequest": {
            "type": "object",
            "description": "An attempt before it is made or, with `evidence`, after it has failed.",
            "properties": {
                "attempt": _ref("Attempt"),
                "evidence": {"anyOf": [_ref("Evidence"), {"type": "null"}]},
                "previous": _list(
                    "Earlier",
                    MOST_PREVIOUS,
                    "The payment's earlier attempts, oldest first, none after `attempt`, each with an `attempt_id` of its own "
                    "and the attempt's `payment_id`.",
                ),
                "candidates": _list(
                    "Candidate",
                    MOST_CANDIDATES,
                    "What checkout can do next, each with a `candidate_id` of its own. Left out: what the model has seen in the "
                    "country.",
                ),
            },
            "required": ["attempt"],
            "additionalProperties": False,
        },
        "ScoreRequests": {"type": "array", "items": _ref("ScoreRequest"), "maxItems": most_batch},
        "ToldEvidence": _object(
            [column for column in after if column.name not in {*told, "reason"}], [], "What the attempt left behind."
        ),
        "ToldAttempt": _object(
            before, [name for name in required if name != "attempt_id"], "An attempt, told with its outcome."
        ),
        "Outcome": outcome,
        "Outcomes": {
            "anyOf": [
                _ref("Outcome"),
                {"type": "array", "items": _ref("Outcome"), "minItems": 1, "maxItems": most_batch},
            ]
        },
    }
