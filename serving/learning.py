"""The policies in service, and what outcomes teach those of them that learn.

Each who chooses has a policy of its own: the service, and every arm of an experiment. Two arms that name the same policy
thus share nothing that it keeps, though each is told of every outcome, whoever's payment it was of.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from models.fees import Fees
from models.policies import Learner, Policy
from models.policy_names import policy_named
from serving.known import OutcomeLog, never
from serving.state import KeptUp

__all__ = ["Lessons", "Policies"]

_log = logging.getLogger("bentoml.payrescue")

_AT_ONCE = 500  # outcomes
_MOST_AT_START = 100_000  # outcomes: some two seconds


class Lessons:
    """What a policy learns from outcomes as they come: each is told to it once, in the order of the log.

    It begins with the last `most` that the log has: rates that fade need no more, and a start is not to take longer the
    longer the log is.
    """

    def __init__(self, policy: Learner, log: OutcomeLog, *, most: int = _MOST_AT_START) -> None:
        self.seq = 0
        """Up to which outcome it has been told."""
        self._policy, self._log, self._most = policy, log, most
        self._begun = False

    def follow(self, ends: Callable[[], bool] = never) -> int:
        """Tell it what the log has and it has not heard, until it `ends`; returns how many outcomes; blocking."""
        if not self._begun:
            self.seq = max(0, self._log.latest() - self._most)
            self._begun = True
        told = 0
        while not ends() and (outcomes := self._log.after(self.seq, _AT_ONCE)):
            for known in outcomes:
                try:
                    self._policy.record(known.fields)
                except Exception as error:  # a merchant's own policy may not take what another does
                    _log.error("outcome %d cannot be learnt from (%s)", known.seq, type(error).__name__)
                self.seq = known.seq
            told += len(outcomes)
        return told

    def latest(self) -> int:
        """Up to which outcome the log could tell it."""
        return self._log.latest()

    def keep(self) -> None:
        """Nothing is kept: the log has it."""

    def close(self) -> None:
        """Nothing is left open."""


class Policies:
    """Makes policies by name, one for each who asks, and keeps those that learn up with the log, if there is one."""

    def __init__(self, fees: Fees | None = None, log: OutcomeLog | None = None) -> None:
        self._fees, self._log = fees, log
        self._made: dict[tuple[str, str], tuple[Policy, KeptUp | None]] = {}

    def named(self, text: str) -> Policy:
        """A new policy of that name, which nobody teaches. Raises BadInput for what is none."""
        return policy_named(text, self._fees)

    def of(self, text: str, whose: str = "") -> Policy:
        """The policy of that name, of `whose`: an arm, or the service itself. What it has learnt, it keeps."""
        if (text, whose) not in self._made:
            policy, lessons = self.named(text), None
            if self._log is not None and isinstance(policy, Learner):
                lessons = KeptUp(Lessons(policy, self._log))
                lessons.catch_up()
                lessons.start()
            self._made[text, whose] = policy, lessons
        return self._made[text, whose][0]

    def keep_only(self, arms: Collection[tuple[str, str]]) -> None:
        """Let go of the policies of all arms but these, each by name and `whose`; the service's own stay."""
        gone = [one for one in self._made if one[1] and one not in arms]
        for one in gone:
            _end(self._made.pop(one)[1])

    def close(self) -> None:
        """End all lessons."""
        for _, lessons in self._made.values():
            _end(lessons)


def _end(lessons: KeptUp | None) -> None:
    if lessons is not None:
        lessons.close()
