"""What most requests are, read at one go: by a decoder that is made of the columns.

It takes only what is plainly right, and checks kinds, vocabularies and ranges as it decodes, which is four times sooner done
than by looking at one value after the other. Whatever it does not take is for the reader of any value to judge, and to point
at (`serving.requests`). Texts and times are left as they came: what they may hold is not told by a type.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from features.allowed import COUNTRY_COLUMNS, VOCABULARIES
from features.columns import Column
from features.places import countries, currencies
from serving.values import plain_bounds, range_of

__all__ = ["Part", "Parts", "PlainDecoder", "is_text"]

_TEXTS = {"string", "category", "timestamp"}
_NULL = b"null"
_NOT_PLAIN = (ValueError, RecursionError)  # no request, or no JSON, or no UTF-8, or too deep
_fields = msgspec.to_builtins


class Part(NamedTuple):
    """What an object of a request may hold: columns, and the names of those that it has to."""

    columns: Sequence[Column]
    required: Iterable[str]


class Parts(NamedTuple):
    """The parts of a request, each as the fields that were given, in the order of its columns; those with null left out.

    `candidates` is their JSON, to be decoded where it has not been seen before; None where there are none.
    """

    attempt: dict[str, Any]
    evidence: dict[str, Any] | None
    previous: list[dict[str, Any]]
    candidates: bytes | None


class PlainDecoder:
    """Decodes the JSON of plain requests. At most so many earlier attempts and candidates are plain."""

    def __init__(
        self,
        attempt: Part,
        evidence: Part,
        previous: Part,
        candidate: Part,
        *,
        most_previous: int,
        most_candidates: int,
    ) -> None:
        parts: list[Any] = [
            ("attempt", _struct("Attempt", attempt)),
            ("evidence", _struct("Evidence", evidence) | None, None),
            ("previous", _array(_struct("Previous", previous), most_previous), None),
            ("candidates", msgspec.Raw, msgspec.Raw(_NULL)),
        ]
        request = msgspec.defstruct("Request", parts, forbid_unknown_fields=True, gc=False)
        self._decode = msgspec.json.Decoder(request).decode
        self._decode_candidates = msgspec.json.Decoder(_array(_struct("Candidate", candidate), most_candidates)).decode

    def decode(self, body: bytes) -> Parts | None:
        """The parts of a request; None where anything about it is not plain, and may yet be right."""
        if body.count(b'"candidates"') > 1:  # the last of them would be decoded, and the others skipped
            return None
        try:
            told: Any = self._decode(body)
        except _NOT_PLAIN:
            return None
        return Parts(
            _fields(told.attempt),
            _fields(told.evidence) if told.evidence is not None else None,
            [_fields(one) for one in told.previous or ()],
            candidates if (candidates := bytes(told.candidates)) != _NULL else None,
        )

    def candidates(self, body: bytes) -> list[dict[str, Any]] | None:
        """Candidates from their JSON, which is not null; None where anything about them is not plain."""
        try:
            told: Any = self._decode_candidates(body)
        except _NOT_PLAIN:
            return None
        return [_fields(one) for one in told]


def is_text(column: Column) -> bool:
    """Whether what a column may hold is not told by a type, so that a decoded value has still to be read."""
    return column.type in _TEXTS and _vocabulary(column) is None


def _vocabulary(column: Column) -> tuple[str, ...] | None:
    """Every text that a column may hold; None where that is not known."""
    if column.name in COUNTRY_COLUMNS:
        return tuple(countries())
    return tuple(currencies()) if column.name == "currency" else VOCABULARIES.get(column.name)


def _array(of: Any, most: int) -> Any:
    return Annotated[list[of], msgspec.Meta(max_length=most)] | None


def _struct(name: str, part: Part) -> Any:
    """A type of objects that hold these columns, and nothing else."""
    required = frozenset(part.required)
    ordered = sorted(part.columns, key=lambda column: column.name not in required)
    # Named by their places: a merchant's own column may have a name that Python keeps for itself
    fields: list[Any] = [
        (f"f{i}", _type(column)) if column.name in required else (f"f{i}", _type(column) | None, None)
        for i, column in enumerate(ordered)
    ]
    names = {f"f{i}": column.name for i, column in enumerate(ordered)}
    return msgspec.defstruct(name, fields, rename=names, forbid_unknown_fields=True, omit_defaults=True, gc=False)


def _type(column: Column) -> Any:
    """Plain values of a column: no number so large that it could be a card's."""
    vocabulary = _vocabulary(column)
    if vocabulary is not None:
        return Literal[vocabulary]
    if column.type in _TEXTS:
        return str
    if column.type == "bool":
        return bool
    kind: type[int] | type[float] = int if column.type == "int64" else float
    within = range_of(column)
    low, high = map(kind, plain_bounds(within))
    return Annotated[kind, msgspec.Meta(gt=low, le=high) if within.above_low else msgspec.Meta(ge=low, le=high)]
