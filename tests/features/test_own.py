"""Columns of a merchant's own are features on both roads, bit for bit, and nothing else changes by them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.attempts import check_attempts
from features.errors import BadInput
from features.fingerprint import fingerprint, fingerprint_with
from features.history import History, features_in_passing, features_of_request
from features.kernel import N_FEATURES
from features.own import OwnColumn, all_features, as_columns, read_own
from features.rows import Encoder

OWN = (
    OwnColumn("basket_items", "items in the basket", "items", "amount", "numeric"),
    OwnColumn("tier", "tier of the loyalty programme", "category", "customer", "categorical"),
)
TOLD = {
    "basket_items": {"label": "items in the basket", "unit": "items", "group": "amount", "kind": "numeric"},
    "tier": {"label": "tier of the loyalty programme", "group": "customer", "kind": "categorical"},
}


@pytest.fixture(scope="module")
def with_own(attempts):
    rng = np.random.default_rng(3)
    table = attempts.copy()
    items = rng.lognormal(1.0, 1.0, len(table))
    table["basket_items"] = np.where(rng.random(len(table)) < 0.2, np.nan, items)
    table["tier"] = pd.Categorical(rng.choice(["gold", "silver", "none", None], len(table)))
    return table


@pytest.fixture(scope="module")
def own_encoder(with_own):
    return Encoder.fit(with_own, OWN)


def test_what_settings_declare_is_read():
    assert read_own(TOLD) == OWN
    assert read_own(None) == ()


def test_they_come_after_the_features_that_everybody_has_with_names_labels_and_units():
    assert [(f.name, f.unit, f.categories) for f in all_features(OWN)[N_FEATURES:]] == [
        ("basket_items", "items", None),
        ("tier", "category", "tier"),
    ]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"Basket": TOLD["tier"]}, "Basket"),
        ({"amount_minor": TOLD["tier"]}, "does not use itself"),
        ({"hour": TOLD["tier"]}, "does not use itself"),
        ({"card_number": TOLD["tier"]}, "no column for card numbers"),
        ({"x": TOLD["tier"] | {"group": "weather"}}, "x.group 'weather': want one of customer"),
        ({"x": TOLD["tier"] | {"label": "amount"}}, "a label that no other feature has"),
        ({"x": {"label": "x", "group": "form", "kind": "numeric"}}, "x.unit"),
        ({"x": TOLD["tier"] | {"colour": "red"}}, "x.colour: want one of label, unit, group, kind"),
        ({"x": 5}, "label, unit, group and kind"),
        (["x"], "by the column's name"),
    ],
)
def test_a_declaration_that_cannot_be_used_is_refused_by_name(told, said):
    with pytest.raises(BadInput, match=said):
        read_own(told)


@settings(max_examples=60)
@given(
    items=st.none() | st.floats(-1e9, 1e9, width=64),
    tier=st.sampled_from([None, "gold", "silver", "never seen"]),
    place=st.integers(0, 200),
)
def test_a_request_has_the_features_of_the_table_bit_for_bit(with_own, own_encoder, as_fields, place, items, tier):
    one = with_own.iloc[[place]].reset_index(drop=True)
    one["basket_items"] = pd.Series([items], dtype="float64")
    one["tier"] = pd.Categorical([tier])
    by_table = features_in_passing(own_encoder.from_table(one), History())
    fields = as_fields(one)[0]
    by_request = features_of_request(own_encoder.of_request([], [fields]), History(), 1)
    np.testing.assert_array_equal(by_request.view(np.uint32), by_table.view(np.uint32))
    assert np.isnan(by_table[0, -1]) == (tier in {None, "never seen"})


def test_the_other_features_stay_as_they_are(with_own, own_encoder, attempts, encoder):
    matrix = features_in_passing(own_encoder.from_table(with_own), History())
    plain = features_in_passing(encoder.from_table(attempts), History())
    np.testing.assert_array_equal(matrix[:, :N_FEATURES], plain)
    assert matrix.shape[1] == N_FEATURES + 2


def test_only_the_wanted_rows_come_out_each_with_its_own_values(with_own, own_encoder):
    rows = own_encoder.from_table(with_own)
    wanted = np.arange(len(rows)) % 3 == 1
    matrix = features_in_passing(rows, History(), wanted)
    np.testing.assert_array_equal(matrix[:, N_FEATURES:], rows.own[wanted])


def test_a_table_without_them_has_them_missing(attempts, own_encoder):
    matrix = features_in_passing(own_encoder.from_table(attempts), History())
    assert np.isnan(matrix[:, N_FEATURES:]).all()


def test_values_of_another_kind_than_declared_say_nothing(with_own, own_encoder, as_fields):
    turned = with_own.head(1).copy()
    turned["basket_items"], turned["tier"] = pd.Categorical(["many"]), 3.0
    assert np.isnan(own_encoder.from_table(turned).own).all()
    fields = as_fields(with_own.head(1))[0] | {"basket_items": "many", "tier": 3.0}
    assert np.isnan(own_encoder.encode(fields).own).all()


def test_the_fingerprint_tells_them_apart():
    assert fingerprint_with(()) == fingerprint()
    turned = tuple(reversed(OWN))
    other = (OWN[0], OwnColumn("tier", "tier of the loyalty programme", "category", "customer", "numeric"))
    assert len({fingerprint(), *map(fingerprint_with, (OWN, OWN[:1], turned, other))}) == 5


def test_a_training_wants_them_and_nobody_else_does(attempts):
    now = pd.Timestamp("2026-06-01", tz="UTC").to_pydatetime()
    with pytest.raises(BadInput, match="basket_items: want this column"):
        check_attempts(attempts, now=now, for_training=True, extra=as_columns(OWN))
    assert "tier" not in check_attempts(attempts, now=now, extra=as_columns(OWN))
