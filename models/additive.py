"""A sum of one curve per feature, in log-odds: what trees take many splits to say, a straight line says at once.

A number's curve is straight between its knots and flat beyond them; a code has a value of its own; so has what is missing.
Such a sum (a generalised additive model) stands beside the trees of a head, which see how features act together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from features.errors import ArtifactMismatch
from models import kernel

__all__ = ["Additive", "Curve", "arrays_of"]

Array = npt.NDArray[Any]


def arrays_of(sums: Sequence[Additive | None]) -> tuple[Array, ...]:
    """What `kernel.add_curves` takes between the rows and the scores (n, sums); a sum that is None adds nothing."""
    curves = [curve for one in sums for curve in (one.curves if one is not None else ())]
    biases = np.array([one.bias if one is not None else 0.0 for one in sums])
    ends = np.cumsum([len(one.curves) if one is not None else 0 for one in sums])
    return (biases, ends, *_arrays(curves))


@dataclass(frozen=True)
class Curve:
    """What one column of the matrix adds, in log-odds. `knots` are increasing; empty for codes, whose value is values[code].

    A code beyond the values adds nothing. `missing` is added where there is no value.
    """

    place: int
    knots: tuple[float, ...]
    values: tuple[float, ...]
    missing: float


@dataclass(frozen=True)
class Additive:
    """The curves together, and a constant."""

    bias: float
    curves: tuple[Curve, ...]

    def __call__(self, matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Log-odds, shape (n,), of the rows of `matrix`."""
        scores = np.zeros((len(matrix), 1))
        kernel.add_curves(matrix, *self._arrays, scores)
        return scores[:, 0]

    def scaled(self, by: float) -> Additive:
        """The same, times a number."""
        curves = tuple(
            Curve(curve.place, curve.knots, tuple(by * value for value in curve.values), by * curve.missing)
            for curve in self.curves
        )
        return Additive(by * self.bias, curves)

    @cached_property
    def _arrays(self) -> tuple[Array, ...]:
        return arrays_of([self])

    def as_json(self) -> dict[str, Any]:
        """Plain data, for `from_json`."""
        curves = [[curve.place, list(curve.knots), list(curve.values), curve.missing] for curve in self.curves]
        return {"bias": self.bias, "curves": curves}

    @classmethod
    def from_json(cls, told: Mapping[str, Any], columns: int) -> Additive:
        """What `as_json` gave. Raises ArtifactMismatch unless every curve is whole and over one of so many columns."""
        curves = tuple(
            Curve(int(place), _floats(knots), _floats(values), float(missing))
            for place, knots, values, missing in told["curves"]
        )
        for curve in curves:
            ordered = all(a < b for a, b in zip(curve.knots, curve.knots[1:], strict=False))
            numbers = (*curve.knots, *curve.values, curve.missing)
            if (
                not all(map(isfinite, numbers))
                or not 0 <= curve.place < columns
                or not curve.values
                or not ordered
                or (curve.knots and len(curve.knots) != len(curve.values))
            ):
                raise ArtifactMismatch(f"model.json: the curve over column {curve.place} is damaged")
        return cls(float(told["bias"]), curves)


def _arrays(curves: Sequence[Curve]) -> tuple[Array, ...]:
    """The curves one after another, as `_add` takes them."""
    counts = [len(curve.values) for curve in curves]
    padded = [(*curve.knots, *([0.0] * (len(curve.values) - len(curve.knots)))) for curve in curves]
    return (
        np.array([curve.place for curve in curves], np.int64),
        np.cumsum([0, *counts[:-1]]) if counts else np.empty(0, np.int64),
        np.array(counts, np.int64),
        np.array([not curve.knots for curve in curves], np.bool_),
        np.array([curve.missing for curve in curves], np.float64),
        np.array([knot for knots in padded for knot in knots], np.float64),
        np.array([value for curve in curves for value in curve.values], np.float64),
    )


def _floats(values: Sequence[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
