"""How soon suggestions leave a route that goes down, and how often they leave one that is well.

A world of the story `outage` that no model has seen passes by, attempt by attempt. At each moment the same few card payments,
by nobody in particular, are asked about before they are made over the route of the moment: shall it be another? The model's
answer is another where that is clearly likelier to succeed (`proceed_margin`, as in the engine); windowed routing takes the
best rate. Where most of the payments are given another route, suggestions have moved. They should when the route falls ill,
and not while everything is well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.report import Figure, at_most
from features.attempts import check_attempts
from features.history import History
from models.artefact import Artefact
from models.engine import EngineSettings
from models.policies import Decision, Way
from models.predictor import Predictor
from models.success_rate import SuccessRate
from training.simulator import simulate

__all__ = ["KEPT", "MOST", "Spell", "Street", "figures", "left_after", "moves"]

Array = npt.NDArray[Any]

PAYMENTS, SEEDS = 60_000, (8, 9)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
PANEL = 5
MARGIN = EngineSettings().proceed_margin
MOST = 80  # attempts over a route that is down, after which it counts as never left
WARM_DAYS, EVERY = 7, 20  # days before anything is judged; of quiet attempts, how many pass between two looks
KEPT = (
    "amount_minor", "currency", "country", "merchant_country", "merchant_category", "channel", "network_rtt_ms",
    "form_seconds", "form_errors", "method", "card_brand", "card_funding", "issuer", "issuer_country",
    "card_months_to_expiry", "auth_flow", "auth_steps",
)  # fmt: skip


class Spell(NamedTuple):
    """When something was ill, in microseconds."""

    entity: str
    since: int
    until: int


class Router(Protocol):
    """Names a route for a payment, from what it was told of."""

    def pass_to(self, until: int) -> None:
        """Learn of all outcomes known before `until`."""

    def route(self, payment: dict[str, Any], routes: Sequence[str], now: str, at: int) -> str:
        """The route that it would take, `now` being the one of the moment."""


class ByModel:
    """The model's choice, with what it knows by then."""

    def __init__(self, artefact: Artefact, table: pd.DataFrame) -> None:
        self._rows = artefact.encoder.from_table(table)
        self._history = History()
        self._keys = self._history.keys_of(self._rows)
        self._updates, self._done = self._rows.by_resolution(), 0
        self._predictor = Predictor(artefact.encoder, artefact.outcome_model(), self._history, artefact.ways)

    def pass_to(self, until: int) -> None:
        """Learn of all outcomes known before `until`."""
        first = self._done
        while self._done < len(self._updates) and self._rows.resolved[self._updates[self._done]] < until:
            self._done += 1
        self._history.enter(self._rows, self._updates[first : self._done], self._keys)

    def route(self, payment: dict[str, Any], routes: Sequence[str], now: str, at: int) -> str:
        """The likeliest to succeed, if it is clearly likelier than the one of the moment."""
        asked = [{"method": payment["method"], "route": route} for route in routes]
        told = self._predictor.candidate_success({**payment, "created_at": at}, (), asked)
        best = int(np.argmax(told))
        return routes[best] if told[best] >= told[routes.index(now)] + MARGIN else now


class ByWindow:
    """Windowed success rates, as `models/success_rate.py` has them."""

    def __init__(self, table: pd.DataFrame) -> None:
        ended = table[table["resolved_at"].notna()].sort_values("resolved_at", kind="stable")
        names = ("country", "method", "route", "auth_flow")
        columns = [ended[name].astype(object).where(ended[name].notna(), None) for name in names]
        told = zip(*columns, ended["outcome"].astype(object), _at(ended["resolved_at"]), strict=True)
        self._known = [dict(zip((*names, "outcome", "resolved_at"), one, strict=True)) for one in told]
        self._policy, self._done = SuccessRate(explore=0.0), 0

    def pass_to(self, until: int) -> None:
        """Learn of all outcomes known before `until`."""
        while self._done < len(self._known) and self._known[self._done]["resolved_at"] < until:
            self._policy.record(self._known[self._done])
            self._done += 1

    def route(self, payment: dict[str, Any], routes: Sequence[str], now: str, at: int) -> str:  # noqa: ARG002
        """The best rate."""
        ways = [Way("", payment["method"], route, payment["auth_flow"]) for route in routes]
        told = self._policy.probabilities(Decision(ways, payment["country"], None, at))
        return routes[int(np.argmax(told))]


class Street:
    """A country's card payments that are asked about again and again, and the routes that they can take."""

    def __init__(self, table: pd.DataFrame, country: str) -> None:
        mine = table[(table["country"] == country) & (table["method"] == "card")]
        self.country = country
        self.routes = sorted(mine["route"].dropna().astype(str).unique())
        some = mine[mine["auth_flow"].notna()].iloc[:: max(len(mine) // PANEL, 1)].head(PANEL)
        self.panel: list[dict[str, Any]] = [
            {name: value for name in KEPT if (value := row[name]) is not None}
            for row in some.astype(object).where(some.notna(), None).to_dict("records")
        ]

    def named(self, router: Router, now: str, at: int) -> str:
        """The route that most of the panel are given, `now` being the one of the moment."""
        votes = [router.route(payment, self.routes, now, at) for payment in self.panel]
        return max(self.routes, key=votes.count)


def left_after(router: Router, street: Street, spell: Spell, resolved: Array) -> int | None:
    """Attempts over a route that fell ill until suggestions leave it, MOST if they never do; None if they were not there.

    `resolved`: when the outcomes of attempts over the route that began in the spell became known, in order.
    """
    router.pass_to(spell.since)
    if street.named(router, spell.entity, spell.since) != spell.entity:
        return None
    for count, at in enumerate(resolved[:MOST].tolist(), start=1):
        router.pass_to(at + 1)
        if street.named(router, spell.entity, at + 1) != spell.entity:
            return count
    return MOST


def moves(router: Router, streets: Sequence[Street], moments: Array, quiet: Array) -> int:
    """How often suggestions move from one route to another between two moments that are both quiet."""
    count, before, was_calm = 0, [street.routes[0] for street in streets], False
    for at, calm in zip(moments.tolist(), quiet.tolist(), strict=True):
        router.pass_to(at)
        if calm:
            now = [street.named(router, route, at) for street, route in zip(streets, before, strict=True)]
            count += sum(a != b for a, b in zip(before, now, strict=True)) if was_calm else 0
            before = now
        was_calm = calm
    return count


def figures(artefact: Artefact) -> list[Figure]:
    """Attempts until suggestions leave a route that is down, and moves in a quiet week; windowed routing beside."""
    needed: list[tuple[int, int]] = []
    moved, weeks, only = {"ours": 0, "windowed": 0}, 0.0, 0
    for seed in SEEDS:
        world = simulate(PAYMENTS, seed, "outage")
        table = check_attempts(world.attempts, now=NOW)
        spells, warm = _spells(world.about["ill"]), _warm(table)
        streets = [Street(table, country) for country in sorted(table["country"].astype(str).unique())]
        created, resolved = np.array(_at(table["created_at"])), np.array(_at(table["resolved_at"]))
        moments = created[created >= warm][::EVERY]
        ill = np.zeros(len(moments), bool)
        for spell in spells:  # and a while after, until it is known that all is well again
            ill |= (moments >= spell.since) & (moments < spell.until + 6 * 3_600_000_000)
        weeks += float((~ill).mean() * (moments[-1] - moments[0]) / 6.048e11)
        for name in moved:
            moved[name] += moves(_router(name, artefact, table), streets, moments, ~ill)
        for spell, street in _met(spells, streets, warm):
            here = (table["country"].astype(str) == street.country) & (table["route"].astype(str) == spell.entity)
            over = here.to_numpy()
            known = np.sort(resolved[over & (created >= spell.since) & (resolved < spell.until) & (resolved > 0)])
            if len(known) < 10:
                continue
            gone, theirs_gone = (left_after(_router(name, artefact, table), street, spell, known) for name in moved)
            if gone is not None and theirs_gone is not None:
                needed.append((gone, theirs_gone))
            only += gone is not None and theirs_gone is None
    ours, theirs = np.median(needed, axis=0).tolist()
    means = np.mean(needed, axis=0).tolist()
    quiet = {name: count / weeks for name, count in moved.items()}
    return [
        at_most(
            "outage: attempts over a route that is down until suggestions leave it, median", ours, "", theirs,
            f"windowed routing {theirs:.0f}; means {means[0]:.0f} and {means[1]:.0f}; {len(needed)} spells in which both had "
            f"the route, {only} more in which windowed routing was elsewhere",
        ),
        at_most(
            "outage: suggestions that move to another route in a quiet week", quiet["ours"], "", quiet["windowed"],
            f"windowed routing {quiet['windowed']:.1f}; {weeks:.1f} weeks, {len(streets)} countries",
        ),
    ]  # fmt: skip


def _router(name: str, artefact: Artefact, table: pd.DataFrame) -> Router:
    return ByModel(artefact, table) if name == "ours" else ByWindow(table)


def _met(spells: Sequence[Spell], streets: Sequence[Street], warm: int) -> Iterator[tuple[Spell, Street]]:
    """Spells of a route with the countries whose cards can go over it."""
    for spell in spells:
        for street in streets:
            if spell.entity in street.routes and spell.since >= warm:
                yield spell, street


def _spells(ill: Any) -> list[Spell]:
    def at(text: str) -> int:
        return int(datetime.fromisoformat(text).timestamp() * 1e6)

    return [Spell(one["entity"], at(one["from"]), at(one["until"])) for one in ill]


def _warm(table: pd.DataFrame) -> int:
    return int((table["created_at"].min().to_pydatetime() + timedelta(days=WARM_DAYS)).timestamp() * 1e6)


def _at(column: pd.Series[Any]) -> list[int]:
    times: list[int] = column.to_numpy("datetime64[us]").astype(np.int64).tolist()
    return times
