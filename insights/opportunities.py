"""What would be gained by removing a cause: a ranked backlog of hypotheses, each with its interval and its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from insights.measure import Measure
from insights.opportunities_backlog import Backlog
from models.artefact import Artefact

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Evidence", "Opportunity", "opportunities"]

Evidence = Literal["randomised", "doubly robust", "association only"]


@dataclass(frozen=True)
class Opportunity:
    """One hypothesis, and what the data says of it. Success is that of a payment's first attempt, unless said otherwise.

    `gain` is in points (0.01 is one point) of the success rate of the attempts that would change; `overall` in points of all
    first attempts. `payments` (per 30 days) counts payments that would be paid in the end, with the retries that failures
    get today. `amount_minor` is what these pay per 30 days, by currency. `naive` is the difference that a plain comparison
    of the two sides would show. `before` and `after` are the success rates as seen. `reached` is the share of the attempts
    that could change and have their like on the other side: only these count. `weight` is the effective number of attempts
    of the other side. `sample_size` (payments, all arms) and `days` are what a test of it would need, at 80 % power; None
    where it would never end. `warnings` are keys of `opportunity_warnings.json`.
    """

    id: str
    rank: int
    driver: str
    driver_label: str
    unit: str
    segment: Mapping[str, object]
    segment_label: str
    change: str
    gain: Measure
    overall: Measure
    payments: Measure
    amount_minor: Mapping[str, Measure]
    naive: Measure
    before: Measure
    after: Measure
    evidence: Evidence
    reached: float
    weight: float
    sample_size: int | None
    days: int | None
    effort: str
    own: bool
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the contract's fields first (`gain_points`, `low` and `high` in percentage points), then all others."""
        currency = max(self.amount_minor, key=lambda name: abs(self.amount_minor[name].value), default=None)
        points = self.gain.times(100.0)
        told = {
            "driver": self.driver,
            "segment": self.segment_label,
            "change": self.change,
            "gain_points": points.value,
            "low": points.low,
            "high": points.high,
            "payments_per_month": self.payments.value,
            "amount_minor_per_month": self.amount_minor[currency].value if currency else None,
            "evidence": self.evidence,
            "sample_size": self.sample_size,
            "days": self.days,
            "currency": currency,
        }
        rest = asdict(self)
        rest["segment_by"] = rest.pop("segment")
        return {**told, **{name: value for name, value in rest.items() if name not in told}}


def opportunities(
    attempts: pd.DataFrame, model: Artefact | None, backlog: Backlog | None, rng: np.random.Generator
) -> list[Opportunity]:
    """The backlog of a checked table of attempts, the largest sure gain first."""
    raise NotImplementedError
