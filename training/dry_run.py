"""What a training would do, told before it is done: rows, window, split, features, labels, and how long it would take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.columns import columns
from features.own import all_features
from training.fit import Recipe, fit_head, usable_columns
from training.labels import label_report
from training.settings import TrainSettings
from training.split import SLICES, split_by_time
from training.spoken import iso
from training.train import prepare, without_features

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_text", "foreseen"]

Array = npt.NDArray[Any]

_PROBE_ROUNDS = 20
_MOST_PROBED = 200_000  # latest attempts, where a training would not hold all features in memory
_USUAL_ROUNDS = 400  # of a head; early stopping decides
_HEADS = 5.5  # success, four stages, and reasons, which are fewer
_BETWEEN = (0.5, 2.5)  # what trainings took, as multiples of what was foreseen so (see ARCHITECTURE.md)


def foreseen(
    table: pd.DataFrame, settings: TrainSettings, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """What `train` would do with a checked table; for JSON. A probe of a few trees is fitted, and thrown away.

    Of more attempts than `stream_above_rows`, features are made of the latest alone, and times told by those.
    """
    own, mature = settings.own, settings.mature_minutes
    began = time.perf_counter()
    if len(table) <= settings.stream_above_rows:
        data = probe = prepare(table, own=own, mature_minutes=mature)
    else:
        data = without_features(table, own=own, mature_minutes=mature)
        began = time.perf_counter()
        probe = prepare(data.table.tail(_MOST_PROBED), data.encoder, mature_minutes=mature)
    prepared_s = (time.perf_counter() - began) * len(data.rows) / len(probe.rows)
    tell(f"features of {len(probe.rows):,} attempts; a probe of {_PROBE_ROUNDS} trees")
    shares = (settings.stop_share, settings.calibrate_share, settings.test_share)
    split = split_by_time(data.payment, data.rows.created, data.known_at, shares)
    known = data.outcome >= 0
    ends = [*split.begins[1:], int(data.rows.created.max())]
    fit = split["fit"] & known
    created = data.rows.created[fit]
    span = float(created.max() - created.min()) if len(created) else 0.0
    probed = fit if probe is data else probe.outcome >= 0
    used, absent = _features(probe.matrix[probed], span, settings)
    grown_s = _seconds(probe.matrix[probed], probe.outcome[probed], used, settings) * fit.sum() / max(probed.sum(), 1)
    seconds = prepared_s + grown_s * (2.5 if len(table) < settings.refit_below_rows else 1.0)
    labels = label_report(data.table, data.rows, settings.mature_minutes)
    return {
        "attempts": len(table),
        "payments": int(data.payment.max()) + 1,
        "window": [iso(int(data.rows.created.min())), iso(int(data.rows.created.max()))],
        "with_outcome": int(known.sum()),
        "slices": {
            name: {
                "from": iso(split.begins[place]), "until": iso(ends[place]),
                "attempts": int((split[name] & known).sum()),
                "succeeded": float((data.outcome[split[name] & known] == 0).mean()) if (split[name] & known).any() else None,
            }
            for place, name in enumerate(SLICES)
        },
        "left_out_at_borders": split.purged,
        "features": [all_features(settings.own)[place].name for place in used],
        "absent": absent,
        "features_of": len(probe.rows),
        "columns_absent": [name for name in columns() if name not in table],
        "own_columns": [column.name for column in settings.own],
        "chosen_by_cross_validation": len(table) < settings.select_below_rows,
        "fitted_again_on_all": len(table) < settings.refit_below_rows,
        "labels": labels,
        "seconds": [seconds * by for by in _BETWEEN],
    }  # fmt: skip


def _features(matrix: Array, span: float, settings: TrainSettings) -> tuple[tuple[int, ...], dict[str, str]]:
    """Positions of the features that a head may use over a `span` of time (microseconds), and why the others are not used."""
    used = usable_columns(matrix, span, settings.own, settings.left_out)
    days = span / 86_400e6
    absent = {}
    for place, feature in enumerate(all_features(settings.own)):
        if place in used:
            continue
        if feature.name in settings.left_out:
            why = "left out by the settings"
        elif np.isnan(matrix[:, place]).all():
            why = "no attempt has it"
        elif feature.cycle_days * 2 > days:
            why = f"needs {feature.cycle_days * 2:g} days of attempts; there are {days:.1f}"
        else:
            why = "never varies, or says what another says"
        absent[feature.name] = why
    return used, absent


def _seconds(matrix: Array, outcome: Array, used: tuple[int, ...], settings: TrainSettings) -> float:
    """How long fitting once would take, from the time of a few trees on the same rows."""
    answer = (outcome != 0).astype(int)
    if not used or len(answer) < 2:
        return 0.0
    times = []
    for rounds in (1, _PROBE_ROUNDS):
        began = time.perf_counter()
        fit_head(matrix, answer, ("success", "failure"), Recipe(used), settings, rounds=rounds)
        times.append(time.perf_counter() - began)
    a_tree = max(0.0, times[1] - times[0]) / (_PROBE_ROUNDS - 1)
    return (times[0] + a_tree * min(_USUAL_ROUNDS, settings.max_rounds)) * _HEADS


def as_text(found: Mapping[str, Any], settings: TrainSettings) -> list[str]:
    """What was foreseen, as lines."""
    lines = [
        f"attempts: {found['attempts']:,} of {found['payments']:,} payments, {found['window'][0]} to {found['window'][1]}",
        (
            f"outcomes: {found['with_outcome']:,} final; {found['labels']['pending']:,} pending; "
            f"{found['labels']['unclassified']:,} of {found['labels']['failures']:,} failures unclassified"
        ),
        "slices of time:",
    ]
    for name, one in found["slices"].items():
        share = f"{one['succeeded']:.1%} succeeded" if one["succeeded"] is not None else "none"
        lines.append(f"  {name:<10}{one['from']} to {one['until']}{one['attempts']:>12,} attempts, {share}")
    lines.append(f"  {found['left_out_at_borders']:,} attempts left out: their payment reaches over a border")
    of = f", by the latest {found['features_of']:,} attempts" if found["features_of"] < found["attempts"] else ""
    lines.append(f"features: {len(found['features'])} used, {len(found['absent'])} not{of}")
    by_why: dict[str, list[str]] = {}
    for name, why in found["absent"].items():
        by_why.setdefault(why, []).append(name)
    lines += [f"  {why}: {', '.join(names)}" for why, names in by_why.items()]
    if found["columns_absent"]:
        lines.append(f"columns that the data has not: {', '.join(found['columns_absent'])}")
    lines += [f"own column: {one.name} ({one.label}, {one.unit}, {one.group}, {one.kind})" for one in settings.own]
    if found["chosen_by_cross_validation"]:
        lines.append(
            "the table is small: features and kind of tree would be chosen by cross-validation, which takes longer"
        )
    lines += [f"!! {warning}" for warning in found["labels"]["warnings"]]
    low, high = found["seconds"]
    lines.append(
        f"expected time: {_spoken(low)} to {_spoken(high)}, by a probe of {_PROBE_ROUNDS} trees on this machine now"
    )
    return lines


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
