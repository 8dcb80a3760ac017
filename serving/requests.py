"""From the JSON of a request to a checked `ScoreRequest`; every fault is found, with its JSON pointer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from operator import contains
from typing import Any, NamedTuple

from features.allowed import LENGTHS
from features.cards import contains_card_number
from features.columns import Column, columns
from features.errors import BadInput, Fault
from models.engine import ScoreRequest
from serving.plain_requests import Part, PlainDecoder, is_text
from serving.values import (
    AHEAD,
    CARD_NUMBER,
    MOST_TAKEN,
    REQUIRED,
    SECURITY_CODE,
    TOO_FAR_AHEAD,
    UNKNOWN,
    Field,
    Reader,
    Unwanted,
    field_of,
    hides_card_number,
    names_security_code,
    text_reader,
)

__all__ = [
    "CANDIDATE_COLUMNS",
    "LABEL",
    "MOST_CANDIDATES",
    "MOST_FAULTS",
    "MOST_PREVIOUS",
    "SHARED",
    "RequestFaults",
    "RequestReader",
    "all_there",
    "ends_after_start",
    "no_others",
    "read_object",
]

MOST_PREVIOUS = 50
MOST_CANDIDATES = 64
MOST_FAULTS = 20
"""Faults beyond this many are not listed."""

LABEL = ("outcome", "reason")
"""After columns that evidence may not hold: they are what is asked for."""

SHARED = ("payment_id", "amount_minor", "currency", "country")
"""What an earlier attempt of the same payment may leave out, since the payment has it."""

CANDIDATE_COLUMNS = ("method", "route", "auth_flow", "auth_steps", "stored", "network_token")
_TIMES = ("created_at", "resolved_at")
_PARTS = frozenset({"attempt", "evidence", "previous", "candidates"})
_OF_CANDIDATES = dict.fromkeys(("candidate_id", "method")).keys()
_OWN_OF_CANDIDATES = {
    name: Column(name, kind, "", required=False, for_training=False, known="before", meaning="")
    for name, kind in (("candidate_id", "string"), ("wait_s", "float64"))
}
_SPEAKABLE = re.compile(r"[A-Za-z_][A-Za-z_0-9]{0,39}")
_MOST_KEY_DIGITS = 5
_MOST_LISTS, _MOST_LIST_BYTES = 256, 4_096  # lists of candidates that are kept


class RequestFaults:
    """What is wrong with one request."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def note(self, pointer: str, allowed: str) -> None:
        """Something at `pointer` is not what is `allowed`."""
        self.found.append(Fault(pointer.rpartition("/")[2] or "body", allowed, pointer=pointer))

    def raise_if_any(self) -> None:
        """Raises BadInput with the first faults, if there are any."""
        if self.found:
            raise BadInput("request", self.found[:MOST_FAULTS])


class RequestReader:
    """Reads the JSON of `POST /v1/score`. `extra` are the columns that a merchant declared, known before.

    >>> attempt = {"attempt_id": "a1", "payment_id": "p1", "created_at": "2026-01-05T09:30:00Z",
    ...            "amount_minor": -1, "currency": "KRW", "country": "KR", "method": "card"}
    >>> RequestReader().read({"attempt": attempt}, now=1767605400000000)
    Traceback (most recent call last):
    features.errors.BadInput: request: amount_minor: want a whole number, at least 0, at most 1e+15
    """

    def __init__(self, extra: Sequence[Column] = ()) -> None:
        self.extra = tuple(extra)
        every = [*columns().values(), *extra]
        before = {column.name: field_of(column) for column in every if column.known == "before"}
        after = {column.name: field_of(column) for column in every if column.known == "after"}
        self._attempt = before
        self._evidence = {name: field for name, field in after.items() if name not in LABEL}
        self._previous = before | after
        self._candidate: dict[str, Field] = {
            "candidate_id": Field(text_reader(LENGTHS["string"]), {None}),  # a checkout has few, and sends them again
            **{name: before[name] for name in CANDIDATE_COLUMNS},
            "wait_s": field_of(_OWN_OF_CANDIDATES["wait_s"]),
        }
        self._required = dict.fromkeys(column.name for column in every if column.required).keys()
        self._required_earlier = dict.fromkeys(name for name in self._required if name not in SHARED).keys()
        self._columns = {column.name: column for column in every} | _OWN_OF_CANDIDATES
        self._lists: dict[bytes, tuple[dict[str, Any], ...]] = {}  # of candidates, by a hash of their JSON
        texts = {name for name, column in self._columns.items() if is_text(column)}
        self._texts_of = tuple(
            _Texts.of({name: field for name, field in fields.items() if name in texts})
            for fields in (self._attempt, self._evidence, self._previous, self._candidate)
        )

    def get_ready(self) -> RequestReader:
        """Make now what the first request would have to wait for, some milliseconds."""
        _ = self._decoder
        return self

    @cached_property
    def _decoder(self) -> PlainDecoder:
        of = self._columns
        parts = (
            Part([of[name] for name in fields], required)
            for fields, required in (
                (self._attempt, self._required),
                (self._evidence, ()),
                (self._previous, self._required_earlier),
                (self._candidate, _OF_CANDIDATES),
            )
        )
        return PlainDecoder(*parts, most_previous=MOST_PREVIOUS, most_candidates=MOST_CANDIDATES)

    def read_plain(self, body: bytes, *, now: int) -> ScoreRequest | None:
        """A request from its JSON, if it is plainly right: the same as `read` makes of it. None leaves it for that to judge."""
        parts, faults = self._decoder.decode(body), RequestFaults()
        if parts is None:
            return None
        of_attempt, of_evidence, of_previous, _ = self._texts_of
        latest, attempt, evidence = now + AHEAD, parts.attempt, parts.evidence
        try:
            of_attempt.read(attempt, latest)
            if evidence is not None:
                of_evidence.read(evidence, latest)
            for past in parts.previous:
                of_previous.read(past, latest)
            candidates = self._named(parts.candidates) if parts.candidates is not None else None
        except Unwanted:
            return None
        if evidence is not None:
            ends_after_start(attempt, evidence, "", faults)
        previous = self._follow(parts.previous, attempt, "", now, faults)
        return ScoreRequest(attempt, evidence, tuple(previous), candidates) if not faults.found else None

    def _named(self, body: bytes) -> tuple[dict[str, Any], ...]:
        """Candidates from their JSON, if it is plainly right; a checkout has few lists of them, and sends them again.

        One list serves many requests: it is never changed. Raises Unwanted where it is not plain.
        """
        name = blake2b(body, digest_size=16).digest()  # nothing is kept that a name given twice would hide
        known = self._lists.get(name)
        if known is not None:
            return known
        read, faults, texts = self._decoder.candidates(body), RequestFaults(), self._texts_of[-1]
        if read is None:
            raise Unwanted
        for candidate in read:
            texts.read(candidate, 0)
        known = _told_apart(read, "", faults)
        if faults.found:
            raise Unwanted
        if len(body) <= _MOST_LIST_BYTES:
            if len(self._lists) >= _MOST_LISTS:
                del self._lists[next(iter(self._lists))]
            self._lists[name] = known
        return known

    def read(self, raw: Any, *, now: int) -> ScoreRequest:
        """One request. `now` is in microseconds since 1970, UTC. Raises BadInput with every fault."""
        faults = RequestFaults()
        request = self._request(raw, "", now, faults)
        faults.raise_if_any()
        return request

    def read_batch(self, raw: Any, *, now: int, most: int) -> list[ScoreRequest]:
        """An array of at most `most` requests. Raises BadInput with the faults of all."""
        faults = RequestFaults()
        if type(raw) is not list or len(raw) > most:
            faults.note("", f"an array of at most {most} requests")
            raw = []
        requests = [self._request(item, f"/{i}", now, faults) for i, item in enumerate(raw)]
        faults.raise_if_any()
        return requests

    def _request(self, raw: Any, at: str, now: int, faults: RequestFaults) -> ScoreRequest:
        if type(raw) is not dict:
            faults.note(at, "an object")
            return ScoreRequest({})
        no_others(raw, _PARTS, at, faults)
        attempt = read_object(raw.get("attempt"), self._attempt, f"{at}/attempt", now, faults)
        all_there(attempt, raw.get("attempt"), self._required, f"{at}/attempt", faults)
        given = raw.get("evidence")
        evidence = None if given is None else read_object(given, self._evidence, f"{at}/evidence", now, faults)
        if evidence is not None:
            ends_after_start(attempt, evidence, f"{at}/evidence", faults)
        previous = self._earlier(raw.get("previous"), attempt, f"{at}/previous", now, faults)
        candidates = self._candidates(raw.get("candidates"), f"{at}/candidates", now, faults)
        return ScoreRequest(attempt, evidence, tuple(previous), candidates)

    def _earlier(
        self, raw: Any, attempt: Mapping[str, Any], at: str, now: int, faults: RequestFaults
    ) -> list[dict[str, Any]]:
        def rows() -> Iterator[dict[str, Any]]:
            for i, item in enumerate(_array(raw, MOST_PREVIOUS, at, faults)):
                row = read_object(item, self._previous, f"{at}/{i}", now, faults)
                all_there(row, item, self._required_earlier, f"{at}/{i}", faults)
                yield row

        return self._follow(rows(), attempt, at, now, faults) if raw is not None else []

    @staticmethod
    def _follow(
        rows: Iterable[dict[str, Any]], attempt: Mapping[str, Any], at: str, now: int, faults: RequestFaults
    ) -> list[dict[str, Any]]:
        """Earlier attempts with what they share with this one; what cannot be one before the other is noted."""
        earlier: list[dict[str, Any]] = []
        ids = {attempt.get("attempt_id")}
        shared = {name: attempt[name] for name in SHARED if name in attempt}
        for i, row in enumerate(rows):
            ends_after_start(row, row, f"{at}/{i}", faults)
            if row.setdefault("payment_id", attempt.get("payment_id")) != attempt.get("payment_id"):
                faults.note(f"{at}/{i}/payment_id", "the payment_id of the attempt")
            if "attempt_id" in row and row["attempt_id"] in ids:
                faults.note(f"{at}/{i}/attempt_id", "an attempt_id that no other attempt here has")
            ids.add(row.get("attempt_id"))
            follows = earlier[-1].get("created_at", 0) if earlier else 0
            if not follows <= row.get("created_at", follows) <= attempt.get("created_at", now + 2**62):
                faults.note(f"{at}/{i}/created_at", "earlier attempts, oldest first")
            for name, value in shared.items():
                row.setdefault(name, value)
            earlier.append(row)
        return earlier

    def _candidates(self, raw: Any, at: str, now: int, faults: RequestFaults) -> tuple[dict[str, Any], ...] | None:
        if raw is None:
            return None

        def rows() -> Iterator[dict[str, Any]]:
            for i, item in enumerate(_array(raw, MOST_CANDIDATES, at, faults)):
                candidate = read_object(item, self._candidate, f"{at}/{i}", now, faults)
                all_there(candidate, item, _OF_CANDIDATES, f"{at}/{i}", faults)
                yield candidate

        return _told_apart(rows(), at, faults)


def _told_apart(rows: Iterable[dict[str, Any]], at: str, faults: RequestFaults) -> tuple[dict[str, Any], ...]:
    """Candidates; two of one id are noted."""
    candidates: list[dict[str, Any]] = []
    ids: set[str] = set()
    for i, candidate in enumerate(rows):
        candidate_id = candidate.get("candidate_id")
        if candidate_id in ids:
            faults.note(f"{at}/{i}/candidate_id", "a candidate_id that no other candidate has")
        elif candidate_id is not None:
            ids.add(candidate_id)
        candidates.append(candidate)
    return tuple(candidates)


class _Texts(NamedTuple):
    """What a plain decoder leaves as it came: texts of which many come again, with those that were taken before, and others."""

    repeated: Mapping[str, Field]
    taken: Sequence[set[str | None]]
    others: Sequence[tuple[str, Reader]]

    @classmethod
    def of(cls, fields: Mapping[str, Field]) -> _Texts:
        repeated = {name: field for name, field in fields.items() if field.taken is not None}
        others = [(name, field.read) for name, field in fields.items() if field.taken is None]
        return cls(repeated, [field.taken for field in repeated.values() if field.taken is not None], others)

    def read(self, values: dict[str, Any], latest: int) -> None:
        """Reads them in place. Raises Unwanted, also for a time that is later than the `latest`."""
        if not all(map(contains, self.taken, map(values.get, self.repeated))):
            self._read_new(values)
        for name, read in self.others:
            value = values.get(name)
            if value is not None:
                values[name] = value = read(value)
                if name in _TIMES and value > latest:
                    raise Unwanted(TOO_FAR_AHEAD)

    def _read_new(self, values: dict[str, Any]) -> None:
        for (name, field), taken in zip(self.repeated.items(), self.taken, strict=True):
            value = values.get(name)
            if value is not None and value not in taken:
                values[name] = field.read(value)
                _remember(value, taken)


def _remember(text: str, taken: set[str | None]) -> None:
    """Keep a text that was taken as it is."""
    if len(taken) >= MOST_TAKEN:
        taken.clear()
        taken.add(None)
    taken.add(text)


def _array(raw: Any, most: int, at: str, faults: RequestFaults) -> list[Any]:
    if type(raw) is list and len(raw) <= most:
        return raw
    faults.note(at, f"an array of at most {most} objects")
    return []


def read_object(raw: Any, fields: Mapping[str, Field], at: str, now: int, faults: RequestFaults) -> dict[str, Any]:
    """The values of an object by name, without the missing ones and the faulty ones, which are noted."""
    if type(raw) is not dict:
        faults.note(at, "an object")
        return {}
    values: dict[str, Any] = {}
    for name, value in raw.items():
        field = fields.get(name)
        if field is None:
            no_others({name: value}, fields, at, faults)
            continue
        read, taken = field
        if taken is not None and type(value) is str and value in taken:
            values[name] = value
        elif value is not None:
            try:
                values[name] = read(value)
            except Unwanted as unwanted:
                faults.note(f"{at}/{name}", str(unwanted))
                continue
            if taken is not None and values[name] is value:
                _remember(value, taken)
    for name in _TIMES:
        if name in values and values[name] > now + AHEAD:
            faults.note(f"{at}/{name}", TOO_FAR_AHEAD)
    return values


def all_there(values: Mapping[str, Any], raw: Any, names: KeysView[str], at: str, faults: RequestFaults) -> None:
    """Notes values that are required and not given; faulty ones have been noted already."""
    if type(raw) is not dict or names <= values.keys():
        return
    for name in names:
        if name not in values and raw.get(name) is None:
            faults.note(f"{at}/{name}", REQUIRED)


def ends_after_start(start: Mapping[str, Any], end: Mapping[str, Any], at: str, faults: RequestFaults) -> None:
    """Notes an end before the start."""
    if end.get("resolved_at", 2**62) < start.get("created_at", 0):
        faults.note(f"{at}/resolved_at", "a time not before created_at")


def no_others(raw: Mapping[str, Any], known: Iterable[str], at: str, faults: RequestFaults) -> None:
    """Notes fields that are not known. Their names are repeated only if they cannot hide anything."""
    known = frozenset(known)
    if known >= raw.keys():
        return
    for name, value in raw.items():
        if name in known:
            continue
        if contains_card_number(name) or hides_card_number(value):
            faults.note(f"{at}/{name}" if _speakable(name) else at, CARD_NUMBER)
        elif names_security_code(name, value):
            faults.note(f"{at}/{name}" if _speakable(name) else at, SECURITY_CODE)
        elif _speakable(name):
            faults.note(f"{at}/{name}", UNKNOWN)
        else:
            faults.note(at, UNKNOWN)


def _speakable(name: str) -> bool:
    digits = sum(character.isdigit() for character in name)
    return _SPEAKABLE.fullmatch(name) is not None and digits <= _MOST_KEY_DIGITS
