"""How often the diagnosis is right on simulated failures whose codes are masked, and whether `plausible` holds what it promises.

Nine worlds of each story, judged together: a category has some 300 to 600 failures in one, which would tell its coverage to
± 0.03 at best, and its threshold was drawn from as few. In each, trained on the first four fifths of the payments by time,
asked about the failures of the rest, with the earlier ones as history. The heads beside the reason head matter to no figure
here, so they are fitted as quickly as may be. Failures that nobody explained have no true reason and are not judged. Intervals
are 95 %, by payment. The plain LightGBM, which takes as long as all else, is asked in the first world of a story alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.report import Figure, at_least, publish
from features.attempts import check_attempts
from features.columns import CATEGORIES
from features.definitions import EVIDENCE_CODES, RAW_CODES, RAW_NUMBERS
from features.rows import Encoder
from features.taxonomy import explain_code, reasons
from models.tables import diagnose_table
from training.metrics import Resampler, auc
from training.settings import TrainSettings
from training.simulator import simulate
from training.train import train

__all__ = ["Asked", "asked", "figures", "judged", "pooled"]

Array = npt.NDArray[Any]

PAYMENTS, SEEDS, RESAMPLES = 60_000, tuple(range(11, 20)), 1_000
STORIES = ("base", "outage")
SETTINGS = TrainSettings(max_rounds=120, resamples=20, early_stopping_rounds=1, curves_below_rows=0, threads=1)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
LOW, HIGH = 0.88, 0.92


@dataclass(frozen=True)
class Asked:
    """Failures that were diagnosed: `told` as diagnose_table gives it; the truth; and what the baselines say, all (n,).

    `world` is the seed of the world that each is of; `plain` is None where the plain LightGBM was not asked.
    """

    story: str
    told: pd.DataFrame
    world: Array
    payment: Array
    reason: Array
    category: Array
    code: Array
    plain: Array

    def share(self, of: Array, among: Array | None = None) -> tuple[float, str]:
        """The share of true values and its interval in words, with how many they are."""
        rows = np.ones(len(of), bool) if among is None else among
        found = Resampler(self.payment[rows], RESAMPLES, SEEDS[0]).mean(of[rows].astype(float))
        return found.value, f"[{found.low:.3f}, {found.high:.3f}]; {int(rows.sum()):,} failures"


def figures() -> list[Figure]:
    """Both stories."""
    os.environ["OMP_NUM_THREADS"] = "1"  # a world on each core is quicker than each world on all of them
    worlds = [(story, seed) for seed in SEEDS for story in STORIES]
    with get_context("spawn").Pool() as pool:
        found = pool.starmap(asked, worlds, chunksize=1)
    return [figure for story in STORIES for figure in judged(pooled([one for one in found if one.story == story]))]


def asked(story: str, seed: int, payments: int = PAYMENTS) -> Asked:
    """Train on a world, diagnose its later failures, and let the baselines speak."""
    table = check_attempts(simulate(payments, seed, story).attempts, now=NOW)
    begun = table.groupby("payment_id")["created_at"].transform("min")
    cut = begun[~table["payment_id"].duplicated()].quantile(0.8)
    early, late = table[begun < cut].reset_index(drop=True), table[begun >= cut].reset_index(drop=True)
    told = diagnose_table(train(early, SETTINGS).artefact, late, early)
    truth = late.set_index("attempt_id").loc[told["attempt_id"]].reset_index()
    known = truth["reason"].notna().to_numpy()
    told, truth = told[known].reset_index(drop=True), truth[known].reset_index(drop=True)
    plain = _by_plain_lightgbm(early, truth) if seed == SEEDS[0] else np.full(len(truth), None)
    return Asked(
        story,
        told,
        np.full(len(truth), seed),
        np.unique(truth["payment_id"], return_inverse=True)[1],
        truth["reason"].to_numpy(object),
        truth["outcome"].to_numpy(object),
        _by_code_table(truth),
        plain,
    )


def pooled(worlds: Sequence[Asked]) -> Asked:
    """The failures of several worlds of a story, with payments of their own."""
    payments, first = [], 0
    for one in worlds:
        payments.append(one.payment + first)
        first += int(one.payment.max()) + 1

    def all_of(name: str) -> Array:
        return np.concatenate([getattr(one, name) for one in worlds])

    rest = {name: all_of(name) for name in ("world", "reason", "category", "code", "plain")}
    told = pd.concat([one.told for one in worlds], ignore_index=True)
    return Asked(story=worlds[0].story, told=told, payment=np.concatenate(payments), **rest)


def judged(of: Asked) -> list[Figure]:
    """The figures of a story."""
    told, story, known = of.told, of.story, reasons()
    category, reason = told["category"].to_numpy(object), told["reason"].to_numpy(object)
    coded = np.array([known[name].category if name in known else None for name in of.code], object)
    right, by_code = reason == of.reason, of.code == of.reason
    both = np.array([name is not None for name in of.plain])
    plain, by_plain = (
        np.array([known[name].category for name in of.plain[both]], object),
        of.plain[both] == of.reason[both],
    )
    decided = (told["decided_by"] != "model").to_numpy()
    in_category, said = of.share(category == of.category)
    in_reason, said_of_reason = of.share(right)
    more = Resampler(of.payment, RESAMPLES, SEEDS[0]).mean(100.0 * (right.astype(float) - by_code))
    against = Resampler(of.payment[both], RESAMPLES, SEEDS[0]).mean(100.0 * (right[both].astype(float) - by_plain))
    closed, failed = of.reason == "challenge_abandoned", of.category == "authentication"
    either = closed | failed
    leaning = (told["p_user_abandonment"] - told["p_authentication"]).to_numpy(float)
    return [
        at_least(
            f"{story}: category right", in_category, "", 0.95,
            f"{said}; code table {np.mean(coded == of.category):.3f}, plain LightGBM {np.mean(plain == of.category[both]):.3f}",
        ),
        Figure(
            f"{story}: reason right", in_reason, "",
            baseline=f"{said_of_reason}; code table {by_code.mean():.3f}, plain LightGBM {by_plain.mean():.3f}",
        ),
        at_least(
            f"{story}: reason right, beyond the code table", more.value, "points", 30.0, f"[{more.low:.1f}, {more.high:.1f}]"
        ),
        at_least(
            f"{story}: reason right, beyond plain LightGBM", against.value, "points", 0.0,
            f"[{against.low:.1f}, {against.high:.1f}]; one world, {int(both.sum()):,} failures",
        ),
        at_least(
            f"{story}: closed challenges told from failed authentication, AUC", auc(closed[either], leaning[either]), "", 0.95,
            f"{int(closed.sum())} against {int(failed.sum())}; where no code decides "
            f"{auc(closed[either & ~decided], leaning[either & ~decided]):.4f}",
        ),
        *_coverage(of, decided),
    ]  # fmt: skip


def _coverage(of: Asked, decided: Array) -> list[Figure]:
    """How often the sets hold the true reason, and how large they are."""
    sets = [told.split("|") for told in of.told["plausible"]]
    held = np.array([reason in told for reason, told in zip(of.reason, sets, strict=True)])
    size = np.array([len(told) for told in sets])
    right = of.told["reason"].to_numpy(object) == of.reason

    def within(what: str, among: Array) -> Figure:
        value, said = of.share(held, among)
        by_world = ", ".join(f"{held[among & (of.world == seed)].mean():.3f}" for seed in np.unique(of.world))
        alone = f"naming one reason holds {right[among].mean():.3f}"
        if right[among].mean() > HIGH:
            alone += ", and no set can hold less"
        said = f"{said}; by world {by_world}; {alone}"
        return Figure(f"{of.story}: {what}", value, "", f"{LOW} to {HIGH}", LOW <= value <= HIGH, said)

    by_model, said = of.share(held, ~decided)
    return [
        within("`plausible` holds the true reason", np.ones(len(held), bool)),
        *(within(f"the same, {name}", of.category == name) for name in CATEGORIES),
        Figure(
            f"{of.story}: the same, where no code decides", by_model, "",
            baseline=f"{said}; where one does {held[decided].mean():.4f}, {decided.mean():.0%} of failures",
        ),
        Figure(
            f"{of.story}: reasons in `plausible`, mean", float(size.mean()), "",
            baseline=f"where no code decides {size[~decided].mean():.2f}",
        ),
    ]  # fmt: skip


def _by_code_table(table: pd.DataFrame) -> Array:
    """What each response code usually means, whether it settles the cause or not; None without a code."""
    kept = table[["code_scheme", "response_code", "card_brand"]].astype(object)
    rows = zip(*(kept[name].where(kept[name].notna(), None) for name in kept), strict=True)
    said = [explain_code(scheme, code, brand) if scheme and code else None for scheme, code, brand in rows]
    return np.array([meaning.reason if meaning is not None else None for meaning in said], object)


def _by_plain_lightgbm(early: pd.DataFrame, asked: pd.DataFrame) -> Array:
    """The reason that one multiclass LightGBM names, from the table's own columns, the hour and all evidence."""
    import lightgbm as lgb

    learnt = early[early["reason"].notna()].sort_values("created_at", kind="stable")
    encoder = Encoder.fit(early)
    names = np.unique(learnt["reason"].to_numpy(object))

    def matrix(table: pd.DataFrame) -> Array:
        rows = encoder.from_table(table)
        hour = table["created_at"].dt.hour.to_numpy()[:, None]
        codes = np.where(rows.codes < 0, np.nan, rows.codes)
        left = encoder.evidence_of_table(table)
        return np.hstack([rows.numbers, hour, left[:, :1], codes, left[:, 1:]])

    x, y = matrix(learnt), np.searchsorted(names, learnt["reason"].to_numpy(object))
    first = len(RAW_NUMBERS) + 2
    cut = int(len(y) * 0.9)
    parameters = {
        "objective": "multiclass", "num_class": len(names), "learning_rate": 0.08, "num_leaves": 7, "lambda_l2": 5.0,
        "feature_fraction": 0.5, "cat_smooth": 20.0, "verbose": -1, "seed": SEEDS[0], "num_threads": 1,
    }  # fmt: skip
    coded = list(range(first, first + len(RAW_CODES) + len(EVIDENCE_CODES)))
    data = lgb.Dataset(x[:cut], y[:cut], categorical_feature=coded, params={"verbose": -1})
    stop = lgb.Dataset(x[cut:], y[cut:], reference=data)
    stopping = lgb.early_stopping(10, verbose=False)
    booster = lgb.train(parameters, data, 200, valid_sets=[stop], callbacks=[stopping])
    found: Array = names[np.asarray(booster.predict(matrix(asked))).argmax(axis=1)]
    return found


if __name__ == "__main__":
    publish("diagnosis", figures())
