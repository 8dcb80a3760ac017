import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.code_words import pieces, words


@pytest.mark.parametrize(
    "code", ["insufficient_funds", "insufficientFunds", "INSUFFICIENT-FUNDS", "Insufficient.Funds", "InsufficientFunds"]
)
def test_a_code_in_any_spelling_is_the_same_words(code):
    assert words(code) == ["insufficient", "funds"]


@pytest.mark.parametrize("code", ["51", "R1", "5C", "U30", "2004", "E-17", "000123", ""])
def test_a_code_that_is_a_number_says_nothing(code):
    assert words(code) == []


@pytest.mark.parametrize(
    "text", ["3-D Secure failed", "3D Secure failed", "3DS failed", "3ds2 failed", "3D-Secure failed"]
)
def test_3_d_secure_is_one_word_however_written(text):
    assert words("", text) == ["3ds", "failed"]


def test_numbers_in_a_message_are_no_words():
    assert words("", "Error 51: funds (ref. 8812)") == ["error", "funds", "ref"]


def test_full_width_letters_are_letters():
    assert words("", "ＣＶＶ　ｅｒｒｏｒ") == ["cvv", "error"]


def test_a_code_s_words_count_twice_beside_a_message():
    assert words("declined", "no funds") == ["declined", "declined", "no", "funds"]


def test_syllables_of_korean_and_japanese_are_pieces():
    assert {"부족", "족"} <= set(pieces(words("", "잔액부족")))
    assert {"期限", "切"} <= set(pieces(words("", "有効期限切れ")))


def test_a_word_is_not_the_same_piece_as_its_letters_within_another():
    assert "=pin" not in set(pieces(["shopping"]))
    assert "pin" in set(pieces(["shopping"]))


@given(st.text(max_size=700), st.text(max_size=700))
def test_whatever_is_given_becomes_words_without_blanks(code, message):
    assert all(word and not any(c.isspace() for c in word) for word in words(code, message))
    assert all(pieces(words(code, message)))


def test_a_very_long_message_is_cut():
    assert len(words("", "funds " * 10_000)) <= 100
