"""When the watcher is started: after the workers where they have a model, before the server where they wait for one."""

import os
import sys
import time
from pathlib import Path

import pytest

import serving
from models.kept import KeptModels
from serving.found import STARTED, read_found
from serving.keeper import Keeper
from serving.settings import ServiceSettings

ROOT = Path(serving.__file__).parents[1]
URI = "models:/payrescue@champion"


@pytest.fixture
def program(tmp_path):
    """Stands in for the watcher: says who it is, and clears its folder when its standard input ends."""
    path = tmp_path / "program.py"
    path.write_text(
        "import os, pathlib, shutil, sys\n"
        "pathlib.Path(sys.argv[1], 'pid').write_text(str(os.getpid()))\n"
        "sys.stdin.read()\n"
        "shutil.rmtree(sys.argv[1])\n"
    )
    return (sys.executable, str(path))


@pytest.fixture
def settings(tmp_path):
    """Those of a server that keeps its models in a folder of its own."""
    return ServiceSettings(last_models=str(tmp_path / "kept"))


@pytest.fixture
def left(settings, tmp_path):
    """A model that somebody left there."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "manifest.json").write_text("{}")
    assert KeptModels(Path(settings.last_models), "sqlite:///mlflow.db").add(URI, "7", tmp_path / "made")


@pytest.fixture
def environment():
    return {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PAYRESCUE_"))}


def until(ready):
    end = time.monotonic() + 20
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.01)


class TestAHeadStart:
    def test_what_was_left_is_there_before_the_watcher_and_that_waits_for_a_worker(
        self, program, settings, left, environment
    ):
        keeper = Keeper(settings, environment, program=program, head_start_s=600)
        try:
            keeper.start()
            assert read_found(keeper.folder).models[URI].version == "7"
            assert keeper.pid is None
            (keeper.folder / STARTED).touch()
            until(lambda: keeper.pid is not None)
        finally:
            keeper.stop()
        assert not keeper.folder.exists()

    def test_it_does_not_wait_for_ever(self, program, settings, left, environment):
        keeper = Keeper(settings, environment, program=program, head_start_s=0.01)
        try:
            keeper.start()
            until(lambda: keeper.pid is not None)
        finally:
            keeper.stop()

    def test_a_keeper_that_stops_before_starts_none(self, program, settings, left, environment):
        keeper = Keeper(settings, environment, program=program, head_start_s=600)
        keeper.start()
        keeper.stop()
        assert keeper.pid is None

    def test_without_a_model_it_starts_at_once(self, program, settings, environment):
        keeper = Keeper(settings, environment, program=program, head_start_s=600)
        try:
            keeper.start()
            assert keeper.pid is not None
        finally:
            keeper.stop()
