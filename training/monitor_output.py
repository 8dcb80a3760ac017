"""What `payrescue monitor` found, for machines (JSON, gauges for Prometheus) and for people (a page, lines on a terminal)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from training.monitor import Report
from training.monitor_checks import Check
from training.output import write_text
from training.pages import render

__all__ = ["gauges", "lines", "page", "write"]

_FAMILIES = {
    "calibration": "Does what it predicts still come?",
    "outage": "Was something down?",
    "unknown values": "Are there values never seen before?",
    "unknown codes": "Are there codes never seen before?",
    "codes": "Do codes still stand for the same?",
    "delay": "Do outcomes come when they used to?",
    "outcomes": "Does the same become of attempts?",
    "evidence": "Do attempts leave the same behind?",
    "features": "Do the same people pay in the same ways?",
}
_MEASURES = {
    "psi": "PSI",
    "ks": "KS",
    "unseen": "share of customers",
    "meaning": "share gained by a reason",
    "burst": "share that failed",
    "off": "came less predicted",
}
_RETRAIN = {"no": 0, "not yet": 1, "yes": 2}


def write(report: Report, name: str, folder: Path) -> None:
    """monitor.json, monitor.prom (for node_exporter's textfile collector) and monitor.html, each whole or not at all."""
    write_text(json.dumps({"model": name, **report.as_dict()}, indent=1, ensure_ascii=False), folder / "monitor.json")
    write_text(gauges(report, name), folder / "monitor.prom")
    write_text(page(report, name), folder / "monitor.html")


def lines(report: Report, name: str) -> Iterator[str]:
    """What a terminal shows."""
    about = report.about
    yield f"{about['attempts']:,} attempts, {about['from']} to {about['until']}, against what {name} was made of"
    yield f"train again: {report.retrain}"
    yield from (f"  {why}" for why in report.why)
    yield from (f"  to do: {todo}" for todo in report.next)
    yield from (f"  note: {note}" for note in report.notes)
    yield f"{len(report.alarms)} of {about['checks']} checks are beyond chance (in 19 of 20 quiet weeks none is):"
    for check in report.alarms or report.checks[:3]:
        mark = "!!" if check.alarm else "  "
        yield f"  {mark} {check.name:<26}{check.statistic:<8}{check.value:8.4f}  adjusted p {check.adjusted:.3g}"


def page(report: Report, name: str) -> str:
    """The page."""
    about = report.about
    return render(
        "monitor.html",
        report=report,
        about=about,
        name=name,
        alarms=len(report.alarms),
        late=_long(about["delay_s"].get("median")),
        late_then=_long(about["delay_s_then"].get("median")),
        measures=_MEASURES,
        families=[(family, label, found) for family, label in _FAMILIES.items() if (found := _of(report, family))],
    )


def _of(report: Report, family: str) -> list[Check]:
    return [check for check in report.checks if check.family == family]


def _long(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:,.0f} s"


def gauges(report: Report, name: str) -> str:
    """The same as gauges, in Prometheus's text format."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()

    def gauge(what: str, meaning: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"payrescue_monitor_{what}", meaning, ("model", *labels), registry=registry)

    gauge("alarms", "checks that are beyond chance").labels(name).set(len(report.alarms))
    gauge("retrain", "whether to train again: 0 no, 1 look first, 2 yes").labels(name).set(_RETRAIN[report.retrain])
    gauge("attempts", "attempts that were looked at").labels(name).set(report.about["attempts"])
    kinds = ("family", "check")
    for statistic, meaning in _MEASURES.items():
        found = [check for check in report.checks if check.statistic == statistic]
        value = gauge(statistic, meaning, kinds)
        for check in found:
            value.labels(name, check.family, check.name).set(check.value)
        if any(check.limit is not None for check in found):
            limit = gauge(f"{statistic}_limit", f"{meaning} that chance alone reaches", kinds)
            for check in found:
                if check.limit is not None:
                    limit.labels(name, check.family, check.name).set(check.limit)
    p = gauge("p", "p-value, adjusted for all checks; below 0.05 is an alarm", (*kinds, "statistic"))
    for check in report.checks:
        p.labels(name, check.family, check.name, check.statistic).set(check.adjusted)
    delay = gauge("label_delay_seconds", "time until an outcome is known", ("quantile", "when"))
    for when, told in (("now", report.about["delay_s"]), ("training", report.about["delay_s_then"])):
        for quantile, seconds in told.items():
            delay.labels(name, quantile, when).set(seconds)
    text: str = generate_latest(registry).decode()
    return text
