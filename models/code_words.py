"""What the text model sees of a code and its message: words, pairs of words, and n-grams of their characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

__all__ = ["pieces", "words"]

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
_WORD = re.compile(r"[^\W_]+")
_THREE_DS = re.compile(r"3[- ]?d[- ]?s(?:ecure|2)?\b|3[- ]d secure|3dセキュア")
_EAST_ASIAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")

_LETTERS = (3, 4, 5)
_SYLLABLES = (1, 2, 3)  # where one character is a syllable or a word
_LONGEST_TEXT = 600
_LONGEST_WORD = 40


def words(code: str, message: str = "") -> list[str]:
    """The words of a code and of its message, in lower case; numbers are no words.

    Of a code, only what is made of letters and long enough to mean something counts: `R1`, `5C` and `2004`
    are numbers by another name, and say nothing to who does not have their table. Where there is a message
    too, the code's words count twice: a message may be a long sentence.

    >>> words("cardExpired", "Code 54: expired card")
    ['card', 'expired', 'card', 'expired', 'code', 'expired', 'card']
    >>> words("2004"), words("U30")
    ([], [])
    """
    named = [word for word in _split(code) if word == "3ds" or (len(word) > 2 and word.isalpha())]
    said = [word for word in _split(message) if not word.isdigit()]
    return named + (named + said if said else [])


def _split(text: str) -> list[str]:
    plain = _CAMEL.sub(" ", unicodedata.normalize("NFKC", text[:_LONGEST_TEXT])).casefold()
    return [word[:_LONGEST_WORD] for word in _WORD.findall(_THREE_DS.sub(" 3ds ", plain).replace("'", ""))]


def pieces(told: Sequence[str]) -> Iterator[str]:
    """What of the words is counted: each word, each pair of neighbours, n-grams within a word.

    >>> list(pieces(["no", "pin"]))
    ['=no', ' no', 'no ', ' no ', '=no pin', '=pin', ' pi', 'pin', 'in ', ' pin', 'pin ', ' pin ']
    """
    before = ""
    for word in told:
        if before:
            yield f"={before} {word}"
        yield f"={word}"
        padded = f" {word} "
        for n in _SYLLABLES if _EAST_ASIAN.search(word) else _LETTERS:
            for start in range(len(padded) - n + 1):
                yield padded[start : start + n]
        before = word
