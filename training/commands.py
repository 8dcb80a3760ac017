"""The commands of the command line that learn from attempts or work on tables of them."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import ArtifactMismatch, BadInput, Fault, PayrescueError
from training.at_hand import leave
from training.console import progress
from training.output import want_engine
from training.output import want_table as _want_table
from training.output import write_table as _write
from training.output import write_text as _write_text
from training.own import read_for, store_is_there
from training.settings import TrainSettings, read_settings
from training.spoken import short, signed

if TYPE_CHECKING:
    import pandas as pd

    from models.artefact import Artefact

__all__ = [
    "describe_settings",
    "diagnose",
    "evaluate",
    "overrides",
    "promote",
    "recommend",
    "rollback",
    "score",
    "simulate",
    "train",
]


def simulate(out: Path, payments: int, seed: int, story: str, days: float | None) -> None:
    """`payrescue simulate`."""
    with progress(f"simulating {payments:,} payments") as (_, far):
        from training.simulator import simulate as run

        world = run(payments, seed, story, days=days, progress=far)
        world.write(out)
    print(  # noqa: T201
        f"{len(world.attempts):,} attempts of {payments:,} payments and {len(world.candidates):,} candidates in {out}/\n"
        f"next: payrescue train --data {out}/attempts.parquet"
    )


def describe_settings() -> str:
    """Every setting of a training with its default, unit and meaning."""
    return "\n".join(
        f"{known.name} = {known.default}  ({known.metadata['unit']})\n    {known.metadata['meaning']}"
        for known in fields(TrainSettings)
    )


Pages = Callable[["pd.DataFrame", str, Path, Callable[[str], None]], object]
"""Writes the product owners' pages of attempts and of a model, by its URI, into a folder."""


def train(
    data: str,
    query: str | None,
    mapping: str | None,
    config: Path | None,
    sets: Sequence[str],
    engine: str = "local",
    scheduler: str | None = None,
    pages: Pages | None = None,
) -> None:
    """`payrescue train`. What `pages` writes is logged with the run."""
    settings = read_settings(config, overrides(sets))
    # LightGBM's threads wait in a loop unless told otherwise; where others use the cores too, that costs ten times the work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with progress("training") as (tell, _):
        from training import tracking
        from training.engine import engine as started
        from training.gate import judge
        from training.reproduce import origin_of
        from training.train import check_enough, learn

        with contextlib.ExitStack() as stack:
            work = stack.enter_context(started(engine, scheduler, settings, tell))
            table = work.read(data, query, mapping, now=datetime.now(UTC))
            check_enough(table, tracking.without_password(data))
            where = tracking.store()
            active = stack.enter_context(tracking.run(settings))
            began = time.perf_counter()
            prepared = work.prepare(table)
            tell(f"features: {prepared.matrix.shape[1]} of {len(table):,} attempts")
            trained = learn(prepared, settings, tell, fit=work.fit, began=began)
            tell("logging to MLflow")
            origin = origin_of(data, query, mapping, table, settings.own)
            logged = tracking.track(trained, settings, data, run_id=active.info.run_id, origin=origin)
            champion, version, unreadable = tracking.champion(settings.model_name)
            if unreadable:
                tell(f"the champion, version {version}, cannot be asked: {unreadable}")
            verdict = judge(
                trained.artefact,
                champion,
                trained.data,
                resamples=settings.resamples,
                seed=settings.seed,
                prepare=work.prepare,
                guarded_slices=settings.guarded_slices,
            )
            verdict = tracking.promote(settings.model_name, logged.version, verdict, version)
            tracking.publish_card(logged, verdict, settings)
            if verdict.promote:
                leave(settings.model_name, logged.version)
    _tell_training(trained.report, settings, logged.version, verdict.promote, verdict.why, where, logged.run_id)
    uri = f"models:/{settings.model_name}/{logged.version}"
    if pages is not None and len(table) <= settings.stream_above_rows:
        with progress("pages for product owners") as (tell, _):
            _log_pages(pages, table, uri, logged.run_id, tell)
    elif pages is not None:
        given = {
            "data": tracking.without_password(data),
            "query": query,
            "mapping": mapping,
            "model": uri,
            "output": "pages",
        }
        words = " ".join(f"--{name} {shlex.quote(value)}" for name, value in given.items() if value is not None)
        print(  # noqa: T201
            f"pages for product owners were not made of more than {settings.stream_above_rows:,} attempts; they take memory "
            f"and time:\n  payrescue report {words}"
        )


def _log_pages(pages: Pages, table: pd.DataFrame, uri: str, run_id: str, tell: Callable[[str], None]) -> None:
    """Log the pages as `insights` of a run. The model is registered by then: pages that fail do not lose it."""
    import tempfile

    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        try:
            pages(table, uri, Path(folder), tell)
        except Exception as error:
            why = (
                str(error)
                if isinstance(error, PayrescueError)
                else f"a fault of Payrescue's own, {type(error).__name__}"
            )
            tell(f"the pages could not be made ({why}); the model is registered all the same")
            return
        mlflow.log_artifacts(folder, "insights", run_id=run_id)


def _tell_training(
    report: Mapping[str, Any], settings: TrainSettings, version: str, promoted: bool, why: str, where: str, run_id: str
) -> None:
    quality = report["quality"]
    unseen = f"the last {settings.test_share:.0%} of payments, which it had not seen"
    lines = [
        "",
        f"version {version} of {settings.model_name}, judged on {unseen} (95 % intervals):",
        f"{'':54}{'log loss of success':>28}{'AUC of success':>28}",
    ]
    for name, figures in quality.items():
        label = "this model" if name == "model" else f"baseline: {name}"
        lines.append(f"{label:<54}{short(figures['success_log_loss']):>28}{short(figures['success_auc']):>28}")
    if report["not_beaten"]:
        lines += ["", "!! NOT better than a baseline, beyond chance: " + "; ".join(report["not_beaten"])]
        lines.append("!! A simpler model may do as well here; look at the card before you serve this one.")
    lines += [f"!! labels: {warning}" for warning in report["labels"]["warnings"]]
    lines += ["", f"champion: {'yes' if promoted else 'no'} ({why})"]
    lines.append(f"MLflow: {where}, run {run_id}; look at it with `mlflow ui --backend-store-uri {where}`")
    lines.append("next: payrescue serve")
    print("\n".join(lines))  # noqa: T201


def score(
    data: str,
    query: str | None,
    mapping: str | None,
    output: Path,
    history: str | None,
    model: str,
    engine: str = "local",
    scheduler: str | None = None,
) -> None:
    """`payrescue score`."""
    _want_table(output)
    want_engine(engine, scheduler)
    with progress("scoring") as (tell, _):
        if engine != "local":
            from training.cluster_commands import score_on_cluster

            _write(scores := score_on_cluster(data, query, mapping, history, model, scheduler, tell), output)
            print(f"{len(scores):,} attempts scored in {output}")  # noqa: T201
            return
        from models.tables import score_table

        table, past, artefact = _given(data, query, mapping, history, model, tell)
        _write(score_table(artefact, table, past), output)
    print(f"{len(table):,} attempts scored in {output}")  # noqa: T201


def diagnose(data: str, query: str | None, mapping: str | None, output: Path, history: str | None, model: str) -> None:
    """`payrescue diagnose`."""
    _want_table(output)
    with progress("diagnosing") as (tell, _):
        from models.tables import diagnose_table

        table, past, artefact = _given(data, query, mapping, history, model, tell)
        found = diagnose_table(artefact, table, past)
        _write(found, output)
    by = found["decided_by"].value_counts().to_dict()
    said = ", ".join(f"{count:,} by {name}" for name, count in by.items())
    print(f"{len(found):,} failed attempts diagnosed ({said}) in {output}")  # noqa: T201


def recommend(
    data: str,
    query: str | None,
    mapping: str | None,
    candidates: str,
    output: Path,
    history: str | None,
    model: str,
    rules: Path | None = None,
    fees: Path | None = None,
    engine: str = "local",
    scheduler: str | None = None,
) -> None:
    """`payrescue recommend`."""
    _want_table(output)
    want_engine(engine, scheduler)
    with progress("recommending") as (tell, _):
        from models.fees import read_fees
        from models.rules import read_rules
        from models.tables import recommend_table
        from models.value import Worth

        book = read_rules(rules) if rules is not None else None
        worth = Worth(read_fees(fees)) if fees is not None else None
        if engine != "local":
            from training.cluster_commands import recommend_on_cluster

            could = _candidates(Path(candidates))
            found = recommend_on_cluster(
                data, query, mapping, history, model, scheduler, tell, candidates=could, rules=book, worth=worth
            )
        else:
            table, past, artefact = _given(data, query, mapping, history, model, tell)
            found = recommend_table(artefact, table, _candidates(Path(candidates)), past, tell, book, worth)
        _write(found, output)
    print(f"{found['attempt_id'].nunique():,} attempts, {len(found):,} candidates ranked in {output}")  # noqa: T201


def evaluate(
    data: str,
    query: str | None,
    mapping: str | None,
    history: str | None,
    model: str,
    against: str | None,
    output: Path | None,
) -> None:
    """`payrescue evaluate`."""
    with progress("evaluating") as (tell, _):
        from training import tracking
        from training.evaluate import evaluate as judge

        other = None
        if against:
            tracking.store()
            other = tracking.fetch(against)[0]
        table, past, artefact = _given(data, query, mapping, history, model, tell, *([other] if other else []))
        found = judge(artefact, table, past=past, against=other)
        if output is not None:
            _write_text(json.dumps({"model": model, "against": against, **found}, indent=1), output)
    lines = [f"{model} on {found['attempts']:,} attempts (95 % intervals, bootstrap over payments)"]
    lines += [f"  {name:<28}{short(figure)}" for name, figure in found["quality"].items()]
    if "against" in found:
        lines.append(f"difference to {against}, paired; below zero is better")
        lines += [f"  {name:<28}{short(figure)}" for name, figure in found["against"].items()]
        lines += _tell_slices(found["slices"])
    if "warning" in found:
        lines.append(f"!! {found['warning']}")
    print("\n".join(lines))  # noqa: T201


def _tell_slices(slices: Sequence[Mapping[str, Any]]) -> list[str]:
    """The slices that got worse first, then the others."""
    worse = sum(one["standing"] == "worse" for one in slices)
    told = [
        "by slice, log loss of success; for all slices together: intervals at 95 %, + and - by one-sided tests at 5 %",
        "(these see a little more: a mark may stand where the interval just reaches zero)",
        f"  worse beyond noise (-): {worse} of {len(slices)}",
    ]
    for one in slices:
        mark = {"worse": "-", "better": "+"}.get(one["standing"], " ")
        where = f"{one['slice']} {one['value']}"
        told.append(f"  {mark} {where:<36}{signed(one['difference'])}  {one['attempts']:>9,} attempts")
    return told


def promote(name: str, version: str | None, reason: str) -> None:
    """`payrescue promote`."""
    from training import promotion, tracking

    tracking.store()
    moved = promotion.promote(name, version, reason, check=partial(_want_servable, name))
    if moved is not None:
        leave(name, moved.new)
    print(moved or f"version {version or '(the challenger)'} of {name} is the champion already")  # noqa: T201


def rollback(name: str, reason: str) -> None:
    """`payrescue rollback`."""
    from training import promotion, tracking

    tracking.store()
    moved = promotion.rollback(name, reason, check=partial(_want_servable, name))
    leave(name, moved.new)
    print(moved)  # noqa: T201


def _want_servable(name: str, version: str) -> None:
    """Raises BadInput for a version that the service would refuse, so that it does not become champion."""
    from models.predictor import Predictor
    from training import tracking

    try:
        Predictor.load(tracking.folder_of(f"models:/{name}/{version}")[0])
    except ArtifactMismatch as error:
        raise BadInput("champion", message=f"version {version} cannot be served: {error}") from None


def _given(
    data: str, query: str | None, mapping: str | None, history: str | None, model: str, tell: Any, *others: Artefact
) -> tuple[pd.DataFrame, pd.DataFrame | None, Any]:
    """The attempts, the past, and the model, read and checked; with the own columns of the model, and those of others."""
    from training import tracking

    artefact = None
    if store_is_there() or Path(model).is_dir():
        tracking.store()
        artefact = tracking.fetch(model)[0]
    known = [*([artefact] if artefact is not None else []), *others]
    table, past = read_for(known, data, query, mapping, history, tell)
    if artefact is None:  # what is wrong with the data comes first
        tracking.store()
        artefact = tracking.fetch(model)[0]
    return table, past, artefact


def _candidates(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(path, dtype=str) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError):
        raise BadInput(str(path), message="cannot be read as candidates; want a Parquet or CSV file") from None


def overrides(sets: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE` pairs, each value in its setting's type."""
    kinds: dict[str, Callable[[str], Any]] = {known.name: type(known.default) for known in fields(TrainSettings)}
    told: dict[str, Any] = {}
    for pair in sets:
        name, separator, value = pair.partition("=")
        if not separator or name not in kinds:
            raise BadInput("--set", [Fault(name, "NAME=VALUE, with a name of " + ", ".join(kinds), seen=pair)])
        try:
            told[name] = kinds[name](value)
        except ValueError:
            raise BadInput(
                "--set", [Fault(name, f"a value such as {getattr(TrainSettings(), name)}", seen=value)]
            ) from None
    return told
