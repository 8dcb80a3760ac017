"""The gate: a challenger becomes champion only if it is better on the same held-out attempts, beyond chance, and worse for none
of the slices that are guarded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from features.errors import ArtifactMismatch
from features.rows import Encoder
from models.artefact import Artefact
from training.compare import SliceDifference, compare_slices, guarded, is_guarded
from training.metrics import Estimate
from training.quality import Judged, compare, slices_of
from training.train import Prepared, prepare

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Verdict", "judge"]


@dataclass(frozen=True)
class Verdict:
    """Whether to promote, in words, and the difference in log loss (challenger − champion, nats) behind it: in all, and by
    slice, the worst first."""

    promote: bool
    why: str
    differences: dict[str, Estimate]
    slices: Sequence[SliceDifference] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "promote": self.promote,
            "why": self.why,
            "differences": {name: found.as_dict() for name, found in self.differences.items()},
            "slices": [found.as_dict() for found in self.slices],
        }


def judge(
    challenger: Artefact,
    champion: Artefact | None,
    data: Prepared,
    *,
    resamples: int,
    seed: int,
    prepare: Callable[[pd.DataFrame, Encoder], Prepared] = prepare,
    guarded_slices: str = "",
) -> Verdict:
    """Compare on the attempts that the challenger was judged by: payments begun since `window["judged_from"]`.

    Each model is asked with heads that have not seen these attempts: the challenger as it was validated; the champion as it
    serves if it was trained before they began, else as it was validated. `data` is prepared with the challenger's encoder;
    the champion gets features of its own, which `prepare` makes. `guarded_slices` are those that may not get worse beyond
    noise (`guarded`): the p-values count every slice that was looked at, guarded or not.
    """
    guards = guarded(guarded_slices)
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
    slices = compare_slices(judged, ours, theirs, slices_of(data.table, data.encoder, rows), seed=seed)
    said = "; ".join(f"{name.replace('_', ' ')} {found}" for name, found in differences.items())
    worse = [name for name, found in differences.items() if found.low > 0.0]
    better = [name for name, found in differences.items() if found.high < 0.0]
    hurt = [one for one in slices if one.standing == "worse" and is_guarded(one.slice, one.value, guards)]
    if not better or worse:
        verdict = "worse than" if worse else "not better, beyond chance, than"
        return Verdict(False, f"{verdict} the champion on the same attempts: {said}", differences, slices)
    if hurt:
        first = "; ".join(map(str, hurt[:3])) + (f"; and {len(hurt) - 3} more" if len(hurt) > 3 else "")
        why = f"better than the champion in all, and worse beyond noise for guarded slices: {first}. In all: {said}"
        return Verdict(False, why, differences, slices)
    return Verdict(True, f"better than the champion on the same attempts: {said}", differences, slices)
