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

__all__ = ["Asked", "breach", "figures", "forbidding_codes", "random_request", "tempted"]

REQUESTS, SEED, PROCESSES, CALLS = 100_000, 7, 2, 3_000
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


def _evidence(random: Random, code: Mapping[str, str] | None) -> dict[str, Any]:
    """What a failed attempt left, with the code if there is one."""
    left: dict[str, Any] = {"code_scheme": "iso8583", "response_code": random.choice(SOFT)}
    if random.random() < 0.3:
        left = {}
    if random.random() < 0.5:
        left["last_event"] = random.choice(EVENTS)
    if random.random() < 0.5:
        left["duration_s"] = random.random() * 100.0
    if code is None:
        return left
    scheme = code["scheme"]
    if scheme == "3ds_trans_status_reason":
        return {**left, "trans_status": "N", "trans_status_reason": code["code"]}
    if random.random() < 0.3 and scheme != "visa_decline_category":
        left["trans_status"] = random.choice("YNUR")
    if scheme in ADVICE:
        own = {"code_scheme": SCHEMES[scheme], "response_code": "?"} if scheme in SCHEMES else {}
        return {**left, **own, "advice_code": code["code"]}
    return {**left, "code_scheme": SCHEMES.get(scheme, scheme), "response_code": code["code"]}


def random_request(random: Random, code: Mapping[str, str]) -> Asked:
    """A question in which the code came with the attempt itself or with one of the payment's earlier ones."""
    means = random.choice(METHODS)
    brand = BRANDS.get(code["scheme"])
    shared = {
        "payment_id": "p1",
        "amount_minor": 38_000,
        "currency": "KRW",
        "country": random.choice(("KR", "BR", "US")),
    }

    def attempt(number: int, method: str) -> dict[str, Any]:
        made = {**shared, "attempt_id": f"a{number}", "created_at": START + number * 90_000_000, "method": method}
        if method == means and brand is not None:
            made["card_brand"] = brand
        if random.random() < 0.8:
            made |= {"route": random.choice(ROUTES), "auth_flow": random.choice(FLOWS)}
        if random.random() < 0.5:
            made |= {"stored": random.random() < 0.5}
        return made

    count = random.randrange(1, 5)
    where = random.randrange(count)
    before = where < count - 1 and random.random() < 0.3
    methods = [means if number == where or random.random() < 0.6 else random.choice(METHODS) for number in range(count)]
    made = [attempt(number, method) for number, method in enumerate(methods)]
    left = [_evidence(random, code if number == where else None) for number in range(count)]
    for past, told in zip(made[:-1], left[:-1], strict=True):
        past |= told
        if random.random() < 0.6:
            past["outcome"] = random.choice(("bank_decline", "technical", "user_abandonment"))
    candidates = None
    if random.random() < 0.8:
        candidates = tuple(_candidate(random, number, means) for number in range(random.randrange(7)))
    request = ScoreRequest(made[-1], None if before else left[-1], tuple(made[:-1]), candidates)
    of_number = left[where].get("response_code") in NUMBERS and code["scheme"] in {"visa", "visa_decline_category"}
    return Asked(request, means, of_number)


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
        for code in codes or forbidding_codes():
            asked = random_request(random, code)
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
    parts = [(SEED + part, REQUESTS // (10 * PROCESSES)) for part in range(10 * PROCESSES)]
    with get_context("spawn").Pool(PROCESSES) as pool:
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
