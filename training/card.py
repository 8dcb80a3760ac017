"""The model card: what a version is, how good, for whom, against what, and where its limits are; as JSON and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import numpy as np

from features.columns import OUTCOMES
from features.fingerprint import fingerprint_with
from features.kernel import PENDING
from features.own import OwnColumn, all_features, described
from models.heads import STAGES
from training.pages import render, ticks
from training.quality import reliability
from training.reproduce import Origin, environment
from training.settings import TrainSettings
from training.train import Trained

__all__ = ["card_html", "card_summary", "model_card"]

_LIMITS = (
    "It was judged on the last slice of time; a market that changes afterwards can make it worse: ask payrescue monitor.",
    "Importances are associations. Whether changing a thing helps, only a test tells.",
    "What it says of values never seen in training (a new issuer, say) rests on their recent history alone.",
    "It ranks what checkout may do. It is no judgement of a customer: it must not decide on credit, or on who may buy.",
)
_NO_STAGES = "Most failures had no explanation: it tells whether a payment succeeds, not why it fails."


def model_card(trained: Trained, settings: TrainSettings, run_id: str, origin: Origin | None = None) -> dict[str, Any]:
    """The card as JSON; `origin` says where the attempts came from, where that is known."""
    report = trained.report
    return {
        "name": settings.model_name,
        "run_id": run_id,
        "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "features": fingerprint_with(trained.artefact.encoder.own),
        "own_columns": described(trained.artefact.encoder.own),
        "licence": "Apache-2.0 (the code); the data's owner decides on the model",
        "data": {
            name: report[name] for name in ("window", "attempts", "pending", "unclassified", "purged", "outcomes")
        },
        "label_quality": _label_quality(trained),
        "slices_of_time": report["slices"],
        "quality": report["quality"],
        "against_baselines": report["against"],
        "not_beaten": report["not_beaten"],
        "categories": report["categories"],
        "by_slice": report["by_slice"],
        "calibration": report["calibration"],
        "reliability": _reliability(trained),
        "trees": report["trees"],
        "refitted_on_all": report["refitted"],
        "importances": report["importances"],
        "features_used": _features_used(report["importances"], trained.artefact.encoder.own),
        "limits": [*_LIMITS, *([_NO_STAGES] if STAGES[0] not in report["trees"] else [])],
        "origin": asdict(origin) if origin is not None else None,
        "environment": environment(),
        "settings": asdict(settings),
    }


def _label_quality(trained: Trained) -> dict[str, Any]:
    """How much of what became of the attempts is known, how soon, and how much of it is explained."""
    rows = trained.data.rows
    failed = rows.outcome > 0
    came = (rows.outcome >= 0) & (rows.resolved != PENDING)
    took = (rows.resolved[came] - rows.created[came]) / 1e6
    return {
        "pending_share": float((rows.outcome < 0).mean()),
        "unexplained_share_of_failures": float((rows.outcome[failed] == len(OUTCOMES)).mean())
        if failed.any()
        else None,
        "failures_with_a_reason": float((rows.reason[failed] >= 0).mean()) if failed.any() else None,
        "delay_s": {"median": float(np.median(took)), "p95": float(np.quantile(took, 0.95))} if came.any() else None,
    }


def _reliability(trained: Trained) -> dict[str, list[dict[str, float]]]:
    """What was predicted and what came, in tenths of the judged attempts, for every outcome that some of them had."""
    judged, told = trained.judged, trained.told
    clear = judged.explained
    shown = [(0, judged.success, told[:, 0])]
    shown += [
        (o, judged.outcome[clear] == o, told[clear, o]) for o in range(1, len(OUTCOMES)) if (judged.outcome == o).any()
    ]
    names = ("promised", "came", "low", "high", "attempts")
    return {
        OUTCOMES[o]: [
            {name: int(value) if name == "attempts" else float(value) for name, value in zip(names, point, strict=True)}
            for point in zip(*reliability(happened, p), strict=True)
        ]
        for o, happened, p in shown
    }


def _features_used(importances: Mapping[str, Mapping[str, float]], own: tuple[OwnColumn, ...]) -> list[dict[str, Any]]:
    """Every feature that some head looks at, with its importance for each; in the order of the definitions."""
    used = []
    for feature in all_features(own):
        shares = {head: told[feature.name] for head, told in importances.items() if told.get(feature.name)}
        if shares:
            told = {name: getattr(feature, name) for name in ("name", "label", "unit", "group", "actionable")}
            used.append({**told, "importance": shares})
    return used


def card_summary(card: Mapping[str, Any]) -> str:
    """The card in two sentences of Markdown, for the registry."""
    quality, data = card["quality"]["model"], card["data"]
    auc, loss = quality["success_auc"], quality["success_log_loss"]
    return (
        f"Learnt from {data['attempts']:,} attempts, {data['window'][0][:10]} to {data['window'][1][:10]}. "
        f"On {auc['n']:,} later ones, which it had not seen: AUC of success {auc['value']:.3f} [{auc['low']:.3f}, "
        f"{auc['high']:.3f}], log loss {loss['value']:.4f} [{loss['low']:.4f}, {loss['high']:.4f}] nats."
    )


_NAMES = {
    "success_log_loss": "Log loss of success (nats, lower is better)",
    "success_brier": "Brier score of success (lower is better)",
    "success_auc": "AUC of success (0.5 is chance, 1 perfect)",
    "success_calibration_error": "Calibration error of success",
    "outcome_log_loss": "Log loss of the five outcomes (nats)",
    "outcome_brier": "Brier score of the five outcomes",
    "calibration_error": "Calibration error, mean over outcomes",
}
_ASKED = {
    "success": "whether it succeeds",
    "technical": "whether something breaks",
    "user_abandonment": "whether the customer gives up",
    "authentication": "whether authentication fails",
    "bank_decline": "whether the bank declines",
    "reason": "the reason, once it has failed",
}
_MODEL_OF_ALL = "prior"
_SHOWN = 6


def card_html(card: Mapping[str, Any]) -> str:
    """The card as a page that needs nothing else. It may hold, beside what `model_card` gives, `version` and `verdict`."""
    quality = card["quality"]
    heads = [name for name in STAGES if name in card["importances"]] or ["success"]
    by_slice = groupby(card["by_slice"], key=lambda row: row["slice"])
    return render(
        "card.html",
        card={"version": None, **card},
        verdict=card.get("verdict"),
        data=card["data"],
        stages=STAGES[0] in card["trees"],
        n_judged=quality["model"]["success_log_loss"]["n"],
        tiles=_tiles(quality),
        contest=_contest(quality),
        models=list(quality),
        measures=[(name, label) for name, label in _NAMES.items() if name in quality["model"]],
        plots=[_plot(name, points) for name, points in card["reliability"].items()],
        heads=[{"name": name, "asks": _ASKED[name], "top": _top(card, name)} for name in heads],
        slices=[(name, list(rows)) for name, rows in by_slice],
        label_quality=_label_words(card["label_quality"], card["data"]),
    )


def _tiles(quality: Mapping[str, Any]) -> list[dict[str, str]]:
    model, prior = quality["model"], quality[_MODEL_OF_ALL]["success_log_loss"]["value"]
    auc, off, loss = (model[name] for name in ("success_auc", "success_calibration_error", "success_log_loss"))
    learnt = [(1.0 - loss[name] / prior) for name in ("value", "high", "low")]
    return [
        {
            "value": f"{100 * auc['value']:.0f} of 100",
            "says": "times it gives the payment that succeeds the better odds, out of one that succeeds and one that fails",
            "range": f"95 % interval {100 * auc['low']:.1f} to {100 * auc['high']:.1f}; chance is 50",
        },
        {
            "value": f"{100 * off['value']:.1f} points",
            "says": "lie between what it predicts and what comes, on average",
            "range": f"95 % interval {max(0.0, 100 * off['low']):.1f} to {100 * off['high']:.1f}; 0 is perfect",
        },
        {
            "value": f"{100 * learnt[0]:.0f} %",
            "says": "less surprise than by knowing only how often payments succeed",
            "range": f"95 % interval {100 * learnt[1]:.0f} to {100 * learnt[2]:.0f} %; log loss of success",
        },
        {
            "value": f"{auc['n']:,}",
            "says": "attempts judged it, all later than those it had learnt from",
            "range": "no payment is on both sides",
        },
    ]


def _contest(quality: Mapping[str, Any]) -> dict[str, Any]:
    """Log loss of each model as a dot with its interval, placed on a picture 400 wide."""
    told = {name: figures["success_log_loss"] for name, figures in quality.items()}
    low, high = min(one["low"] for one in told.values()), max(one["high"] for one in told.values())
    left, right = 14.0, 386.0

    def at(value: float) -> float:
        return float(round(left + (value - low) / max(high - low, 1e-9) * (right - left), 1))

    return {
        "rows": [
            {
                "name": "this model" if name == "model" else name,
                **{place: at(one[key]) for place, key in (("at", "value"), ("low", "low"), ("high", "high"))},
            }
            for name, one in told.items()
        ],
        "ticks": [{"x": at(tick), "label": f"{tick:g}"} for tick in ticks(low, high)],
    }


def _plot(name: str, points: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Reliability on a picture 200 by 178, both axes from the least to the largest share seen."""
    low = max(0.0, min(min(point["promised"], point["low"]) for point in points))
    high = max(max(point["promised"], point["high"]) for point in points)
    wide = max(high - low, 1e-9)

    def x(value: float) -> float:
        return round(30 + (value - low) / wide * 162, 1)

    def y(value: float) -> float:
        return round(150 - (value - low) / wide * 142, 1)

    return {
        "name": name.replace("_", " "),
        "bottom": f"{100 * low:.0f} %",
        "top": f"{100 * high:.0f} %",
        "points": [
            {"x": x(point["promised"]), "y": y(point["came"]), "low": y(point["low"]), "high": y(point["high"])}
            for point in points
        ],
    }


def _top(card: Mapping[str, Any], head: str) -> list[dict[str, Any]]:
    known = {row["name"]: row for row in card["features_used"]}
    top = [(name, share) for name, share in card["importances"][head].items() if name in known][:_SHOWN]
    most = max((share for _, share in top), default=1.0)
    return [
        {
            "label": known[name]["label"],
            "actionable": known[name]["actionable"],
            "share": share,
            "width": round(100 * share / most),
        }
        for name, share in top
    ]


def _label_words(told: Mapping[str, Any], data: Mapping[str, Any]) -> list[tuple[str, str]]:
    words = [("Not known yet", f"{data['pending']:,} attempts ({100 * told['pending_share']:.1f} %), left out")]
    if told["unexplained_share_of_failures"] is not None:
        words.append(("Failures explained", f"{100 * (1 - told['unexplained_share_of_failures']):.0f} %"))
        words.append(("Failures with a reason", f"{100 * told['failures_with_a_reason']:.0f} %"))
    if told["delay_s"] is not None:
        late = told["delay_s"]
        words.append(("Outcomes known after", f"{_long(late['median'])} (half of them), {_long(late['p95'])} (95 %)"))
    return words


def _long(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
