"""One small simulated world and one training of it, for all tests here."""

from datetime import UTC, datetime

import pytest

from features.attempts import check_attempts
from training.settings import TrainSettings
from training.simulator import simulate
from training.train import train

NOW = datetime(2026, 11, 1, tzinfo=UTC)
QUICK = TrainSettings(
    max_rounds=60, early_stopping_rounds=10, learning_rate=0.1, resamples=40, select_below_rows=0, threads=2
)


@pytest.fixture(scope="session")
def world():
    return simulate(6000, 11, "base")


@pytest.fixture(scope="session")
def table(world):
    return check_attempts(world.attempts, now=NOW, for_training=True)


@pytest.fixture(scope="session")
def settings():
    return QUICK


@pytest.fixture(scope="session")
def trained(table, settings):
    return train(table, settings)
