"""Drivers as a page: what goes with each kind of failure, how stable that is, and the test that would prove it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from insights.charts import Chart, bars
from insights.drivers import CategoryDrivers, Driver, Drivers
from insights.measure import Measure
from insights.texts import Text

__all__ = ["drivers_page", "drivers_rows"]

_MOST_CURVES = 8
_LEADING = 3


@cache
def _tests() -> Mapping[str, Mapping[str, str]]:
    told: dict[str, dict[str, str]] = json.loads(files("insights").joinpath("driver_tests.json").read_text("utf-8"))
    return told


def drivers_page(found: Drivers | None, why_none: str, t: Text) -> dict[str, Any]:
    """What the template `drivers.html` shows. `why_none`: what is missing where there are no drivers, a key of the texts."""
    if found is None:
        return {"found": None, "lack": t(f"lack.{why_none}"), "fill": t(f"lack.{why_none}_fill"), "kinds": []}
    return {
        "found": found,
        "sampled": t(
            "drivers.sampled",
            n=t.number(found.attempts),
            of=t.number(found.of),
            seen=t("drivers.unseen" if found.unseen else "drivers.seen"),
        ),
        "folds": [
            f"{fold.since[:16].replace('T', ' ')} – {fold.until[:16].replace('T', ' ')} (n = {t.number(fold.attempts)})"
            for fold in found.folds
        ],
        "kinds": [_kind(one, t) for one in found.categories],
    }


def drivers_rows(found: Drivers | None) -> list[dict[str, Any]]:
    """Rows of drivers.csv: each driver of each kind of failure."""
    return [
        {
            "category": kind.category,
            "feature": one.feature,
            "label": one.label,
            "unit": one.unit,
            "group": one.group,
            "actionable": one.actionable,
            **{f"shap_{name}": getattr(one.shap, name) for name in ("value", "low", "high")},
            **{f"permutation_{name}": getattr(one.permutation, name) for name in ("value", "low", "high")},
            "stable": one.stable,
            "disagree": one.disagree,
            "test": one.test,
            "n": one.shap.n,
        }
        for kind in (found.categories if found is not None else ())
        for one in kind.drivers
    ]


def _kind(one: CategoryDrivers, t: Text) -> dict[str, Any]:
    curved = [driver for driver in one.drivers if driver.curve][:_MOST_CURVES]
    return {
        "category": one.category,
        "title": t.name(one.category),
        "rate": t("drivers.rate", rate=_share(one.rate, t), n=t.number(one.rate.n), failures=t.number(one.failures)),
        "groups": _groups(one, t),
        "actionable": _compared(one, [d for d in one.drivers if d.actionable], "actionable", t),
        "context": _compared(one, [d for d in one.drivers if not d.actionable], "context", t),
        "disagree": [_disagreement(driver, t) for driver in one.drivers if driver.disagree],
        "tests": [
            (t.feature(driver.feature, driver.label), _tests()[driver.test][t.language])
            for driver in one.drivers
            if driver.actionable and driver.test in _tests()
        ],
        "curves": [
            (driver.feature, t.feature(driver.feature, driver.label), _curve(one, driver, t)) for driver in curved
        ],
        "segments": _segments(one, t) if one.segments else None,
    }


def _share(measure: Measure, t: Text) -> str:
    return f"{t.percent(measure.value)} {t.interval(measure.low, measure.high)}"


def _bars(labels: Sequence[str], measures: Sequence[Measure], name: str, colour: str, t: Text) -> dict[str, Any]:
    return bars(
        labels, [m.value for m in measures], [m.low for m in measures], [m.high for m in measures], name, colour,
        [f"{label.partition('<br>')[0]}<br>{name}: {_share(m, t)}" for label, m in zip(labels, measures, strict=True)],
    )  # fmt: skip


def _groups(one: CategoryDrivers, t: Text) -> Chart:
    labels = [f"{t(f'group.{group.group}')}<br>n = {t.number(group.shap.n)}" for group in one.groups]
    return Chart(
        id=f"groups-{one.category}",
        title=t("drivers.groups", category=t.name(one.category)),
        summary=t(
            "drivers.groups_summary",
            parts=", ".join(f"{t(f'group.{g.group}')} {_share(g.shap, t)}" for g in one.groups[:_LEADING]),
        ),
        traces=[_bars(labels, [group.shap for group in one.groups], t("table.share"), f"--{one.category}", t)],
        columns=[t("drivers.group"), t("table.share"), t("table.low"), t("table.high"), t("drivers.stable"), t("table.n")],
        kinds="tssstn",
        rows=[
            [t(f"group.{g.group}"), g.shap.value, g.shap.low, g.shap.high, t(f"drivers.stable_{_yes(g.stable)}"), g.shap.n]
            for g in one.groups
        ],
        layout={"xaxis": {"tickformat": ".0%"}, "yaxis": {"autorange": "reversed"}, "showlegend": False},
        note=t("drivers.groups_note"),
        height=60 + 40 * len(one.groups),
    )  # fmt: skip


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _compared(one: CategoryDrivers, drivers: Sequence[Driver], kind: str, t: Text) -> Chart | None:
    if not drivers:
        return None
    names = [t.feature(driver.feature, driver.label) for driver in drivers]
    labels = [f"{name}<br>n = {t.number(d.shap.n)}" for name, d in zip(names, drivers, strict=True)]
    return Chart(
        id=f"{kind}-{one.category}",
        title=t(f"drivers.{kind}", category=t.name(one.category)),
        summary=t(
            "drivers.compared_summary",
            parts=", ".join(f"{n} {_share(d.shap, t)}" for n, d in zip(names[:_LEADING], drivers, strict=False)),
        ),
        traces=[
            _bars(labels, [driver.shap for driver in drivers], t("drivers.shap"), f"--{one.category}", t),
            _bars(labels, [driver.permutation for driver in drivers], t("drivers.permutation"), "--neutral", t),
        ],
        columns=[
            t("drivers.driver"), t("drivers.unit"), t("drivers.group"), t("drivers.shap"), t("table.low"), t("table.high"),
            t("drivers.permutation"), t("table.low"), t("table.high"), t("drivers.stable"), t("table.n"),
        ],
        kinds="tttsssssstn",
        rows=[
            [
                name, t.unit(driver.unit), t(f"group.{driver.group}"), driver.shap.value, driver.shap.low, driver.shap.high,
                driver.permutation.value, driver.permutation.low, driver.permutation.high,
                t(f"drivers.stable_{_yes(driver.stable)}"), driver.shap.n,
            ]
            for name, driver in zip(names, drivers, strict=True)
        ],
        layout={
            "barmode": "group", "xaxis": {"tickformat": ".0%"}, "yaxis": {"autorange": "reversed"}, "margin": {"t": 40},
            "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        },
        note=t("drivers.compared_note"),
        height=100 + 48 * len(drivers),
    )  # fmt: skip


def _disagreement(driver: Driver, t: Text) -> str:
    return t(
        "drivers.disagree",
        name=t.feature(driver.feature, driver.label),
        shap=_share(driver.shap, t),
        permutation=_share(driver.permutation, t),
    )


def _curve(one: CategoryDrivers, driver: Driver, t: Text) -> Chart:
    name = t.feature(driver.feature, driver.label)
    labels = [t("value.(missing)") if b.label is None else b.label for b in driver.curve]
    traces: list[dict[str, Any]] = [
        {
            "type": "bar", "x": labels, "y": [b.share for b in driver.curve], "name": t("drivers.density"),
            "marker": {"color": "--grid"}, "text": [f"{t.percent(b.share)}" for b in driver.curve], "textposition": "none",
            "hoverinfo": "text",
        },
        {
            "type": "scatter", "mode": "lines+markers" if driver.unit != "category" else "markers", "x": labels,
            "y": [b.effect.value for b in driver.curve], "name": t("drivers.effect"), "yaxis": "y2",
            "line": {"color": f"--{one.category}"}, "marker": {"color": f"--{one.category}", "size": 8},
            "error_y": {
                "type": "data", "symmetric": False, "array": [b.effect.high - b.effect.value for b in driver.curve],
                "arrayminus": [b.effect.value - b.effect.low for b in driver.curve], "color": "--text", "thickness": 1.2,
            },
            "text": [
                f"{label}: {b.effect.value:+.2f} ({b.effect.low:+.2f}, {b.effect.high:+.2f})"
                for label, b in zip(labels, driver.curve, strict=True)
            ],
            "hoverinfo": "text",
        },
    ]  # fmt: skip
    return Chart(
        id=f"curve-{one.category}-{driver.feature}",
        title=t("drivers.curve", name=name, unit=t.unit(driver.unit), category=t.name(one.category)),
        summary=t("drivers.curve_summary", name=name, n=len(driver.curve)),
        traces=traces,
        columns=[
            f"{name} ({t.unit(driver.unit)})", t("drivers.density"), t("drivers.observed"), t("table.low"), t("table.high"),
            t("drivers.effect"), t("table.low"), t("table.high"), t("table.n"),
        ],
        kinds="tssssfffn",
        rows=[
            [
                label, b.share, b.observed.value, b.observed.low, b.observed.high, b.effect.value, b.effect.low,
                b.effect.high, b.observed.n,
            ]
            for label, b in zip(labels, driver.curve, strict=True)
        ],
        layout={
            "xaxis": {"type": "category"},
            "yaxis": {
                "side": "right", "tickformat": ".0%", "range": [0, 3 * max(b.share for b in driver.curve)], "showgrid": False,
            },
            "yaxis2": {
                "overlaying": "y", "side": "left", "zeroline": True, "zerolinecolor": "--soft", "gridcolor": "--grid",
                "automargin": True, "fixedrange": True, "title": {"text": t("drivers.effect_axis")},
            },
            "margin": {"t": 40}, "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        },
        note=t("drivers.curve_note"),
        height=360,
    )  # fmt: skip


def _segments(one: CategoryDrivers, t: Text) -> dict[str, Any]:
    labels = {driver.feature: driver.label for driver in one.drivers}
    return {
        "title": t("drivers.segments", category=t.name(one.category)),
        "rows": [
            {
                "group": f"{t.segment(segment.column)}: {t.name(segment.value)}",
                "n": t.number(segment.attempts),
                "rate": _share(segment.rate, t),
                "leading": [
                    f"{t.feature(name, labels.get(name, name.replace('_', ' ')))} {_share(share, t)}"
                    for name, share in segment.shares[:_LEADING]
                ],
                "differs": segment.differs,
            }
            for segment in one.segments
        ],
    }
