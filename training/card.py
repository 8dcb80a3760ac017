"""The model card: what a version is, how good, against what, and where its limits are; as JSON and as a page."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from features.fingerprint import fingerprint_with
from features.own import OwnColumn, all_features, described
from models.heads import STAGES
from training.settings import TrainSettings
from training.train import Trained

__all__ = ["card_html", "model_card"]

_LIMITS = (
    "It was judged on the last slice of time; a market that changes afterwards can make it worse.",
    "Importances are associations. Whether changing a thing helps, only a test tells.",
    "What it says of values never seen in training (a new issuer, say) rests on their recent history alone.",
)


def model_card(trained: Trained, settings: TrainSettings, run_id: str) -> dict[str, Any]:
    """The card as JSON."""
    report = trained.report
    return {
        "name": settings.model_name,
        "run_id": run_id,
        "features": fingerprint_with(trained.artefact.encoder.own),
        "own_columns": described(trained.artefact.encoder.own),
        "licence": "Apache-2.0 (the code); the data's owner decides on the model",
        "data": {
            name: report[name] for name in ("window", "attempts", "pending", "unclassified", "purged", "outcomes")
        },
        "slices_of_time": report["slices"],
        "quality": report["quality"],
        "against_baselines": report["against"],
        "not_beaten": report["not_beaten"],
        "categories": report["categories"],
        "by_slice": report["by_slice"],
        "calibration": report["calibration"],
        "trees": report["trees"],
        "refitted_on_all": report["refitted"],
        "importances": report["importances"],
        "limits": [
            *_LIMITS,
            *(
                ["Most failures had no explanation: it tells whether a payment succeeds, not why it fails."]
                if STAGES[0] not in report["trees"]
                else []
            ),
        ],
        "settings": asdict(settings),
    }


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
}


def card_html(card: Mapping[str, Any], drawn: Mapping[str, Path]) -> str:
    """The card as a page that needs nothing else, pictures included."""
    own = tuple(OwnColumn(**one) for one in card["own_columns"])
    labels = {feature.name: feature.label for feature in all_features(own)}
    models = list(card["quality"])
    rows = "".join(
        f"<tr><th>{html.escape(_NAMES[name])}</th>"
        + "".join(f"<td>{_figure(card['quality'][model].get(name))}</td>" for model in models)
        + "</tr>"
        for name in _NAMES
        if name in card["quality"]["model"]
    )
    slices = "".join(
        f"<tr><td>{html.escape(row['slice'])}</td><td>{html.escape(row['value'])}</td><td>{row['attempts']:,}</td>"
        f"<td>{_figure(row['success_share'])}</td><td>{row['promised_share']:.3f}</td>"
        f"<td>{_figure(row['success_log_loss'])}</td><td>{_figure(row['success_auc'])}</td></tr>"
        for row in card["by_slice"]
    )
    images = "".join(
        f'<figure><img alt="{html.escape(name.replace("_", " "))}" src="data:image/png;base64,'
        f'{base64.b64encode(path.read_bytes()).decode()}"></figure>'
        for name, path in drawn.items()
    )
    heads = [name for name in STAGES if name in card["importances"]] or ["success"]
    top = "".join(
        f"<h3>{html.escape(_ASKED[head])}</h3><ol>"
        + "".join(
            f"<li>{html.escape(labels.get(name, name))}: {share:.1%}</li>"
            for name, share in list(card["importances"][head].items())[:5]
        )
        + "</ol>"
        for head in heads
    )
    warning = (
        f'<p class="warn">Not better than a baseline beyond chance: {html.escape("; ".join(card["not_beaten"]))}</p>'
        if card["not_beaten"]
        else ""
    )
    data = card["data"]
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Model card: {html.escape(card["name"])}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1f2933}}
table{{border-collapse:collapse;font-size:.85rem;display:block;overflow-x:auto}}td,th{{padding:.3rem .6rem;text-align:left;
border-bottom:1px solid #d9dee4;vertical-align:top}}small{{color:#52606d}}img{{max-width:100%}}figure{{margin:1rem 0}}
.warn{{background:#fff3e0;border-left:4px solid #c8553d;padding:.5rem 1rem}}</style>
<h1>Model card: {html.escape(card["name"])}</h1>
<p>Learnt from {data["attempts"]:,} attempts, {html.escape(data["window"][0][:16])} to {html.escape(data["window"][1][:16])}
UTC ({data["pending"]:,} pending, {data["unclassified"]:,} failed with no explanation, {data["purged"]:,} left out at the
borders of the slices). Judged on the last slice of time, which it had not seen. MLflow run {html.escape(card["run_id"])}.</p>
{warning}<h2>How good, and against what</h2>
<table><tr><th></th>{"".join(f"<th>{html.escape(model)}</th>" for model in models)}</tr>{rows}</table>
<p><small>In brackets: 95 % interval, bootstrap over payments.</small></p>
{images}<h2>What its trees look at most</h2>{top}
<h2>For whom</h2><table><tr><th>by</th><th></th><th>attempts</th><th>succeeded</th><th>predicted</th><th>log loss</th>
<th>AUC</th></tr>{slices}</table>
<h2>Limits</h2><ul>{"".join(f"<li>{html.escape(limit)}</li>" for limit in card["limits"])}</ul></html>"""


def _figure(told: Mapping[str, float] | None) -> str:
    if told is None:
        return "–"
    return f"{told['value']:.4f} <small>[{told['low']:.4f}, {told['high']:.4f}]</small>"
