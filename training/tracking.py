"""MLflow: one run per training, one registered version, aliases moved only where the gate says so."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from features.errors import ArtifactMismatch, BadInput, PayrescueError
from features.fingerprint import fingerprint_with
from features.own import as_columns
from models.artefact import Artefact, load, save, write_manifest
from training import promotion
from training.card import card_html, card_summary, model_card
from training.gate import Verdict
from training.plots import pictures
from training.reproduce import RECORD, Origin, artefact_hash, record
from training.settings import TrainSettings
from training.snapshot import SNAPSHOT, snapshot_of
from training.train import Trained

__all__ = [
    "Logged",
    "StoreUnreachable",
    "add_to",
    "champion",
    "fetch",
    "folder_of",
    "promote",
    "publish_card",
    "recorded",
    "store",
    "track",
    "without_password",
]

CARD = "model_card.html"
"""The model card as a page, among a run's artifacts."""

DEFAULT_STORE = "sqlite:///mlflow.db"
"""Where runs and versions are kept if `MLFLOW_TRACKING_URI` says nothing: in the current folder."""


class StoreUnreachable(PayrescueError):
    """MLflow's store cannot be asked."""


@dataclass(frozen=True)
class Logged:
    """Where a training went."""

    run_id: str
    version: str
    card: Mapping[str, Any]


def store() -> str:
    """Point MLflow at its store, and return its address without a password."""
    os.environ.setdefault("MLFLOW_TRACKING_URI", DEFAULT_STORE)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # by default a dead server is asked for minutes
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    import logging

    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    uri = os.environ["MLFLOW_TRACKING_URI"]
    mlflow.set_tracking_uri(uri)
    try:
        mlflow.MlflowClient().search_experiments(max_results=1)
    except Exception as error:
        raise StoreUnreachable(
            f"MLFLOW_TRACKING_URI {without_password(uri)!r}: the tracking server does not answer "
            f"({type(error).__name__}); want one that does, or nothing for {DEFAULT_STORE}"
        ) from None
    return without_password(uri)


def without_password(uri: str) -> str:
    """A URL as it may be shown."""
    from urllib.parse import urlsplit

    parts = urlsplit(uri)
    return uri.replace(f":{parts.password}@", ":***@") if parts.password else uri


@contextlib.contextmanager
def run(settings: TrainSettings) -> Iterator[Any]:
    """An MLflow run: the one that `mlflow run` began, if it did, else a new one of the experiment."""
    import mlflow

    if "MLFLOW_RUN_ID" not in os.environ:
        mlflow.set_experiment(settings.experiment)
    with mlflow.start_run(log_system_metrics=False) as active:
        yield active


def track(
    trained: Trained, settings: TrainSettings, source: str, *, run_id: str, origin: Origin | None = None
) -> Logged:
    """Log a training into the active run and register its version, as `challenger`.

    `origin` says where the attempts came from, so that the run can be done again (`training.reproduce`).
    """
    import mlflow

    # `mlflow run` logs the parameters itself, as text and quoted for a shell, and refuses another form of them
    logged = mlflow.MlflowClient().get_run(run_id).data.params
    mlflow.log_params({name: value for name, value in asdict(settings).items() if name not in logged})
    report = trained.report
    mlflow.log_metrics(_metrics(report))
    mlflow.set_tags(
        {
            "data_from": report["window"][0],
            "data_until": report["window"][1],
            "data_attempts": str(report["attempts"]),
            "features": fingerprint_with(trained.artefact.encoder.own),
            **_git(),
        }
    )
    with _quiet():
        _log_inputs(trained, source)
    card = model_card(trained, settings, run_id, origin)
    made = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "model")
        save(trained.artefact, folder)
        add_to(folder, SNAPSHOT, snapshot_of(trained))
        add_to(folder, "model_card.json", card)
        made["artefact_sha256"] = artefact_hash(folder)
        if origin is not None:
            made["data_sha256"] = origin.sha256
            mlflow.log_dict(record(origin, settings, folder), RECORD)
        pictures(trained, Path(temporary, "pictures"))
        mlflow.log_artifacts(str(Path(temporary, "pictures")))
        mlflow.log_dict(dict(report), "report.json")
        mlflow.log_dict(report["labels"], "labels.json")
        with _quiet():
            info = _log_model(folder, trained, settings)
    client = mlflow.MlflowClient()
    version = str(info.registered_model_version)
    client.set_registered_model_alias(settings.model_name, "challenger", version)
    mlflow.set_tags(made)
    told = {"features": fingerprint_with(trained.artefact.encoder.own), "model_card": f"runs:/{run_id}/{CARD}", **made}
    for tag, value in told.items():
        client.set_model_version_tag(settings.model_name, version, tag, value)
    return Logged(run_id, version, card)


def add_to(folder: Path, name: str, told: Mapping[str, Any]) -> None:
    """Put a file of JSON into an artefact's folder, and into its manifest."""
    text = json.dumps(told, ensure_ascii=False, indent=None if name == SNAPSHOT else 1)
    (folder / name).write_text(text, encoding="utf-8")
    write_manifest(folder)


def publish_card(logged: Logged, verdict: Verdict, settings: TrainSettings) -> None:
    """Log the model card as a page, with what the gate said, and let run and registered version lead to it."""
    import mlflow

    mlflow.log_dict(verdict.as_dict(), "comparison.json")
    mlflow.log_text(card_html({**logged.card, "version": logged.version, "verdict": verdict.as_dict()}), CARD)
    experiment = mlflow.MlflowClient().get_run(logged.run_id).info.experiment_id
    page = f"#/experiments/{experiment}/runs/{logged.run_id}/artifacts/{CARD}"
    said = f"{card_summary(logged.card)}\n\n{verdict.why[0].upper()}{verdict.why[1:]}\n\n[Model card]({page})"
    mlflow.MlflowClient().update_model_version(settings.model_name, logged.version, description=said)
    mlflow.set_tag("mlflow.note.content", said)


def recorded(run_id: str) -> dict[str, Any]:
    """What a run kept so that it can be done again. Raises BadInput for a run that is not there, or kept nothing."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        path = mlflow.artifacts.download_artifacts(artifact_uri=f"runs:/{run_id}/{RECORD}")
    except (MlflowException, OSError):
        raise BadInput(
            "reproduce", message=f"run {run_id!r} kept no {RECORD}; want the id of a run that `payrescue train` made"
        ) from None
    kept: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return kept


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's hints at what was chosen on purpose here (integers that are never missing, where data came from)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _log_model(folder: Path, trained: Trained, settings: TrainSettings) -> Any:
    """The artefact as it is, with a loader named in the code: no pickle, and nothing in it that executes."""
    import mlflow

    from training.served_model import example_of, predict, signature

    own = as_columns(trained.artefact.encoder.own)
    example = example_of(trained.example, own)
    return mlflow.pyfunc.log_model(
        name="model",
        loader_module="training.served_model",
        data_path=str(folder),
        signature=signature(example, predict(load(folder), example), own),
        input_example=example,
        pip_requirements=[f"payrescue=={_version()}"],
        registered_model_name=settings.model_name,
    )


def _version() -> str:
    from importlib.metadata import version

    return version("payrescue")


def _log_inputs(trained: Trained, source: str) -> None:
    import mlflow
    import pandas as pd

    report = trained.report
    for name, told in report["slices"].items():
        described = pd.DataFrame(
            [{"slice": name, "attempts": told["attempts"], "from": told["from"], "until": report["window"][1]}]
        )
        data = mlflow.data.from_pandas(described, source=without_password(source), name=f"attempts-{name}")
        mlflow.log_input(data, context={"fit": "training", "test": "testing"}.get(name, "validation"))


def _metrics(report: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for model, figures in report["quality"].items():
        prefix = "" if model == "model" else f"{model.replace(',', '').replace(' ', '_')}."
        for name, figure in figures.items():
            found[f"{prefix}{name}"] = figure["value"]
            if not prefix:
                found |= {f"{name}.low": figure["low"], f"{name}.high": figure["high"]}
    for category, figures in report["categories"].items():
        found |= {f"{category}.{name}": figure["value"] for name, figure in figures.items()}
    return {name: value for name, value in found.items() if value == value}


def _git() -> dict[str, str]:
    """The commit of the code, where it is a git checkout."""
    found = subprocess.run(  # noqa: S603  git, on our own folder
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return {"git_commit": found.stdout.strip()} if found.returncode == 0 else {}


def fetch(uri: str) -> tuple[Artefact, str | None]:
    """The artefact of a model URI (or a folder) and its version. Raises BadInput if there is none."""
    folder, version = folder_of(uri)
    return load(folder), version


def folder_of(uri: str) -> tuple[Path, str | None]:
    """The folder of the artefact of a model URI (or a folder) and its version. Raises BadInput if there is none."""
    import mlflow
    from mlflow.exceptions import MlflowException

    if Path(uri).is_dir():
        return _artefact_folder(Path(uri)), None
    if not uri.startswith(("models:/", "runs:/")):
        raise BadInput(
            "model", message=f"{uri!r}: want a folder, models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID/model"
        )
    try:
        version = None
        if "@" in uri:
            name, alias = uri.removeprefix("models:/").split("@", 1)
            version = str(mlflow.MlflowClient().get_model_version_by_alias(name, alias).version)
            folder = mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{name}/{version}")
        else:
            folder = mlflow.artifacts.download_artifacts(artifact_uri=uri)
            version = uri.rsplit("/", 1)[1] if uri.startswith("models:/") else None
    except MlflowException:
        raise BadInput("model", message=f"the registry has no {uri}; `payrescue train` makes one") from None
    return _artefact_folder(Path(folder)), version


def _artefact_folder(folder: Path) -> Path:
    found = sorted(folder.rglob("manifest.json"), key=lambda path: len(path.parts))
    if not found:
        raise ArtifactMismatch(f"{folder}: holds no model of Payrescue (no manifest.json)")
    return found[0].parent


def champion(name: str) -> tuple[Artefact | None, str | None, str | None]:
    """The champion's artefact and version, None where there is none; and why it cannot be read, if so."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        version = str(mlflow.MlflowClient().get_model_version_by_alias(name, "champion").version)
    except MlflowException:
        return None, None, None
    try:
        return fetch(f"models:/{name}/{version}")[0], version, None
    except ArtifactMismatch as error:
        return None, version, str(error)


def promote(name: str, version: str, verdict: Verdict, against: str | None) -> Verdict:
    """Make `version` the champion if the verdict says so, and write down why; the challenger alias stays on it.

    Only if `against`, the champion that it was compared with, still is champion; else the verdict that comes back says so.
    """
    import mlflow

    mlflow.MlflowClient().set_model_version_tag(name, version, "verdict", verdict.why[:4900])
    if not verdict.promote:
        return verdict
    try:
        promotion.promote(name, version, verdict.why[:1000], by="train", expected=against)
    except BadInput as changed:
        return replace(verdict, promote=False, why=f"{changed}; train again to compare with it")
    return verdict
