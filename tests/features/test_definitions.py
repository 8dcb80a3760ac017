import re

import numpy as np
import pytest

from features import kernel
from features.columns import CATEGORIES, columns
from features.definitions import (
    EVIDENCE_CODES,
    EVIDENCE_NUMBERS,
    GROUPS,
    HALF_LIVES,
    KEYS,
    RAW_CODES,
    RAW_NUMBERS,
    feature_names,
    features,
)


def test_the_kernel_fills_a_column_for_every_feature_and_no_more():
    assert len(features()) == kernel.N_FEATURES


def test_names_are_given_once_and_fit_for_a_column():
    assert len(set(feature_names())) == len(feature_names())
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in feature_names())


@pytest.mark.parametrize("feature", features(), ids=lambda feature: feature.name)
def test_every_feature_is_told_in_words_with_a_unit_and_a_group(feature):
    assert feature.label.strip()
    assert feature.unit.strip()
    assert feature.group in GROUPS


def test_every_group_has_features():
    assert {feature.group for feature in features()} == set(GROUPS)


def test_labels_tell_features_apart():
    assert len({feature.label for feature in features()}) == len(features())


def test_category_features_name_the_column_that_their_codes_come_from():
    for feature in features():
        assert (feature.unit == "category") == (feature.categories is not None)
        assert feature.categories is None or columns()[feature.categories].type == "category"


def test_features_read_columns_known_before_the_attempt_and_the_diagnosis_those_known_after():
    assert {columns()[name].known for name in (*RAW_NUMBERS, *RAW_CODES)} == {"before"}
    assert {columns()[name].known for name in (*EVIDENCE_NUMBERS, *EVIDENCE_CODES)} == {"after"}
    assert {columns()[part].known for key in KEYS for part in key.parts} == {"before"}


def test_neither_the_label_nor_what_the_checkout_s_policy_decided_by_is_a_feature():
    assert not {"outcome", "reason", "policy", "propensity", "experiment", "variant"} & set(feature_names())


@pytest.mark.parametrize("key", ["issuer", "route", "method", "issuer_route", "customer"])
def test_past_success_is_told_at_three_half_lives(key):
    assert [f"{key}_success_rate_{name}" in feature_names() for name, _ in HALF_LIVES] == [True] * 3


def test_only_the_calendar_runs_in_cycles():
    cyclic = {feature.name for feature in features() if feature.cycle_days}
    assert cyclic == {feature.name for feature in features() if feature.group == "calendar"}


def test_the_kernel_reads_columns_where_the_definitions_put_them():
    assert len(RAW_NUMBERS) == kernel._N_RAW_NUMBERS
    assert len(RAW_CODES) == kernel._N_RAW_CODES
    assert len(KEYS) == kernel._N_KEYS
    assert RAW_NUMBERS[kernel._PRIOR_PAYMENTS] == "prior_payments"
    named = (kernel._MERCHANT_COUNTRY, kernel._METHOD, kernel._ISSUER_COUNTRY, kernel._ROUTE, kernel._FLOW)
    assert [RAW_CODES[at] for at in named] == ["merchant_country", "method", "issuer_country", "route", "auth_flow"]
    slots = (
        kernel._ALL, kernel._ISSUER, kernel._KEY_ROUTE, kernel._KEY_METHOD,
        kernel._ISSUER_ROUTE, kernel._CUSTOMER, kernel._CUSTOMER_METHOD, kernel._WAY,
    )  # fmt: skip
    assert [KEYS[at].name for at in slots] == [
        "all", "issuer", "route", "method", "issuer_route", "customer", "customer_method", "way",
    ]  # fmt: skip
    assert [kernel._half_life(h) for h in range(3)] == [hours for _, hours in HALF_LIVES]


def test_every_category_of_failure_is_counted_within_the_payment_and_for_the_customer():
    for category in CATEGORIES:
        assert {f"{category}_before", f"customer_{category}_rate_30d", f"customer_{category}_against_usual"} <= set(
            feature_names()
        )


def test_raw_columns_come_out_where_their_features_stand(encoder, request_rows, matrix, rows):
    at = {name: place for place, name in enumerate(feature_names())}
    for column, name in enumerate(RAW_NUMBERS[1:], start=1):
        np.testing.assert_array_equal(matrix[:, at[name]], rows.numbers[:, column].astype(np.float32))
    for column, name in enumerate(RAW_CODES):
        codes = np.where(rows.codes[:, column] < 0, np.nan, rows.codes[:, column]).astype(np.float32)
        np.testing.assert_array_equal(matrix[:, at[name]], codes)
