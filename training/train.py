"""Training: attempts in; heads that were fitted, calibrated and judged on slices of time, and what is to be said of them, out.

Nothing here knows MLflow; `training.tracking` logs and registers what comes out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.columns import CATEGORIES, OUTCOMES
from features.errors import BadInput
from features.history import History, features_in_passing
from features.own import OwnColumn, all_features
from features.rows import Encoder, Rows
from models.additive import Additive
from models.artefact import Artefact, HeadParts
from models.golden import golden_rows
from models.heads import STAGES, Blend, Calibration, OutcomeModel
from training.additive import fit_additive, share_of_additive
from training.baselines import LinearBaseline, prior, rate_table
from training.calibrate import blend_of, calibrate, log_losses
from training.code_text import fit_code_text
from training.fit import Fitted, Recipe, fit_head, usable_columns
from training.labels import label_report, matured
from training.matrix import mapped, select
from training.metrics import Resampler
from training.quality import Judged, by_slice, compare, quality, slices_of, why_quality
from training.reasons import fit_reasons, plausible_reasons, refit_reasons
from training.select import choose_recipe
from training.settings import TrainSettings
from training.split import SLICES, Split, split_by_time
from training.spoken import iso

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Prepared", "Trained", "check_enough", "fit_outcome_model", "learn", "prepare", "train", "without_features"]

Array = npt.NDArray[Any]
Tell = Callable[[str], None]
Fit = Callable[..., Fitted]  # `fit_head`, or what does the same elsewhere

_FEWEST = 200  # attempts with an outcome; below, no slice of time could judge anything
_FEWEST_EXPLAINED = 100  # explained failures, below which no stage has a head


@dataclass(frozen=True)
class Prepared:
    """A checked table as arrays: its rows, features, outcomes (−1 pending, 5 unexplained) and payments, in order of time."""

    table: pd.DataFrame
    encoder: Encoder
    rows: Rows
    matrix: Array
    payment: Array
    history: History
    mature_us: int = 0

    @cached_property
    def outcome(self) -> Array:
        """Codes, as in Rows; −1 also where the outcome is not final yet (`training.labels.matured`)."""
        return self._matured[0]

    @property
    def known_at(self) -> Array:
        """When each outcome was final, microseconds; PENDING where it is not."""
        return self._matured[1]

    @cached_property
    def _matured(self) -> tuple[Array, Array]:
        return matured(self.rows, self.mature_us)


@dataclass(frozen=True)
class Trained:
    """What a training gives: the artefact, what is to be said of it (JSON), and what its pictures are drawn from.

    `judged_rows` are the positions, in the prepared table, of the attempts that judged it.
    """

    data: Prepared
    artefact: Artefact
    report: Mapping[str, Any]
    judged: Judged
    told: Array
    curves: Mapping[str, tuple[float, ...]]
    example: pd.DataFrame
    judged_rows: Array


def prepare(
    table: pd.DataFrame,
    encoder: Encoder | None = None,
    own: tuple[OwnColumn, ...] = (),
    *,
    mature_minutes: float = 0.0,
    folder: Path | None = None,
    far: Callable[[int], None] = lambda _: None,
) -> Prepared:
    """Features of every attempt, each as things stood at its `created_at`; in memory, or in a file in `folder`.

    By a new encoder, if none is given, with `own` columns. Outcomes are final after `mature_minutes`. `far` is told how many
    attempts are done.
    """
    bare = without_features(table, encoder, own, mature_minutes=mature_minutes)
    into = mapped(len(bare.rows), folder, len(bare.encoder.own)) if folder is not None else None
    matrix = features_in_passing(bare.rows, bare.history, into=into, far=far)
    return replace(bare, matrix=matrix)


def without_features(
    table: pd.DataFrame,
    encoder: Encoder | None = None,
    own: tuple[OwnColumn, ...] = (),
    *,
    mature_minutes: float = 0.0,
) -> Prepared:
    """What `prepare` gives, but for features: its matrix has no columns, and its history is empty."""
    if table["created_at"].is_monotonic_increasing:
        ordered = table.reset_index(drop=True)  # shares its columns
    else:
        ordered = table.sort_values("created_at", kind="stable", ignore_index=True)
    encoder = encoder or Encoder.fit(ordered, own)
    rows = encoder.from_table(ordered)
    payment = np.unique(ordered["payment_id"], return_inverse=True)[1]
    matrix = np.empty((len(rows), 0), np.float32)
    return Prepared(ordered, encoder, rows, matrix, payment, History(), round(mature_minutes * 60e6))


def train(table: pd.DataFrame, settings: TrainSettings, tell: Tell = lambda _: None) -> Trained:
    """Train on a checked table of attempts (`read_attempts(…, for_training=True)`).

    Raises BadInput where there is too little to learn from.
    """
    began = time.perf_counter()
    check_enough(table)
    data = prepare(table, own=settings.own, mature_minutes=settings.mature_minutes)
    tell(f"features: {data.matrix.shape[1]} of {len(table):,} attempts in {time.perf_counter() - began:.1f} s")
    return learn(data, settings, tell, began=began)


def learn(
    data: Prepared,
    settings: TrainSettings,
    tell: Tell = lambda _: None,
    *,
    fit: Fit = fit_head,
    began: float | None = None,
) -> Trained:
    """Fit, calibrate and judge on attempts whose features are there; `fit` grows the trees of a head.

    Raises BadInput where there is too little to learn from.
    """
    began = time.perf_counter() if began is None else began
    table, outcome = data.table, data.outcome
    split = split_by_time(
        data.payment,
        data.rows.created,
        data.known_at,
        (settings.stop_share, settings.calibrate_share, settings.test_share),
    )
    judged_model, fitted, recipe, notes = fit_outcome_model(data, split, settings, tell, fit=fit)
    validated = {name: found.parts for name, found in fitted.items()}
    test = split["test"] & (outcome >= 0)
    told = judged_model.outcome_probability(data.matrix[test])
    judged = Judged(outcome[test], data.payment[test], resamples=settings.resamples, seed=settings.seed)
    tell(f"judging on {int(test.sum()):,} attempts of the last {settings.test_share:.0%} of payments")
    report = _report(data, split, judged, told, recipe, settings)
    report["labels"] = label_report(data.table, data.rows, settings.mature_minutes)
    serving = validated
    refitted = len(table) < settings.refit_below_rows
    if refitted:
        tell("fitting once more, on all attempts, what will serve")
        serving = _refit(data, fitted, recipe, settings)
    texts, least = fit_code_text(), dict[str, float]()
    if "reason" in fitted:
        least, report["plausible"] = plausible_reasons(
            data, split, fitted["reason"], settings, texts, refitted=refitted
        )
    window = {
        "from": int(data.rows.created.min()),
        "until": int(data.rows.created.max()),
        "judged_from": split.begins[3],
    }
    about = {
        "rows": len(table),
        "refitted": refitted,
        "mature_minutes": settings.mature_minutes,
    }
    artefact = Artefact(
        encoder=data.encoder,
        heads=serving,
        validated=validated,
        blend=judged_model.blend,
        category_shares=_category_shares(outcome),
        history=data.history.keep(settings.keep_customers),
        code_text=texts,
        ways=_ways(data.table),
        window=window,
        about=about,
        plausible=least,
    )
    artefact = replace(artefact, golden=golden_rows(artefact, data.table))
    report |= {
        "calibration": notes,
        "trees": {name: found.rounds for name, found in fitted.items()},
        "importances": _importances(fitted),
        "refitted": refitted,
        "seconds": round(time.perf_counter() - began, 1),
    }
    return Trained(
        data,
        artefact,
        report,
        judged,
        told,
        {n: f.curve for n, f in fitted.items()},
        data.table.tail(5).reset_index(drop=True),
        np.flatnonzero(test),
    )


def fit_outcome_model(
    data: Prepared,
    split: Split,
    settings: TrainSettings,
    tell: Tell = lambda _: None,
    *,
    reasons: bool = True,
    fit: Fit = fit_head,
) -> tuple[OutcomeModel, dict[str, Fitted], Recipe, dict[str, str]]:
    """What tells outcomes, fitted, blended and calibrated on its slices; its heads, its recipe, and what was found on the way.

    The head for the reason is among the heads if `reasons` are wanted. Raises BadInput where a slice holds too little.
    """
    _enough_in_slices(data.outcome, split)
    fitted, recipe = _fit_heads(data, split, settings, tell, fit, reasons=reasons)
    heads = {name: found.parts.head() for name, found in fitted.items()}
    stages = tuple(heads[name] for name in STAGES) if STAGES[0] in heads else None
    shares = _category_shares(data.outcome[(split.slices >= 0) & ~split["test"]])
    model = OutcomeModel(heads["success"], stages, None, shares)
    blend, notes = _blended(model, data, split, settings)
    for name, note in notes.items():
        tell(f"{name}: {note}")
    return replace(model, blend=blend), fitted, recipe, notes


def check_enough(table: pd.DataFrame, source: str = "attempts") -> None:
    """Raises BadInput, naming the source, where there are too few attempts with an outcome to learn from."""
    known = int(table["outcome"].notna().sum()) if "outcome" in table else 0
    if known < _FEWEST:
        raise BadInput(
            source, message=f"{known} attempts with an outcome are too few to learn from; want {_FEWEST} or more"
        )


def _enough_in_slices(outcome: Array, split: Split) -> None:
    for name in SLICES:
        known = outcome[split[name] & (outcome >= 0)]
        if len(known) < 10 or len(np.unique(known == 0)) < 2:
            raise BadInput(
                "attempts",
                message=f"the {name} slice of time has {len(known)} attempts with an outcome, "
                f"{int((known == 0).sum())} of them successes; want both successes and failures in each of the slices "
                f"{', '.join(SLICES)}: give a longer time, or larger shares in the settings",
            )


def _fit_heads(
    data: Prepared, split: Split, settings: TrainSettings, tell: Tell, grow: Fit, *, reasons: bool
) -> tuple[dict[str, Fitted], Recipe]:
    outcome, matrix = data.outcome, data.matrix
    fit, stop = split["fit"] & (outcome >= 0), split["stop"] & (outcome >= 0)
    created = data.rows.created[fit]
    span = float(created.max() - created.min())
    columns = usable_columns(select(matrix, fit), span, settings.own, settings.left_out)
    recipe, rounds = Recipe(columns), None
    if len(outcome) < settings.select_below_rows:
        tell(f"{len(outcome):,} attempts are few: choosing among {len(columns)} features by cross-validation")
        earlier = (outcome >= 0) & (split.slices >= 0) & ~split["test"]
        recipe, rounds = choose_recipe(matrix[earlier], (outcome[earlier] != 0).astype(int), columns, settings, tell)
    success = grow(
        select(matrix, fit),
        (outcome[fit] != 0).astype(int),
        ("success", "failure"),
        recipe,
        settings,
        stop=(select(matrix, stop), (outcome[stop] != 0).astype(int)),
        rounds=None if rounds is None else settings.max_rounds,
    )
    tell(f"success head: {success.rounds} trees over {len(recipe.columns)} features")
    heads = {"success": success}
    explained = (outcome > 0) & (outcome < 5)
    fit, stop = split["fit"] & explained, split["stop"] & explained
    if fit.sum() >= _FEWEST_EXPLAINED and len(np.unique(outcome[fit])) == len(CATEGORIES) and stop.any():
        for name in STAGES:
            rows, answer = _reached(outcome, name)
            seen, held = split["fit"] & rows, split["stop"] & rows
            trees = grow(
                select(matrix, seen), answer[seen], (name, "passed"), Recipe(columns, stage=True), settings,
                stop=(select(matrix, held), answer[held]),
            )  # fmt: skip
            curves, share = None, 0.0
            if seen.sum() < settings.curves_below_rows:
                curves = fit_additive(
                    matrix[seen], answer[seen] == 0, columns, settings.own, settings.monotone_of(name)
                )
                scores = trees.parts.head().scores(matrix[held])[:, 0]
                share = share_of_additive(scores, curves(matrix[held]), answer[held] == 0)
            heads[name] = replace(trees, parts=_beside(trees.parts, curves, share), curves=share)
            tell(
                f"{name} head: {trees.rounds} trees, from {int((answer[seen] == 0).sum()):,} failures; "
                f"curves count {share:.0%} beside them"
            )
        found = fit_reasons(data, split, columns, settings) if reasons else None
        if found is not None:
            heads["reason"] = found
            tell(f"reason head: {found.rounds} trees for each of {len(found.parts.classes)} reasons")
    else:
        tell("too few explained failures: the model tells whether payments succeed, not why they fail")
    return heads, recipe


def _beside(trees: HeadParts, curves: Additive | None, share: float) -> HeadParts:
    """A head whose trees count less, and curves for the rest."""
    if curves is None or share == 0.0:
        return trees
    calibration = Calibration(np.array([[1.0 - share]]), np.zeros(1))
    return replace(trees, calibration=calibration, additive=curves.scaled(share))


def _reached(outcome: Array, stage: str) -> tuple[Array, Array]:
    """The attempts that came as far as a stage, as a mask; and 0 for those that fell there, 1 for those that passed."""
    codes = [1 + CATEGORIES.index(name) for name in STAGES]
    place = STAGES.index(stage)
    rows = (outcome >= 0) & (outcome < 5) & ~np.isin(outcome, codes[:place])
    return rows, (outcome != codes[place]).astype(int)


def _blended(
    model: OutcomeModel, data: Prepared, split: Split, settings: TrainSettings
) -> tuple[Blend, dict[str, str]]:
    """How much the success head and the stages count, calibrated; and what was found on the way.

    The blend is fitted on the slice that stopped the trees, and each way is tried on the one that calibrates: the blend is
    kept only if it beats the better of the two alone with 95 % of bootstrap resamples.
    """
    stop = split["stop"] & (data.outcome >= 0)
    rows = split["calibrate"] & (data.outcome >= 0)
    won, payment = data.outcome[rows] == 0, data.payment[rows]
    direct, staged = model.log_odds(data.matrix[rows])
    blend, notes = Blend(), {}
    if model.stages is not None:
        both = Blend(*blend_of(*model.log_odds(data.matrix[stop]), data.outcome[stop] == 0))
        losses = {way: log_losses(way(direct, staged), won) for way in (blend, Blend(0.0, 0.0, 1.0), both)}
        alone = min(list(losses)[:2], key=lambda way: losses[way].mean())
        gain = Resampler(payment, settings.resamples, settings.seed).mean(losses[alone] - losses[both])
        blend = both if gain.low > 0.0 else alone
        kept = "both" if blend is both else "the stages alone" if blend.staged else "the success head alone"
        notes["success is told by"] = (
            f"{kept}; log loss of the success head {losses[Blend()].mean():.5f}, of the stages "
            f"{losses[Blend(0.0, 0.0, 1.0)].mean():.5f}, of both {losses[both].mean():.5f}"
        )
    found, said = calibrate(
        blend(direct, staged)[:, None], (~won).astype(int), payment, resamples=settings.resamples, seed=settings.seed
    )
    slope, bias = float(found.weights[0, 0]), float(found.bias[0])
    if slope < 0.0 and settings.monotone:
        slope, bias, said = 1.0, 0.0, "left as it is: it would turn round what was to rise or fall"
    notes["calibration of success"] = said
    return Blend(slope * blend.bias + bias, slope * blend.direct, slope * blend.staged), notes


def _refit(
    data: Prepared, fitted: Mapping[str, Fitted], recipe: Recipe, settings: TrainSettings
) -> dict[str, HeadParts]:
    """The same heads, with as many trees, from all attempts with an outcome."""
    outcome, matrix = data.outcome, data.matrix
    alone = replace(settings, threads=1)  # small fits side by side, rather than each on all cores

    def again(name: str) -> HeadParts:
        found = fitted[name]
        if name == "reason":
            return refit_reasons(data, found, alone)
        rows, answer = (outcome >= 0, (outcome != 0).astype(int)) if name == "success" else _reached(outcome, name)
        columns, seen = found.parts.columns, matrix[rows]
        kind = recipe if name == "success" else Recipe(columns, stage=True)
        trees = fit_head(seen, answer[rows], found.parts.classes, kind, alone, rounds=found.rounds).parts
        held = settings.monotone_of(name)
        curves = fit_additive(seen, answer[rows] == 0, columns, settings.own, held) if found.curves else None
        return _beside(trees, curves, found.curves)

    with ThreadPoolExecutor(settings.threads or os.cpu_count()) as pool:
        return dict(zip(fitted, pool.map(again, fitted), strict=True))


def _report(
    data: Prepared, split: Split, judged: Judged, told: Array, recipe: Recipe, settings: TrainSettings
) -> dict[str, Any]:
    outcome = data.outcome
    before = (outcome >= 0) & (split.slices >= 0) & ~split["test"]
    test = split["test"] & (outcome >= 0)
    span = float(np.ptp(data.rows.created[before]))
    usable = usable_columns(select(data.matrix, before), span, settings.own, settings.left_out)
    others = {
        "prior": prior(outcome[before], int(test.sum())),
        "success rate by country, method and route": rate_table(_cells(data.table), outcome, before, test),
        "logistic regression": LinearBaseline(usable, settings.seed, settings.own).outcome_probability(
            data.matrix, outcome, before, test
        ),
    }
    against = {name: compare(judged, told, other) for name, other in others.items()}
    every = slices_of(data.table, data.encoder, test)
    return {
        "attempts": len(outcome),
        "pending": int((data.rows.outcome < 0).sum()),
        "not_final": int(((outcome < 0) & (data.rows.outcome >= 0)).sum()),
        "unclassified": int((data.rows.outcome == 5).sum()),
        "purged": split.purged,
        "window": [str(data.table["created_at"].iloc[0]), str(data.table["created_at"].iloc[-1])],
        "slices": {
            name: {
                "attempts": int((split[name] & (outcome >= 0)).sum()),
                "from": iso(split.begins[place]),
            }
            for place, name in enumerate(SLICES)
        },
        "outcomes": {
            name: int((data.rows.outcome == code).sum()) for code, name in enumerate((*OUTCOMES, "unclassified"))
        },
        "features": [all_features(settings.own)[column].name for column in recipe.columns],
        "extra_trees": recipe.extra_trees,
        "quality": {
            "model": _plain(quality(judged, told)),
            **{name: _plain(quality(judged, other)) for name, other in others.items()},
        },
        "against": {name: _plain(found) for name, found in against.items()},
        "not_beaten": [
            f"{figure} of {name}"
            for name, found in against.items()
            for figure, difference in found.items()
            if difference.high >= 0.0
        ],
        "categories": {name: _plain(found) for name, found in why_quality(judged, told).items()},
        "by_slice": [
            {"slice": name, "value": value, **_plain(found)} for name, value, found in by_slice(judged, told, every)
        ],
    }


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.as_dict() if hasattr(value, "as_dict") else value for name, value in found.items()}


def _cells(table: pd.DataFrame) -> Array:
    """Country × method × route as an integer."""
    names = [name for name in ("country", "method", "route") if name in table]
    codes: Array = table.groupby(names, observed=True, dropna=False).ngroup().to_numpy()
    return codes


def _category_shares(outcome: Array) -> tuple[float, float, float, float]:
    counts = np.bincount(outcome[(outcome > 0) & (outcome < 5)], minlength=5)[1:].astype(float) + 0.5
    a, b, c, d = (counts / counts.sum()).tolist()
    return a, b, c, d


def _ways(table: pd.DataFrame) -> dict[str, list[tuple[str, str | None]]]:
    """(method, route) by country, most used first."""
    names = ["country", "method", *(["route"] if "route" in table else [])]
    counts = table.groupby(names, observed=True, dropna=False).size().sort_values(ascending=False, kind="stable")
    ways: dict[str, list[tuple[str, str | None]]] = {}
    for key in counts.index:
        country, method, route = (*key, None)[:3]
        ways.setdefault(str(country), []).append((str(method), str(route) if isinstance(route, str) else None))
    return ways


def _importances(fitted: Mapping[str, Fitted]) -> dict[str, dict[str, float]]:
    """Share of the trees' gain by feature, largest first, of each head."""
    return {name: found.gains() for name, found in fitted.items()}
