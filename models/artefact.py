"""A model on disk: data and nothing else. Trees as text, the rest as JSON and plain arrays, a manifest of hashes.

    manifest.json       format, fingerprint of the features, sha256 and size of every other file
    model.json          encoder, heads, calibrations, ways to pay, window of the training data
    success.txt …       the trees of each head (LightGBM's text form)
    code_texts.npz      what reads a response code that no table has
    history.npz         decayed outcomes at the end of the training data
    snapshot.json       what the training attempts looked like, in counts (`payrescue monitor`)
    golden.json         a few attempts with the probabilities that training got (models/golden.py)
    validated/…         the heads as they were judged, before the last fit on all attempts; never served

`load` reads nothing that the manifest does not list and follows no links, checks each hash before parsing, and executes
nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from features.definitions import EVIDENCE_CODES, EVIDENCE_NUMBERS
from features.errors import ArtifactMismatch, BadInput
from features.fingerprint import fingerprint_with
from features.history import History
from features.own import OwnColumn, all_features, described, read_own
from features.rows import Encoder
from features.taxonomy import reasons
from models.additive import Additive
from models.booster import Booster
from models.code_text import CodeText
from models.conformal import checked
from models.heads import STAGES, Blend, Calibration, Head, OutcomeModel

__all__ = ["FORMAT", "Artefact", "HeadParts", "load", "save"]

FORMAT = 2
_LARGEST_FILE = 2**30


@dataclass(frozen=True)
class HeadParts:
    """A head before it has a place on disk: LightGBM's text, positions of its columns, answers, calibration, curves."""

    text: str
    columns: tuple[int, ...]
    classes: tuple[str, ...]
    calibration: Calibration
    additive: Additive | None = None

    def head(self) -> Head:
        """The head, ready to score. Raises ArtifactMismatch if its trees are not over these columns and answers."""
        booster = Booster(self.text, self.columns)
        scores = 1 if len(self.classes) == 2 else len(self.classes)
        if booster.classes != scores:
            raise ArtifactMismatch(
                f"the trees of {', '.join(self.classes)} have {booster.classes} scores; model.json says {scores}"
            )
        return Head(booster, self.classes, self.calibration, self.additive)


@dataclass(frozen=True)
class Artefact:
    """Everything that a model is. `heads` by name (success, reason, one for each of STAGES), `validated` likewise.

    `ways` are (method, route) by country, most used first. `window` holds `from`, `until` and `judged_from` (microseconds):
    when the training attempts begin and end, and from when on the validated heads were judged. `about` is for people.
    `plausible` is what a reason of each category needs to be plausible (`models.conformal`). `golden` are rows that a loaded
    model has to get (`models.golden`); models made before there were any have none.
    """

    encoder: Encoder
    heads: Mapping[str, HeadParts]
    validated: Mapping[str, HeadParts]
    blend: Blend
    category_shares: tuple[float, float, float, float]
    history: History
    code_text: CodeText | None
    ways: Mapping[str, Sequence[tuple[str, str | None]]]
    window: Mapping[str, int]
    about: Mapping[str, Any]
    plausible: Mapping[str, float] = field(default_factory=dict)
    golden: Sequence[Mapping[str, Any]] = ()

    def outcome_model(self, *, validated: bool = False) -> OutcomeModel:
        """The heads that serve; or, `validated`, those that were judged."""
        parts = self.validated if validated else self.heads
        heads = {name: part.head() for name, part in parts.items()}
        stages = tuple(heads[name] for name in STAGES) if STAGES[0] in heads else None
        return OutcomeModel(heads["success"], stages, heads.get("reason"), self.category_shares, self.blend)


def save(artefact: Artefact, folder: Path) -> None:
    """Write the artefact into `folder`, which must be new or empty."""
    (folder / "validated").mkdir(parents=True)
    for place, heads in (("", artefact.heads), ("validated/", artefact.validated)):
        for name, part in heads.items():
            (folder / f"{place}{name}.txt").write_text(part.text, encoding="utf-8")
    artefact.history.save(folder / "history.npz")
    if artefact.code_text is not None:
        artefact.code_text.save(folder / "code_texts.npz")
    if artefact.golden:
        golden = json.dumps(list(artefact.golden), ensure_ascii=False, indent=1, allow_nan=False)
        (folder / "golden.json").write_text(golden, encoding="utf-8")
    told = {
        "encoder": {
            "vocabularies": {name: list(values) for name, values in artefact.encoder.vocabularies.items()},
            "usual_log2": dict(artefact.encoder.usual_log2),
            "own": described(artefact.encoder.own),
        },
        "features": [feature.name for feature in all_features(artefact.encoder.own)],
        "heads": {name: _described(part) for name, part in artefact.heads.items()},
        "validated": {name: _described(part) for name, part in artefact.validated.items()},
        "blend": asdict(artefact.blend),
        "category_shares": list(artefact.category_shares),
        "ways": {country: [list(way) for way in ways] for country, ways in artefact.ways.items()},
        "window": dict(artefact.window),
        "about": dict(artefact.about),
        "plausible": dict(artefact.plausible),
    }
    (folder / "model.json").write_text(json.dumps(told, ensure_ascii=False, indent=1), encoding="utf-8")
    write_manifest(folder)


def write_manifest(folder: Path) -> None:
    """Hash every file of the folder into its manifest."""
    files = {
        path.relative_to(folder).as_posix(): {"sha256": _sha256(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }
    own = _own(json.loads((folder / "model.json").read_text(encoding="utf-8")))
    manifest = {"format": FORMAT, "fingerprint": fingerprint_with(own), "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def load(folder: Path) -> Artefact:
    """Read an artefact. Raises ArtifactMismatch, naming the difference, if it is not whole or not of these features."""
    files = _checked_files(folder)
    try:
        told = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        own = _own(told)
        _same_features(told["features"], own, files)
        return Artefact(
            encoder=Encoder(
                {name: tuple(values) for name, values in told["encoder"]["vocabularies"].items()},
                told["encoder"]["usual_log2"],
                own,
            ),
            heads={
                name: _head(folder, "", name, head, files, len(told["features"]))
                for name, head in told["heads"].items()
            },
            validated={
                name: _head(folder, "validated/", name, head, files, len(told["features"]))
                for name, head in told["validated"].items()
            },
            blend=Blend(**{name: float(weight) for name, weight in told["blend"].items()}),
            category_shares=tuple(told["category_shares"]),
            history=History.load(folder / "history.npz"),
            code_text=CodeText.load(folder / "code_texts.npz") if "code_texts.npz" in files else None,
            ways={country: [(m, r) for m, r in ways] for country, ways in told["ways"].items()},
            window=told["window"],
            about=told["about"],
            plausible=checked(told.get("plausible", {})),
            golden=json.loads((folder / "golden.json").read_text(encoding="utf-8")) if "golden.json" in files else (),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ArtifactMismatch(f"model.json: not a model's description ({type(error).__name__}: {error})") from error


def _checked_files(folder: Path) -> dict[str, Any]:
    """The manifest's files, every one there and unchanged; the whole manifest under the name `manifest`."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files = manifest["files"]
        format_, _ = manifest["format"], manifest["fingerprint"]
        listed = [(name, known["bytes"], known["sha256"]) for name, known in files.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactMismatch(f"{path}: no manifest of a model ({type(error).__name__})") from error
    if format_ != FORMAT:
        raise ArtifactMismatch(f"{path}: format {format_!r}, this code reads {FORMAT}; train again")
    root = folder.resolve()
    for name, size, sha256 in listed:
        file = folder / name
        if not file.is_file() or not _is_in(root, name):
            raise ArtifactMismatch(f"{folder}: {name!r} is in the manifest and not in the folder")
        there = file.stat().st_size
        if there != size:
            raise ArtifactMismatch(f"{folder}: {name} has {there} bytes, its manifest says {size}")
        if there > _LARGEST_FILE:
            raise ArtifactMismatch(f"{folder}: {name} has {there} bytes, no model's file is over {_LARGEST_FILE}")
        if _sha256(file) != sha256:
            raise ArtifactMismatch(f"{folder}: {name} was changed since the model was made (sha256 differs)")
    for name in ("model.json", "history.npz", "success.txt"):
        if name not in files:
            raise ArtifactMismatch(f"{path}: lists no {name}")
    return {**files, "manifest": manifest}


def _is_in(root: Path, name: str) -> bool:
    """Whether a name leads into a folder, by no link on the way; the folder is given as it is without links."""
    there = (root / name).resolve()
    return there.is_relative_to(root) and there == root / name


def _own(told: Mapping[str, Any]) -> tuple[OwnColumn, ...]:
    """The merchant's own columns in a model's description; models made before there were any have none."""
    declared = {
        one["name"]: {name: one[name] for name in one if name != "name"} for one in told["encoder"].get("own", ())
    }
    try:
        return read_own(declared)
    except BadInput as bad:
        raise ArtifactMismatch(f"model.json: {bad}") from None


def _same_features(names: Sequence[str], own: tuple[OwnColumn, ...], files: Mapping[str, Any]) -> None:
    here, there = tuple(feature.name for feature in all_features(own)), tuple(names)
    if here != there:
        gone, new = [n for n in there if n not in here], [n for n in here if n not in there]
        told = ", ".join([*(f"it knows {name!r}" for name in gone[:3]), *(f"it lacks {name!r}" for name in new[:3])])
        raise ArtifactMismatch(f"the model was made of other features ({told or 'in another order'}); train again")
    if files["manifest"]["fingerprint"] != fingerprint_with(own):
        raise ArtifactMismatch(
            f"the model's features are computed otherwise here ({files['manifest']['fingerprint'][:19]}… there, "
            f"{fingerprint_with(own)[:19]}… here); train again, or run the code that made it"
        )


def _described(part: HeadParts) -> dict[str, Any]:
    return {
        "columns": list(part.columns),
        "classes": list(part.classes),
        "calibration": {"weights": part.calibration.weights.tolist(), "bias": part.calibration.bias.tolist()},
        "additive": None if part.additive is None else part.additive.as_json(),
    }


def _head(
    folder: Path, place: str, name: str, told: Mapping[str, Any], files: Mapping[str, Any], columns: int
) -> HeadParts:
    file = f"{place}{name}.txt"
    if file not in files:
        raise ArtifactMismatch(f"{folder}: {file!r} is in model.json and not in the manifest")
    _want_classes(name, told["classes"])
    limit = columns + len(EVIDENCE_NUMBERS) + len(EVIDENCE_CODES) if name == "reason" else columns
    wrong = next((place for place in told["columns"] if type(place) is not int or not 0 <= place < limit), None)
    if wrong is not None:
        raise ArtifactMismatch(f"model.json: {name} is over column {wrong!r}; there are {limit}")
    return HeadParts(
        (folder / file).read_text(encoding="utf-8"),
        tuple(told["columns"]),
        tuple(told["classes"]),
        _calibration(name, told["calibration"], 1 if len(told["classes"]) == 2 else len(told["classes"])),
        None if told["additive"] is None else Additive.from_json(told["additive"], columns),
    )


def _calibration(name: str, told: Mapping[str, Any], scores: int) -> Calibration:
    """Raises ArtifactMismatch unless it is one of so many scores: compiled code does not look where an array ends."""
    weights, bias = np.array(told["weights"], float), np.array(told["bias"], float)
    if weights.shape != (scores, scores) or bias.shape != (scores,):
        raise ArtifactMismatch(
            f"model.json: the calibration of {name} is of shapes {weights.shape} and {bias.shape}; "
            f"want {(scores, scores)} and {(scores,)}"
        )
    return Calibration(weights, bias)


def _want_classes(name: str, classes: Sequence[str]) -> None:
    """Raises ArtifactMismatch if a head's answers are not those that its name says."""
    if name == "reason":
        right = len(classes) > 1 and len({*classes}) == len(classes) and {*classes} <= {*reasons()}
        wanted = "reasons of the taxonomy"
    else:
        answers = ["success", "failure"] if name == "success" else [name, "passed"]
        right, wanted = list(classes) == answers, ", ".join(answers)
    if not right:
        told = ", ".join(map(str, classes))[:80]
        raise ArtifactMismatch(f"model.json: the classes of {name} are {told}; want {wanted}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
