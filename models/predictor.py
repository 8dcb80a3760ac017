"""A loaded model that answers one request: fields in, probabilities out, on arrays and never on tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from features.fingerprint import fingerprint_with
from features.history import History, features_over
from features.kernel import N_FEATURES
from features.own import as_columns
from features.past import Looked, Past
from features.rows import Encoded, Encoder, slot_names
from features.taxonomy import reasons
from models import artefact
from models.code_text import CodeText
from models.golden import check_golden
from models.grounds import Asked, Chances
from models.heads import OutcomeModel
from models.variants import Variants

__all__ = ["MATURE_US", "Predictor"]

Fields = dict[str, Any]

MATURE_US = 1_800_000_000
"""After how long, in microseconds, an attempt that was walked away from counts as abandoned."""

_SHARED = ("currency", "country", "amount_minor", "customer_id")


def _ended(past: Mapping[str, Any]) -> int:
    """When an attempt was over, in microseconds: what became of it may have been known only later."""
    lasted = past.get("duration_s")
    at: int = past["created_at"]
    return at + int(lasted * 1e6) if lasted is not None else past.get("resolved_at") or at


def _as_known(past: Mapping[str, Any]) -> Mapping[str, Any]:
    """An attempt that has just failed, as training would know it: one that was walked away from is known to be after a while.

    Until then it is one without an outcome, and the model has learnt what becomes of the next attempt after such a one.
    """
    if past.get("outcome") != "user_abandonment":
        return past
    matured: int = past["created_at"] + MATURE_US
    return {**past, "resolved_at": max(past.get("resolved_at") or matured, matured)}


class _Answered(NamedTuple):
    """The attempt that was asked about last, encoded with its earlier ones; its features; what was told of it, if that was.

    `entered` are the places of those earlier ones that the past already holds.
    """

    attempt: Mapping[str, Any]
    previous: Sequence[Mapping[str, Any]]
    past: Past
    until: int
    encoded: Encoded
    earlier: Sequence[Encoded]
    entered: Sequence[int]
    matrix: npt.NDArray[np.float32]
    outcome: list[float] | None = None


class Predictor:
    """Answers the engine's questions from an artefact. Values are those of the attempts table; times in microseconds.

    It looks back on the `history` that the artefact carries, or, `on` another past, on that.
    """

    def __init__(
        self,
        encoder: Encoder,
        model: OutcomeModel,
        history: History,
        ways: Mapping[str, Sequence[tuple[str, str | None]]],
        code_text: CodeText | None = None,
        plausible: Mapping[str, float] | None = None,
    ) -> None:
        self.fingerprint = fingerprint_with(encoder.own)
        self.extra_columns = as_columns(encoder.own)
        self.code_text = code_text
        self.plausible = plausible
        self.encoder, self.history = encoder, history
        self._model, self._ways = model, ways
        self._past: Past = history
        self._last: list[_Answered | None] = [None]  # one place for all pasts

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """Read an artefact's folder. Raises ArtifactMismatch, naming the difference, also if its golden rows do not come out."""
        read = artefact.load(Path(folder))
        loaded = cls(read.encoder, read.outcome_model(), read.history, read.ways, read.code_text, read.plausible)
        loaded.warm()
        check_golden(loaded, read.golden)
        return loaded

    def on(self, past: Past) -> Predictor:
        """This predictor, looking back on another past."""
        other = Predictor.__new__(Predictor)  # copy.copy would cost a request 5 microseconds
        vars(other).update(vars(self), _past=past)
        return other

    def slots_of(
        self,
        attempt: Mapping[str, Any],
        previous: Sequence[Mapping[str, Any]],
        candidates: Sequence[Mapping[str, Any]],
    ) -> list[str]:
        """The names of the slots that questions about these look at, none twice."""
        ours = self.encoder.encode(attempt)
        asked = Variants(self.encoder, attempt, ours, candidates, attempt["created_at"], previous).encoded
        earlier = [slot_names(_filled(attempt, past)) for past in previous]
        every = chain(ours.slots, *(one.slots for one in asked), *earlier)
        return [name for name in dict.fromkeys(every) if name is not None]

    def features_of(
        self, attempt: Mapping[str, Any], previous: Sequence[Mapping[str, Any]]
    ) -> npt.NDArray[np.float32] | None:
        """The features of the attempt that was asked about last, shape (n_features,), as they were; None of another one.

        It has to be the same object, with the same earlier ones.
        """
        last = self._last[0]
        return last.matrix[0] if last is not None and last.attempt is attempt and last.previous is previous else None

    def warm(self) -> None:
        """Have everything compiled and paged in before the first request; reasons for a choice among them."""
        attempt = {
            "created_at": self.history.until,
            "amount_minor": 1,
            "currency": "EUR",
            "country": "DE",
            "method": "card",
        }
        self.reasons(attempt, [], {})
        chances = self.candidate_success(attempt, [attempt], [{"method": "card"}, {"method": "wallet"}])
        chances.why(0, 1)

    def ways_to_pay(self, country: str) -> Sequence[tuple[str, str | None]]:
        """(method, route) seen in that country, most used first."""
        return self._ways.get(country, ())

    def outcome(self, attempt: Mapping[str, Any], previous: Sequence[Mapping[str, Any]]) -> list[float]:
        """Probabilities, in the order of OUTCOMES; they sum to 1."""
        matrix, last = self._features_of(attempt, previous), self._last[0]
        if last is not None and last.matrix is matrix and last.outcome is not None:
            return last.outcome
        found: list[float] = self._model.outcome_probability(matrix, few=True)[0].tolist()
        return found

    def candidate_success(
        self,
        attempt: Mapping[str, Any],
        previous: Sequence[Mapping[str, Any]],
        candidates: Sequence[Mapping[str, Any]],
    ) -> Chances:
        """The success probability of each candidate as the next thing done after `previous`."""
        at = max([attempt["created_at"], *(_ended(past) for past in previous[-1:])])
        known = [*previous[:-1], *map(_as_known, previous[-1:])]
        encoder, last = self.encoder, self._last[0]
        if last is not None and last.attempt is not attempt:
            last = None
        ours = last.encoded if last is not None else encoder.encode(attempt)
        earlier, entered = self._earlier(attempt, known, last)
        asked = Variants(encoder, attempt, ours, candidates, at, previous)
        if not candidates:
            nothing = np.empty((0, N_FEATURES + len(encoder.own)), np.float32)
            return Chances((), Asked(asked, (), self._past.look_up(()), nothing, self._model))
        matrix, looked = self._features([*earlier, *asked.encoded], len(candidates), entered)
        found = self._success_of(matrix, attempt)
        return Chances(
            found, Asked(asked, asked.encoded, looked._replace(keys=looked.keys[len(known) :]), matrix, self._model)
        )

    def _success_of(self, matrix: npt.NDArray[np.float32], attempt: Mapping[str, Any]) -> list[float]:
        """P(success) of each row; with them, the outcome of the attempt that is asked about is told, as it will be asked for.

        One row more among those that are asked about costs a fifth of asking about it alone.
        """
        last, model = self._last[0], self._model
        if model.tells_all and last is not None and last.attempt is attempt and last.past is self._past:
            found = model.outcome_probability(matrix, more=last.matrix, few=True)
            self._last[0] = last._replace(outcome=found[-1].tolist())
            told: list[float] = found[:-1, 0].tolist()
            return told
        alone: list[float] = model.success_probability(matrix, few=True).tolist()
        return alone

    def reasons(
        self, attempt: Mapping[str, Any], previous: Sequence[Mapping[str, Any]], evidence: Mapping[str, Any]
    ) -> dict[str, float]:
        """P(reason | failed, evidence); they sum to 1. The reasons of the likeliest category share out what it has."""
        matrix = self._features_of(attempt, previous)
        if self._model.reason is None:
            outcome = self._model.outcome_probability(matrix, few=True)[0]
            return _spread(outcome[1:] / max(outcome[1:].sum(), 1e-12))
        left = self.encoder.evidence([{**attempt, **evidence}])
        names, found = self._model.reason_probability(matrix, left, few=True)
        return dict(zip(names, found[0].tolist(), strict=True))

    def _features_of(
        self, attempt: Mapping[str, Any], previous: Sequence[Mapping[str, Any]]
    ) -> npt.NDArray[np.float32]:
        """The features of the attempt itself, kept for the next question about the same one.

        The same is the same object: the engine asks for an attempt's outcome and for its reasons, one after the other.
        """
        last, past, until = self._last[0], self._past, self.history.until
        if (
            last is not None
            and last.attempt is attempt
            and last.previous is previous
            and last.past is past
            and last.until == until
        ):
            return last.matrix
        encoded = self.encoder.encode(attempt)
        earlier, entered = self._earlier(attempt, previous, None)
        matrix, _ = self._features([*earlier, encoded], 1, entered)
        self._last[0] = _Answered(attempt, previous, past, until, encoded, earlier, entered, matrix)
        return matrix

    def _earlier(
        self, attempt: Mapping[str, Any], previous: Sequence[Mapping[str, Any]], last: _Answered | None
    ) -> tuple[list[Encoded], list[int]]:
        """The earlier attempts, encoded, and the places of those that the past already holds: they do not enter it twice.

        Those that were there when the attempt itself was asked about have been encoded then.
        """
        here = last is not None and last.past is self._past and last.until == self.history.until
        kept = last.previous if last is not None and here else ()
        encoded, entered = [], []
        for i, past in enumerate(previous):
            if last is not None and i < len(kept) and kept[i] is past:
                encoded.append(last.earlier[i])
                known = i in last.entered
            elif last is not None and attempt.items() <= past.items():  # the attempt itself, which has just failed
                encoded.append(self.encoder.ended(last.encoded, past))
                known = self._past.has(past)
            else:
                encoded.append(self.encoder.encode(_filled(attempt, past), ended=True))
                known = self._past.has(past)
            if known:
                entered.append(i)
        return encoded, entered

    def _features(
        self, encoded: Sequence[Encoded], asked: int, entered: Sequence[int]
    ) -> tuple[npt.NDArray[np.float32], Looked]:
        """The features of the last so many, which are asked about, and what all of them look back on."""
        looked = self._past.look_up([one.slots for one in encoded])
        return features_over(encoded, looked, asked, entered=entered), looked


def _filled(attempt: Mapping[str, Any], past: Mapping[str, Any]) -> Mapping[str, Any]:
    """An earlier attempt of the payment: what it leaves out, its country say, is as in this one."""
    if all(map(past.__contains__, _SHARED)):
        return past
    return {**{name: attempt[name] for name in _SHARED if name in attempt}, **past}


def _spread(shares: npt.NDArray[np.float64]) -> dict[str, float]:
    """Category shares over the reasons of each category, evenly: the best that can be said without a reason head."""
    from features.columns import CATEGORIES

    known = reasons()
    members = {category: [name for name, r in known.items() if r.category == category] for category in CATEGORIES}
    return {
        name: float(share) / len(members[category])
        for category, share in zip(CATEGORIES, shares, strict=True)
        for name in members[category]
    }
