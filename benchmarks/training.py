"""How long trainings take as they grow, step by step, against what they must at least do; `make bench-training`.

`python -m benchmarks.training --attempts 10000000 --engine local` measures one size and engine. Each training runs in a process
of its own. The largest of at most a million attempts is scored, and features of its first are made, against the peers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.market import write_market
from benchmarks.report import Figure, at_least, at_most, publish, told
from benchmarks.training_steps import NOW
from benchmarks.windows import by_duckdb, by_pandas
from features.attempts import read_attempts
from features.history import History, features_in_passing
from features.kernel import N_FEATURES
from features.rows import Encoder
from models.heads import STAGES
from models.tables import matrix_of, score_table
from training.settings import TrainSettings
from training.train import Trained, train

__all__ = ["figures"]

SIZES, ENGINES = (100_000, 1_000_000), ("local", "dask")
LARGE = 1_000_000
PEERS_ROWS = 200_000  # window queries take minutes beyond
MOST_MEMORY_MB = 12_000
Steps = dict[str, float]
_BEFORE_LEARNING = ("reading", "features")
_STEPS = (*_BEFORE_LEARNING, "learning", "tracking")


def figures(
    sizes: Sequence[int] = SIZES,
    engines: Sequence[str] = ENGINES,
    rounds: int | None = None,
    peers: bool = True,
) -> list[Figure]:
    """Every step of a training of each size by each engine, in attempts a second, and its peak of memory."""
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            write_market(size, Path(folder, str(size)))
        for engine in engines:
            before: Steps | None = None
            for size in sizes:
                steps = _measured(Path(folder, str(size)), engine, rounds or TrainSettings().max_rounds)
                found += _told(engine, steps, before, rounds)
                before = steps
        if peers:
            size = max((size for size in sizes if size <= LARGE), default=min(sizes))
            found += _against_peers(Path(folder, str(size)), rounds or TrainSettings().max_rounds)
    return found


def _measured(data: Path, engine: str, rounds: int) -> Steps:
    """What a training in another process took."""
    words = [sys.executable, "-m", "benchmarks.training_steps", str(data), engine, str(rounds)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    steps: Steps = json.loads(done.stdout.splitlines()[-1])
    return steps


def _told(engine: str, steps: Steps, before: Steps | None, rounds: int | None) -> list[Figure]:
    n = steps["attempts"]
    whose = f"{engine}, {n:,.0f} attempts" + (f", at most {rounds} trees a head" if rounds else "")
    found = [
        Figure(f"{whose}: {name}", n / steps[name], "attempts/s", baseline=f"{steps[name]:,.1f} s") for name in _STEPS
    ]
    whole = steps["total"] - steps["start"]
    said = f"{whole:,.0f} s in all, {steps['lightgbm']:,.0f} s of them in lightgbm.train"
    if engine == "local" and n >= 0.9 * LARGE:
        what = f"{whose}: all of it, against lightgbm.train for the same trees on the finished matrix"
        # Promised of a whole training of a million: with few trees, all that is no tree weighs more
        is_promised = rounds is None and n < 2 * LARGE
        against = whole / steps["lightgbm"]
        found.append(
            at_most(what, against, "×", 1.5, said) if is_promised else Figure(what, against, "×", baseline=said)
        )
    else:
        found.append(Figure(f"{whose}: all of it", whole, "s", baseline=said))
    workers = steps["worker_mb"]
    baseline = f"with pages of files, which the system may take back, {steps['peak_mb']:,.0f} MB"
    baseline += f"; its largest worker {workers:,.0f} MB" if workers else ""
    found.append(at_most(f"{whose}: peak memory", steps["own_mb"], "MB", MOST_MEMORY_MB, baseline))
    if before is not None:
        # A training that is alone here is told by its cores' time, which others on the machine do not stretch
        unit, suffix = ("s of a core", "_cpu") if engine == "local" else ("s", "")
        for name, parts in (("reading and features", _BEFORE_LEARNING), ("all of it", _STEPS)):
            now, then = (sum(one[f"{part}{suffix}"] for part in parts) for one in (steps, before))
            growth = (now / then) / (n / before["attempts"])
            baseline = f"1 is linear; {told(now)} {unit}, {told(then)} for {before['attempts']:,.0f}"
            found.append(
                at_most(f"{whose}: {name}, growth of the time by that of the table", growth, "×", 1.2, baseline)
            )
    return found


def _against_peers(data: Path, rounds: int) -> list[Figure]:
    """Features against window queries of the same rates, and scoring against LightGBM alone."""
    table = read_attempts(data, now=NOW)
    encoder = Encoder.fit(table)

    def ours() -> None:
        features_in_passing(encoder.from_table(few), History())

    few = table.head(PEERS_ROWS)
    own, duckdb, pandas = _best(ours), _best(lambda: by_duckdb(few), 1), _best(lambda: by_pandas(few), 1)
    said = f"{own:.1f} s for {N_FEATURES} features of {len(few):,} rows against {duckdb:.1f} s for 24; pandas {pandas:.1f} s"
    trained = train(read_attempts(data, now=NOW, for_training=True), TrainSettings(max_rounds=rounds))
    return [
        at_least("features with history, against a DuckDB window query of the rates", duckdb / own, "×", 3.0, said),
        _scoring(data, trained),
    ]


def _scoring(data: Path, trained: Trained) -> Figure:
    """Reading, features and probabilities together, against LightGBM's predictions on the finished matrix."""
    import lightgbm as lgb

    heads = {name: trained.artefact.heads[name] for name in ("success", *STAGES) if name in trained.artefact.heads}
    table = read_attempts(data, now=NOW)
    matrix = matrix_of(trained.artefact, table)
    boosters = [(lgb.Booster(model_str=part.text), list(part.columns)) for part in heads.values()]

    def peer() -> None:
        for booster, columns in boosters:
            booster.predict(np.ascontiguousarray(matrix[:, columns]), raw_score=True)

    def whole() -> None:
        score_table(trained.artefact, read_attempts(data, now=NOW))

    ours, theirs = _best(whole, 2), _best(peer, 2)
    said = f"{ours:.1f} s with reading and features, against {theirs:.1f} s; {len(boosters)} heads"
    return at_most(
        f"score of {len(table):,} attempts, against Booster.predict on the finished matrix",
        ours / theirs,
        "×",
        1.3,
        said,
    )


def _best(call: Callable[[], object], times: int = 3) -> float:
    """Least seconds of a few calls."""
    spent = []
    for _ in range(times):
        began = perf_counter()
        call()
        spent.append(perf_counter() - began)
    return min(spent)


def main(words: Sequence[str]) -> None:
    """Measure the sizes and engines that are named, or those of `figures`."""
    asked = argparse.ArgumentParser(prog="python -m benchmarks.training", description=main.__doc__)
    asked.add_argument("--attempts", type=int, action="append", help="a size; may be given again")
    asked.add_argument("--engine", choices=ENGINES, action="append", help="an engine; may be given again")
    asked.add_argument("--rounds", type=int, help="most trees of a head; fewer for a quick look")
    asked.add_argument("--no-peers", action="store_true", help="leave DuckDB, pandas and plain LightGBM out")
    given = asked.parse_args(words)
    found = figures(given.attempts or SIZES, given.engine or ENGINES, given.rounds, not given.no_peers)
    publish("training", found)


if __name__ == "__main__":
    main(sys.argv[1:])
