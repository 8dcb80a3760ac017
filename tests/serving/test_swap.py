"""Taking models up: good ones between two requests, bad ones never."""

import gc
import hashlib
import json
import logging
import os
import pickle
import re
import shutil
import sys
import weakref

import numpy as np
import pytest

from serving import swap as module
from serving.loading import Located
from serving.swap import Refused, Swap, inspect, take_up

pytestmark = pytest.mark.faults

URI = "models:/payrescue@champion"
PAN = "4111111111111111"


@pytest.fixture
def folder(versions, tmp_path):
    """A fresh copy of a good model."""
    shutil.copytree(versions["hopeful"], tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def swap():
    ticks = iter(range(1, 1_000))
    return Swap(clock=lambda: next(ticks))


def seal(folder, *names):
    """Have the manifest agree with files that were changed: what is refused then is not refused for its hash."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in names:
        content = (folder / name).read_bytes()
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    path.write_text(json.dumps(manifest))


def describe(folder, **changes):
    """Change model.json, and seal it."""
    told = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(told | changes))
    seal(folder, "model.json")


def manifest(folder, change):
    path = folder / "manifest.json"
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


class Danger:
    """A pickle that would make a file if anybody opened it."""

    def __reduce__(self):
        return os.mkdir, ("danger-was-run",)


def truncated(folder):
    content = (folder / "success.txt").read_bytes()
    (folder / "success.txt").write_bytes(content[: len(content) // 2])


def truncated_and_sealed(folder):
    truncated(folder)
    seal(folder, "success.txt")


def bit_flipped(folder):
    content = bytearray((folder / "history.npz").read_bytes())
    content[len(content) // 3] ^= 4
    (folder / "history.npz").write_bytes(content)


def leaf_changed_and_sealed(folder):
    text = (folder / "success.txt").read_text()
    start = text.index("leaf_value=") + len("leaf_value=")
    (folder / "success.txt").write_text(f"{text[:start]}9{text[start:]}")
    seal(folder, "success.txt")


def classes_of_another_kind(folder):
    heads = json.loads((folder / "model.json").read_text())["heads"]
    heads["success"]["classes"] = ["yes", "no"]
    describe(folder, heads=heads)


def classes_swapped(folder):
    heads = json.loads((folder / "model.json").read_text())["heads"]
    heads["success"]["classes"].reverse()
    describe(folder, heads=heads)


def a_pickle_in_it(folder):
    (folder / "extra.pkl").write_bytes(pickle.dumps(Danger()))


def a_pickle_in_it_and_sealed(folder):
    a_pickle_in_it(folder)
    seal(folder, "extra.pkl")


def a_pickle_for_a_history(folder):
    (folder / "history.npz").write_bytes(pickle.dumps(Danger()))
    seal(folder, "history.npz")


def a_pickle_in_an_array(folder):
    with (folder / "history.npz").open("wb") as file:
        np.savez(file, names=np.array([Danger()], dtype=object))
    seal(folder, "history.npz")


def a_pickle_for_a_description(folder):
    (folder / "model.json").write_bytes(pickle.dumps(Danger()))
    seal(folder, "model.json")


def a_path_upwards(folder):
    (folder.parent / "outside.txt").write_text("outside")
    manifest(folder, lambda told: told["files"].update({"../outside.txt": told["files"]["success.txt"]}))


def an_absolute_path(folder):
    manifest(folder, lambda told: told["files"].update({"/etc/hostname": told["files"]["success.txt"]}))


def a_link_for_a_file(folder):
    (folder / "success.txt").rename(folder.parent / "success.txt")
    (folder / "success.txt").symlink_to(folder.parent / "success.txt")


def a_link_for_a_folder(folder):
    (folder / "validated").rename(folder.parent / "validated")
    (folder / "validated").symlink_to(folder.parent / "validated")


def a_pipe_for_a_file(folder):
    (folder / "success.txt").unlink()
    os.mkfifo(folder / "success.txt")


def too_large(folder):
    os.truncate(folder / "history.npz", module.MOST_BYTES)  # sparse: nothing is written


def a_manifest_too_large(folder):
    os.truncate(folder / "manifest.json", 2**21)


def too_many_files(folder):
    for i in range(300):
        (folder / f"{i}.txt").touch()


def golden_rows_of_another(folder):
    rows = json.loads((folder / "golden.json").read_text())
    rows[0]["outcome"][0] += 1e-6
    (folder / "golden.json").write_text(json.dumps(rows))
    seal(folder, "golden.json")


def golden_rows_that_are_none(folder):
    (folder / "golden.json").write_text('{"attempt": 3}')
    seal(folder, "golden.json")


def another_fingerprint(folder):
    manifest(folder, lambda told: told.update(fingerprint="sha256:0123456789abcdef"))


def another_format(folder):
    manifest(folder, lambda told: told.update(format=99))


def nan_in_the_calibration(folder):
    heads = json.loads((folder / "model.json").read_text())["heads"]
    heads["success"]["calibration"]["bias"] = [float("nan")]
    describe(folder, heads=heads)


def nan_without_golden_rows(folder):
    manifest(folder, lambda told: told["files"].pop("golden.json"))
    (folder / "golden.json").unlink()
    nan_in_the_calibration(folder)


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def gone(folder):
    shutil.rmtree(folder)


def a_missing_file(folder):
    (folder / "success.txt").unlink()


def a_manifest_that_is_no_json(folder):
    (folder / "manifest.json").write_text("{not json")


def a_manifest_nested_deeply(folder):
    (folder / "manifest.json").write_text('{"files":' + "[" * 100_000)


def a_name_with_a_card_number(folder):
    manifest(folder, lambda told: told["files"].update({PAN: told["files"]["success.txt"]}))


BAD = {
    truncated: "success.txt has .* bytes, its manifest says",
    truncated_and_sealed: "golden row 0: the outcomes do not come out",
    bit_flipped: "history.npz was changed since the model was made",
    leaf_changed_and_sealed: "golden row",
    classes_of_another_kind: "classes of success are yes, no; want success, failure",
    classes_swapped: "classes of success are failure, success; want success, failure",
    a_pickle_in_it: "extra.pkl is of no kind that a model has",
    a_pickle_in_it_and_sealed: "extra.pkl is of no kind that a model has",
    a_pickle_for_a_history: "history.npz: not a history",
    a_pickle_in_an_array: "history.npz: not a history",
    a_pickle_for_a_description: "model.json: not a model's description",
    a_path_upwards: "'../outside.txt' is in the manifest and not in the folder",
    an_absolute_path: "'/etc/hostname' is in the manifest and not in the folder",
    a_link_for_a_file: "success.txt is a link, or no plain file",
    a_link_for_a_folder: "validated is a link, or no plain file",
    a_pipe_for_a_file: "success.txt is a link, or no plain file",
    too_large: "bytes are too many",
    a_manifest_too_large: "manifest.json has 2097152 bytes",
    too_many_files: "files of .* bytes are too many",
    golden_rows_of_another: "golden row 0: the outcomes do not come out",
    golden_rows_that_are_none: "it cannot be read",
    another_fingerprint: "computed otherwise here",
    another_format: "format 99",
    nan_in_the_calibration: "are no probabilities",
    nan_without_golden_rows: "are no probabilities",
    empty: "there is no manifest.json",
    gone: "there is no manifest.json",
    a_missing_file: "'success.txt' is in the manifest and not in the folder",
    a_manifest_that_is_no_json: "no manifest of a model",
    a_manifest_nested_deeply: "no manifest of a model",
    a_name_with_a_card_number: "its files name a card number",
}


@pytest.mark.parametrize("damage", BAD, ids=lambda damage: damage.__name__)
def test_a_bad_model_is_refused_with_one_line_that_says_why_and_the_champion_stays(
    versions, folder, swap, damage, caplog, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    assert swap.put(URI, Located(versions["gloomy"], "1"))
    serving = swap.of(URI)
    damage(folder)
    caplog.set_level(logging.WARNING)
    caplog.clear()
    assert not swap.put(URI, Located(folder, "2"))
    assert swap.of(URI) is serving
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"version 2 of {URI} is refused, version 1 goes on: ")
    assert "\n" not in line
    assert PAN not in line
    assert swap.refusal.version == "2"
    assert re.search(BAD[damage], swap.refusal.why), swap.refusal.why
    assert str(tmp_path) not in swap.refusal.why
    assert not (tmp_path / "danger-was-run").exists()


def test_there_are_many_ways_to_be_bad(figure):
    figure(f"bad models: {len(BAD)} kinds, each refused while the champion goes on")
    assert len(BAD) >= 12


def test_a_good_model_is_not_refused(folder):
    inspect(folder)
    assert take_up(Located(folder, "3"), at=7).since == 7


def test_it_is_found_inside_an_mlflow_model(folder, tmp_path):
    (tmp_path / "outer" / "data").mkdir(parents=True)
    (tmp_path / "outer" / "MLmodel").write_text("flavors: {}")
    folder.rename(tmp_path / "outer" / "data" / "model")
    assert take_up(Located(tmp_path / "outer", "3"), at=7).engine.version == "3"


def test_the_one_before_stays_loaded_and_comes_back_without_being_read(versions, swap, monkeypatch):
    located = [Located(versions["hopeful"], "1"), Located(versions["gloomy"], "2")]
    assert [swap.put(URI, one) for one in located] == [True, True]
    first = swap.previous(URI)
    assert first.engine.version == "1"
    monkeypatch.setattr(module, "take_up", None)
    assert swap.put(URI, located[0])
    assert swap.of(URI).engine is first.engine
    assert swap.of(URI).since > first.since
    assert swap.previous(URI).engine.version == "2"


def test_what_serves_already_is_not_swapped(versions, swap):
    swap.put(URI, Located(versions["hopeful"], "1"))
    assert not swap.put(URI, Located(versions["hopeful"], "1"))


def test_a_refused_model_is_told_once_and_tried_again_only_after_another(versions, folder, swap, caplog):
    swap.put(URI, Located(versions["gloomy"], "1"))
    a_missing_file(folder)
    caplog.set_level(logging.WARNING)
    caplog.clear()
    for _ in range(3):
        swap.put(URI, Located(folder, "2"))
    assert len(caplog.records) == 1
    swap.put(URI, Located(versions["gloomy"], "1"))
    swap.put(URI, Located(folder, "2"))
    assert len(caplog.records) == 2


def test_what_fails_for_a_reason_that_is_not_in_the_model_is_tried_again_later(versions, caplog):
    now, broken = [0], [True]

    def prepare(served):
        if broken[0]:
            raise TimeoutError
        return served

    swap = Swap(clock=lambda: now[0], prepare=prepare)
    located = Located(versions["hopeful"], "1")
    assert not swap.put(URI, located)
    broken[0] = False
    assert not swap.put(URI, located)
    now[0] = 31_000_000
    assert swap.put(URI, located)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


def test_a_model_is_prepared_before_it_answers_and_refused_if_that_fails(versions, caplog):
    seen = []

    def prepare(served):
        seen.append((served.engine.version, swap.of(URI)))
        if served.engine.version == "2":
            raise ConnectionError(PAN)
        return served

    swap = Swap(clock=lambda: 1, prepare=prepare)
    assert swap.put(URI, Located(versions["hopeful"], "1"))
    assert not swap.put(URI, Located(versions["gloomy"], "2"))
    assert [version for version, _ in seen] == ["1", "2"]
    assert seen[0][1] is None
    assert swap.of(URI).engine.version == "1"
    assert swap.refusal.why == "it could not be taken up (ConnectionError)"
    assert PAN not in caplog.text


def test_swapping_leaves_the_interpreter_s_settings_as_they_were(versions, swap):
    told = (sys.getswitchinterval(), gc.isenabled())
    swap.put(URI, Located(versions["hopeful"], "1"))
    assert (sys.getswitchinterval(), gc.isenabled()) == told


def test_a_model_that_nobody_asks_for_any_more_is_let_go(versions, swap):
    swap.put(URI, Located(versions["hopeful"], "1"))
    first = weakref.ref(swap.of(URI).engine.predictor)
    swap.put(URI, Located(versions["gloomy"], "2"))
    assert first() is not None
    swap.put(URI, Located(versions["hopeful"], "3"))
    assert first() is None
    swap.keep_only(frozenset())
    assert swap.of(URI) is None


def test_what_a_request_asks_of_an_artefact_with_no_folder_is_refused_too(tmp_path):
    with pytest.raises(Refused, match=r"there is no manifest\.json"):
        take_up(Located(tmp_path / "nowhere", "1"), at=0)
