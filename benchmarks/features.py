"""How long features take: of one request, and of a table, history included, on one core.

A machine is never quite quiet. Times are of CPU where a whole run is measured, and the best of several runs; a single call
is too short for the CPU's clock, so there it is the median within the quietest of many blocks.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import cycle, islice
from statistics import median
from time import perf_counter_ns, process_time
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.report import Figure, at_least, at_most, publish
from features.attempts import check_attempts
from features.history import History, features_in_passing, features_of_request
from features.kernel import N_FEATURES
from features.rows import Encoder
from training.simulator import simulate

__all__ = ["figures"]

Fields = dict[str, Any]

PAYMENTS, SEED = 100_000, 7
REQUESTS, BLOCKS, CALLS = 64, 400, 256
RUNS = 7
AFTER_THE_END_US = 60_000_000
ZERO = pd.Timestamp(0, tz="UTC")


def figures() -> list[Figure]:
    """Features of a request and of a table, against the ways in which pandas would have them."""
    table = check_attempts(simulate(PAYMENTS, SEED).attempts, now=datetime(2026, 6, 1, tzinfo=UTC))
    encoder = Encoder.fit(table)
    history = History()
    features_in_passing(encoder.from_table(table), history)
    with one_core():
        return [*of_requests(table, encoder, history), *of_a_table(table, encoder)]


def of_requests(table: pd.DataFrame, encoder: Encoder, history: History) -> list[Figure]:
    """Fields of an attempt and of two earlier ones to a row of features, on top of the past of the whole table."""
    triples = list(islice(requests(table, history.until + AFTER_THE_END_US), REQUESTS))
    calls = [partial(of_one_request, encoder, history, triple) for triple in triples]
    frames = [of_fields(triple) for triple in triples]

    def as_a_table(frame: pd.DataFrame) -> None:
        features_in_passing(encoder.from_table(frame), History())

    pandas_us = quietest_median_us([partial(as_a_table, frame) for frame in frames], blocks=3, size=REQUESTS)
    baseline = f"the three as a DataFrame, no past: {pandas_us:,.0f} µs"
    ours = quietest_median_us(calls, blocks=BLOCKS, size=CALLS)
    return [at_most("one request: an attempt after two others", ours, "µs", 30.0, baseline)]


def of_one_request(encoder: Encoder, history: History, attempts: list[Fields]) -> np.ndarray:
    """What a predictor does before it asks its trees."""
    return features_of_request(encoder.of_request(attempts[:-1], attempts[-1:]), history, 1)


def of_a_table(table: pd.DataFrame, encoder: Encoder) -> list[Figure]:
    """Checked table to matrix: encoding, then the sweep through time."""

    def ours() -> None:
        features_in_passing(encoder.from_table(table), History())

    def peer() -> None:
        rates = ended["success"].groupby(ended["route"], observed=True).ewm(halflife="1D", times=ended["at"]).mean()
        known = ended.assign(rate=rates.reset_index(level=0, drop=True))[["at", "route", "rate"]]
        pd.merge_asof(asked, known, left_on="created_at", right_on="at", by="route")

    asked = table[["created_at", "route"]].sort_values("created_at")
    ended = table[["resolved_at", "route"]].assign(success=(table["outcome"] == "success").astype(float))
    ended = ended[table["outcome"].notna()].rename(columns={"resolved_at": "at"}).sort_values("at")
    n = len(table)
    baseline = f"pandas groupby.ewm and merge_asof, 1 feature: {n / best_cpu_seconds(peer):,.0f} rows/s"
    value = n / best_cpu_seconds(ours)
    return [at_least(f"a table of {n:,} attempts, {N_FEATURES} features", value, "rows/s", 250_000.0, baseline)]


def requests(table: pd.DataFrame, begin_us: int) -> Iterator[list[Fields]]:
    """The first three attempts of payments that had so many, as fields, moved so that the first begins then."""
    count = table.groupby("payment_id")["attempt_id"].transform("size")
    three = table[(count >= 3) & (table["outcome"].notna())].sort_values("created_at", kind="stable")
    for _, attempts in three.groupby("payment_id", sort=False):
        if len(attempts) >= 3:
            fields = [as_fields(row) for row in attempts.head(3).to_dict("records")]
            shift = begin_us - fields[0]["created_at"]
            for one in fields:
                one["created_at"] += shift
                one["resolved_at"] += shift
            yield fields


def as_fields(row: Mapping[Any, Any]) -> Fields:
    """A row of the table as the fields of a request: plain values, missing ones left out, times in microseconds."""
    fields: Fields = {}
    for name, value in row.items():
        if pd.isna(value):
            continue
        fields[name] = (value - ZERO) // pd.Timedelta(1, "us") if isinstance(value, pd.Timestamp) else value
    return fields


def of_fields(attempts: list[Fields]) -> pd.DataFrame:
    """The table that these fields make."""
    frame = pd.DataFrame(attempts)
    for name in ("created_at", "resolved_at"):
        frame[name] = pd.to_datetime(frame[name], unit="us", utc=True)
    return frame


def quietest_median_us(calls: Sequence[Callable[[], Any]], *, blocks: int, size: int) -> float:
    """Median time of a call, in microseconds, within that of `blocks` blocks of `size` calls where it was least."""
    turns = cycle(calls)
    medians = []
    for _ in range(blocks):
        times = []
        for call in islice(turns, size):
            began = perf_counter_ns()
            call()
            times.append(perf_counter_ns() - began)
        medians.append(median(times))
    return min(medians) / 1e3


def best_cpu_seconds(call: Callable[[], Any]) -> float:
    """Least CPU time of a call, after a first one that does not count."""
    call()
    times = []
    for _ in range(RUNS):
        began = process_time()
        call()
        times.append(process_time() - began)
    return min(times)


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this process on one core, and what is loaded out of the garbage collector's way, as the service does."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if allowed:
        os.sched_setaffinity(0, {max(allowed)})
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if allowed:
            os.sched_setaffinity(0, allowed)


if __name__ == "__main__":
    publish("features", figures())
