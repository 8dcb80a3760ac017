"""Whether an experiment can be read at all: who was in which arm, and whether chance can have shared them out like that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.errors import BadInput, Fault
from insights.experiment_units import DAY_US, Payments

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_MULTIPLE", "UNEVEN", "Exposed", "Health", "expose", "health_of", "sample_ratio"]

Array = npt.NDArray[Any]

UNEVEN = 0.01
"""Arms that chance makes so uneven less often than this are not read. At 0.01 a share of 50.5 % for 50 % is caught among
200,000 payments with 97 % (at GrowthBook's 0.001 with 88 %); one sound experiment in a hundred is held up for nothing."""

MOST_MULTIPLE = 0.01
"""More payments than this share in several arms, and something is broken (GrowthBook's limit)."""

_MOST_MISASSIGNED = 0.005


@dataclass(frozen=True)
class Exposed:
    """Payments of an experiment: their places among all payments, and their arms (index into `names`, the control first).

    `multiple` and `misassigned` are counts of those seen in several arms, which are left out, and of those whose arm is not
    the one that they were assigned to (None where that is not known). `by_assignment`: all that were assigned are here;
    else only those whose attempts say so.
    """

    names: tuple[str, ...]
    place: Array
    arm: Array
    seen: int
    multiple: int
    misassigned: int | None
    by_assignment: bool


@dataclass(frozen=True)
class Health:
    """Whether the experiment can be read. `faults` are in words, empty if it can; `notes` are what to bear in mind.

    `sample_ratio_p`: how likely so uneven arms are by chance. `multiple`: share of payments seen in more than one arm.
    `misassigned`: share whose arm is not the one that the hash of their id gives; None where the assignment is not known.
    `unripe`: payments too young, or still pending, to be counted. `days` that have been counted.
    """

    sample_ratio_p: float
    multiple: float
    misassigned: float | None
    unripe: int
    days: float
    faults: tuple[str, ...]
    notes: tuple[str, ...]


def expose(
    attempts: pd.DataFrame,
    payments: Payments,
    experiment: str,
    control: str | None,
    assigned: Callable[[str], str | None] | None,
) -> Exposed:
    """Who was in which arm: as `assigned` says of every payment begun while the experiment ran, else as attempts say.

    Raises BadInput where the attempts know of no such experiment, or of one arm alone.
    """
    import pandas as pd

    for name in ("experiment", "variant"):
        if name not in attempts:
            raise BadInput("attempts", [Fault(name, "a column that says which payments were in an experiment")])
    mine = (attempts["experiment"].astype(object) == experiment).to_numpy() & attempts["variant"].notna().to_numpy()
    if not mine.any():
        there = ", ".join(sorted(map(str, attempts["experiment"].dropna().unique()))) or "none"
        raise BadInput("attempts", [Fault("experiment", f"one that the attempts were in: {there}", seen=experiment)])
    codes, names = pd.factorize(attempts["variant"][mine].astype(str), sort=True)
    pairs = np.unique(np.column_stack([payments.row_payment[mine], codes]), axis=0)
    places, first, counts = np.unique(pairs[:, 0], return_index=True, return_counts=True)
    multiple, arms = int((counts > 1).sum()), pairs[first, 1]
    seen, misassigned = len(places), None
    variants = [str(name) for name in names]
    if assigned is None:
        places, arms = places[counts == 1], arms[counts == 1]
    else:
        logged = dict(zip(places[counts == 1].tolist(), [variants[arm] for arm in arms[counts == 1]], strict=True))
        begun = payments.begun[places]
        running = np.flatnonzero((payments.begun >= begun.min()) & (payments.begun <= begun.max()))
        told = [assigned(str(payments.payment_id[place])) for place in running.tolist()]
        misassigned = sum(
            variant != logged[place] for place, variant in zip(running.tolist(), told, strict=True) if place in logged
        )
        variants = sorted({variant for variant in told if variant is not None})
        within = np.array([variant is not None for variant in told], bool)
        places = running[within]
        arms = np.array([variants.index(variant) for variant in told if variant is not None], np.int64)
    order = _control_first(variants, control)
    if len(order) < 2:
        raise BadInput("attempts", [Fault("variant", "two arms or more", seen=", ".join(variants))])
    rank = np.argsort(order)
    in_order = np.argsort(places, kind="stable")
    return Exposed(
        tuple(variants[k] for k in order), places[in_order], rank[arms[in_order]], seen, multiple, misassigned,
        by_assignment=assigned is not None,
    )  # fmt: skip


def _control_first(variants: list[str], control: str | None) -> list[int]:
    wanted = control if control is not None else ("control" if "control" in variants else variants[0])
    if wanted not in variants:
        raise BadInput("--control", [Fault("arm", ", ".join(variants), seen=wanted)])
    first = variants.index(wanted)
    return [first, *(k for k in range(len(variants)) if k != first)]


def sample_ratio(counts: Array, shares: Array) -> float:
    """How likely chance is to make counts (k,) so far from their shares (k,), which sum to 1: Pearson's chi-square."""
    from statsmodels.stats.gof import chisquare

    return float(chisquare(counts, counts.sum() * shares)[1])


def health_of(exposed: Exposed, payments: Payments, shares: Mapping[str, float] | None, ripe: Array) -> Health:
    """What there is to be said against reading it. `shares` are the arms' own (equal ones if not told)."""
    told = np.array([1.0 if shares is None else shares.get(name, 0.0) for name in exposed.names])
    missing = [name for name, share in zip(exposed.names, told, strict=True) if share <= 0.0]
    if missing:
        raise BadInput("--shares", [Fault("arm", "a share above 0 for each arm", seen=", ".join(missing))])
    told = told / told.sum()
    counts = np.bincount(exposed.arm, minlength=len(exposed.names)).astype(float)
    p = sample_ratio(counts, told)
    multiple = exposed.multiple / max(exposed.seen, 1)
    wrong = None if exposed.misassigned is None else exposed.misassigned / max(exposed.seen - exposed.multiple, 1)
    faults = []
    if p < UNEVEN:
        seen = ", ".join(f"{name} {count:,.0f}" for name, count in zip(exposed.names, counts, strict=True))
        meant = ", ".join(f"{share:.1%}" for share in told)
        faults.append(f"the arms are uneven ({seen}; meant: {meant}; by chance p = {p:.2g})")
    if multiple > MOST_MULTIPLE:
        faults.append(f"{multiple:.1%} of the payments were seen in several arms")
    if wrong is not None and wrong > _MOST_MISASSIGNED:
        faults.append(f"{wrong:.1%} of the payments were answered by another arm than the hash of their id gives")
    notes = []
    if not exposed.by_assignment:
        notes.append(
            "read from the payments whose attempts name the experiment: of those that the service answered, the ones that "
            "followed; with the experiments' file, all that were assigned are read"
        )
    begun = payments.begun[exposed.place][ripe]
    days = float(np.ptp(begun)) / DAY_US if len(begun) else 0.0
    return Health(p, multiple, wrong, int((~ripe).sum()), days, tuple(faults), tuple(notes))
