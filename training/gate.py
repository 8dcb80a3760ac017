"""The gate: a challenger becomes champion only if it is better on the same held-out attempts, beyond chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.errors import ArtifactMismatch
from features.rows import Encoder
from models.artefact import Artefact
from training.metrics import Estimate
from training.quality import Judged, compare
from training.train import Prepared, prepare

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Verdict", "judge"]


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, in words, and the difference in log loss (challenger − champion, nats) behind it."""

    promote: bool
    why: str
    differences: dict[str, Estimate]


def judge(
    challenger: Artefact,
    champion: Artefact | None,
    data: Prepared,
    *,
    resamples: int,
    seed: int,
    prepare: Callable[[pd.DataFrame, Encoder], Prepared] = prepare,
) -> Verdict:
    """Compare on the attempts that the challenger was judged by: payments begun since `window["judged_from"]`.

    Each model is asked with heads that have not seen these attempts: the challenger as it was validated; the champion as it
    serves if it was trained before they began, else as it was validated. `data` is prepared with the challenger's encoder;
    the champion gets features of its own,
    which `prepare` makes.
    """
    if champion is None:
        return Verdict(True, "there is no champion yet", {})
    since = challenger.window["judged_from"]
    rows = data.rows.created >= since
    if champion.window["until"] >= since:
        if champion.window["judged_from"] > since:
            return Verdict(
                False,
                "the champion has learnt from the attempts that would judge it; train on later attempts to compare",
                {},
            )
        champion_model = champion.outcome_model(validated=True)
    else:
        champion_model = champion.outcome_model()
    rows &= data.outcome >= 0
    ours = challenger.outcome_model(validated=True).outcome_probability(data.matrix[rows])
    try:
        theirs = champion_model.outcome_probability(prepare(data.table, champion.encoder).matrix[rows])
    except ArtifactMismatch as error:
        return Verdict(True, f"the champion can no longer be asked ({error})", {})
    judged = Judged(data.outcome[rows], data.payment[rows], resamples=resamples, seed=seed)
    differences = compare(judged, ours, theirs)
    said = "; ".join(f"{name.replace('_', ' ')} {found}" for name, found in differences.items())
    worse = [name for name, found in differences.items() if found.low > 0.0]
    better = [name for name, found in differences.items() if found.high < 0.0]
    if better and not worse:
        return Verdict(True, f"better than the champion on the same attempts: {said}", differences)
    verdict = "worse than" if worse else "not better, beyond chance, than"
    return Verdict(False, f"{verdict} the champion on the same attempts: {said}", differences)
