"""How often the diagnosis is right on simulated failures whose codes are masked, and whether `plausible` holds what it promises.

Trained on the first four fifths of a story's payments by time, asked about the failures of the rest, with the earlier ones as
history. The heads beside the reason head matter to no figure here, so they grow fewer trees than by default. Failures that
nobody explained have no true reason and are not judged. Intervals are 95 %, by payment.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
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

__all__ = ["figures", "judged"]

Array = npt.NDArray[Any]

PAYMENTS, SEED, RESAMPLES = 60_000, 11, 1_000
SETTINGS = TrainSettings(max_rounds=120, resamples=20)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
LOW, HIGH = 0.88, 0.92


@dataclass(frozen=True)
class Asked:
    """Failures that were diagnosed: `told` as diagnose_table gives it; the truth; and what the baselines say, all (n,)."""

    story: str
    told: pd.DataFrame
    payment: Array
    reason: Array
    category: Array
    code: Array
    plain: Array

    def share(self, of: Array, among: Array | None = None) -> tuple[float, str]:
        """The share of true values and its interval in words, with how many they are."""
        rows = np.ones(len(of), bool) if among is None else among
        found = Resampler(self.payment[rows], RESAMPLES, SEED).mean(of[rows].astype(float))
        return found.value, f"[{found.low:.3f}, {found.high:.3f}]; {int(rows.sum()):,} failures"


def figures() -> list[Figure]:
    """Both stories."""
    return [figure for story in ("base", "outage") for figure in judged(asked(story))]


def asked(story: str, payments: int = PAYMENTS, seed: int = SEED) -> Asked:
    """Train, diagnose, and let the baselines speak."""
    table = check_attempts(simulate(payments, seed, story).attempts, now=NOW)
    begun = table.groupby("payment_id")["created_at"].transform("min")
    cut = begun[~table["payment_id"].duplicated()].quantile(0.8)
    early, late = table[begun < cut].reset_index(drop=True), table[begun >= cut].reset_index(drop=True)
    told = diagnose_table(train(early, SETTINGS).artefact, late, early)
    truth = late.set_index("attempt_id").loc[told["attempt_id"]].reset_index()
    known = truth["reason"].notna().to_numpy()
    told, truth = told[known].reset_index(drop=True), truth[known].reset_index(drop=True)
    return Asked(
        story,
        told,
        np.unique(truth["payment_id"], return_inverse=True)[1],
        truth["reason"].to_numpy(object),
        truth["outcome"].to_numpy(object),
        _by_code_table(truth),
        _by_plain_lightgbm(early, truth),
    )


def judged(of: Asked) -> list[Figure]:
    """The figures of a story."""
    told, story, known = of.told, of.story, reasons()
    category, reason = told["category"].to_numpy(object), told["reason"].to_numpy(object)
    coded = np.array([known[name].category if name in known else None for name in of.code], object)
    plain = np.array([known[name].category for name in of.plain], object)
    right, by_code, by_plain = reason == of.reason, of.code == of.reason, of.plain == of.reason
    decided = (told["decided_by"] != "model").to_numpy()
    in_category, said = of.share(category == of.category)
    in_reason, said_of_reason = of.share(right)
    more = Resampler(of.payment, RESAMPLES, SEED).mean(100.0 * (right.astype(float) - by_code))
    against = Resampler(of.payment, RESAMPLES, SEED).mean(100.0 * (right.astype(float) - by_plain))
    closed, failed = of.reason == "challenge_abandoned", of.category == "authentication"
    either = closed | failed
    leaning = (told["p_user_abandonment"] - told["p_authentication"]).to_numpy(float)
    return [
        at_least(
            f"{story}: category right", in_category, "", 0.95,
            f"{said}; code table {np.mean(coded == of.category):.3f}, plain LightGBM {np.mean(plain == of.category):.3f}",
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
            f"[{against.low:.1f}, {against.high:.1f}]",
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
        alone = f"naming one reason holds {right[among].mean():.3f}"
        return Figure(f"{of.story}: {what}", value, "", f"{LOW} to {HIGH}", LOW <= value <= HIGH, f"{said}; {alone}")

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
        "feature_fraction": 0.5, "cat_smooth": 20.0, "verbose": -1, "seed": SEED,
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
