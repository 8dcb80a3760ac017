"""A search for better settings of the trees, on rolling-origin folds that end before the slice that judges.

The study is kept in a file of its own: what was tried is not tried again, and a search that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from training.backtest import Difference, backtest, compare_folds, losses
from training.folds import rolling_folds, told_by_folds
from training.metrics import Estimate
from training.quality import Judged
from training.settings import TrainSettings
from training.split import split_by_time
from training.train import Prepared, fit_outcome_model

if TYPE_CHECKING:
    import optuna

__all__ = ["SPACE", "Searched", "gain_on_folds", "gain_on_last_slice", "open_study", "search", "tuned"]

Tell = Callable[[str], None]


@dataclass(frozen=True)
class _Range:
    """Where a setting is looked for, evenly or, if `log`, evenly in its logarithm."""

    low: float
    high: float
    log: bool = False


SPACE: dict[str, _Range] = {
    "learning_rate": _Range(0.01, 0.2, log=True),
    "num_leaves": _Range(4, 63, log=True),
    "min_data_in_leaf": _Range(10, 500, log=True),
    "feature_fraction": _Range(0.2, 1.0),
    "bagging_fraction": _Range(0.5, 1.0),
    "stage_learning_rate": _Range(0.02, 0.15, log=True),
    "stage_num_leaves": _Range(3, 31, log=True),
    "stage_min_data_in_leaf": _Range(20, 500, log=True),
    "stage_feature_fraction": _Range(0.1, 1.0),
}
"""The settings that are searched, and where."""

_FEW_BEFORE_PRUNING = 4
_GIVEN = "given"  # the trial of the settings that the search began with


@dataclass(frozen=True)
class Searched:
    """One trial as it ended: `value` is the mean log loss of success over the folds, nats; None where there is none."""

    number: int
    state: str
    value: float | None
    parameters: dict[str, float]
    by_fold: dict[int, float]
    given: bool = False


def open_study(storage: str, data: Prepared, settings: TrainSettings) -> optuna.Study:
    """The study of this data and these settings: a new one, or the one that was begun."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    fixed = {name: value for name, value in asdict(settings).items() if name not in {"threads", "experiment"}}
    about = [fixed, [[name, asdict(one)] for name, one in SPACE.items()], len(data.rows)]
    told = hashlib.sha256(json.dumps(about).encode() + data.rows.created.tobytes() + data.outcome.tobytes())
    return optuna.create_study(
        storage=storage,
        study_name=f"payrescue-{told.hexdigest()[:16]}",
        direction="minimize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_FEW_BEFORE_PRUNING),
    )


def search(
    study: optuna.Study,
    data: Prepared,
    settings: TrainSettings,
    *,
    trials: int,
    timeout_s: float | None,
    ended: Callable[[Searched], None] = lambda _: None,
) -> bool:
    """Try settings until the study has so many trials, or the time is over; the given settings first. Whether it got so far.

    A trial that is worse than the median of the others after some folds is pruned. An interrupt (Ctrl-C) ends the search and
    keeps what was done.
    """
    import optuna

    finished = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    done = len(study.get_trials(deepcopy=False, states=finished))
    folds = rolling_folds(data, settings, before_test=True)

    def objective(trial: optuna.Trial) -> float:
        changes: dict[str, Any] = {name: _suggested(trial, name, one) for name, one in SPACE.items()}
        # What the search may name is narrower than what settings may be
        tried = settings if _GIVEN in trial.user_attrs else replace(settings, **changes)
        found: list[float] = []
        for number, told in enumerate(told_by_folds(data, tried, folds)):
            found.append(float(losses(data, told).mean()))
            trial.report(float(np.mean(found)), number)
            if number + 1 < len(folds) and trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(found))

    if not done:
        study.enqueue_trial(_begin_with(settings), user_attrs={_GIVEN: True})
    study.sampler = optuna.samplers.TPESampler(seed=settings.seed + len(study.get_trials(deepcopy=False)))
    with suppress(KeyboardInterrupt):
        if trials > done:
            study.optimize(
                objective,
                n_trials=trials - done,
                timeout=timeout_s,
                callbacks=[lambda _, trial: ended(_told(trial))],
            )
        return True
    return False


def _begin_with(settings: TrainSettings) -> dict[str, float]:
    """The settings as the search names them: where 0 stands for a default, that default."""
    stood_for = {"stage_learning_rate": 0.05, "stage_num_leaves": 6}
    return {
        name: min(max(getattr(settings, name) or stood_for[name], one.low), one.high) for name, one in SPACE.items()
    }


def _suggested(trial: optuna.Trial, name: str, one: _Range) -> float:
    if isinstance(getattr(TrainSettings(), name), int):
        return int(trial.suggest_int(name, int(one.low), int(one.high), log=one.log))
    return float(trial.suggest_float(name, one.low, one.high, log=one.log))


def _told(trial: optuna.trial.FrozenTrial) -> Searched:
    return Searched(
        trial.number,
        trial.state.name.lower(),
        trial.value,
        dict(trial.params),
        {int(step): float(value) for step, value in trial.intermediate_values.items()},
        _GIVEN in trial.user_attrs,
    )


def tuned(study: optuna.Study, settings: TrainSettings) -> tuple[TrainSettings, list[Searched]] | None:
    """The best settings, rounded to four digits, and all trials; None where none was finished."""
    trials = [_told(trial) for trial in study.get_trials(deepcopy=False)]
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    if not complete:
        return None
    best = min(complete, key=lambda trial: trial.value or 0.0)
    if best.given:
        return settings, trials
    values: dict[str, Any] = {
        name: value if isinstance(value, int) else float(f"{value:.4g}") for name, value in best.parameters.items()
    }
    return replace(settings, **values), trials


def gain_on_folds(
    data: Prepared, best: TrainSettings, settings: TrainSettings, tell: Tell = lambda _: None
) -> Difference:
    """The best settings against those given, paired on the folds that they were chosen by: it flatters them."""
    ours, _ = backtest(data, best, tell, before_test=True)
    theirs, _ = backtest(data, settings, tell, before_test=True)
    return compare_folds(data, ours, theirs, settings)


def gain_on_last_slice(data: Prepared, best: TrainSettings, settings: TrainSettings) -> Estimate:
    """The change of the log loss of success on the last slice of time, which the search has not seen; below zero is better."""
    shares = (settings.stop_share, settings.calibrate_share, settings.test_share)
    split = split_by_time(data.payment, data.rows.created, data.known_at, shares)
    rows = split["test"] & (data.outcome >= 0)
    judged = Judged(data.outcome[rows], data.payment[rows], resamples=settings.resamples, seed=settings.seed)
    ours, theirs = (
        judged.success_losses(
            fit_outcome_model(data, split, one, reasons=False)[0].outcome_probability(data.matrix[rows])
        )
        for one in (best, settings)
    )
    return judged.all.mean(ours - theirs)
