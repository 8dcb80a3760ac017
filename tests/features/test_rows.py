import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from features.columns import OUTCOMES, columns
from features.definitions import EVIDENCE_CODES, KEYS, RAW_CODES, RAW_NUMBERS, feature_names
from features.history import History, features_in_passing, features_of_request
from features.kernel import N_FEATURES, PENDING, unpack
from features.rows import (
    MAX_CATEGORIES,
    Encoder,
    blanks,
    code_at,
    number_at,
    packed_rows,
    set_begin,
    set_code,
    set_number,
    slot_names,
)

REQUIRED = {"attempt_id", "payment_id", "created_at", "amount_minor", "currency", "country", "method"}
BARE = {"created_at": 1_770_000_000_000_000, "amount_minor": 100, "currency": "KRW", "country": "KR", "method": "card"}
ARRAYS = ("created", "resolved", "outcome", "reason", "duration", "numbers", "codes", "reference")

missing = st.sampled_from([None, float("nan")])
texts = missing | st.sampled_from(["card", "KR", "visa", "north", "challenge", "x", "ß-7", "none"])
requests = st.fixed_dictionaries(
    {"created_at": st.integers(10**15, 2 * 10**15), "amount_minor": st.integers(0, 10**15)},
    optional={
        **dict.fromkeys(RAW_CODES, texts),
        "customer_id": texts,
        **{name: missing | st.floats(0, 1e6) | st.integers(0, 50) | st.booleans() for name in RAW_NUMBERS[1:]},
    },
)


def arrays(encoded):
    return dict(zip(ARRAYS, unpack(packed_rows(encoded)), strict=True))


def test_a_table_and_its_requests_become_the_same_arrays(attempts, encoder, rows, as_fields):
    fields = as_fields(attempts.iloc[:300])
    for name, found in arrays(encoder.of_request(fields, [])).items():
        np.testing.assert_array_equal(found, getattr(rows, name)[:300], err_msg=name, strict=True)


def test_a_table_and_its_requests_look_at_the_same_slots(attempts, rows, as_fields):
    names = [slot_names(fields) for fields in as_fields(attempts.iloc[:300])]
    for k, (index, known) in enumerate(rows.keys):
        assert [row[k] for row in names] == [known[i] if i >= 0 else None for i in index[:300]]


def test_a_table_and_its_requests_leave_the_same_evidence(attempts, encoder, as_fields):
    ended = attempts[attempts["resolved_at"].notna()].iloc[:300].reset_index(drop=True)
    table, fields = encoder.evidence_of_table(ended), encoder.evidence(as_fields(ended))
    np.testing.assert_array_equal(table, fields, strict=True)
    assert (~np.isnan(table)).any(axis=0).all()


@given(requests)
def test_slots_are_named_by_the_parts_of_their_keys(fields):
    told = {name: value if isinstance(value, str) else "" for name, value in fields.items()}
    for key, name in zip(KEYS, slot_names(fields), strict=True):
        parts = [told.get(part, "") for part in key.parts]
        assert name == (None if key.needed and "" in parts else key.name + "\x1f" + "\x1f".join(parts))


def test_a_needed_part_that_is_missing_leaves_no_past_to_look_at():
    names = dict(zip([key.name for key in KEYS], slot_names({"country": "KR", "method": "card"}), strict=True))
    assert {name for name, slot in names.items() if slot is None} == {key.name for key in KEYS if key.needed}


@given(requests)
def test_what_is_none_or_nan_is_as_if_it_were_absent(encoder, fields):
    present = {name: value for name, value in fields.items() if value is not None and value == value}
    given_, absent = arrays([encoder.encode(fields)]), arrays([encoder.encode(present)])
    for name in ARRAYS:
        np.testing.assert_array_equal(given_[name], absent[name])
    assert slot_names(fields) == slot_names(present)


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NaT])
def test_an_earlier_attempt_without_an_end_is_pending(encoder, nothing):
    earlier = {**BARE, "resolved_at": nothing, "outcome": nothing, "reason": nothing, "duration_s": None}
    rows = arrays(encoder.of_request([earlier], [BARE]))
    assert (rows["resolved"][0], rows["outcome"][0], rows["reason"][0]) == (PENDING, -1, -1)
    assert np.isnan(rows["duration"][0])


def test_what_became_of_an_asked_attempt_is_not_read(encoder):
    told = {**BARE, "resolved_at": BARE["created_at"], "outcome": "technical", "reason": "x", "duration_s": 3.0}
    rows = arrays(encoder.of_request([told], [told]))
    assert rows["outcome"].tolist() == [4, -1]
    assert rows["resolved"][1] == PENDING
    assert np.isnan(rows["duration"][1])


def test_every_asked_attempt_comes_right_after_the_last_earlier_one(encoder):
    before = feature_names().index("attempts_before")
    after_two, first = (features_of_request(encoder.of_request([BARE] * n, [BARE] * 3), History(), 3) for n in (2, 0))
    assert after_two[:, before].tolist() == [2, 2, 2]
    assert first[:, before].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("name", "value"),
    [("amount_minor", "5"), ("amount_minor", 10**400), ("created_at", 2**63), ("created_at", "x"), ("resolved_at", 2**63),
     ("duration_s", "3"), ("auth_steps", [1])],
)  # fmt: skip
def test_a_value_of_another_kind_than_its_column_s_is_an_error_that_callers_know(encoder, name, value):
    with pytest.raises((ValueError, OverflowError, TypeError)):
        encoder.encode({**BARE, name: value}, ended=True)


def test_columns_of_a_packed_attempt_can_be_changed(encoder):
    plain = encoder.encode(BARE)
    packed = bytearray(plain.packed)
    set_begin(packed, 0, 7)
    for place in range(len(RAW_NUMBERS)):
        set_number(packed, number_at(place), place + 0.5)
    for place in range(len(RAW_CODES)):
        set_code(packed, code_at(place), place + 3)
    ended = encoder.ended(replace(plain, packed=packed), {"resolved_at": 9, "outcome": OUTCOMES[4], "duration_s": 1.5})
    changed, before = arrays([ended]), arrays([plain])
    assert [changed[name].tolist() for name in ARRAYS[:5]] == [[7], [9], [4], [-1], [1.5]]
    assert changed["numbers"][0].tolist() == [place + 0.5 for place in range(len(RAW_NUMBERS))]
    assert changed["codes"][0].tolist() == [place + 3 for place in range(len(RAW_CODES))]
    assert (changed["reference"] == before["reference"]).all()
    for where, missing in blanks([2, 3, 5], [2]):
        packed[where] = missing
    gone = arrays([replace(plain, packed=packed)])
    assert np.flatnonzero(np.isnan(gone["numbers"][0])).tolist() == [2]
    assert np.flatnonzero(gone["codes"][0] == -1).tolist() == [2, 3, 5]
    assert len(blanks([2, 3, 5], [2])) == 3  # what stands together goes together


def test_in_a_table_an_attempt_follows_the_one_of_its_payment_that_began_before(as_table, encoder):
    times = {"a": 3, "b": 1, "c": 2, "d": 2}
    payments = {"a": "p", "b": "p", "c": "p", "d": "q"}
    table = as_table(
        [{**BARE, "attempt_id": x, "payment_id": payments[x], "created_at": at * 10**15} for x, at in times.items()]
    )
    assert encoder.from_table(table).previous.tolist() == [2, -1, 1, -1]


def test_known_outcomes_come_in_order_of_when_they_were_known_then_of_when_they_began(as_table, encoder):
    hour = 3_600_000_000
    many = [(4, 5), (1, 9), (2, 5), (3, None), (0, 1)]
    table = as_table(
        [
            {**BARE, "attempt_id": f"a{i}", "payment_id": f"p{i}", "created_at": 10**15 + began * hour}
            | ({} if end is None else {"resolved_at": 10**15 + end * hour, "outcome": "success"})
            for i, (began, end) in enumerate(many)
        ]
    )
    assert encoder.from_table(table).by_resolution().tolist() == [4, 2, 0, 1]


def test_codes_are_by_frequency_then_by_name(as_table):
    table = as_table([{**BARE, "payment_id": "p", "method": method} for method in ("b", "c", "c", "a", "b", "d")])
    assert Encoder.fit(table).vocabularies["method"] == ("b", "c", "a", "d")


def test_countries_share_their_codes_since_they_are_compared(attempts, encoder):
    shared = encoder.vocabularies["country"]
    assert encoder.vocabularies["issuer_country"] == encoder.vocabularies["merchant_country"] == shared
    seen = (
        set(attempts["country"]) | set(attempts["issuer_country"].dropna()) | set(attempts["merchant_country"].dropna())
    )
    assert set(shared) == seen


def test_only_so_many_values_have_a_code_of_their_own(as_table):
    many = [f"i{i:04}" for i in range(MAX_CATEGORIES + 5)]
    table = as_table([{**BARE, "payment_id": "p", "issuer": name} for name in (*many, many[-1])])
    encoder = Encoder.fit(table)
    assert len(encoder.vocabularies["issuer"]) == MAX_CATEGORIES
    assert encoder.vocabularies["issuer"][0] == many[-1]
    rows = encoder.from_table(table)
    issuer = RAW_CODES.index("issuer")
    assert (rows.codes[:, issuer] >= 0).sum() == MAX_CATEGORIES + 1
    slots = dict(zip([key.name for key in KEYS], rows.keys, strict=True))["issuer"]
    assert len(set(slots[0].tolist())) == len(many)  # its past tells even those without a code


def test_the_usual_amount_is_the_median_by_currency(as_table):
    amounts = [("USD", 100), ("USD", 400), ("USD", 6_400), ("KRW", 1_024)]
    table = as_table([{**BARE, "payment_id": "p", "currency": name, "amount_minor": n} for name, n in amounts])
    assert Encoder.fit(table).usual_log2 == {"USD": 2.0, "KRW": 10.0}


def test_a_response_code_is_told_with_its_scheme(as_table):
    codes = [("iso8583", "05"), ("stripe", "05"), (None, "05"), ("stripe", None)]
    fields = [
        {name: value for name, value in {**BARE, "payment_id": "p", "code_scheme": scheme, "response_code": code}.items()
         if value is not None}
        for scheme, code in codes
    ]  # fmt: skip
    encoder = Encoder.fit(as_table(fields))
    assert set(encoder.vocabularies["response_code"]) == {"iso8583:05", "stripe:05", ":05"}
    place = 1 + EVIDENCE_CODES.index("response_code")
    told = encoder.evidence([*fields, {"response_code": "05", "code_scheme": float("nan")}, {"response_code": "77"}])[
        :, place
    ]
    assert len(set(told[:3].tolist())) == 3
    assert told[4] == told[2]
    assert np.isnan(told[[3, 5]]).all()


def test_a_model_that_never_saw_a_column_takes_tables_with_it_and_the_other_way_round(attempts):
    bare = attempts[[name for name in attempts if name in REQUIRED]]
    for known, asked in ((bare, attempts), (attempts, bare)):
        matrix = features_in_passing(Encoder.fit(known).from_table(asked), History())
        assert len(matrix) == len(attempts)
        assert not np.isinf(matrix).any()


def test_required_columns_are_those_of_the_contract():
    assert {name for name, column in columns().items() if column.required} == REQUIRED


@settings(max_examples=30)
@given(requests)
def test_values_never_seen_and_values_missing_give_features_that_are_numbers_or_missing(encoder, request_rows, fields):
    encoded, asked = request_rows([], [fields])
    matrix = features_of_request(encoded, History(), asked)
    assert matrix.shape == (1, N_FEATURES)
    assert not np.isinf(matrix).any()


def test_ended_attempts_move_the_past_as_their_table_does(attempts, encoder, as_fields):
    ended = attempts[attempts["outcome"].notna()].reset_index(drop=True)
    fields = as_fields(ended)
    table = encoder.from_table(ended)
    by_table, by_fields = History(), History()
    by_table.record(table)
    for first in range(0, len(fields), 500):
        some = [fields[i] for i in table.by_resolution()[first : first + 500]]
        rows = encoder.from_ended(some)
        by_fields.enter(rows, np.arange(len(rows)), by_fields.keys_of(rows))
    moved = {name for name, slot in by_table.slots.items() if by_table.times[slot]}
    assert by_fields.slots.keys() == moved
    assert by_fields.until == by_table.until
    names = list(moved)
    for found, wanted in zip(by_fields.copies(names), by_table.copies(names), strict=True):
        np.testing.assert_array_equal(found, wanted, strict=True)
