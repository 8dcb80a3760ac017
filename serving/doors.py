"""Who may come in, and with what: keys with scopes, and no card data in a header or a query.

Without keys only the machine itself is answered, by its own names (`serving/hosts.py`). What a body holds is looked at by its
readers (`serving/values.py`).
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, unquote_plus

from features.cards import contains_card_number, is_secret_name
from serving.hosts import Hosts
from serving.keys import KeyRing
from serving.problems import Problem
from serving.transport import Scope

__all__ = ["OPEN", "SCOPE_OF", "Doors"]

OPEN = frozenset({"/livez", "/healthz", "/readyz", "/openapi.json", "/docs.json", "/schema.json"})
"""Routes that need no key: they tell no more than the source does."""

SCOPE_OF: Mapping[str, str | None] = {
    "/v1/score": "score",
    "/v1/score/batch": "score",
    "/v1/outcomes": "outcomes",
    "/v1/messages/": None,
    "/v1/model": None,
    "/insights": "read",
    "/insights/": "read",
}
"""The scope that a route needs, None for any key; every other route needs `admin`."""

_BY_BROWSER = frozenset({"/insights", "/insights/"})  # browsers ask people for a password, and know of no other key

_LOOPBACK = ("127.", "::1", "::ffff:127.")
_LONG_RUN = re.compile(rb"[0-9][0-9\s._/\-]{11,}[0-9]")  # no card number is without one, in ASCII
_MOST_HEADER_BYTES = 32 * 1024
_UNQUOTED_AT_MOST = 3

# What these hold is made of random digits, which now and then look like a card number; nobody keeps or reads it.
_TRACING = (
    *(b"traceparent", b"tracestate", b"baggage", b"b3", b"x-b3-", b"x-request-id", b"x-datadog-", b"x-cloud-trace-"),
    *(b"x-amzn-trace-id", b"sentry-trace", b"uber-trace-id", b"newrelic"),
)
_USUAL = frozenset(
    b"accept accept-encoding accept-language authorization cache-control connection content-length content-type "
    b"cookie host origin referer user-agent x-api-key x-deadline-ms x-forwarded-for x-forwarded-host x-forwarded-port "
    b"x-forwarded-proto x-real-ip x-request-id traceparent tracestate".split()
)
"""Names that need no second look."""


class Doors:
    """Lets requests in or raises a Problem. `keys` None: there are none, and only loopback is let in.

    `hosts` are the names under which it is then asked; None: any.
    """

    def __init__(self, keys: KeyRing | None = None, hosts: Hosts | None = None) -> None:
        self._keys, self._hosts = keys, hosts

    @property
    def keyed(self) -> bool:
        """Whether keys are needed."""
        return self._keys is not None

    def admit(self, scope: Scope, route: str) -> None:
        """Raises Problem 401 or 403 for who may not ask this route, 400 or 431 for what the request line or headers hold."""
        self.check_key(scope, route)
        _check_headers(scope["headers"])
        query = scope.get("query_string", b"")
        if query:
            _check_query(query)

    def check_key(self, scope: Scope, route: str) -> None:
        """Raises Problem 401 or 403 for who may not ask this route."""
        if route in OPEN:
            return
        needed = SCOPE_OF.get(route, "admin")
        if self._keys is None:
            self._check_machine(scope)
            return
        secret = _secret_of(scope)
        if route in _BY_BROWSER:
            secret = secret or _password_of(scope)
            if secret is None or self._keys.find(secret) is None:
                raise _asked_by_browser()
        if secret is None:
            raise _unauthorized("Send a key, as Authorization: Bearer KEY or as X-Api-Key: KEY.")
        key = self._keys.find(secret)
        if key is None:
            raise _unauthorized("This key is none of the service's.", ', error="invalid_token"')
        if not key.opens(needed):
            raise Problem(
                403,
                "forbidden",
                "The key is not for this",
                f"This address wants a key of scope {needed}.",
                headers={"www-authenticate": f'Bearer realm="payrescue", error="insufficient_scope", scope="{needed}"'},
            )

    def _check_machine(self, scope: Scope) -> None:
        client = scope.get("client")
        if client is not None and not client[0].startswith(_LOOPBACK):
            raise _unauthorized("This service has no keys, so it answers its own machine only: payrescue keys add.")
        if self._hosts is None:
            return
        for name, value in scope["headers"]:
            if name == b"host" and not self._hosts.has(value):
                raise _other_host()


def _other_host() -> Problem:
    return Problem(
        403,
        "other_host",
        "The service is not asked by this name",
        "This service has no keys, so it answers to localhost and loopback addresses only, lest websites ask it through a "
        "browser. Ask it by one of these, name others in PAYRESCUE_HOSTS, or make keys: payrescue keys add.",
    )


def _unauthorized(detail: str, more: str = "") -> Problem:
    headers = {"www-authenticate": f'Bearer realm="payrescue"{more}'}
    return Problem(401, "unauthorized", "A key is needed", detail, headers=headers)


def _asked_by_browser() -> Problem:
    return Problem(
        401,
        "unauthorized",
        "A key is needed",
        "Give any name, and a key of scope read as the password.",
        headers={"www-authenticate": 'Basic realm="payrescue", charset="UTF-8"'},
    )


def _password_of(scope: Scope) -> str | None:
    """The password of HTTP's basic authentication (RFC 7617), None where there is none."""
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:6].lower() == b"basic ":
            try:
                told = b64decode(value[6:].strip(), validate=True)
            except ValueError:
                return None
            return str(told.partition(b":")[2], "latin-1")
    return None


def _secret_of(scope: Scope) -> str | None:
    """The key that a request carries: a bearer token, else X-Api-Key."""
    other: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return str(value[7:].strip(), "latin-1")
        if name == b"x-api-key":
            other = value
    return str(other.strip(), "latin-1") if other is not None else None


def _check_headers(headers: Iterable[tuple[bytes, bytes]]) -> None:
    together = b"|".join([part for header in headers for part in header])
    if len(together) > _MOST_HEADER_BYTES:
        raise Problem(
            431,
            "headers_too_large",
            "The headers are too large",
            f"All headers together may have up to {_MOST_HEADER_BYTES} bytes.",
            headers={"connection": "close"},
        )
    suspicious = not together.isascii() or _LONG_RUN.search(together) is not None
    for name, value in headers:
        if name not in _USUAL and _is_secret(name):
            raise _card_data("header")
        if suspicious and not name.startswith(_TRACING) and (_holds_card_number(name) or _holds_card_number(value)):
            raise _card_data("header")


def _is_secret(name: bytes) -> bool:
    return is_secret_name(str(name.removeprefix(b"x-"), "latin-1"))


def _holds_card_number(raw: bytes) -> bool:
    return contains_card_number(str(raw, "utf-8", "replace"))


def _check_query(query: bytes) -> None:
    text = str(query, "latin-1")
    for _ in range(_UNQUOTED_AT_MOST):
        names = [name for name, _ in parse_qsl(text, keep_blank_values=True)]
        if contains_card_number(text) or any(map(is_secret_name, names)):
            raise _card_data("query")
        further = unquote_plus(text)
        if further == text:
            return
        text = further


def _card_data(where: str) -> Problem:
    return Problem(
        400,
        "card_number",
        "Card data was sent",
        f"A card number or a security code stands in the {where}. This service must never be sent either; "
        "nothing of the request was kept or logged.",
    )
