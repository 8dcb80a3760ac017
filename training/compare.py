"""One model against another, slice by slice: for whom it is better, for whom worse, and what of that is beyond noise.

Both models are asked about the same attempts, and payments are drawn with replacement (Poisson bootstrap), the same draws for
every slice. Thirty slices looked at one by one would show a worse one by chance alone: p-values are therefore those of Romano
and Wolf's step-down over the largest studentised difference of all slices (Econometrica 73, 2005), which holds the chance of
calling any slice worse (or better) that is not at 5 % in all, and knows that slices overlap. Intervals are simultaneous too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from features.errors import BadInput, Fault
from training.metrics import Estimate
from training.quality import SLICED_BY, SMALLEST_SLICE, Judged

__all__ = ["LEVEL", "SliceDifference", "compare_slices", "guarded", "is_guarded"]

Array = npt.NDArray[Any]
Standing = Literal["worse", "better", "no difference beyond noise"]

LEVEL = 0.05
"""Chance that any slice at all is called worse without being so; the same for better."""

_DRAWS = 2_000
_MOST_GROUPS = 4_000  # more payments than this are drawn in groups of several, which cost no more and vary as much


@dataclass(frozen=True)
class SliceDifference:
    """How two models do on the attempts that have `value` in `slice`.

    `ours` and `theirs` are log losses of success in nats, `difference` ours minus theirs with its simultaneous 95 % interval;
    below zero is better. `p_worse` and `p_better` are adjusted for all slices looked at.
    """

    slice: str
    value: str
    attempts: int
    payments: int
    ours: float
    theirs: float
    difference: Estimate
    p_worse: float
    p_better: float

    @property
    def standing(self) -> Standing:
        """Whether the difference is beyond noise, and which way."""
        if self.p_worse < LEVEL:
            return "worse"
        return "better" if self.p_better < LEVEL else "no difference beyond noise"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **{name: getattr(self, name) for name in ("slice", "value", "attempts", "payments", "ours", "theirs")},
            "difference": self.difference.as_dict(),
            "p_worse": self.p_worse,
            "p_better": self.p_better,
            "standing": self.standing,
        }

    def __str__(self) -> str:
        told = f"{self.difference.value:+.4f} [{self.difference.low:+.4f}, {self.difference.high:+.4f}] nats"
        return f"{self.slice} {self.value}: {told}, adjusted p {self.p_worse:.3f}, {self.attempts:,} attempts"


def compare_slices(
    judged: Judged, probabilities: Array, others: Array, slices: Mapping[str, Array], *, seed: int
) -> list[SliceDifference]:
    """The difference in log loss of success, `probabilities` minus `others` (both (n, 5)), of every value of every slice.

    Values with fewer than 300 attempts are left out: there, neither a mean nor its spread is to be trusted. What got worse
    beyond noise comes first, then by difference, the worst first.
    """
    named, members = _members(slices)
    if not named:
        return []
    ours, theirs = judged.success_losses(probabilities), judged.success_losses(others)
    payment = np.unique(judged.payment, return_inverse=True)[1]
    drawn = _Drawn.of(ours - theirs, members, payment, seed)
    worse, better = _step_down(drawn.centred, drawn.standing), _step_down(-drawn.centred, -drawn.standing)
    reach = float(np.quantile(np.abs(drawn.centred).max(axis=1), 1.0 - LEVEL))
    found = []
    for place, (name, value) in enumerate(named):
        mask = members[:, place]
        mean, half = float(drawn.means[place]), reach * float(drawn.errors[place])
        found.append(
            SliceDifference(
                name,
                value,
                int(mask.sum()),
                len(np.unique(payment[mask])),
                float(ours[mask].mean()),
                float(theirs[mask].mean()),
                Estimate(mean, mean - half, mean + half, int(mask.sum())),
                float(worse[place]),
                float(better[place]),
            )
        )
    return sorted(found, key=lambda one: (one.p_worse >= LEVEL, -one.difference.value))


def guarded(setting: str) -> tuple[tuple[str, str | None], ...]:
    """The slices that may not get worse, from the setting's text: names, or NAME=VALUE for one value alone.

    Raises BadInput for a slice that there is not.

    >>> guarded("country, method=card"), guarded("none")
    ((('country', None), ('method', 'card')), ())
    """
    told: list[tuple[str, str | None]] = []
    if setting.strip() == "none":
        return ()
    for part in filter(None, (part.strip() for part in setting.split(","))):
        name, separator, value = part.partition("=")
        if name not in SLICED_BY or (separator and not value):
            allowed = f"names out of {', '.join(SLICED_BY)}, or NAME=VALUE, with commas between; or none"
            raise BadInput("settings", [Fault("guarded_slices", allowed, seen=part)])
        told.append((name, value if separator else None))
    return tuple(told)


def is_guarded(name: str, value: str, among: Sequence[tuple[str, str | None]]) -> bool:
    """Whether a slice's value is among the guarded ones."""
    return (name, None) in among or (name, value) in among


def _members(slices: Mapping[str, Array]) -> tuple[list[tuple[str, str]], Array]:
    """Names and values of the slices that are large enough, and who is in each, shape (n, slices)."""
    import pandas as pd

    named, masks = [], []
    for name, values in slices.items():
        place, told = pd.factorize(np.asarray(values, object), sort=True)
        for code, count in enumerate(np.bincount(place, minlength=len(told)).tolist()):
            if count >= SMALLEST_SLICE:
                named.append((name, str(told[code])))
                masks.append(place == code)
    return named, np.column_stack(masks) if masks else np.zeros((0, 0), bool)


@dataclass(frozen=True)
class _Drawn:
    """Mean differences by slice, their standard errors, and the studentised draws about them, shape (draws, slices)."""

    means: Array
    errors: Array
    centred: Array

    @property
    def standing(self) -> Array:
        """How many standard errors each mean is from zero."""
        return np.divide(self.means, self.errors, out=np.zeros_like(self.means), where=self.errors > 0)

    @classmethod
    def of(cls, difference: Array, members: Array, payment: Array, seed: int) -> _Drawn:
        rng = np.random.default_rng(seed)
        count = int(payment.max()) + 1
        group = rng.permutation(count) % min(count, _MOST_GROUPS)
        of_row = group[payment]
        sums = np.column_stack([np.bincount(of_row[m], difference[m], group.max() + 1) for m in members.T])
        sizes = np.column_stack([np.bincount(of_row[m], minlength=group.max() + 1) for m in members.T])
        weights = rng.poisson(1.0, (_DRAWS, len(sums))).astype(np.float64)
        means = sums.sum(axis=0) / sizes.sum(axis=0)
        drawn = (weights @ sums) / np.maximum(weights @ sizes, 1.0) - means
        errors = drawn.std(axis=0)
        centred = np.divide(drawn, errors, out=np.zeros_like(drawn), where=errors > 0)
        return cls(means, errors, centred)


def _step_down(drawn: Array, found: Array) -> Array:
    """Adjusted p-values, one-sided, of the studentised `found` (slices,), by draws (draws, slices) under no difference."""
    order = np.argsort(-found, kind="stable")
    adjusted = np.empty(len(found))
    largest = np.maximum.accumulate(drawn[:, order[::-1]], axis=1)[:, ::-1]  # over what has not been decided yet
    before = 0.0
    for step, place in enumerate(order):
        p = (1 + int((largest[:, step] >= found[place]).sum())) / (1 + len(drawn))
        before = max(before, p)
        adjusted[place] = before
    return adjusted
