"""Card numbers in tables: found where they are, and identifiers left alone."""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.card_columns import are_card_numbers, find_card_numbers
from features.cards import NETWORKS, is_card_number, luhn_ok

PAN = "4111111111111111"


def card_numbers(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    numbers = []
    for _ in range(count):
        network = rng.choice([network for network in NETWORKS if network.network in {"visa", "mastercard", "jcb"}])
        body = str(rng.randint(network.low, network.high)) + "".join(rng.choices(string.digits, k=9))
        numbers.append(next(body + last for last in string.digits if luhn_ok(body + last)))
    return numbers


def found(values: object, name: str = "customer_id") -> list[tuple[int | None, int]]:
    """Row and count of what is found in a column of these values."""
    return [(fault.row, fault.count) for fault in find_card_numbers(pa.table({name: values}))]


IDENTIFIERS: dict[str, Callable[[random.Random, int], list[str]]] = {
    "random 16 digits": lambda rng, n: [str(rng.randint(10**15, 10**16 - 1)) for _ in range(n)],
    "counter in Visa's range": lambda rng, n: [
        str(4_000_000_000_000_000 + rng.randint(0, 10**9) + i) for i in range(n)
    ],
    "microseconds": lambda rng, n: [str(1_767_605_400_000_000 + rng.randint(0, 10**12)) for _ in range(n)],
    "milliseconds": lambda rng, n: [str(1_767_605_400_000 + rng.randint(0, 10**9)) for _ in range(n)],
    "19 digits": lambda rng, n: [str(rng.randint(10**18, 10**19 - 1)) for _ in range(n)],
    "uuid": lambda rng, n: [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(n)],
    "hex 16": lambda rng, n: [f"{rng.getrandbits(64):016x}" for _ in range(n)],
    "hex 32": lambda rng, n: [f"{rng.getrandbits(128):032x}" for _ in range(n)],
    "prefixed": lambda rng, n: [f"ord-{rng.randint(10**15, 10**16 - 1)}" for _ in range(n)],
    "decimals": lambda rng, n: [repr(rng.random() * 9) for _ in range(n)],
    "times": lambda rng, n: [str(pd.Timestamp(rng.randint(0, 2 * 10**18))) for _ in range(n)],
    "dashed": lambda rng, n: [f"{rng.randint(1000, 9999)}-{rng.randint(10**11, 10**12 - 1)}" for _ in range(n)],
}


@pytest.mark.parametrize("kind", IDENTIFIERS)
def test_columns_of_identifiers_are_left_alone(kind: str) -> None:
    refused = sum(bool(found(IDENTIFIERS[kind](random.Random(seed), 300))) for seed in range(60))
    assert refused == 0


@pytest.mark.parametrize("kind", ["random 16 digits", "19 digits", "counter in Visa's range"])
def test_integer_identifiers_are_left_alone(kind: str) -> None:
    refused = sum(
        bool(found(np.array(IDENTIFIERS[kind](random.Random(seed), 300), dtype=np.uint64))) for seed in range(60)
    )
    assert refused == 0


@pytest.mark.parametrize("count", [1, 2, 3, 10, 300])
def test_a_column_of_card_numbers_is_found(count: int) -> None:
    assert all(found(card_numbers(count, seed)) == [(1, count)] for seed in range(40))


@pytest.mark.parametrize("type_", [pa.int64(), pa.uint64(), pa.float64(), pa.decimal128(20), pa.large_string()])
def test_card_numbers_of_any_type_are_found(type_: pa.DataType) -> None:
    numbers = card_numbers(50, seed=3)
    array = pa.array(numbers) if pa.types.is_large_string(type_) else pa.array([int(n) for n in numbers])
    assert found(array.cast(type_)) == [(1, 50)]


@pytest.mark.parametrize("kind", ["uuid", "times", "decimals", "hex 32"])
def test_one_card_number_among_values_that_are_no_long_numbers_is_found(kind: str) -> None:
    values = IDENTIFIERS[kind](random.Random(1), 2000)
    values[1234] = PAN
    assert found(values) == [(1235, 1)]


@pytest.mark.parametrize("kind", ["microseconds", "milliseconds"])
def test_one_card_number_among_identifiers_of_another_kind_is_found(kind: str) -> None:
    values = IDENTIFIERS[kind](random.Random(1), 2000)
    values[1234] = PAN
    assert len(found(values)) == 1


def test_card_numbers_mixed_with_as_many_identifiers_are_found() -> None:
    values = card_numbers(300, seed=1) + IDENTIFIERS["random 16 digits"](random.Random(1), 300)
    assert len(found(values)) == 1


def test_one_card_number_in_a_note_is_found() -> None:
    notes = ["customer called"] * 5000
    notes[4321] = f"read me the card 4111 1111 1111 1111 exp 12/29 {'x' * 30}"
    assert found(notes, "note") == [(4322, 1)]


def test_one_card_number_in_another_scripts_digits_is_found() -> None:
    assert found(["메모"] * 10 + ["카드 ４１１１ １１１１ １１１１ １１１１"], "note") == [(11, 1)]


def test_a_card_number_as_a_category_is_found_with_its_rows() -> None:
    categories = pd.Categorical(["visa", PAN, None, "visa", PAN])
    assert found(pa.array(categories), "card_brand") == [(2, 2)]


def test_an_unused_category_is_not_a_value() -> None:
    categories = pd.Categorical(["visa", "visa"], categories=["visa", PAN])
    assert found(pa.array(categories), "card_brand") == []


def test_card_numbers_inside_lists_and_structs_are_found() -> None:
    assert len(found(pa.array([[{"note": "nothing"}], [{"note": PAN}]]))) == 1


def test_card_numbers_as_bytes_are_found() -> None:
    assert found(pa.array([b"nothing", PAN.encode(), b"\xff"])) == [(2, 1)]


def test_a_card_number_as_a_columns_name_is_found_and_not_repeated() -> None:
    (fault,) = find_card_numbers(pa.table({"a": [1], PAN: [2]}))
    assert fault.column == "(the name of column 2)"


def test_a_column_named_for_security_codes_is_refused_whatever_it_holds() -> None:
    (fault,) = find_card_numbers(pa.table({"CVV": pa.nulls(2)}))
    assert fault.column == "CVV"


@pytest.mark.parametrize(("values", "refused"), [(["123", "4567"], True), (["c-1", "c-2"], False)])
def test_cid_is_judged_by_its_values(values: list[str], refused: bool) -> None:
    assert bool(find_card_numbers(pa.table({"cid": values}))) is refused


def test_no_fault_repeats_a_card_number() -> None:
    table = pa.table({"a": [PAN], "b": [int(PAN)], "note": [f"x {PAN} y"], PAN: ["c"]})
    faults = find_card_numbers(table)
    assert len(faults) == 4
    assert PAN[:8] not in repr(faults)


@given(st.lists(st.integers(10**12, 10**19 - 1)), st.integers(0, 1000))
def test_many_numbers_are_judged_as_one_by_one(numbers: list[int], seed: int) -> None:
    numbers += [int(number) for number in card_numbers(3, seed)]
    judged = are_card_numbers(np.array(numbers, dtype=np.uint64))
    assert judged.tolist() == [is_card_number(str(number)) for number in numbers]
