import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ArtifactMismatch
from features.taxonomy import reasons
from models.code_text import NO_FAILURE, CodeText, weighted
from models.code_words import words

TOLD = CodeText.of_scores(
    {
        "expired_card": {"=expired": 1.0, "=card": 0.2},
        "insufficient_funds": {"=funds": 1.0},
        "processor_error": {"=error": 1.0},
        "rate_limited": {"=error": 0.9},
        NO_FAILURE: {"=approved": 1.0},
    },
    temperature=8.0,
)
TEXTS = st.lists(st.sampled_from(["card", "expired", "funds", "error", "approved", "zebra"]), max_size=6).map(" ".join)


def test_a_text_is_read_by_its_words():
    assert TOLD.read("card_expired").sub_reason == "expired_card"
    assert TOLD.read("17", "no funds").reason == "insufficient_funds"


@pytest.mark.parametrize(("code", "message"), [("17", ""), ("", ""), ("R1", "8812"), ("zebra", "")])
def test_without_a_known_word_there_is_no_reading(code, message):
    assert TOLD.read(code, message) is None


def test_sub_reasons_add_up_to_their_reason():
    told = TOLD.read("error")
    assert (told.reason, told.sub_reason) == ("processor_error", "processor_error")
    assert told.confidence > 0.9


def test_a_text_of_success_tells_of_no_failure():
    assert not TOLD.read("approved").tells


def test_strange_words_make_a_reading_less_sure():
    plain, strange = TOLD.read("", "funds"), TOLD.read("", "funds zebra quagga okapi")
    assert strange.confidence < plain.confidence


@given(TEXTS)
def test_probabilities_are_within_one_and_agree(text):
    told = TOLD.read("", text)
    if told is not None:
        total = sum(told.reason_probability.values())
        assert 0.0 < total <= 1.0 + 1e-9
        assert sum(told.category_probability.values()) == pytest.approx(total)
        assert reasons()[told.reason].category == told.category
        assert told.category_probability[told.category] == max(told.category_probability.values())


def test_tables_speak_before_the_text():
    told = TOLD.explain("iso8583", "51", "card expired")
    assert (told.decided_by, told.reason, told.near) == ("table", "insufficient_funds", ())


def test_an_unknown_code_is_told_by_its_text_with_what_it_is_like():
    told = TOLD.explain("acme", "E-17", "card has expired")
    assert (told.decided_by, told.sub_reason.sub_reason) == ("text_model", "expired_card")
    assert told.near[0].code.sub_reason == "expired_card"
    assert all(a.likeness >= b.likeness for a, b in zip(told.near, told.near[1:], strict=False))


def test_what_a_text_is_like_is_told_only_if_asked_for():
    assert TOLD.explain("acme", "E-17", "card has expired", near=0).near == ()
    assert len(TOLD.explain("acme", "E-17", "card has expired", near=2).near) == 2


def test_an_unknown_number_is_told_by_nobody():
    told = TOLD.explain("acme", "17")
    assert (told.decided_by, told.reading, told.near) == ("cannot_tell", None, ())


def test_shares_are_of_length_one_if_every_piece_is_known():
    places = {"=card": 0, "=expired": 1, "=card expired": 2, " ca": 3}
    _, shares = weighted(["card"], {**places, **{p: 4 + i for i, p in enumerate([
        "car", "ard", "rd ", " car", "card", "ard ", " card", "card ",
    ])}}, np.ones(12, np.float32))  # fmt: skip
    assert float((shares**2).sum()) == pytest.approx(1.0, abs=1e-5)


def test_a_saved_model_reads_as_before(tmp_path):
    TOLD.save(tmp_path / "code_texts.npz")
    again = CodeText.load(tmp_path / "code_texts.npz")
    assert again.vocabulary == TOLD.vocabulary
    assert again.read("card_expired", "no funds") == TOLD.read("card_expired", "no funds")


def test_the_same_model_is_saved_as_the_same_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        TOLD.save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("content", [b"no arrays in here", b"", b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_model_is_refused(tmp_path, content):
    (tmp_path / "code_texts.npz").write_bytes(content)
    with pytest.raises(ArtifactMismatch, match="not a text model"):
        CodeText.load(tmp_path / "code_texts.npz")


def test_a_model_that_would_execute_something_is_refused(tmp_path):
    np.savez(tmp_path / "code_texts.npz", vocabulary=np.array([print], dtype=object))
    with pytest.raises(ArtifactMismatch):
        CodeText.load(tmp_path / "code_texts.npz")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sub_reasons": ("expired_card", "nonsense", "processor_error", "rate_limited", NO_FAILURE)}, "nonsense"),
        ({"sub_reasons": ("expired_card",)}, "shape"),
        ({"rarity": np.ones(2, np.float32)}, "shape"),
    ],
)
def test_a_model_of_another_taxonomy_or_shape_is_refused(tmp_path, change, said):
    parts = {name: getattr(TOLD, name) for name in ("vocabulary", "sub_reasons", "rarity", "weights", "temperature")}
    CodeText(**(parts | change)).save(tmp_path / "code_texts.npz")
    with pytest.raises(ArtifactMismatch, match=said):
        CodeText.load(tmp_path / "code_texts.npz")


def test_reading_needs_numpy_alone(tmp_path):
    TOLD.save(tmp_path / "code_texts.npz")
    code = (
        "import sys; from pathlib import Path; from models.code_text import CodeText; "
        f"CodeText.load(Path({str(tmp_path / 'code_texts.npz')!r})).explain('acme', 'card_expired'); "
        "print(sorted({'sklearn', 'scipy', 'pandas', 'lightgbm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_words_of_the_code_alone_can_decide():
    assert TOLD.explain("acme", "expired").decided_by == "text_model"
    assert words("expired") == ["expired"]
