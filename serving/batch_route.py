"""What `POST /v1/score/batch` answers: many questions, read and scored in small pieces, between which others are served."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import msgspec

from features.errors import BadInput, Fault
from models.engine import ScoreRequest
from serving.gate import Gate
from serving.lineup import Lineup
from serving.pieces import pieces, size_of, whole
from serving.problems import invalid
from serving.requests import MOST_FAULTS, RequestReader
from serving.scoring import Scoring, Timing
from serving.transport import parse_json

__all__ = ["BatchRoute"]

_BREATH_S = 0.002  # of a batch between two looks at other clients
_READ = 8  # questions that are read at once: up to a millisecond
_READ_BYTES = 32 * 1024  # of more, fewer are read at once
_BYTES_A_QUESTION = 8 * 1024  # what weighs more counts as several


class BatchRoute:
    """Answers arrays of at most `most` questions, one batch after another."""

    def __init__(self, scoring: Scoring, gate: Gate, clock: Callable[[], int], *, most: int) -> None:
        self._scoring, self._gate, self._clock, self._most = scoring, gate, clock, most

    async def answer(
        self, reader: RequestReader, lineup: Lineup, body: bytes, request_id: str, since: float, deadline_s: float
    ) -> list[msgspec.Raw]:
        """The answers in the order of the questions; `since` is of time.perf_counter. Raises Problem: 400, 413, 422, 503."""
        wanted = f"an array of at most {self._most} requests"
        parts = pieces(body, self._most, wanted)
        if parts is None:
            parse_json(body)  # what is no JSON at all is told as that
            raise invalid(BadInput("request", [Fault("body", wanted, pointer="")]))
        weight = min(max(len(parts), len(body) // _BYTES_A_QUESTION, 1), self._most)
        async with self._gate.together(weight, self._most):
            now = self._clock()
            requests = await self._read(reader, parts, now)
            timing = Timing(now, since, deadline_s)
            answers, breathed = [], time.perf_counter()
            for i, request in enumerate(requests):
                if time.perf_counter() - breathed > _BREATH_S:
                    await self._gate.give_way()
                    breathed = time.perf_counter()
                answered = await self._scoring.answer(lineup, request, f"{request_id}.{i}", timing)
                answers.append(msgspec.Raw(answered.body))
                answered.afterwards()
            return answers

    async def _read(self, reader: RequestReader, parts: Sequence[Any], now: int) -> list[ScoreRequest]:
        requests: list[ScoreRequest] = []
        faults: list[Fault] = []
        for first, after in pairwise(_cuts(parts)):
            some = [whole(part) for part in parts[first:after]]
            try:
                requests += reader.read_batch(some, now=now, most=_READ)
            except BadInput as bad:
                faults += [_moved(fault, first) for fault in bad.faults]
            await self._gate.give_way()
        if faults:
            raise invalid(BadInput("request", faults[:MOST_FAULTS]))
        return requests


def _cuts(parts: Sequence[Any]) -> Iterator[int]:
    """Where what is read at once begins: after _READ questions, or fewer that are large; then the end of all."""
    count = size = 0
    for i, part in enumerate(parts):
        count, size = count + 1, size + size_of(part)
        if i == 0 or count > _READ or size > _READ_BYTES:
            yield i
            count, size = 1, size_of(part)
    yield len(parts)


def _moved(fault: Fault, by: int) -> Fault:
    """A fault of a piece of the batch, told by its place in all of it."""
    place, slash, rest = (fault.pointer or "").removeprefix("/").partition("/")
    return replace(fault, pointer=f"/{int(place) + by}{slash}{rest}")
