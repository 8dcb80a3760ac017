"""How long `payrescue report` takes on a million attempts, all of it, how much memory, and how large its pages are."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from benchmarks.report import Figure, at_most, publish
from features.attempts import check_attempts
from insights.pages import MOST_BYTES
from models.artefact import save, write_manifest
from training.card import model_card
from training.settings import TrainSettings
from training.simulator import simulate
from training.train import train

__all__ = ["figures"]

PAYMENTS, SEED, STORY = 850_000, 7, "gateway"
TAUGHT = 50_000  # payments that the model learns from: as many as in the demo


def figures() -> list[Figure]:
    """The command as its user gives it, in a process of its own, after the model is there."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        world = simulate(PAYMENTS, SEED, STORY)
        world.write(folder / "world")
        attempts = len(world.attempts)
        _teach(folder / "model")
        command = [
            *(sys.executable, "-c", "import payrescue; payrescue.main()", "report"),
            *("--data", str(folder / "world" / "attempts.parquet"), "--model", str(folder / "model")),
            *("--output", str(folder / "pages")),
        ]
        environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        began, before = perf_counter(), _cpu()
        subprocess.run(command, env=environment, check=True)
        seconds, cpu = perf_counter() - began, _cpu() - before
        largest = max(path.stat().st_size for path in (folder / "pages").glob("*.html"))
    # The largest of the processes that have ended: the simulator runs in this one
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    return [
        at_most(
            f"payrescue report, {attempts:,} attempts, seven pages in two languages", seconds, "s", 90.0, f"{cpu:.0f} s of CPU"
        ),
        at_most("its memory", memory, "GB", 4.0),
        at_most("its largest page, beside the plotting library", largest / 1e6, "MB", MOST_BYTES / 1e6),
    ]  # fmt: skip


def _teach(folder: Path) -> None:
    """A model of another part of the same market, as a training would write it."""
    settings = TrainSettings()
    table = check_attempts(simulate(TAUGHT, SEED + 1, STORY).attempts, now=datetime(2026, 6, 1, tzinfo=UTC))
    trained = train(table, settings, print)
    save(trained.artefact, folder)
    (folder / "model_card.json").write_text(json.dumps(model_card(trained, settings, "benchmark")), encoding="utf-8")
    write_manifest(folder)


def _cpu() -> float:
    """Seconds of CPU of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    publish("report", figures())
