"""What one request's outcomes amount to, beside what the log has already: all of them are kept, or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from serving.log_records import Heard, OutcomeConflict, OutcomeTooEarly, Told
from serving.outcomes import Outcome

__all__ = ["Asked", "Kept", "Settled", "settle"]


class Asked(NamedTuple):
    """The decision that knows an attempt. `created_at` is the attempt's, in microseconds."""

    id: int
    created_at: int
    p_success: float | None


@dataclass(frozen=True, slots=True)
class Kept:
    """An outcome in the log, and the decision that knows its attempt. `fresh`: it needs a seq and is to be written."""

    outcome: Outcome
    decision_id: int | None
    seq: int | None = None
    fresh: bool = False

    @property
    def known(self) -> bool:
        """Whether its attempt is."""
        return self.decision_id is not None or self.outcome.attempt is not None


@dataclass(frozen=True, slots=True)
class Settled:
    """The outcomes to write, by attempt, and what to answer."""

    fresh: Mapping[str, Kept]
    told: Told


def settle(
    outcomes: Sequence[Outcome], kept: Mapping[str, Kept], asked: Mapping[str, Asked], *, told_at: int
) -> Settled:
    """Settle the outcomes of one request. `kept` and `asked` are what the log has of their attempts.

    An outcome whose attempt nobody had told is told anew, with a new seq, once the attempt is known: whoever follows
    the log hears of it then. Raises OutcomeConflict, OutcomeTooEarly.
    """
    fresh: dict[str, Kept] = {}
    heard: list[Heard] = []
    conflicts: list[tuple[int, Sequence[str]]] = []
    early: list[int] = []
    duplicates = unknown = 0
    for i, outcome in enumerate(outcomes):
        found = asked.get(outcome.attempt_id)
        before = fresh.get(outcome.attempt_id) or kept.get(outcome.attempt_id)
        now = Kept(outcome, found.id if found is not None else None, fresh=True)
        unknown += not now.known and not (before is not None and before.known)
        if before is not None:
            differing = list(_differing(before.outcome, outcome))
            if differing:
                conflicts.append((i, differing))
                continue
            if before.known or not now.known:
                duplicates += 1
                continue
            now = replace(now, seq=before.seq)
        if outcome.attempt is None and found is not None and found.created_at > outcome.resolved_at:
            early.append(i)
        p_success = found.p_success if found is not None else None
        heard.append(Heard(p_success, outcome.outcome == "success", told_at - outcome.resolved_at))
        fresh[outcome.attempt_id] = now
    if conflicts:
        raise OutcomeConflict(conflicts)
    if early:
        raise OutcomeTooEarly(early)
    return Settled(fresh, Told(len(outcomes) - duplicates, duplicates, unknown, heard))


def _differing(before: Outcome, now: Outcome) -> Iterator[str]:
    """Names of what differs. An attempt that only one of the two tells is no difference."""
    for name in ("resolved_at", "outcome", "reason"):
        if getattr(before, name) != getattr(now, name):
            yield name
    names: list[Any] = sorted(before.evidence.keys() | now.evidence.keys())
    yield from (name for name in names if before.evidence.get(name) != now.evidence.get(name))
    if before.attempt is not None and now.attempt is not None and before.attempt != now.attempt:
        yield "attempt"
