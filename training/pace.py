"""How far long work is, and how long it will still take at the pace that was measured."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["pace"]

_EVERY_S = 5.0


def pace(
    what: str,
    total: int,
    tell: Callable[[str], None],
    *,
    of: str = "attempts",
    clock: Callable[[], float] = time.perf_counter,
) -> Callable[[int], None]:
    """What to tell how many of `total` are done: passes on, every five seconds, the rate and the time that is left.

    >>> seconds = iter([0.0, 1.0, 6.0, 8.0])
    >>> far = pace("features", 1_000, print, clock=seconds.__next__)
    >>> for done in (100, 600, 1_000):
    ...     far(done)
    features: 600 of 1,000 attempts (100/s, 4 s left)
    """
    began = last = clock()

    def far(done: int) -> None:
        nonlocal last
        now = clock()
        if now - last < _EVERY_S or not done:
            return
        last = now
        rate = done / (now - began)
        if done < total:
            per_second = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
            tell(f"{what}: {done:,} of {total:,} {of} ({per_second}/s, {(total - done) / rate:,.0f} s left)")

    return far
