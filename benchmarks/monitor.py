"""How often `payrescue monitor` cries wolf, and whether it sees the wolf.

Models learn from the first four weeks of markets in which nothing changes; each of the eight weeks after them is then looked at
as its user would, the weeks before it as history. Then the same weeks with something done to them: an issuer that nobody has
seen, a processor whose codes change places, outcomes that come late, a form whose clock counts milliseconds; and weeks of a
market whose routes and issuers go down, those in which an outage cost ten payments or more. One alarm is one too many in a quiet
week, and has to be of the right kind otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.report import Figure, at_least, at_most, publish
from features.attempts import check_attempts
from training.monitor import Report, monitor
from training.settings import TrainSettings
from training.simulator import simulate
from training.snapshot import snapshot_of
from training.train import Trained, train

__all__ = ["CHANGES", "figures"]

SEEDS, PAYMENTS, DAYS = (
    range(31, 35),
    130_000,
    182,
)  # the market's last weeks are crowded by those who came late: not looked at
FIRST, LAST = 4, 12
FAILED = 10
NOW = datetime(2027, 1, 1, tzinfo=UTC)
SETTINGS = TrainSettings(select_below_rows=0, max_rounds=120, resamples=40)


def figures() -> list[Figure]:
    """False alarms over quiet weeks, then the share of changed weeks in which the right alarm is raised."""
    quiet: list[Report] = []
    caught: dict[str, list[bool]] = {}
    for seed in SEEDS:
        world, _ = _market(seed, "base")
        trained = train(_weeks(world, 0, FIRST), SETTINGS)
        kept = snapshot_of(trained)
        reports = [
            (week, _look(trained, kept, _weeks(world, week, week + 1), _weeks(world, 0, week)))
            for week in range(FIRST, LAST)
        ]
        quiet += [report for _, report in reports]
        for name, (change, family) in CHANGES.items():
            for week in range(FIRST, LAST, 4):
                changed = change(_weeks(world, week, week + 1), np.random.default_rng([seed, week]))
                report = _look(trained, kept, changed, _weeks(world, 0, week))
                caught.setdefault(name, []).append(_raised(report, family))
        down, spells = _market(seed + 100, "outage")
        for week in range(FIRST, LAST):
            table = _weeks(down, week, week + 1)
            if _lost(table, spells) >= FAILED:
                report = _look(trained, kept, table, _weeks(down, 0, week))
                caught.setdefault(f"an outage that {FAILED} payments or more failed in", []).append(
                    _raised(report, "outage")
                )
    return list(_told(quiet, caught))


def _told(quiet: list[Report], caught: Mapping[str, list[bool]]) -> Iterator[Figure]:
    false = [report for report in quiet if report.alarms]
    low, high = _interval(len(false), len(quiet))
    raised = ", ".join(f"{report.alarms[0].name} ({report.alarms[0].statistic})" for report in false) or "none"
    yield at_most(
        "quiet weeks with any alarm", len(false) / len(quiet), "", 0.05,
        f"[{low:.3f}, {high:.3f}]; {len(false)} of {len(quiet)} weeks of {len(SEEDS)} markets: {raised}; "
        f"{quiet[0].about['checks']} checks each, of which 0.05 by themselves would give "
        f"{np.mean([sum(check.p < 0.05 for check in report.checks) for report in quiet]):.1f} alarms a week",
    )  # fmt: skip
    for name, seen in caught.items():
        low, high = _interval(sum(seen), len(seen))
        yield at_least(
            f"caught: {name}", sum(seen) / len(seen), "", 0.95, f"[{low:.3f}, {high:.3f}]; {len(seen)} weeks"
        )


def _interval(count: int, n: int) -> tuple[float, float]:
    """Exact 95 % interval of a share (Clopper and Pearson)."""
    found = stats.binomtest(count, n).proportion_ci()
    return float(found.low), float(found.high)


def _market(seed: int, story: str) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """The attempts, and when which route or issuer was ill."""
    world = simulate(PAYMENTS, seed, story, days=DAYS)
    return check_attempts(world.attempts, now=NOW), cast("list[dict[str, str]]", world.about["ill"])


def _lost(table: pd.DataFrame, spells: list[dict[str, str]]) -> int:
    """Payments that failed technically in the worst spell of one route or issuer."""
    bad = table[table["outcome"] == "technical"]
    lost = [0]
    for spell in spells:
        inside = (bad["created_at"] >= spell["from"]) & (bad["created_at"] < spell["until"])
        lost.append(
            bad[inside & ((bad["route"] == spell["entity"]) | (bad["issuer"] == spell["entity"]))][
                "payment_id"
            ].nunique()
        )
    return max(lost)


def _weeks(table: pd.DataFrame, first: int, end: int) -> pd.DataFrame:
    begin = table["created_at"].min().normalize()
    week = (table["created_at"] - begin) // pd.Timedelta(days=7)
    return table[(week >= first) & (week < end)].reset_index(drop=True)


def _look(trained: Trained, kept: Mapping[str, Any], table: pd.DataFrame, past: pd.DataFrame) -> Report:
    return monitor(trained.artefact, kept, table, past=past)


def _raised(report: Report, family: str) -> bool:
    return any(check.family == family for check in report.alarms)


def _new_issuer(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """One card in twenty is of an issuer that began this week."""
    who = table["customer_id"].astype(str)
    chosen = set(who.unique()[rng.random(who.nunique()) < 0.05])
    issuer = table["issuer"].astype(object)
    return table.assign(issuer=issuer.mask(issuer.notna() & who.isin(chosen), "a_new_bank").astype("category"))


def _codes_swapped(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:  # noqa: ARG001
    """ "05" is told as "51", and the other way round."""
    swapped = table["response_code"].astype(object).replace({"05": "51", "51": "05"})
    return table.assign(response_code=swapped.astype("category"))


def _codes_renamed(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:  # noqa: ARG001
    """The processor puts a letter before its codes."""
    code = table["response_code"].astype(object)
    return table.assign(response_code=code.where(code.isna(), "R" + code.astype(str)).astype("category"))


def _late(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:  # noqa: ARG001
    """Outcomes come an hour later."""
    return table.assign(resolved_at=table["resolved_at"] + pd.Timedelta(hours=1))


def _milliseconds(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:  # noqa: ARG001
    return table.assign(form_seconds=table["form_seconds"] * 1000.0)


Change = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]

CHANGES: Mapping[str, tuple[Change, str]] = {
    "an issuer never seen, one card in twenty": (_new_issuer, "unknown values"),
    "codes 05 and 51 change places": (_codes_swapped, "codes"),
    "every code has another name": (_codes_renamed, "unknown codes"),
    "outcomes come an hour later": (_late, "delay"),
    "a form's clock counts milliseconds": (_milliseconds, "features"),
}
"""What is done to a quiet week, and the family of checks that has to see it."""


if __name__ == "__main__":
    publish("monitor", figures())
