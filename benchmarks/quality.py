"""How much of what could be learnt is learnt, on worlds whose true probabilities are known; and how a shop's data do.

The share learnt is (prior − model) / (prior − oracle) in log loss of the five outcomes, on the last fifth of payments,
scored by `score` with the earlier ones as history, after a training on those with default settings. The log loss is the
expected one, over the oracle's probabilities: that of the outcomes as they fell is the same but for their luck, and stands
beside it. Intervals are by payment.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.report import Figure, at_least, at_most, publish
from benchmarks.slices import earlier_and_later
from features.attempts import check_attempts, read_attempts
from features.columns import OUTCOMES
from features.definitions import RAW_CODES, RAW_NUMBERS
from features.rows import Encoder
from models.tables import score_table
from training.metrics import Estimate, Resampler, auc, binary_log_loss, log_loss
from training.quality import Judged, quality
from training.settings import TrainSettings
from training.simulator import simulate
from training.train import train

__all__ = ["figures"]

PAYMENTS, SEED, RESAMPLES = 60_000, 7, 200
SHOP = Path("..", "shared", "data", "shop_attempts.csv")
MAPPING = Path("examples", "shop_attempts.yaml")
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def figures() -> list[Figure]:
    """The stories, then the shop's last week where its file is there."""
    found = [figure for story in ("base", "outage") for figure in of_story(story)]
    return found + (of_shop() if SHOP.is_file() else [])


def of_story(story: str) -> list[Figure]:
    """Share learnt and calibration error on the last fifth of a story's payments."""
    world = simulate(PAYMENTS, SEED, story)
    table = check_attempts(world.attempts, now=NOW)
    early, late = earlier_and_later(table, 0.8)
    trained = train(early, TrainSettings())
    told = score_table(trained.artefact, late, early)[[f"p_{name}" for name in OUTCOMES]].to_numpy()
    truth = world.oracle.set_index("attempt_id").loc[late["attempt_id"]]
    oracle = truth[[f"p_{name}" for name in OUTCOMES]].to_numpy()
    outcome, before = _outcomes(late), _outcomes(early)
    explained = outcome >= 0
    prior = np.tile(np.bincount(before[before >= 0], minlength=5) / (before >= 0).sum(), (len(late), 1))

    def loss(probabilities: Any) -> float:
        return log_loss(outcome[explained], probabilities[explained])

    def expected(probabilities: Any) -> Any:
        return -(oracle * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1)

    resampler = Resampler(late["payment_id"].to_numpy(), RESAMPLES, SEED)

    def share(probabilities: Any) -> Estimate:
        learnt, learnable = expected(prior) - expected(probabilities), expected(prior) - expected(oracle)
        return resampler.estimate(lambda w: float(np.average(learnt, weights=w) / np.average(learnable, weights=w)))

    ours, plain = share(told), share(_plain_lightgbm(early, late, before)).value
    fell = (loss(prior) - loss(told)) / (loss(prior) - loss(oracle))
    off = quality(
        Judged(np.where(explained, outcome, 5), late["payment_id"].to_numpy(), resamples=RESAMPLES, seed=SEED), told
    )["calibration_error"]
    sample = f"{int(explained.sum()):,} attempts"
    return [
        at_least(
            f"{story}: share of the learnable log loss learnt", ours.value, "", 0.95,
            f"[{ours.low:.3f}, {ours.high:.3f}]; plain LightGBM on the raw columns {plain:.3f}; by the outcomes as they fell "
            f"{fell:.3f}; oracle {loss(oracle):.4f}, prior {loss(prior):.4f} nats; {sample}",
        ),
        at_most(
            f"{story}: calibration error, mean over outcomes", off.value, "", 0.008,
            f"[{off.low:.4f}, {off.high:.4f}]; {sample}",
        ),
    ]  # fmt: skip


def of_shop() -> list[Figure]:
    """The shop's last week, by a model trained on the weeks before; its next month is not to be had."""
    table = read_attempts(SHOP, MAPPING, now=NOW, for_training=True)
    early, late = earlier_and_later(table, 24.0 / 31.0)
    told = score_table(train(early, TrainSettings()).artefact, late, early)["p_success"].to_numpy()
    plain = _plain_lightgbm(early, late, (early["outcome"] != "success").to_numpy().astype(int))[:, 0]
    happened = (late["outcome"] == "success").to_numpy()
    sample = f"{len(late):,} attempts"
    judged = Judged(np.where(happened, 0, 5), late["payment_id"].to_numpy(), resamples=RESAMPLES, seed=SEED)
    found = quality(judged, np.column_stack([told, np.zeros((len(told), 4))]))
    rank, loss = found["success_auc"], found["success_log_loss"]
    return [
        Figure(
            "shop, last week: AUC of success", rank.value, "",
            baseline=f"[{rank.low:.3f}, {rank.high:.3f}]; plain LightGBM {auc(happened, plain):.4f}; {sample}",
        ),
        Figure(
            "shop, last week: log loss of success", loss.value, "nats",
            baseline=f"[{loss.low:.4f}, {loss.high:.4f}]; plain LightGBM {binary_log_loss(happened, plain):.4f}; {sample}",
        ),
    ]  # fmt: skip


def _outcomes(table: pd.DataFrame) -> Any:
    """Index into OUTCOMES, −1 where pending or unexplained."""
    codes = {name: code for code, name in enumerate(OUTCOMES)}
    return np.array([codes.get(value, -1) for value in table["outcome"].astype(object)])


def _plain_lightgbm(early: pd.DataFrame, late: pd.DataFrame, answer: Any) -> Any:
    """One LightGBM on the table's own columns and the hour, LightGBM's defaults but for a slower rate and early stopping."""
    import lightgbm as lgb

    encoder = Encoder.fit(early)

    def matrix(table: pd.DataFrame) -> Any:
        rows = encoder.from_table(table)
        hour = table["created_at"].dt.hour.to_numpy()[:, None]
        return np.hstack([rows.numbers, np.where(rows.codes < 0, np.nan, rows.codes), hour])

    classes = int(answer.max()) + 1
    known = answer >= 0
    cut = int(known.sum() * 0.9)
    order = np.argsort(early["created_at"].to_numpy()[known], kind="stable")
    x, y = matrix(early)[known][order], answer[known][order]
    codes = list(range(len(RAW_NUMBERS), len(RAW_NUMBERS) + len(RAW_CODES)))
    data = lgb.Dataset(x[:cut], y[:cut], categorical_feature=codes, params={"verbose": -1})
    kind = {"objective": "multiclass", "num_class": classes} if classes > 2 else {"objective": "binary"}
    booster = lgb.train(
        {**kind, "learning_rate": 0.05, "verbose": -1, "seed": SEED},
        data,
        1000,
        valid_sets=[lgb.Dataset(x[cut:], y[cut:], reference=data)],
        callbacks=[lgb.early_stopping(50, verbose=False)],
    )
    found = np.asarray(booster.predict(matrix(late)))
    return found if classes > 2 else np.column_stack([1.0 - found, found])


if __name__ == "__main__":
    publish("quality", figures())
