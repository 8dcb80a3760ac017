"""API keys: a file of names, scopes and hashes, read again when it changes.

A key is 256 random bits, so nobody can guess one, and a plain SHA-256 of it tells nothing that could be searched for:
the slow hashes that passwords need would only slow down each request. The file is YAML (JSON is YAML, too):

    keys:
      - name: checkout
        scopes: [score, outcomes]
        sha256: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
        created: 2026-01-05

A scope opens: `score` what checkout asks, `outcomes` what it tells, `read` the product owners'
pages, `admin` everything.
"""

from __future__ import annotations

import hmac
import logging
import os
import re
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from features.cards import contains_card_number
from features.errors import BadInput, Fault
from features.yaml_file import read_yaml

__all__ = ["SCOPES", "Key", "KeyRing", "add_key", "read_keys", "revoke_key"]

SCOPES = ("score", "outcomes", "read", "admin")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,63}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NAME_ALLOWED = "a name of up to 64 letters, digits, dots, dashes and underscores"
_PREFIX = "payrescue_"  # scanners that look for leaked secrets find keys by it
_RANDOM_BYTES = 32
_LONGEST = 128
_LOOK_EVERY_S = 1.0

_log = logging.getLogger("bentoml.payrescue")


@dataclass(frozen=True)
class Key:
    """What is kept of a key: never the key itself. `created` is a date, as text."""

    name: str
    scopes: tuple[str, ...]
    sha256: str
    created: str = ""

    def opens(self, scope: str | None) -> bool:
        """Whether the key is good for a scope; None is what any key is good for."""
        return scope is None or scope in self.scopes or "admin" in self.scopes


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys in a file. Raises BadInput with everything in it that cannot be used; no message repeats a hash."""
    told = read_yaml(path, "serving/keys.py says how keys are kept")
    listed = told.get("keys") if isinstance(told, dict) else None
    if not isinstance(listed, list):
        raise BadInput(str(path), message="want `keys`, a list; `payrescue keys add` makes one")
    faults: list[Fault] = []
    keys = tuple(_key(i, item, faults) for i, item in enumerate(listed, 1))
    names = [key.name for key in keys]
    faults += [Fault("name", "each name once", seen=name) for name in sorted(set(names)) if names.count(name) > 1]
    if faults:
        raise BadInput(str(path), faults)
    return keys


def _key(row: int, told: Any, faults: list[Fault]) -> Key:
    entry = told if isinstance(told, dict) else {}
    name, scopes, hashed = entry.get("name"), entry.get("scopes"), entry.get("sha256")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or contains_card_number(name):
        faults.append(Fault("name", _NAME_ALLOWED, row=row))
    if not isinstance(scopes, list) or not scopes or not set(map(str, scopes)) <= set(SCOPES):
        faults.append(Fault("scopes", "a list of " + ", ".join(SCOPES), row=row))
        scopes = []
    if not isinstance(hashed, str) or not _HASH.fullmatch(hashed):
        faults.append(Fault("sha256", "64 hexadecimal digits, as `payrescue keys add` writes them", row=row))
    return Key(str(name), tuple(map(str, scopes)), str(hashed), str(entry.get("created", "")))


@contextmanager
def _change(path: Path) -> Iterator[list[Key]]:
    """The keys of a file, to be changed; the file is replaced whole, by one command at a time."""
    beside = path.with_name(f"{path.name}.new")
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    try:
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise BadInput(str(path), message=f"is being changed, or was once: see {beside.name} beside it") from None
    try:
        with os.fdopen(file, "w", encoding="utf-8") as out:
            keys = list(read_keys(path)) if path.exists() else []
            yield keys
            import yaml

            told = [{**asdict(key), "scopes": list(key.scopes)} for key in keys]
            yaml.safe_dump({"keys": told}, out, sort_keys=False)
        beside.replace(path)
    except BaseException:
        beside.unlink()
        raise


def add_key(path: Path, name: str, scopes: Sequence[str], *, created: str) -> str:
    """Adds a key to a file, which is made if there is none, and returns the key: it is kept nowhere.

    Raises BadInput for a name that is taken or that is none.
    """
    if not _NAME.fullmatch(name) or contains_card_number(name):
        raise BadInput("keys", [Fault("NAME", _NAME_ALLOWED)])
    with _change(path) as keys:
        if any(key.name == name for key in keys):
            raise BadInput(str(path), [Fault("NAME", "a name that no key has; `keys revoke` frees one", seen=name)])
        secret = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        keys.append(Key(name, tuple(dict.fromkeys(scopes)), sha256(secret.encode()).hexdigest(), created))
    return secret


def revoke_key(path: Path, name: str) -> None:
    """Takes a key out of a file. Raises BadInput where it has none of that name."""
    if not path.exists():
        raise BadInput(str(path), message="there is no such file")
    with _change(path) as keys:
        left = [key for key in keys if key.name != name]
        if len(left) == len(keys):
            known = ", ".join(key.name for key in keys) or "none: the file has no keys"
            raise BadInput(str(path), [Fault("NAME", known, seen=name)])
        keys[:] = left


class KeyRing:
    """The keys in service. A file that breaks changes nothing but the log."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._mark()
        self._keys = self._hashed(read_keys(path))

    def find(self, secret: str) -> Key | None:
        """The key that a secret is; compared with every one, in the same time whichever it is."""
        if len(secret) > _LONGEST:
            return None
        given = sha256(secret.encode("utf-8", "surrogatepass")).digest()
        found = None
        for hashed, key in self._keys:
            if hmac.compare_digest(hashed, given):
                found = key
        return found

    def refresh(self) -> bool:
        """Reads the file again if it has changed; whether its keys are in service now."""
        mark = self._mark()
        if mark == self._seen:
            return False
        self._seen = mark
        try:
            self._keys = self._hashed(read_keys(self._path))
        except BadInput as bad:
            _log.error("the keys stay as they were: %s", bad)
            return False
        _log.info("%d keys in service", len(self._keys))
        return True

    def watch(self) -> None:
        """Looks at the file once a second from now on, in a thread of its own."""
        threading.Thread(target=self._look, name="keys", daemon=True).start()

    def _look(self) -> None:
        pause = threading.Event()
        while not pause.wait(_LOOK_EVERY_S):
            self.refresh()

    def _mark(self) -> tuple[int, int, int] | None:
        """What changes when the file does, also where a symbolic link is turned to another."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    @staticmethod
    def _hashed(keys: Sequence[Key]) -> tuple[tuple[bytes, Key], ...]:
        return tuple((bytes.fromhex(key.sha256), key) for key in keys)
