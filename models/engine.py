"""From a request to an answer: what will become of an attempt or why it failed, and what to do next.

Rules stand above the model: what a code, a network's limit or the decision table forbids is screened before anything is
ranked, for what checkout named and for what it did not, with a model and without one.
A well-formed request always gets a suggestion; without a model, or when it fails, from the decision table.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from features.past import Past
from models.actions import DecisionTable, Plan, Row, Step, decision_table
from models.answer import Verdict, answer_of, compared
from models.choice import Option, best, first_step, own_means, ranked, screen, screen_before
from models.code_text import CodeText
from models.diagnosis import Diagnosis, Evidence, by_code, by_model, by_rules, read_evidence
from models.grounds import Chances
from models.online import OnlinePast
from models.policies import CERTAIN, Decision, Drawn, Greedy, Policy, Way, chance, draw
from models.rules import RuleBook, network_rules
from models.rules_standing import AttemptState, Standing
from models.value import Worth

__all__ = ["Engine", "EngineSettings", "Predictor", "ScoreRequest"]

_log = logging.getLogger(__name__)

_MESSAGES = {
    "proceed": "continue_payment",
    "retry_same": "try_again",
    "retry_other_route": "try_again",
    "step_up": "confirm_with_bank",
    "retry_later": "try_again_later",
    "alternate_method": "try_other_method",
    "fix_details": "check_details",
    "resume_session": "resume_payment",
    "stop": "payment_not_possible",
}
"""What to tell the customer where the decision table does not name the action."""

_MOST_GROUNDS = 2  # beside the cause, or the comparison


class Predictor(Protocol):
    """A loaded model. Values are those of the attempts table, times as whole microseconds since 1970, UTC."""

    fingerprint: str
    """sha256 of the feature definitions."""

    code_text: CodeText | None
    """What reads a code that no table has; None where nothing does."""

    plausible: Mapping[str, float] | None
    """What a reason of each category needs to be plausible, as `by_model` takes it; None where nothing says."""

    def on(self, past: Past) -> Predictor:
        """This model, looking back on another past than it carries."""

    def slots_of(
        self,
        attempt: dict[str, Any],
        previous: Sequence[dict[str, Any]],
        candidates: Sequence[Mapping[str, Any]],
    ) -> Sequence[str]:
        """The names of the slots of the past that questions about these look at."""

    def ways_to_pay(self, country: str) -> Sequence[tuple[str, str | None]]:
        """(method, route) seen in that country, most used first."""

    def outcome(self, attempt: dict[str, Any], previous: Sequence[dict[str, Any]]) -> Sequence[float]:
        """Probabilities, in the order of OUTCOMES; they sum to 1."""

    def candidate_success(
        self,
        attempt: dict[str, Any],
        previous: Sequence[dict[str, Any]],
        candidates: Sequence[Mapping[str, Any]],
    ) -> Sequence[float]:
        """The success probability of each candidate as the next thing done; as Chances, they also say what they rest on."""

    def reasons(
        self, attempt: dict[str, Any], previous: Sequence[dict[str, Any]], evidence: dict[str, Any]
    ) -> dict[str, float]:
        """The probability of each reason, given that it failed and the evidence; they sum to 1."""


class ScoreRequest(msgspec.Struct, frozen=True, gc=False):
    """One question, its values checked.

    `evidence` is None before the attempt; `candidates` is None where checkout did not say what it can do.
    Values are str, int, float, bool; missing ones are absent. Times are whole microseconds since 1970, UTC.
    """

    attempt: dict[str, Any]
    evidence: dict[str, Any] | None = None
    previous: tuple[dict[str, Any], ...] = ()
    candidates: tuple[dict[str, Any], ...] | None = None


@dataclass(frozen=True)
class EngineSettings:
    """When to leave an attempt as it is, and when to believe a guess.

    `proceed_margin`: how much more another way must be worth before an attempt is changed, as a share of what success
    brings. `tie`: the share that is not worth more than the table's preference. `check_status_from`: from which
    probability a timeout is checked before anything else is done. `firm_from`: from which confidence of the
    model what the table forbids for a reason holds. `most_candidates`: how many ways to pay are looked at
    where the request names none.
    """

    proceed_margin: float = 0.05
    tie: float = 0.005
    check_status_from: float = 0.2
    firm_from: float = 0.5
    most_candidates: int = 8


class Engine:
    """Answers requests with a model, or without one.

    `rules` are the card networks' rules, the shipped ones if not given; `state` tells of the same credentials' attempts in
    other payments, where something keeps them. `worth` weighs what may be done: fees, margin and effort.

    >>> engine = Engine(None)
    >>> attempt = {"attempt_id": "a1", "payment_id": "p1", "created_at": 0, "amount_minor": 100,
    ...            "currency": "KRW", "country": "KR", "method": "card"}
    >>> failed = ScoreRequest(attempt, evidence={"code_scheme": "iso8583", "response_code": "51"})
    >>> answer = engine.score(failed, request_id="r1")
    >>> answer["diagnosis"]["reason"], answer["suggestion"]["action"], answer["degraded"]
    ('insufficient_funds', 'alternate_method', True)
    """

    def __init__(
        self,
        predictor: Predictor | None,
        table: DecisionTable | None = None,
        *,
        version: str | None = None,
        settings: EngineSettings | None = None,
        rules: RuleBook | None = None,
        state: AttemptState | None = None,
        policy: Policy | None = None,
        salt: str = "payrescue",
        worth: Worth | None = None,
    ) -> None:
        self.predictor = predictor
        self.policy: Policy = policy or Greedy()
        self.salt = salt  # of the policy's draws: nobody who does not know it can foretell them
        self.version = version
        self.table = table or decision_table()
        self.settings = settings or EngineSettings()
        self.rules = rules or network_rules()
        self.state = state
        self.worth = worth or Worth()

    def score(
        self,
        request: ScoreRequest,
        *,
        request_id: str,
        rules_only: bool = False,
        past: OnlinePast | None = None,
    ) -> dict[str, Any]:
        """The answer of `POST /v1/score`, as the contract has it; never raises for a checked request.

        With `rules_only` (a deadline has passed, say) neither the model nor the state is asked. `past` is what is known at
        this moment, in place of what the artefact carries and of the engine's own state; where it was missed, the answer
        is degraded.
        """
        if (self.predictor is not None or self.state is not None or past is not None) and not rules_only:
            try:
                return self._by_all(request, request_id, past)
            except Exception as error:
                _log.error(
                    "request %s: the model or the state failed (%s); answered by the rules", request_id, _site(error)
                )  # no traceback: it could hold values of the request
        return self._answer(request, request_id, None, None)

    def _by_all(self, request: ScoreRequest, request_id: str, past: OnlinePast | None) -> dict[str, Any]:
        if past is None:
            return self._answer(request, request_id, self.predictor, self.state)
        predictor = self.predictor.on(past) if self.predictor is not None else None
        with past.lock:
            answer = self._answer(request, request_id, predictor, past)
        answer["degraded"] = answer["degraded"] or past.missed
        return answer

    def slots_of(self, request: ScoreRequest) -> Sequence[str]:
        """The names of the slots of the past that an answer looks at; none without a model."""
        if self.predictor is None:
            return ()
        return self.predictor.slots_of(request.attempt, request.previous, self._candidates(request, self.predictor))

    def _answer(
        self, request: ScoreRequest, request_id: str, predictor: Predictor | None, state: AttemptState | None
    ) -> dict[str, Any]:
        attempt, previous = request.attempt, request.previous
        if request.evidence is None:
            outcome = predictor.outcome(attempt, previous) if predictor is not None else None
            verdict = self._before(request, predictor, outcome, state)
        else:
            verdict = self._after(request, request.evidence, predictor, state)
            # Asked last: by now the predictor has told it together with the candidates
            outcome = predictor.outcome(attempt, previous) if predictor is not None else None
        return {
            "request_id": request_id,
            "attempt_id": attempt["attempt_id"],
            "degraded": predictor is None,
            "model": {
                "name": "payrescue",
                "version": self.version,
                "features": self.predictor.fingerprint if self.predictor is not None else None,
            },
            **answer_of(attempt, verdict, outcome),
            "policy": {
                "name": self.policy.name if predictor is not None else "rules",
                "propensity": verdict.drawn.propensity,
                "explored": verdict.drawn.explored,
                "experiment": None,
                "variant": None,
            },
        }

    def _before(
        self,
        request: ScoreRequest,
        predictor: Predictor | None,
        outcome: Sequence[float] | None,
        state: AttemptState | None,
    ) -> Verdict:
        attempt = request.attempt
        standing = Standing(self.rules, self.table, attempt, request.previous, attempt["created_at"], state=state)
        named = self._candidates(request, predictor) if predictor is not None else request.candidates or ()
        options, blocked, forbidden = screen_before(attempt, named, standing)
        proceed = Option("proceed", own_means(attempt))
        chances: Sequence[float] = ()
        if predictor is not None and outcome is not None:
            # The attempt itself comes first: the others are explained against it
            asked = [own_means(attempt), *(dict(o.candidate or ()) for o in options if o.action != "proceed")]
            chances = predictor.candidate_success(attempt, request.previous, asked)
            proceed = self._weighed(attempt, proceed, chances, 0, retry=False, success=outcome[0])
            places = iter(range(1, len(asked)))
            options = [
                msgspec.structs.replace(proceed, candidate=option.candidate)
                if option.action == "proceed"
                else self._weighed(attempt, option, chances, next(places), retry=False)
                for option in options
            ]
            options = ranked(options, None)
            proceed = next((option for option in options if option.action == "proceed"), proceed)
        check = self.table.plan("network_timeout").always
        if standing.unsettled and check is not None:
            return Verdict(Option(check.action, None), check.message_key, (check.because,), options, blocked)
        if forbidden is not None:
            other = Option("stop" if request.candidates is not None else "alternate_method", None)
            chosen = options[0] if options else other
            because = _few(forbidden.because, *compared(attempt, chosen, options))
            return Verdict(chosen, _MESSAGES[chosen.action], because, options, blocked)
        if outcome is None:
            said = ("without a model there is no reason to change the attempt",)
            return Verdict(proceed, _MESSAGES["proceed"], said, options, blocked)
        chosen = proceed
        margin = self.settings.proceed_margin * self.worth.full(attempt)
        if options and (options[0].value or 0.0) >= (proceed.value or 0.0) + margin:
            chosen = options[0]
        chosen, drawn = self._drawn(attempt, "before", chosen, [proceed, *options], None)
        because = _few(
            *_why(attempt, chosen, [proceed, *options], chances), *compared(attempt, chosen, [proceed, *options])
        )
        return Verdict(chosen, _MESSAGES[chosen.action], because, options, blocked, drawn=drawn)

    def _after(
        self,
        request: ScoreRequest,
        evidence: dict[str, Any],
        predictor: Predictor | None,
        state: AttemptState | None,
    ) -> Verdict:
        attempt, table = request.attempt, self.table
        texts = predictor.code_text if predictor is not None else None
        codes = read_evidence(evidence, attempt.get("card_brand"), texts)
        diagnosis = by_code(codes)
        if diagnosis is None and predictor is not None:
            diagnosis = by_model(predictor.reasons(attempt, request.previous, evidence), predictor.plausible)
        if diagnosis is None:
            diagnosis = by_rules(codes, evidence.get("last_event"))
        plan = table.plan(diagnosis.reason, diagnosis.sub_reason) if diagnosis else table.plan(None)
        firm = diagnosis is not None and (
            diagnosis.decided_by != "model" or (diagnosis.confidence or 0.0) >= self.settings.firm_from
        )
        failed = _failed(attempt, evidence, diagnosis)
        declined = codes.response is not None or diagnosis is None or diagnosis.category == "bank_decline"
        standing = Standing(
            self.rules, table, attempt, request.previous, failed["resolved_at"],
            codes=codes, declined=declined, state=state,
        )  # fmt: skip
        always = self._always(plan, firm, diagnosis, codes, evidence)
        if always is None and standing.unsettled:
            always = table.plan("network_timeout").always
        named = self._candidates(request, predictor) if predictor else request.candidates
        options, blocked = screen(attempt, named or (), standing, plan, table, firm=firm)
        chances: Sequence[float] = ()
        if predictor is not None:
            options, chances = self._with_success(request, failed, plan, standing, options, predictor)
        ranking = ranked(options, plan)
        said: tuple[str, ...] = (diagnosis.because,) if diagnosis is not None else ()
        if always is not None:
            chosen, step = Option(always.action, None), always
        elif predictor is not None and options:
            tie = self.settings.tie * self.worth.full(attempt)
            chosen, drawn = self._drawn(attempt, "after", best(options, plan, tie), ranking, plan)
            found = plan.by_action.get(chosen.action)
            key = found.message_key if found is not None else _MESSAGES[chosen.action]
            grounds = _why(attempt, chosen, ranking, chances)
            words = _few(*said, *grounds, *compared(attempt, chosen, ranking), *(block.because for block in blocked))
            return Verdict(chosen, key, words, ranking, blocked, diagnosis, drawn)
        else:
            step, chosen = first_step(plan, options if named is not None else None, attempt, standing)
        words = _few(*said, step.because, *(block.because for block in blocked))
        return Verdict(chosen, step.message_key, words, ranking, blocked, diagnosis)

    def _always(
        self,
        plan: Plan,
        firm: bool,
        diagnosis: Diagnosis | None,
        codes: Evidence,
        evidence: Mapping[str, Any],
    ) -> Step | None:
        """What comes before any probability: a payment that may have gone through is checked first."""
        if plan.always is not None and firm:
            return plan.always
        timeout = diagnosis.reason_probability.get("network_timeout", 0.0) if diagnosis else 0.0
        unanswered = evidence.get("last_event") == "timed_out" and codes.response is None
        decided = diagnosis is not None and diagnosis.decided_by == "code"
        if timeout >= self.settings.check_status_from or (unanswered and not decided):
            return self.table.plan("network_timeout").always
        return None

    def _with_success(
        self,
        request: ScoreRequest,
        failed: dict[str, Any],
        plan: Plan,
        standing: Standing,
        options: list[Option],
        predictor: Predictor,
    ) -> tuple[list[Option], Sequence[float]]:
        """The options weighed, the plan's stand-in for the same means among them, and what the model said of them."""
        attempt, stand_in = request.attempt, plan.stand_in
        if stand_in is not None and all(option.action != stand_in for option in options):
            ours = own_means(attempt)
            options = [*options, Option(stand_in, ours)] if standing.allows(stand_in, ours) else options
        if not options:
            return options, ()
        chances = predictor.candidate_success(
            attempt, (*request.previous, failed), [option.candidate or {} for option in options]
        )
        return [self._weighed(attempt, option, chances, i, retry=True) for i, option in enumerate(options)], chances

    def _weighed(
        self,
        attempt: Row,
        option: Option,
        chances: Sequence[float],
        place: int,
        *,
        retry: bool,
        success: float | None = None,
    ) -> Option:
        """The option with its success probability and its value, and what they rest on, where the model says it."""
        success = float(chances[place] if success is None else success)
        evidence = chances.evidence[place] if isinstance(chances, Chances) else None
        value = self.worth.of(attempt, option.candidate or {}, success, retry=retry)
        return Option(option.action, option.candidate, option.wait_s, success, value, evidence, place)

    def _drawn(
        self, attempt: Row, when: str, greedy: Option, ranking: Sequence[Option], plan: Plan | None
    ) -> tuple[Option, Drawn]:
        """What the policy takes of what is open, none of it blocked; the same whenever it is asked about this attempt."""
        if isinstance(self.policy, Greedy):
            return greedy, CERTAIN
        options = [greedy, *(option for option in ranking if option is not greedy)]
        ways = [_way(attempt, option, plan) for option in options]
        decision = Decision(ways, attempt["country"], attempt["amount_minor"], attempt["created_at"])
        probabilities = self.policy.probabilities(decision)
        if len(probabilities) != len(ways):
            raise ValueError(f"policy {self.policy.name}: {len(probabilities)} probabilities for {len(ways)} ways")
        drawn = draw(probabilities, chance(self.policy.name, when, attempt["attempt_id"], salt=self.salt))
        return options[drawn.place], drawn

    def _candidates(self, request: ScoreRequest, predictor: Predictor) -> Sequence[dict[str, Any]]:
        """What checkout can do: as it says, else the attempt's own way and those seen in its country."""
        if request.candidates is not None:
            return request.candidates
        attempt = request.attempt
        own = (attempt["method"], attempt.get("route"))
        ways = [own, *(way for way in predictor.ways_to_pay(attempt["country"]) if way != own)]
        return [_generated(method, route) for method, route in ways[: self.settings.most_candidates]]


def _why(attempt: Row, chosen: Option, options: Sequence[Option], chances: Sequence[float]) -> tuple[str, ...]:
    """What speaks for what was chosen, against doing the same again or, if that is it or is not open, the next best."""
    if not isinstance(chances, Chances) or chosen.place is None:
        return ()
    others = [option for option in options if option.place not in {None, chosen.place}]
    against = next((option for option in others if _is_the_same(attempt, option)), others[0] if others else None)
    if against is None or against.place is None:
        return ()
    return chances.why(chosen.place, against.place)[:_MOST_GROUNDS]


def _is_the_same(attempt: Row, option: Option) -> bool:
    """Whether an option is the attempt's own way to pay, without a wait."""
    candidate = option.candidate or {}
    if option.wait_s:
        return False
    for name in ("method", "route", "auth_flow"):
        named = candidate.get(name)
        if named is not None and named != attempt.get(name):
            return False
    return True


def _few(*because: str) -> tuple[str, ...]:
    """The first three, none twice."""
    return tuple(dict.fromkeys(because))[:3]


def _generated(method: str, route: str | None) -> dict[str, Any]:
    candidate = {"candidate_id": method if route is None else f"{method}/{route}", "method": method}
    return candidate if route is None else {**candidate, "route": route}


def _way(attempt: Row, option: Option, plan: Plan | None) -> Way:
    """An option as a policy sees it; what a candidate of the same method leaves out is as it was."""
    candidate = option.candidate or {}
    same = candidate.get("method", attempt["method"]) == attempt["method"]
    means = {**own_means(attempt), **candidate} if same else candidate
    return Way(
        option.action,
        means["method"],
        means.get("route"),
        means.get("auth_flow"),
        option.wait_s,
        option.success,
        option.value,
        plan.places[option.action] if plan is not None else int(option.action != "proceed"),
    )


def _failed(attempt: Row, evidence: Row, diagnosis: Diagnosis | None) -> dict[str, Any]:
    """The attempt as a past one: with what is known of its end, and the diagnosis in place of the label."""
    failed = {**attempt, **evidence}
    failed.setdefault("resolved_at", attempt["created_at"] + int((evidence.get("duration_s") or 0.0) * 1e6))
    if diagnosis is not None:
        failed["outcome"], failed["reason"] = diagnosis.category, diagnosis.reason
    return failed


def _site(error: BaseException) -> str:
    """An error's kind and place, without its text, which may hold values of the request."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "nowhere"
    return f"{type(error).__name__} at {where}"
