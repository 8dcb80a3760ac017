"""`payrescue keys`: adds, lists and revokes API keys in a file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from features.errors import BadInput, Fault
from serving.keys import SCOPES, add_key, read_keys, revoke_key

__all__ = ["add", "listed", "revoke"]


def add(path: Path, name: str, scopes: Sequence[str]) -> str:
    """Adds a key and gives it, this once. Raises BadInput for a scope that is none, and for a name that is taken."""
    unknown = next((scope for scope in scopes if scope not in SCOPES), None)
    if unknown is not None:
        raise BadInput("keys", [Fault("--scope", "one of " + ", ".join(SCOPES), seen=unknown)])
    return add_key(path, name, scopes, created=f"{datetime.now(UTC):%Y-%m-%d}")


def listed(path: Path) -> str:
    """Each key's name, date and scopes, in lines. Raises BadInput for a file that cannot be read."""
    keys = read_keys(path)
    width = max((len(key.name) for key in keys), default=0)
    return "\n".join(f"{key.name:<{width}}  {key.created:<10}  {', '.join(key.scopes)}" for key in keys) or "no keys"


def revoke(path: Path, name: str) -> str:
    """Takes a key out of the file, and so out of service within two seconds. Raises BadInput where there is none."""
    revoke_key(path, name)
    return f"{name} is revoked"
