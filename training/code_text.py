"""Fits the text model of codes from the tables that ship: what each code means, and how processors put each reason.

Kernel ridge on tf-idf: with two thousand short texts it is exact in half a second, and the scores of a text by a
model that never saw its processor come from the same inverse, in closed form. On these scores, of whole processors
left out, the temperature is fitted: so that the model is as sure of a new processor's codes as it may be, not as of
those it learnt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from features.taxonomy import codes, processor_of, reasons, sub_reasons
from models.code_text import NO_FAILURE, CodeText, weighted
from models.code_words import pieces, words

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Text", "fit_code_text", "left_out_scores", "texts_to_learn"]

_RIDGE = 0.2
_TEMPERATURES = np.geomspace(2.0, 30.0, 60)

_SUCCESS = (
    "approved", "success", "successful", "succeeded", "completed", "captured", "authorised", "authorized", "paid", "ok",
    "transaction approved", "payment was successful", "completed successfully", "no error", "approval",
    "승인", "정상 처리", "결제 성공", "決済完了", "承認", "正常終了", "交易成功", "授權成功",
)  # fmt: skip

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Text:
    """The words of one text to learn from, what it says, and whose it is."""

    told: tuple[str, ...]
    sub_reason: str
    processor: str | None  # None: a phrase that belongs to nobody


def texts_to_learn(without: Collection[str] = ()) -> Iterator[Text]:
    """What to learn from, each text once per processor: meanings, codes that are words, phrases in each language."""
    found = {
        Text(tuple(told), code.sub_reason, processor_of(code.scheme))
        for code in codes()
        if processor_of(code.scheme) not in without
        for told in (words("", code.meaning), words(code.code), words(code.code, code.meaning))
        if told
    }
    found |= {
        Text(tuple(words("", phrase)), known.sub_reason, None)
        for known in sub_reasons().values()
        for phrases in known.phrases.values()
        for phrase in phrases
    }
    found |= {Text(tuple(words("", phrase)), NO_FAILURE, None) for phrase in _SUCCESS}
    yield from sorted(found, key=lambda text: (text.processor or "", text.sub_reason, text.told))


def fit_code_text(without: Collection[str] = ()) -> CodeText:
    """The text model, fitted on every processor's codes except those of the processors in `without`.

    Nothing in it is random. Names of processors are those of `features.taxonomy.processor_of`.
    """
    from sklearn.kernel_ridge import KernelRidge

    texts = list(texts_to_learn(without))
    seen = Counter(piece for text in texts for piece in set(pieces(text.told)))
    vocabulary = tuple(sorted(seen))
    places = {piece: place for place, piece in enumerate(vocabulary)}
    rarity = (np.log((1.0 + len(texts)) / (1.0 + np.array([seen[piece] for piece in vocabulary]))) + 1.0).astype(
        np.float32
    )
    X = _matrix(texts, places, rarity)
    names = (*sub_reasons(), NO_FAILURE)
    answer = np.array([names.index(text.sub_reason) for text in texts])
    wanted = np.eye(len(names))[answer]
    kernel = (X @ X.T).toarray()
    dual = KernelRidge(alpha=_RIDGE, kernel="precomputed").fit(kernel, wanted).dual_coef_
    left_out, judged = left_out_scores(texts, kernel, dual, _RIDGE)
    temperature = _temperature(left_out, answer[judged], names)
    return CodeText(vocabulary, names, rarity, np.asarray(X.T @ dual, np.float32), temperature)


def _matrix(texts: list[Text], places: dict[str, int], rarity: npt.NDArray[np.float32]) -> csr_array:
    """tf-idf of the texts, sparse, shape (n_texts, n_pieces)."""
    from scipy.sparse import csr_array

    rows = [weighted(text.told, places, rarity) for text in texts]
    ends = np.cumsum([0, *(len(found) for found, _ in rows)])
    indices = np.concatenate([found for found, _ in rows])
    shares = np.concatenate([shares for _, shares in rows]).astype(np.float64)
    return csr_array((shares, indices, ends), shape=(len(texts), len(places)))


def left_out_scores(
    texts: list[Text], kernel: _Array, dual: _Array, ridge: float
) -> tuple[_Array, npt.NDArray[np.int64]]:
    """Scores of each processor's texts by a model that has not seen that processor, and which texts they are of.

    `kernel` is (n_texts, n_texts), `dual` the solution of (kernel + ridge · 1) dual = wanted, (n_texts, n_answers).

    With C the inverse of the ridged kernel and G a group, y_G − ŷ_G = C_GG⁻¹ (C y)_G (leave-group-out of ridge
    regression, as in Pahikkala and others 2006). Texts that stand word for word in what remains are not judged by.
    """
    from scipy.linalg import inv

    ridged = kernel + ridge * np.eye(len(texts))
    inverse = inv(ridged, assume_a="pos", check_finite=False)
    wanted = ridged @ dual
    owners: dict[tuple[str, ...], set[str | None]] = {}
    for text in texts:
        owners.setdefault(text.told, set()).add(text.processor)
    scores, judged = [], []
    for processor in sorted({text.processor for text in texts if text.processor is not None}):
        group = np.array([place for place, text in enumerate(texts) if text.processor == processor])
        off = np.linalg.solve(inverse[np.ix_(group, group)], dual[group])
        fresh = np.array([owners[texts[place].told] == {processor} for place in group])
        scores.append((wanted[group] - off)[fresh])
        judged.append(group[fresh])
    return np.vstack(scores), np.concatenate(judged)


def _temperature(scores: _Array, answer: npt.NDArray[np.int64], names: tuple[str, ...]) -> float:
    """The temperature under which the true reasons of the judged texts are likeliest (log loss)."""
    of_reason = list(reasons())
    reason = np.array([of_reason.index(sub_reasons()[name].reason) if name in sub_reasons() else -1 for name in names])
    same = reason[None, :] == reason[answer][:, None]

    def loss(temperature: float) -> float:
        likely = np.exp(temperature * (scores - scores.max(axis=1, keepdims=True)))
        return -float(np.log((likely * same).sum(axis=1) / likely.sum(axis=1)).mean())

    return float(min(_TEMPERATURES, key=loss))
