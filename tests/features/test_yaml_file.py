"""YAML that people write: read as plain values, or refused in one line that repeats nothing of it."""

import pytest

from features.errors import BadInput
from features.yaml_file import MOST_BYTES, read_yaml


def read(path, raw):
    path.write_bytes(raw)
    return read_yaml(path, "such as `a: 1`")


@pytest.mark.parametrize(("raw", "told"), [(b"a: [1, x]", {"a": [1, "x"]}), (b"", None), ("é: ü".encode(), {"é": "ü"})])
def test_what_it_holds(tmp_path, raw, told):
    assert read(tmp_path / "f.yaml", raw) == told


@pytest.mark.parametrize(
    "raw", [b"a: [hunter2", b"\xff\xfehunter2", b"[" * 100_000, b"!!python/object:hunter2 {}", b"a: 2026-13-45"]
)
def test_what_is_no_yaml_is_refused_and_not_repeated(tmp_path, raw):
    with pytest.raises(BadInput, match="is no YAML; such as `a: 1`") as refused:
        read(tmp_path / "f.yaml", raw)
    assert "hunter2" not in str(refused.value)


def test_what_is_too_large_is_refused(tmp_path):
    with pytest.raises(BadInput, match="too large"):
        read(tmp_path / "f.yaml", b"a" * (MOST_BYTES + 1))


def test_what_is_not_there_is_said_to_be_so(tmp_path):
    with pytest.raises(BadInput, match="No such file"):
        read_yaml(tmp_path / "none.yaml", "")
