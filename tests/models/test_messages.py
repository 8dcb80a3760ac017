import re

import pytest

from features.taxonomy import reasons
from models.messages import locales, message_keys, messages

REVEALING = {
    "en": r"fraud|stolen|lost|theft|suspicio|risk",
    "ko": r"사기|도난|분실|의심|위험|부정",
    "ja": r"詐欺|盗|紛失|不正|疑|リスク",
    "zh-TW": r"詐|盜|竊|遺失|掛失|可疑|風險|失竊",
}


def test_there_are_texts_in_the_four_languages():
    assert set(locales()) == {"en", "ko", "ja", "zh-TW"}


@pytest.mark.parametrize("locale", locales())
def test_every_key_has_a_text_in_every_language(locale):
    _, texts = messages(locale)
    assert set(texts) == set(message_keys())
    assert all(text.strip() for text in texts.values())


@pytest.mark.parametrize("locale", locales())
def test_no_text_reveals_that_a_card_is_lost_stolen_or_suspected(locale):
    _, texts = messages(locale)
    assert [text for text in texts.values() if re.search(REVEALING[locale], text, re.IGNORECASE)] == []


def test_every_reason_has_a_text_that_says_what_happened():
    assert {reason.message_key for reason in reasons().values()} <= set(message_keys())


def test_what_is_said_of_a_stolen_card_is_said_of_ordinary_declines_too():
    assert reasons()["lost_or_stolen"].message_key == reasons()["insufficient_funds"].message_key


@pytest.mark.parametrize(
    ("asked", "served"),
    [("en-GB", "en"), ("KO", "ko"), ("ja_JP", "ja"), ("zh-tw", "zh-TW"), ("zh-Hant-HK", "zh-TW")],
)
def test_a_locale_is_served_by_its_language(asked, served):
    assert messages(asked)[0] == served


@pytest.mark.parametrize("asked", ["fr", "zh-CN", "", "../en"])
def test_a_locale_without_texts_has_none(asked):
    assert messages(asked) is None
