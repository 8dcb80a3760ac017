"""What outcomes of the log do to the state, whichever store holds it.

The state is a fold over the log, in order of `seq`, on top of the past that the artefact carries. What was resolved up to
the artefact's own end (`History.until`) does not enter its sums again: the artefact was trained on the same log, and twice
would be wrong for all of it. An outcome of before that end which was told only after the training is thereby left to the
next training: of the two errors the smaller one, since such are few, and enter faded.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from serving.known import Known, OutcomeLog
from serving.state_declines import KEPT_US, Decline, credential_of, decline_of

if TYPE_CHECKING:
    from features.history import History
    from features.rows import Encoder, Rows

__all__ = ["REMEMBERED_US", "Base", "Told", "begins", "digest_of", "had", "told_by"]

_log = logging.getLogger("bentoml.payrescue")

REMEMBERED_US = 48 * 3_600_000_000
"""For how long it is remembered that an attempt's outcome has entered, in microseconds: as long as payments last."""

_UNUSABLE = (KeyError, TypeError, ValueError, OverflowError, AttributeError)


class Base(NamedTuple):
    """What an artefact gives a state to start from: how it encodes attempts, and its past."""

    encoder: Encoder
    history: History


class Told(NamedTuple):
    """What some outcomes tell. `rows` are those that enter the past, with their attempts' ids and when each was resolved."""

    rows: Rows | None
    ids: list[str]
    declines: list[tuple[str, Decline]]


def digest_of(base: Base | None) -> str:
    """What tells an artefact's state from any other's, as long as its history has not moved: 20 hexadecimal digits."""
    told = blake2b(digest_size=10)
    if base is not None:
        from features.fingerprint import fingerprint

        encoder, history = base
        told.update(fingerprint().encode())
        told.update(repr((history.until, sorted(encoder.usual_log2.items()))).encode())
        told.update(repr(sorted((name, values) for name, values in encoder.vocabularies.items())).encode())
        told.update("\n".join(history.slots).encode())
        for array in (history.sums, history.times, history.streaks):
            told.update(np.ascontiguousarray(array).data)
    return told.hexdigest()


def begins(log: OutcomeLog, base: Base | None) -> int:
    """The seq of the log after which a state begins that nothing has entered: all before it would change no answer.

    The artefact has had what was resolved by its end, and declines that are older than a network's longest window count
    for nobody. What the log has from before then is not read, so that a start takes no longer for it.
    """
    return log.start(base.history.until if base is not None else None, KEPT_US)


def had(attempt: Mapping[str, Any], until: int) -> bool:
    """Whether an artefact that ends at `until` had the outcome of an attempt."""
    resolved = attempt.get("resolved_at")
    return resolved is not None and resolved <= until


def told_by(outcomes: Sequence[Known], base: Base | None, until: int) -> Told:
    """What outcomes tell a state whose artefact ends at `until`; without an artefact there is no past to enter.

    An outcome that cannot be read is left out, so that it does not keep all later ones out.
    """
    try:
        return _told(outcomes, base, until)
    except _UNUSABLE as error:
        if len(outcomes) == 1:
            _log.error("outcome %d of the log cannot be used (%s)", outcomes[0].seq, type(error).__name__)
            return Told(None, [], [])
    usable = [one for one in outcomes if told_by([one], base, until) != (None, [], [])]
    return _told(usable, base, until)


def _told(outcomes: Sequence[Known], base: Base | None, until: int) -> Told:
    declines = [
        (credential, decline)
        for one in outcomes
        if (decline := decline_of(one.fields)) is not None and (credential := credential_of(one.fields)) is not None
    ]
    entering = [
        one
        for one in outcomes
        if "outcome" in one.fields and "resolved_at" in one.fields and not had(one.fields, until)
    ]
    if base is None or not entering:
        return Told(None, [], declines)
    rows = base.encoder.from_ended([one.fields for one in entering])
    return Told(rows, [one.attempt_id for one in entering], declines)
