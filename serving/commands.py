"""`payrescue serve`: checks what it was given, says where it listens, and starts the workers."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from features.errors import BadInput, Fault
from models.fees import read_fees
from models.policies import Budget, Greedy, Rules
from models.policy_names import policy_named
from models.rules import read_rules
from serving.experiments import read_experiments
from serving.keys import read_keys
from serving.log_commands import check_log
from serving.settings import NO_MODEL, NO_SECRET, ServiceSettings, check_state
from serving.workers import SERVICE, before_them, configured_by_bentoml, watch_over

__all__ = ["command", "greeting", "serve"]

_EXAMPLE = (
    '{"attempt": {"attempt_id": "a1", "payment_id": "p1", "created_at": "2026-01-05T09:30:00Z", '
    '"amount_minor": 38000, "currency": "KRW", "country": "KR", "method": "card"}, '
    '"evidence": {"code_scheme": "iso8583", "response_code": "51"}}'
)


def command(settings: ServiceSettings, environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """What starts BentoML's own server: the program with its arguments, and its environment, by which workers are told, too."""
    words = [sys.executable, "-m", "bentoml", "serve", SERVICE]
    told = {
        "PAYRESCUE_HOST": settings.host,
        "PAYRESCUE_PORT": str(settings.port),
        "PAYRESCUE_WORKERS": str(settings.workers),
        "PAYRESCUE_MODEL": settings.model,
        "PAYRESCUE_RULES": settings.rules or "",
        "PAYRESCUE_FEES": settings.fees or "",
        "PAYRESCUE_LOG": settings.log,
        "PAYRESCUE_STATE": settings.state,
        "PAYRESCUE_EXPERIMENTS": settings.experiments or "",
        "PAYRESCUE_KEYS": settings.keys or "",
        "PAYRESCUE_INSIGHTS": settings.insights or "",
        "PAYRESCUE_ACCESS_LOG": str(settings.access_log),
        "PAYRESCUE_POLICY": settings.policy,
        "BENTOML_DO_NOT_TRACK": "True",
        "OTEL_SDK_DISABLED": "true",
    }
    # BentoML's own variables would win over what was asked for here.
    kept = {name: value for name, value in environment.items() if name not in {"BENTOML_HOST", "BENTOML_PORT"}}
    return words, kept | told


def greeting(settings: ServiceSettings) -> str:
    """Where the server listens, and a question to try.

    >>> print(greeting(ServiceSettings()).splitlines()[0])
    Payrescue listens on http://127.0.0.1:3000 (models:/payrescue@champion; until there is one, the rules)
    """
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{settings.port}"
    key = " -H 'authorization: Bearer KEY'" if settings.keys is not None else ""
    model = "the rules alone" if settings.model == NO_MODEL else f"{settings.model}; until there is one, the rules"
    return (
        f"Payrescue listens on {url} ({model})\n"
        f"Ask it: curl -s {url}/v1/score -H 'content-type: application/json'{key} -d '{_EXAMPLE}'\n"
        f"{_no_secret(settings)}"
        "Ctrl-C stops it.\n"
    )


def _no_secret(settings: ServiceSettings) -> str:
    """What to know where a policy may draw, and everybody could."""
    draws = settings.policy.partition(":")[0] not in {Greedy.name, Rules.name, Budget.name}
    if settings.salt != NO_SECRET or not draws:
        return ""
    return (
        f"PAYRESCUE_SALT is not set: whoever knows that can foretell what {settings.policy} draws; set it to a secret\n"
    )


def _check(settings: ServiceSettings) -> None:
    model = settings.model
    if model != NO_MODEL and not model.startswith("models:/") and not Path(model).is_dir():
        wanted = f"a folder with a model, models:/NAME@ALIAS, models:/NAME/VERSION, or {NO_MODEL}"
        raise BadInput("serve", [Fault("--model", wanted, seen=model)])
    if settings.rules is not None:
        read_rules(Path(settings.rules))
    fees = read_fees(Path(settings.fees)) if settings.fees is not None else None
    policy_named(settings.policy, fees)
    check_log(settings.log)
    check_state(settings.state)
    if settings.experiments is not None:
        read_experiments(Path(settings.experiments), partial(policy_named, fees=fees))
    if settings.keys is not None:
        read_keys(Path(settings.keys))
    if settings.insights is not None and not Path(settings.insights).is_dir():
        raise BadInput("serve", [Fault("--insights", "a folder that payrescue report wrote", seen=settings.insights)])
    try:
        address = ipaddress.ip_address(settings.host)
    except ValueError:
        raise BadInput(
            "serve", [Fault("--host", "an IP address, such as 127.0.0.1 or 0.0.0.0", seen=settings.host)]
        ) from None
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except (OSError, OverflowError):
            wanted = "an address and a port that are free here"
            raise BadInput("serve", [Fault("--port", wanted, seen=f"{settings.host} {settings.port}")]) from None
    if settings.keys is None and not address.is_loopback:
        wanted = (
            "127.0.0.1, or keys: payrescue keys add checkout --scope score --scope outcomes --file keys.yaml, then "
        )
        raise BadInput("serve", [Fault("--host", wanted + "serve --keys keys.yaml", seen=settings.host)])


def serve(given: Mapping[str, Any], *, say: Callable[[str], object] = sys.stdout.write) -> None:
    """Serves until it is told to end.

    `given` are settings by their names in `ServiceSettings`; what is not given, or None, is taken from the environment, else
    from the defaults. Raises BadInput for a model folder that is none; rules, fees, a policy, a log, a state, experiments or
    keys that cannot be used; a host that is no address or, without keys, is not loopback; a port that is taken.
    """
    told = {name: value for name, value in given.items() if value is not None}
    environment = {**os.environ, **({"PAYRESCUE_ACCESS_LOG": told.pop("access_log")} if "access_log" in told else {})}
    settings = replace(ServiceSettings.from_environment(environment), **told)
    if settings.host == "localhost":
        settings = replace(settings, host="127.0.0.1")
    _check(settings)
    say(greeting(settings))
    sys.stdout.flush()
    words, environment = command(settings, os.environ)
    if configured_by_bentoml(environment):
        os.execve(words[0], words, environment)  # noqa: S606  no shell is wanted
    os.environ.clear()
    os.environ.update(environment)
    before_them(settings)
    watch_over(settings)
