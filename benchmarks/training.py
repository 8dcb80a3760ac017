"""How long a training of a million attempts takes, all of it, against LightGBM growing the same trees on the finished matrix."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from benchmarks.report import Figure, at_most, publish
from features.attempts import read_attempts
from training import tracking
from training.settings import TrainSettings
from training.simulator import simulate
from training.train import train

__all__ = ["figures"]

PAYMENTS, SEED = 850_000, 7


def figures() -> list[Figure]:
    """Reading, features, heads, evaluation and tracking together, as a multiple of `lightgbm.train` alone."""
    with tempfile.TemporaryDirectory() as folder, _store(Path(folder)):
        source = Path(folder, "world")
        simulate(PAYMENTS, SEED).write(source)
        settings = TrainSettings()
        with _lightgbm_alone() as spent:
            began = perf_counter()
            table = read_attempts(source / "attempts.parquet", now=datetime(2026, 6, 1, tzinfo=UTC), for_training=True)
            tracking.store()
            with tracking.run(settings) as active:
                trained = train(table, settings, print)
                tracking.track(trained, settings, str(source), run_id=active.info.run_id)
            seconds = perf_counter() - began
    alone = sum(spent)
    return [
        at_most(
            f"training on {len(table):,} attempts, all of it, against lightgbm.train for the same trees",
            seconds / alone, "×", 2.0, f"{seconds:.0f} s in all, {alone:.0f} s of them in lightgbm.train",
        )
    ]  # fmt: skip


@contextmanager
def _lightgbm_alone() -> Iterator[list[float]]:
    """Collects the seconds that go by inside `lightgbm.train`, the same calls on the same matrices."""
    import lightgbm as lgb

    spent: list[float] = []
    plain = lgb.train

    def timed(*args: object, **kwargs: object) -> object:
        began = perf_counter()
        try:
            return plain(*args, **kwargs)
        finally:
            spent.append(perf_counter() - began)

    lgb.train = timed
    try:
        yield spent
    finally:
        lgb.train = plain


@contextmanager
def _store(folder: Path) -> Iterator[None]:
    """An MLflow store of its own, and back to what was."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    here = Path.cwd()
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        if before is None:
            del os.environ["MLFLOW_TRACKING_URI"]
        else:
            os.environ["MLFLOW_TRACKING_URI"] = before


if __name__ == "__main__":
    publish("training", figures())
