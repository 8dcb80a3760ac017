"""What a trained model expects of every option of every logged decision, as things stood then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.history import History, features_in_passing
from models.artefact import Artefact
from models.means import OF_THE_FLOW, OF_THE_METHOD
from training.policy_log import ACTION, OptionKey

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["option_success", "with_option"]

Array = npt.NDArray[Any]

_OF_THE_END = ("outcome", "reason", "resolved_at", "duration_s")


def with_option(table: pd.DataFrame, option: OptionKey) -> pd.DataFrame:
    """The attempts as they would have been made with that option; what belongs to the old method or flow goes missing."""
    import pandas as pd

    changed = table.copy()
    other_method = (table["method"].astype(object) != option.method).to_numpy()
    for name in (name for name in OF_THE_METHOD if name in changed):
        changed[name] = changed[name].mask(other_method)
    if "auth_flow" in table:
        other_flow = (table["auth_flow"].astype(object) != option.auth_flow).to_numpy()
        for name in (name for name in OF_THE_FLOW if name in changed):
            changed[name] = changed[name].mask(other_flow)
    for name, value in zip(ACTION, option, strict=True):
        if value is not None or name in changed:
            changed[name] = pd.Categorical([value] * len(changed))
    return changed


def option_success(
    artefact: Artefact,
    table: pd.DataFrame,
    options: Sequence[OptionKey],
    wanted: Array,
    past: pd.DataFrame | None = None,
) -> Array:
    """P(success) of each option in each of the table's attempts, shape (n, k); NaN where not `wanted` (n, k).

    The past is what had become known by then of what was really done: in `past`, and in the table itself. It begins with what
    the model carries, where all of these are later.
    """
    import pandas as pd

    head = None if past is None else past[~past["attempt_id"].isin(table["attempt_id"])]
    done = table if head is None else pd.concat([head, table], ignore_index=True)
    real = artefact.encoder.from_table(done)
    carried = len(real) and real.created.min() >= artefact.history.until
    model = artefact.outcome_model()
    first = len(done) - len(table)
    found = np.full(wanted.shape, np.nan)
    for k, option in enumerate(options):
        places = np.flatnonzero(wanted[:, k])
        if not len(places):
            continue
        asked = with_option(table.iloc[places], option)
        asked = asked.drop(columns=[name for name in _OF_THE_END if name in asked])
        rows = artefact.encoder.from_table(pd.concat([done, asked], ignore_index=True))
        # Each stands in the place of the attempt that was made: after what that one came after, and blind to its outcome
        origin = first + places
        rows = replace(
            rows,
            previous=np.concatenate([real.previous, real.previous[origin]]),
            position=np.concatenate([real.position, real.position[origin]]),
        )
        only = np.arange(len(rows)) >= len(done)
        history = artefact.history.copy() if carried else History()
        found[places, k] = model.success_probability(features_in_passing(rows, history, only))
    return found
