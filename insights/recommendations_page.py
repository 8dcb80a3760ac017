"""Recommendations as a page: what was suggested, followed and paid, and policies that were not followed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from insights.charts import Chart, bars
from insights.rates import Rate
from insights.recommendations import PolicyTold, Recommendations
from insights.texts import Text

__all__ = ["recommendations_page"]

_SHOWN = ("snips", "ips", "dr", "dm")
_TRUSTED = "snips"


def recommendations_page(
    found: Recommendations | None, policies: Sequence[PolicyTold] | None, why_none: str, t: Text
) -> dict[str, Any]:
    """What the template `recommendations.html` shows. `why_none` says why no policy could be judged: a key of the texts."""
    judged = [told for told in policies or () if told.estimates]
    return {
        "found": found,
        "summary": None if found is None else _summary(found, t),
        "actions": None if found is None else _actions(found, t),
        "paid": None if found is None else _paid(found, t),
        "policies": _policies(judged, t) if judged else None,
        "policies_lack": t(f"recs.lack_{why_none}") if policies is None else None,
        "refused": [
            t(
                "recs.refused",
                name=_policy(told.name, t),
                ess=t.number(told.ess),
                overlap=t.percent(told.overlap),
                n=t.number(told.n),
            )
            for told in policies or ()
            if not told.estimates
        ],
    }


def _rate(rate: Rate, t: Text) -> str:
    return t.rate(rate) if rate.n else t("recs.none")


def _summary(found: Recommendations, t: Text) -> list[str]:
    told = [
        t(
            "recs.n",
            n=t.number(found.n), payments=t.number(found.payments), since=found.since, until=found.until,
            policies=", ".join(found.policies),
        ),
        t("recs.followed", rate=_rate(found.followed, t), n=t.number(found.followed.n)),
        t(
            "recs.paid",
            followed=_rate(found.paid_followed, t), n=t.number(found.paid_followed.n),
            otherwise=_rate(found.paid_otherwise, t), m=t.number(found.paid_otherwise.n),
        ),
    ]  # fmt: skip
    if found.promised == found.promised:
        told.append(t("recs.promised", promised=t.percent(found.promised), came=_rate(found.paid_followed, t)))
    if found.money:
        paid = ", ".join(f"{t.number(amount)} {currency}" for currency, amount in found.money.items())
        told.append(t("recs.money", money=paid))
    told.append(t("recs.degraded", rate=_rate(found.degraded, t)))
    return told


def _actions(found: Recommendations, t: Text) -> Chart:
    rows = [one for one in found.actions if one.followed.n]
    labels = [f"{t(f'action.{one.action}')}<br>n = {t.number(one.followed.n)}" for one in rows]
    rates = [one.followed for one in rows]
    return Chart(
        id="followed",
        title=t("recs.followed_chart"),
        summary=t("recs.followed_summary", parts=", ".join(f"{t(f'action.{o.action}')} {t.rate(o.followed)}" for o in rows)),
        traces=[
            bars(
                labels, [r.value for r in rates], [r.low for r in rates], [r.high for r in rates], t("table.share"),
                "--neutral", [f"{label}<br>{t.rate(r)}" for label, r in zip(labels, rates, strict=True)],
            )
        ],
        columns=[t("recs.action"), t("recs.suggested"), t("recs.followable"), t("recs.share"), t("table.low"), t("table.high")],
        kinds="tnnsss",
        rows=[
            [t(f"action.{o.action}"), o.n, o.followed.n, o.followed.value, o.followed.low, o.followed.high]
            for o in found.actions
        ],
        layout={"xaxis": {"tickformat": ".0%", "range": [0, 1]}, "yaxis": {"autorange": "reversed"}, "showlegend": False},
        note=t("recs.followed_note"),
        height=max(180, 60 + 44 * len(rows)),
    )  # fmt: skip


def _paid(found: Recommendations, t: Text) -> Chart | None:
    rows = [one for one in found.actions if one.paid_followed.n or one.paid_otherwise.n]
    if not rows:
        return None
    labels = [
        f"{t(f'action.{o.action}')}<br>n = {t.number(o.paid_followed.n)} | {t.number(o.paid_otherwise.n)}" for o in rows
    ]
    traces = []
    for name, colour in (("paid_followed", "--ok"), ("paid_otherwise", "--neutral")):
        rates = [getattr(one, name) for one in rows]
        traces.append(
            bars(
                labels, [r.value for r in rates], [r.low for r in rates], [r.high for r in rates], t(f"recs.{name}"), colour,
                [f"{t(f'recs.{name}')}: {_rate(r, t)}" for r in rates],
            )
        )  # fmt: skip
    return Chart(
        id="paid",
        title=t("recs.paid_chart"),
        summary=t("recs.paid_summary"),
        traces=traces,
        columns=[
            t("recs.action"), t("recs.paid_followed"), t("table.low"), t("table.high"), t("table.n"),
            t("recs.paid_otherwise"), t("table.low"), t("table.high"), t("table.n"),
        ],
        kinds="tsssnsssn",
        rows=[
            [
                t(f"action.{o.action}"), o.paid_followed.value, o.paid_followed.low, o.paid_followed.high, o.paid_followed.n,
                o.paid_otherwise.value, o.paid_otherwise.low, o.paid_otherwise.high, o.paid_otherwise.n,
            ]
            for o in rows
        ],
        layout={
            "barmode": "group", "xaxis": {"tickformat": ".0%", "range": [0, 1]}, "yaxis": {"autorange": "reversed"},
            "margin": {"t": 40}, "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        },
        note=t("recs.paid_note"),
        height=max(220, 100 + 56 * len(rows)),
    )  # fmt: skip


def _policy(name: str, t: Text) -> str:
    kind, _, pins = name.partition(":")
    if kind == "always":
        return t("policy.always", what=", ".join(t.name(pin.partition("=")[2]) for pin in pins.split(",")))
    return t(f"policy.{kind}") if kind in {"logged", "rules", "success_rate", "greedy", "explore"} else name


def _policies(judged: Sequence[PolicyTold], t: Text) -> Chart:
    figures = [one.estimates[_TRUSTED] for one in judged]
    labels = [f"{_policy(o.name, t)}<br>n = {t.number(o.n)}, ESS {t.number(o.ess)}" for o in judged]
    kinds = [kind for kind in _SHOWN if all(kind in one.estimates for one in judged)]
    missing = (float("nan"),) * 3
    return Chart(
        id="policies",
        title=t("recs.policies_chart"),
        summary=t(
            "recs.policies_summary",
            parts=", ".join(
                f"{_policy(o.name, t)} {t.percent(f[0])} {t.interval(f[1], f[2])}"
                for o, f in zip(judged, figures, strict=True)
            ),
        ),
        traces=[
            bars(
                labels, [f[0] for f in figures], [f[1] for f in figures], [f[2] for f in figures], t("table.share"),
                ["--ok" if one.name == "logged" else "--neutral" for one in judged],
                [f"{label}<br>{t.percent(f[0])} {t.interval(f[1], f[2])}" for label, f in zip(labels, figures, strict=True)],
            )
        ],
        columns=[
            t("recs.policy"), t("table.n"), "ESS", t("recs.overlap"),
            *(f"{kind.upper()}{suffix}" for kind in kinds for suffix in ("", f" ({t('table.low')})", f" ({t('table.high')})")),
        ],
        kinds="tnns" + "sss" * len(kinds),
        rows=[
            [_policy(o.name, t), o.n, o.ess, o.overlap, *(v for kind in kinds for v in o.estimates.get(kind, missing))]
            for o in judged
        ],
        layout={"xaxis": {"tickformat": ".0%", "range": [0, 1]}, "yaxis": {"autorange": "reversed"}, "showlegend": False},
        note=t("recs.policies_note"),
        height=max(180, 60 + 48 * len(judged)),
    )  # fmt: skip
