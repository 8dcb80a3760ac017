"""What would be gained by removing a cause: a ranked backlog of hypotheses, each with its interval and its evidence.

An estimate is doubly robust (`insights.opportunities_robust`); it is called randomised where chance chose between the two
sides with logged propensities, and association only where they have too little in common. What customers do on their side
of the page comes after what checkout decides: it cannot simply be set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from features.own import all_features
from insights.experiment_plan import days_for, sample_size
from insights.measure import Measure, plain, wilson
from insights.opportunities_backlog import Backlog, Hypothesis
from insights.opportunities_covariates import covariates, design
from insights.opportunities_evidence import is_randomised
from insights.opportunities_firsts import Firsts, first_attempts
from insights.opportunities_found import ON_THE_CUSTOMER, found
from insights.opportunities_robust import Question, Weighted, gain, naive, weigh
from insights.opportunities_sides import in_words, matches
from insights.rates import Z95
from models.artefact import Artefact

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Compared", "Evidence", "Opportunity", "compare", "estimate", "opportunities", "promise", "ranked"]

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

Evidence = Literal["randomised", "doubly robust", "association only"]

_MOST_ROWS = 50_000  # on each side: beyond that, an interval is as narrow as anyone needs
_MOST_TO_ORDER = 10_000  # on each side: enough to tell what comes before what
_LEAST_REACHED, _FEWEST_LIKES = 0.1, 20.0
_THIN, _UNEVEN = 0.9, 0.25
_POWER, _ALPHA = 0.8, 0.05
_BY_CHANCE = {"method", "route", "auth_flow"}  # what a policy with propensities chooses
_CHECKS = {"auth_steps", "auth_flow", "auth_exemption"}


@dataclass(frozen=True)
class Opportunity:
    """One hypothesis, and what the data says of it. Success is that of a payment's first attempt, unless said otherwise.

    `gain` is in points (0.01 is one point) of the success rate of the attempts that would change; `overall` in points of all
    first attempts. `payments` (per 30 days) counts payments that would be paid in the end, with the retries that failures
    get today. `amount_minor` is what these pay per 30 days, by currency. `naive` is the difference that a plain comparison
    of the two sides would show. `before` and `after` are the success rates as seen. `reached` is the share of the attempts
    that could change and have their like on the other side: only these count. `weight` is the effective number of attempts
    of the other side. `sample_size` (payments, all arms) and `days` are what a test of it would need, at 80 % power; None
    where it would never end. `warnings` are keys of `opportunity_warnings.json`.
    """

    id: str
    rank: int
    driver: str
    driver_label: str
    unit: str
    segment: Mapping[str, object]
    segment_label: str
    change: str
    gain: Measure
    overall: Measure
    payments: Measure
    amount_minor: Mapping[str, Measure]
    naive: Measure
    before: Measure
    after: Measure
    evidence: Evidence
    reached: float
    weight: float
    sample_size: int | None
    days: int | None
    effort: str
    own: bool
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the contract's fields first (`gain_points`, `low` and `high` in percentage points), then all others."""
        currency = max(self.amount_minor, key=lambda name: abs(self.amount_minor[name].value), default=None)
        points = self.gain.times(100.0)
        told = {
            "driver": self.driver,
            "segment": self.segment_label,
            "change": self.change,
            "gain_points": points.value,
            "low": points.low,
            "high": points.high,
            "payments_per_month": self.payments.value,
            "amount_minor_per_month": self.amount_minor[currency].value if currency else None,
            "evidence": self.evidence,
            "sample_size": self.sample_size,
            "days": self.days,
            "currency": currency,
        }
        rest = plain(self)
        rest["segment_by"] = rest.pop("segment")
        return {**plain(told), **{name: value for name, value in rest.items() if name not in told}}


def opportunities(
    attempts: pd.DataFrame, model: Artefact | None, backlog: Backlog | None, rng: np.random.Generator
) -> list[Opportunity]:
    """The backlog of a checked table of attempts: first what checkout decides, then what promises the largest gain.

    Hypotheses are the backlog's own, and those that a third of the customers suggests. That third also puts them into their
    order, and the others judge them: whatever led by its estimate would owe some of its place to luck, and its interval hold
    the truth less often than it says. The model lends its vocabularies, if there is one. Of a side with more than 50,000
    attempts a sample is estimated from. Hypotheses of one's own that nothing can be said about, for want of attempts on a
    side, are left out.
    """
    from threadpoolctl import threadpool_limits

    told = backlog or Backlog()
    firsts = first_attempts(attempts, model)
    suggested, judging = found(firsts, rng)
    everyone = np.ones(len(firsts), bool)
    asked = [*((one, everyone) for one in told.own), *((_reworded(one, told), judging) for one in suggested)]
    asked = [pair for pair in asked if pair[0].id not in told.hidden]
    streams = rng.spawn(len(asked))
    # Small matrices: threads of the linear algebra would wait for each other, here and in every other process
    with threadpool_limits(1), ThreadPoolExecutor(2) as pool:
        made = list(pool.map(partial(_estimated, firsts, ~judging), asked, streams))
    return ranked([one for one in made if one is not None])


def _estimated(
    firsts: Firsts, suggests: Mask, asked: tuple[Hypothesis, Mask], rng: np.random.Generator
) -> tuple[Opportunity, float] | None:
    """An opportunity, and what it promises by those who suggest."""
    sides = compare(firsts, *asked, rng)
    if sides is None:
        return None
    return estimate(firsts, asked[0], sides, rng), promise(firsts, asked[0], suggests, rng)


def promise(firsts: Firsts, asked: Hypothesis, suggests: Mask, rng: np.random.Generator) -> float:
    """Payments that a hypothesis would turn, by the attempts `suggests` (n,): the estimate less its standard error."""
    sides = compare(firsts, asked, suggests, rng, _MOST_TO_ORDER)
    if sides is None:
        return 0.0
    _, paid, reached = _gained(sides, firsts.paid, rng)
    return (paid.value - (paid.value - paid.low) / Z95) * float(sides.before.sum()) * reached


def _reworded(one: Hypothesis, backlog: Backlog) -> Hypothesis:
    words = backlog.words.get(one.id, {})
    return replace(one, change=words.get("change", one.change), effort=words.get("effort", one.effort))


def ranked(made: Sequence[tuple[Opportunity, float]]) -> list[Opportunity]:
    """In their order: what checkout decides first, then by what each promises."""
    ordered = sorted(made, key=lambda pair: ("ceiling" in pair[0].warnings, -pair[1], pair[0].id))
    return [replace(one, rank=place) for place, (one, _) in enumerate(ordered, start=1)]


@dataclass(frozen=True)
class Compared:
    """Both sides of a hypothesis, made comparable: rows of the first attempts, what is asked of them, and their weights."""

    before: Mask
    after: Mask
    rows: Array
    question: Question
    weighted: Weighted
    by_chance: bool


def compare(
    firsts: Firsts, asked: Hypothesis, judging: Mask, rng: np.random.Generator, most: int = _MOST_ROWS
) -> Compared | None:
    """The two sides of a hypothesis, going by the attempts `judging` (n,), so many of each at most; None where hardly any are."""
    segment = matches(firsts.table, asked.segment)
    before, after = segment & matches(firsts.table, asked.before), segment & matches(firsts.table, asked.after)
    after &= ~before
    judged = [np.flatnonzero(side & judging) for side in (before, after)]
    if min(map(len, judged)) < _FEWEST_LIKES:
        return None
    rows = np.sort(np.concatenate([_some(side, most, rng) for side in judged]))
    changed = {*asked.before, *asked.after}
    compared = design(firsts.matrix[rows], covariates(changed, firsts.own), firsts.own)
    question = Question.of(compared, before[rows], firsts.customer[rows], rng)
    by_chance = _by_chance(firsts, changed, segment, before, after)
    weighted = weigh(question, rng, firsts.propensity[rows] if by_chance else None)
    return Compared(before, after, rows, question, weighted, by_chance)


def estimate(firsts: Firsts, asked: Hypothesis, sides: Compared, rng: np.random.Generator) -> Opportunity:
    """What a hypothesis would gain, going by its two sides."""
    before, rows, question, weighted = sides.before, sides.rows, sides.question, sides.weighted
    plain_one = naive(question.before, firsts.success[rows])
    evidence, made, reached = _gained(sides, firsts.success, rng)
    _, paid, _ = _gained(sides, firsts.paid, rng)
    per_month = float(before.sum()) * firsts.per_month * reached
    rate = wilson(float(firsts.success[before].sum()), int(before.sum()))
    size = _size(rate.value, made.value)
    known = {feature.name: feature for feature in all_features(firsts.own)}.get(asked.driver)
    payments = paid.times(per_month)
    return Opportunity(
        id=asked.id,
        rank=0,
        driver=asked.driver,
        driver_label=known.label if known else asked.driver.replace("_", " "),
        unit=known.unit if known else "",
        segment=asked.segment,
        segment_label=in_words(asked.segment),
        change=asked.change,
        gain=made,
        overall=made.times(per_month / (len(firsts) * firsts.per_month)),
        payments=payments,
        amount_minor=_money(firsts, before, payments),
        naive=plain_one,
        before=rate,
        after=wilson(float(firsts.success[sides.after].sum()), int(sides.after.sum())),
        evidence=evidence,
        reached=weighted.reached,
        weight=weighted.size,
        sample_size=size,
        days=days_for(size, float(before.sum()) / firsts.days) if size is not None else None,
        effort=asked.effort,
        own=asked.own,
        warnings=tuple(_warnings(asked, evidence, weighted, made)),
    )


def _gained(sides: Compared, happened: Array, rng: np.random.Generator) -> tuple[Evidence, Measure, float]:
    """What the change would add to the rate of what happened (n,), by which evidence, and to which share of the attempts."""
    question, weighted = sides.question, sides.weighted
    if weighted.reached < _LEAST_REACHED or weighted.size < _FEWEST_LIKES:
        return "association only", naive(question.before, happened[sides.rows]), 1.0
    evidence: Evidence = "randomised" if sides.by_chance else "doubly robust"
    return evidence, gain(question, weighted, happened[sides.rows], rng).measure, weighted.reached


def _some(rows: Array, most: int, rng: np.random.Generator) -> Array:
    return rows if len(rows) <= most else rng.choice(rows, most, replace=False)


def _by_chance(firsts: Firsts, changed: set[str], segment: Mask, before: Mask, after: Mask) -> bool:
    """Whether a policy with logged propensities chose between the sides: nothing else changes, and its log adds up."""
    import pandas as pd

    if not changed <= _BY_CHANCE:
        return False
    # Where the merchant charges by itself, other options may be open: what one side never has is no part of the draw
    recurring = firsts.numbers("recurring") == 1.0
    drawn = segment & (recurring if not before[~recurring].any() else ~recurring)
    options = np.zeros(len(firsts), np.int64)
    for column in sorted(_BY_CHANCE - changed):
        codes, names = pd.factorize(firsts.values(column))
        options = options * len(names) + codes
    return is_randomised(firsts.propensity, drawn, before & drawn, after & drawn, options)


def _size(rate: float, effect: float) -> int | None:
    """Payments that a test of the estimated gain needs; None where there is nothing to find."""
    if effect <= 0.0 or rate + effect >= 1.0 or rate <= 0.0:
        return None
    return sample_size(rate, effect, {"control": 0.5, "change": 0.5}, _POWER, _ALPHA)


def _money(firsts: Firsts, before: Mask, payments: Measure) -> dict[str, Measure]:
    """What the payments gained would pay, by currency: at the mean amount of those that are not paid today."""
    lost = before & (firsts.paid == 0.0)
    currency = firsts.values("currency")
    names, counts = np.unique(currency[lost], return_counts=True)
    return {
        str(name): payments.times(
            float(firsts.amount_minor[lost & (currency == name)].mean()) * float(count / lost.sum())
        )
        for name, count in zip(names, counts, strict=True)
    }


def _warnings(asked: Hypothesis, evidence: Evidence, weighted: Weighted, made: Measure) -> list[str]:
    told = {
        "ceiling": asked.driver in ON_THE_CUSTOMER,
        "customers_choose": evidence == "doubly robust" and bool({*asked.after} & {"method", "stored"}),
        "no_overlap": evidence == "association only",
        "thin_overlap": evidence != "association only" and weighted.reached < _THIN,
        "imbalance": evidence == "doubly robust" and weighted.imbalance > _UNEVEN,
        "fewer_checks": asked.driver in _CHECKS,
        "not_sure": made.low <= 0.0,
    }
    return [name for name, is_so in told.items() if is_so]
