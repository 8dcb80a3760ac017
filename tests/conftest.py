"""For all tests: examples drawn by Hypothesis may take their time, as machines under load do; waiting threads sleep.

A test may note a figure that it measured; the figures are told at the end.
"""

import os

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before anything loads OpenMP, as the commands do

settings.register_profile("payrescue", deadline=None)
settings.load_profile("payrescue")

FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture
def figure(request):
    """Notes, in words, what a test measured."""

    def note(text: str) -> None:
        request.config.stash.setdefault(FIGURES, []).append(text)

    return note


def pytest_terminal_summary(terminalreporter):
    figures = terminalreporter.config.stash.get(FIGURES, [])
    if figures:
        terminalreporter.section("measured")
        for text in figures:
            terminalreporter.write_line(text)
