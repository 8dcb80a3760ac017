"""Ablation: what each group of features is worth, told by models that go without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from features.definitions import GROUPS
from features.own import all_features
from training.backtest import backtest, compare_folds
from training.settings import TrainSettings
from training.train import Prepared

__all__ = ["ablate", "groups_of"]

Tell = Callable[[str], None]


def groups_of(settings: TrainSettings) -> tuple[str, ...]:
    """The groups of which some feature is used."""
    used = {feature.group for feature in all_features(settings.own) if feature.name not in settings.left_out}
    return tuple(group for group in GROUPS if group in used)


def ablate(
    data: Prepared,
    settings: TrainSettings,
    groups: Sequence[str],
    tell: Tell = lambda _: None,
    far: Callable[[float], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """The change of the log loss of success without each group, paired on the same folds; what is missed most comes first.

    The last slice of time is not looked at: what is left out by this may then be judged there.
    """
    whole, _ = backtest(data, settings, before_test=True)
    far(1 / (1 + len(groups)))
    found = []
    for done, group in enumerate(groups, start=2):
        names = [feature.name for feature in all_features(settings.own) if feature.group == group]
        without = replace(settings, leave_out=",".join(filter(None, [settings.leave_out, f"group:{group}"])))
        told, _ = backtest(data, without, before_test=True)
        difference = compare_folds(data, told, whole, settings)
        tell(f"without {group}: log loss {difference.pooled}")
        far(done / (1 + len(groups)))
        used = [name for name in names if name not in settings.left_out]
        found.append(
            {
                "group": group,
                "features": len(used),
                "names": used,
                "difference": difference.as_dict(),
                "verdict": _said(difference.real, difference.pooled.value),
            }
        )
    return sorted(found, key=lambda row: -row["difference"]["pooled"]["value"])


def _said(real: bool, value: float) -> str:
    if not real:
        return "not missed, beyond noise"
    return "missed" if value > 0.0 else "better without"
