"""The commands that help to choose settings: a training's dry run, backtest, ablate and tune."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import BadInput, Fault
from training.commands import overrides
from training.console import progress
from training.output import write_text
from training.settings import TrainSettings, as_config, read_settings
from training.spoken import signed

if TYPE_CHECKING:
    import pandas as pd

    from training.engine import Engine

__all__ = ["Source", "ablate", "backtest", "dry_run", "tune"]


class Source(NamedTuple):
    """Where attempts come from, and how a model is made of them, as the options say it."""

    data: str
    query: str | None
    mapping: str | None
    config: Path | None
    sets: Sequence[str]


def _settings(source: Source) -> TrainSettings:
    # As in training: LightGBM's threads wait in a loop unless told otherwise
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return read_settings(source.config, overrides(source.sets))


@contextlib.contextmanager
def _work(settings: TrainSettings, tell: Callable[[str], None]) -> Iterator[Engine]:
    """Where a training would do its work, so that a table that is read in pieces there is so here."""
    from training.engine import engine

    with engine("local", None, settings, tell) as work:
        yield work


def _read(work: Engine, source: Source, *others: TrainSettings) -> pd.DataFrame:
    """The checked table."""
    from training import tracking
    from training.train import check_enough

    table = work.read(source.data, source.query, source.mapping, now=datetime.now(UTC), others=others)
    check_enough(table, tracking.without_password(source.data))
    return table


def _log(kind: str, found: Mapping[str, Any], draw: Callable[[], Any], metrics: Mapping[str, float]) -> None:
    """Log JSON, picture and metrics into the active run."""
    import mlflow

    from training.drawing import save_picture

    mlflow.set_tag("kind", kind)
    mlflow.log_metrics(dict(metrics))
    mlflow.log_dict(dict(found), f"{kind}.json")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{kind}.png")
        if save_picture(draw, path):
            mlflow.log_artifact(str(path))


def _where(where: str, run_id: str) -> str:
    return f"MLflow: {where}, run {run_id}; look at it with `mlflow ui --backend-store-uri {where}`"


def dry_run(source: Source) -> None:
    """`payrescue train --dry-run`."""
    from training import tracking
    from training.dry_run import as_text, foreseen

    settings = _settings(source)
    with progress("looking") as (tell, _), _work(settings, tell) as work:
        table = _read(work, source)
        where = tracking.store()
        found = foreseen(table, settings, tell)
    lines = as_text(found, settings)
    lines.append(f"tracked at: {where}, experiment {settings.experiment}; a new version of {settings.model_name}")
    lines.append("nothing was trained, logged or registered")
    print("\n".join(lines))  # noqa: T201


def backtest(source: Source, against: Path | None, output: Path | None) -> None:
    """`payrescue backtest`."""
    from dataclasses import asdict

    import mlflow

    from features.rows import Encoder
    from training import tracking
    from training.backtest import backtest as run
    from training.backtest import compare_folds, figures, told_as_text, verdict
    from training.drawing import draw_folds

    settings = _settings(source)
    other = _alike(read_settings(against), settings) if against is not None else None
    with progress("backtest") as (tell, far), _work(settings, tell) as work:
        table = _read(work, source, *([other] if other is not None else []))
        where = tracking.store()
        data = work.prepare(table)
        with tracking.run(settings) as active:
            mlflow.log_params(asdict(settings))
            told, folds = run(data, settings, tell)
            far(0.5 if other is not None else 1.0)
            found = figures(data, told, folds, settings)
            difference = None
            if other is not None:
                tell(f"the same folds, with the settings of {against}")
                theirs = work.prepare(table, Encoder.fit(table, other.own))
                difference = compare_folds(data, told, run(theirs, other, tell)[0], settings)
                found["against"] = {"config": str(against), **difference.as_dict()}
                far(1.0)
            for step, fold in enumerate(found["folds"]):
                mlflow.log_metrics({f"fold.{n}": fold[n]["value"] for n in found["all"] if n in fold}, step=step)
            metrics = {name: one["value"] for name, one in found["all"].items()}
            metrics |= {f"{name}.spread": value for name, value in found["spread"].items()}
            _log("backtest", found, lambda: draw_folds(found, found.get("against")), metrics)
    if output is not None:
        write_text(json.dumps(found, indent=1), output)
    lines = [
        f"{len(folds)} blocks of time, each told by what was known {settings.gap_hours:g} h before it (95 % intervals):"
    ]
    lines += told_as_text(found)
    if difference is not None:
        lines += [
            "",
            f"log loss of success, minus that with {against}; paired, below zero is better:",
            f"  by payments  {difference.pooled}",
            f"  by folds     {difference.folds}",
            f"  {verdict(difference)}",
        ]
    lines.append(_where(where, active.info.run_id))
    print("\n".join(lines))  # noqa: T201


def _alike(other: TrainSettings, settings: TrainSettings) -> TrainSettings:
    """Other settings, judged as these are: the same folds, labels, chance."""
    names = ("folds", "gap_hours", "mature_minutes", "seed", "threads", "test_share", "resamples")
    return replace(other, **{name: getattr(settings, name) for name in names})


def ablate(source: Source, groups: str | None, output: Path | None) -> None:
    """`payrescue ablate`."""
    from dataclasses import asdict

    import mlflow

    from training import tracking
    from training.ablation import ablate as run
    from training.ablation import groups_of
    from training.drawing import draw_ablation

    settings = replace(
        _settings(source), select_below_rows=0
    )  # chosen features would differ from one ablation to the next
    known = groups_of(settings)
    asked = tuple(name.strip() for name in groups.split(",")) if groups else known
    strange = [name for name in asked if name not in known]
    if strange:
        raise BadInput("--groups", [Fault("group", f"one of {', '.join(known)}", seen=name[:40]) for name in strange])
    with progress("ablation") as (tell, far), _work(settings, tell) as work:
        data = work.prepare(_read(work, source))
        where = tracking.store()
        with tracking.run(settings) as active:
            mlflow.log_params(asdict(settings))
            found = run(data, settings, asked, tell, far)
            metrics = {f"without.{row['group']}": row["difference"]["pooled"]["value"] for row in found}
            _log("ablation", {"groups": found}, lambda: draw_ablation(found), metrics)
    if output is not None:
        write_text(json.dumps({"groups": found}, indent=1), output)
    lines = [f"{'without':<16}{'features':>9}{'change of log loss, by payments':>44}{'by folds':>30}"]
    for row in found:
        pooled, folds = row["difference"]["pooled"], row["difference"]["folds"]
        lines.append(
            f"{row['group']:<16}{row['features']:>9}{signed(pooled, 5):>44}{signed(folds, 5):>30}  {row['verdict']}"
        )
    n = found[0]["difference"]["pooled"]["n"]
    lines.append(f"above zero: it is missed. {n:,} attempts, {settings.folds} blocks of time, 95 % intervals")
    better = [f"group:{row['group']}" for row in found if row["verdict"] == "better without"]
    if better:
        lines.append(
            f"to go without: --set leave_out={','.join(better)}; the last slice of time, not looked at here, then judges"
        )
    lines.append(_where(where, active.info.run_id))
    print("\n".join(lines))  # noqa: T201


def tune(source: Source, trials: int, timeout_s: float | None, storage: str | None, output: Path) -> None:
    """`payrescue tune`."""
    from dataclasses import asdict

    import mlflow

    from training import tracking
    from training.drawing import draw_trials
    from training.tune import SPACE, Searched, gain_on_folds, gain_on_last_slice, open_study, search, tuned

    if trials < 1:
        raise BadInput("--trials", [Fault("trials", "1 or more", seen=str(trials))])
    settings = replace(_settings(source), select_below_rows=0)  # features are chosen once, in the training that follows
    with progress("tuning") as (tell, far), _work(settings, tell) as work:
        data = work.prepare(_read(work, source))
        where = tracking.store()
        study = open_study(storage or beside(os.environ["MLFLOW_TRACKING_URI"]), data, settings)
        before = len(study.trials)
        if before:
            tell(f"{before} trials were made before; going on")
        with _run_of(study, settings) as active:
            if not before:
                mlflow.log_params(asdict(settings))

            def ended(trial: Searched) -> None:
                with mlflow.start_run(run_name=f"trial {trial.number}", nested=True):
                    mlflow.log_params(trial.parameters)
                    mlflow.set_tags({"kind": "trial", "state": trial.state})
                    for step, value in trial.by_fold.items():
                        mlflow.log_metric("log_loss_so_far", value, step=step)
                    if trial.value is not None:
                        mlflow.log_metric("success_log_loss", trial.value)
                far(min(1.0, (trial.number + 1) / trials))
                told = f"log loss {trial.value:.5f}" if trial.state == "complete" else trial.state
                tell(f"trial {trial.number}: {told}")

            through = search(study, data, settings, trials=trials, timeout_s=timeout_s, ended=ended)
            result = tuned(study, settings)
            if result is None:
                raise BadInput("tune", message="no trial was finished; start it again to go on")
            best, made = result
            found: dict[str, Any] = {
                "study": study.study_name,
                "trials": [asdict(trial) for trial in made],
                "settings": {name: getattr(best, name) for name in SPACE},
            }
            if best != settings:
                tell("how much of the gain is beyond noise: the best against the settings given, on the folds")
                on_folds = gain_on_folds(data, best, settings, tell)
                tell("and once on the last slice of time, which the search has not seen")
                last = gain_on_last_slice(data, best, settings)
                found |= {"on_folds": on_folds.as_dict(), "on_last_slice": last.as_dict()}
                mlflow.log_metrics({"gain.folds": on_folds.pooled.value, "gain.last_slice": last.value})
            _log("tune", found, lambda: draw_trials(found["trials"]), {"best": min(_values(found))})
    states = [trial.state for trial in made]
    lines = [
        f"{states.count('complete')} trials finished, {states.count('pruned')} pruned"
        + ("" if through else "; interrupted: the same command goes on"),
    ]
    said = "the settings that it began with are the best that was found; nothing is to be changed"
    if best != settings:
        said = _gain(on_folds.real, last)
        lines += [
            "change of log loss of success, best against the settings given; below zero is better (95 % intervals):",
            f"  on the folds, which chose it  by payments {on_folds.pooled}; by folds {on_folds.folds}",
            f"  on the last slice, unseen     {last}",
        ]
    lines.append(said)
    chosen = replace(best, select_below_rows=_settings(source).select_below_rows)
    write_text(f"# {said}\n{as_config(chosen)}", output)
    lines += [
        f"settings in {output}; next: payrescue train --data {source.data} --config {output}",
        _where(where, active.info.run_id),
    ]
    print("\n".join(lines))  # noqa: T201


def _values(found: Mapping[str, Any]) -> list[float]:
    return [trial["value"] for trial in found["trials"] if trial["state"] == "complete"]


def _gain(on_folds: bool, last: Any) -> str:
    """What is left of a gain where nobody looked while searching."""
    if last.high < 0.0:
        return "the gain is beyond noise on attempts that the search had not seen: train with it"
    if last.low > 0.0:
        return "it is WORSE, beyond noise, on attempts that the search had not seen: keep the settings given"
    kept = "on the folds it looks real" if on_folds else "nor is it on the folds"
    unseen = f"the gain is not beyond noise on attempts that the search had not seen ({kept})"
    return f"{unseen}: keep the settings given, or search on more data"


def beside(tracking_uri: str) -> str:
    """Where studies are kept: in a file beside MLflow's, or in the current folder if MLflow is on a server.

    >>> beside("sqlite:///runs/mlflow.db"), beside("http://host:5000")
    ('sqlite:///runs/optuna.db', 'sqlite:///optuna.db')
    """
    prefix = "sqlite:///"
    if not tracking_uri.startswith(prefix):
        return f"{prefix}optuna.db"
    return f"{prefix}{Path(tracking_uri.removeprefix(prefix)).with_name('optuna.db')}"


def _run_of(study: Any, settings: TrainSettings) -> Any:
    """The run of a study: the one that it began in, if there is one; else the one that `mlflow run` began, or a new one."""
    import mlflow
    from mlflow.exceptions import MlflowException

    begun = os.environ.pop("MLFLOW_RUN_ID", None)  # or each trial, too, would be logged into that run
    run_id = study.user_attrs.get("mlflow_run")
    if run_id is not None:
        try:
            mlflow.MlflowClient().get_run(run_id)
        except MlflowException:
            run_id = None  # of another store: it goes on in a new run
    if run_id is None:
        run_id = begun
        if run_id is None:
            experiment = mlflow.set_experiment(settings.experiment).experiment_id
            run_id = mlflow.MlflowClient().create_run(experiment, run_name="tune").info.run_id
        study.set_user_attr("mlflow_run", run_id)
    return mlflow.start_run(run_id=run_id)
