"""How far a distribution has moved, and how far it would have moved by chance: sampling theory for tables of days.

Attempts of one day are not independent: customers come back, a route has a bad afternoon, weekends differ. So the day is the
unit. Over the days of the reference, the share of each bin is regressed on the weekday and on time; what is left over says how
much days vary, and the regression says what the compared window's days should look like and how sure that is. A trend that the
reference already had is therefore no drift, nor is a weekend.

PSI, the sum over bins of (share − expected) · ln(share / expected), is then close to a quadratic form in normal errors of known
covariance: its mean and variance give a scaled F distribution (Rao and Scott 1984, second-order correction; Thomas and Rao
1987 for F). KS, the largest distance of the cumulated shares, is held against draws of those errors. `holm` decides over all
checks together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

__all__ = ["Shift", "brought", "bursts", "holm", "miscalibration", "other_mix", "overdispersion", "shift"]

Array = npt.NDArray[Any]

_FEWEST_DAYS = 7  # of a reference; below, how much days vary is anybody's guess
_FEWEST_FOR_TREND = 14  # two of each weekday
_LEAST_EXPECTED = 5.0  # attempts in a bin (Cochran 1954): rarer ones are pooled
_DRAWS = 20_000


@dataclass(frozen=True)
class Shift:
    """How far a distribution moved. `limit(p)` is what chance alone exceeds with probability p: PSI, and KS where there is one.

    `moved` are (bin, expected share, share, standard errors between), the furthest first; None of it where nothing is judged.
    """

    psi: float
    p_psi: float
    ks: float | None
    p_ks: float | None
    moved: tuple[tuple[int, float, float, float], ...]
    _scale: float = 0.0
    _freedom: tuple[float, float] = (1.0, 1.0)
    _drawn: Array | None = None

    def limit(self, p: float) -> tuple[float, float | None]:
        """The PSI and the KS that chance alone exceeds with probability `p`, at this sample's size."""
        ks = None if self._drawn is None else float(np.quantile(self._drawn, 1.0 - p))
        return float(self._scale * stats.f.isf(p, *self._freedom)), ks


def shift(
    days: Array,
    first_day: int,
    hours: Array,
    now: Array,
    now_hours: Array,
    now_day: Array,
    *,
    ordered: bool,
    rng: np.random.Generator,
) -> Shift | None:
    """How far a window moved from a reference; None for too few days or attempts.

    `days` (D, K) and `hours` (6, K) count the reference's attempts by day from `first_day` (days since 1970), and by four-hour
    block; `now` (K,), `now_hours` (6, K) and `now_day` (m,), one for each attempt, are the window's. KS wants `ordered` bins.
    """
    there = days.sum(axis=1) > 0
    total = float(now.sum())
    if there.sum() < _FEWEST_DAYS or total == 0:
        return None
    dates, counts = (first_day + np.arange(len(days)))[there], days[there].astype(float)
    sizes = counts.sum(axis=1)
    design, asked = _design(dates, now_day)
    inverse = np.linalg.pinv(design.T @ (design * sizes[:, None]))
    shares = counts / sizes[:, None]
    weights = inverse @ (design.T @ (counts))
    left = (shares - design @ weights) * np.sqrt(sizes)[:, None]
    freedom = max(len(dates) - np.linalg.matrix_rank(design), 1)
    covariance = left.T @ left / freedom
    reach = 1.0 / total + float(asked @ inverse @ asked)
    expected = asked @ weights + _by_hour(hours, now_hours)
    expected = np.maximum(expected, 0.5 / counts.sum())
    pooled = _pooled(expected / expected.sum() * total)
    if len(pooled) < 2:
        return None
    expected, share = pooled @ (expected / expected.sum()), pooled @ (now / total)
    covariance = reach * (pooled @ covariance @ pooled.T)
    # Days can vary no less than draws from a fixed distribution do
    floor = reach * (np.diag(expected) - np.outer(expected, expected))
    covariance = _at_least(covariance, floor)
    told = np.maximum(share, 0.5 / total)
    psi = float(((share - expected) * np.log(told / expected)).sum())
    mean, squares = _moments(covariance / np.sqrt(np.outer(expected, expected)), freedom)
    spread = mean * mean / squares
    p_psi = float(stats.f.sf(psi / mean, spread, spread * freedom))
    ks, p_ks, drawn = _ks(share - expected, covariance, freedom, rng) if ordered else (None, None, None)
    errors = np.sqrt(np.maximum(np.diag(covariance), 1e-18))
    standing = (share - expected) / errors
    whose = [np.flatnonzero(row) for row in pooled]
    order = np.argsort(-np.abs(standing), kind="stable")
    moved = tuple(
        (int(whose[j][0]), float(expected[j]), float(share[j]), float(standing[j])) for j in order if len(whose[j]) == 1
    )
    return Shift(psi, p_psi, ks, p_ks, moved, mean, (spread, spread * freedom), drawn)


def _design(dates: Array, now_day: Array) -> tuple[Array, Array]:
    """What each day is told by: weekday and time, if there are days enough; and the mean of that over the window's attempts."""
    if len(dates) < _FEWEST_FOR_TREND:
        return np.ones((len(dates), 1)), np.ones(1)
    middle = dates.mean()

    def told(when: Array) -> Array:
        weekday = (when[:, None] + 3) % 7 == np.arange(7)  # day 0, 1 January 1970, was a Thursday
        return np.column_stack([weekday.astype(float), when - middle])

    return told(dates), told(now_day.astype(float)).mean(axis=0)


def _by_hour(hours: Array, now_hours: Array) -> Array:
    """What a window that covers other hours of the day than the reference's whole days is to differ by."""
    there, here = hours.sum(axis=1).astype(float), now_hours.sum(axis=1).astype(float)
    usual = hours / np.maximum(there, 1.0)[:, None]
    found: Array = (here / here.sum() - there / there.sum()) @ usual
    return found


def _pooled(expected: Array) -> Array:
    """Which bins stay as they are and which are put together, as a matrix (bins left, bins) of 0 and 1; order is kept."""
    rare = expected < _LEAST_EXPECTED
    kept = np.eye(len(expected))[~rare]
    return np.vstack([kept, rare.astype(float)]) if rare.any() else kept


def _at_least(covariance: Array, floor: Array) -> Array:
    """A covariance whose spread in each bin is no less than the floor's."""
    short = np.sqrt(np.maximum(np.diag(floor) / np.maximum(np.diag(covariance), 1e-18), 1.0))
    raised: Array = np.where(np.diag(covariance)[:, None] > 0, covariance * np.outer(short, short), floor)
    return raised


def _moments(relative: Array, freedom: float) -> tuple[float, float]:
    """Trace and trace of the square of a covariance estimated with so many degrees of freedom; the second one unbiased."""
    mean, raw = float(np.trace(relative)), float((relative * relative).sum())
    if freedom <= 2:
        return mean, raw
    squares = (raw - mean * mean / freedom) * freedom * freedom / ((freedom - 1.0) * (freedom + 2.0))
    return mean, float(np.clip(squares, mean * mean / max(len(relative) - 1, 1), mean * mean))


def _ks(off: Array, covariance: Array, freedom: float, rng: np.random.Generator) -> tuple[float, float, Array]:
    """The largest distance of cumulated shares, how often errors of this covariance alone have one as large, and their draws."""
    values, vectors = np.linalg.eigh(covariance)
    root = np.cumsum(vectors * np.sqrt(np.maximum(values, 0.0)), axis=0)
    normal = rng.standard_normal((_DRAWS, len(off))) @ root.T
    drawn = np.abs(normal).max(axis=1) / np.sqrt(rng.chisquare(freedom, _DRAWS) / freedom)
    found = float(np.abs(np.cumsum(off)).max())
    return found, (1 + int((drawn >= found).sum())) / (1 + _DRAWS), drawn


def brought(new: int, who: int, usual_new: int, usual_who: int) -> float:
    """Chance that so many of `who` bring unseen values, if they do so as often as the reference's (Fisher's exact test)."""
    if not who or not usual_who:
        return 1.0
    return float(stats.hypergeom.sf(new - 1, who + usual_who, new + usual_new, who))


def other_mix(days: Array, now: Array, ahead: float) -> tuple[float, int, float]:
    """Whether a mix is another than the one that it was: p, the bin that gained most, and its share in the reference.

    `days` (D, K) counts the reference by day, `now` (K,) the window, whose middle is `ahead` days after the reference's. Unlike
    for `shift`, counts are few: every share may be anywhere between the reference's and what its linear trend, give or take its
    95 % interval, leads to; what lies beyond is held against the sample's error by chi-squared.
    """
    then, total = days.sum(axis=0).astype(float), float(now.sum())
    pooled = _pooled((then + now) / (then.sum() + total) * total)
    if len(pooled) < 2 or then.sum() < _LEAST_EXPECTED:
        return 1.0, int(np.argmax(now)), 0.0
    counts, here = days @ pooled.T, pooled @ now / total
    flat = counts.sum(axis=0) / then.sum()
    sizes = counts.sum(axis=1)
    when = np.arange(len(days)) - np.average(np.arange(len(days)), weights=sizes)
    wide = max(float((sizes * when * when).sum()), 1e-9)
    slope = (when[:, None] * (counts - sizes[:, None] * flat)).sum(axis=0) / wide
    both = (counts.sum(axis=0) + pooled @ now) / (then.sum() + total)
    reach = stats.norm.isf(0.025) * np.sqrt(flat * (1.0 - flat) / wide) * ahead
    low, high = np.minimum(flat, flat + slope * ahead - reach), np.maximum(flat, flat + slope * ahead + reach)
    beyond = np.maximum(np.maximum(low - here, here - high), 0.0)
    found = float((beyond * beyond / both).sum()) / (1.0 / total + 1.0 / then.sum())
    most = int(np.argmax(now / total - then / then.sum()))
    return float(stats.chi2.sf(found, len(pooled) - 1)), most, float(then[most] / then.sum())


def overdispersion(n: Array, k: Array, share: Array) -> float:
    """How alike the payments of one block of hours are, 0 (independent) to 1: `k` of `n` failed where `share` usually do.

    By moments: the variance of a beta-binomial is n · share · (1 − share) · (1 + (n − 1) · this).
    """
    simple = n * share * (1.0 - share)
    more = float((simple * (n - 1.0)).sum())
    if more <= 0:
        return 0.0
    return float(np.clip((((k - n * share) ** 2).sum() - simple.sum()) / more, 0.0, 0.999))


def bursts(n: Array, k: Array, share: Array, alike: float) -> Array:
    """Chance of so many failures or more in each block of hours: `k` of `n`, where `share` usually fail, `alike` in a block."""
    if alike == 0.0:
        found: Array = stats.binom.sf(k - 1, n, share)
        return found
    size = (1.0 - alike) / alike
    spread: Array = stats.betabinom.sf(k - 1, n, share * size, (1.0 - share) * size)
    return spread


def miscalibration(
    then: Sequence[Array], now: Sequence[Array], allowed: float = 0.0
) -> tuple[float, Array, Array] | None:
    """Whether what came is further from what was predicted than when the model was judged: p, differences, standard errors.

    Both are (n, off), each of shape (groups, blocks of time). Differences up to `allowed` (a share) count for nothing. Blocks are
    the unit; the groups are looked at together, by a quadratic form with a scaled F distribution. None where either has fewer
    than seven blocks.
    """
    (n0, off0), (n1, off1) = then, now
    freedom = min(int((one.sum(axis=0) > 0).sum()) for one in (n0, n1)) - 1
    enough = (n0.sum(axis=1) > 0) & (n1.sum(axis=1) > 0)
    if freedom < _FEWEST_DAYS - 1 or not enough.any():
        return None
    mean0, cov0 = _clustered(n0[enough], off0[enough])
    mean1, cov1 = _clustered(n1[enough], off1[enough])
    difference, covariance = mean1 - mean0, cov0 + cov1
    errors = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    mean, squares = _moments(covariance / np.outer(errors, errors), freedom)
    spread = mean * mean / squares
    beyond = np.maximum(np.abs(difference) - allowed, 0.0) / errors
    p = float(stats.f.sf(float((beyond * beyond).sum()) / mean, spread, spread * freedom))
    whole, sure = np.full(len(enough), np.nan), np.full(len(enough), np.nan)
    whole[enough], sure[enough] = difference, errors
    return p, whole, sure


def _clustered(n: Array, off: Array) -> tuple[Array, Array]:
    """Mean distance of each group, (groups,), and its covariance, (groups, groups), blocks being independent of each other."""
    sizes = n.sum(axis=1)
    means = off.sum(axis=1) / sizes
    left = (off - means[:, None] * n) / sizes[:, None]
    blocks = int((n.sum(axis=0) > 0).sum())
    return means, left @ left.T * blocks / max(blocks - 1, 1)


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted so that the chance of any false alarm among them is held (Holm 1979), however they hang together.

    >>> holm([0.01, 0.04, 0.5])
    [0.03, 0.08, 0.5]
    """
    order = np.argsort(p, kind="stable")
    adjusted, before = [0.0] * len(p), 0.0
    for step, place in enumerate(order):
        before = max(before, min(1.0, (len(p) - step) * p[int(place)]))
        adjusted[int(place)] = before
    return adjusted
