"""What policies would have earned, judged by a log: targets, weights, estimates, or why there can be none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.errors import BadInput, Fault
from features.places import currencies
from models.artefact import Artefact
from models.fees import Fees
from models.policies import Always, Budget, Explore, Greedy, Policy
from models.policy_names import policy_named, read_pins
from training.policy_budget import Border, bargains, border
from training.policy_log import ACTION, Log, read_log
from training.policy_model import OptionModel, cross_fitted, fit_option_model, situations
from training.policy_options import option_success
from training.policy_targets import Standing, Target, always, by_policy, by_scores, logged, standing
from training.policy_value import doubt_of, estimates, weigh

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PolicyQuestion", "evaluate_policies"]

Array = npt.NDArray[Any]
Tell = Callable[[str], None]

_LEAST_TO_LEARN = 1000
_OPTIONS_APART = 1.25


@dataclass(frozen=True)
class PolicyQuestion:
    """How a log is to be read, and what is asked of it.

    `chosen`: what of method, route and auth_flow the logged policy chose. `first`: only payments' first attempts. `last`: share
    of the payments, the latest, to judge by; the others are what policies learn from, with `history`. `propensities`: those of
    a column's values, in place of the table's. `expects`: whether models learn what to expect, for the direct method and
    doubly robust; most of the time goes into that.
    """

    chosen: Sequence[str] = ACTION
    first: bool = False
    last: float | None = None
    propensities: tuple[str, Mapping[str, float]] | None = None
    fees: Fees | None = None
    expects: bool = True
    resamples: int = 1000
    seed: int = 7
    threads: int = 1

    def __post_init__(self) -> None:
        if self.last is not None and not 0.0 < self.last < 1.0:
            raise BadInput("--last", [Fault("share", "a share between 0 and 1", seen=f"{self.last:g}")])


def evaluate_policies(
    table: pd.DataFrame,
    policies: Sequence[str],
    question: PolicyQuestion | None = None,
    *,
    past: pd.DataFrame | None = None,
    artefact: Artefact | None = None,
    tell: Tell = lambda _: None,
) -> dict[str, Any]:
    """Estimates of what each policy would have earned on the decisions of a checked `table`, `logged` first.

    Rewards are `success` (0 or 1) and, with fees, `fee` and `value` = success · amount · margin − fee, in major units.
    Policies go by `artefact`, or by what is learnt from the earlier decisions. Raises BadInput where something is not to be had.
    """
    question = question or PolicyQuestion()
    bench = _Bench(table, past, artefact, question, tell)
    judged = bench.judged
    # All that can be refused is refused before the long work
    targets = {name: bench.target(name) for name in dict.fromkeys(["logged", *policies])}
    found = {name: bench.judge(target) for name, target in targets.items()}
    for name, price in bench.prices.items():
        found[name]["price"] = price
    return {
        "decisions": len(judged),
        "payments": len(np.unique(judged.payment)),
        "earlier": len(bench.earlier),
        "logged_by": sorted(_names(judged.table)),
        "chosen": list(judged.chosen),
        "options": {"open": float(judged.open.sum(axis=1).mean()), "implied": judged.implied_options()},
        "currency": question.fees.currency if question.fees is not None else None,
        "warnings": bench.warnings(),
        "policies": found,
    }


def _names(table: pd.DataFrame) -> set[str]:
    return {str(name) for name in table["policy"].dropna().unique()} if "policy" in table else set()


@dataclass
class _Bench:
    """A log, split into what is judged and what came earlier, and what is expected of its options."""

    table: pd.DataFrame
    past: pd.DataFrame | None
    artefact: Artefact | None
    question: PolicyQuestion
    tell: Tell
    whole: Log = field(init=False)
    prices: dict[str, float] = field(init=False, default_factory=dict)
    is_judged: Array = field(init=False)
    is_earlier: Array = field(init=False)

    def __post_init__(self) -> None:
        import pandas as pd

        asked, everything = self.question, self.table
        if self.past is not None:
            kept = self.past[~self.past["attempt_id"].isin(self.table["attempt_id"])]
            everything = pd.concat([kept, self.table], ignore_index=True)
        self.everything = everything
        log = read_log(everything, chosen=asked.chosen, propensities=asked.propensities)
        # With --first, what is learnt is learnt from first attempts too: they are what is decided
        self.whole = log.part(log.number == 0) if asked.first else log
        mine = self.whole.table["attempt_id"].isin(self.table["attempt_id"]).to_numpy()
        if asked.last is not None:
            mine = mine & _latest(self.whole, asked.last)
        self.is_judged = mine & np.isfinite(self.whole.propensity)
        if not self.is_judged.any():
            raise BadInput("attempts", message="none with an outcome and a propensity is left to judge by")
        created = self.whole.table["created_at"].to_numpy()
        payments = np.unique(self.whole.payment[self.is_judged])
        self.is_earlier = (
            ~self.is_judged & (created < created[self.is_judged].min()) & ~np.isin(self.whole.payment, payments)
        )
        self.without_propensity = int((mine & ~self.is_judged).sum())

    @cached_property
    def judged(self) -> Log:
        return self.whole.part(self.is_judged)

    @cached_property
    def earlier(self) -> Log:
        return self.whole.part(self.is_earlier)

    @cached_property
    def standing(self) -> Standing:
        return standing(self.judged, self.everything)

    @cached_property
    def situations(self) -> tuple[Array, tuple[int, ...]]:
        return situations(self.whole)

    @cached_property
    def expected(self) -> Array | None:
        """P(success) of every option in every judged decision, from models that never saw its payment."""
        if (
            not self.question.expects
            or len(np.unique(self.judged.payment)) < 2 * _FOLDS
            or len(np.unique(self.whole.success)) < 2
        ):
            return None
        self.tell("learning what to expect, for the direct method and doubly robust")
        matrix, coded = self.situations
        asked = self.question
        return cross_fitted(
            matrix, coded, self.whole, self.is_judged, folds=_FOLDS, seed=asked.seed, threads=asked.threads
        )

    @cached_property
    def foreseen(self) -> Array:
        """P(success) of every option in every judged decision, as a policy could have known it then."""
        log = self.judged
        if self.artefact is not None:
            self.tell("asking the model about every option")
            past = self.everything[~self.everything["attempt_id"].isin(log.table["attempt_id"])]
            return option_success(self.artefact, log.table, log.options, log.open, past if len(past) else None)
        return self.learnt.success(self.situations[0][self.is_judged], log.number)

    @cached_property
    def learnt(self) -> OptionModel:
        """What the earlier decisions alone teach."""
        earlier = self.earlier
        if len(earlier) < _LEAST_TO_LEARN or len(np.unique(earlier.success)) < 2:
            raise BadInput(
                "--policy",
                message=f"{len(earlier):,} earlier attempts to learn from; want {_LEAST_TO_LEARN:,} or more, with successes "
                "and failures: give --history or --last, or a trained model by --model",
            )
        matrix, coded = self.situations
        return fit_option_model(
            matrix[self.is_earlier], coded, earlier.number, earlier.done, earlier.success, len(earlier.options),
            seed=self.question.seed, threads=self.question.threads,
        )  # fmt: skip

    @cached_property
    def tried(self) -> Array:
        """P(success) of every option in every earlier decision, from models of the others: a price is found by these."""
        matrix, coded = self.situations
        return cross_fitted(
            matrix[self.is_earlier], coded, self.earlier, np.ones(len(self.earlier), bool),
            folds=_FOLDS, seed=self.question.seed, threads=self.question.threads,
        )  # fmt: skip

    def target(self, name: str) -> Target:
        """What the policy of that name does in the judged decisions."""
        log = self.judged
        self.tell(f"policy {name}")
        if name == "logged":
            return logged(log)
        if name.partition(":")[0] == "budget":
            return self._budget(name)
        policy: Policy = policy_named(name)
        if isinstance(policy, Always):
            return always(log, policy, self.standing)
        if isinstance(policy, Greedy):
            return by_scores(log, self.foreseen, self.standing)
        knows = isinstance(policy, Explore) or self.artefact is not None
        success = self.foreseen if knows else None
        return by_policy(log, policy, self.standing, success, self.earlier)

    def _budget(self, name: str) -> Target:
        limits, fees = read_pins(name), self.question.fees
        known = {"fee": "fee", "success": "success_of", "price": "price"}
        if fees is None or len(limits) != 1 or not set(limits) <= set(known):
            raise BadInput(
                "--policy",
                [
                    Fault(
                        "budget", "budget:fee=LIMIT, budget:success=SHARE or budget:price=NUMBER, and --fees", seen=name
                    )
                ],
            )
        ((limit, text),) = limits.items()
        try:
            asked = {known[limit]: float(text)}
        except ValueError:
            raise BadInput("--policy", [Fault(f"budget:{limit}", "a number, such as 2.9", seen=text)]) from None
        if limit == "price":
            price = Budget(fees, asked["price"]).price
            success, met = self.foreseen, Border(price, price, 0.0)
        else:
            success, earlier = self.learnt.success(self.situations[0][self.is_judged], self.judged.number), self.earlier
            met = border(self.tried, _expected_fee(earlier, fees, self.tried), earlier.open, **asked)
            self.prices[name] = met.price
        cost = _expected_fee(self.judged, fees, success)
        dear, cheap = (
            by_scores(self.judged, bargains(success, cost, price), self.standing) for price in (met.price, met.other)
        )
        return Target((1.0 - met.share) * dear.shares + met.share * cheap.shares, dear.as_logged)

    def judge(self, target: Target) -> dict[str, Any]:
        """Weights, and the estimates of each reward, or why there are none."""
        log, asked = self.judged, self.question
        weighed = weigh(target.of_done(log), log.propensity, log.payment, target.as_logged)
        doubt = doubt_of(weighed)
        found: dict[str, Any] = {
            "n": len(log),
            "ess": weighed.ess,
            "overlap": weighed.overlap,
            "largest_weight": weighed.largest,
            "as_logged": float(target.as_logged.mean()),
            "refused": str(doubt) if doubt is not None else None,
        }
        if doubt is not None:
            return found
        for name, (reward, of_options) in self._rewards().items():
            expected = done = None
            if of_options is not None:
                expected, done = target.expects(log, of_options), of_options[np.arange(len(log)), log.done]
            told = estimates(weighed, reward, expected, done, resamples=asked.resamples, seed=asked.seed)
            found[name] = {key: value.as_dict() for key, value in told.items()}
        return found

    def _rewards(self) -> dict[str, tuple[Array, Array | None]]:
        """What came of each decision, and what was to be expected of each option."""
        log, fees, expected = self.judged, self.question.fees, self.expected
        rewards: dict[str, tuple[Array, Array | None]] = {"success": (log.success, expected)}
        if fees is None:
            return rewards
        worth = _major(log, fees) * fees.margin
        paid = np.array([fees.of(o.route, o.method) for o in log.options])[log.done]
        fee = np.where(log.success > 0.0, paid[:, 0], paid[:, 1])
        of_fee = _expected_fee(log, fees, expected) if expected is not None else None
        rewards["fee"] = (fee, of_fee)
        of_value = expected * worth[:, None] - of_fee if expected is not None and of_fee is not None else None
        rewards["value"] = (log.success * worth - fee, of_value)
        return rewards

    def warnings(self) -> list[str]:
        """What a reader should know of these figures."""
        log, said = self.judged, []
        if self.without_propensity:
            said.append(f"{self.without_propensity:,} decisions without a propensity were left out")
        is_open, implied = float(log.open.sum(axis=1).mean()), log.implied_options()
        if implied * _OPTIONS_APART < is_open or implied > is_open * _OPTIONS_APART:
            said.append(
                f"the propensities speak of {implied:.1f} options a decision, the log of {is_open:.1f}: does --chosen "
                f"({', '.join(log.chosen)}) name what the logged policy chose, and are they what was drawn with?"
            )
        if self.artefact is not None:
            created = log.table["created_at"].to_numpy("datetime64[us]").astype(np.int64)
            learnt = int((created <= self.artefact.window["until"]).sum())
            if learnt:
                said.append(
                    f"{learnt:,} of these attempts lie in the model's training window: they flatter policies that go by it"
                )
        return said


_FOLDS = 5


def _latest(log: Log, share: float) -> Array:
    """Decisions of the latest payments, by when they began."""
    created = log.table["created_at"].to_numpy("datetime64[us]").astype(np.int64)
    begun = np.full(int(log.payment.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(begun, log.payment, created)
    found: Array = begun[log.payment] >= np.quantile(begun, 1.0 - share)
    return found


def _expected_fee(log: Log, fees: Fees, success: Array) -> Array:
    """The fee to be expected of each option, shape (n, k), where it succeeds with probability `success`."""
    each = np.array([fees.of(option.route, option.method) for option in log.options])
    found: Array = success * each[:, 0] + (1.0 - success) * each[:, 1]
    return found


def _major(log: Log, fees: Fees) -> Array:
    """Amounts in major units. Raises BadInput where a currency is not that of the fees."""
    others = sorted({str(c) for c in log.table["currency"].astype(str).unique()} - {fees.currency})
    if others:
        raise BadInput("--fees", [Fault("currency", f"attempts in {fees.currency} alone", seen=", ".join(others))])
    amounts: Array = log.table["amount_minor"].to_numpy(np.float64) / 10.0 ** currencies()[fees.currency]
    return amounts
