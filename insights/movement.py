"""What moved a success rate from one period to the next: the mix of who pays how, and the rates within.

With w the share of a segment and r its rate, before (0) and now (1),

    mix   (w1 − w0) · ((r0 + r1) / 2 − (R0 + R1) / 2)
    rate  (r1 − r0) · (w0 + w1) / 2

over all segments add up to R1 − R0 exactly (Kitagawa 1955, "Components of a difference between two rates", JASA 50; the mix
is taken against the mean rate, so that a growing segment counts for it only if it is better than that; this changes no sum,
since shares add up to 1). A segment that one of the periods lacks has the other's rate there: all of it is mix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from insights.frame import Frame, Units
from insights.rates import GROUPS, Rate, jackknife, rate_of

__all__ = ["Moved", "Movement", "Periods", "mix_and_rate", "movement", "periods_of"]

Array = npt.NDArray[Any]

_DAY = 86_400_000_000
_MOST_DAYS = 28


@dataclass(frozen=True)
class Periods:
    """Two periods of equally many days, microseconds since 1970: from `begin` to `middle`, from `middle` to `end`."""

    begin: int
    middle: int
    end: int
    days: int


@dataclass(frozen=True)
class Moved:
    """One segment's part, in shares (0.01 is a point); each effect with its 95 % interval."""

    value: str
    share_before: float
    share_now: float
    rate_before: float
    rate_now: float
    n_before: int
    n_now: int
    mix: tuple[float, float, float]
    rate: tuple[float, float, float]


@dataclass(frozen=True)
class Movement:
    """The change of a success rate, by the values of a segment. `mix` + `rate` = `change`, to the last bit but rounding."""

    segment: str
    before: Rate
    now: Rate
    change: tuple[float, float, float]
    mix: tuple[float, float, float]
    rate: tuple[float, float, float]
    parts: tuple[Moved, ...]


def periods_of(frame: Frame) -> Periods | None:
    """The last period and the one before it: 28 days each, or as many whole weeks, or days, as the attempts span twice.

    None where they do not span two days.
    """
    if frame.window is None:
        return None
    first, last = frame.window
    spanned = (last + 1 - first) // _DAY + 1 if last - first >= _DAY else 1
    half = int(min(spanned // 2, _MOST_DAYS))
    if half < 1:
        return None
    days = half // 7 * 7 if half >= 7 else half
    end = last + 1
    return Periods(end - 2 * days * _DAY, end - days * _DAY, end, days)


def mix_and_rate(n: Array, hits: Array) -> tuple[Array, Array]:
    """Mix and rate effects of each segment, from counts before and now, both of shape (…, 2, k); effects (…, k).

    >>> mix, rate = mix_and_rate(np.array([[60, 40], [40, 60]]), np.array([[54, 20], [36, 30]]))
    >>> mix.round(3).tolist(), rate.tolist()
    ([-0.04, -0.04], [0.0, 0.0])
    """
    n, hits = np.asarray(n, float), np.asarray(hits, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        w = n / n.sum(axis=-1, keepdims=True)
        r = hits / n
        whole = hits.sum(axis=-1) / n.sum(axis=-1)
    before, now = r[..., 0, :], r[..., 1, :]
    before, now = np.where(np.isnan(before), now, before), np.where(np.isnan(now), before, now)
    seen = ~np.isnan(before)
    before, now = np.where(seen, before, 0.0), np.where(seen, now, 0.0)
    middle = whole.mean(axis=-1)[..., None]
    mix = np.where(seen, (w[..., 1, :] - w[..., 0, :]) * ((before + now) / 2.0 - middle), 0.0)
    rate = (now - before) * (w[..., 0, :] + w[..., 1, :]) / 2.0
    return mix, rate


def movement(frame: Frame, units: Units, segment: str, periods: Periods) -> Movement | None:
    """What moved; None where one of the periods has nothing to count."""
    codes, values = frame.segments[segment].codes[units.row], frame.segments[segment].values
    when = frame.created[units.row]
    period = np.where(when < periods.begin, -1, np.where(when < periods.middle, 0, 1))
    kept = period >= 0
    codes, period, success = codes[kept], period[kept], units.success[kept]
    cluster = frame.cluster[units.row][kept]
    k = len(values)
    cell = ((cluster % GROUPS) * 2 + period) * k + codes
    n = np.bincount(cell, minlength=GROUPS * 2 * k).reshape(GROUPS, 2, k).astype(float)
    hits = np.bincount(cell, success, minlength=GROUPS * 2 * k).reshape(GROUPS, 2, k)
    if (n.sum(axis=(0, 2)) == 0).any():
        return None
    mix, rate = mix_and_rate(n.sum(axis=0), hits.sum(axis=0))
    without = mix_and_rate(n.sum(axis=0) - n, hits.sum(axis=0) - hits)
    figures = np.concatenate([mix, rate, [mix.sum() + rate.sum(), mix.sum(), rate.sum()]])
    others = np.concatenate([*without, *_sums(*without)], axis=1)
    low, high = jackknife(figures, others)
    told = [(float(figures[i]), float(low[i]), float(high[i])) for i in range(len(figures))]
    whole, won = n.sum(axis=0), hits.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share, rates = whole / whole.sum(axis=1, keepdims=True), won / whole
    parts = [
        Moved(
            values[i], float(share[0, i]), float(share[1, i]), float(rates[0, i]), float(rates[1, i]),
            int(whole[0, i]), int(whole[1, i]), told[i], told[k + i],
        )
        for i in range(k)
        if whole[:, i].any()
    ]  # fmt: skip
    return Movement(
        segment,
        rate_of(success[period == 0], cluster[period == 0]),
        rate_of(success[period == 1], cluster[period == 1]),
        told[2 * k],
        told[2 * k + 1],
        told[2 * k + 2],
        tuple(sorted(parts, key=lambda part: -abs(part.mix[0] + part.rate[0]))),
    )


def _sums(mix: Array, rate: Array) -> tuple[Array, Array, Array]:
    """Change, mix and rate altogether of each replicate, each of shape (groups, 1)."""
    all_mix, all_rate = mix.sum(axis=1, keepdims=True), rate.sum(axis=1, keepdims=True)
    return all_mix + all_rate, all_mix, all_rate
