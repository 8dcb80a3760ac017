"""How good a model is on attempts that it has not seen: figures with intervals, beside their baselines, and by slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.columns import CATEGORIES
from features.rows import Encoder
from training.metrics import Estimate, Resampler, auc, bins_of, calibration_error, wilson

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "SLICED_BY",
    "SMALLEST_SLICE",
    "Judged",
    "by_slice",
    "compare",
    "quality",
    "reliability",
    "slices_of",
    "why_quality",
]

Array = npt.NDArray[Any]

SLICED_BY = ("country", "method", "route", "channel", "issuer", "first_time", "amount")
"""What attempts are told apart by: columns, whether it is the customer's first payment, and the amount's band."""

SMALLEST_SLICE = 300
"""Attempts, below which a slice is not told."""

_NEEDED = ("prior_payments", "payment_id", "created_at", "amount_minor", "currency")
_BANDS = ("under half the usual", "half to twice the usual", "two to four times the usual", "over four times the usual")
_BAND_EDGES = (-1.0, 1.0, 2.0)  # doublings
_TINY = 1e-12


class Judged:
    """Attempts to judge by: their outcomes (0 to 4, 5 unexplained) and payments. All of them have an outcome.

    What they say of success counts all of them; what they say of the outcome, those that somebody explained.
    """

    def __init__(self, outcome: Array, payment: Array, *, resamples: int, seed: int) -> None:
        self.outcome, self.payment = outcome, payment
        self.explained = outcome < 5
        self.success = outcome == 0
        self._resamples, self._seed = resamples, seed
        self.all = Resampler(payment, resamples, seed)
        self.clear = Resampler(payment[self.explained], resamples, seed)

    def part(self, mask: Array) -> Judged:
        """Those of a slice."""
        return Judged(self.outcome[mask], self.payment[mask], resamples=self._resamples, seed=self._seed)

    def success_losses(self, probabilities: Array) -> Array:
        """−log P(what happened: success or not) of each attempt, nats."""
        p = probabilities[:, 0]
        losses: Array = -np.log(np.maximum(np.where(self.success, p, 1.0 - p), _TINY))
        return losses

    def outcome_losses(self, probabilities: Array) -> Array:
        """−log P(outcome) of each explained attempt, nats."""
        mine = self.outcome[self.explained]
        losses: Array = -np.log(np.maximum(probabilities[self.explained][np.arange(len(mine)), mine], _TINY))
        return losses


def quality(judged: Judged, probabilities: Array) -> dict[str, Estimate]:
    """Log loss, Brier score, AUC and calibration error of `probabilities` (n, 5), each with its interval.

    `calibration_error` is the mean over the five outcomes, in ten bins of equally many attempts.
    """
    p, happened = probabilities[:, 0], judged.success
    told, outcome = probabilities[judged.explained], judged.outcome[judged.explained]
    squares = (told**2).sum(axis=1) - 2 * told[np.arange(len(told)), outcome] + 1.0

    distances = [_distance(outcome == o, told[:, o]) for o in range(5)]

    def off(weights: Array | None) -> float:
        return float(np.mean([distance(weights) for distance in distances]))

    found = {
        "success_log_loss": judged.all.mean(judged.success_losses(probabilities)),
        "success_brier": judged.all.mean((p - happened) ** 2),
        "success_auc": judged.all.estimate(_ranked(happened, p)),
        "success_calibration_error": judged.all.estimate(_distance(happened, p)),
    }
    if (outcome > 0).any():
        found |= {
            "outcome_log_loss": judged.clear.mean(judged.outcome_losses(probabilities)),
            "outcome_brier": judged.clear.mean(squares),
            "calibration_error": judged.clear.estimate(off),
        }
    return found


def why_quality(judged: Judged, probabilities: Array) -> dict[str, dict[str, Estimate]]:
    """Precision and recall of each category, where the attempt failed and the likeliest category is told."""
    failed = judged.explained & ~judged.success
    if not failed.any():
        return {}
    true, told = judged.outcome[failed], 1 + probabilities[failed][:, 1:].argmax(axis=1)
    resampler = judged.part(failed).all
    return {
        category: {
            "precision": resampler.estimate(_share(true == o, told == o)),
            "recall": resampler.estimate(_share(told == o, true == o)),
        }
        for o, category in enumerate(CATEGORIES, start=1)
        if (true == o).any()
    }


def _ranked(happened: Array, p: Array) -> Callable[[Array | None], float]:
    """AUC as a figure of weights; sorted once, since every resample would sort again."""
    order = np.argsort(p, kind="stable")
    hits, scores = happened[order], p[order]

    def figure(weights: Array | None) -> float:
        return auc(hits, scores, None if weights is None else weights[order])

    return figure


def _distance(happened: Array, p: Array) -> Callable[[Array | None], float]:
    """Calibration error as a figure of weights; the bins are found once."""
    which = bins_of(p)

    def figure(weights: Array | None) -> float:
        return calibration_error(happened, p, weights, which)

    return figure


def _share(hit: Array, among: Array) -> Callable[[Array | None], float]:
    def figure(weights: Array | None) -> float:
        w = among.astype(float) if weights is None else weights * among
        return float((w * hit).sum() / w.sum()) if w.sum() > 0 else float("nan")

    return figure


def reliability(happened: Array, p: Array, bins: int = 10) -> tuple[Array, Array, Array, Array, Array]:
    """Mean promise, share that came, its Wilson 95 % interval (low, high) and attempts, in bins of equally many attempts."""
    order = np.argsort(p, kind="stable")
    promised, came, low, high, counts = [], [], [], [], []
    for part in np.array_split(order, bins):
        if not len(part):
            continue
        share = wilson(float(happened[part].sum()), len(part))
        counts.append(share.n)
        promised.append(p[part].mean())
        came.append(share.value)
        low.append(share.low)
        high.append(share.high)
    return np.array(promised), np.array(came), np.array(low), np.array(high), np.array(counts)


def compare(judged: Judged, probabilities: Array, others: Array) -> dict[str, Estimate]:
    """Log loss of `probabilities` minus that of `others` on the same attempts, paired; below zero is better."""
    found = {"success_log_loss": judged.all.mean(judged.success_losses(probabilities) - judged.success_losses(others))}
    if (judged.explained & ~judged.success).any():
        found["outcome_log_loss"] = judged.clear.mean(
            judged.outcome_losses(probabilities) - judged.outcome_losses(others)
        )
    return found


def slices_of(table: pd.DataFrame, encoder: Encoder, wanted: Array) -> dict[str, Array]:
    """What each attempt `wanted` (a mask, or positions) is told apart by, for each of SLICED_BY that the table tells of.

    Amounts are put into bands against the usual one in their currency, since money has no other common measure.
    """
    rows = np.flatnonzero(wanted) if wanted.dtype == bool else wanted
    here = table[[name for name in (*SLICED_BY, *_NEEDED) if name in table]].iloc[rows].reset_index(drop=True)
    there = [name for name in SLICED_BY if name in here]
    found = {name: here[name].astype(object).where(here[name].notna(), "(none)").to_numpy() for name in there}
    if "prior_payments" in here:
        first = here["prior_payments"].to_numpy(np.float64, na_value=np.nan)
        found["first_time"] = np.where(np.isnan(first), "unknown", np.where(first == 0, "first time", "returning"))
    amounts = encoder.from_table(here[[name for name in _NEEDED if name in here]])
    against = np.log2(np.maximum(amounts.numbers[:, 0], 1.0) / amounts.reference[:, 0]) - amounts.reference[:, 1]
    bands = np.array(_BANDS, object)[np.searchsorted(_BAND_EDGES, against, side="right").clip(0, len(_BANDS) - 1)]
    found["amount"] = np.where(np.isnan(against), "unknown", bands)
    return found


def by_slice(
    judged: Judged, probabilities: Array, slices: Mapping[str, Array]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """For every value of every slice with 300 attempts or more: size, success share, promised share, log loss, Brier score, AUC.

    `promised_share` and `success_brier` are the values alone of `promised` and `brier`.
    """
    for name, values in slices.items():
        for value in sorted({str(v) for v in values}):
            mask = values == value
            if mask.sum() < SMALLEST_SLICE:
                continue
            mine, told = judged.part(mask), probabilities[mask]
            p, happened = told[:, 0], mine.success
            promised, brier = mine.all.mean(p), mine.all.mean((p - happened) ** 2)
            yield (
                name,
                value,
                {
                    "attempts": int(mask.sum()),
                    "success_share": mine.all.mean(happened.astype(float)),
                    "promised_share": promised.value,
                    "promised": promised,
                    "success_log_loss": mine.all.mean(mine.success_losses(told)),
                    "success_brier": brier.value,
                    "brier": brier,
                    "success_auc": mine.all.estimate(_ranked(happened, p)),
                },
            )
