"""Opportunities as a page: the ranked backlog, what each would gain and on what evidence, beside what a naive look shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from features.places import currency_exponent
from insights.charts import Chart, bars
from insights.measure import Measure
from insights.opportunities import Opportunity
from insights.texts import Text

__all__ = ["opportunities_page"]

_EVIDENCE = {"randomised": "randomised", "doubly robust": "robust", "association only": "association"}


@cache
def _warnings() -> Mapping[str, Mapping[str, str]]:
    path = files("insights").joinpath("opportunity_warnings.json")
    told: dict[str, dict[str, str]] = json.loads(path.read_text("utf-8"))
    return told


def opportunities_page(found: Sequence[Opportunity], t: Text) -> dict[str, Any]:
    """What the template `opportunities.html` shows."""
    return {
        "cards": [_card(one, t) for one in found],
        "chart_of_gains": _gains(found, t) if found else None,
        "kinds": [
            (t(f"opps.evidence_{name}"), t(f"opps.evidence_{name}_text")) for name in dict.fromkeys(_EVIDENCE.values())
        ],
    }


def _change(one: Opportunity, t: Text) -> str:
    return one.change if one.own else t.reworded("change", one.change)


def _where(one: Opportunity, t: Text) -> str:
    return ", ".join(t.reworded("where", part) for part in one.segment_label.split(", "))


def _points(measure: Measure, t: Text, digits: int = 1) -> str:
    return t.spread((measure.value, measure.low, measure.high), digits)


def _count(measure: Measure, t: Text) -> str:
    return f"{t.number(measure.value)} {t('format.interval', low=t.number(measure.low), high=t.number(measure.high))}"


def _money(one: Opportunity, t: Text) -> list[str]:
    return [
        f"{_count(amount.times(10.0 ** -currency_exponent(currency)), t)} {currency}"
        for currency, amount in one.amount_minor.items()
    ]


def _card(one: Opportunity, t: Text) -> dict[str, Any]:
    size = t("opps.never") if one.sample_size is None or one.days is None else None
    return {
        "rank": one.rank,
        "change": _change(one, t),
        "where": _where(one, t),
        "evidence": t(f"opps.evidence_{_EVIDENCE[one.evidence]}"),
        "own": one.own,
        "facts": [
            (t("opps.gain"), _points(one.gain, t)),
            (t("opps.overall"), _points(one.overall, t, 2)),
            (t("opps.payments"), _count(one.payments, t)),
            *((t("opps.money"), money) for money in _money(one, t)),
            (t("opps.naive"), _points(one.naive, t)),
            (t("opps.rates"), " → ".join(f"{t.percent(m.value)} (n = {t.number(m.n)})" for m in (one.before, one.after))),
            (t("opps.reached"), t.percent(one.reached)),
            (t("opps.test"), size or t("opps.test_text", n=t.number(one.sample_size or 0), days=t.number(one.days or 0))),
            (t("opps.effort"), one.effort or t("opps.effort_empty")),
            (t("opps.id"), one.id),
        ],
        "warnings": [_warnings()[key][t.language] for key in one.warnings if key in _warnings()],
    }  # fmt: skip


def _gains(found: Sequence[Opportunity], t: Text) -> Chart:
    labels = [
        f"{one.rank}. {_short(_where(one, t))}<br>{_short(_change(one, t))}<br>n = {t.number(one.gain.n)}"
        for one in found
    ]
    colours = {"randomised": "--ok", "doubly robust": "--neutral", "association only": "--unclassified"}
    gain = bars(
        labels, [o.gain.value for o in found], [o.gain.low for o in found], [o.gain.high for o in found], t("opps.gain"),
        [colours[one.evidence] for one in found],
        [f"{_change(o, t)}<br>{_points(o.gain, t)} – {t(f'opps.evidence_{_EVIDENCE[o.evidence]}')}" for o in found],
    )  # fmt: skip
    naive = {
        "type": "scatter", "mode": "markers", "y": labels, "x": [one.naive.value for one in found], "name": t("opps.naive"),
        "marker": {"color": "--other", "size": 10, "symbol": "diamond-open", "line": {"width": 2}},
        "text": [f"{t('opps.naive')}: {_points(one.naive, t)}" for one in found], "hoverinfo": "text",
    }  # fmt: skip
    return Chart(
        id="gains",
        title=t("opps.chart"),
        summary=t("opps.chart_summary", first=f"{_where(found[0], t)}: {_change(found[0], t)} {_points(found[0].gain, t)}"),
        traces=[gain, naive],
        columns=[
            t("opps.rank"), t("opps.where"), t("opps.change"), t("opps.gain"), t("table.low"), t("table.high"), t("opps.naive"),
            t("opps.overall"), t("opps.payments"), t("table.low"), t("table.high"), t("opps.evidence"), t("opps.size"),
            t("opps.days"), t("table.n"),
        ],
        kinds="ttt" + "ppppp" + "nnn" + "tttn",
        rows=[
            [
                str(o.rank), _where(o, t), _change(o, t), o.gain.value, o.gain.low, o.gain.high, o.naive.value, o.overall.value,
                o.payments.value, o.payments.low, o.payments.high, t(f"opps.evidence_{_EVIDENCE[o.evidence]}"),
                "–" if o.sample_size is None else t.number(o.sample_size), "–" if o.days is None else t.number(o.days),
                o.gain.n,
            ]
            for o in found
        ],
        layout={
            "xaxis": {"tickformat": "+.0%", "zeroline": True}, "yaxis": {"autorange": "reversed"}, "margin": {"t": 40},
            "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        },
        note=t("opps.chart_note"),
        height=110 + 62 * len(found),
    )  # fmt: skip


def _short(text: str, most: int = 46) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
