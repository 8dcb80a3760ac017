import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.errors import ArtifactMismatch
from models import questions
from models.booster import Booster


@pytest.fixture(scope="module", params=["success", "technical", "reason"])
def trees(request, heads, matrix, evidence):
    """A booster, LightGBM's own of the same text, and rows that it was made for."""
    part = heads[request.param]
    data = np.ascontiguousarray(np.hstack([matrix, evidence])[:, part.columns])
    return Booster(part.text), lightgbm.Booster(model_str=part.text), data


def scores_of(reference, data):
    return reference.predict(data, raw_score=True).reshape(len(data), -1)


def test_one_by_one_and_all_at_once_score_as_lightgbm_does_bit_for_bit(trees):
    booster, reference, data = trees
    wanted = scores_of(reference, data)
    np.testing.assert_array_equal(booster.few(data), wanted, strict=True)
    np.testing.assert_array_equal(booster.many(data), wanted, strict=True)
    np.testing.assert_array_equal(booster.many(data, threads=1), wanted, strict=True)
    assert len(np.unique(wanted)) > 100


@settings(max_examples=40, deadline=None)
@given(values=arrays(np.float32, (3, 6), elements=st.floats(width=32)), seed=st.integers(0, 99))
def test_whatever_is_in_a_row_it_is_scored_alike(trees, values, seed):
    booster, reference, data = trees
    rng = np.random.default_rng(seed)
    odd = data[rng.integers(0, len(data), 3)]
    odd[:, rng.choice(data.shape[1], 6, replace=False)] = values  # NaN and infinities among them
    wanted = scores_of(reference, odd)
    np.testing.assert_array_equal(booster.few(odd), wanted)
    np.testing.assert_array_equal(booster.many(odd), wanted)


def test_it_knows_its_shape(trees):
    booster, reference, _ = trees
    assert (booster.columns, booster.classes) == (reference.num_feature(), reference.num_model_per_iteration())
    assert booster.iterations == reference.current_iteration()


def test_a_score_is_the_same_whatever_stands_beside_it(trees):
    booster, _, data = trees
    np.testing.assert_array_equal(booster.few(data[7:8])[0], booster.few(data[:20])[7])


def test_trees_too_many_to_be_counted_in_two_bytes_score_as_others_do(trees, monkeypatch):
    booster, reference, data = trees
    monkeypatch.setattr(questions, "_SMALL", 0)
    large = Booster(reference.model_to_string())
    assert [part.dtype for part in booster.in_order] != [part.dtype for part in large.in_order]
    np.testing.assert_array_equal(large.few(data[:40]), booster.few(data[:40]), strict=True)


@pytest.mark.parametrize("limit", ["_MOST_MEMBERS", "_MOST_CODES"])
def test_trees_that_would_take_more_memory_than_any_merchant_needs_are_refused(heads, monkeypatch, limit):
    text = heads["success"].text
    assert len(Booster(text).in_order[4])  # some of them ask about codes
    monkeypatch.setattr(questions, limit, 1)
    with pytest.raises(ArtifactMismatch, match="too many codes"):
        Booster(text).few(np.zeros((0, 1), np.float32))


def test_no_rows_have_no_scores(trees):
    booster, _, data = trees
    assert booster.few(data[:0]).shape == booster.many(data[:0]).shape == (0, booster.classes)


def test_rows_that_are_not_contiguous_may_be_scored_all_at_once(trees):
    booster, _, data = trees
    np.testing.assert_array_equal(booster.many(data[::3]), booster.many(data)[::3])


def test_rows_of_another_width_are_refused(trees):
    booster, _, data = trees
    with pytest.raises(ArtifactMismatch, match=f"want {booster.columns} columns"):
        booster.many(data[:, 1:])


@pytest.mark.parametrize("text", ["", "no model", "tree\nversion=v4\n"])
def test_text_that_is_no_model_is_refused(text):
    with pytest.raises(ArtifactMismatch, match="LightGBM"):
        Booster(text)


@pytest.mark.parametrize("names", [("technical", "bank_decline"), ("success", "technical", "reason")])
def test_joined_boosters_score_side_by_side_what_each_scores_alone(heads, matrix, evidence, names):
    everything = np.hstack([matrix, evidence])
    alone = [Booster(heads[name].text, heads[name].columns) for name in names]
    joined = Booster.joined(alone)
    np.testing.assert_array_equal(joined.many(everything), np.hstack([one.many(everything) for one in alone]))
    np.testing.assert_array_equal(joined.few(everything[:3]), np.hstack([one.few(everything[:3]) for one in alone]))


def test_a_question_of_whether_a_value_is_missing_is_answered_as_lightgbm_does():
    rng = np.random.default_rng(2)
    data = rng.normal(size=(4_000, 2)).astype(np.float32)
    data[rng.random(4_000) < 0.5, 0] = np.nan
    answer = np.where(np.isnan(data[:, 0]), 2.0, 0.0) + (data[:, 1] > 0)
    for default in (data, -data):
        reference = lightgbm.train({"num_leaves": 4, "verbose": -1}, lightgbm.Dataset(default, answer), 5)
        text = reference.model_to_string()
        assert "inf" in text.split("Tree=0")[1].split("feature_importances")[0]  # a split that sets NaN apart
        odd = np.vstack([default[:500], [[np.inf, 0.0], [-np.inf, 0.0], [np.nan, np.nan]]]).astype(np.float32)
        np.testing.assert_array_equal(Booster(text).many(odd)[:, 0], reference.predict(odd, raw_score=True))


@pytest.mark.parametrize("leaves", [2, 16, 17, 40, 255])
def test_trees_of_any_size_score_as_lightgbm_does(leaves):
    rng = np.random.default_rng(leaves)
    data = rng.normal(size=(3_000, 4)).astype(np.float32)
    data[:, 3] = rng.integers(0, 90, 3_000)
    data[rng.random((3_000, 4)) < 0.1] = np.nan
    answer = np.nan_to_num(data[:, 0] * data[:, 1]) + np.sin(np.nan_to_num(data[:, 3]) * 7.0) + rng.normal(size=3_000)
    told = {"num_leaves": leaves, "min_data_in_leaf": 2, "cat_smooth": 1.0, "verbose": -1}
    reference = lightgbm.train(told, lightgbm.Dataset(data, answer, categorical_feature=[3]), 12)
    booster = Booster(reference.model_to_string())
    odd = np.vstack([data[:700], rng.normal(size=(99, 4)) * 50.0]).astype(np.float32)
    wanted = reference.predict(odd, raw_score=True)
    np.testing.assert_array_equal(booster.many(odd)[:, 0], wanted)
    for some in (1, 2, 5, 9, 13, 17, 40):  # rows that share a word, and rows that do not
        np.testing.assert_array_equal(booster.few(odd[:some])[:, 0], wanted[:some])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("left_child", "-1 1 2"),
        ("right_child", "1 9 -3"),
        ("left_child", "0 -2 -3"),
        ("threshold", "1"),
        ("leaf_value", "1"),
        ("leaf_value", "1   "),
        ("leaf_value", "1,5 2 3 4"),
        ("leaf_value", "inf   "),
        ("threshold", "1  "),
    ],
)
def test_a_tree_that_is_none_is_refused(name, value):
    rng = np.random.default_rng(5)
    data = rng.normal(size=(500, 2))
    text = lightgbm.train(
        {"num_leaves": 4, "verbose": -1}, lightgbm.Dataset(data, data.sum(axis=1)), 1
    ).model_to_string()
    line = next(line for line in text.splitlines() if line.startswith(f"{name}="))
    with pytest.raises(ArtifactMismatch, match="damaged"):
        Booster(text.replace(line, f"{name}={value}"))
