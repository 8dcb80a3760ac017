"""What the service can be told: one frozen dataclass, read from the environment once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from features.errors import BadInput, Fault

__all__ = ["CHAMPION", "NO_MODEL", "NO_SECRET", "ServiceSettings"]

CHAMPION = "models:/payrescue@champion"
"""The model that is served where none is named: the registry's champion."""


NO_MODEL = "none"
"""Serves on the rules alone."""

NO_SECRET = "payrescue"  # noqa: S105  that it is none is the point
"""The salt of a deployment that has not been given one: everybody knows it."""


@dataclass(frozen=True)
class ServiceSettings:
    """Settings of the service.

    `model` is a folder that holds an artefact, a `models:/` URI of the MLflow registry, or `none`;
    `model_version` is what a folder is called in answers; `rules` a CSV with a merchant's own rules; `fees` a
    YAML file with what attempts cost. `policy` chooses among what may be done (`models.policy_names`); `salt` is what its
    draws are hashed with: a secret of the deployment, the same for all its workers, or customers could foretell what they
    would be shown. `log` is the SQLAlchemy URL of the decision log, `none` for no log; `state` is
    `memory` or a Redis URL. `deadline_ms` is what a request has where it does not say. Bodies are in bytes,
    counts in items.
    """

    host: str = "127.0.0.1"
    port: int = 3000
    workers: int = 1
    model: str = CHAMPION
    model_version: str | None = None
    rules: str | None = None
    fees: str | None = None
    policy: str = "greedy"
    salt: str = field(default=NO_SECRET, repr=False)
    log: str = "sqlite:///payrescue-log.db"
    state: str = "memory"
    deadline_ms: int = 200
    most_body_bytes: int = 64 * 1024
    most_batch_bytes: int = 8 * 1024 * 1024
    most_batch: int = 1_000

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ServiceSettings:
        """Settings from `PAYRESCUE_HOST`, `_PORT`, `_WORKERS`, `_MODEL`, `_MODEL_VERSION`, `_RULES`, `_FEES`,
        `_POLICY`, `_SALT`, `_LOG`, `_STATE` and `_DEADLINE_MS`.

        Raises BadInput naming the variable.

        >>> ServiceSettings.from_environment({"PAYRESCUE_PORT": "3100"}).port
        3100
        """
        return cls(
            host=environment.get("PAYRESCUE_HOST", cls.host),
            port=_whole(environment, "PAYRESCUE_PORT", cls.port, 65_535),
            workers=_whole(environment, "PAYRESCUE_WORKERS", cls.workers, 64),
            model=environment.get("PAYRESCUE_MODEL") or cls.model,
            model_version=environment.get("PAYRESCUE_MODEL_VERSION") or None,
            rules=environment.get("PAYRESCUE_RULES") or None,
            fees=environment.get("PAYRESCUE_FEES") or None,
            policy=environment.get("PAYRESCUE_POLICY") or cls.policy,
            salt=environment.get("PAYRESCUE_SALT") or NO_SECRET,
            log=environment.get("PAYRESCUE_LOG") or cls.log,
            state=environment.get("PAYRESCUE_STATE") or cls.state,
            deadline_ms=_whole(environment, "PAYRESCUE_DEADLINE_MS", cls.deadline_ms, 60_000),
        )


def _whole(environment: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = environment.get(name)
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise BadInput("environment", [Fault(name, f"a whole number from 1 to {most}", seen=text[:20])])
    return int(text)
