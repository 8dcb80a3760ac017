"""`payrescue serve`: checks what it was given, says where it listens, and becomes BentoML's server."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from features.errors import BadInput, Fault
from models.fees import read_fees
from models.rules import read_rules
from serving.log_commands import check_log
from serving.experiments import read_experiments
from serving.keys import read_keys
from serving.settings import NO_MODEL, ServiceSettings
from serving.settings import NO_MODEL, ServiceSettings, check_state

__all__ = ["command", "greeting", "serve"]

_EXAMPLE = (
    '{"attempt": {"attempt_id": "a1", "payment_id": "p1", "created_at": "2026-01-05T09:30:00Z", '
    '"amount_minor": 38000, "currency": "KRW", "country": "KR", "method": "card"}, '
    '"evidence": {"code_scheme": "iso8583", "response_code": "51"}}'
)


def command(settings: ServiceSettings, environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """What starts the server: the program with its arguments, and its environment."""
    words = [sys.executable, "-m", "bentoml", "serve", "serving.service:Payrescue"]
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
        "PAYRESCUE_ACCESS_LOG": str(settings.access_log),
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
        "Ctrl-C stops it.\n"
    )


def _check(settings: ServiceSettings) -> None:
    model = settings.model
    if model != NO_MODEL and not model.startswith("models:/") and not Path(model).is_dir():
        wanted = f"a folder with a model, models:/NAME@ALIAS, models:/NAME/VERSION, or {NO_MODEL}"
        raise BadInput("serve", [Fault("--model", wanted, seen=model)])
    if settings.rules is not None:
        read_rules(Path(settings.rules))
    if settings.fees is not None:
        read_fees(Path(settings.fees))
    check_log(settings.log)
    check_state(settings.state)
    if settings.experiments is not None:
        read_experiments(Path(settings.experiments))
    if settings.keys is not None:
        read_keys(Path(settings.keys))
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


def serve(
    host: str | None = None,
    port: int | None = None,
    model: str | None = None,
    workers: int | None = None,
    rules: str | None = None,
    fees: str | None = None,
    log: str | None = None,
    state: str | None = None,
    experiments: str | None = None,
    *,
    keys: str | None = None,
    access_log: str | None = None,
    say: Callable[[str], object] = sys.stdout.write,
) -> None:
    """Becomes the server; does not return.

    What is None is taken from the environment, else from the defaults of `ServiceSettings`. Raises BadInput
    for a model folder that is none, rules, fees or a log that cannot be used, a host that is no address, or a port that is taken.
    for a model folder that is none, rules, fees or a state that cannot be used, a host that is no address, or a port that
    is taken.
    for a model folder that is none, for rules, fees or experiments that cannot be used, a host that is no address, or a port
    that is taken.
    for a model folder that is none, rules, fees or keys that cannot be used, a host that is no address or, without keys, is
    not loopback, or a port that is taken.
    """
    told = ServiceSettings.from_environment(
        os.environ if access_log is None else {**os.environ, "PAYRESCUE_ACCESS_LOG": access_log}
    )
    settings = ServiceSettings(
        host="127.0.0.1" if host == "localhost" else host or told.host,
        port=port or told.port,
        model=model or told.model,
        workers=workers or told.workers,
        rules=rules or told.rules,
        fees=fees or told.fees,
        log=log or told.log,
        state=state or told.state,
        experiments=experiments or told.experiments,
        keys=keys or told.keys,
        access_log=told.access_log,
    )
    _check(settings)
    say(greeting(settings))
    sys.stdout.flush()
    words, environment = command(settings, os.environ)
    os.execve(words[0], words, environment)  # noqa: S606  no shell is wanted
