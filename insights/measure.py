"""A figure as product owners get it: with its interval and with how many cases stand behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from math import isfinite
from typing import Any

import numpy as np

from insights.rates import wilson as shares

__all__ = ["Measure", "plain", "wilson"]


@dataclass(frozen=True)
class Measure:
    """A value, its 95 % interval, and the number of cases that it is from."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)

    def times(self, by: float) -> Measure:
        """The same in another unit; a negative factor turns the interval round.

        >>> Measure(0.25, 0.0, 0.5, 10).times(-100)
        Measure(value=-25.0, low=-50.0, high=-0.0, n=10)
        """
        low, high = sorted((self.low * by, self.high * by))
        return Measure(self.value * by, low, high, self.n)


def wilson(hits: float, n: int) -> Measure:
    """A share with its 95 % interval (Wilson 1927, DOI 10.1080/01621459.1927.10502953); NaN of nothing.

    >>> told = wilson(0, 10)
    >>> told.value, told.low, round(told.high, 3)
    (0.0, 0.0, 0.278)
    """
    if n == 0:
        return Measure(float("nan"), float("nan"), float("nan"), 0)
    share, low, high = (float(part[0]) for part in shares(np.array([hits]), np.array([n])))
    return Measure(share, max(low, 0.0), min(high, 1.0), n)


def plain(told: Any) -> Any:
    """Dataclasses and tuples as what JSON has; a number that is none (NaN, infinity) as None.

    >>> plain((Measure(0.5, float("nan"), 1.0, 2), {"a": (1, "b")}))
    [{'value': 0.5, 'low': None, 'high': 1.0, 'n': 2}, {'a': [1, 'b']}]
    """
    if is_dataclass(told):
        return {known.name: plain(getattr(told, known.name)) for known in fields(told)}
    if isinstance(told, Mapping):
        return {str(name): plain(value) for name, value in told.items()}
    if isinstance(told, list | tuple):
        return [plain(value) for value in told]
    if isinstance(told, np.generic):
        return plain(told.item())
    return None if isinstance(told, float) and not isfinite(told) else told
