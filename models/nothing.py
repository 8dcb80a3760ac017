"""A model that has learnt nothing: whoever asks it has done what loading any model takes, before there is one.

Most of what a first model takes is not its own: compiled code is read from where it was kept, and put in its place.
"""

from __future__ import annotations

from features.columns import CATEGORIES
from features.definitions import EVIDENCE_CODES, RAW_CODES
from features.history import History
from features.rows import Encoder
from models.booster import Booster
from models.heads import STAGES, Blend, Calibration, Head, OutcomeModel
from models.predictor import Predictor

__all__ = ["of_nothing"]

_ENDED = {
    "created_at": 0, "resolved_at": 1, "outcome": "success", "amount_minor": 1, "currency": "EUR", "country": "DE",
    "method": "card",
}  # fmt: skip
_TREE = "\nTree={}\nnum_leaves=1\nleaf_value=0\n"


def of_nothing() -> Predictor:
    """A predictor that takes everything to be as likely as anything else, and that was asked everything once."""
    heads = [_head(("yes", "no")) for _ in ("success", *STAGES)]
    names = (*RAW_CODES, *EVIDENCE_CODES, "reason")
    encoder = Encoder(dict.fromkeys(names, ()), {})
    model = OutcomeModel(heads[0], tuple(heads[1:]), _head(CATEGORIES), (0.25, 0.25, 0.25, 0.25), Blend(0.0, 0.5, 0.5))
    predictor = Predictor(encoder, model, History(), {})
    predictor.warm()
    History().record(encoder.from_ended([_ENDED]))
    return predictor


def _head(classes: tuple[str, ...]) -> Head:
    """A head whose trees are bare leaves."""
    n = len(classes) if len(classes) > 2 else 1
    trees = "".join(_TREE.format(i) for i in range(n))
    text = f"num_tree_per_iteration={n}\nmax_feature_idx=0\n{trees}\nend of trees"
    return Head(Booster(text, [0]), classes, Calibration.none(n))
