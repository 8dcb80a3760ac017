"""What a response code says, and who says so: a table of codes, the card network's own, the text model, or nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from features.taxonomy import CodeMeaning, SubReason, explain_code, reasons, sub_reasons

__all__ = ["LEAST", "SURE", "CodeAnswer", "Near", "TextReading", "by_table"]

SURE = 0.9
"""From this probability on a reading is called sure."""

LEAST = 0.5
"""Below this probability of the likeliest category, the answer is that it cannot tell."""


@dataclass(frozen=True)
class TextReading:
    """What a text most likely says, if it tells of a failure.

    Probabilities by name; those of reasons and of categories each sum to 1, less that of no failure at all.
    """

    sub_reason: str
    reason: str
    category: str
    reason_probability: Mapping[str, float]
    category_probability: Mapping[str, float]

    @property
    def confidence(self) -> float:
        """The probability of `reason`."""
        return self.reason_probability[self.reason]

    @property
    def tells(self) -> bool:
        """Whether it says anything; else the honest answer is that it cannot tell."""
        return self.category_probability[self.category] >= LEAST


@dataclass(frozen=True)
class Near:
    """A known code, and how like the text its own words are: 1 for the same words, 0 for none in common."""

    code: CodeMeaning
    likeness: float


@dataclass(frozen=True)
class CodeAnswer:
    """What one code says. `decided_by` is table, network_table, text_model or cannot_tell.

    `known` is the table's row, `reading` the text model's; `near`, the known codes most like the text. Where it
    cannot tell, `reading` may still hold what is likeliest, if not likely.
    """

    decided_by: str
    known: CodeMeaning | None = None
    reading: TextReading | None = None
    near: tuple[Near, ...] = ()

    @property
    def sub_reason(self) -> SubReason | None:
        """The finest that is told; None where it cannot tell."""
        if self.decided_by == "cannot_tell":
            return None
        said = self.known or self.reading
        return sub_reasons()[said.sub_reason] if said is not None else None

    @property
    def reason(self) -> str | None:
        """The reason's name; None where it cannot tell."""
        return self.sub_reason.reason if self.sub_reason is not None else None

    @property
    def category(self) -> str | None:
        """The category's name; None where it cannot tell."""
        return reasons()[self.reason].category if self.reason is not None else None

    @property
    def confidence(self) -> float | None:
        """The probability of `reason`: 1 from a table, the text model's own.

        None where it cannot tell, and where a table knows the code but the code leaves the cause open.
        """
        if self.known is not None:
            return 1.0 if self.known.decides else None
        return self.reading.confidence if self.reading is not None and self.reason is not None else None


def by_table(scheme: str, code: str, card_brand: str | None = None) -> CodeAnswer | None:
    """What the tables say; None where none of them has the code.

    >>> by_table("iso8583", "82", "visa").decided_by, by_table("stripe", "expired_card").reason
    ('network_table', 'card_data_invalid')
    >>> by_table("acme", "54") is None
    True
    """
    known = explain_code(scheme, code, card_brand)
    if known is None:
        return None
    by_network = card_brand is not None and known.scheme == card_brand.casefold() != scheme.strip().casefold()
    return CodeAnswer("network_table" if by_network else "table", known)
