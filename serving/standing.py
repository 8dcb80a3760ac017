"""What the service stands on beside itself, and answers without: the log, the registry, the store of the online state."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from serving.lineup import Models
from serving.log import DecisionLog

__all__ = ["Standing"]


class Standing:
    """Whether each part can be reached, as those who use it found it last; nothing is asked for that."""

    def __init__(self, models: Models, log: DecisionLog | None) -> None:
        self._models, self._log = models, log

    def parts(self) -> Mapping[str, Callable[[], bool]]:
        """Whether it is reachable, of each part that the service was given."""
        found: dict[str, Callable[[], bool]] = {}
        if self._log is not None:
            found["log"] = self._log_is
        if self._models.registry_reachable() is not None:
            found["registry"] = lambda: self._models.registry_reachable() is not False
        if self._models.lineup().states():
            found["state"] = self._state_is
        return found

    def down(self) -> list[str]:
        """The parts that cannot be reached now."""
        return [part for part, reachable in self.parts().items() if not reachable()]

    def behind(self) -> int:
        """How many outcomes of the log the online state lacks, at most."""
        return max((state.behind for state in self._models.lineup().states()), default=0)

    def _log_is(self) -> bool:
        """Whether it can be written, and read by those who follow it."""
        unread = any(state.without_log for state in self._models.lineup().states())
        return self._log is not None and self._log.available and not unread

    def _state_is(self) -> bool:
        return all(state.reachable for state in self._models.lineup().states())
