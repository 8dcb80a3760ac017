"""How well codes are read that no table has: those of a whole processor, by a model that has seen none of them.

For each processor in turn the text model is fitted without any of its schemes, calibrated without them too, and then asked
for each of its codes with the processor's own message. What it learns from ships (meanings in our words, phrases); the
messages that it is judged on do not, and are read from beside the checkout. Saying that it cannot tell counts as wrong.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from benchmarks.report import Figure, at_least, at_most, publish
from features.columns import CATEGORIES
from features.taxonomy import processor_of, reasons, sub_reasons
from models.code_answer import SURE, TextReading
from models.code_text import NO_FAILURE
from models.code_words import words
from training.code_text import Text, fit_code_text, texts_to_learn

__all__ = ["figures"]

OTHERS = Path("..", "shared", "data", "response_codes.csv")
RESAMPLES, SEED = 2_000, 7
Guess = Callable[[Sequence[Text], Sequence[str]], list[str]]


@dataclass(frozen=True)
class Read:
    """One code of a processor that was left out: what it means, and how it was read."""

    processor: str
    category: str
    reason: str
    told: TextReading | None
    peers: tuple[str, ...]  # the categories that the baselines give it

    @property
    def answer(self) -> str | None:
        return self.told.category if self.told is not None and self.told.tells else None

    @property
    def likeliest(self) -> str | None:
        """Its answer if it always had to give one."""
        return self.told.category if self.told is not None else None

    @property
    def likelihood(self) -> float:
        return self.told.category_probability[self.told.category] if self.told is not None else 0.0


def figures() -> list[Figure]:
    """Quality on whole processors left out, where their messages are to be had; then time and size."""
    return (_quality(_left_out()) if OTHERS.is_file() else []) + _costs()


def _left_out() -> list[Read]:
    with OTHERS.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = []
    for processor in sorted({processor_of(row["scheme"]) for row in rows}):
        mine = [row for row in rows if processor_of(row["scheme"]) == processor]
        model, learnt = (
            fit_code_text({processor}),
            [t for t in texts_to_learn({processor}) if t.sub_reason != NO_FAILURE],
        )
        asked = [" ".join(words(row["code"], row["meaning"])) for row in mine]
        peers = zip(*(guess(learnt, asked) for guess in BASELINES.values()), strict=True)
        found += [
            Read(
                processor, row["category"], sub_reasons()[row["sub_reason"]].reason,
                model.read(row["code"], row["meaning"]), guessed,
            )
            for row, guessed in zip(mine, peers, strict=True)
        ]  # fmt: skip
    return found


def _quality(found: list[Read]) -> list[Figure]:
    true = np.array([read.category for read in found])
    told = np.array([read.answer or "" for read in found])
    peers = {name: np.array([read.peers[place] for read in found]) for place, name in enumerate(BASELINES)}
    right = told == true
    pressed = float(np.mean([read.likeliest == read.category for read in found]))
    sure = np.array([read.likelihood >= SURE for read in found])
    reason_right = np.array([read.answer is not None and read.told.reason == read.reason for read in found])
    reason_sure = np.array([read.told is not None and read.told.confidence >= SURE for read in found])
    sample = f"{len(found)} codes of {len({read.processor for read in found})} processors"
    accuracies = ", ".join(f"{name} {(guess == true).mean():.3f}" for name, guess in peers.items())
    scores = ", ".join(f"{name} {_macro_f1(true, guess):.3f}" for name, guess in peers.items())
    drawn = np.random.default_rng(SEED).integers(0, len(found), (RESAMPLES, len(found)))
    low, high = np.quantile([_macro_f1(true[rows], told[rows]) for rows in drawn], (0.025, 0.975))
    return [
        at_least(
            "codes of a processor never seen: category right", float(right.mean()), "", 0.85,
            f"{_interval(right)}; {pressed:.3f} if it has to answer, as these do: {accuracies}; {sample}",
        ),
        at_least("the same: macro-F1 of the category", _macro_f1(true, told), "", 0.75, f"[{low:.3f}, {high:.3f}]; {scores}"),
        at_least(
            "the same, where it is sure of the category (≥ 0.9): right", float(right[sure].mean()), "", 0.95,
            f"{_interval(right[sure])}; sure of {sure.sum()}, {sure.mean():.0%} of them",
        ),
        at_least(
            "the same, where it is sure of the reason (≥ 0.9): reason right", float(reason_right[reason_sure].mean()), "",
            0.95, f"{_interval(reason_right[reason_sure])}; sure of {reason_sure.sum()}, {reason_sure.mean():.0%} of them",
        ),
        Figure(
            "the same: reason right", float(reason_right.mean()), "",
            baseline=f"{_interval(reason_right)}; {len(reasons())} reasons",
        ),
        Figure("the same: it cannot tell", float((told == "").mean()), "", baseline=f"{(told == '').sum()} codes"),
    ]  # fmt: skip


def _costs() -> list[Figure]:
    fit_code_text()
    began = perf_counter()
    model = fit_code_text()
    fitted = perf_counter() - began
    asked = [f"card_expired_{place}" for place in range(300)]
    began = perf_counter()
    for code in asked:
        model.read(code, "the card has expired")
    return [
        at_most(
            "fitting the text model",
            fitted,
            "s",
            2.0,
            f"{len(model.vocabulary):,} pieces, {len(model.sub_reasons)} answers",
        ),
        Figure("reading one text", (perf_counter() - began) / len(asked) * 1000.0, "ms"),
    ]


def _commonest(learnt: Sequence[Text], asked: Sequence[str]) -> list[str]:
    """The category of most codes that were learnt, whatever is asked."""
    ((category, _),) = Counter(_category(text) for text in learnt if text.processor is not None).most_common(1)
    return [category] * len(asked)


def _nearest(learnt: Sequence[Text], asked: Sequence[str]) -> list[str]:
    """The category of the learnt text that has most n-grams of characters in common (cosine of tf-idf)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    count = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5))
    like = count.fit_transform([" ".join(text.told) for text in learnt])
    return [_category(learnt[place]) for place in (count.transform(asked) @ like.T).toarray().argmax(axis=1)]


def _naive_bayes(learnt: Sequence[Text], asked: Sequence[str]) -> list[str]:
    """Multinomial naive Bayes over n-grams of characters."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(CountVectorizer(analyzer="char_wb", ngram_range=(2, 5)), MultinomialNB(alpha=0.1))
    model.fit([" ".join(text.told) for text in learnt], [_category(text) for text in learnt])
    return [str(category) for category in model.predict(asked)]


BASELINES: dict[str, Guess] = {"commonest": _commonest, "nearest text": _nearest, "naive Bayes": _naive_bayes}


def _category(text: Text) -> str:
    return reasons()[sub_reasons()[text.sub_reason].reason].category


def _macro_f1(true: np.ndarray, told: np.ndarray) -> float:
    """Mean over the categories of 2 · hits / (true + told)."""
    both = [((true == c) & (told == c)).sum() / max((true == c).sum() + (told == c).sum(), 1) for c in CATEGORIES]
    return float(2.0 * np.mean(both))


def _interval(right: np.ndarray) -> str:
    """Wilson's 95 % interval of a share."""
    n, share, z = len(right), right.mean(), 1.96
    middle, half = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return f"[{(middle - half) / (1 + z * z / n):.3f}, {(middle + half) / (1 + z * z / n):.3f}]"


if __name__ == "__main__":
    publish("codes", figures())
