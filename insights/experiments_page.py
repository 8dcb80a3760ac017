"""Experiments as a page: what a test on this traffic would take, and what came of those that ran."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from insights.charts import Chart, bars
from insights.experiments import Effect, Plan, ReadOut
from insights.measure import Measure
from insights.texts import Text

__all__ = ["experiments_page"]

_VERDICTS = {"ship": "ship", "stop": "stop", "keep running": "keep", "broken: do not read": "broken"}


def experiments_page(plans: Sequence[Plan], reads: Sequence[ReadOut], unread: Sequence[str], t: Text) -> dict[str, Any]:
    """What the template `experiments.html` shows. `unread` are experiments that there is too little of to read."""
    return {
        "plans": _plans(plans, t) if plans else None,
        "smallest": _smallest(plans[0], t) if plans else [],
        "reads": [_read(one, place, t) for place, one in enumerate(reads)],
        "unread": [t("exps.unread", name=name) for name in unread],
    }


def _points(measure: Measure, t: Text) -> str:
    return t.spread((measure.value, measure.low, measure.high))


def _share(measure: Measure, t: Text) -> str:
    return f"{t.percent(measure.value)} {t.interval(measure.low, measure.high)}"


def _plans(plans: Sequence[Plan], t: Text) -> dict[str, Any]:
    return {
        "text": t(
            "exps.plan_text",
            metric=t(f"metric.{plans[0].metric}"),
            rate=_share(plans[0].baseline, t),
            n=t.number(plans[0].baseline.n),
            per_day=t.number(plans[0].payments_per_day),
            power=t.percent(plans[0].power, 0),
        ),
        "rows": [
            {
                "effect": t.points(plan.minimum_effect),
                "size": t.number(plan.sample_size),
                "days": "–" if plan.days is None else t.number(plan.days),
                "size_looking": t.number(plan.sample_size_looking),
                "days_looking": "–" if plan.days_looking is None else t.number(plan.days_looking),
            }
            for plan in plans
        ],
        "guardrails": [
            (t(f"guardrail.{name}"), t.figure(measure.value), t.figure(plans[0].guardrail_effects[name]))
            for name, measure in plans[0].guardrails.items()
        ],
    }


def _smallest(plan: Plan, t: Text) -> list[str]:
    return [t("exps.smallest", days=7 * weeks, points=t.points(effect, 2)) for weeks, effect in plan.smallest.items()]


def _read(one: ReadOut, place: int, t: Text) -> dict[str, Any]:
    kind = _VERDICTS[one.verdict]
    return {
        "name": one.experiment,
        "verdict": t(f"verdict.{kind}", until=one.keep_until or ""),
        "kind": kind,
        "why": "; ".join(t.reworded("why", part) for part in one.why.split("; ")),
        "when": t(
            "exps.when",
            since=one.since[:16].replace("T", " "), until=one.until[:16].replace("T", " "),
            metric=t(f"metric.{one.metric}"), planned=t.number(one.planned),
        ),
        "health": [
            (t("exps.ratio"), t("exps.ratio_text", p=f"{one.health.sample_ratio_p:.2g}")),
            (t("exps.multiple"), t.percent(one.health.multiple)),
            (
                t("exps.misassigned"),
                t("exps.unknown") if one.health.misassigned is None else t.percent(one.health.misassigned),
            ),
            (t("exps.unripe"), t.number(one.health.unripe)),
            (t("exps.days"), t.figure(one.health.days, 1)),
        ],
        "faults": [t.reworded("why", fault) for fault in one.health.faults],
        "notes": [t.reworded("why", note) for note in one.health.notes],
        "arms": _arms(one, place, t),
        "effects": [_effect(effect, t) for effect in one.effects],
        "days": _days(one, place, t) if one.days else None,
        "guardrails": [
            (t(f"guardrail.{g.name}"), g.arm, t.figure(g.control), _figure(g.difference, t), f"{g.p_value:.2g}", g.broken)
            for g in one.guardrails
        ],
        "segments": [
            (
                f"{t.segment(s.column)}: {t.name(s.value)}", s.arm, _points(s.effect, t), f"{s.p_value:.2g}",
                t.number(s.effect.n),
            )
            for s in one.segments
        ],
    }  # fmt: skip


def _figure(measure: Measure, t: Text) -> str:
    bounds = t("format.interval", low=t.figure(measure.low), high=t.figure(measure.high))
    return f"{t.figure(measure.value)} {bounds}"


def _count(measure: Measure, t: Text) -> str:
    bounds = t("format.interval", low=t.number(measure.low), high=t.number(measure.high))
    return f"{t.number(measure.value)} {bounds}"


def _effect(effect: Effect, t: Text) -> dict[str, Any]:
    return {
        "arm": effect.arm,
        "facts": [
            (t("exps.fixed"), _points(effect.fixed, t)),
            (t("exps.adjusted"), t("exps.adjusted_text", effect=_points(effect.adjusted, t), saved=t.percent(effect.saved))),
            (t("exps.sequential"), _points(effect.sequential, t)),
            (t("exps.p"), f"{effect.p_value:.3g}"),
            (t("exps.relative"), _share(effect.relative, t)),
            (t("exps.per_month"), _count(effect.per_month, t)),
        ],
    }  # fmt: skip


def _arms(one: ReadOut, place: int, t: Text) -> Chart:
    labels = [f"{arm.name}<br>n = {t.number(arm.payments)}" for arm in one.arms]
    metrics = [arm.metric for arm in one.arms]
    return Chart(
        id=f"arms-{place}",
        title=t("exps.arms", metric=t(f"metric.{one.metric}")),
        summary=", ".join(f"{arm.name} {_share(arm.metric, t)}" for arm in one.arms),
        traces=[
            bars(
                labels, [m.value for m in metrics], [m.low for m in metrics], [m.high for m in metrics], t("table.share"),
                ["--neutral", *["--ok"] * (len(labels) - 1)],
                [f"{arm.name}: {_share(arm.metric, t)}" for arm in one.arms],
            )
        ],
        columns=[t("exps.arm"), t("table.n"), t("exps.meant"), t("table.share"), t("table.low"), t("table.high")],
        kinds="tnssss",
        rows=[[a.name, a.payments, a.expected_share, a.metric.value, a.metric.low, a.metric.high] for a in one.arms],
        layout={"xaxis": {"tickformat": ".0%", "range": [0, 1]}, "yaxis": {"autorange": "reversed"}, "showlegend": False},
        note=t("exps.arms_note"),
        height=70 + 52 * len(labels),
    )  # fmt: skip


def _days(one: ReadOut, place: int, t: Text) -> Chart:
    traces: list[dict[str, Any]] = []
    for number, arm in enumerate(dict.fromkeys(day.arm for day in one.days)):
        mine = [day for day in one.days if day.arm == arm]
        x = [day.day for day in mine]
        colour = ("--neutral", "--ok", "--mix")[number % 3]
        always = [day.sequential for day in mine]
        traces += [
            {
                "x": [*x, *reversed(x)], "y": [*(m.high for m in always), *reversed([m.low for m in always])], "fill": "toself",
                "mode": "lines", "line": {"width": 0}, "fillcolor": "--neutral-band" if number else "--ok-band",
                "hoverinfo": "skip", "showlegend": False,
            },
            {
                "x": x, "y": [day.fixed.value for day in mine], "mode": "lines+markers", "name": arm,
                "line": {"color": colour}, "marker": {"color": colour, "size": 5},
                "text": [f"{day.day}: {_points(day.sequential, t)}<br>n = {t.number(day.payments)}" for day in mine],
                "hoverinfo": "text",
            },
        ]  # fmt: skip
    return Chart(
        id=f"days-{place}",
        title=t("exps.daily"),
        summary=t("exps.daily_summary", n=len({day.day for day in one.days})),
        traces=traces,
        columns=[
            t("step.day"), t("exps.arm"), t("table.n"), t("exps.effect"), t("exps.fixed_low"), t("exps.fixed_high"),
            t("exps.always_low"), t("exps.always_high"),
        ],
        kinds="ttnppppp",
        rows=[
            [d.day, d.arm, d.payments, d.fixed.value, d.fixed.low, d.fixed.high, d.sequential.low, d.sequential.high]
            for d in one.days
        ],
        layout={
            "xaxis": {"type": "date"}, "yaxis": {"tickformat": "+.1%", "zeroline": True}, "margin": {"t": 40},
            "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        },
        note=t("exps.daily_note"),
    )  # fmt: skip
