"""Reads the YAML files that people write for Payrescue: plain values, and one clear error for what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features.errors import BadInput

__all__ = ["MOST_BYTES", "read_yaml"]

MOST_BYTES = 1_000_000
"""How large such a file may be; nobody writes a larger one by hand."""


def read_yaml(path: Path, says_how: str) -> Any:
    """What a file holds, None if that is nothing. `says_how` ends the sentence about one that cannot be read.

    Raises BadInput; the message repeats nothing of the file.
    """
    import yaml

    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadInput(str(path), message=f"cannot be read ({error.strerror})") from None
    if len(raw) > MOST_BYTES:
        raise BadInput(str(path), message=f"is too large; want up to {MOST_BYTES:,} bytes")
    try:
        return yaml.safe_load(raw.decode())
    # A date such as 2026-13-45 is a ValueError, of which UnicodeDecodeError is one
    except (yaml.YAMLError, ValueError, RecursionError):
        raise BadInput(str(path), message=f"is no YAML; {says_how}") from None
