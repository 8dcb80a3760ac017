"""The OpenAPI 3.1 document of the service, made of the tables that its readers go by, and BentoML's description of it."""

from __future__ import annotations

from collections.abc import Container, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from features.columns import Column
from serving.answer_schemas import answer_schemas
from serving.pieces import MOST_PIECE_BYTES
from serving.schemas import request_schemas
from serving.settings import ServiceSettings

__all__ = ["bentoml_schema", "document"]

_PROBLEMS = {
    307: "It is elsewhere: see the header Location.",
    400: "What was sent is no JSON, or a header is not valid.",
    401: "A key is needed.",
    403: "The key is not for this; or, without keys, the service is asked by a name that is not its machine's.",
    404: "There is no such thing.",
    408: "The body took too long.",
    409: "It contradicts what was told before.",
    413: "The body is too large.",
    415: "The body is of another type.",
    422: "A field is not as it should be: see errors.",
    500: "The service failed.",
    503: "The service cannot do this now: wait for Retry-After seconds.",
}
_FOR_BODIES = (400, 408, 413, 415, 422, 500, 503)
_NO_CARDS = "Never send a card number or a security code: what holds one, in whatever place, is refused, and not kept."
_DEADLINE = {
    "name": "X-Deadline-Ms",
    "in": "header",
    "description": "How long the caller can wait, in milliseconds; after that, the rules answer.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,9}$"},
}
_REQUEST_ID = {
    "name": "X-Request-Id",
    "in": "header",
    "description": "Kept in the answer and the log where it is 1 to 64 letters, digits, dots, dashes or underscores.",
    "schema": {"type": "string"},
}
_LOCALE = {
    "name": "locale",
    "in": "path",
    "required": True,
    "description": "As BCP 47 has it.",
    "schema": {"type": "string", "minLength": 1},
}

_PAGE = {
    "name": "page",
    "in": "path",
    "required": True,
    "description": "A file's name, such as index.html.",
    "schema": {"type": "string", "minLength": 1},
}
_FILE = {
    "description": "The file.",
    "headers": {"X-Request-Id": {"required": True, "schema": {"type": "string"}}},
    "content": {
        kind: {"schema": {"type": "string"}} for kind in ("text/html", "text/css", "text/javascript", "text/csv")
    }
    | {"application/json": {"schema": {}}},
}


_QUESTION = {
    "attempt": {
        "attempt_id": "a1",
        "payment_id": "p1",
        "created_at": "2026-01-05T09:30:00Z",
        "amount_minor": 38000,
        "currency": "KRW",
        "country": "KR",
        "method": "card",
        "route": "north",
    },
    "evidence": {"code_scheme": "iso8583", "response_code": "51"},
    "candidates": [
        {"candidate_id": "c1", "method": "card", "route": "harbor"},
        {"candidate_id": "c2", "method": "quick_pay"},
    ],
}
_TOLD = {
    "attempt_id": "a1",
    "resolved_at": "2026-01-05T09:30:21Z",
    "outcome": "bank_decline",
    "reason": "insufficient_funds",
    "evidence": {"code_scheme": "iso8583", "response_code": "51", "duration_s": 21.4},
}
_EXAMPLES: dict[str, Any] = {"ScoreRequest": _QUESTION, "ScoreRequests": [_QUESTION], "Outcomes": _TOLD}
"""What a page that tries an operation begins with."""


def document(
    settings: ServiceSettings, routes: Container[str], extra: Sequence[Column] = (), *, keys: bool = False
) -> dict[str, Any]:
    """The document. `routes` are those that the service has; `extra` the columns that a merchant declared.

    >>> found = document(ServiceSettings(), {"/v1/score"})
    >>> found["openapi"], list(found["paths"])
    ('3.1.0', ['/v1/score'])
    """
    size = f"Up to {settings.most_body_bytes} bytes of JSON."
    many = f"Up to {settings.most_batch_bytes} bytes of JSON, {settings.most_batch} requests of {MOST_PIECE_BYTES} bytes each."
    posts = {
        "/v1/score": _post("score", "What to do next", size, "ScoreRequest", "Answer", deadline=True),
        "/v1/score/batch": _post("scoreBatch", "The same for many", many, "ScoreRequests", "Answers", deadline=True),
        "/v1/outcomes": _post("tellOutcomes", "What became of attempts", many, "Outcomes", "Told", (409,)),
    }
    gets = {
        "/v1/messages/{locale}": _get("getMessages", "Texts for the customer", "Messages", (404,), [_LOCALE]),
        "/v1/model": _get("getModel", "The model card", "Model"),
        "/insights": _page("getInsights", "The product owners' pages: leads to the first one", {"307": _response(307)}),
        "/insights/{page}": _page(
            "getInsight", "One of these pages, or a file beside it", {"200": _FILE, "404": _response(404)}, [_PAGE]
        ),
        "/livez": _get("isAlive", "Whether it lives", "Alive"),
        "/readyz": _get("isReady", "Whether it answers, and with which version", "Ready", (503,)),
        "/metrics": _get("getMetrics", "What it counts, for Prometheus", None),
    }
    every = {path: {"post": told} for path, told in posts.items()} | {
        path: {"get": told} for path, told in gets.items()
    }
    paths = {path: told for path, told in every.items() if path.replace("{locale}", "").replace("{page}", "") in routes}
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Payrescue",
            "version": _version(),
            "summary": "Knows why payments fail, before and after, and tells checkout what to do next.",
            "description": _NO_CARDS,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": request_schemas(extra, most_batch=settings.most_batch) | answer_schemas(),
            "responses": {str(status): _problem(says) for status, says in _PROBLEMS.items()},
        },
    }
    _guard(made, keys=keys)
    return made


def _version() -> str:
    try:
        return version("payrescue")
    except PackageNotFoundError:  # in a Bento the code is not installed
        return "0"


def _guard(made: dict[str, Any], *, keys: bool) -> None:
    """Says which operations not everybody may ask, and, with keys, which want one."""
    if keys:
        made["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
        }
    for path, methods in made["paths"].items():
        if path in {"/livez", "/readyz"}:
            continue
        for operation in methods.values():
            operation["responses"] |= {"401": _response(401), "403": _response(403)}
            if keys:
                operation["security"] = [{"bearer": []}, {"apiKey": []}]


def _response(status: int) -> dict[str, str]:
    return {"$ref": f"#/components/responses/{status}"}


def _problem(says: str) -> dict[str, Any]:
    return {
        "description": says,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _ok(schema: str | None) -> dict[str, Any]:
    if schema is None:
        content: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {
        "description": "The answer.",
        "headers": {"X-Request-Id": {"required": True, "schema": {"type": "string"}}},
        "content": content,
    }


def _post(
    name: str, title: str, says: str, takes: str, gives: str, more: Sequence[int] = (), *, deadline: bool = False
) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": title,
        "description": f"{says} {_NO_CARDS}",
        "parameters": [*([_DEADLINE] if deadline else []), _REQUEST_ID],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": f"#/components/schemas/{takes}"},
                    "example": _EXAMPLES[takes],
                }
            },
        },
        "responses": {"200": _ok(gives)} | {str(status): _response(status) for status in sorted((*_FOR_BODIES, *more))},
    }


def _get(
    name: str,
    title: str,
    gives: str | None,
    more: Sequence[int] = (),
    parameters: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": title,
        "parameters": [*parameters, _REQUEST_ID],
        "responses": {"200": _ok(gives)} | {str(status): _response(status) for status in sorted({400, 500, *more})},
    }


def _page(name: str, title: str, gives: dict[str, Any], parameters: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": title,
        "parameters": [*parameters, _REQUEST_ID],
        "responses": gives | {str(status): _response(status) for status in (400, 500)},
    }


def bentoml_schema(made: dict[str, Any]) -> dict[str, Any]:
    """The same as BentoML's clients read it, from `/schema.json`: a method for each POST, named by its address.

    A client's method takes what is at the top of the body as its arguments: `client.score(attempt=…, candidates=…)`.
    """
    names = {"/v1/score": "score", "/v1/score/batch": "score_batch", "/v1/outcomes": "outcomes"}
    routes = []
    for path, name in names.items():
        if path not in made["paths"]:
            continue
        told = made["paths"][path]["post"]
        takes = told["requestBody"]["content"]["application/json"]["schema"]
        gives = told["responses"]["200"]["content"]["application/json"]["schema"]
        taken = _resolved(takes, made)
        if "properties" not in taken:  # a list, which is the body itself
            taken["root_input"] = True
        routes.append(
            {
                "name": name,
                "route": path,
                "doc": told["summary"],
                "batchable": False,
                "input": taken,
                "output": _resolved(gives, made),
            }
        )
    return {"name": "payrescue", "type": "service", "routes": routes, "description": made["info"]["summary"]}


def _resolved(schema: Any, made: dict[str, Any]) -> Any:
    """A copy in which references are replaced by what they refer to; none here refers to itself."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _resolved(made["components"]["schemas"][schema["$ref"].rpartition("/")[2]], made)
        return {name: _resolved(inner, made) for name, inner in schema.items()}
    if isinstance(schema, list):
        return [_resolved(inner, made) for inner in schema]
    return schema
