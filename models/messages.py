"""What to tell the customer, in four languages (messages.json): what happened, and what to do.

No text says that a card is lost or stolen, or that anybody suspects fraud: who reads it may be the thief.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

__all__ = ["locales", "message_keys", "messages"]


@cache
def _texts() -> dict[str, dict[str, str]]:
    texts: dict[str, dict[str, str]] = json.loads(files("models").joinpath("messages.json").read_text(encoding="utf-8"))
    return texts


def locales() -> tuple[str, ...]:
    """The languages there are texts in, as BCP 47 tags.

    >>> locales()
    ('en', 'ko', 'ja', 'zh-TW')
    """
    return tuple(_texts())


def message_keys() -> tuple[str, ...]:
    """Every key that has a text."""
    return tuple(_texts()["en"])


def messages(locale: str) -> tuple[str, Mapping[str, str]] | None:
    """The language that serves a locale, and its texts by key; None where there is none.

    A region is dropped where the language has no texts of its own for it. Chinese is served in Traditional
    characters only, so that other Chinese locales get none.

    >>> messages("ko-KR")[0], messages("zh_Hant_TW")[0], messages("zh-CN")
    ('ko', 'zh-TW', None)
    """
    tags = {tag.casefold(): tag for tag in locales()}
    wanted = locale.replace("_", "-").casefold()
    if wanted.startswith("zh-hant"):
        wanted = "zh-tw"
    tag = tags.get(wanted) or tags.get(wanted.partition("-")[0])
    return (tag, _texts()[tag]) if tag is not None else None
