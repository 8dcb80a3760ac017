"""A market in which we know why payments fail: attempts as a merchant would log them, and the truth behind them.

The story: customers with hidden patience, skill and means pay by their country's methods; a checkout policy with known
propensities chooses route and authentication; routes and issuers have hidden health; each attempt meets six hurdles
(see `simulator_kernel`), and after a failure the customer may try what the policy then offers, the reason still standing
in the way. Codes are masked, telemetry is lossy, late outcomes are pending.

What the oracle knows: `p_<outcome>` conditions on the attempt's own `before` columns; on the outcomes of the customer's
earlier attempts, on whether they went on after a failure, and on the true reason of every failure of this payment; on
the outcomes of all attempts over the same route or issuer that had resolved. It does not see hidden types and health;
`full_<outcome>` does. An `unclassified` failure has its true outcome there: only its label is lost.
`p_success` of a candidate is the same probability, at the moment the customer is ready to go on (plus the wait), given
that they do; a logged retry without a wait has exactly that `p_success`. `simulate` can also be asked what would have become
of the first attempts under a change (`changes`): the truth that an estimate of a gain is to be held against.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from features.errors import BadInput, Fault
from training.simulator_changes import Change, asked_of, would_table
from training.stories import Health, Story, story_named

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["START", "VERSION", "World", "simulate"]

START = datetime(2026, 1, 5, tzinfo=UTC)
"""When a simulation starts unless told otherwise: a Monday."""

VERSION = 1
"""Of the simulated market: the same version, payments, seed and story give the same files."""

_DAYS = 28.0
_MOST = 50_000_000
_SPARE_HOURS = 72  # retries may wait a day past the end, and are then only judged, not made


@dataclass(frozen=True)
class World:
    """What a simulation gives: what a merchant could log, and the truth.

    `attempts` and `candidates` are the contract's tables; `oracle` has p_<outcome> and full_<outcome> by attempt_id,
    `candidate_oracle` p_success by candidate_id. `about` names story, seed, version, counts and the hidden spells of
    ill health (`entity`, `from`, `until`). `would`, where changes were asked about, has for each first attempt and `change`
    (its place among them) p_success and full_success as they would have been; empty where that is not to be had.
    """

    attempts: pd.DataFrame
    oracle: pd.DataFrame
    candidates: pd.DataFrame
    candidate_oracle: pd.DataFrame
    about: dict[str, object]
    would: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write the four tables as Parquet and `about` as story.json; each file appears whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        tables = {
            "attempts": self.attempts,
            "oracle": self.oracle,
            "candidates": self.candidates,
            "candidate_oracle": self.candidate_oracle,
        }
        with tempfile.TemporaryDirectory(prefix=".simulate-", dir=folder) as scratch:
            for name, table in tables.items():
                table.to_parquet(Path(scratch, f"{name}.parquet"), index=False)
            text = json.dumps(self.about, indent=1) + "\n"
            Path(scratch, "story.json").write_text(text, encoding="utf-8")
            for file in sorted(Path(scratch).iterdir()):
                file.replace(folder / file.name)


def _spells(n: int, health: Health, seconds: float, rng: np.random.Generator) -> list[list[float]]:
    """Per entity, the moments at which it falls ill and recovers, in turn, ended by infinity; well before the first."""
    out = []
    for _ in range(n):
        ill = bool(rng.random() < health.share_ill)
        at, moments = 0.0, [0.0] if ill else []
        while at < seconds:
            at += 3600.0 * rng.exponential(health.ill_hours if ill else health.well_hours)
            ill = not ill
            moments.append(at)
        out.append([*moments, math.inf])
    return out


def _padded(moments: list[list[float]]) -> npt.NDArray[np.float64]:
    longest = max(len(row) for row in moments)
    return np.array([row + [math.inf] * (longest - len(row)) for row in moments])


def _check(payments: int, seed: int, start: datetime, days: float) -> None:
    faults = []
    if seed < 0:
        faults.append(Fault("seed", "a whole number from 0", seen=str(seed)))
    if not 1 <= payments <= _MOST:
        faults.append(Fault("payments", f"1 to {_MOST}", seen=str(payments)))
    if start.tzinfo is None:
        faults.append(Fault("start", "a time with a zone, such as 2026-01-05T00:00:00Z", seen=start.isoformat()))
    if not 0.0 < days <= 3660.0:
        faults.append(Fault("days", "more than 0, at most 3660", seen=str(days)))
    if faults:
        raise BadInput("simulate", faults)


def _ill(names: tuple[str, ...], moments: list[list[float]], start: datetime, end: float) -> list[dict[str, str]]:
    spells = []
    for name, row in zip(names, moments, strict=True):
        for begun, over in zip(row[::2], row[1::2], strict=False):
            if begun < end:
                until = datetime.fromtimestamp(start.timestamp() + min(over, end), UTC)
                since = datetime.fromtimestamp(start.timestamp() + begun, UTC)
                spells.append({"entity": name, "from": since.isoformat(timespec="seconds"),
                               "until": until.isoformat(timespec="seconds")})  # fmt: skip
    return spells


def simulate(
    payments: int,
    seed: int,
    story: str = "base",
    start: datetime | None = None,
    days: float | None = None,
    progress: Callable[[float], None] | None = None,
    changes: Sequence[Change] = (),
) -> World:
    """Simulate `payments` payments over `days` (28), from `start` (2026-01-05 UTC). The same arguments, the same world.

    `changes` to first attempts (`training.simulator_changes`) are only judged: what happens is the same without them.
    `progress` is called with the share done, 0 to 1. Attempts that resolve after the last day are pending. Raises
    BadInput that names what is allowed.
    """
    from training import simulator_kernel as kernel
    from training import simulator_market as places
    from training import simulator_people, simulator_tables

    told: Story = story_named(story)
    begin = START if start is None else start
    length = _DAYS if days is None else float(days)
    _check(payments, seed, begin, length)
    begin = begin.astimezone(UTC)
    report = progress if progress is not None else lambda _: None
    rng = np.random.default_rng([seed, VERSION])
    end = length * 86400.0
    monday = (
        begin.weekday() * 86400.0 + (begin - begin.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    )

    market = places.market(told, begin, math.ceil(length * 24.0) + _SPARE_HOURS)
    people, card = simulator_people.draw_people(max(payments // 4, 1), told, market.priors, length, rng)
    arriving, details = simulator_people.draw_payments(payments, people, card, monday, length, rng)
    report(0.1)
    route_spells = _spells(len(places.ROUTES), told.route_health, end + 3600.0 * _SPARE_HOURS, rng)
    issuer_spells = _spells(len(places.ISSUERS), told.issuer_health, end + 3600.0 * _SPARE_HOURS, rng)
    happened = kernel.Run(
        *kernel.run(
            market,
            people,
            arriving,
            _padded(route_spells),
            _padded(issuer_spells),
            end,
            asked_of(changes, payments),
            rng,
        )
    )
    report(0.6)
    attempts = simulator_tables.attempts_table(happened, people, arriving, details, begin, end, rng)
    report(0.8)
    waits = simulator_tables.pending(happened, end)
    candidates, chances = simulator_tables.candidate_tables(happened, waits)
    about: dict[str, object] = {
        "story": told.name, "meaning": told.meaning, "seed": seed, "version": VERSION, "payments": payments,
        "start": begin.isoformat(), "days": length, "attempts": len(attempts), "pending": int(waits.sum()),
        "candidates": len(candidates),
        "ill": _ill(places.ROUTES, route_spells, begin, end) + _ill(places.ISSUERS, issuer_spells, begin, end),
    }  # fmt: skip
    report(1.0)
    oracle, would = simulator_tables.oracle_table(happened), would_table(happened, attempts)
    return World(attempts, oracle, candidates, chances, about, would)
