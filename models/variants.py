"""What an attempt would be by another way to pay: spelt out, column by column, or encoded at once.

A request asks about many candidates and needs them encoded; the columns of one or two are looked at for its reasons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from features.definitions import RAW_CODES, RAW_NUMBERS
from features.own import OwnColumn
from features.rows import (
    Encoded,
    Encoder,
    blanks,
    code_at,
    number_at,
    set_begin,
    set_code,
    set_number,
    slots_of,
)
from models.means import CHOSEN, MEANS, OF_THE_CARD, OF_THE_FLOW, OF_THE_METHOD, OWN_GROUPS_OF

__all__ = ["Variant", "Variants", "what_if"]

Fields = dict[str, Any]

_CAN_NAME = frozenset(MEANS)
_GONE = frozenset({*MEANS, *OF_THE_METHOD})  # with another method
_SHOWN, _GOES_WITH_FLOW = frozenset(OF_THE_CARD), frozenset(OF_THE_FLOW)
_CODE, _CODE_OF_CARD = (
    {name: (RAW_CODES.index(name), code_at(RAW_CODES.index(name))) for name in names if name in RAW_CODES}
    for names in (MEANS, OF_THE_CARD)
)
_NUMBER_AT, _NUMBER_OF_CARD_AT = (
    {name: number_at(RAW_NUMBERS.index(name)) for name in names if name in RAW_NUMBERS}
    for names in (MEANS, OF_THE_CARD)
)
_WITHOUT_METHOD, _WITHOUT_FLOW = (
    blanks(
        [place for place, name in enumerate(RAW_CODES) if name in gone],
        [place for place, name in enumerate(RAW_NUMBERS) if name in gone],
    )
    for gone in (_GONE, OF_THE_FLOW)
)


def what_if(
    attempt: Mapping[str, Any],
    candidate: Mapping[str, Any],
    at: int,
    earlier: Sequence[Mapping[str, Any]] = (),
    own: Sequence[OwnColumn] = (),
) -> Fields:
    """The attempt that a candidate would be, begun `at` (microseconds) plus its wait.

    What the candidate names replaces the attempt's own. With another method, what belonged to the old one (the card, its
    issuer, its route, authentication and stored credential) does not carry over: it is missing unless the candidate says
    it, or one of the payment's `earlier` attempts paid by that method, and so showed the card. With another authentication,
    its steps and what excused from it do not carry over. So it is with a merchant's `own` columns, by their group.
    """
    changed = {**attempt}
    if own:
        _leave_own(changed, candidate, own)
    method = candidate.get("method", attempt["method"])
    if method != attempt["method"]:
        for name in (*MEANS, *OF_THE_METHOD):
            changed.pop(name, None)
        shown = _shown_by(earlier, method)
        if shown is not None:
            changed |= {name: shown[name] for name in OF_THE_CARD if name in shown}
    elif "auth_flow" in candidate and candidate["auth_flow"] != attempt.get("auth_flow"):
        for name in OF_THE_FLOW:
            changed.pop(name, None)
    for name, value in candidate.items():
        if value is not None and name in _CAN_NAME:
            changed[name] = value
    changed["created_at"] = at + int((candidate.get("wait_s") or 0.0) * 1e6)
    return changed


def _shown_by(earlier: Sequence[Mapping[str, Any]], method: str) -> Mapping[str, Any] | None:
    """The last earlier attempt by a method, which shows the card that another one by it will use."""
    return next((past for past in reversed(earlier) if past.get("method") == method), None)


def _leave_own(changed: Fields, candidate: Mapping[str, Any], own: Sequence[OwnColumn]) -> None:
    """Take out of an attempt's fields the own columns that belong to what a candidate changes."""
    other = [name for name in CHOSEN if (value := candidate.get(name)) is not None and value != changed.get(name)]
    gone = {group for name in other for group in OWN_GROUPS_OF[name]}
    for column in own:
        if column.group in gone:
            changed.pop(column.name, None)


class Variants:
    """The attempts that candidates would be, each as `what_if` has it: `encoded`, and `one` by one where columns are wanted.

    `ours` is the attempt, encoded. They begin `at` (microseconds) plus their waits.
    """

    def __init__(
        self,
        encoder: Encoder,
        attempt: Mapping[str, Any],
        ours: Encoded,
        candidates: Sequence[Mapping[str, Any]],
        at: int,
        earlier: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._encoder, self._attempt, self._candidates = encoder, attempt, candidates
        self._at, self._earlier = at, earlier
        self._begun: dict[str, tuple[bytearray, Any, Any]] = {}
        self.encoded: list[Encoded] = [
            # A merchant's own columns are told apart by what they belong to
            encoder.encode(self[place]) if encoder.own else self._encode(ours, candidate)
            for place, candidate in enumerate(candidates)
        ]
        """What each of them would be, in the candidates' order."""

    def __getitem__(self, place: int) -> Fields:
        """The columns of one of them."""
        return what_if(self._attempt, self._candidates[place], self._at, self._earlier, self._encoder.own)

    def method(self, place: int) -> str:
        """How one of them pays."""
        found: str = self._candidates[place].get("method", self._attempt["method"])
        return found

    def one(self, place: int) -> Variant:
        """One of them, of which a few columns are wanted."""
        return Variant(self._attempt, self._candidates[place], self._at, self._earlier)

    def _encode(self, ours: Encoded, candidate: Mapping[str, Any]) -> Encoded:
        """The same as encoding what `what_if` spells out, in half the time: only what changes is looked up."""
        attempt, columns = self._attempt, self._encoder.code_columns
        get, method = attempt.get, candidate.get("method", attempt["method"])
        route = flow = None
        if method == attempt["method"]:
            brand, issuer, route, flow = get("card_brand"), get("issuer"), get("route"), get("auth_flow")
            other_flow = "auth_flow" in candidate and candidate["auth_flow"] != flow
            packed = _blanked(ours.packed, _WITHOUT_FLOW) if other_flow else bytearray(ours.packed)
        else:
            begun, brand, issuer = self._begun.get(method) or self._begin(ours, method)
            packed = bytearray(begun)
        for name, value in candidate.items():
            if value is None:
                continue
            if name in _CODE:
                place, at = _CODE[name]
                set_code(packed, at, columns[place].get(value, -1))
                if name == "route":
                    route = value
                elif name == "auth_flow":
                    flow = value
            elif name in _NUMBER_AT:
                set_number(packed, _NUMBER_AT[name], value)
        slots = slots_of(get("customer_id"), get("country"), method, brand, issuer, route, flow)
        begins = self._at + int((candidate.get("wait_s") or 0.0) * 1e6)
        set_begin(packed, 0, begins)
        return Encoded(begins, packed, slots, ())

    def _begin(self, ours: Encoded, method: str) -> tuple[bytearray, Any, Any]:
        """An attempt by another method, packed, before anything is chosen; brand and issuer of the card that is known for it."""
        packed, shown = _blanked(ours.packed, _WITHOUT_METHOD), _shown_by(self._earlier, method) or {}
        for name in OF_THE_CARD:
            value = shown.get(name)
            if value is None:
                continue
            if name in _CODE_OF_CARD:
                place, at = _CODE_OF_CARD[name]
                set_code(packed, at, self._encoder.code_columns[place].get(value, -1))
            elif name in _NUMBER_OF_CARD_AT:
                set_number(packed, _NUMBER_OF_CARD_AT[name], float(value))
        self._begun[method] = found = packed, shown.get("card_brand"), shown.get("issuer")
        return found


class Variant:
    """What `what_if` spells out, column by column: for who asks for a few. It has none of a merchant's own columns."""

    __slots__ = ("_at", "_attempt", "_candidate", "_earlier", "method")

    def __init__(
        self, attempt: Mapping[str, Any], candidate: Mapping[str, Any], at: int, earlier: Sequence[Mapping[str, Any]]
    ) -> None:
        self._attempt, self._candidate, self._at, self._earlier = attempt, candidate, at, earlier
        self.method: str = candidate.get("method", attempt["method"])

    @property
    def created(self) -> int:
        """When it would begin, in microseconds since 1970."""
        return self._at + int((self._candidate.get("wait_s") or 0.0) * 1e6)

    def get(self, name: str, /) -> Any:
        """A column that is not the time; None where missing."""
        attempt, candidate = self._attempt, self._candidate
        named = candidate.get(name) if name in _CAN_NAME else None
        if named is not None:
            return named
        if self.method != attempt["method"]:
            if name in _SHOWN:
                shown = _shown_by(self._earlier, self.method)
                return shown.get(name) if shown is not None else None
            if name in _GONE:
                return None
        elif (
            name in _GOES_WITH_FLOW and "auth_flow" in candidate and candidate["auth_flow"] != attempt.get("auth_flow")
        ):
            return None
        return attempt.get(name)


def _blanked(packed: bytes | bytearray, blank: Sequence[tuple[slice, bytes]]) -> bytearray:
    """A copy of what is packed, some of it missing."""
    copy = bytearray(packed)
    for where, missing in blank:
        copy[where] = missing
    return copy
