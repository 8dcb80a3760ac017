"""Rolling-origin backtest: how good models of these settings were, fold by fold, and whether other settings are better.

A difference counts as real only if both say so: the payments, resampled, and the folds, as so many repetitions of the same
change. Payments alone take one lucky week for a gain; folds alone are few.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.folds import Told, rolling_folds, told_by_folds
from training.metrics import Estimate
from training.quality import Judged, quality
from training.settings import TrainSettings
from training.split import Split
from training.spoken import iso, short
from training.train import Prepared

__all__ = [
    "Difference",
    "backtest",
    "compare_folds",
    "figures",
    "fold_difference",
    "losses",
    "told_as_text",
    "verdict",
]

Array = npt.NDArray[Any]
Tell = Callable[[str], None]

_FIGURES = ("success_log_loss", "success_auc", "success_calibration_error", "outcome_log_loss")


@dataclass(frozen=True)
class Difference:
    """A change of the log loss of success, nats per attempt; below zero is better.

    `pooled`: over all payments, resampled. `by_fold`: fold by fold. `folds`: the mean of those with the 95 % interval that
    their spread leaves (Student's t).
    """

    pooled: Estimate
    by_fold: tuple[Estimate, ...]
    folds: Estimate

    @property
    def real(self) -> bool:
        """Whether it is beyond noise, by payments and by folds, and in the same direction."""
        better = self.pooled.high < 0.0 and self.folds.high < 0.0
        return better or (self.pooled.low > 0.0 and self.folds.low > 0.0)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "pooled": self.pooled.as_dict(),
            "folds": self.folds.as_dict(),
            "by_fold": [one.as_dict() for one in self.by_fold],
            "real": self.real,
            "verdict": verdict(self),
        }


def verdict(difference: Difference) -> str:
    """A difference in words."""
    if not difference.real:
        return "no difference beyond noise"
    return "better, beyond noise" if difference.pooled.value < 0.0 else "worse, beyond noise"


def backtest(
    data: Prepared, settings: TrainSettings, tell: Tell = lambda _: None, *, before_test: bool = False
) -> tuple[list[Told], list[Split]]:
    """What each fold's model told, and the folds. With `before_test`, the last slice of time is not looked at."""
    folds = rolling_folds(data, settings, before_test=before_test)
    return list(told_by_folds(data, settings, folds, tell)), folds


def figures(data: Prepared, told: Sequence[Told], folds: Sequence[Split], settings: TrainSettings) -> dict[str, Any]:
    """The figures of each fold and of all together, with intervals and sample sizes; and their spread. For JSON."""
    by_fold: list[dict[str, Any]] = []
    for one, fold in zip(told, folds, strict=True):
        judged = _judged(data, one.rows, settings)
        found = quality(judged, one.probabilities)
        by_fold.append(
            {
                "from": iso(fold.begins[3]),
                "until": iso(int(data.rows.created[one.rows].max())),
                "learnt_from": one.learnt_from,
                "judged_on": len(one.rows),
                **{name: found[name].as_dict() for name in _FIGURES if name in found},
            }
        )
    rows = np.concatenate([one.rows for one in told])
    together = quality(_judged(data, rows, settings), np.concatenate([one.probabilities for one in told]))
    told_of = {name: [fold[name]["value"] for fold in by_fold if name in fold] for name in _FIGURES}
    return {
        "folds": by_fold,
        "gap_hours": settings.gap_hours,
        "all": {name: together[name].as_dict() for name in _FIGURES if name in together},
        "spread": {name: float(np.std(values, ddof=1)) for name, values in told_of.items() if len(values) > 1},
    }


def losses(data: Prepared, told: Told) -> Array:
    """−log P(what happened: success or not) of each row of a fold, nats."""
    p = np.clip(told.probabilities[:, 0], 1e-12, 1.0 - 1e-12)
    found: Array = -np.log(np.where(data.outcome[told.rows] == 0, p, 1.0 - p))
    return found


def compare_folds(data: Prepared, told: Sequence[Told], others: Sequence[Told], settings: TrainSettings) -> Difference:
    """The difference of `told` to `others` on the same attempts, paired. Raises ValueError if they are of other attempts."""
    if any(not np.array_equal(one.rows, other.rows) for one, other in zip(told, others, strict=True)):
        raise ValueError("the folds are of different attempts; want the same folds, gap and maturity for both")
    changes = [losses(data, one) - losses(data, other) for one, other in zip(told, others, strict=True)]
    by_fold = tuple(
        _judged(data, one.rows, settings).all.mean(change) for one, change in zip(told, changes, strict=True)
    )
    rows = np.concatenate([one.rows for one in told])
    pooled = _judged(data, rows, settings).all.mean(np.concatenate(changes))
    return Difference(pooled, by_fold, fold_difference([one.value for one in by_fold]))


def fold_difference(values: Sequence[float]) -> Estimate:
    """The mean of one figure per fold with its 95 % interval by Student's t; `n` is the number of folds.

    >>> found = fold_difference([-0.002, -0.001, -0.003, -0.002])
    >>> round(found.value, 4), round(found.low, 4), round(found.high, 4)
    (-0.002, -0.0033, -0.0007)
    """
    from scipy.stats import t

    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Estimate(mean, -np.inf, np.inf, n)
    half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Estimate(mean, mean - half, mean + half, n)


def _judged(data: Prepared, rows: Array, settings: TrainSettings) -> Judged:
    return Judged(data.outcome[rows], data.payment[rows], resamples=settings.resamples, seed=settings.seed)


def told_as_text(found: Mapping[str, Any]) -> list[str]:
    """The figures of `figures` as lines of a table."""
    lines = [f"{'block':<40}{'learnt from':>12}{'judged on':>11}{'log loss of success':>28}{'AUC of success':>26}"]
    for fold in found["folds"]:
        block = f"{fold['from'][:16]} to {fold['until'][:16]}"
        lines.append(
            f"{block:<40}{fold['learnt_from']:>12,}{fold['judged_on']:>11,}"
            f"{short(fold['success_log_loss']):>28}{short(fold['success_auc']):>26}"
        )
    everything = found["all"]
    lines.append(
        f"{'all':<40}{'':>12}{everything['success_log_loss']['n']:>11,}"
        f"{short(everything['success_log_loss']):>28}{short(everything['success_auc']):>26}"
    )
    spread = found["spread"].get("success_log_loss")
    if spread is not None:
        lines.append(f"log loss differs from fold to fold by {spread:.4f} (standard deviation)")
    return lines
