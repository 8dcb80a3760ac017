"""Reasons as a page: what its script needs to show failures from any side, and what the model makes of the unknown."""

from __future__ import annotations

from typing import Any

from insights.charts import Chart, bars
from insights.frame import SEGMENTS
from insights.measure import wilson
from insights.rates import Rate
from insights.reasons import UNTOLD, Explained, Reasons
from insights.texts import Text

__all__ = ["cube", "reasons_page"]

_SAID = (
    "all", "all_causes", "attempts_failed", "payments_lost", "money_lost", "category", "reason", "share", "interval",
    "count", "n", "nothing", "causes_title", "segments_title", "causes_summary",
)  # fmt: skip


def cube(found: Reasons) -> dict[str, Any]:
    """Failures by every pair of segments, as the page's script reads them; without any words."""
    names = [name for name in SEGMENTS if name in found.frame.segments]
    return {
        "segments": {name: list(found.frame.segments[name].values) for name in names},
        "causes": [list(cause) for cause in found.causes],
        "currencies": list(found.frame.currencies),
        "effect": round(found.effect, 4),
        "pairs": {f"{a}|{b}": found.cells(a, b) for place, a in enumerate(names) for b in names[place + 1 :]},
    }


def reasons_page(found: Reasons, pairs: dict[str, Any], unknown: Explained, model: bool, t: Text) -> dict[str, Any]:
    """What the template `reasons.html` shows."""
    values = {value for listed in pairs["segments"].values() for value in listed}
    spoken = {*values, *(name for cause in found.causes for name in cause)}
    return {
        "failed": int((found.cause >= 0).sum()),
        "lost": len(found.lost),
        "cube": pairs,
        "said_reasons": {
            **{name: t.raw(f"reasons.js_{name}") for name in _SAID},
            "percent": t.raw("format.percent"),
            "between": t.raw("format.interval"),
            "names": {value: t.name(value) for value in sorted(spoken)} | {UNTOLD: t("reasons.untold")},
            "segments": {name: t(f"segment.{name}") for name in pairs["segments"]},
        },
        "unknown": _unknown(unknown, model, t),
    }


def _unknown(found: Explained, model: bool, t: Text) -> dict[str, Any] | None:
    if not found.unknown:
        return None
    categories = sorted(found.by_category.items(), key=lambda item: -item[1])
    rest = max(0.0, 1.0 - sum(found.by_category.values()))
    parts = [*((name, value) for name, value in categories), ("nobody", rest)]
    rows = [
        (
            name,
            t.name(name) if name != "nobody" else t("reasons.nobody"),
            _rate(round(share * found.asked), found.asked),
        )
        for name, share in parts
    ]
    chart = Chart(
        id="unknown",
        title=t("reasons.unknown_chart"),
        summary=t("reasons.unknown_summary", parts=", ".join(f"{label} {t.rate(rate)}" for _, label, rate in rows)),
        traces=[
            bars(
                [f"{label}<br>n = {t.number(rate.n)}" for _, label, rate in rows], [rate.value for _, _, rate in rows],
                [rate.low for _, _, rate in rows], [rate.high for _, _, rate in rows], t("table.share"),
                [f"--{name}" for name, _, _ in rows], [f"{label}: {t.rate(rate)}" for _, label, rate in rows],
            )
        ],
        columns=[t("reasons.js_category"), t("table.share"), t("table.low"), t("table.high"), t("table.n")],
        kinds="tsssn",
        rows=[[label, rate.value, rate.low, rate.high, rate.n] for _, label, rate in rows],
        layout={"xaxis": {"tickformat": ".0%"}, "yaxis": {"autorange": "reversed"}, "showlegend": False},
        note=t("reasons.unknown_note"),
        height=300,
    )  # fmt: skip
    return {
        "n": t.number(found.unknown),
        "asked": t.number(found.asked),
        "sure": t.rate(_rate(found.sure, found.asked)),
        "agreed": t.rate(_rate(found.agreed, found.checked)) if found.checked else None,
        "checked": t.number(found.checked),
        "by": t("reasons.by_model") if model else t("reasons.by_codes"),
        "chart": chart,
    }


def _rate(hits: int, n: int) -> Rate:
    share = wilson(hits, n)
    return Rate(share.value, share.low, share.high, n, hits)
