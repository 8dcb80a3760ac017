"""The Overview as a page: its figures in words, charts and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from insights.charts import Chart, bars, lines, stamp
from insights.movement import Movement, Periods
from insights.overview import Funnel, Overview, Success
from insights.settings import Mark
from insights.texts import Text

__all__ = ["overview_page"]

_MARK_COLOURS = {"release": "--mark-release", "experiment": "--mark-experiment", "outage": "--mark-outage"}
_MOST_BARS = 10


def overview_page(found: Overview, t: Text) -> dict[str, Any]:
    """What the template `overview.html` shows."""
    chosen = "payment" if "payment" in found.successes else next(iter(found.successes), None)
    return {
        "found": found,
        "chosen": chosen,
        "tiles": [_tile(success, t) for success in found.successes.values()],
        "missing": [name for name in ("attempt", "payment", "first_time") if name not in found.successes],
        "views": {name: _view(found, success, t) for name, success in found.successes.items()},
        "marks": [_mark_row(mark, t) for mark in found.marks],
        "segments": list(dict.fromkeys(segment for success in found.successes.values() for segment in success.moved)),
    }


def _tile(success: Success, t: Text) -> dict[str, Any]:
    rate, target = success.rate, success.target
    met = None if target is None else "met" if rate.low >= target else "missed" if rate.high < target else "open"
    return {
        "definition": success.definition,
        "value": t.percent(rate.value),
        "interval": t.interval(rate.low, rate.high),
        "n": t(f"unit.{success.definition}", n=t.number(rate.n)),
        "target": None if target is None else t("overview.target", target=t.percent(target)),
        "met": None if met is None else t(f"overview.target_{met}", gap=t.points(rate.value - (target or 0.0))),
        "state": met,
    }


def _view(found: Overview, success: Success, t: Text) -> dict[str, Any]:
    return {
        "series": _series(success, found.marks, t),
        "funnel": _funnel(success.definition, success.funnel, t),
        "rescued": None if success.funnel.rescued is None else t.rate(success.funnel.rescued),
        "moved": {name: _moved(success.definition, one, found.periods, t) for name, one in success.moved.items()},
    }


def _series(success: Success, marks: tuple[Mark, ...], t: Text) -> Chart:
    x = [stamp(at) for at in success.series.at]
    rates = success.series.rates
    hover = [
        f"{when}<br>{t.rate(rate)}<br>{t(f'unit.{success.definition}', n=t.number(rate.n))}"
        for when, rate in zip(x, rates, strict=True)
    ]
    name = t(f"definition.{success.definition}")
    traces = lines(x, [r.value for r in rates], [r.low for r in rates], [r.high for r in rates], name, "--ok", hover)
    shapes, notes = _marked(marks)
    if success.target is not None:
        shapes.append(
            {
                "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": success.target, "y1": success.target,
                "line": {"color": "--text", "width": 1.5, "dash": "dash"},
            }
        )  # fmt: skip
        notes.append(
            {
                "xref": "paper", "x": 0, "y": success.target, "yanchor": "bottom", "xanchor": "left", "showarrow": False,
                "text": t("overview.target", target=t.percent(success.target)),
            }
        )  # fmt: skip
    return Chart(
        id=f"series-{success.definition}",
        title=t("overview.series", step=t(f"step.{success.series.step}"), what=name),
        summary=t("overview.series_summary", what=name, rate=t.rate(success.rate), steps=t.number(len(rates))),
        traces=traces,
        columns=[t(f"step.{success.series.step}"), name, t("table.low"), t("table.high"), t("table.n")],
        kinds="tsssn",
        rows=[[when, r.value, r.low, r.high, r.n] for when, r in zip(x, rates, strict=True)],
        layout={
            "shapes": shapes,
            "annotations": notes,
            "showlegend": False,
            "yaxis": {"tickformat": ".0%"},
            "xaxis": {"type": "date"},
            "margin": {"t": 64 if marks else 16},
        },
        height=380,
        note=t("overview.series_note"),
    )


def _marked(marks: tuple[Mark, ...]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Lines and bands for what happened, numbered as in the list beneath the chart."""
    shapes: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    for number, mark in enumerate(marks, 1):
        colour = _MARK_COLOURS[mark.kind]
        common = {"yref": "paper", "y0": 0, "y1": 1, "x0": stamp(mark.at), "layer": "below"}
        if mark.until is None:
            shapes.append({**common, "type": "line", "x1": stamp(mark.at), "line": {"color": colour, "width": 2}})
        else:
            shapes.append(
                {
                    **common, "type": "rect", "x1": stamp(mark.until), "fillcolor": colour, "opacity": 0.25,
                    "line": {"width": 1, "color": colour},
                }
            )  # fmt: skip
        notes.append(
            {
                "x": stamp(mark.at), "y": 1.0 + 0.055 * ((number - 1) % 3), "yref": "paper", "yanchor": "bottom",
                "showarrow": False, "text": str(number), "font": {"size": 11, "color": colour},
            }
        )  # fmt: skip
    return shapes, notes


def _mark_row(mark: Mark, t: Text) -> dict[str, str]:
    return {
        "kind": t(f"mark.{mark.kind}"),
        "label": mark.label,
        "at": t.moment(mark.at),
        "until": "" if mark.until is None else t.moment(mark.until),
        "how": t("mark.detected") if mark.detected else t("mark.told"),
    }


def _funnel(definition: str, funnel: Funnel, t: Text) -> Chart:
    names = [t("funnel.all"), *(t(f"funnel.{lost.cause}") for lost in funnel.lost)]
    left = [1.0, *((lost.reached - lost.lost) / funnel.n for lost in funnel.lost)]
    gone = [0.0, *(lost.share.value for lost in funnel.lost)]
    labels = [
        f"{names[0]}<br>n = {t.number(funnel.n)}",
        *(
            f"{name}<br>−{t.rate(lost.share)}, n = {t.number(lost.lost)}"
            for name, lost in zip(names[1:], funnel.lost, strict=True)
        ),
    ]
    hover = [
        t(f"unit.{definition}", n=t.number(funnel.n)),
        *(
            f"{t.name(lost.cause)}: {t.rate(lost.share)}<br>{t(f'unit.{definition}', n=t.number(lost.lost))}"
            for lost in funnel.lost
        ),
    ]
    traces = [
        {
            "type": "bar", "orientation": "h", "y": labels, "x": left, "name": t("funnel.left"), "marker": {"color": "--ok"},
            "text": [t.percent(share) for share in left], "textposition": "inside", "insidetextanchor": "start",
            "hoverinfo": "skip", "textfont": {"color": "--on-colour"},
        },
        {
            "type": "bar", "orientation": "h", "y": labels, "x": gone, "name": t("funnel.lost"),
            "marker": {"color": ["--ok", *(f"--{lost.cause}" for lost in funnel.lost)]}, "text": hover,
            "textposition": "none", "hoverinfo": "text",
        },
    ]  # fmt: skip
    return Chart(
        id=f"funnel-{definition}",
        title=t("overview.funnel", what=t(f"definition.{definition}")),
        summary=t(
            "overview.funnel_summary",
            n=t(f"unit.{definition}", n=t.number(funnel.n)),
            rate=t.rate(funnel.success),
            lost=", ".join(f"{t.name(lost.cause)} {t.percent(lost.share.value)}" for lost in funnel.lost),
        ),
        traces=traces,
        columns=[
            t("funnel.stage"), t("funnel.reached"), t("funnel.lost"), t("funnel.share"), t("table.low"), t("table.high"),
        ],
        kinds="tnnsss",
        rows=[
            *([t.name(x.cause), x.reached, x.lost, x.share.value, x.share.low, x.share.high] for x in funnel.lost),
            [t("funnel.success"), funnel.success.hits, 0, funnel.success.value, funnel.success.low, funnel.success.high],
        ],
        layout={
            "barmode": "stack", "showlegend": False, "xaxis": {"tickformat": ".0%", "range": [0, 1.02]},
            "yaxis": {"autorange": "reversed"},
        },
        note=t(f"overview.funnel_note_{'attempt' if definition == 'attempt' else 'payment'}"),
        height=60 + 52 * len(labels),
    )  # fmt: skip


def _moved(definition: str, found: Movement, periods: Periods | None, t: Text) -> dict[str, Any]:
    if periods is None:
        raise ValueError("a movement without periods")
    kept = found.parts[:_MOST_BARS]
    labels = [f"{t.name(p.value)}<br>n = {t.number(p.n_before)} → {t.number(p.n_now)}" for p in kept]
    traces = [
        bars(
            labels, [getattr(p, effect)[0] for p in kept], [getattr(p, effect)[1] for p in kept],
            [getattr(p, effect)[2] for p in kept], t(f"moved.{effect}"), colour,
            [f"{t.name(p.value)}: {t(f'moved.{effect}')} {t.spread(getattr(p, effect))}" for p in kept],
        )
        for effect, colour in (("mix", "--mix"), ("rate", "--rate"))
    ]  # fmt: skip
    segment = t(f"segment.{found.segment}")
    chart = Chart(
        id=f"moved-{definition}-{found.segment}",
        title=t("overview.moved_by", segment=segment),
        summary=t(
            "overview.moved_summary",
            change=t.spread(found.change), mix=t.spread(found.mix), rate=t.spread(found.rate), segment=segment,
        ),
        traces=traces,
        columns=[
            segment, t("moved.share_before"), t("moved.share_now"), t("moved.rate_before"), t("moved.rate_now"),
            t("moved.n_before"), t("moved.n_now"), t("moved.mix"), t("moved.rate"), t("moved.both"),
        ],
        kinds="tssssnnppp",
        rows=[
            *(
                [
                    t.name(p.value), p.share_before, p.share_now, p.rate_before, p.rate_now, p.n_before, p.n_now, p.mix[0],
                    p.rate[0], p.mix[0] + p.rate[0],
                ]
                for p in found.parts
            ),
            [
                t("moved.all"), 1.0, 1.0, found.before.value, found.now.value, found.before.n, found.now.n, found.mix[0],
                found.rate[0], found.change[0],
            ],
        ],
        layout={
            "barmode": "group", "xaxis": {"tickformat": "+.1%", "zeroline": True}, "yaxis": {"autorange": "reversed"},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, "margin": {"t": 40},
        },
        note=t("overview.moved_note"),
        height=max(240, 60 + 52 * len(kept)),
    )  # fmt: skip
    return {
        "chart": chart,
        "before": t.rate(found.before),
        "now": t.rate(found.now),
        "change": t.spread(found.change),
        "mix": t.spread(found.mix),
        "rate": t.spread(found.rate),
        "sure": found.change[1] > 0.0 or found.change[2] < 0.0,
        **_told(periods, t),
    }


def _told(periods: Periods, t: Text) -> Mapping[str, str]:
    return {
        "days": t.number(periods.days),
        "from": t.moment(periods.begin),
        "middle": t.moment(periods.middle),
        "until": t.moment(periods.end),
    }
