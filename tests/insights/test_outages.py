"""Outages are found where something broke, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest

from features.attempts import check_attempts
from insights.frame import CAUSES, frame_of
from insights.outages import detected_outages
from insights.settings import InsightSettings
from training.simulator import simulate

HOUR = 3_600_000_000


@pytest.fixture(scope="module")
def calm():
    from datetime import UTC, datetime

    frame = frame_of(
        check_attempts(simulate(20_000, 8, "base").attempts, now=datetime(2026, 11, 1, tzinfo=UTC)), InsightSettings()
    )
    rng = np.random.default_rng(2)
    technical = rng.random(len(frame)) < 0.02
    cause = np.where(
        technical, CAUSES.index("technical"), np.where(frame.cause == CAUSES.index("technical"), -1, frame.cause)
    )
    return replace(frame, cause=cause.astype(np.int8))  # failures that come at random, whenever


def test_nothing_is_found_where_failures_come_at_random(calm):
    assert detected_outages(calm) == []


def test_a_route_that_goes_down_is_found_with_its_hours(calm):
    routes = calm.segments["route"]
    begin = calm.window[0] + 250 * HOUR
    down = (routes.codes == 0) & (calm.created >= begin) & (calm.created < begin + 5 * HOUR)
    broken = replace(calm, cause=np.where(down, CAUSES.index("technical"), calm.cause))
    (found,) = detected_outages(broken)
    assert (found.kind, found.label, found.detected) == ("outage", f"route {routes.values[0]}", True)
    assert abs(found.at - begin) <= HOUR
    assert abs(found.until - (begin + 5 * HOUR)) <= HOUR


def test_no_more_than_asked_for_are_told_and_the_largest_come_first(frame):
    everything = detected_outages(frame)
    assert len(detected_outages(frame, most=1)) == min(1, len(everything))
