"""Every setting of a training, in one place: typed, with its unit, its default and what it is for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from features.cards import contains_card_number
from features.errors import BadInput, Fault
from features.own import OwnColumn, read_own
from training.constraints import left_out, read_monotone

__all__ = ["TrainSettings", "as_config", "read_settings"]

_STRUCTURED = (
    "own_columns",
    "monotone",
)  # told as a mapping in a file; kept, and told on a command line, as one line of YAML


def _setting(default: Any, unit: str, meaning: str, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"unit": unit, "meaning": meaning, "low": low, "high": high})


@dataclass(frozen=True)
class TrainSettings:
    """How a model is trained, judged and put into the registry."""

    experiment: str = _setting("payrescue", "name", "MLflow experiment that the run is logged to")
    model_name: str = _setting("payrescue", "name", "registered model that gets the new version")
    seed: int = _setting(7, "-", "seed of everything random", 0, 2**31 - 1)
    threads: int = _setting(0, "threads", "threads for LightGBM; 0 is as many as there are cores", 0, 1024)
    stop_share: float = _setting(
        0.1, "share of payments", "slice of time that says when to stop adding trees", 0.02, 0.4
    )
    calibrate_share: float = _setting(
        0.1, "share of payments", "slice of time that calibration is fitted on", 0.02, 0.4
    )
    test_share: float = _setting(0.15, "share of payments", "last slice of time, which judges", 0.05, 0.5)
    learning_rate: float = _setting(0.04, "per tree", "how much each tree may change the score", 0.001, 1.0)
    num_leaves: int = _setting(15, "leaves", "size of a tree", 2, 1024)
    min_data_in_leaf: int = _setting(50, "attempts", "fewest attempts that a leaf may stand for", 1, 1_000_000)
    feature_fraction: float = _setting(0.5, "share", "features that each tree may choose from", 0.05, 1.0)
    bagging_fraction: float = _setting(0.8, "share", "attempts that each tree is grown on", 0.1, 1.0)
    max_rounds: int = _setting(800, "trees per class", "most trees of a head", 1, 100_000)
    early_stopping_rounds: int = _setting(50, "trees per class", "trees without improvement before stopping", 1, 10_000)
    stage_learning_rate: float = _setting(
        0.0, "per tree", "the same for the trees of a stage; 0: 0.05, or 0.08 with more than 200,000 attempts", 0.0, 1.0
    )
    stage_num_leaves: int = _setting(
        0, "leaves", "size of a stage's trees; 0: 6, or 15 with more than 200,000 attempts", 0, 1024
    )
    stage_min_data_in_leaf: int = _setting(
        100, "attempts", "fewest attempts that a leaf of a stage's trees may stand for", 1, 1_000_000
    )
    stage_feature_fraction: float = _setting(
        0.3, "share", "features that each split of a stage's trees may choose from", 0.05, 1.0
    )
    select_below_rows: int = _setting(
        40_000, "attempts", "with fewer attempts than this, features and kind of tree are chosen by cross-validation", 0
    )
    refit_below_rows: int = _setting(
        300_000, "attempts", "with fewer attempts than this, the heads are fitted once more on all of them to serve", 0
    )
    curves_below_rows: int = _setting(
        200_000, "attempts", "with fewer attempts than this at a stage, a curve per feature stands beside its trees", 0
    )
    reason_rows: int = _setting(100_000, "attempts", "latest explained failures that reasons are learnt from", 1000)
    stream_above_rows: int = _setting(
        2_000_000,
        "attempts",
        "with more attempts than this, they are read in pieces and their features kept in a file",
        0,
    )
    cluster_above_rows: int = _setting(
        2_000_000, "attempts", "with more attempts than this to learn from, a cluster's workers grow a head together", 0
    )
    resamples: int = _setting(200, "resamples", "bootstrap resamples, by payment, behind every interval", 20, 10_000)
    guarded_slices: str = _setting(
        "country,method,route,channel,issuer,first_time,amount",
        "names, or NAME=VALUE",
        "slices that a new champion may not be worse on, beyond noise",
    )
    keep_customers: int = _setting(200_000, "customers", "customers whose past the model carries, the latest first", 0)
    mature_minutes: float = _setting(
        30.0,
        "minutes",
        "time until outcomes are final: no attempt is learnt from sooner, nor any abandonment that was told sooner",
        0.0,
        43_200.0,
    )
    folds: int = _setting(
        4, "folds", "blocks of time that tune, backtest and ablate judge on, one after another", 2, 20
    )
    gap_hours: float = _setting(
        1.0, "hours", "time before each block that is not learnt from, for outcomes to become known", 0.0, 720.0
    )
    own_columns: str = _setting(
        "none", "YAML", "columns of your own: {name: {label: …, unit: …, group: …, kind: numeric or categorical}}"
    )
    monotone: str = _setting(
        "none",
        "YAML",
        "what may only rise or fall with a feature: {feature: increasing} for success, {feature: {head: decreasing}}",
    )
    leave_out: str = _setting("none", "names", "features that are not used, by comma; group:NAME for all of a group")

    def __post_init__(self) -> None:
        faults = []
        for known in fields(self):
            value = getattr(self, known.name)
            low, high = known.metadata["low"], known.metadata["high"]
            kind = type(known.default)
            if isinstance(value, str) and contains_card_number(value):
                faults.append(Fault(known.name, "no card number", seen=value))
            elif not isinstance(value, kind) and not (kind is float and isinstance(value, int)):
                faults.append(Fault(known.name, f"a value of type {kind.__name__}", seen=str(value)))
            elif (low is not None and value < low) or (high is not None and value > high):
                upper = f" to {high:g}" if high is not None else " or more"
                faults.append(Fault(known.name, f"{low:g}{upper} ({known.metadata['unit']})", seen=str(value)))
        if not faults and self.stop_share + self.calibrate_share + self.test_share > 0.8:
            seen = f"{self.stop_share + self.calibrate_share + self.test_share:g}"
            faults.append(Fault("stop_share + calibrate_share + test_share", "at most 0.8 together", seen=seen))
        if faults:
            raise BadInput("settings", faults)
        from training.compare import guarded

        guarded(self.guarded_slices)
        self.left_out, self._held  # noqa: B018  raise where they cannot be read

    @cached_property
    def own(self) -> tuple[OwnColumn, ...]:
        """The merchant's own columns."""
        return read_own(_yaml("own_columns", self.own_columns), "settings")

    @cached_property
    def _held(self) -> dict[str, dict[str, int]]:
        return read_monotone(_yaml("monotone", self.monotone), self.own)

    def monotone_of(self, head: str) -> Mapping[str, int]:
        """By feature, whether the log-odds of a head's first answer may only rise (1) or fall (-1) with it."""
        return self._held.get(head, {})

    @cached_property
    def left_out(self) -> frozenset[str]:
        """Names of the features that are not used."""
        return left_out(self.leave_out, self.own)


def _yaml(name: str, text: str) -> object:
    """What a setting's text says. Raises BadInput."""
    import yaml

    try:
        return yaml.safe_load(text) if text != "none" else None
    except yaml.YAMLError:
        raise BadInput("settings", [Fault(name, "YAML in one line, such as {name: {…}}", seen=text[:40])]) from None


def as_config(settings: TrainSettings) -> str:
    """The settings that differ from their defaults, as the YAML file that `read_settings` takes."""
    import yaml

    told = {
        known.name: _yaml(known.name, value) if known.name in _STRUCTURED else value
        for known in fields(settings)
        if (value := asdict(settings)[known.name]) != known.default
    }
    text: str = yaml.safe_dump(told, sort_keys=False, allow_unicode=True)
    return text if told else ""


def read_settings(path: Path | None, overrides: Mapping[str, Any] | None = None) -> TrainSettings:
    """Settings from a YAML file, with overrides (None: not given) on top. Raises BadInput naming what is unknown."""
    import yaml

    told: dict[str, Any] = {}
    if path is not None:
        try:
            read = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BadInput(str(path), message=f"cannot be read ({error.strerror})") from None
        except yaml.YAMLError:
            raise BadInput(str(path), message="is no YAML; want lines such as `learning_rate: 0.05`") from None
        if read is not None and not isinstance(read, dict):
            raise BadInput(str(path), message="want settings by name, such as `learning_rate: 0.05`")
        told |= read or {}
    told |= {name: value for name, value in (overrides or {}).items() if value is not None}
    for name in _STRUCTURED:
        if isinstance(told.get(name), Mapping):
            told[name] = json.dumps(told[name], ensure_ascii=False)
    known = {known.name: known for known in fields(TrainSettings)}
    unknown = [name for name in told if name not in known]
    if unknown:
        allowed = "one of " + ", ".join(known)
        raise BadInput(str(path or "settings"), [Fault(str(name), allowed) for name in unknown])
    return TrainSettings(**told)
