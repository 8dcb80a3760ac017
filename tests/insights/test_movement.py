"""Mix and rate: they add up exactly, whatever moved; and they are what they are said to be."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.attempts import check_attempts
from insights.frame import frame_of
from insights.movement import mix_and_rate, movement, periods_of
from insights.settings import InsightSettings

counts = st.lists(st.tuples(*[st.integers(0, 10**6)] * 2, *[st.floats(0, 1)] * 2), min_size=1, max_size=12)


@given(counts)
def test_mix_and_rate_add_up_to_the_change(segments):
    n = np.array([[s[0] for s in segments], [s[1] for s in segments]])
    if (n.sum(axis=1) == 0).any():
        return
    hits = np.floor(n * np.array([[s[2] for s in segments], [s[3] for s in segments]]))
    mix, rate = mix_and_rate(n, hits)
    whole = hits.sum(axis=1) / n.sum(axis=1)
    assert mix.sum() + rate.sum() == pytest.approx(whole[1] - whole[0], abs=1e-12)


def test_what_only_grew_is_all_mix_and_what_only_improved_is_all_rate():
    mix, rate = mix_and_rate(np.array([[50, 50], [80, 20]]), np.array([[45, 25], [72, 10]]))
    assert rate.tolist() == [0.0, 0.0]
    assert mix.sum() == pytest.approx(0.12)
    mix, rate = mix_and_rate(np.array([[50, 50], [100, 100]]), np.array([[25, 25], [60, 50]]))
    assert mix.tolist() == [0.0, 0.0]
    assert rate.tolist() == pytest.approx([0.05, 0.0])


def test_a_segment_that_one_period_lacks_is_all_mix():
    mix, rate = mix_and_rate(np.array([[100, 0], [100, 100]]), np.array([[50, 0], [50, 100]]))
    assert rate.tolist() == [0.0, 0.0]
    assert mix.sum() == pytest.approx(0.25)


@pytest.mark.parametrize("definition", ["attempt", "payment", "first_time"])
def test_each_segment_s_parts_add_up_to_the_same_change(frame, definition):
    periods = periods_of(frame)
    units = frame.units(definition)
    for name in frame.segments:
        found = movement(frame, units, name, periods)
        assert sum(part.mix[0] + part.rate[0] for part in found.parts) == pytest.approx(found.change[0], abs=1e-12)
        assert found.change[0] == pytest.approx(found.now.value - found.before.value, abs=1e-12)
        assert found.change[1] < found.change[0] < found.change[2]


def test_the_interval_of_the_change_holds_the_true_change_as_often_as_it_says():
    rng, held, worlds = np.random.default_rng(3), 0, 60
    for _ in range(worlds):
        n = 800
        when = pd.Timestamp("2026-01-05", tz="UTC") + pd.to_timedelta(np.sort(rng.integers(0, 4 * 86_400, n)), unit="s")
        late = np.asarray(when >= when[0] + pd.Timedelta(days=2))
        table = check_attempts(
            pd.DataFrame(
                {
                    "attempt_id": [f"a{i}" for i in range(n)], "payment_id": [f"p{i}" for i in range(n)], "created_at": when,
                    "amount_minor": 100, "currency": "EUR", "country": rng.choice(["DE", "FR"], n), "method": "card",
                    "outcome": np.where(rng.random(n) < np.where(late, 0.8, 0.7), "success", "bank_decline"),
                    "resolved_at": when,
                }
            ),
            now=when[-1].to_pydatetime(),
        )  # fmt: skip
        frame = frame_of(table, InsightSettings())
        found = movement(frame, frame.units("attempt"), "country", periods_of(frame))
        held += found.change[1] <= 0.1 <= found.change[2]
    assert 0.87 <= held / worlds <= 0.99


def test_attempts_of_a_day_have_no_periods():
    assert periods_of(frame_of(one_day(), InsightSettings())) is None


def one_day():
    rows = [
        {
            "attempt_id": f"a{i}", "payment_id": f"p{i}", "created_at": f"2026-01-05T0{i}:00:00Z", "amount_minor": 1,
            "currency": "EUR", "country": "DE", "method": "card", "outcome": "success",
            "resolved_at": f"2026-01-05T0{i}:00:09Z",
        }
        for i in range(5)
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    for name in ("created_at", "resolved_at"):
        frame[name] = pd.to_datetime(frame[name])
    return check_attempts(frame, now=pd.Timestamp("2026-02-01", tz="UTC").to_pydatetime())
