"""Takes models up, safely: what is downloaded is looked at, loaded, tried and warmed before anybody is answered by it.

Whatever is wrong with a new model, it is refused with one line that says why, and the model that serves goes on serving.
"""

from __future__ import annotations

import gc
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from features.cards import contains_card_number
from features.errors import ArtifactMismatch, PayrescueError
from models.engine import ScoreRequest
from models.policies import Policy
from models.rules import RuleBook
from models.value import Worth
from serving.found import MOST_BYTES
from serving.loading import Located, Served, artefact_folder, take
from serving.settings import NO_SECRET
from serving.state import OnlineState

__all__ = ["Refusal", "Refused", "Swap", "inspect", "take_up"]

_MOST_FILES = 200
_LARGEST_MANIFEST = 2**20
_LONGEST_WHY = 300
_SUFFIXES = {".json", ".txt", ".npz"}
_BRIEF_S = 0.0005
_AGAIN_US = 30_000_000
_NEVER = 2**63 - 1

_log = logging.getLogger("bentoml.payrescue")

Prepare = Callable[[Served], Served]
"""Makes a model ready before it answers anybody, in the thread that swaps; may raise, and the model is refused."""


class Refused(PayrescueError):
    """A model that is not taken up, and would not be if it were tried again; the text says why."""


@dataclass(frozen=True)
class Refusal:
    """The last model that was refused: its version, why, and when, in microseconds since 1970, UTC."""

    version: str | None
    why: str
    at: int


def inspect(folder: Path) -> None:
    """Look at the files of an artefact without opening any but the manifest's size. Raises Refused.

    There may be plain files and folders only, of the kinds that an artefact has, not too many and not too large.
    """
    manifest = folder / "manifest.json"
    if not manifest.is_file() or manifest.is_symlink():
        raise Refused("there is no manifest.json")
    if manifest.stat().st_size > _LARGEST_MANIFEST:
        raise Refused(f"manifest.json has {manifest.stat().st_size} bytes, none is over {_LARGEST_MANIFEST}")
    total = count = 0
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(where, name)
            told = path.relative_to(folder)
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                continue
            if not stat.S_ISREG(status.st_mode):
                raise Refused(f"{told} is a link, or no plain file")
            if path.suffix not in _SUFFIXES:
                raise Refused(f"{told} is of no kind that a model has ({', '.join(sorted(_SUFFIXES))})")
            total, count = total + status.st_size, count + 1
    if total > MOST_BYTES or count > _MOST_FILES:
        raise Refused(f"{count} files of {total} bytes are too many: up to {_MOST_FILES}, {MOST_BYTES} bytes together")


def take_up(
    located: Located,
    rules: RuleBook | None = None,
    worth: Worth | None = None,
    policy: Policy | None = None,
    salt: str = NO_SECRET,
    *,
    at: int,
) -> Served:
    """A model that was looked at, loaded (hashes, fingerprint, golden rows) and warmed.

    Raises Refused, saying why, for what is wrong with it; OSError and MemoryError for what may be right next time.
    """
    folder = artefact_folder(located.folder)
    try:
        inspect(folder)
        with np.errstate(all="ignore"):  # numbers that are none are found, and told, below
            served = replace(take(located, rules, worth, policy, salt), since=at)
            _warm(served)
    except (Refused, OSError, MemoryError):
        raise
    except Exception as error:
        # Whatever a damaged file may do to what reads it: it must not stop the model that serves
        raise Refused(_said(error, folder)) from None
    return served


def _said(error: Exception, folder: Path) -> str:
    """An error in one line, as it may be logged and answered: without the folder, and nothing that a file put into it."""
    if not isinstance(error, ArtifactMismatch):
        return f"it cannot be read ({type(error).__name__})"
    text = " ".join(str(error).replace(f"{folder}/", "").replace(f"{folder}: ", "").split())
    return text[:_LONGEST_WHY] if not contains_card_number(text) else "its files name a card number"


def _warm(served: Served) -> None:
    """Have it answer before and after an attempt; raises Refused if it cannot."""
    for request in _WARM:
        if served.engine.score(request, request_id="warm")["degraded"]:
            raise Refused("it fails on an ordinary request")


def _warm_requests() -> tuple[ScoreRequest, ...]:
    attempt = {
        "attempt_id": "warm", "payment_id": "warm", "created_at": 1_767_605_400_000_000, "amount_minor": 1000,
        "currency": "EUR", "country": "DE", "method": "card",
    }  # fmt: skip
    ways = ({"candidate_id": "1", "method": "card"}, {"candidate_id": "2", "method": "wallet"})
    return ScoreRequest(attempt), ScoreRequest(attempt, {"last_event": "returned"}, (), ways)


_WARM = _warm_requests()


def _is_same(one: Located, other: Located) -> bool:
    """Whether two are one model: in one folder, or copies of one version with the same hashes."""
    if one == other:
        return True
    manifests = [artefact_folder(located.folder) / "manifest.json" for located in (one, other)]
    try:
        return one.version == other.version and manifests[0].read_bytes() == manifests[1].read_bytes()
    except OSError:
        return False


class Swap:
    """The models that are loaded, by the URI that they were asked for under; each with the one before it.

    One thread swaps; any may ask. `clock` tells microseconds since 1970, UTC.
    """

    def __init__(
        self,
        rules: RuleBook | None = None,
        worth: Worth | None = None,
        policy: Policy | None = None,
        salt: str = NO_SECRET,
        *,
        clock: Callable[[], int],
        prepare: Prepare = lambda served: served,
    ) -> None:
        self._engines = (rules, worth, policy, salt)
        self._clock, self._prepare = clock, prepare
        self._serving: dict[str, Served] = {}
        self._previous: dict[str, Served] = {}
        self._refused: dict[str, tuple[Located, int]] = {}  # and when it may be tried again
        self._states: set[OnlineState] = set()
        self.refusal: Refusal | None = None

    def of(self, uri: str) -> Served | None:
        """The model that a URI stands for now; None if it has none yet."""
        return self._serving.get(uri)

    def previous(self, uri: str) -> Served | None:
        """The one before."""
        return self._previous.get(uri)

    def put(self, uri: str, located: Located) -> bool:
        """Have a URI stand for this model from now on, unless it does already or it is refused. Whether anything changed.

        One that was refused is not tried again until the URI has stood for another; one that could not be taken up, for a
        reason that is not in it, after a while.
        """
        now = self._serving.get(uri)
        if now is not None and now.located is not None and _is_same(now.located, located):
            self._refused.pop(uri, None)
            return False
        refused, again = self._refused.get(uri, (None, 0))
        if refused == located and self._clock() < again:
            return False
        try:
            with _gently():
                served = self._loaded(located) or self._prepare(take_up(located, *self._engines, at=self._clock()))
        except Exception as error:
            self._refuse(uri, located, now, error)
            return False
        self._refused.pop(uri, None)
        if now is not None:
            self._previous[uri] = now
        self._serving[uri] = replace(served, since=self._clock())
        was = now.engine.version if now is not None else "none"
        _log.info("%s is version %s from now on (was %s)", uri, located.version, was)
        return True

    def _refuse(self, uri: str, located: Located, now: Served | None, error: Exception) -> None:
        final = isinstance(error, Refused)
        why = str(error) if final else f"it could not be taken up ({type(error).__name__})"
        told = self._refused.get(uri, (None, 0))[0] == located
        self._refused[uri] = (located, _NEVER if final else self._clock() + _AGAIN_US)
        self.refusal = Refusal(located.version, why, self._clock())
        if not told:
            goes_on = f"version {now.engine.version} goes on" if now is not None else "the rules answer"
            _log.warning("version %s of %s is refused, %s: %s", located.version, uri, goes_on, why)

    def keep_only(self, uris: frozenset[str]) -> None:
        """Let go of the models that are asked for under no other URI than these."""
        self._serving = {uri: served for uri, served in self._serving.items() if uri in uris}
        self._previous = {uri: served for uri, served in self._previous.items() if uri in uris}
        self._refused = {uri: told for uri, told in self._refused.items() if uri in uris}

    def let_go(self) -> None:
        """End what the models that are gone kept up with; once nobody asks them any more."""
        kept = self.states()
        for state in self._states - kept:
            state.close()
        self._states = kept

    def states(self) -> set[OnlineState]:
        """What the models that are here keep up with outcomes by."""
        return {one.state for one in (*self._serving.values(), *self._previous.values()) if one.state is not None}

    def _loaded(self, located: Located) -> Served | None:
        """The same model, where it is loaded already: under another URI, or as the one before."""
        known = (*self._serving.values(), *self._previous.values())
        return next((one for one in known if one.located == located), None)


@contextmanager
def _gently() -> Iterator[None]:
    """Loads beside requests: the interpreter changes threads often, and no full collection stops them all.

    Threads that load are not given a lower priority: one that holds the interpreter's lock and is not run holds up requests.
    """
    brief, collects = sys.getswitchinterval(), gc.isenabled()
    sys.setswitchinterval(_BRIEF_S)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()
        sys.setswitchinterval(brief)
