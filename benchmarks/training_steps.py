"""One training of one size by one engine, in a process of its own, so that its peak of memory is its own.

`python -m benchmarks.training_steps FOLDER ENGINE ROUNDS` trains on the Parquet in FOLDER and prints a line of JSON: attempts,
seconds of each step, by the clock and (`…_cpu`) of this process's cores, peak memory.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time

from training import tracking
from training.engine import engine
from training.settings import TrainSettings
from training.train import learn

__all__ = ["NOW", "measured"]

NOW = datetime(2027, 1, 1, tzinfo=UTC)


def measured(data: Path, name: str, rounds: int) -> dict[str, float]:
    """Attempts, seconds of each step and of LightGBM within them, and peak memory (MB) of this and of its largest child."""
    settings = TrainSettings(max_rounds=rounds)
    spent: dict[str, float] = {}
    own, done = [0.0, 0.0], threading.Event()
    threading.Thread(target=_watch, args=(own, done), daemon=True).start()
    began = last = perf_counter()
    worked = process_time()

    def step(what: str) -> None:
        nonlocal last, worked
        spent[what], spent[f"{what}_cpu"] = perf_counter() - last, process_time() - worked
        last, worked = perf_counter(), process_time()

    with (
        tempfile.TemporaryDirectory() as folder,
        _store(Path(folder)),
        _lightgbm_alone() as trees,
        engine(name, None, settings, _say) as work,
    ):
        tracking.store()
        step("start")
        table = work.read(str(data), None, None, now=NOW)
        step("reading")
        prepared = work.prepare(table)
        step("features")
        with tracking.run(settings) as active:
            trained = learn(prepared, settings, _say, fit=work.fit)
            step("learning")
            tracking.track(trained, settings, str(data), run_id=active.info.run_id)
            step("tracking")
    done.set()
    mine = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "attempts": len(table),
        **spent,
        "lightgbm": sum(trees),
        "total": perf_counter() - began,
        "peak_mb": mine,
        "own_mb": own[0],
        "worker_mb": own[1] if name == "dask" else 0.0,
        "log_loss": trained.report["quality"]["model"]["success_log_loss"]["value"],
    }


def _watch(most: list[float], stop: threading.Event) -> None:
    """Keeps the most memory (MB) that was this process's own, and the most of one child of its.

    Pages of files the system takes back when others want them. What the system says of a child that has ended counts the moment
    in which it still was a copy of this process.
    """
    while not stop.wait(0.05):
        most[0] = max(most[0], _own_mb("self"))
        for task in Path("/proc/self/task").iterdir():
            with suppress(OSError):  # gone meanwhile
                children = (task / "children").read_text(encoding="ascii").split()
                most[1] = max([most[1], *map(_own_mb, children)])


def _own_mb(process: str) -> float:
    """Memory that is a process's own, MB; 0 of one that is gone."""
    with suppress(OSError, IndexError):
        told = Path("/proc", process, "status").read_text(encoding="ascii")
        return float(told.partition("RssAnon:")[2].split()[0]) / 1024
    return 0.0


def _say(text: str) -> None:
    print(text, file=sys.stderr)


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
    print(json.dumps(measured(Path(sys.argv[1]).resolve(), sys.argv[2], int(sys.argv[3]))))
