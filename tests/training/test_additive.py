import numpy as np

from features.definitions import feature_names, features
from training.additive import fit_additive, share_of_additive

AMOUNT, COUNTRY = feature_names().index("amount"), feature_names().index("country")


def made(n=20_000, seed=3):
    """Rows whose log-odds are a bent line in the amount, plus a value per country, plus one where the amount is missing."""
    rng = np.random.default_rng(seed)
    matrix = np.full((n, len(features())), np.nan, np.float32)
    matrix[:, AMOUNT] = rng.uniform(0, 100, n)
    matrix[rng.random(n) < 0.2, AMOUNT] = np.nan
    matrix[:, COUNTRY] = rng.integers(0, 3, n)
    amount = np.nan_to_num(matrix[:, AMOUNT], nan=0.0)
    odds = (
        np.interp(amount, (0, 50, 100), (-1.0, 1.5, 0.5)) + np.array([0.0, 1.0, -1.0])[matrix[:, COUNTRY].astype(int)]
    )
    odds += np.isnan(matrix[:, AMOUNT]) * 1.0
    return matrix, odds, rng.random(n) < 1 / (1 + np.exp(-odds))


def test_curves_find_the_log_odds_that_made_the_answers():
    matrix, odds, happened = made()
    found = fit_additive(matrix[:15_000], happened[:15_000], [AMOUNT, COUNTRY])(matrix[15_000:])
    assert np.sqrt(((found - odds[15_000:]) ** 2).mean()) < 0.12


def test_columns_without_a_value_or_with_one_alone_are_left_out():
    matrix, _, happened = made(500)
    matrix[:, 5] = 7.0
    curves = fit_additive(matrix, happened, [AMOUNT, 4, 5]).curves
    assert [curve.place for curve in curves] == [AMOUNT]


def test_the_share_is_large_where_the_curves_are_right_and_none_where_the_trees_are():
    _, odds, happened = made()
    noise = odds + np.random.default_rng(1).normal(0, 1.5, len(odds))
    assert share_of_additive(noise, odds, happened) >= 0.7
    assert share_of_additive(odds, noise, happened) <= 0.1
