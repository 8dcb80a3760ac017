"""Finding the model and loading it; whatever fails, the service starts, and answers by the rules."""

from __future__ import annotations

import importlib
import json
import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.columns import Column
from models.engine import Engine
from models.policies import Policy
from models.rules import RuleBook
from models.value import Worth
from serving.found import DEFAULT_STORE, Located
from serving.imports import importing_without
from serving.settings import NO_MODEL, NO_SECRET, ServiceSettings
from serving.state import OnlineState

__all__ = ["DEFAULT_STORE", "Located", "Served", "artefact_folder", "get_ready", "load", "locate", "take", "without"]

_MANIFEST = "manifest.json"
_CARD = "model_card.json"
_RESOLVE_S = 120

_log = logging.getLogger("bentoml.payrescue")


@dataclass(frozen=True)
class Served:
    """What the service answers with. `extra` are the columns that the merchant declared in training.

    `located` is where it was loaded from; `since`, in microseconds since 1970, UTC, is when it began to answer; `state`,
    what outcomes have told since it learnt.
    """

    engine: Engine
    card: Mapping[str, Any] | None = None
    extra: Sequence[Column] = ()
    located: Located | None = None
    since: int | None = None
    state: OnlineState | None = None


def locate(settings: ServiceSettings, environment: Mapping[str, str]) -> Located | None:
    """Where the model of the settings is; None, with the reason in the log, where there is none."""
    if settings.model == NO_MODEL:
        return None
    if not settings.model.startswith("models:/"):
        folder = Path(settings.model)
        if folder.is_dir():
            return Located(folder, settings.model_version)
        _log.warning("no model: %s is no folder", settings.model)
        return None
    store = environment.get("MLFLOW_TRACKING_URI") or DEFAULT_STORE
    if store.startswith("sqlite:///") and not Path(store.removeprefix("sqlite:///")).is_file():
        # Asking would create an empty store.
        _log.warning("no model yet: there is no MLflow store here")
        return None
    command = [sys.executable, "-m", "serving.resolve", settings.model]
    try:
        asked = subprocess.run(  # noqa: S603  our own module, by our own interpreter
            command,
            env={**environment, "MLFLOW_TRACKING_URI": store},
            capture_output=True,
            text=True,
            timeout=_RESOLVE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        _log.warning("no model: the MLflow store did not answer within %d s", _RESOLVE_S)
        return None
    if asked.returncode != 0:
        said = asked.stderr.strip().rpartition("\n")[2]
        _log.warning("no model: the MLflow store could not be asked (%s)", said)
        return None
    answer = json.loads(asked.stdout)
    if answer is None:
        _log.warning("no model yet: the MLflow store has no %s", settings.model)
        return None
    return Located(Path(answer["folder"]), answer["version"])


def _import_numba() -> None:
    """Without SciPy's linear algebra and cffi, which numba would import to see whether they are there: for nothing."""
    if "numba.np.arraymath" not in sys.modules:
        with importing_without("scipy.linalg", "cffi"):
            importlib.import_module("numba.np.arraymath")
            importlib.import_module("numba.core.typing.cffi_utils")


def get_ready() -> None:
    """Do what loading any model takes before there is one: importing what compiled code needs, and starting it."""
    _import_numba()
    importlib.import_module("models.nothing").of_nothing()


def artefact_folder(folder: Path) -> Path:
    """The folder of the artefact's own files, which an MLflow model keeps further down."""
    manifests = sorted(folder.rglob(_MANIFEST), key=lambda path: len(path.parts))
    return manifests[0].parent if manifests else folder


def load(
    located: Located | None,
    rules: RuleBook | None = None,
    worth: Worth | None = None,
    policy: Policy | None = None,
    salt: str = NO_SECRET,
) -> Served:
    """What to answer with: the model if it loads, else the rules, with the reason in the log.

    `rules` are the networks' rules that hold in either case, the shipped ones if not given; `worth` weighs what can be
    done next, by success alone if not given; `policy`, greedy if not given, chooses of that, its draws hashed with `salt`.
    """
    try:
        return take(located, rules, worth, policy, salt) if located is not None else without(rules, worth, policy, salt)
    except Exception as error:
        _log.warning("the model does not load (%s: %s); the rules answer", type(error).__name__, error)
        return without(rules, worth, policy, salt)


def without(
    rules: RuleBook | None = None, worth: Worth | None = None, policy: Policy | None = None, salt: str = NO_SECRET
) -> Served:
    """The rules alone."""
    return Served(Engine(None, rules=rules, worth=worth, policy=policy, salt=salt))


def take(
    located: Located,
    rules: RuleBook | None = None,
    worth: Worth | None = None,
    policy: Policy | None = None,
    salt: str = NO_SECRET,
) -> Served:
    """The model, loaded and checked. Raises ArtifactMismatch, or whatever a damaged file leads to."""
    folder = artefact_folder(located.folder)
    _import_numba()
    predictor = importlib.import_module("models.predictor").Predictor.load(folder)
    card = folder / _CARD
    return Served(
        Engine(predictor, version=located.version, rules=rules, worth=worth, policy=policy, salt=salt),
        json.loads(card.read_text(encoding="utf-8")) if card.is_file() else None,
        getattr(predictor, "extra_columns", ()),
        located,
    )
