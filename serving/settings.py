"""What the service can be told: one frozen dataclass, read from the environment once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from features.errors import BadInput, Fault
from models.kept import FOLDER, NOWHERE

__all__ = [
    "CHAMPION",
    "IN_MEMORY",
    "LOG_VERSION",
    "NOWHERE",
    "NO_LOG",
    "NO_MODEL",
    "NO_SECRET",
    "ServiceSettings",
    "check_state",
]

CHAMPION = "models:/payrescue@champion"
"""The model that is served where none is named: the registry's champion."""


NO_MODEL = "none"
"""Serves on the rules alone."""

NO_LOG = "none"
"""Keeps neither decisions nor outcomes."""

LOG_VERSION = 1
"""Of the decision log's tables."""

IN_MEMORY = "memory"
"""Keeps the online state in each worker."""

_REDIS = ("redis://", "rediss://", "unix://")

NO_SECRET = "payrescue"  # noqa: S105  that it is none is the point
"""The salt of a deployment that has not been given one: everybody knows it."""


@dataclass(frozen=True)
class ServiceSettings:
    """Settings of the service.

    `model` is a folder that holds an artefact, a `models:/` URI of the MLflow registry, or `none`;
    `model_version` is what a folder is called in answers; `rules` a CSV with a merchant's own rules; `fees` a
    YAML file with what attempts cost. `policy` chooses among what may be done (`models.policy_names`); `salt` is what its
    draws are hashed with: a secret of the deployment, the same for all its workers, or customers could foretell what they
    would be shown.
    `log` is the SQLAlchemy URL of the decision log, `none` for no log; `state` is `memory` or a Redis URL. `deadline_ms` is
    what a request has where it does not say. `drain_s`: seconds between the word that it leaves (`/readyz`) and its
    leaving; `most_waiting`: requests of a worker that may wait to be scored. `follow_s` is how often the registry is asked
    which model serves, in seconds; 0 asks at start only. `last_models` is a folder in which what it said last is kept for
    the next start, and a new champion left by whoever made it, `none` for nowhere; `snapshots` is one in which the online
    state in memory is kept for it.
    `experiments` is a YAML file (`serving/experiments.py`). `keys` is a file of API keys; without one, only the machine itself
    is answered. `access_log` is the share of requests that get a line, `metrics` a folder in which the workers share their
    counts. `insights` is a folder of pages for product owners, as `payrescue report` writes it. `hosts` are names under which
    a service without keys is asked, beside the loopback ones; `*` is any. Bodies are in bytes, counts in items.
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
    drain_s: int = 2
    most_waiting: int = 16
    follow_s: int = 2
    last_models: str = FOLDER
    snapshots: str = "payrescue-state"
    experiments: str | None = None
    keys: str | None = None
    access_log: float = 1.0
    metrics: str | None = None
    insights: str | None = None
    hosts: tuple[str, ...] = ()
    most_body_bytes: int = 64 * 1024
    most_batch_bytes: int = 8 * 1024 * 1024
    most_batch: int = 1_000

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ServiceSettings:
        """Settings from `PAYRESCUE_HOST`, `_PORT`, `_WORKERS`, `_MODEL`, `_MODEL_VERSION`, `_RULES`, `_FEES`, `_POLICY`,
        `_SALT`, `_LOG`, `_STATE`, `_DEADLINE_MS`, `_DRAIN_S`, `_MOST_WAITING`, `_FOLLOW_S`, `_LAST_MODELS`, `_SNAPSHOTS`,
        `_EXPERIMENTS`, `_KEYS`, `_ACCESS_LOG` (on, off, or a share), `_METRICS`, `_INSIGHTS` and `_HOSTS` (by commas).

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
            drain_s=_whole(environment, "PAYRESCUE_DRAIN_S", cls.drain_s, 600, least=0),
            most_waiting=_whole(environment, "PAYRESCUE_MOST_WAITING", cls.most_waiting, 100_000),
            deadline_ms=_whole(environment, "PAYRESCUE_DEADLINE_MS", cls.deadline_ms, 60_000),
            follow_s=_whole(environment, "PAYRESCUE_FOLLOW_S", cls.follow_s, 3_600, least=0),
            last_models=environment.get("PAYRESCUE_LAST_MODELS") or cls.last_models,
            snapshots=environment.get("PAYRESCUE_SNAPSHOTS") or cls.snapshots,
            experiments=environment.get("PAYRESCUE_EXPERIMENTS") or None,
            keys=environment.get("PAYRESCUE_KEYS") or None,
            access_log=_share(environment, "PAYRESCUE_ACCESS_LOG", cls.access_log),
            metrics=environment.get("PAYRESCUE_METRICS") or None,
            insights=environment.get("PAYRESCUE_INSIGHTS") or None,
            hosts=tuple(environment.get("PAYRESCUE_HOSTS", "").replace(",", " ").split()),
        )


def _whole(environment: Mapping[str, str], name: str, default: int, most: int, *, least: int = 1) -> int:
    text = environment.get(name)
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise BadInput("environment", [Fault(name, f"a whole number from {least} to {most}", seen=text[:20])])
    return int(text)


def check_state(state: str) -> None:
    """Raises BadInput for what is no online state. What was given is not repeated: it may hold a password."""
    try:
        known = state == IN_MEMORY or (state.startswith(_REDIS) and urlsplit(state).port != 0)
    except ValueError:  # a port that is no number
        known = False
    if not known:
        wanted = f"{IN_MEMORY}, or the URL of a Redis, such as redis://localhost:6379/0"
        raise BadInput("serve", [Fault("--state", wanted)])


def _share(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name)
    if not text:
        return default
    words = {"on": 1.0, "off": 0.0}
    try:
        share = words[text] if text in words else float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise BadInput("environment", [Fault(name, "on, off, or a share from 0 to 1", seen=text[:20])])
    return share
