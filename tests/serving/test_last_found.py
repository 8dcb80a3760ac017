"""What was found last is there at the next start, and only what is whole and of the same store."""

import json
import shutil

import pytest

from serving.found import FOUND, read_found
from serving.last_found import LastFound

URI, STORE = "models:/payrescue@champion", "sqlite:///mlflow.db"


@pytest.fixture
def watcher(tmp_path):
    """A watcher's folder, in which it found version 7."""
    folder = tmp_path / "watcher"
    (folder / "payrescue-7").mkdir(parents=True)
    (folder / "payrescue-7" / "manifest.json").write_text("{}")
    found(folder, "7")
    return folder


def found(folder, version):
    model = {"version": version, "folder": str(folder / f"payrescue-{version}")}
    (folder / FOUND).write_text(json.dumps({"models": {URI: model, "models:/other@champion": None}, "trouble": None}))


@pytest.fixture
def last(tmp_path):
    return LastFound(tmp_path / "kept", STORE)


@pytest.fixture
def new(tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    return folder


def test_what_was_kept_is_given_to_the_next_watcher(watcher, last, new):
    assert last.keep(watcher)
    assert last.give(new)
    told = read_found(new)
    assert (told.models[URI].version, told.trouble) == ("7", None)
    assert (told.models[URI].folder / "manifest.json").read_text() == "{}"
    assert told.models[URI].folder.is_relative_to(new)
    assert not (new / "payrescue-7").exists()  # where the watcher will look whether it has downloaded that version


def test_it_is_kept_anew_only_if_it_is_new(watcher, last, tmp_path):
    assert last.keep(watcher)
    assert not last.keep(watcher)
    (watcher / "payrescue-7").rename(watcher / "payrescue-8")
    found(watcher, "8")
    assert last.keep(watcher)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [FOUND, "payrescue-8"]
    assert not list(tmp_path.glob("kept.*"))


def test_what_came_of_the_last_start_is_kept_under_its_own_name(watcher, last, new, tmp_path):
    last.keep(watcher)
    last.give(new)
    again = LastFound(tmp_path / "again", STORE)
    assert again.keep(new)
    assert (tmp_path / "again" / "payrescue-7").is_dir()


def test_another_store_s_models_are_not_given(watcher, last, new, tmp_path):
    last.keep(watcher)
    assert not LastFound(tmp_path / "kept", "sqlite:///other.db").give(new)
    assert list(new.iterdir()) == []


def test_the_store_s_password_is_not_kept(watcher, tmp_path):
    LastFound(tmp_path / "kept", "postgresql://user:secret@host/db").keep(watcher)
    assert "secret" not in (tmp_path / "kept" / FOUND).read_text()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", json.dumps({"store": 1, "models": {URI: {"folder": "x"}}})])
def test_what_is_damaged_is_as_if_it_were_not_there(text, last, new, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / FOUND).write_text(text)
    assert not last.give(new)
    assert read_found(new) is None


def test_a_folder_that_is_gone_is_as_if_it_were_not_there(watcher, last, new, tmp_path):
    last.keep(watcher)
    shutil.rmtree(tmp_path / "kept" / "payrescue-7")
    assert not last.give(new)
    assert read_found(new) is None


def test_where_nothing_can_be_kept_the_server_goes_on_and_says_so(watcher, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    LastFound(tmp_path / "file" / "kept", STORE).keep(watcher)
    assert "cannot be kept for the next start" in caplog.text
