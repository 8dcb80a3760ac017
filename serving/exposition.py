"""What workers have counted, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from models.actions import ACTIONS
from serving.cells import Reading
from serving.metric_places import (
    AT,
    CAUSES,
    CLASSES,
    CODES,
    DELAY_S,
    LATENCY_S,
    NO_SUCH,
    PARTS,
    ROUTES,
    SHADOWS,
    SINGLE_AT,
    TIMED,
    WINDOW_MIN,
)

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["Exposition"]


class Exposition:
    """All metrics of some workers' readings; `now` is in seconds since 1970."""

    def __init__(self, readings: Sequence[Reading], now: float) -> None:
        self._readings, self._now = readings, now

    def collect(self) -> Iterator[Metric]:
        """Every family of metrics, as prometheus_client has them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        readings = self._readings
        sums = [sum(column) for column in zip(*(reading.values for reading in readings), strict=True)]
        yield _counter(
            "requests",
            "Requests answered.",
            ("route", "status"),
            [
                ((route, kind), sums[AT.requests + i * len(CLASSES) + j])
                for i, route in enumerate(ROUTES)
                for j, kind in enumerate(CLASSES)
                if kind != "1xx"  # no answer is one
            ],
        )
        size = len(LATENCY_S) + 2
        parts = [sums[AT.latency + i * size : AT.latency + (i + 1) * size] for i in range(len(TIMED))]
        yield _histogram(
            "request_seconds",
            "Time from a request's head to its answer.",
            "route",
            LATENCY_S,
            zip(TIMED, parts, strict=True),
        )
        yield _by(
            "degraded", "Answers without a model, or without the online state.", "cause", CAUSES, sums, AT.degraded
        )
        yield _by("suggestions", "Suggestions by action.", "action", ACTIONS, sums, AT.suggestions)
        yield _by("problems", "Problem documents by code.", "code", CODES, sums, AT.problems)
        yield _by("outcomes", "Outcomes told.", "result", ("failure", "success"), sums, AT.outcomes)
        delay = sums[AT.delay : AT.delay + len(DELAY_S) + 2]
        yield _histogram("outcome_delay_seconds", "From an outcome to its being told.", None, DELAY_S, [("", delay)])
        for name, meaning in _COUNTED.items():
            yield CounterMetricFamily(f"payrescue_{name}", meaning, value=sums[SINGLE_AT[name]])
        living = [reading for reading in readings if reading.alive]
        yield GaugeMetricFamily("payrescue_workers", "Workers that answer.", value=len(living))
        backlog = sum(reading.values[SINGLE_AT["log_backlog"]] for reading in living)
        yield GaugeMetricFamily("payrescue_log_backlog", "Decisions that wait to be written.", value=backlog)
        results = [((result,), sums[SINGLE_AT[f"shadow_{result}"]]) for result in SHADOWS]
        yield _counter("shadows", "What became of answers offered to challengers in shadow.", ("result",), results)
        yield from self._standing(living)
        yield from self._models(living)
        yield from self._calibration(readings)

    @staticmethod
    def _standing(living: Sequence[Reading]) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        reachable = GaugeMetricFamily(
            "payrescue_reachable", "1 if every worker reaches it, 0 if one does not.", labels=["part"]
        )
        for part in PARTS:
            told = [reading.values[SINGLE_AT[f"{part}_down"]] for reading in living]
            if any(down != NO_SUCH for down in told):
                reachable.add_metric([part], 0.0 if max(told) > 0.0 else 1.0)
        yield reachable
        behind = max((reading.values[SINGLE_AT["state_behind"]] for reading in living), default=0.0)
        yield GaugeMetricFamily(
            "payrescue_state_behind", "Outcomes in the log that the online state lacks, at most.", value=behind
        )

    def _models(self, living: Sequence[Reading]) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        info = GaugeMetricFamily(
            "payrescue_model_info", "Workers by the version that they answer with.", labels=["version"]
        )
        versions = [reading.label or "none" for reading in living]
        for version in sorted(set(versions)):
            info.add_metric([version], versions.count(version))
        yield info
        since = [reading.values[SINGLE_AT["model_from"]] for reading in living]
        age = max((self._now - at for at in since if at), default=float("nan"))
        yield GaugeMetricFamily("payrescue_model_age_seconds", "Since the newest attempt learnt from.", value=age)

    def _calibration(self, readings: Sequence[Reading]) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        now = int(self._now // 60)
        count = predicted = observed = 0.0
        for reading in readings:
            for slot in range(AT.calibration, AT.outcomes, 4):
                minute, n, p, y = reading.values[slot : slot + 4]
                if now - WINDOW_MIN < minute <= now:
                    count, predicted, observed = count + n, predicted + p, observed + y
        told = {
            "predicted": ("Mean success predicted for attempts whose outcome came in within the last hour.", predicted),
            "observed": ("Mean success of the same attempts.", observed),
        }
        for name, (meaning, total) in told.items():
            mean = total / count if count else float("nan")
            yield GaugeMetricFamily(f"payrescue_calibration_{name}", meaning, value=mean)
        yield GaugeMetricFamily("payrescue_calibration_outcomes", "How many attempts these are.", value=count)


_COUNTED = {
    "shed": "Requests turned away because there were too many.",
    "state_misses": "Requests answered without the online state.",
    "log_dropped": "Decisions that could not be kept.",
    "access_log_dropped": "Lines of the access log that could not be written.",
}


def _counter(name: str, meaning: str, labels: Sequence[str], values: Sequence[tuple[Sequence[str], float]]) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(f"payrescue_{name}", meaning, labels=labels)
    for told, value in values:
        family.add_metric(told, value)
    return family


def _by(name: str, meaning: str, label: str, words: Sequence[str], sums: Sequence[float], first: int) -> Metric:
    """One counter for each word, from adjoining cells."""
    return _counter(name, meaning, (label,), [((word,), sums[first + i]) for i, word in enumerate(words)])


def _histogram(
    name: str,
    meaning: str,
    label: str | None,
    bounds: Sequence[float],
    rows: Iterator[tuple[str, Sequence[float]]] | list[tuple[str, list[float]]],
) -> Metric:
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(f"payrescue_{name}", meaning, labels=[label] if label else [])
    for told, cells in rows:
        counts = accumulate(cells[:-1])
        uppers = [*(str(bound) for bound in bounds), "+Inf"]
        family.add_metric([told] if label else [], list(zip(uppers, counts, strict=True)), cells[-1])
    return family
