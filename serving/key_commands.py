"""`payrescue keys`: adds, lists and revokes API keys in a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from features.errors import BadInput, Fault
from serving.keys import SCOPES, add_key, read_keys, revoke_key

__all__ = ["add", "listed", "revoke"]

Say = Callable[[str], object]


def add(path: Path, name: str, scopes: Sequence[str], *, say: Say = sys.stdout.write) -> None:
    """Adds a key and says it, this once. Raises BadInput for a scope that is none, and for a name that is taken."""
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise BadInput("keys", [Fault("--scope", "one of " + ", ".join(SCOPES), seen=next(iter(unknown), None))])
    secret = add_key(path, name, scopes, created=f"{datetime.now(UTC):%Y-%m-%d}")
    say(f"{secret}\n")


def listed(path: Path, *, say: Say = sys.stdout.write) -> None:
    """Says each key's name, scopes and date."""
    keys = read_keys(path)
    width = max((len(key.name) for key in keys), default=0)
    say("".join(f"{key.name:<{width}}  {key.created:<10}  {', '.join(key.scopes)}\n" for key in keys) or "no keys\n")


def revoke(path: Path, name: str, *, say: Say = sys.stdout.write) -> None:
    """Takes a key out of the file, and so out of service within two seconds."""
    revoke_key(path, name)
    say(f"{name} is revoked\n")
