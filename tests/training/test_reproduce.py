"""The same data, settings and code give the same artefact, hash for hash; what differs is named."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from features.errors import BadInput
from features.own import OwnColumn
from models.artefact import save
from training.reproduce import artefact_hash, differences, environment, origin_of, record, settings_of
from training.settings import TrainSettings
from training.tracking import add_to
from training.train import train


@pytest.fixture(scope="module")
def few(table):
    return table.head(1_500)


@pytest.fixture(scope="module")
def quick(settings):
    return replace(settings, max_rounds=6, resamples=20)


@pytest.fixture(scope="module")
def folders(few, quick, tmp_path_factory):
    """The artefacts of the same training, done twice, and of one with another seed."""
    found = []
    for name, told in (("one", quick), ("two", quick), ("other", replace(quick, seed=8))):
        found.append(tmp_path_factory.mktemp("reproduce") / name)
        save(train(few, told).artefact, found[-1])
    return found


def test_the_same_training_gives_the_same_files(folders):
    one, two, _ = folders
    assert artefact_hash(one) == artefact_hash(two)
    assert (one / "manifest.json").read_bytes() == (two / "manifest.json").read_bytes()


def test_another_seed_gives_another_hash(folders):
    assert artefact_hash(folders[0]) != artefact_hash(folders[2])


def test_the_model_card_is_no_part_of_the_hash_and_everything_else_is(folders):
    folder = folders[2]
    before = artefact_hash(folder)
    add_to(folder, "model_card.json", {"run_id": "0a1b"})
    assert artefact_hash(folder) == before
    add_to(folder, "snapshot.json", {"days": 1})
    assert artefact_hash(folder) != before


def test_the_origin_of_a_file_changes_with_its_content_and_not_with_its_place(few, tmp_path):
    (tmp_path / "there").mkdir()
    for path in ("one.parquet", "there/two.parquet"):
        few.to_parquet(tmp_path / path)
    few.head(1_499).to_parquet(tmp_path / "three.parquet")
    one, two, three = (
        origin_of(str(tmp_path / name), None, None, few)
        for name in ("one.parquet", "there/two.parquet", "three.parquet")
    )
    assert one.sha256 == two.sha256 != three.sha256
    folder = origin_of(str(tmp_path / "there"), None, None, few).sha256
    (tmp_path / "there" / "two.parquet").write_bytes((tmp_path / "three.parquet").read_bytes())
    assert origin_of(str(tmp_path / "there"), None, None, few).sha256 != folder


def test_the_origin_of_a_database_is_the_table_it_gave_without_its_password(few):
    url = "postgresql://ana:secret@db/shop"
    one, other = origin_of(url, "select 1", None, few), origin_of(url, "select 1", None, few.head(10))
    assert "secret" not in one.data
    assert one.sha256 == origin_of(url, "select 1", None, few.copy()).sha256 != other.sha256


def test_the_origin_of_a_database_is_what_was_learnt_from_whatever_else_was_read(few):
    def origin(table, own=()):
        return origin_of("sqlite:///shop.db", "select 1", None, table, own).sha256

    wide = few.assign(tier=np.arange(float(len(few))))
    own = (OwnColumn("tier", "a tier", "-", "customer", "numeric"),)
    assert origin(wide) == origin(few)
    assert origin(wide, own) != origin(few, own)


def test_what_a_run_records_is_json_and_gives_the_settings_back(few, quick, folders):
    told = json.loads(json.dumps(record(origin_of("sqlite:///shop.db", "select 1", None, few), quick, folders[0])))
    assert settings_of(told["settings"]) == quick
    assert told["artefact"]["sha256"] == artefact_hash(folders[0])
    assert told["environment"] == environment()
    assert "numpy" in told["environment"]


def test_settings_of_another_version_are_refused(quick):
    with pytest.raises(BadInput, match="settings that this version has not"):
        settings_of({**asdict(TrainSettings()), "depth": 3})


def test_what_differs_is_named_with_then_and_now():
    assert differences({"a": "1", "b": "2"}, {"a": "1", "c": "3"}) == ["b: 2 then, none now", "c: none then, 3 now"]
