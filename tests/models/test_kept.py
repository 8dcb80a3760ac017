"""Models that are kept for a server to start on: whole, of one store, and none lost by who comes at once."""

import fcntl
import os

import pytest

from models.kept import Kept, KeptModels

CHAMPION, OTHER, STORE = "models:/payrescue@champion", "models:/other@champion", "https://mlflow.example"


@pytest.fixture
def files(tmp_path):
    """The files of some model."""
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    return folder


@pytest.fixture
def kept(tmp_path):
    return KeptModels(tmp_path / "kept", STORE)


def versions(kept):
    return {uri: one.version for uri, one in (kept.models() or {}).items()}


def test_what_is_added_is_there_with_its_files(kept, files):
    assert kept.add(CHAMPION, "7", files)
    one = kept.models()[CHAMPION]
    assert one.version == "7"
    assert (one.folder / "manifest.json").read_text() == "{}"


def test_what_is_added_takes_the_place_of_what_its_uri_stood_for_and_of_nothing_else(kept, files, tmp_path):
    kept.replace({CHAMPION: Kept("7", files, "payrescue-7"), OTHER: Kept("2", files, "other-2")})
    kept.add(CHAMPION, "8", files)
    assert versions(kept) == {CHAMPION: "8", OTHER: "2"}
    assert len([path for path in (tmp_path / "kept").iterdir() if path.is_dir()]) == 2


def test_a_version_that_was_made_anew_under_its_old_number_is_the_new_one(kept, files):
    kept.replace({CHAMPION: Kept("1", files, "payrescue-1")})
    (files / "manifest.json").write_text("[]")
    kept.add(CHAMPION, "1", files)
    assert (kept.models()[CHAMPION].folder / "manifest.json").read_text() == "[]"


def test_another_store_s_models_are_neither_read_nor_added_to(kept, files, tmp_path):
    kept.add(CHAMPION, "7", files)
    other = KeptModels(tmp_path / "kept", "https://other.example")
    assert other.models() is None
    assert not other.add(CHAMPION, "1", files)
    assert versions(kept) == {CHAMPION: "7"}


def test_the_same_words_name_another_store_in_another_folder(files, tmp_path, monkeypatch):
    monkeypatch.chdir(files)
    here = KeptModels(tmp_path / "kept", "sqlite:///mlflow.db")
    here.add(CHAMPION, "7", files)
    assert KeptModels(tmp_path / "kept", f"sqlite:///{files}/mlflow.db").models() is not None
    monkeypatch.chdir(tmp_path)
    assert KeptModels(tmp_path / "kept", "sqlite:///mlflow.db").models() is None


def test_who_comes_while_another_writes_leaves_it_to_them(kept, files, tmp_path):
    kept.add(CHAMPION, "7", files)
    held = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not kept.add(CHAMPION, "8", files)
        assert not kept.replace({CHAMPION: Kept("9", files, "payrescue-9")})
    finally:
        os.close(held)
    assert versions(kept) == {CHAMPION: "7"}
    assert kept.add(CHAMPION, "8", files)
