"""Bodies that hold many: where each begins and ends is found before any is read, so that none holds up what else is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from features.errors import BadInput, Fault
from serving.problems import Problem, invalid
from serving.requests import MOST_FAULTS
from serving.transport import malformed, parse_json

__all__ = ["MOST_PIECE_BYTES", "parsed", "pieces", "size_of", "whole"]

MOST_PIECE_BYTES = 64 * 1024
"""How large one question of a batch, or one outcome, may be: reading it takes up to a tenth of a second."""

_BREATH = 16  # pieces that are read between two looks at other clients

_split = msgspec.json.Decoder(list[msgspec.Raw]).decode


def pieces(body: bytes, most: int, wanted: str) -> Sequence[Any] | None:
    """What stands in a JSON array, each as the text that it came as, for `whole` to read; None for a body that is no array.

    Raises Problem 400 for what is no JSON, 422 for more than `most`, saying what is `wanted`, 413 where one is too large.
    """
    if not body.lstrip().startswith(b"["):
        if len(body) > MOST_PIECE_BYTES:
            raise _too_large([])
        return None
    try:
        found: Sequence[Any] = _split(body)
    except (msgspec.DecodeError, RecursionError):
        if len(body) > MOST_PIECE_BYTES:
            raise malformed() from None
        found = parse_json(body)  # NaN somewhere: who reads it says where
    if len(found) > most:
        raise invalid(BadInput("request", [Fault("body", wanted, pointer="")]))
    large = [i for i, piece in enumerate(found) if size_of(piece) > MOST_PIECE_BYTES]
    if large:
        raise _too_large(large)
    return found


def size_of(piece: Any) -> int:
    """Bytes of a piece that is not read yet, else 0."""
    return len(memoryview(piece)) if type(piece) is msgspec.Raw else 0


def whole(piece: Any) -> Any:
    """The value of a piece. Raises Problem 400."""
    return parse_json(bytes(piece)) if type(piece) is msgspec.Raw else piece


async def parsed(body: bytes, most: int, wanted: str) -> Any:
    """The JSON value of a body that is one piece, or an array of them; others are answered meanwhile. Raises as `pieces`."""
    found = pieces(body, most, wanted)
    if found is None:
        return parse_json(body)
    values = []
    for i, piece in enumerate(found):
        if i % _BREATH == _BREATH - 1:
            await asyncio.sleep(0)
        values.append(whole(piece))
    return values


def _too_large(places: Sequence[int]) -> Problem:
    allowed = f"up to {MOST_PIECE_BYTES} bytes"
    return Problem(
        413,
        "body_too_large",
        "The body is too large",
        f"Each question or outcome may have {allowed}.",
        [{"pointer": f"/{place}", "code": "invalid", "detail": f"want {allowed}"} for place in places[:MOST_FAULTS]],
    )
