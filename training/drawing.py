"""How pictures look, and those of labels, folds and trials; each answers one question that its title asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

__all__ = [
    "ACCENT",
    "INK",
    "SOFT",
    "draw_ablation",
    "draw_folds",
    "draw_labels",
    "draw_trials",
    "save_picture",
]

INK, SOFT, ACCENT = "#1f2933", "#9aa5b1", "#2f6f8f"
_OTHER = "#c8553d"
_STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "figure.dpi": 120,
}


def save_picture(draw: Callable[[], Any], path: Path) -> bool:
    """Draw a figure in our style and save it, and say so; nothing where there is nothing to draw."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        figure = draw()
        if figure is not None:
            figure.savefig(path, bbox_inches="tight")
            plt.close(figure)
    return figure is not None


def draw_labels(labels: Mapping[str, Any]) -> Any:
    """How the share that is resolved, and the share of those that failed, move with the time since the attempt."""
    import matplotlib.pyplot as plt

    moving = [row for row in labels["moving"] if row["failed"] is not None]
    if len(moving) < 2:
        return None
    names = [f"{row['delay']}\n({row['attempts']:,})" for row in moving]
    places = range(len(moving))
    figure, axes = plt.subplots(1, 2, figsize=(11.0, 3.4))
    axes[0].plot(places, [100 * row["resolved"] for row in moving], color=ACCENT, marker="o", ms=4)
    axes[0].set_ylim(0, 103)
    axes[0].set_ylabel("% of attempts with an outcome")
    failed = [100 * row["failed"] for row in moving]
    low = [100 * (row["failed"] - row["low"]) for row in moving]
    high = [100 * (row["high"] - row["failed"]) for row in moving]
    axes[1].errorbar(places, failed, yerr=[low, high], color=ACCENT, marker="o", ms=4, lw=1)
    axes[1].set_ylabel("% of those that failed, 95 % interval")
    for axis in axes:
        axis.set_xticks(list(places), names, fontsize=7)
        axis.set_xlabel("time since the attempt (attempts that old)")
    figure.suptitle("When do outcomes become known, and do failures come later?", x=0.01, ha="left", fontweight="bold")
    figure.tight_layout()
    return figure


def draw_folds(found: Mapping[str, Any], against: Mapping[str, Any] | None = None) -> Any:
    """Log loss of success and AUC of each block of time; with `against`, also the paired difference."""
    import matplotlib.pyplot as plt

    folds = found["folds"]
    names = [fold["from"][5:10] for fold in folds]
    panels = [("success_log_loss", "log loss of success, nats"), ("success_auc", "AUC of success")]
    figure, axes = plt.subplots(1, 3 if against else 2, figsize=(4.2 * (3 if against else 2), 3.4))
    for axis, (figure_name, label) in zip(axes, panels, strict=False):
        _intervals(axis, [fold[figure_name] for fold in folds], names, ACCENT)
        whole = found["all"][figure_name]["value"]
        axis.axhline(whole, color=SOFT, lw=1, ls="--")
        axis.set_ylabel(f"{label}, 95 % interval")
    if against:
        _intervals(
            axes[2], [*against["by_fold"], against["pooled"], against["folds"]], [*names, "all", "folds"], _OTHER
        )
        axes[2].axhline(0.0, color=INK, lw=1)
        axes[2].set_ylabel("change of log loss; below zero is better")
    for axis in axes:
        axis.set_xlabel("block of time, by its first day")
    title = "How good is it, block after block of time? Dashed: all blocks"
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    figure.tight_layout()
    return figure


def _intervals(axis: Any, estimates: Sequence[Mapping[str, float]], names: Sequence[str], colour: str) -> None:
    values = [one["value"] for one in estimates]
    below = [one["value"] - one["low"] for one in estimates]
    above = [one["high"] - one["value"] for one in estimates]
    axis.errorbar(range(len(values)), values, yerr=[below, above], fmt="o", ms=5, lw=1.2, color=colour)
    axis.set_xticks(range(len(values)), names, fontsize=8)


def draw_ablation(rows: Sequence[Mapping[str, Any]]) -> Any:
    """What leaving out each group of features costs, with intervals by payments and by folds."""
    import matplotlib.pyplot as plt

    if not rows:
        return None
    shown = list(reversed(rows))
    figure, axis = plt.subplots(figsize=(7.6, 0.42 * len(shown) + 1.6))
    for place, row in enumerate(shown):
        for way, colour, shift in (("pooled", ACCENT, 0.12), ("folds", SOFT, -0.12)):
            one = row["difference"][way]
            axis.plot([one["low"], one["high"]], [place + shift] * 2, color=colour, lw=1.6)
            axis.plot([one["value"]], [place + shift], "o", ms=5, color=colour)
    axis.axvline(0.0, color=INK, lw=1)
    labels = [fill(f"{row['group']} ({row['features']} features)", 40) for row in shown]
    axis.set_yticks(range(len(shown)), labels, fontsize=9)
    axis.set_xlabel(
        "change of log loss of success when left out, nats; above zero: it is missed\n"
        "95 % intervals: blue by payments, grey by the spread of the folds"
    )
    axis.set_title("Which groups of features are missed?")
    return figure


def draw_trials(trials: Sequence[Mapping[str, Any]]) -> Any:
    """The score of each trial that was finished, and the best so far."""
    import matplotlib.pyplot as plt

    done = [trial for trial in trials if trial["state"] == "complete"]
    if not done:
        return None
    best: list[float] = []
    for trial in done:
        best.append(min([trial["value"], *best[-1:]]))
    figure, axis = plt.subplots(figsize=(7.0, 3.6))
    numbers = [trial["number"] for trial in done]
    axis.plot(numbers, [trial["value"] for trial in done], "o", ms=5, color=SOFT)
    axis.step(numbers, best, where="post", color=ACCENT)
    axis.axhline(done[0]["value"], color=INK, lw=1, ls="--")
    axis.set_xlabel("trial; dashed: the settings that it began with")
    axis.set_ylabel("mean log loss over the folds, nats")
    axis.set_title("Did the search find better settings?")
    axis.xaxis.get_major_locator().set_params(integer=True)
    return figure
