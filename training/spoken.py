"""Figures and times as commands say them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

__all__ = ["iso", "short", "signed", "when"]


def short(figure: Mapping[str, float]) -> str:
    """A figure with its interval.

    >>> short({"value": 0.51234, "low": 0.5, "high": 0.52})
    '0.5123 [0.5000, 0.5200]'
    """
    return f"{figure['value']:.4f} [{figure['low']:.4f}, {figure['high']:.4f}]"


def signed(figure: Mapping[str, float], digits: int = 4) -> str:
    """A difference with its interval.

    >>> signed({"value": 0.00123, "low": -0.5, "high": 0.5}, 5)
    '+0.00123 [-0.50000, +0.50000]'
    """
    return f"{figure['value']:+.{digits}f} [{figure['low']:+.{digits}f}, {figure['high']:+.{digits}f}]"


def iso(microseconds: int) -> str:
    """A time since 1970 in ISO 8601, UTC, to the second.

    >>> iso(1_767_571_200_000_000)
    '2026-01-05T00:00:00+00:00'
    """
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec="seconds")


def when(microseconds: int) -> str:
    """A time since 1970, as people read it.

    >>> when(1_767_571_200_000_000)
    '2026-01-05 00:00 UTC'
    """
    return datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%d %H:%M UTC")
