"""Pictures of a training, each answering one question that its title asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt

from features.columns import CATEGORIES, OUTCOMES
from features.own import OwnColumn, all_features
from models.heads import STAGES
from training.drawing import ACCENT as _ACCENT
from training.drawing import INK as _INK
from training.drawing import SOFT as _SOFT
from training.drawing import draw_labels, save_picture
from training.quality import Judged, reliability
from training.train import Trained

__all__ = ["pictures"]

Array = npt.NDArray[Any]

_COLOURS = dict(zip(OUTCOMES, ("#3a7d44", "#c8553d", "#2f6f8f", "#e09f3e", "#7b6d8d"), strict=True))


def pictures(trained: Trained, folder: Path) -> dict[str, Path]:
    """Draw calibration, confusion, importance, learning curves and how labels mature into `folder`; where each is, by name."""
    draw: dict[str, Callable[[], Any]] = {
        "calibration": lambda: _calibration(trained.judged, trained.told),
        "confusion": lambda: _confusion(trained.judged, trained.told),
        "importance": lambda: _importance(trained.report["importances"], trained.artefact.encoder.own),
        "learning_curve": lambda: _learning_curves(trained.curves),
        "labels": lambda: draw_labels(trained.report["labels"]),
    }
    paths = {name: folder / f"{name}.png" for name in draw}
    return {name: path for name, path in paths.items() if save_picture(draw[name], path)}


def _calibration(judged: Judged, told: Array) -> Any:
    import matplotlib.pyplot as plt

    clear = judged.explained
    shown = [(0, judged.success, told[:, 0])]
    if (judged.outcome[clear] > 0).any():
        shown += [(o, judged.outcome[clear] == o, told[clear, o]) for o in range(1, 5)]
    figure, axes = plt.subplots(1, len(shown), figsize=(3.1 * len(shown) + 0.4, 3.2), squeeze=False)
    for axis, (o, happened, p) in zip(axes[0], shown, strict=True):
        promised, came, low, high, _ = reliability(happened, p)
        top = max(promised.max(), high.max()) * 1.05
        bottom = min(promised.min(), low.min()) * 0.95
        axis.plot([bottom, top], [bottom, top], color=_SOFT, lw=1, ls="--")
        axis.errorbar(promised, came, yerr=[came - low, high - came], fmt="o", ms=4, lw=1, color=_COLOURS[OUTCOMES[o]])
        axis.set_title(OUTCOMES[o].replace("_", " "), fontsize=10)
        axis.set_xlabel("predicted share")
    axes[0][0].set_ylabel("share that came, 95 % interval")
    figure.suptitle(
        f"Does what is predicted come? On the dashed line it does ({len(told):,} attempts held out)",
        x=0.01, ha="left", fontweight="bold",
    )  # fmt: skip
    figure.tight_layout()
    return figure


def _confusion(judged: Judged, told: Array) -> Any:
    import matplotlib.pyplot as plt

    failed = judged.explained & ~judged.success
    if not failed.any():
        return None
    true, guess = judged.outcome[failed] - 1, told[failed][:, 1:].argmax(axis=1)
    counts = np.zeros((4, 4), int)
    np.add.at(counts, (true, guess), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [name.replace("_", "\n") for name in CATEGORIES]
    figure, axis = plt.subplots(figsize=(5.2, 4.4))
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i in range(4):
        for j in range(4):
            ink = "white" if shares[i, j] > 0.55 else _INK
            axis.text(j, i, f"{shares[i, j]:.0%}\n{counts[i, j]:,}", ha="center", va="center", color=ink, fontsize=9)
    axis.set_xticks(range(4), names, fontsize=8)
    axis.set_yticks(range(4), names, fontsize=8)
    axis.set_xlabel("likeliest category, told before the attempt")
    axis.set_ylabel("what it was")
    axis.set_title(f"When it fails, is the category foreseen?\n({int(failed.sum()):,} failures held out)")
    return figure


_FALLS = {
    "technical": "What something breaking goes with",
    "user_abandonment": "What giving up goes with",
    "authentication": "What failed authentication goes with",
    "bank_decline": "What the bank's decline goes with",
}


def _importance(importances: Mapping[str, Mapping[str, float]], own: tuple[OwnColumn, ...] = ()) -> Any:
    """The features of each stage's trees; of the success head's where no stage has a head."""
    import matplotlib.pyplot as plt

    known = {feature.name: feature for feature in all_features(own)}
    titles = {name: _FALLS[name] for name in STAGES if name in importances} or {"success": "What success goes with"}
    wide = min(2, len(titles))
    figure, axes = plt.subplots(
        -(-len(titles) // wide), wide, figsize=(7.0 * wide, 4.4 * -(-len(titles) // wide)), squeeze=False
    )
    for axis, (head, title) in zip(axes.flat, titles.items(), strict=True):
        top = list(importances[head].items())[:10][::-1]
        colours = [_ACCENT if known[name].actionable else _SOFT for name, _ in top]
        labels = [fill(known[name].label, 44) for name, _ in top]
        axis.barh(labels, [100 * share for _, share in top], color=colours)
        axis.set_xlabel("share of the trees' gain, %")
        axis.set_title(title)
        axis.tick_params(axis="y", labelsize=8)
    figure.text(0.01, -0.02, "Blue: someone can act on it. Grey: context. An association, not yet a cause.", fontsize=9)
    figure.tight_layout()
    return figure


def _learning_curves(curves: Mapping[str, tuple[float, ...]]) -> Any:
    import matplotlib.pyplot as plt

    drawn = {name: curve for name, curve in curves.items() if curve}
    if not drawn:
        return None
    wide = min(3, len(drawn))
    high = -(-len(drawn) // wide)
    figure, axes = plt.subplots(high, wide, figsize=(4.2 * wide, 3.2 * high), squeeze=False)
    for axis in axes.flat[len(drawn) :]:
        axis.remove()
    for axis, (name, curve) in zip(axes.flat, drawn.items(), strict=False):
        best = int(np.argmin(curve))
        axis.plot(np.arange(1, len(curve) + 1), curve, color=_ACCENT, lw=1.5)
        axis.axvline(best + 1, color=_SOFT, lw=1, ls="--")
        axis.set_title(f"{name.replace('_', ' ')} head: {best + 1} trees", fontsize=10)
        axis.set_xlabel("trees")
    for row in axes:
        row[0].set_ylabel("log loss on the stop slice, nats")
    figure.suptitle("When do more trees stop helping?", x=0.01, ha="left", fontweight="bold")
    figure.tight_layout()
    return figure
