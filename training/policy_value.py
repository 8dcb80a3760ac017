"""What a policy would have earned, from what another one did: IPS, SNIPS, the direct method and doubly robust.

With w = π(a|x) / μ(a|x), the policy's probability of what was done over that with which it was done, and q the reward that a
model expects (Dudík, Langford & Li 2011; Swaminathan & Joachims 2015 for SNIPS):

    ips    mean of w·r                         right if the propensities are; noisy
    snips  Σ w·r / Σ w                         a little biased, less noisy
    dm     mean of Σ_a π(a|x) q(x, a)          right if the model is
    dr     mean of Σ_a π(a|x) q(x, a) + w (r − q(x, done))   right if either is

At Adyen, ips and snips came nearest to A/B tests (arXiv 2501.10470).

Each is a ratio of two sums over payments. Its interval is a bootstrap-t over payments (Efron & Tibshirani 1993, 12.5), since
weights are skewed. The direct method's own draws would leave out that its model was learnt from the same attempts; it gets
the doubly robust one's error, and how far the two are apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.policies import LEAST_PROPENSITY
from training.metrics import Estimate

__all__ = ["ESTIMATORS", "LEAST_ESS", "Doubt", "Weighed", "doubt_of", "estimates", "weigh"]

Array = npt.NDArray[Any]

ESTIMATORS = ("ips", "snips", "dm", "dr")
"""In the order in which they are shown."""

LEAST_ESS = 200.0
"""With fewer effective attempts than this no estimate is given."""

_LEAST_OVERLAP = 0.95
_CHUNK = 64
_MOST_BLOCKS = 20_000  # more payments than this are drawn in blocks of payments: as independent, and quicker


@dataclass(frozen=True)
class Weighed:
    """Logged decisions as a policy sees them.

    `weights`, shape (n,), are π/μ of what was done; `payment` (n,) codes from 0. `ess` is Kish's effective number of
    attempts, `overlap` the share of the policy's mass on what was done with a propensity of 0.01 or more (`overlap_high`, as
    much as it may be, at 97.5 %), `largest` the largest weight, `rare` how many decisions the policy might have taken that
    were logged with a smaller propensity than that, `least` the smallest of these propensities.
    """

    weights: Array
    payment: Array
    ess: float
    overlap: float
    overlap_high: float
    largest: float
    rare: int
    least: float


@dataclass(frozen=True)
class Doubt:
    """Why logs cannot judge a policy, and what data could."""

    why: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.why}; {self.wanted}"


def weigh(target: Array, propensity: Array, payment: Array, as_logged: Array | None = None) -> Weighed:
    """Weights of logged decisions, with what they can carry.

    `target` is the policy's probability of what was done, `propensity` that with which it was done, both (n,). Where
    `as_logged`, the policy does as the log did, whatever the propensity: weight 1.

    >>> found = weigh(np.array([1.0, 0.0, 1.0]), np.array([0.5, 0.5, 0.25]), np.arange(3))
    >>> found.weights.tolist(), found.largest, round(found.ess, 2)
    ([2.0, 0.0, 4.0], 4.0, 1.8)
    """
    same = np.zeros(len(target), bool) if as_logged is None else as_logged
    weights = np.where(same, 1.0, target / propensity)
    seen = (propensity >= LEAST_PROPENSITY) | same
    rare = ~seen & (target > 0.0)
    codes = np.unique(payment, return_inverse=True)[1]
    n = len(weights)
    mass = weights * seen
    overlap = float(mass.mean()) if n else 0.0
    per_payment = np.bincount(codes, mass - overlap) if n else np.zeros(1)
    error = float(np.sqrt((per_payment**2).sum())) / max(n, 1)
    square = float((weights**2).sum())
    return Weighed(
        weights=weights,
        payment=codes,
        ess=float(weights.sum()) ** 2 / square if square > 0.0 else 0.0,
        overlap=min(overlap, 1.0),
        overlap_high=min(overlap + 1.96 * error, 1.0),
        largest=float(weights.max()) if n else 0.0,
        rare=int(rare.sum()),
        least=float(propensity[rare].min()) if rare.any() else float("nan"),
    )


def doubt_of(weighed: Weighed) -> Doubt | None:
    """Why no estimate may be given; None where the log can tell."""
    n = len(weighed.weights)
    if weighed.rare:
        return Doubt(
            f"{weighed.rare:,} of {n:,} decisions were logged with a propensity under {LEAST_PROPENSITY:g} "
            f"(down to {weighed.least:.2g}) for what the policy does",
            f"let the logged policy explore, so that whatever it may do has a propensity of {LEAST_PROPENSITY:g} or more",
        )
    if weighed.ess <= 0.0:
        return Doubt(
            f"in none of {n:,} decisions was anything done that the policy does",
            "explore: log decisions in which a few per cent do what this policy would",
        )
    if weighed.ess < LEAST_ESS:
        more = int(np.ceil(n * (LEAST_ESS / weighed.ess - 1.0)))
        return Doubt(
            f"{n:,} decisions are worth only {weighed.ess:.0f} for this policy; want {LEAST_ESS:.0f}",
            f"about {more:,} more decisions like these would do, or fewer if more of them do what this policy would",
        )
    if weighed.overlap_high < _LEAST_OVERLAP:
        return Doubt(
            f"{1.0 - weighed.overlap:.0%} of what the policy does was never done where it would do it",
            "explore there, with a propensity of at least "
            f"{LEAST_PROPENSITY:g}; or say by --chosen what the logged policy chose",
        )
    return None


def estimates(
    weighed: Weighed,
    reward: Array,
    expected: Array | None = None,
    expected_done: Array | None = None,
    *,
    resamples: int = 1000,
    seed: int = 7,
) -> dict[str, Estimate]:
    """Each estimator's value with its 95 % interval, by name; `dm` and `dr` where a model expects something.

    `reward` (n,) is what came of what was done; `expected` (n,) what the model expects of the policy, Σ_a π(a|x) q(x, a);
    `expected_done` (n,) of what was done, q(x, done); both cross-fitted: from models that never saw the payment.
    """
    w, one = weighed.weights, np.ones(len(reward))
    parts = {"ips": (w * reward, one), "snips": (w * reward, w)}
    if expected is not None and expected_done is not None:
        parts["dr"] = (expected + w * (reward - expected_done), one)
    block = weighed.payment % _MOST_BLOCKS
    sums = {name: (np.bincount(block, top), np.bincount(block, bottom)) for name, (top, bottom) in parts.items()}
    found = _bootstrap_t(sums, len(reward), resamples, seed)
    if expected is not None and "dr" in found:
        found["dm"] = _direct(float(expected.mean()), found["dr"])
    return {name: found[name] for name in ESTIMATORS if name in found}


def _direct(value: float, robust: Estimate) -> Estimate:
    apart = value - robust.value
    low, high = robust.low - robust.value, robust.high - robust.value
    # What the two differ by beyond chance is the model's bias; it can be on either side of what is seen of it
    return Estimate(value, value - float(np.hypot(low, apart)), value + float(np.hypot(high, apart)), robust.n)


def _bootstrap_t(sums: Mapping[str, tuple[Array, Array]], n: int, resamples: int, seed: int) -> dict[str, Estimate]:
    """Ratios of sums over payments, with intervals; the same draws for all, so that differences are paired."""
    rng = np.random.default_rng(seed)
    payments = len(next(iter(sums.values()))[0])
    columns = np.column_stack(
        [column for top, bottom in sums.values() for column in (top, bottom, top * top, top * bottom, bottom * bottom)]
    )
    whole = columns.sum(axis=0)
    drawn = np.concatenate(
        [
            rng.poisson(1.0, (min(_CHUNK, resamples - first), payments)).astype(np.float64) @ columns
            for first in range(0, resamples, _CHUNK)
        ]
    )
    found = {}
    for place, name in enumerate(sums):
        value, error = _ratio(whole[None, 5 * place : 5 * place + 5])
        values, errors = _ratio(drawn[:, 5 * place : 5 * place + 5])
        with np.errstate(invalid="ignore", divide="ignore"):
            t = (values - value[0]) / errors
        t = t[np.isfinite(t)]
        if len(t) < resamples / 2 or error[0] == 0.0:
            # Every payment tells the same: there is no spread to draw from
            found[name] = Estimate(float(value[0]), float(value[0]), float(value[0]), n)
            continue
        low, high = np.percentile(t, [2.5, 97.5])
        found[name] = Estimate(float(value[0]), float(value[0] - high * error[0]), float(value[0] - low * error[0]), n)
    return found


def _ratio(sums: Array) -> tuple[Array, Array]:
    """Ratio and its standard error (delta method, by payment), from Σ t, Σ b, Σ t², Σ t·b, Σ b²; each shape (m,)."""
    top, bottom, tt, tb, bb = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = top / bottom
        spread = np.maximum(tt - 2.0 * ratio * tb + ratio * ratio * bb, 0.0)
        return ratio, np.sqrt(spread) / np.abs(bottom)
