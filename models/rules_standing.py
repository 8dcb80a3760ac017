"""Where the credentials of a payment stand with the rules: what its attempts so far forbid, and until when.

A credential is what is charged: a card, an account. Nothing in the attempts table tells one card of a method from another
for certain, so that whatever is of the same method counts as the same credential, by any route, stored or not, as a token
or not; unless two attempts are known to be of different cards (brand, funding, issuer). A wallet that holds the same card is
not known to. This errs on the side of the rules, which charge for one try too many and not for one too few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import NamedTuple, Protocol

from features.taxonomy import CODES_EDITION, CodeMeaning
from models.actions import DecisionTable, Never, Row, amounts_to
from models.diagnosis import Evidence
from models.rules import Rule, RuleBook
from models.rules_codes import Said, come_to, is_no_such_number, rule_name, said_by

__all__ = ["AttemptState", "Ban", "Standing", "is_declined"]

_SECOND = 1_000_000
_CARD = ("card_brand", "card_funding", "issuer", "issuer_country")
"""What two attempts of one method with different values cannot share: the card."""

_DECLINED = ("bank_decline", "unclassified")


class AttemptState(Protocol):
    """What is known online of a credential, beyond what a request tells."""

    def declines(self, attempt: Row, *, since: int, one_amount: bool) -> int:
        """How many attempts of *other* payments, with the credential of `attempt`, were declined after `since`.

        `since` is in microseconds since 1970, UTC; with `one_amount`, only those of the attempt's amount and currency. The
        attempts of its own payment come with the request. May raise: the request is then answered without the state.
        """


class Ban(NamedTuple):
    """A rule that forbids something, and why."""

    rule: str
    edition: str
    because: str


class _Credential:
    """What the rules say of one credential."""

    def __init__(self, reference: Row) -> None:
        self.reference = reference
        self.bans: list[tuple[Ban, bool]] = []  # and whether it is for the number, which can be corrected
        self.not_before = 0
        self.wait: Ban | None = None
        self.nevers: list[tuple[Row, Mapping[str, Never]]] = []
        self.declines: list[tuple[int, bool]] = []  # when, and whether of the attempt's amount
        self.limits: tuple[Rule, ...] = ()


class Standing:
    """What the attempts of a payment forbid from now on.

    `attempt` has just failed, leaving what `codes` says; or, where that is None, is about to be made. `declined` tells
    whether the failed one counts as declined. `now` is in microseconds since 1970, UTC.
    """

    def __init__(
        self,
        book: RuleBook,
        table: DecisionTable,
        attempt: Row,
        previous: Sequence[Row],
        now: int,
        *,
        codes: Evidence | None = None,
        declined: bool = False,
        state: AttemptState | None = None,
    ) -> None:
        self._book, self._table, self._state = book, table, state
        self._attempt, self._now = attempt, now
        self._codes, self._declined = codes, declined
        self._known: dict[str, _Credential | None] = {}
        self._counted: dict[tuple[str, int, bool], int] = {}
        self._banned: dict[tuple[str, float, bool], Ban | None] = {}
        self._previous = previous
        self.unsettled = any(map(_unsettled, previous))
        """Whether an earlier attempt timed out and nobody has said since what became of it."""

    def against(self, candidate: Row, *, new_number: bool = False) -> Ban | None:
        """The rule that forbids a candidate; None where it may be tried. With `new_number`, the card's is corrected."""
        method = candidate["method"]
        mine = self._known[method] if method in self._known else self._of(method)
        if mine is None:
            return None
        asked = (method, candidate.get("wait_s") or 0, new_number)
        if asked not in self._banned:  # candidates differ by route or authentication more often
            self._banned[asked] = self._ban_at(mine, self._now + int(asked[1] * _SECOND), new_number=new_number)
        if (ban := self._banned[asked]) is not None:
            return ban
        for past, never in mine.nevers:
            found = next((never[trait] for trait in amounts_to(past, candidate) if trait in never), None)
            if found is not None:
                return Ban(found.rule, self._table.edition, found.because)
        return None

    def _ban_at(self, mine: _Credential, at: int, *, new_number: bool) -> Ban | None:
        """What forbids a credential at that time (microseconds), by whatever road."""
        for ban, of_number in mine.bans:
            if not (of_number and new_number):
                return ban
        if at < mine.not_before:
            return mine.wait
        for rule in mine.limits:
            if self._is_reached(rule, mine, at):
                return Ban(rule.rule, rule.edition, rule.meaning)
        return None

    def allows(self, stand_in: str, means: Row) -> bool:
        """Whether the attempt's own means may be tried again once details are fixed, or the session resumed."""
        fixes = stand_in == "fix_details"
        if fixes and self._codes is not None and is_no_such_number(self._codes):
            return True
        return self.against(means, new_number=fixes) is None

    def wait_s(self, method: str) -> int:
        """Whole seconds until the network allows that method's credential again; 0 where it does not say."""
        mine = self._of(method)
        return max(0, ceil((mine.not_before - self._now) / _SECOND)) if mine is not None else 0

    def _of(self, method: str) -> _Credential | None:
        if method not in self._known:
            self._known[method] = self._read(method)
        return self._known[method]

    def _read(self, method: str) -> _Credential | None:
        """What the attempts say of the credential that a method stands for; None where there is nothing to say."""
        attempt, ours = self._attempt, self._attempt["method"] == method
        failed = self._codes is not None and ours
        earlier = [past for past in self._previous if past["method"] == method and past.get("outcome") != "success"]
        if not earlier and not failed and (self._state is None or not ours):
            return None
        reference = attempt if ours else earlier[-1]
        earlier = [past for past in earlier if not _another_card(past, reference)]
        brand = next((past["card_brand"] for past in (reference, *earlier) if past.get("card_brand")), None)
        # Whoever pays, pays all of it: an earlier attempt need not repeat the customer
        customer = attempt.get("customer_id")
        mine = _Credential(reference if "customer_id" in reference else {**reference, "customer_id": customer})
        typed_anew = self._codes is None and not (attempt.get("stored") or attempt.get("network_token"))
        for past in earlier:
            said = said_by(past, past.get("card_brand") or brand)
            self._note(mine, said, _ended(past), typed_anew=typed_anew)
            never = self._table.plan(*(said.cause or (past.get("reason"), None))).never
            if never:
                mine.nevers.append((past, never))
            if is_declined(past):
                mine.declines.append((past["created_at"], _same_amount(past, reference)))
        if failed and self._codes is not None:
            self._note(mine, come_to(self._codes), self._now, typed_anew=False)
            if self._declined:
                mine.declines.append((attempt["created_at"], True))
        place = reference.get("merchant_country") or reference.get("country")
        mine.limits = self._book.limits(brand, place, self._now)
        return mine

    def _note(self, mine: _Credential, said: Said, ended: int, *, typed_anew: bool) -> None:
        """Take over what one attempt's codes forbid."""
        code, waits = said.forbids, said.waits
        if code is not None and not (said.of_number and typed_anew):
            mine.bans.append((self._ban(rule_name(code.rule, code.sub_reason), code), said.of_number))
        if waits is not None and waits.wait_s is not None and ended + waits.wait_s * _SECOND > mine.not_before:
            mine.not_before = ended + waits.wait_s * _SECOND
            mine.wait = self._ban(f"{waits.scheme}_wait", waits)

    def _ban(self, name: str, code: CodeMeaning) -> Ban:
        rule = self._book.named(name)
        return Ban(name, rule.edition if rule is not None else CODES_EDITION, code.meaning)

    def _is_reached(self, rule: Rule, mine: _Credential, at: int) -> bool:
        if rule.limit is None or rule.window_s is None or (self._state is None and len(mine.declines) < rule.limit):
            return False
        since, one_amount = at - rule.window_s * _SECOND, rule.counts == "declines_of_one_amount"
        count = sum(when > since and (same or not one_amount) for when, same in mine.declines)
        if self._state is not None:
            asked = (mine.reference["method"], since, one_amount)
            if asked not in self._counted:
                self._counted[asked] = self._state.declines(mine.reference, since=since, one_amount=one_amount)
            count += self._counted[asked]
        return count >= rule.limit


def _another_card(one: Row, other: Row) -> bool:
    """Whether two attempts of one method are known to be of different cards."""
    for name in _CARD:
        mine, theirs = one.get(name), other.get(name)
        if mine and theirs and mine != theirs and str(mine).casefold() != str(theirs).casefold():
            return True
    return False


def is_declined(past: Row) -> bool:
    """Whether an attempt counts as declined: the bank answered no, or it failed and nobody says how."""
    return past.get("outcome") in _DECLINED or (
        past.get("response_code") is not None and past.get("outcome") != "success"
    )


def _same_amount(past: Row, reference: Row) -> bool:
    amount, currency = reference.get("amount_minor"), reference.get("currency")
    return bool(past.get("amount_minor", amount) == amount and past.get("currency", currency) == currency)


def _ended(past: Row) -> int:
    """When an attempt's answer was known, in microseconds since 1970, UTC."""
    told: int | None = past.get("resolved_at")
    return told if told is not None else past["created_at"] + int((past.get("duration_s") or 0) * _SECOND)


def _unsettled(past: Row) -> bool:
    """Whether an attempt timed out, by its code or else by its last event, and its outcome is not told."""
    if past.get("outcome") is not None:
        return False
    if past.get("response_code") is None:
        return past.get("last_event") == "timed_out"
    cause = said_by(past, past.get("card_brand")).cause
    return cause is not None and cause[0] == "network_timeout"
