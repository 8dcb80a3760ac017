"""Moves the `champion` alias: under a lock, with a reason, and so that it can be told later who was champion when, and by whom.

MLflow has no compare-and-swap for aliases. So whoever moves one takes a lock, reads, checks, writes, and writes down old →
new: as a tag of the registered model for each move (`champion.0001`, …), and as tags of the version that became champion.
The lock is a file: beside an SQLite store; for a server, in this machine's folder for temporary files, where it keeps apart
only those who move it from here.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import re
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from features.cards import contains_card_number
from features.errors import BadInput, CardNumberFound, Fault

__all__ = ["Move", "before", "history", "locked", "moves", "promote", "rollback"]

_ALIAS = "champion"
_TAG = re.compile(r"champion\.(\d+)")
_LONGEST_REASON = 1_000
_WAIT_S = 30.0

_ANY = "*"

By = Literal["promote", "rollback", "train"]
Check = Callable[[str], object]


def _unchecked(version: str) -> None:
    """Whatever version it is."""


@dataclass(frozen=True)
class Move:
    """The champion alias from `old` (None: there was no champion) to `new`; `at` in ISO 8601, UTC.

    `who` is the user and machine that moved it; empty where an older version wrote it down.
    """

    old: str | None
    new: str
    by: By
    reason: str
    at: str
    who: str = ""

    def __str__(self) -> str:
        return f"champion: version {self.old or '(none)'} → {self.new} ({self.reason or 'no reason given'})"


@contextlib.contextmanager
def locked(store: str, wait_s: float = _WAIT_S) -> Iterator[None]:
    """Holds the lock of a store, by its URI. Raises BadInput where somebody else holds it for longer than `wait_s`."""
    path = _lock_of(store)
    until = time.monotonic() + wait_s
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise BadInput(
                        "champion", message=f"somebody else has been moving it for {wait_s:.0f} s (lock {path.name})"
                    ) from None
                time.sleep(0.05)
        yield  # closing the file gives the lock back


def _lock_of(store: str) -> Path:
    if store.startswith("sqlite:///") and (database := Path(store.removeprefix("sqlite:///"))).is_file():
        return database.with_name(f"{database.name}.champion-lock")
    name = sha256(store.encode()).hexdigest()[:16]  # the URI itself may hold a password
    return Path(tempfile.gettempdir(), f"payrescue-{os.getuid()}-{name}.champion-lock")


def promote(
    name: str,
    version: str | None,
    reason: str,
    *,
    by: By = "promote",
    expected: str | None = _ANY,
    check: Check = _unchecked,
) -> Move | None:
    """Make a version (the challenger, if None) of the registered model `name` the champion; None if it is that already.

    With `expected`, only if that version (None: none) is still the champion. `check` is asked about the version before it
    becomes champion, and may raise. Raises BadInput where the version, or the model, is not there, the reason cannot be
    written down, or the champion is another than expected.
    """
    client = _client()
    _check_reason(reason)
    with locked(os.environ["MLFLOW_TRACKING_URI"]):
        model = _registered(client, name)
        there = _versions(client, name)
        if version is None:
            version = _alias(model, "challenger")
            if version is None:
                raise BadInput("promote", [Fault("--version", _allowed(there) + "; there is no challenger")])
        if version not in there:
            raise BadInput("promote", [Fault("--version", _allowed(there), seen=version)])
        old = _alias(model, _ALIAS)
        if expected not in {_ANY, old}:
            raise BadInput(
                "promote", message=f"version {old} has become champion meanwhile; it was {expected or 'none'}"
            )
        if old == version:
            return None
        check(version)
        return _move(client, name, model, Move(old, version, by, reason, _now(), _who()))


def rollback(name: str, reason: str, *, check: Check = _unchecked) -> Move:
    """Make the version champion that was it before, one further back each time; never forward again.

    `check` as for `promote`. Raises BadInput where there is none before.
    """
    client = _client()
    _check_reason(reason)
    with locked(os.environ["MLFLOW_TRACKING_URI"]):
        model = _registered(client, name)
        there = _versions(client, name)
        old = _alias(model, _ALIAS)
        if old is None:
            raise BadInput("rollback", message=f"{name} has no champion; `payrescue promote --version N` makes one")
        new = next((version for version in reversed(before(moves(model), old)) if version in there), None)
        if new is None:
            raise BadInput(
                "rollback",
                message=f"no version was champion before version {old}; "
                f"`payrescue promote --version N` takes {_allowed(there)}",
            )
        check(new)
        return _move(client, name, model, Move(old, new, "rollback", reason, _now(), _who()))


def before(past: Sequence[Move], champion: str) -> list[str]:
    """The versions that a rollback from `champion` may go to, the next one last.

    A rollback takes back what came after the version that it went to, so that rolling back twice goes back twice; what a
    rollback has left it is never taken for good again, until somebody promotes it. What somebody else's tool has moved in
    between counts from what was found.

    >>> told = [Move(None, "1", "train", "", ""), Move("1", "2", "train", "", ""), Move("2", "3", "train", "", "")]
    >>> before(told, "3"), before([*told, Move("3", "2", "rollback", "", "")], "2")
    (['1', '2'], ['1'])
    """
    stack: list[str] = []
    left: set[str] = set()
    for move in past:
        if move.old is not None and (not stack or stack[-1] != move.old):
            stack.append(move.old)
        if move.by == "rollback":
            left.add(move.old or "")
            while stack and stack[-1] != move.new:
                stack.pop()
        else:
            left.discard(move.new)
            stack.append(move.new)
    return [version for version in stack if version != champion and version not in left]


def moves(model: Any) -> list[Move]:
    """Every move that MLflow's registered model tells of in its tags, in order."""
    told = sorted((int(found[1]), value) for tag, value in model.tags.items() if (found := _TAG.fullmatch(tag)))
    return [Move(**json.loads(value)) for _, value in told]


def history(name: str) -> list[Move]:
    """Every move of the champion of the registered model `name`, in order. Raises BadInput where there is no such model."""
    return moves(_registered(_client(), name))


def _move(client: Any, name: str, model: Any, move: Move) -> Move:
    last = max((int(found[1]) for tag in model.tags if (found := _TAG.fullmatch(tag))), default=0)
    client.set_registered_model_alias(name, _ALIAS, move.new)
    client.set_registered_model_tag(name, f"{_ALIAS}.{last + 1:04d}", json.dumps(asdict(move), ensure_ascii=False))
    told = {"from": move.old or "none", "since": move.at, "reason": move.reason, "by": move.by, "who": move.who}
    for tag, value in told.items():
        client.set_model_version_tag(name, move.new, f"{_ALIAS}_{tag}", value)
    return move


def _client() -> Any:
    import mlflow

    return mlflow.MlflowClient()


def _registered(client: Any, name: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise BadInput("champion", message=f"the registry has no model {name!r}; `payrescue train` makes one") from None


def _alias(model: Any, alias: str) -> str | None:
    found = model.aliases.get(alias)
    return None if found is None else str(found)


def _versions(client: Any, name: str) -> list[str]:
    quoted = f'"{name}"' if "'" in name else f"'{name}'"
    return sorted((str(one.version) for one in client.search_model_versions(f"name={quoted}")), key=int)


def _allowed(versions: Sequence[str]) -> str:
    if not versions:
        return "a version, of which there is none yet"
    return "one of " + ", ".join(versions) if len(versions) <= 20 else f"a version, the last is {versions[-1]}"


def _check_reason(reason: str) -> None:
    if contains_card_number(reason):
        raise CardNumberFound("champion", message="--reason holds a card number; want none")
    if len(reason) > _LONGEST_REASON:
        raise BadInput("champion", [Fault("--reason", f"at most {_LONGEST_REASON} characters", seen=reason[:20] + "…")])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _who() -> str:
    """The user, as MLflow knows them or else as this machine does, and the machine."""
    try:
        user = os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
