"""When the watcher is started: after the workers where they have a model, before the server where they wait for one."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import serving
from models.kept import KeptModels
from serving.found import STARTED, read_found
from serving.keeper import BEGUN, Keeper, begin
from serving.settings import ServiceSettings
from serving.taken_over import TakenOver

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


class TestBegun:
    def test_only_where_a_server_would_wait_for_it(self, settings, environment):
        assert begin(ServiceSettings(model="none"), environment) is None
        assert begin(ServiceSettings(follow_s=0), environment) is None
        keeper = begin(settings, environment)
        assert keeper.pid is None
        keeper.stop()

    def test_not_where_a_model_was_left(self, settings, left, environment):
        assert begin(settings, environment) is None

    def test_the_program_that_this_becomes_takes_the_watcher_over(self, program, settings, environment, tmp_path):
        becomes = tmp_path / "becomes.py"
        becomes.write_text(
            "import json, os, time\n"
            "from serving.keeper import BEGUN, Keeper\n"
            "from serving.settings import ServiceSettings\n"
            f"keeper = Keeper(ServiceSettings(last_models='none'), os.environ, begun=os.environ[{BEGUN!r}])\n"
            "keeper.start()\n"
            "inherited = os.get_inheritable(json.loads(os.environ[BEGUN])['door'])\n"
            "while not (keeper.folder / 'pid').is_file(): time.sleep(0.01)\n"
            "own = int((keeper.folder / 'pid').read_text())\n"
            "os.kill(own, 0)\n"
            "keeper.stop()\n"
            "try: os.kill(own, 0)\n"
            "except ProcessLookupError: ended = True\n"
            "else: ended = False\n"
            "print(json.dumps([keeper.pid == own, inherited, ended, keeper.folder.exists()]))\n"
        )
        told = run(program, environment, f"os.execve(sys.executable, [sys.executable, {str(becomes)!r}], told)")
        assert json.loads(told) == [True, False, True, False]

    def test_it_ends_with_a_process_that_becomes_nothing(self, program, environment):
        told = run(program, environment, "print(keeper.folder)")
        until(lambda: not Path(told.strip()).exists())

    def test_that_of_another_process_is_not_taken_over(self, program, settings, environment, tmp_path):
        begun = json.dumps({"by": 1, "pid": 1, "door": 0, "folder": str(tmp_path)})
        keeper = Keeper(settings, environment, program=program, begun=begun)
        assert keeper.pid is None
        assert keeper.folder != tmp_path
        keeper.stop()


def run(program, environment, end):
    """What a process prints that has a keeper hand its watcher over, and then does `end` with what was `told`."""
    script = (
        "import os, sys\n"
        "from serving.keeper import BEGUN, Keeper\n"
        "from serving.settings import ServiceSettings\n"
        f"keeper = Keeper(ServiceSettings(last_models='none'), os.environ, program={program!r})\n"
        "told = {**os.environ, BEGUN: keeper.hand_over()}\n"
        f"{end}\n"
    )
    words = [sys.executable, "-c", script]
    return subprocess.run(
        words, env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True, timeout=60
    ).stdout


class TestTakenOver:
    @pytest.fixture
    def child(self):
        """A process that ends with its standard input, by the code 3; and what has taken it over."""
        there, door = os.pipe()
        words = [sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit(3)"]
        pid = os.posix_spawn(words[0], words, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, there, 0)])
        os.close(there)
        return TakenOver(pid, door)

    def test_it_ends_with_its_standard_input(self, child):
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.01)
        child.stdin.close()
        assert child.wait(20) == 3
        assert child.wait() == 0  # somebody has asked already

    def test_it_can_be_ended_at_once(self, child):
        child.kill()
        assert child.wait() == -9
        child.stdin.close()
