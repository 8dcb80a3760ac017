"""Card numbers in single texts."""

from __future__ import annotations

import random
import string
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.cards import (
    NETWORKS,
    card_candidates,
    contains_card_number,
    is_card_number,
    is_secret_name,
    luhn_ok,
)

# The networks' and gateways' published test numbers, one or more a network.
TEST_NUMBERS = [
    "4111111111111111",
    "4222222222222",
    "5555555555554444",
    "2223003122003222",
    "378282246310005",
    "371449635398431",
    "6011111111111117",
    "30569309025904",
    "38520000023237",
    "3530111333300000",
    "6200000000000005",
    "6759649826438453",
    "2200000000000004",
]

LETTERS = st.text(st.characters(categories=["Lu", "Ll", "Lo"]), max_size=12)


def with_check_digit(digits: str) -> str:
    """`digits` and the one that makes them pass Luhn, found the slow way."""
    return next(digits + last for last in string.digits if luhn_ok(digits + last))


def card_number(rng: random.Random) -> str:
    network = rng.choice(NETWORKS)
    lengths = (13, 16, 19) if network.network == "visa" else range(network.shortest, network.longest + 1)
    length = rng.choice(lengths)
    body = str(rng.randint(network.low, network.high)) + "".join(rng.choices(string.digits, k=length - 7))
    return with_check_digit(body)


card_numbers = st.randoms(use_true_random=False).map(card_number)


@pytest.mark.parametrize("number", TEST_NUMBERS)
def test_published_test_numbers_are_card_numbers(number: str) -> None:
    assert is_card_number(number)


@given(card_numbers, st.integers(0, 18), st.integers(1, 9))
def test_one_wrong_digit_is_no_card_number(number: str, place: int, change: int) -> None:
    place %= len(number)
    wrong = number[:place] + str((int(number[place]) + change) % 10) + number[place + 1 :]
    assert not is_card_number(wrong)


def test_a_number_of_no_network_is_no_card_number() -> None:
    assert luhn_ok("1111111111111117")
    assert not is_card_number("1111111111111117")


def test_networks_ascend_and_do_not_overlap() -> None:
    ends = [end for network in NETWORKS for end in (network.low, network.high)]
    assert ends == sorted(ends)
    assert all(before.high < after.low for before, after in pairwise(NETWORKS))


@given(card_numbers, LETTERS, LETTERS)
def test_a_card_number_among_words_is_found(number: str, before: str, after: str) -> None:
    assert contains_card_number(f"{before} {number} {after}")


@given(card_numbers, st.sampled_from([" ", "-", ".", " - ", "\u00a0", "\u2011", "\u2009", "_", "/"]))
def test_a_card_number_in_groups_of_four_is_found(number: str, separator: str) -> None:
    number = number if len(number) == 16 else "4111111111111111"
    groups = [number[start : start + 4] for start in range(0, 16, 4)]
    assert contains_card_number(f"paid with {separator.join(groups)} exp 12/29")


@given(card_numbers, st.sampled_from(["０", "٠", "०", "𝟎"]))
def test_a_card_number_in_another_scripts_digits_is_found(number: str, zero: str) -> None:
    assert contains_card_number("".join(chr(ord(zero) + int(digit)) for digit in number))


@pytest.mark.parametrize(
    "text",
    [
        "3782 822463 10005",
        "3056 930902 5904",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "41111 11111 11111 1",
        "PAN4111111111111111",
        "pan=4111111111111111;cvv=1",
        "4111111111111111.0",
        "no.4111111111111111",
        "4111 1111 1111 1111 123",
        "4111\u200b1111\u200b1111\u200b1111",
        '{"n": "4111111111111111"}',
    ],
)
def test_a_card_number_however_it_is_written_is_found(text: str) -> None:
    assert contains_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "card",
        "2026-01-05T09:30:00.123456Z",
        "2026-01-05 09:30:00.123456",
        "1767605400123456",
        "0.4111111111111111",
        "-3.4111111111111111",
        ".4111111111111111",
        "+4915112345671",
        "20260105411111111111111112345",
        "41111111111111111111",
        "deadbeef4111111111111111",
        "4111111111111112",
        "411111111111",
    ],
)
def test_other_long_numbers_are_not_found(text: str) -> None:
    assert not contains_card_number(text)


@given(st.uuids())
def test_no_uuid_is_found(uuid: object) -> None:
    assert not contains_card_number(str(uuid))


@given(st.integers(10**19, 10**40))
def test_digits_inside_longer_digits_are_no_candidates(number: int) -> None:
    assert list(card_candidates(str(number))) == []


def test_random_long_numbers_are_rarely_taken_for_card_numbers() -> None:
    rng = random.Random(7)
    taken = sum(contains_card_number(str(rng.randint(10**15, 10**16 - 1))) for _ in range(20_000))
    assert taken / 20_000 < 0.035


@given(st.text(max_size=60))
def test_any_text_can_be_asked_about(text: str) -> None:
    assert contains_card_number(text) in {True, False}


@pytest.mark.parametrize("piece", ["1" * 30, "x4111111111111", "4111 ", "x" * 90 + "4111111111111111"])
def test_a_text_of_eight_times_the_length_takes_far_less_than_the_square_of_it(piece: str) -> None:
    def spent(text: str) -> float:
        began = time.process_time()
        contains_card_number(text)
        return time.process_time() - began

    short = piece * (6_000 // len(piece))
    grown = [spent(short * 8) / spent(short) for _ in range(5)]
    assert min(grown) < 24.0  # 8 is linear, 64 the square


@pytest.mark.parametrize("name", ["cvv", "CVC2", "card_number", "Card Number", "cardNumber", "PAN", "security-code"])
def test_names_of_card_data_are_secret(name: str) -> None:
    assert is_secret_name(name)


def test_no_column_of_the_attempts_table_has_a_secret_name() -> None:
    from features.columns import columns

    assert [name for name in columns() if is_secret_name(name)] == []
