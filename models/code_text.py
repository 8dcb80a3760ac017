"""A small text model for codes that no table has: of a new processor, or with a changed text.

Linear over the words of code and message and their n-grams, weighted by how rare they are (tf-idf), with a
score for each sub-reason and a temperature that makes probabilities of the scores. `training.code_text` fits
it; here it is read and asked, with NumPy alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from features.errors import ArtifactMismatch
from features.taxonomy import CodeMeaning, codes, reasons, sub_reasons
from models.code_answer import CodeAnswer, Near, TextReading, by_table
from models.code_words import pieces, words

__all__ = ["NO_FAILURE", "CodeText", "weighted"]

_STRANGE = 0.5
"""What a piece never seen adds to a text's length, as a share of what the rarest known piece adds."""

NO_FAILURE = "no_failure"
"""The model's answer to texts of success, beside the sub-reasons: a code that says "approved" is none."""

_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CodeText:
    """The fitted model: `rarity` of each piece, shape (n_pieces,), and `weights`, shape (n_pieces, n_sub_reasons)."""

    vocabulary: tuple[str, ...]
    sub_reasons: tuple[str, ...]
    rarity: _Floats
    weights: _Floats
    temperature: float

    @cached_property
    def _places(self) -> dict[str, int]:
        return {piece: place for place, piece in enumerate(self.vocabulary)}

    @cached_property
    def _reasons(self) -> tuple[str | None, ...]:
        """The reason of each sub-reason; None of no failure."""
        known = sub_reasons()
        return tuple(known[name].reason if name in known else None for name in self.sub_reasons)

    def explain(
        self, scheme: str, code: str, message: str = "", card_brand: str | None = None, near: int = 3
    ) -> CodeAnswer:
        """What a code says: by the tables if they have it, else by its text; and `near` codes that it is like, as the why.

        >>> CodeText.of_scores({"expired_card": {"=expired": 1.0}}).explain("iso8583", "51").decided_by
        'table'
        """
        told = by_table(scheme, code, card_brand)
        if told is not None:
            return told
        reading = self.read(code, message)
        decided_by = "text_model" if reading is not None and reading.tells else "cannot_tell"
        return CodeAnswer(decided_by, None, reading, self.nearest(code, message, near) if near else ())

    def read(self, code: str, message: str = "") -> TextReading | None:
        """What a code and its message most likely say; None where no word of them was ever seen.

        >>> CodeText.of_scores({"expired_card": {"=expired": 1.0}, "do_not_honor": {"=declined": 1.0}}).read(
        ...     "card_expired"
        ... ).sub_reason
        'expired_card'
        """
        places, shares = weighted(words(code, message), self._places, self.rarity)
        if not len(places):
            return None
        scores = (shares @ self.weights[places]).astype(np.float64) * self.temperature
        likely = np.exp(scores - scores.max())
        likely /= likely.sum()
        of_reason: dict[str, float] = {}
        of_category: dict[str, float] = {}
        known = reasons()
        for name, probability in zip(self._reasons, likely.tolist(), strict=True):
            if name is None:
                continue
            of_reason[name] = of_reason.get(name, 0.0) + probability
            category = known[name].category
            of_category[category] = of_category.get(category, 0.0) + probability
        category = max(of_category, key=of_category.__getitem__)
        own = {name: p for name, p in of_reason.items() if known[name].category == category}
        reason = max(own, key=own.__getitem__)
        finest = max(
            (place for place, name in enumerate(self._reasons) if name == reason),
            key=lambda place: float(likely[place]),
        )
        return TextReading(self.sub_reasons[finest], reason, category, of_reason, of_category)

    def nearest(self, code: str, message: str = "", count: int = 3) -> tuple[Near, ...]:
        """The known codes whose words are most like these, at most one of a meaning, likest first."""
        asked = np.zeros(len(self.vocabulary), np.float32)
        places, shares = weighted(words(code, message), self._places, self.rarity)
        asked[places] = shares
        found: dict[str, Near] = {}
        for known, there, of_them in self._known:
            likeness = float(asked[there] @ of_them)
            if likeness > 0.0 and (known.meaning not in found or likeness > found[known.meaning].likeness):
                found[known.meaning] = Near(known, likeness)
        return tuple(sorted(found.values(), key=lambda near: near.likeness, reverse=True)[:count])

    @cached_property
    def _known(self) -> list[tuple[CodeMeaning, npt.NDArray[np.int64], _Floats]]:
        return [(known, *weighted(words(known.code, known.meaning), self._places, self.rarity)) for known in codes()]

    @classmethod
    def of_scores(cls, scores: Mapping[str, Mapping[str, float]], temperature: float = 1.0) -> CodeText:
        """A model from scores by sub-reason and piece, every piece as rare as any other: for examples and tests."""
        vocabulary = tuple(dict.fromkeys(piece for by_piece in scores.values() for piece in by_piece))
        weights = [[by_piece.get(piece, 0.0) for by_piece in scores.values()] for piece in vocabulary]
        rarity = np.ones(len(vocabulary), np.float32)
        return cls(vocabulary, tuple(scores), rarity, np.array(weights, np.float32), temperature)

    def save(self, path: Path) -> None:
        """Write as plain arrays (.npz), nothing in them that executes."""
        np.savez_compressed(
            path,
            vocabulary=_packed(self.vocabulary),
            sub_reasons=_packed(self.sub_reasons),
            rarity=self.rarity,
            weights=self.weights,
            temperature=np.array(self.temperature, np.float64),
        )

    @classmethod
    def load(cls, path: Path) -> CodeText:
        """Read what `save` wrote. Raises ArtifactMismatch if it is not that, or names sub-reasons that are none."""
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                found = cls(
                    _unpacked(arrays["vocabulary"]),
                    _unpacked(arrays["sub_reasons"]),
                    arrays["rarity"].astype(np.float32),
                    arrays["weights"].astype(np.float32),
                    float(arrays["temperature"]),
                )
        except (KeyError, ValueError, EOFError, TypeError, BadZipFile) as error:
            raise ArtifactMismatch(f"{path.name} is not a text model of codes ({type(error).__name__})") from error
        shape = (len(found.vocabulary), len(found.sub_reasons))
        if found.weights.shape != shape or found.rarity.shape != shape[:1]:
            raise ArtifactMismatch(f"{path.name} has weights of shape {found.weights.shape}, want {shape}")
        unknown = set(found.sub_reasons) - set(sub_reasons()) - {NO_FAILURE}
        if unknown:
            raise ArtifactMismatch(f"{path.name} knows {', '.join(sorted(unknown))}; the taxonomy here does not")
        return found


def weighted(told: Sequence[str], places: Mapping[str, int], rarity: _Floats) -> tuple[npt.NDArray[np.int64], _Floats]:
    """Where the words' pieces stand in the vocabulary, and the share of each: tf-idf of length 1; both (n_found,).

    A piece counts by 1 + ln(how often), times its rarity (Salton and Buckley 1988). Pieces never seen have no
    place but lengthen the whole, so that a text in strange words has small shares, and is not read with confidence.
    """
    counted = Counter(pieces(told))
    known = [(place, times) for piece, times in counted.items() if (place := places.get(piece)) is not None]
    found = np.array([place for place, _ in known], np.int64)
    shares = (1.0 + np.log(np.array([times for _, times in known], np.float64))) * rarity[found]
    strange = sum((1.0 + log(times)) ** 2 for piece, times in counted.items() if piece not in places)
    square = (shares * shares).sum() + _STRANGE * strange * float(rarity.max(initial=1.0)) ** 2
    return found, np.asarray(shares / np.sqrt(square) if known else shares, np.float32)


def _packed(names: tuple[str, ...]) -> Any:
    return np.frombuffer("\n".join(names).encode(), np.uint8)


def _unpacked(packed: Any) -> tuple[str, ...]:
    return tuple(bytes(packed).decode().split("\n"))
