"""Whether a rule ever gives way to a model, and what the rules cost.

Random requests, each asked with every code that forbids trying again, of a model that is sure of just what is forbidden.
"""

from __future__ import annotations

import csv
import gc
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import cycle, islice
from multiprocessing import get_context
from random import Random
from statistics import median
from time import perf_counter_ns
from typing import Any

from benchmarks.report import Figure, at_most, publish
from models.actions import decision_table
from models.choice import screen
from models.diagnosis import read_evidence
from models.engine import Engine, ScoreRequest
from models.rules import network_rules
from models.rules_standing import Standing

__all__ = ["Asked", "Draft", "breach", "figures", "forbidding_codes", "tempted"]

REQUESTS, SEED, PARTS, CALLS = 100_000, 7, 50, 3_000
START = 1_767_605_400_000_000  # 2026-01-05, in microseconds
NUMBERS = {"14", "15"}
"""No such number: correcting it is allowed, trying it again is not."""

METHODS = ("card", "wallet", "quick_pay")
ROUTES = ("north", "harbor", "summit")
FLOWS = ("none", "frictionless", "challenge", "redirect")
EVENTS = ("submitted", "challenge_shown", "challenge_closed", "redirected", "returned", "page_closed", "timed_out")
SOFT = ("05", "51", "54", "91", "96", "N7", "61", "68", "14", "?")
BRANDS = {"visa": "visa", "visa_decline_category": "visa", "mastercard_mac": "mastercard"}
ADVICE = {"visa_decline_category", "mastercard_mac", "stripe_advice_code", "checkout_recommendation"}
SCHEMES = {"stripe_advice_code": "stripe", "checkout_recommendation": "checkout", "visa": "iso8583"}
REASONS = ("generic_decline", "challenge_abandoned", "card_data_invalid", "processor_error", "incorrect_cvv")


class Asked:
    """One question, the method whose credential is forbidden in it, and whether the code is for the card's number."""

    def __init__(self, request: ScoreRequest, forbidden: str, of_number: bool) -> None:
        self.request, self.forbidden, self.of_number = request, forbidden, of_number


class Tempting:
    """A model that is sure that only what is forbidden succeeds."""

    fingerprint = "sha256:0"
    code_text = None
    plausible = None

    def __init__(self) -> None:
        self.forbidden = ""
        self.reason = REASONS[0]

    def ways_to_pay(self, _country: str) -> Sequence[tuple[str, str | None]]:
        return [("card", "north"), ("card", "harbor"), ("wallet", None), ("quick_pay", "north")]

    def outcome(self, _attempt: Any, _previous: Any) -> Sequence[float]:
        return (1.0, 0.0, 0.0, 0.0, 0.0)

    def candidate_success(self, _attempt: Any, _previous: Any, candidates: Sequence[Mapping[str, Any]]) -> list[float]:
        return [1.0 if candidate["method"] == self.forbidden else 0.0 for candidate in candidates]

    def reasons(self, _attempt: Any, _previous: Any, _evidence: Any) -> dict[str, float]:
        return {self.reason: 1.0}


@cache
def forbidding_codes() -> tuple[Mapping[str, str], ...]:
    """The rows of codes.csv that forbid trying again, by their rule or by their advice."""
    with files("features").joinpath("codes.csv").open(encoding="utf-8") as file:
        return tuple(row for row in csv.DictReader(file) if row["rule"] or row["advice"] == "never")


class Draft:
    """A random question with a place for a code: among what the attempt at `where` left. Every code is put into each."""

    def __init__(self, random: Random) -> None:
        self.means = random.choice(METHODS)
        count = random.randrange(1, 5)
        self._where = random.randrange(count)
        self._before = self._where < count - 1 and random.random() < 0.3
        shared = {
            "payment_id": "p1",
            "amount_minor": 38_000,
            "currency": "KRW",
            "country": random.choice(("KR", "BR", "US")),
        }
        self._made = [self._attempt(random, number, shared) for number in range(count)]
        self._left = [_left(random) for _ in range(count)]
        self._status = {"trans_status": random.choice("YNUR")} if random.random() < 0.3 else {}
        self._ended = [
            {"outcome": random.choice(("bank_decline", "technical", "user_abandonment"))}
            if random.random() < 0.6
            else {}
            for _ in range(count)
        ]
        self._candidates = None
        if random.random() < 0.8:
            self._candidates = tuple(_candidate(random, number, self.means) for number in range(random.randrange(7)))

    def _attempt(self, random: Random, number: int, shared: Mapping[str, Any]) -> dict[str, Any]:
        mine = number == self._where or random.random() < 0.6
        made = {
            **shared, "attempt_id": f"a{number}", "created_at": START + number * 90_000_000,
            "method": self.means if mine else random.choice(METHODS),
        }  # fmt: skip
        if random.random() < 0.8:
            made |= {"route": random.choice(ROUTES), "auth_flow": random.choice(FLOWS)}
        if random.random() < 0.5:
            made |= {"stored": random.random() < 0.5}
        return made

    def ask(self, code: Mapping[str, str]) -> Asked:
        """The question in which that code came, with the attempt itself or with one of the payment's earlier ones."""
        brand, where = BRANDS.get(code["scheme"]), self._where
        made, left = self._made, list(self._left)
        if brand is not None:
            made = [{**one, "card_brand": brand} if one["method"] == self.means else one for one in made]
        left[where] = told = _with_code({**left[where]}, self._status, code)
        previous = tuple({**one, **of, **end} for one, of, end in zip(made[:-1], left, self._ended, strict=False))
        request = ScoreRequest(made[-1], None if self._before else left[-1], previous, self._candidates)
        of_number = told.get("response_code") in NUMBERS and code["scheme"] in {"visa", "visa_decline_category"}
        return Asked(request, self.means, of_number)


def _left(random: Random) -> dict[str, Any]:
    """What a failed attempt left."""
    left: dict[str, Any] = {"code_scheme": "iso8583", "response_code": random.choice(SOFT)}
    if random.random() < 0.3:
        left = {}
    if random.random() < 0.5:
        left["last_event"] = random.choice(EVENTS)
    if random.random() < 0.5:
        left["duration_s"] = random.random() * 100.0
    return left


def _with_code(left: dict[str, Any], status: Mapping[str, str], code: Mapping[str, str]) -> dict[str, Any]:
    """The same with a code, and with a 3-D Secure status where the code leaves room for one."""
    scheme = code["scheme"]
    if scheme == "3ds_trans_status_reason":
        return {**left, "trans_status": "N", "trans_status_reason": code["code"]}
    if scheme != "visa_decline_category":
        left |= status
    if scheme in ADVICE:
        own = {"code_scheme": SCHEMES[scheme], "response_code": "?"} if scheme in SCHEMES else {}
        return {**left, **own, "advice_code": code["code"]}
    return {**left, "code_scheme": SCHEMES.get(scheme, scheme), "response_code": code["code"]}


def _candidate(random: Random, number: int, means: str) -> dict[str, Any]:
    method = means if random.random() < 0.6 else random.choice(METHODS)
    made: dict[str, Any] = {"candidate_id": f"c{number}", "method": method}
    if random.random() < 0.7:
        made["route"] = random.choice(ROUTES)
    if random.random() < 0.4:
        made["auth_flow"] = random.choice(FLOWS)
    if random.random() < 0.3:
        made |= {"stored": random.random() < 0.5, "network_token": random.random() < 0.5}
    if random.random() < 0.3:
        made["wait_s"] = random.choice((60.0, 3_600.0, 7_776_000.0))
    return made


def breach(asked: Asked, answer: Mapping[str, Any]) -> str | None:
    """What in an answer tries the forbidden credential again; None where nothing does."""
    request, suggestion = asked.request, answer["suggestion"]
    left = request.evidence or {}
    anew = request.evidence is None and not request.attempt.get("stored") and not request.attempt.get("network_token")
    if asked.of_number and anew:
        return None  # the customer types another number: another credential
    number = asked.of_number or (left.get("code_scheme") == "iso8583" and left.get("response_code") in NUMBERS)
    if suggestion["method"] == asked.forbidden and not (number and suggestion["action"] == "fix_details"):
        return f"suggested {suggestion['action']}"
    ids = {one["candidate_id"] for one in request.candidates or () if one["method"] == asked.forbidden}
    if ids & {row["candidate_id"] for row in answer["ranking"]}:
        return "ranked"
    if ids - {row["candidate_id"] for row in answer["blocked"]}:
        return "not told as blocked"
    return None


def tempted(
    seed: int, count: int, codes: Sequence[Mapping[str, str]] | None = None
) -> Iterator[tuple[Asked, str | None]]:
    """`count` random requests with each code, asked of the model, by the rules alone, and with no model loaded, in turn."""
    random, model = Random(seed), Tempting()
    sure, without = Engine(model), Engine(None)
    for number in range(count):
        draft = Draft(random)
        for code in codes or forbidding_codes():
            asked = draft.ask(code)
            model.forbidden, model.reason = asked.forbidden, random.choice(REASONS)
            engine = without if number % 5 == 4 else sure
            answer = engine.score(asked.request, request_id="r", rules_only=number % 5 == 3)
            yield asked, breach(asked, answer)


def _breaches(part: tuple[int, int]) -> tuple[int, int]:
    found = [told is not None for _, told in tempted(*part)]
    return sum(found), len(found)


def figures() -> list[Figure]:
    """How often a rule gave way, and the microseconds that the rules take of an answer."""
    codes = len(forbidding_codes())
    parts = [(SEED + part, REQUESTS // PARTS) for part in range(PARTS)]
    with get_context("spawn").Pool() as pool:  # on all cores
        told = pool.map(_breaches, parts, chunksize=1)
    broken, asked = (sum(part) for part in zip(*told, strict=True))
    return [
        at_most(
            f"same credential suggested after a never-retry code, of {asked:,} answers", float(broken), "times", 0.0,
            f"{REQUESTS:,} random requests for each of {codes} codes; the model is sure of the forbidden",
        ),
        at_most("the rules' share of an answer, 8 candidates, 2 earlier attempts, median", _cost_us(), "µs", 50.0),
    ]  # fmt: skip


def _cost_us() -> float:
    """Median of reading where the credentials stand and screening eight candidates."""
    random, table, book = Random(SEED), decision_table(), network_rules()
    shared = {"amount_minor": 38_000, "currency": "KRW", "country": "KR", "method": "card", "card_brand": "visa"}
    left = {"code_scheme": "iso8583", "response_code": "05"}
    cases = []
    for _ in range(64):
        made = [{**shared, "created_at": START + i, "route": random.choice(ROUTES)} for i in range(3)]
        candidates = [_candidate(random, place, "card") for place in range(8)]
        previous = tuple({**past, **left, "outcome": "bank_decline"} for past in made[:2])
        cases.append((made[2], previous, candidates))
    times = []
    gc.collect()
    gc.disable()
    try:
        for attempt, previous, candidates in islice(cycle(cases), CALLS):
            codes, plan = read_evidence(left, "visa"), table.plan("generic_decline")
            began = perf_counter_ns()
            standing = Standing(book, table, attempt, previous, START + 9, codes=codes, declined=True)
            screen(attempt, candidates, standing, plan, table, firm=True)
            times.append((perf_counter_ns() - began) / 1000.0)
    finally:
        gc.enable()
    return median(times)


if __name__ == "__main__":
    publish("rules", figures())
