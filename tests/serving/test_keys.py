import contextlib
import hashlib
import json
import os
import threading
from hashlib import sha256

import pytest
import yaml
from click.testing import CliRunner

import payrescue
from features.errors import BadInput
from serving.keys import KeyRing, add_key, read_keys, revoke_key

PAN = "4111111111111111"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.yaml"


def give(*words):
    return CliRunner().invoke(payrescue.main, ["keys", *words])


def test_a_key_is_found_by_what_was_given_out(path):
    secrets = {name: add_key(path, name, ["score"], created="2026-01-05") for name in ("one", "two", "three")}
    ring = KeyRing(path)
    assert {name: ring.find(secret).name for name, secret in secrets.items()} == {name: name for name in secrets}


@pytest.mark.parametrize("wrong", ["", "payrescue_", "x" * 200, "é", "\ud800"])
def test_what_is_no_key_is_not_found(path, wrong):
    add_key(path, "one", ["score"], created="2026-01-05")
    assert KeyRing(path).find(wrong) is None


def test_a_hash_is_no_key(path):
    secret = add_key(path, "one", ["score"], created="2026-01-05")
    assert KeyRing(path).find(sha256(secret.encode()).hexdigest()) is None


def test_only_hashes_are_kept_and_only_its_owner_reads_them(path):
    secret = add_key(path, "one", ["score"], created="2026-01-05")
    assert secret not in path.read_text()
    assert sha256(secret.encode()).hexdigest() in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


def test_a_file_that_others_may_read_stays_so(path):
    add_key(path, "one", ["score"], created="2026-01-05")
    path.chmod(0o640)
    add_key(path, "two", ["score"], created="2026-01-05")
    assert path.stat().st_mode & 0o777 == 0o640


def test_every_comparison_is_made_whichever_key_it_is(path, monkeypatch):
    secrets = [add_key(path, f"k{i}", ["score"], created="2026-01-05") for i in range(3)]
    ring, compared = KeyRing(path), []
    monkeypatch.setattr("serving.keys.hmac.compare_digest", lambda a, b: compared.append(a) or a == b)
    for secret in (*secrets, "none of them"):
        compared.clear()
        ring.find(secret)
        assert len(compared) == 3


def test_json_is_read_too(path):
    path.write_text(json.dumps({"keys": [{"name": "a", "scopes": ["admin"], "sha256": "0" * 64}]}))
    assert [key.name for key in read_keys(path)] == ["a"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[", "no YAML"),
        ("keys: {}", "want `keys`, a list"),
        ("keys: [{name: '', scopes: [score], sha256: x}]", "name: want"),
        ("keys: [{name: a, scopes: [root], sha256: x}]", "scopes: want"),
        ("keys: [{name: a, scopes: [score], sha256: abc}]", "sha256: want"),
        (f"keys: [{{name: '{PAN}', scopes: [score], sha256: {'0' * 64}}}]", "name: want"),
        (f"keys: {[{'name': 'a', 'scopes': ['score'], 'sha256': '0' * 64}] * 2}", "each name once"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_without_repeating_it(path, text, named):
    path.write_text(text)
    with pytest.raises(BadInput, match=named) as refused:
        read_keys(path)
    assert PAN not in str(refused.value)
    assert "0" * 64 not in str(refused.value)


def test_a_key_that_was_added_or_revoked_is_so_without_a_restart(path):
    first = add_key(path, "first", ["score"], created="2026-01-05")
    ring = KeyRing(path)
    second = add_key(path, "second", ["score"], created="2026-01-05")
    assert ring.refresh()
    assert ring.find(second).name == "second"
    revoke_key(path, "first")
    assert ring.refresh()
    assert ring.find(first) is None
    assert not ring.refresh()


@pytest.mark.parametrize("broken", ["[", "", None])
def test_a_file_that_breaks_leaves_the_keys_and_is_told(path, broken, caplog):
    secret = add_key(path, "first", ["score"], created="2026-01-05")
    ring = KeyRing(path)
    if broken is None:
        path.unlink()
    else:
        path.write_text(broken)
    assert not ring.refresh()
    assert ring.find(secret).name == "first"
    assert "the keys stay as they were" in caplog.text


def test_a_link_that_is_turned_to_another_file_is_noticed_whatever_its_time_and_size(path, tmp_path):
    secrets = []
    for name in ("one", "two"):
        secrets.append(add_key(tmp_path / name, "same", ["score"], created="2026-01-05"))
        os.utime(tmp_path / name, ns=(1, 1))
    path.symlink_to(tmp_path / "one")
    ring = KeyRing(path)
    path.unlink()
    path.symlink_to(tmp_path / "two")
    assert ring.refresh()
    assert [ring.find(secret) is not None for secret in secrets] == [False, True]


def test_what_is_longer_than_any_key_is_not_looked_at(path):
    long = "x" * 129
    entry = {"name": "long", "scopes": ["score"], "sha256": hashlib.sha256(long.encode()).hexdigest()}
    path.write_text(yaml.safe_dump({"keys": [entry]}))
    assert KeyRing(path).find(long) is None


def test_a_name_is_taken_once(path):
    add_key(path, "first", ["score"], created="2026-01-05")
    with pytest.raises(BadInput, match="a name that no key has"):
        add_key(path, "first", ["score"], created="2026-01-05")
    assert [found.name for found in path.parent.iterdir()] == ["keys.yaml"]


def test_keys_that_are_added_at_once_are_all_kept_or_refused(path):
    made = []

    def add(name):
        with contextlib.suppress(BadInput):  # told to try again
            made.append((name, add_key(path, name, ["score"], created="2026-01-05")))

    threads = [threading.Thread(target=add, args=(f"k{i}",)) for i in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(key.name for key in read_keys(path)) == sorted(name for name, _ in made)


def test_the_command_prints_a_key_once_and_lists_it_without(path):
    done = give("add", "checkout", "--scope", "score", "--scope", "outcomes", "--file", str(path))
    assert done.exit_code == 0, done.output
    secret = done.stdout.strip()
    assert KeyRing(path).find(secret).scopes == ("score", "outcomes")
    shown = give("list", "--file", str(path)).stdout
    assert shown.split()[0] == "checkout"
    assert secret not in shown
    assert give("revoke", "checkout", "--file", str(path)).exit_code == 0
    assert yaml.safe_load(path.read_text()) == {"keys": []}


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["add", "a b", "--scope", "score"], "NAME"),
        (["add", PAN, "--scope", "score"], "NAME"),
        (["add", "a", "--scope", "root"], "--scope 'root': want one of score, outcomes, read, admin"),
        (["revoke", "nobody"], "no such file"),
        (["list"], "cannot be read"),
    ],
)
def test_a_command_that_cannot_be_done_ends_with_2_and_says_why(path, words, named):
    done = give(*words, "--file", str(path))
    assert done.exit_code == 2
    assert named in done.stderr
    assert PAN not in done.output


def test_revoking_what_is_not_there_names_what_is(path):
    add_key(path, "first", ["score"], created="2026-01-05")
    done = give("revoke", "secnd", "--file", str(path))
    assert (done.exit_code, "want first" in done.stderr) == (2, True)
