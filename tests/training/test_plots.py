"""Pictures speak of the heads that tell, not of others."""

import matplotlib.pyplot as plt
import pytest

from models.heads import STAGES
from training.plots import pictures


@pytest.fixture
def shown(trained, tmp_path, monkeypatch):
    """The titles of each picture's panels, by the picture's name."""
    kept, close = {}, plt.close
    monkeypatch.setattr(
        plt, "close", lambda figure: kept.setdefault(len(kept), [axis.get_title("left") for axis in figure.axes])
    )
    drawn = pictures(trained, tmp_path)
    monkeypatch.setattr(plt, "close", close)
    plt.close("all")
    assert all(path.stat().st_size > 10_000 for path in drawn.values())
    return dict(zip(drawn, kept.values(), strict=True))


def test_each_stage_has_a_panel_of_what_it_goes_with(shown):
    assert len(shown["importance"]) == len(STAGES)
    assert "What giving up goes with" in shown["importance"]


def test_every_head_has_its_learning_curve(shown, trained):
    assert len(shown["learning_curve"]) == sum(bool(curve) for curve in trained.curves.values())
    assert any(title.startswith("user abandonment head") for title in shown["learning_curve"])
