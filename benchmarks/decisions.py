"""How good the choice of what to do next is, on worlds whose true probabilities are known.

A model learns from the first 80 % of a story's payments, and chooses after each failure of the others, by `recommend`.
Share = (what its first candidate succeeds with − a random one) / (the best one − a random one), means over all decisions, by
the oracle's probabilities. Every candidate counts for the best and for the random one, those too that a rule blocks and that
we may not choose; where all are blocked, we are taken to have failed.

`make bench-decisions` prints these with all other figures on diagnosis and choice, and writes them to one file.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks import outages
from benchmarks.report import Figure, at_least, publish
from benchmarks.slices import earlier_and_later
from features.attempts import check_attempts
from features.definitions import RAW_CODES, RAW_NUMBERS
from features.rows import Encoder
from models.artefact import Artefact
from models.policies import Decision, Way
from models.success_rate import SuccessRate
from models.tables import recommend_table
from training.metrics import Estimate, Resampler
from training.settings import TrainSettings
from training.simulator import World, simulate
from training.train import train

__all__ = ["WITH", "Worth", "figures", "shares"]

Array = npt.NDArray[Any]

PAYMENTS, SEED, RESAMPLES = 60_000, 7, 500
NOW = datetime(2026, 6, 1, tzinfo=UTC)
MEANS = ("method", "route", "auth_flow", "auth_steps", "stored", "network_token")
WITH = ("diagnosis", "engine", "policies", "codes", "rules")
"""The other benchmarks of `make bench-decisions`."""


class Worth:
    """The decisions of a world: for each candidate, which decision it belongs to and its true probability.

    `of` has the share of what a perfect choice gains over a random one, for a score of every candidate, NaN where it cannot
    be chosen.
    """

    def __init__(self, candidates: pd.DataFrame, payment: Array) -> None:
        self._decision = np.unique(candidates["attempt_id"].to_numpy(str), return_inverse=True)[1]
        self._p = candidates["p_success"].to_numpy(float)
        n = int(self._decision.max()) + 1
        self.best = np.full(n, -1.0)
        np.maximum.at(self.best, self._decision, self._p)
        self.random = np.bincount(self._decision, self._p) / np.bincount(self._decision)
        paid = np.empty(n, payment.dtype)
        paid[self._decision] = payment
        self._resampler = Resampler(paid, RESAMPLES, SEED)

    def chosen(self, score: Array) -> Array:
        """The true probability of each decision's first choice; 0 where nothing can be chosen."""
        order = np.lexsort((np.arange(len(score)), -np.nan_to_num(score, nan=-np.inf), self._decision))
        first = order[np.r_[True, np.diff(self._decision[order]) > 0]]
        return np.where(np.isnan(score[first]), 0.0, self._p[first])

    def of(self, score: Array) -> Estimate:
        """The share, with its 95 % interval by payment."""
        told = self.chosen(score), self.random, self.best

        def share(weights: Array | None) -> float:
            ours, low, high = (np.average(values, weights=weights) for values in told)
            return float((ours - low) / (high - low))

        return self._resampler.estimate(share)


def figures() -> list[Figure]:
    """The stories, then how soon suggestions leave a route that is down."""
    found = []
    for story in ("base", "outage"):
        world = simulate(PAYMENTS, SEED, story)
        early, late = earlier_and_later(check_attempts(world.attempts, now=NOW), 0.8)
        trained = train(early, TrainSettings()).artefact
        found += of_story(story, trained, world, early, late)
        if story == "outage":
            found += outages.figures(trained)
    return found


def of_story(story: str, artefact: Artefact, world: World, early: pd.DataFrame, late: pd.DataFrame) -> list[Figure]:
    """The share of a story, and those of others that could choose."""
    told, n, open_best = shares(artefact, world, early, late)
    rivals = {name: told[name] for name in ("success-rate table", "plain LightGBM", "rule table")}
    words = "; ".join(f"{name} {estimate.value:.3f}" for name, estimate in rivals.items())
    ours = told["ours"]
    return [
        at_least(
            f"{story}: share of what a perfect choice gains over a random one", ours.value, "", 0.9,
            f"[{ours.low:.3f}, {ours.high:.3f}]; {words}; {n:,} decisions",
        ),
        Figure(
            f"{story}: the same, of what the rules leave open", told["ours, of what is open"].value, "",
            baseline=f"a perfect choice within the rules has {open_best:.4f} of one without; windowed success rates "
            f"(models/success_rate.py) {told['windowed success rates'].value:.3f}",
        ),
    ]  # fmt: skip


def shares(
    artefact: Artefact, world: World, early: pd.DataFrame, late: pd.DataFrame
) -> tuple[Mapping[str, Estimate], int, float]:
    """The share of each way to choose, by name; decisions; and the share of a perfect choice that keeps the rules."""
    asked = world.candidates[world.candidates["attempt_id"].isin(late["attempt_id"])]
    asked = asked.merge(world.candidate_oracle, on="candidate_id", validate="one_to_one").reset_index(drop=True)
    attempts = late.set_index("attempt_id").loc[asked["attempt_id"]].reset_index()
    worth = Worth(asked, attempts["payment_id"].to_numpy(str))
    told = {
        "ours": _by_rank(recommend_table(artefact, late, asked, early), asked),
        "rule table": _by_rank(recommend_table(None, late, asked, early), asked),
        "success-rate table": _by_table(early, attempts, asked),
        "windowed success rates": _by_window(early, late, attempts, asked),
        "plain LightGBM": _by_lightgbm(early, attempts, asked),
    }
    found = {name: worth.of(score) for name, score in told.items()}
    is_open = ~np.isnan(told["ours"])
    left = Worth(asked[is_open], attempts["payment_id"].to_numpy(str)[is_open])
    found["ours, of what is open"] = left.of(told["ours"][is_open])
    perfect = worth.of(np.where(is_open, asked["p_success"], np.nan))
    return found, len(worth.best), perfect.value


def _by_rank(told: pd.DataFrame, asked: pd.DataFrame) -> Array:
    """The higher the better rank; NaN for what has none."""
    rank = told.set_index("candidate_id")["rank"].loc[asked["candidate_id"]]
    return -rank.to_numpy(float, na_value=np.nan)


def _by_table(early: pd.DataFrame, attempts: pd.DataFrame, asked: pd.DataFrame) -> Array:
    """The success rate of country × method × route × authentication over the earlier payments, shrunk by ten attempts."""
    known = early[early["outcome"].notna()]
    won = (known["outcome"] == "success").to_numpy(float)

    def cells(table: pd.DataFrame, country: pd.Series[Any]) -> list[str]:
        parts = (country, table["method"], table["route"], table["auth_flow"])
        return ["\x1f".join(cell) for cell in zip(*(part.astype(str) for part in parts), strict=True)]

    seen = (
        pd.DataFrame({"cell": cells(known, known["country"]), "won": won}).groupby("cell")["won"].agg(["sum", "count"])
    )
    rates = (seen["sum"] + 10.0 * won.mean()) / (seen["count"] + 10.0)
    return rates.reindex(cells(asked, attempts["country"])).fillna(won.mean()).to_numpy(float)


def _by_window(early: pd.DataFrame, late: pd.DataFrame, attempts: pd.DataFrame, asked: pd.DataFrame) -> Array:
    """What `success_rate` would take at each moment, told of outcomes as they resolved; it may not be chosen twice."""
    policy = SuccessRate(explore=0.0)
    everything = pd.concat([early, late], ignore_index=True)
    ended = everything[everything["resolved_at"].notna()].sort_values("resolved_at", kind="stable")
    names = ("country", "method", "route", "auth_flow")
    columns = [_plain(ended[name]) for name in names]
    told = zip(*columns, ended["outcome"].astype(object), _at(ended["resolved_at"]), strict=True)
    known = [dict(zip((*names, "outcome", "resolved_at"), one, strict=True)) for one in told]
    score, done = np.zeros(len(asked)), 0
    ways = [Way("", *way) for way in zip(*(_plain(asked[name]) for name in names[1:]), strict=True)]
    at, country = _at(attempts["created_at"]), _plain(attempts["country"])
    rows = asked.groupby("attempt_id", sort=False).indices
    for mine in sorted(rows.values(), key=lambda places: at[places[0]]):
        now = at[mine[0]]
        while done < len(known) and known[done]["resolved_at"] < now:
            policy.record(known[done])
            done += 1
        score[mine] = policy.probabilities(Decision([ways[i] for i in mine], country[mine[0]], None, now))
    return score


def _by_lightgbm(early: pd.DataFrame, attempts: pd.DataFrame, asked: pd.DataFrame) -> Array:
    """One LightGBM on the table's own columns, over the attempts' rows with the candidates' columns in their place."""
    import lightgbm as lgb

    known = early[early["outcome"].notna()]
    encoder = Encoder.fit(known)

    def matrix(table: pd.DataFrame) -> Array:
        rows = encoder.from_table(table)
        return np.hstack([rows.numbers, np.where(rows.codes < 0, np.nan, rows.codes)])

    codes = list(range(len(RAW_NUMBERS), len(RAW_NUMBERS) + len(RAW_CODES)))
    parameters = {"objective": "binary", "learning_rate": 0.05, "num_leaves": 31, "verbose": -1, "seed": SEED}
    won = (known["outcome"] == "success").to_numpy(int)
    data = lgb.Dataset(matrix(known), won, categorical_feature=codes, params={"verbose": -1})
    replaced = attempts.assign(**{name: asked[name].to_numpy() for name in MEANS})
    return np.asarray(lgb.train(parameters, data, 300).predict(matrix(replaced)))


def _plain(column: pd.Series[Any]) -> list[str | None]:
    return column.astype(object).where(column.notna(), None).to_list()


def _at(column: pd.Series[Any]) -> list[int]:
    times: list[int] = column.to_numpy("datetime64[us]").astype(np.int64).tolist()
    return times


def _all() -> list[Figure]:
    """The figures here and those of the other benchmarks that are there, each named by its benchmark."""
    found = figures()
    for name in WITH:
        if find_spec(f"benchmarks.{name}") is not None:
            found += import_module(f"benchmarks.{name}").figures()
    return found


if __name__ == "__main__":
    publish("all_decisions", _all())
