"""What attempts on both sides of a change are made comparable by: all that is known before, but for what the change moves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from features.own import OwnColumn, all_features
from models.means import OWN_GROUPS_OF

__all__ = ["covariates", "design"]

Array = npt.NDArray[Any]

_FLOW = ("auth_flow", "auth_steps", "auth_exemption", "way_")
_ROUTE = ("route", "issuer_route_", "way_")
_METHOD = (
    *_FLOW, *_ROUTE, "method", "customer_method_", "stored", "network_token", "card_", "issuer", "cross_border",
)  # fmt: skip
_FOLLOWS: Mapping[str, tuple[str, ...]] = {
    "method": _METHOD,
    "auth_steps": _METHOD,
    "route": _ROUTE,
    "auth_flow": _FLOW,
    "auth_exemption": _FLOW,
    "stored": ("stored", "network_token", "auth_exemption"),
    "network_token": ("network_token",),
    "form_errors": ("form_",),
    "form_seconds": ("form_seconds",),
}
"""Features that a change of a column moves along, by the beginnings of their names: to hold them still would hide its effect."""

_LIKE = {"auth_steps": "method", "auth_exemption": "auth_flow"}
"""Columns that move along what a merchant's own columns are about as these do (`OWN_GROUPS_OF`)."""

_FLEETING = ("_1h", "_streak")  # the last hour's luck of issuers and routes says little, and costs as much as the rest
_KNOTS = (1.0 / 3.0, 2.0 / 3.0)
_RAREST = 30
_MOST = 4.0


def covariates(changed: Collection[str], own: tuple[OwnColumn, ...] = ()) -> list[int]:
    """Columns of the feature matrix that a first attempt is compared by where these columns of the attempts table change."""
    moved = tuple(beginning for column in changed for beginning in _FOLLOWS.get(column, (column,)))
    groups = {group for column in changed for group in OWN_GROUPS_OF.get(_LIKE.get(column, column), ())}
    theirs = {column.name for column in own if column.group in groups or column.name in changed}
    kept = {column.name for column in own} - theirs
    return [
        place
        for place, feature in enumerate(all_features(own))
        if feature.name in kept
        or (
            feature.name not in theirs
            and (feature.group != "history" or feature.name.startswith("all_"))
            and not feature.name.endswith(_FLEETING)
            and not feature.name.startswith(moved)
        )
    ]


def design(matrix: Array, columns: Sequence[int], own: tuple[OwnColumn, ...] = ()) -> Array:
    """Covariates, shape (n, m), about standardised: codes as 0 or 1 each, numbers bent at their thirds, missing told apart.

    The matrix (n, n_features) has the `own` columns last.
    """
    known = all_features(own)
    parts: list[Array] = []
    for column in columns:
        values = matrix[:, column].astype(np.float64)
        if known[column].categories:
            parts += _codes(values)
        else:
            parts += _numbers(values, bent=known[column].unit != "share of attempts")
    return np.column_stack(parts).astype(np.float32) if parts else np.zeros((len(matrix), 1), np.float32)


def _codes(values: Array) -> list[Array]:
    codes = np.where(np.isnan(values), -1.0, values)
    found, counts = np.unique(codes, return_counts=True)
    return [_scaled((codes == code).astype(float)) for code in found[(counts >= _RAREST) & (counts < len(values))]]


def _numbers(values: Array, *, bent: bool) -> list[Array]:
    missing = np.isnan(values)
    seen = values[~missing]
    parts = [_scaled(missing.astype(float))] if _RAREST <= missing.sum() <= len(values) - _RAREST else []
    if len(seen) < _RAREST or seen.min() == seen.max():
        return parts
    # Amounts, seconds and counts have long tails
    level = np.sign(values) * np.log1p(np.abs(values)) if np.abs(seen).max() > _MOST else values
    middle = np.where(missing, np.nanmedian(level), level)
    knots = {knot for knot in np.quantile(middle[~missing], _KNOTS).tolist() if middle.min() < knot < middle.max()}
    bends = [np.maximum(middle - knot, 0.0) for knot in sorted(knots)] if bent else []
    return [*parts, *(_scaled(one).clip(-_MOST, _MOST) for one in (middle, *bends))]


def _scaled(values: Array) -> Array:
    spread = float(values.std())
    scaled: Array = (values - values.mean()) / spread if spread > 0.0 else np.zeros(len(values))
    return scaled
