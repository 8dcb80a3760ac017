"""Hypotheses about what to change: those that the data suggests, and a product owner's own, from a YAML file.

opportunities:
  - id: skip_the_gateway          # new: a hypothesis of your own
    change: "Offer first-time payers quick pay instead of the bank's page"
    segment: {country: KR, first_time: true}
    from: {method: bank_transfer}
    to: {method: quick_pay}
    effort: "3 weeks, one team"
  - id: route:US:card:delta>north  # one that was generated: what you say replaces what it said
    change: "Send US cards over north"
    effort: "a day"
    hide: false
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Backlog", "Hypothesis", "Side", "read_backlog"]

Side = Mapping[str, object]
"""Columns of the attempts table and what they are: a value, a list of values, or {from: number, to: number}."""


@dataclass(frozen=True)
class Hypothesis:
    """If attempts of `segment` that are as `before` says were as `after` says, more would succeed.

    `driver` is the feature that the change moves. `change` in words; `effort` is whatever its owner writes; `own`: somebody
    wrote it, rather than the data.
    """

    id: str
    driver: str
    segment: Side
    before: Side
    after: Side
    change: str
    effort: str = ""
    own: bool = False


@dataclass(frozen=True)
class Backlog:
    """What the file says: hypotheses of its own, words for generated ones by id, and ids not to show."""

    own: tuple[Hypothesis, ...] = ()
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()


def read_backlog(path: Path) -> Backlog:
    """The backlog in a YAML file. Raises BadInput with everything in it that cannot be used."""
    raise NotImplementedError
