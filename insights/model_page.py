"""The model card in plain words: how good, for whom less, since when, what changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from insights.charts import Chart, bars
from insights.model_told import ModelTold
from insights.texts import Text

__all__ = ["model_page"]

_BASELINES = {
    "model": "model",
    "logistic regression": "linear",
    "success rate by country, method and route": "rates",
    "prior": "prior",
}
_CATEGORIES = ("technical", "user_abandonment", "authentication", "bank_decline")
_MOST_SLICES = 25

Figure = Mapping[str, float]


def model_page(told: ModelTold | None, t: Text) -> dict[str, Any]:
    """What the template `model.html` shows."""
    if told is None or told.card is None:
        return {"told": told, "card": None}
    card = told.card
    best = card["quality"]["model"]
    slices = sorted(card["by_slice"], key=lambda row: -abs(_off(row)))
    return {
        "told": told,
        "card": card,
        "auc": _share(best["success_auc"], t),
        "off": _share(best["success_calibration_error"], t),
        "n": t.number(best["success_auc"]["n"]),
        "not_beaten": [_baseline(name, t) for name in _BASELINES if _not_beaten(card, name)],
        "compared": _compared(card, t),
        "whom": _whom(slices[:_MOST_SLICES], t) if slices else None,
        "whom_total": len(slices),
        "doubtful": [_doubt(row, t) for row in slices if _outside(row)],
        "why": _why(card["categories"], t) if card["categories"] else None,
        "facts": _facts(told, card, t),
        "moves": [_move(move, t) for move in reversed(told.moves)],
        "before": _before(told, best, t),
        "limits": [t(f"model.limit_{name}") for name in _limits(card)],
    }


def _share(figure: Figure, t: Text) -> str:
    return f"{t.percent(figure['value'])} {t.interval(figure['low'], figure['high'])}"


def _baseline(name: str, t: Text) -> str:
    return t(f"model.baseline_{_BASELINES[name]}")


def _not_beaten(card: Mapping[str, Any], name: str) -> bool:
    return any(told.endswith(f"of {name}") for told in card["not_beaten"])


def _compared(card: Mapping[str, Any], t: Text) -> Chart:
    rows = [
        (_baseline(name, t), card["quality"][name]["success_auc"]) for name in _BASELINES if name in card["quality"]
    ]
    return Chart(
        id="compared",
        title=t("model.compared"),
        summary=t("model.compared_summary", parts=", ".join(f"{label} {_share(figure, t)}" for label, figure in rows)),
        traces=[_bars([(f"{label}<br>n = {t.number(f['n'])}", f) for label, f in rows], ["--ok", *["--neutral"] * 3], t)],
        columns=[t("model.who"), t("model.right"), t("table.low"), t("table.high"), t("table.n")],
        kinds="tsssn",
        rows=[[label, f["value"], f["low"], f["high"], int(f["n"])] for label, f in rows],
        layout={"xaxis": {"tickformat": ".0%", "range": [0.4, 1.0]}, "yaxis": {"autorange": "reversed"}, "showlegend": False},
        note=t("model.compared_note"),
        height=260,
    )  # fmt: skip


def _bars(rows: list[tuple[str, Figure]], colours: list[str], t: Text) -> dict[str, Any]:
    return bars(
        [label for label, _ in rows], [f["value"] for _, f in rows], [f["low"] for _, f in rows],
        [f["high"] for _, f in rows], t("table.share"), colours[: len(rows)],
        [f"{label}<br>{_share(f, t)}" for label, f in rows],
    )  # fmt: skip


def _off(row: Mapping[str, Any]) -> float:
    """What was promised less what came, a share."""
    return float(row["promised_share"] - row["success_share"]["value"])


def _outside(row: Mapping[str, Any]) -> bool:
    return not row["success_share"]["low"] <= row["promised_share"] <= row["success_share"]["high"]


_SEGMENTS = {"first_time": "payer", "amount": "amount_band"}
"""What the pages call the slices of a model card."""


def _group(row: Mapping[str, Any], t: Text) -> str:
    value = str(row["value"]).replace("first time", "first_time")
    segment = _SEGMENTS.get(row["slice"], row["slice"])
    return f"{t(f'segment.{segment}')}: {t.name(value)}"


def _doubt(row: Mapping[str, Any], t: Text) -> str:
    kind = "high" if _off(row) > 0 else "low"
    return t(
        f"model.doubt_{kind}",
        group=_group(row, t),
        points=t.points(abs(_off(row))).lstrip("+"),
        came=_share(row["success_share"], t),
        promised=t.percent(row["promised_share"]),
        n=t.number(row["attempts"]),
    )


def _whom(rows: list[Mapping[str, Any]], t: Text) -> Chart:
    labels = [f"{_group(row, t)}<br>n = {t.number(row['attempts'])}" for row in rows]
    came = [(label, row["success_share"]) for label, row in zip(labels, rows, strict=True)]
    actual = _bars(came, ["--neutral"] * len(rows), t) | {"name": t("model.came")}
    promised = {
        "type": "scatter", "mode": "markers", "y": labels, "x": [row["promised_share"] for row in rows],
        "name": t("model.promised"), "marker": {"color": "--other", "size": 11, "symbol": "diamond"},
        "text": [
            f"{label}<br>{t('model.promised')}: {t.percent(row['promised_share'])}"
            for label, row in zip(labels, rows, strict=True)
        ],
        "hoverinfo": "text",
    }  # fmt: skip
    return Chart(
        id="whom",
        title=t("model.whom_chart"),
        summary=t("model.whom_summary", n=len(rows)),
        traces=[actual, promised],
        columns=[
            t("model.group"), t("model.came"), t("table.low"), t("table.high"), t("model.promised"), t("model.difference"),
            t("model.right"), t("table.n"),
        ],
        kinds="tsssspsn",
        rows=[
            [
                _group(row, t), row["success_share"]["value"], row["success_share"]["low"], row["success_share"]["high"],
                row["promised_share"], _off(row), row["success_auc"]["value"], row["attempts"],
            ]
            for row in rows
        ],
        layout={
            "xaxis": {"tickformat": ".0%", "range": [0, 1]}, "yaxis": {"autorange": "reversed"}, "margin": {"t": 40},
            "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        },
        note=t("model.whom_note"),
        height=90 + 40 * len(rows),
    )  # fmt: skip


def _why(categories: Mapping[str, Mapping[str, Figure]], t: Text) -> Chart:
    names = [name for name in _CATEGORIES if name in categories]
    rows = [(name, kind, categories[name][kind]) for kind in ("recall", "precision") for name in names]
    traces = [
        _bars(
            [(f"{t.name(name)}<br>n = {t.number(f['n'])}", f) for name, of, f in rows if of == kind],
            [colour] * len(names), t,
        )
        | {"name": t(f"model.{kind}")}
        for kind, colour in (("recall", "--ok"), ("precision", "--neutral"))
    ]  # fmt: skip
    return Chart(
        id="why",
        title=t("model.why"),
        summary=t("model.why_summary", parts=", ".join(f"{t.name(n)} {t(f'model.{k}')} {_share(f, t)}" for n, k, f in rows)),
        traces=traces,
        columns=[t("reasons.js_category"), t("model.measure"), t("table.share"), t("table.low"), t("table.high"), t("table.n")],
        kinds="ttsssn",
        rows=[[t.name(n), t(f"model.{k}"), f["value"], f["low"], f["high"], int(f["n"])] for n, k, f in rows],
        layout={
            "barmode": "group", "xaxis": {"tickformat": ".0%", "range": [0, 1]}, "yaxis": {"autorange": "reversed"},
            "margin": {"t": 40}, "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        },
        note=t("model.why_note"),
        height=340,
    )  # fmt: skip


def _facts(told: ModelTold, card: Mapping[str, Any], t: Text) -> list[tuple[str, str]]:
    data, test = card["data"], card["slices_of_time"]["test"]
    since = next((move["at"] for move in reversed(told.moves) if str(move["new"]) == told.version), None)
    first, last = (str(when)[:16] for when in data["window"])
    judged = str(test["from"])[:16].replace("T", " ")
    out = {name: t.number(data[name]) for name in ("pending", "unclassified", "purged")}
    facts = [
        (t("model.version"), told.label),
        (t("model.learnt"), t("model.learnt_text", first=first, last=last, n=t.number(data["attempts"]))),
        (t("model.judged"), t("model.judged_text", first=judged, n=t.number(test["attempts"]))),
        (t("model.left_out"), t("model.left_out_text", **out)),
    ]
    champion = told.moves[-1]["new"] if told.moves else None
    if since is not None and str(champion) == told.version:
        facts.append((t("model.since"), str(since)[:16].replace("T", " ")))
    return facts


def _move(move: Mapping[str, Any], t: Text) -> dict[str, str]:
    return {
        "at": str(move["at"])[:16].replace("T", " "),
        "old": str(move["old"] or t("model.none")),
        "new": str(move["new"]),
        "by": t(f"model.by_{move['by']}"),
        "reason": str(move["reason"] or ""),
    }


def _before(told: ModelTold, best: Mapping[str, Figure], t: Text) -> dict[str, str] | None:
    if told.previous is None:
        return None
    version, card = told.previous
    then = card["quality"]["model"]
    return {
        "version": version,
        "auc_then": _share(then["success_auc"], t),
        "auc_now": _share(best["success_auc"], t),
        "off_then": _share(then["success_calibration_error"], t),
        "off_now": _share(best["success_calibration_error"], t),
        "attempts_then": t.number(card["data"]["attempts"]),
    }


def _limits(card: Mapping[str, Any]) -> list[str]:
    return ["time", "cause", "new", *([] if _CATEGORIES[0] in card["trees"] else ["reasons"])]
