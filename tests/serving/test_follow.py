"""Following the registry: what the watcher writes, what the workers make of it, and who answers then."""

import json
import logging
import os
import subprocess
import sys
import threading
import time

import pytest

from models.engine import Engine
from models.fees import Fee, Fees
from models.policies import Budget
from serving import follow, watch
from serving.app import App
from serving.follow import Follower
from serving.found import FOUND, Found, read_found
from serving.keeper import Keeper, watched
from serving.learning import Policies
from serving.loading import Served
from serving.settings import ServiceSettings
from serving.swap import Swap
from serving.watch import Watch

CHAMPION, CHALLENGER = "models:/payrescue@champion", "models:/payrescue@challenger"


class Registry:
    """A registry whose aliases tests move; it holds every version of `folders`."""

    def __init__(self, folders):
        self.folders, self.aliases, self.fails, self.downloads = folders, {}, None, []

    def version(self, name, alias):
        if self.fails is not None:
            raise self.fails
        return self.aliases.get(alias)

    def download(self, name, version, into):
        if version == "torn":
            (into / "half").touch()
            raise ConnectionError
        self.downloads.append(version)
        for path in sorted(self.folders[version].rglob("*")):
            target = into / path.relative_to(self.folders[version])
            target.mkdir() if path.is_dir() else target.write_bytes(path.read_bytes())


@pytest.fixture
def registry(versions):
    return Registry({"1": versions["hopeful"], "2": versions["gloomy"], "3": versions["hopeful"].parent})


@pytest.fixture
def place(tmp_path):
    (tmp_path / "watch").mkdir()
    return tmp_path / "watch"


@pytest.fixture
def watcher(place, registry):
    return Watch(place, CHAMPION, None, "http://registry", registry)


@pytest.fixture
def make(place):
    """Makes a worker's follower."""

    def _make(uri=CHAMPION, **options):
        swap = Swap(clock=lambda: time.time_ns() // 1_000)
        return Follower(Served(Engine(None)), swap, uri=uri, folder=place, **options)

    return _make


def version(follower):
    return follower.current().engine.version


def test_what_cannot_be_got_ready_for_a_first_model_leaves_the_rules(make, monkeypatch):
    def fails():
        raise RuntimeError("there is nowhere to keep compiled code")

    monkeypatch.setattr("serving.follow.get_ready", fails)
    follower = make()
    follower.start(0.01)
    assert follower.current().engine.predictor is None
    follower.close()


def test_where_there_is_no_model_nobody_waits_for_one_to_be_got_ready_for(make, place, monkeypatch):
    ends = threading.Event()
    monkeypatch.setattr("serving.follow.get_ready", lambda: ends.wait(60))
    follower = make()
    told = json.dumps({"models": {CHAMPION: None}, "trouble": None})
    threading.Timer(0.2, lambda: (place / FOUND).write_text(told)).start()
    began = time.monotonic()
    follower.start(50)
    waited = time.monotonic() - began
    ends.set()
    assert waited < 40
    follower.close()


class TestWatch:
    def test_it_writes_what_the_alias_stands_for_and_where_it_was_downloaded(self, watcher, registry, place):
        registry.aliases["champion"] = "1"
        assert watcher.look()
        found = read_found(place).models[CHAMPION]
        assert found.version == "1"
        assert (found.folder / "manifest.json").is_file()
        assert found.folder.parent == place

    def test_it_downloads_a_version_once(self, watcher, registry):
        for wanted in "1122211":
            registry.aliases["champion"] = wanted
            watcher.look()
        assert registry.downloads == ["1", "2"]

    def test_a_registry_that_fails_leaves_what_was_found_and_is_told_without_its_words(self, watcher, registry, place):
        registry.aliases["champion"] = "1"
        watcher.look()
        registry.fails = ConnectionError("http://user:secret@registry")
        assert watcher.look()
        assert read_found(place).models[CHAMPION].version == "1"
        assert read_found(place).trouble == "ConnectionError"
        registry.fails = None
        watcher.look()
        assert read_found(place).trouble is None

    def test_one_that_is_started_anew_holds_to_what_was_found_until_the_registry_answers(
        self, watcher, registry, place
    ):
        registry.aliases["champion"] = "1"
        watcher.look()
        registry.fails = ConnectionError()
        assert Watch(place, CHAMPION, None, "http://registry", registry).look()
        assert read_found(place).models[CHAMPION].version == "1"

    def test_a_download_that_fails_leaves_nothing_behind(self, watcher, registry, place):
        registry.aliases["champion"] = "torn"
        watcher.look()
        assert read_found(place).trouble == "ConnectionError"
        assert [path.name for path in place.iterdir()] == [FOUND]

    def test_a_version_that_is_not_there_is_no_trouble_of_the_registry(self, place, registry):
        Watch(place, "models:/payrescue/9", None, "http://registry", registry).look()
        assert read_found(place) == Found({"models:/payrescue/9": None}, None)

    def test_the_file_s_time_says_when_the_registry_was_last_asked(self, watcher, place):
        watcher.look()
        os.utime(place / FOUND, (1, 1))
        watcher.look()
        assert (place / FOUND).stat().st_mtime > 1

    def test_models_of_experiments_are_watched_too_and_a_broken_file_changes_nothing(self, place, registry, tmp_path):
        path = tmp_path / "e.yaml"
        watcher = Watch(place, None, path, "http://registry", registry)
        registry.aliases["challenger"] = "2"
        watcher.look()
        assert read_found(place).models == {}
        path.write_text(
            f"experiments: [{{name: e, mode: shadow, arms: [{{name: a, model: '{CHALLENGER}'}}, "
            "{name: b, model: 'models:/payrescue/1'}]}]"
        )
        for text in (None, "experiments: [", None):
            if text is not None:
                path.write_text(text)
            watcher.look()
            found = read_found(place).models
            assert {uri: one.version for uri, one in found.items()} == {CHALLENGER: "2", "models:/payrescue/1": "1"}

    def test_only_a_few_old_downloads_stay(self, watcher, registry, place, versions):
        for i in range(10, 20):
            registry.folders[str(i)] = versions["hopeful"]
            registry.aliases["champion"] = str(i)
            watcher.look()
        assert len([path for path in place.iterdir() if path.is_dir()]) == 1 + watch._KEPT
        assert read_found(place).models[CHAMPION].folder.is_dir()

    @pytest.mark.parametrize("uri", [CHAMPION, "models:/payrescue/9"])
    def test_a_store_that_mlflow_does_not_know_is_no_registry_without_models(self, place, uri):
        look = "Watch(Path(sys.argv[1]), sys.argv[2], None, 'nowhere://store').look()"
        code = f"import sys; from pathlib import Path; from serving.watch import Watch; {look}"
        environment = {**os.environ, "MLFLOW_TRACKING_URI": "nowhere://store"}
        subprocess.run([sys.executable, "-c", code, str(place), uri], env=environment, check=True, capture_output=True)
        assert read_found(place) == Found({}, "UnsupportedModelRegistryStoreURIException")

    def test_a_store_that_is_not_there_is_neither_asked_nor_made(self, place, registry, tmp_path):
        registry.fails = AssertionError("asked")
        watcher = Watch(place, CHAMPION, None, f"sqlite:///{tmp_path}/none.db", registry)
        assert watcher.look()
        assert read_found(place).trouble == "no store yet"
        assert not (tmp_path / "none.db").exists()

    def test_a_store_that_is_being_made_is_asked_only_when_it_is_quiet(self, place, registry, tmp_path):
        registry.aliases["champion"] = "1"
        store = tmp_path / "new.db"
        store.touch()
        watcher = Watch(place, CHAMPION, None, f"sqlite:///{store}", registry)
        assert watcher.look()
        assert read_found(place).models == {}
        os.utime(store, (time.time() - 60, time.time() - 60))
        assert watcher.look()
        assert read_found(place).models[CHAMPION].version == "1"

    def test_a_store_that_is_another_file_now_wants_a_new_process(self, place, registry, tmp_path):
        store = tmp_path / "old.db"
        store.touch()
        os.utime(store, (1, 1))
        watcher = Watch(place, CHAMPION, None, f"sqlite:///{store}", registry)
        assert watcher.look()
        (tmp_path / "new.db").touch()
        (tmp_path / "new.db").rename(store)
        assert not watcher.look()

    def test_a_model_s_size_is_told_before_it_is_downloaded(self):
        class Entry:
            def __init__(self, path, size):
                self.path, self.is_dir, self.file_size = path, size is None, size

        tree = {"u": [Entry("data dir", None), Entry("MLmodel", 10)], "u/data%20dir": [Entry("data dir/x", 32)]}
        assert watch._size(lambda artifact_uri: tree[artifact_uri], "u") == 42


class TestFollower:
    def test_the_rules_answer_until_there_is_a_champion(self, make, watcher, registry):
        follower = make()
        follower.look()
        assert version(follower) is None
        registry.aliases["champion"] = "1"
        watcher.look()
        assert follower.look()
        assert version(follower) == "1"

    def test_a_champion_that_changes_is_taken_up_and_back_and_the_one_before_is_told(self, make, watcher, registry):
        follower = make()
        for wanted in "121":
            registry.aliases["champion"] = wanted
            watcher.look()
            assert follower.look()
            assert version(follower) == wanted
        assert follower.lineup().previous.engine.version == "2"
        assert not follower.look()

    def test_an_alias_that_is_gone_leaves_the_champion(self, make, watcher, registry):
        follower = make()
        registry.aliases["champion"] = "1"
        watcher.look()
        follower.look()
        registry.aliases.clear()
        watcher.look()
        assert not follower.look()
        assert version(follower) == "1"

    def test_a_refused_version_is_told_and_the_champion_stays(self, make, watcher, registry):
        follower = make()
        for wanted in "13":
            registry.aliases["champion"] = wanted
            watcher.look()
            follower.look()
        # the folder of version 3 holds another model further down, with files that no model has beside it
        registry.folders["4"] = registry.folders["1"] / "validated"
        registry.aliases["champion"] = "4"
        watcher.look()
        before = version(follower)
        assert not follower.look()
        assert version(follower) == before
        assert follower.status()["last_refusal"]["version"] == "4"
        assert follower.status()["last_refusal"]["why"] == "there is no manifest.json"

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"models": 3, "trouble": null}', '{"models": {"u": {}}}'])
    def test_a_file_that_cannot_be_read_changes_nothing(self, make, watcher, registry, place, text):
        follower = make()
        registry.aliases["champion"] = "1"
        watcher.look()
        follower.look()
        (place / FOUND).write_text(text)
        assert not follower.look()
        assert version(follower) == "1"

    def test_readiness_tells_how_the_registry_is(self, make, watcher, registry, place):
        follower = make(silent_s=60.0)
        assert follower.status()["registry"] == "silent"
        watcher.look()
        follower.look()
        assert follower.status()["registry"] == "reachable"
        registry.fails = ConnectionError()
        watcher.look()
        follower.look()
        assert follower.status()["registry"] == "unreachable (ConnectionError)"
        os.utime(place / FOUND, (1, 1))
        assert follower.status()["registry"] == "silent"

    def test_a_watcher_that_has_not_asked_yet_is_waited_for_and_not_for_ever(self, make, watcher, registry, caplog):
        registry.aliases["champion"] = "1"
        late = make()
        late.start(0.05)
        late.close()
        assert version(late) is None
        assert f"no model yet: {CHAMPION} is not there" in caplog.text
        asked = threading.Timer(0.1, watcher.look)
        asked.start()
        patient = make()
        patient.start(10)
        patient.close()
        asked.join()
        assert version(patient) == "1"

    def test_the_thread_outlives_what_fails_in_it(self, make, watcher, registry, monkeypatch, caplog):
        monkeypatch.setattr(follow, "_EVERY_S", 0.01)
        follower = make()
        follower.start()
        monkeypatch.setattr(follow, "read_found", lambda folder: 1 / 0)
        with caplog.at_level(logging.ERROR):
            _until(lambda: "ZeroDivisionError" in caplog.text)
        monkeypatch.setattr(follow, "read_found", read_found)
        registry.aliases["champion"] = "1"
        watcher.look()
        _until(lambda: version(follower) == "1")
        follower.close()


def _until(happened, seconds=5.0):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def ab(tmp_path, *arms, mode="ab"):
    path = tmp_path / "e.yaml"
    path.write_text(f"experiments: [{{name: e, mode: {mode}, arms: [{', '.join(arms)}]}}]")
    return path


class TestExperiments:
    def test_answers_name_experiment_variant_and_the_version_that_answered(
        self, make, place, registry, tmp_path, send, question
    ):
        path = ab(tmp_path, "{name: a, share: 0.5}", f"{{name: b, share: 0.25, model: '{CHALLENGER}'}}")
        registry.aliases |= {"champion": "1", "challenger": "2"}
        follower = make(experiments=path)
        Watch(place, CHAMPION, path, "http://registry", registry).look()
        follower.look()
        app = App(Engine(None), models=follower)
        seen = set()
        for i in range(40):
            attempt = question["attempt"] | {"payment_id": f"p{i}"}
            answer = send(app, "POST", "/v1/score", question | {"attempt": attempt}).json()
            again = send(app, "POST", "/v1/score", question | {"attempt": attempt}).json()
            assert {**again, "request_id": ""} == {**answer, "request_id": ""}
            assert answer["degraded"] is False
            seen.add((answer["policy"]["experiment"], answer["policy"]["variant"], answer["model"]["version"]))
        assert seen == {("e", "a", "1"), ("e", "b", "2"), (None, None, "1")}

    def test_an_arm_may_be_a_policy(self, make, place, registry, tmp_path, send, question):
        path = ab(tmp_path, "{name: a, share: 0.5}", "{name: b, share: 0.5, policy: rules}")
        registry.aliases["champion"] = "1"
        follower = make(experiments=path)
        Watch(place, CHAMPION, path, "http://registry", registry).look()
        follower.look()
        app = App(Engine(None), models=follower)
        asked = [question | {"attempt": question["attempt"] | {"payment_id": f"p{i}"}} for i in range(20)]
        policies = [answer["policy"] for answer in send(app, "POST", "/v1/score/batch", asked).json()]
        assert {(policy["variant"], policy["name"]) for policy in policies} == {("a", "greedy"), ("b", "rules")}

    def test_an_arm_may_weigh_by_the_service_s_fees_and_two_arms_have_each_a_policy(
        self, make, place, registry, tmp_path
    ):
        arms = [f"{{name: {name}, share: 0.5, policy: 'budget:price=0.04'}}" for name in "ab"]
        path = ab(tmp_path, *arms)
        registry.aliases["champion"] = "1"
        fees = Fees("KRW", {"north": Fee(0.3, 0.0)})
        follower = make(experiments=path, policies=Policies(fees))
        Watch(place, CHAMPION, path, "http://registry", registry).look()
        follower.look()
        ((_, served),) = follower.lineup().answering
        assert [served[name].engine.policy for name in "ab"] == [Budget(fees, 0.04)] * 2
        assert served["a"].engine.policy is not served["b"].engine.policy
        before = served["a"].engine.policy
        registry.aliases["champion"] = "2"
        Watch(place, CHAMPION, path, "http://registry", registry).look()
        follower.look()
        ((_, served),) = follower.lineup().answering
        assert served["a"].engine.policy is before

    def test_without_fees_an_arm_that_weighs_by_them_is_refused(self, make, place, registry, tmp_path):
        path = ab(tmp_path, "{name: a, share: 0.5}", "{name: b, share: 0.5, policy: 'budget:price=0.04'}")
        registry.aliases["champion"] = "1"
        follower = make(experiments=path)
        Watch(place, CHAMPION, path, "http://registry", registry).look()
        follower.look()
        assert "and fees to weigh by" in follower.status()["experiments"]["trouble"]

    def test_an_experiment_waits_until_all_of_its_arms_can_answer(self, make, place, registry, tmp_path):
        path = ab(tmp_path, "{name: a, share: 0.5}", f"{{name: b, share: 0.5, model: '{CHALLENGER}'}}")
        registry.aliases["champion"] = "1"
        follower, watcher = make(experiments=path), Watch(place, CHAMPION, path, "http://registry", registry)
        watcher.look()
        follower.look()
        assert {follower.lineup().for_payment(f"p{i}").variant for i in range(20)} == {None}
        assert follower.status()["experiments"]["waiting"] == {"e": f"there is no {CHALLENGER}"}
        registry.aliases["challenger"] = "2"
        watcher.look()
        follower.look()
        assert {follower.lineup().for_payment(f"p{i}").variant for i in range(20)} == {"a", "b"}
        assert follower.status()["experiments"] == {"running": ["e"], "waiting": {}, "trouble": None}

    def test_a_file_that_changes_is_read_anew_and_one_that_breaks_leaves_what_runs(
        self, make, watcher, registry, tmp_path, caplog
    ):
        path = ab(tmp_path, "{name: a, share: 0.5}", "{name: b, share: 0.5, policy: rules}")
        registry.aliases["champion"] = "1"
        watcher.look()
        follower = make(experiments=path)
        follower.look()
        assert follower.status()["experiments"]["running"] == ["e"]
        for i, text in enumerate(("experiments: [", "experiments: []"), start=1):
            path.write_text(text)
            os.utime(path, ns=(i, i))
            follower.look()
            told = follower.status()["experiments"]
            assert (told["running"], told["trouble"] is None) == ((["e"], False) if i == 1 else ([], True))
        assert "the experiments stay as they are" in caplog.text

    def test_two_followers_assign_alike(self, make, watcher, registry, tmp_path):
        path = ab(tmp_path, "{name: a, share: 0.3}", "{name: b, share: 0.3, policy: rules}")
        registry.aliases["champion"] = "1"
        watcher.look()
        told = []
        for follower in (make(experiments=path), make(experiments=path)):
            follower.look()
            told.append([follower.lineup().for_payment(f"p{i}").variant for i in range(200)])
        assert told[0] == told[1]


class TestKeeper:
    @pytest.mark.parametrize(
        ("model", "uri"),
        [(CHAMPION, CHAMPION), ("models:/payrescue/3", "models:/payrescue/3"), ("none", None), (".", None)],
    )
    def test_a_model_of_the_registry_is_followed_and_nothing_else(self, model, uri):
        assert watched(ServiceSettings(model=model)) == uri

    def test_a_watcher_that_dies_is_started_anew_and_ends_with_its_keeper(self, monkeypatch, tmp_path):
        monkeypatch.setattr("serving.keeper._SOONEST_S", 0.05)
        program = tmp_path / "program.py"
        program.write_text(
            f"import pathlib, sys\npathlib.Path(sys.argv[1], {FOUND!r}).write_text('{{}}')\nsys.stdin.read()\n"
        )
        keeper = Keeper(ServiceSettings(), os.environ, program=(sys.executable, str(program)))
        try:
            keeper.start()
            _until((keeper.folder / FOUND).is_file)
            first = keeper.pid
            os.kill(first, 9)
            _until(lambda: keeper.pid != first)
        finally:
            last = keeper.pid
            keeper.stop()
        assert not keeper.folder.exists()
        with pytest.raises(ProcessLookupError):
            os.kill(last, 0)


def test_the_watcher_s_file_is_read_as_it_was_written(place):
    (place / FOUND).write_text(
        json.dumps({"models": {"u": {"folder": "/x", "version": "3"}, "v": None}, "trouble": "T"})
    )
    found = read_found(place)
    assert (str(found.models["u"].folder), found.models["u"].version) == ("/x", "3")
    assert (found.models["v"], found.trouble) == (None, "T")
