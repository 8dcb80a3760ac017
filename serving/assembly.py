"""Puts a worker's service together, by its settings: models, what outcomes tell, log, keys, counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from models.fees import read_fees
from models.rules import read_rules
from models.value import Worth
from serving.access_log import AccessLog
from serving.app import App
from serving.doors import Doors
from serving.follow import Follower
from serving.hosts import Hosts, is_loopback
from serving.keeper import watched
from serving.keys import KeyRing
from serving.learning import Policies
from serving.lineup import Models
from serving.loading import Located, Served, load
from serving.log import DecisionLog
from serving.metrics import Meters
from serving.settings import NO_LOG, ServiceSettings
from serving.state import open_state
from serving.swap import Swap

__all__ = ["assemble", "meters_of"]

_FIRST_ANSWER_S = 30.0
_SILENT_S = 60.0


def assemble(settings: ServiceSettings, located: Callable[[], Located | None], followed: Path | None) -> App:
    """The application. `followed` is the watcher's folder, None where no registry is followed: then `located` says once
    where the model is.

    Raises BadInput for rules, fees, a policy, keys or a state that cannot be used: falling back on others would break what
    the merchant asked for, unseen.
    """
    keys = KeyRing(Path(settings.keys)) if settings.keys is not None else None
    log = DecisionLog(settings.log) if settings.log != NO_LOG else None
    models, served = _models(settings, located, followed, log)
    access_log = AccessLog(share=settings.access_log) if settings.access_log else None
    meters = meters_of(settings, models, log, access_log)
    app = App(
        served.engine,
        settings,
        models=models,
        log=log,
        doors=Doors(keys, Hosts(settings.hosts) if is_loopback(settings.host) else None),
        meters=meters,
        access_log=access_log,
    )
    if keys is not None:
        keys.watch()
    if access_log is not None:
        access_log.start()
    meters.watch()
    return app


def _models(
    settings: ServiceSettings, located: Callable[[], Located | None], followed: Path | None, log: DecisionLog | None
) -> tuple[Models, Served]:
    """What answers, and the champion that it begins with."""
    rules = read_rules(Path(settings.rules)) if settings.rules is not None else None
    fees = read_fees(Path(settings.fees)) if settings.fees is not None else None
    policies = Policies(fees, log)
    engines = (rules, Worth(fees) if fees is not None else None, policies.of(settings.policy), settings.salt)

    def with_state(served: Served) -> Served:
        if log is None:
            return served
        state = open_state(settings.state, log, served.engine.predictor, snapshots=settings.snapshots)
        state.catch_up()
        state.start()
        return replace(served, state=state)

    uri = watched(settings) if followed is not None else None
    follower = Follower(
        replace(with_state(load(located() if uri is None else None, *engines)), since=_now()),
        Swap(*engines, clock=_now, prepare=with_state),
        uri=uri,
        folder=followed,
        experiments=Path(settings.experiments) if settings.experiments is not None else None,
        silent_s=_SILENT_S + 3 * settings.follow_s,
        policies=policies,
    )
    follower.start(_FIRST_ANSWER_S)  # the watcher began before this process did
    return follower, follower.current()


def _now() -> int:
    return time.time_ns() // 1_000


def meters_of(
    settings: ServiceSettings,
    models: Models,
    log: DecisionLog | None,
    access_log: AccessLog | None,
    clock: Callable[[], float] = time.time,
) -> Meters:
    """What a worker counts, with what its parts keep; `clock` tells seconds since 1970."""
    meters = Meters(Path(settings.metrics) if settings.metrics is not None else None, clock=clock)
    meters.hook(
        access_log_dropped=(lambda: access_log.dropped) if access_log is not None else None,
        log_backlog=(lambda: log.backlog) if log is not None else None,
        log_dropped=(lambda: log.dropped) if log is not None else None,
        model=lambda: _version(models.lineup().champion),
    )
    return meters


def _version(served: Served) -> tuple[str | None, float]:
    """A model's version, and when the newest attempt that it learnt from was, in seconds since 1970; 0 without one."""
    until = served.card["data"]["window"][1] if served.card is not None else None
    return served.engine.version, datetime.fromisoformat(until).timestamp() if until is not None else 0.0
