import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from features.definitions import feature_names
from features.errors import ArtifactMismatch
from models import artefact as module
from models.artefact import load, save
from models.heads import STAGES, Calibration

FILES = (
    "model.json", "history.npz", "success.txt", *(f"{name}.txt" for name in STAGES), "reason.txt", "validated/success.txt",
)  # fmt: skip


def rewrite(folder, name, change):
    """Change a JSON file of the artefact, and let the manifest know if it is another."""
    told = json.loads((folder / name).read_text())
    change(told)
    (folder / name).write_text(json.dumps(told))
    if name != "manifest.json":
        content = (folder / name).read_bytes()
        entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        rewrite(folder, "manifest.json", lambda manifest: manifest["files"].update({name: entry}))


@pytest.mark.parametrize("validated", [False, True])
def test_loaded_it_tells_what_it_told_when_it_was_saved(artefact, folder, matrix, validated):
    loaded = load(folder)
    told = loaded.outcome_model(validated=validated).outcome_probability(matrix)
    np.testing.assert_array_equal(told, artefact.outcome_model(validated=validated).outcome_probability(matrix))


def test_loaded_it_tells_the_same_reasons(artefact, folder, matrix, evidence):
    (names, told), (wanted_names, wanted) = (
        one.outcome_model().reason_probability(matrix, evidence) for one in (load(folder), artefact)
    )
    assert tuple(names) == tuple(wanted_names)
    np.testing.assert_array_equal(told, wanted)


def test_loaded_it_knows_what_it_knew(artefact, folder):
    loaded = load(folder)
    assert loaded.encoder == artefact.encoder
    assert loaded.ways == artefact.ways
    assert (loaded.window, loaded.about) == (artefact.window, artefact.about)
    assert loaded.category_shares == artefact.category_shares
    assert loaded.blend == artefact.blend
    assert loaded.heads["technical"].additive == artefact.heads["technical"].additive
    assert loaded.history.slots == artefact.history.slots
    np.testing.assert_array_equal(loaded.history.sums, artefact.history.sums)


def test_the_heads_that_serve_and_those_that_were_judged_are_told_apart(folder):
    loaded = load(folder)
    assert set(loaded.heads) == {"success", "reason", *STAGES}
    assert set(loaded.validated) == {"success"}
    assert loaded.outcome_model(validated=True).stages is None


def test_what_was_saved_where_makes_no_difference(artefact, folder, tmp_path):
    save(load(folder), tmp_path / "again")
    for name in ("model.json", "success.txt", "validated/success.txt"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_it_is_saved_beside_nothing_else(artefact, folder):
    with pytest.raises(FileExistsError):
        save(artefact, folder)


def test_every_file_is_in_the_manifest_and_every_other_is_ignored(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest["files"]) == set(FILES)
    (folder / "more.txt").write_text("anything")
    assert set(load(folder).heads) == {"success", "reason", *STAGES}


def test_nothing_in_it_is_a_pickle(folder):
    for path in folder.rglob("*"):
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
        elif path.suffix == ".txt":
            assert path.read_text(encoding="utf-8").startswith("tree\n")
        elif path.is_file():
            with np.load(path, allow_pickle=False) as arrays:
                assert {arrays[name].dtype.kind for name in arrays.files} <= set("iuf")


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_found(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ArtifactMismatch, match=f"{name} was changed since the model was made"):
        load(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_found(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1])
    with pytest.raises(
        ArtifactMismatch, match=f"{name} has {len(content) - 1} bytes, its manifest says {len(content)}"
    ):
        load(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ArtifactMismatch, match=f"'{name}' is in the manifest and not in the folder"):
        load(folder)


@pytest.mark.parametrize("name", ["model.json", "history.npz", "success.txt", "technical.txt", "validated/success.txt"])
def test_a_file_that_the_manifest_does_not_list_is_not_read(folder, name):
    rewrite(folder, "manifest.json", lambda manifest: manifest["files"].pop(name))
    with pytest.raises(ArtifactMismatch, match=name):
        load(folder)


@pytest.mark.parametrize("trick", ["../outside.txt", "validated/../../outside.txt", "/etc/hostname", ".", "a\x00b"])
def test_a_manifest_cannot_point_outside_the_folder(folder, trick):
    content = b"outside"
    (folder.parent / "outside.txt").write_bytes(content)
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    rewrite(folder, "manifest.json", lambda manifest: manifest["files"].update({trick: entry}))
    with pytest.raises(ArtifactMismatch, match="in the manifest and not in the folder"):
        load(folder)


def test_a_link_cannot_point_outside_the_folder(folder):
    (folder / "success.txt").rename(folder.parent / "success.txt")
    (folder / "success.txt").symlink_to(folder.parent / "success.txt")
    with pytest.raises(ArtifactMismatch, match=r"'success\.txt' is in the manifest and not in the folder"):
        load(folder)


def test_a_description_cannot_name_a_head_outside_the_folder(folder):
    (folder.parent / "outside.txt").write_bytes((folder / "success.txt").read_bytes())
    rewrite(folder, "model.json", lambda told: told["heads"].update({"../outside": told["heads"]["success"]}))
    with pytest.raises(ArtifactMismatch, match=r"outside\.txt' is in model\.json and not in the manifest"):
        load(folder)


def test_features_computed_otherwise_are_refused_and_both_fingerprints_named(folder):
    rewrite(folder, "manifest.json", lambda manifest: manifest.update(fingerprint="sha256:0123456789abcdef"))
    with pytest.raises(ArtifactMismatch, match=r"sha256:0123456789ab… there.*train again"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda names: names.__setitem__(0, "price"), "it knows 'price', it lacks 'amount'"),
        (lambda names: names.pop(0), "it lacks 'amount'"),
        (lambda names: names.append("mood"), "it knows 'mood'"),
        (lambda names: names.reverse(), "in another order"),
    ],
)
def test_other_features_are_refused_and_named(folder, change, said):
    rewrite(folder, "model.json", lambda told: change(told["features"]))
    with pytest.raises(ArtifactMismatch, match=f"other features \\({said}\\)"):
        load(folder)


def test_another_format_is_refused_by_its_number(folder):
    rewrite(folder, "manifest.json", lambda manifest: manifest.update(format=99))
    with pytest.raises(ArtifactMismatch, match=f"format 99, this code reads {module.FORMAT}"):
        load(folder)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"files": [], "format": 1, "fingerprint": ""}', "\xff", "{"])
def test_a_manifest_that_is_none_is_refused(folder, text):
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ArtifactMismatch, match="no manifest of a model"):
        load(folder)


@pytest.mark.parametrize("entry", [None, [], {}, {"sha256": "0"}, "0"])
def test_a_manifest_with_a_malformed_entry_is_refused(folder, entry):
    rewrite(folder, "manifest.json", lambda manifest: manifest["files"].update({"success.txt": entry}))
    with pytest.raises(ArtifactMismatch, match="no manifest of a model"):
        load(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ArtifactMismatch, match="no manifest of a model"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "part", ["encoder", "features", "heads", "validated", "category_shares", "ways", "window", "about"]
)
def test_a_description_that_lacks_a_part_is_refused_and_the_part_named(folder, part):
    rewrite(folder, "model.json", lambda told: told.pop(part))
    with pytest.raises(ArtifactMismatch, match=f"model.json: not a model's description.*{part}"):
        load(folder)


@pytest.mark.parametrize("shape", [[], {"success": None}, {"success": {"columns": [0]}}])
def test_a_description_of_another_shape_is_refused(folder, shape):
    rewrite(folder, "model.json", lambda told: told.update(heads=shape))
    with pytest.raises(ArtifactMismatch, match="not a model's description"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"columns": (0, 1)}, "the trees are over 46 features, not 2"),
        ({"classes": ("a", "b", "c")}, "model.json says 3"),
    ],
)
def test_trees_that_are_not_over_these_columns_and_answers_are_refused(heads, change, told):
    part = replace(heads["success"], calibration=Calibration.none(1), **change)
    with pytest.raises(ArtifactMismatch, match=told):
        part.head()


@pytest.mark.parametrize("name", ["success", "technical", "reason"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda told: told["bias"].pop(),
        lambda told: told["bias"].append(0.0),
        lambda told: told["weights"].pop(),
        lambda told: told.update(weights=[]),
        lambda told: told.update(bias=0.0),
    ],
)
def test_a_calibration_of_another_shape_is_refused(folder, name, damage):
    """Compiled code would write beyond what it was given."""
    rewrite(folder, "model.json", lambda told: damage(told["heads"][name]["calibration"]))
    with pytest.raises(ArtifactMismatch, match=f"the calibration of {name} is of shapes"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "column"),
    [("success", -1), ("success", len(feature_names())), ("reason", len(feature_names()) + 6), ("technical", 0.5)],
)
def test_a_head_over_columns_that_are_not_there_is_refused(folder, name, column):
    rewrite(folder, "model.json", lambda told: told["heads"][name]["columns"].__setitem__(0, column))
    with pytest.raises(ArtifactMismatch, match=f"{name} is over column {column}; there are"):
        load(folder)


@pytest.mark.parametrize(
    "curve",
    [
        [len(feature_names()), [0, 1], [0, 1], 0],
        [0, [1, 0], [0, 1], 0],
        [0, [0, 1], [0], 0],
        [-1, [], [1], 0],
        [0, [], [], 0],
        [0, [], [float("nan")], 0],
    ],
)
def test_a_curve_that_is_damaged_is_refused(folder, curve):
    def damage(told):
        told["heads"]["technical"]["additive"]["curves"] = [curve]

    rewrite(folder, "model.json", damage)
    with pytest.raises(ArtifactMismatch, match="is damaged"):
        load(folder)


@pytest.mark.parametrize(
    ("head", "classes"),
    [
        ("success", ["failure", "success"]),
        ("technical", ["bank_decline", "passed"]),
        ("reason", ["user_cancelled", "bad_luck"]),
        ("reason", ["user_cancelled", "user_cancelled"]),
    ],
)
def test_answers_that_a_head_does_not_have_are_refused(folder, head, classes):
    rewrite(folder, "model.json", lambda told: told["heads"][head].update(classes=classes))
    with pytest.raises(ArtifactMismatch, match=f"the classes of {head} are {classes[0]}, {classes[1]}; want"):
        load(folder)


def test_a_link_is_not_followed_even_inside_the_folder(folder):
    (folder / "success.txt").rename(folder / "elsewhere.txt")
    (folder / "success.txt").symlink_to("elsewhere.txt")
    with pytest.raises(ArtifactMismatch, match=r"'success\.txt' is in the manifest and not in the folder"):
        load(folder)
