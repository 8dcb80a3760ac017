"""Every text is there in every language, says the same things, and is used."""

import re
from importlib.resources import files
from pathlib import Path
from string import Formatter

import pytest

from features.definitions import features
from features.taxonomy import reasons
from insights.settings import DEFINITIONS, MARK_KINDS
from insights.texts import LANGUAGES, Text, texts
from models.actions import ACTIONS

FOLDER = Path(str(files("insights")))
SOURCES = "\n".join(path.read_text("utf-8") for path in FOLDER.iterdir() if path.suffix in {".py", ".html", ".js"})
LATIN = re.compile(r"[A-Za-z]{4,}")
HANGUL = re.compile(r"[가-힣]")


def fields(text):
    return sorted(name for _, name, _, _ in Formatter().parse(text) if name is not None)


def test_a_text_is_there_in_every_language_with_the_same_fields():
    for key, told in texts().items():
        assert set(told) == set(LANGUAGES), key
        assert all(text.strip() == text and text for text in told.values()), key
        assert len({tuple(fields(text)) for text in told.values()}) == 1, key


def test_a_korean_text_is_korean_where_the_english_one_has_words():
    for key, told in texts().items():
        words = LATIN.findall(re.sub(r"\{\w+\}|payrescue \S+", "", told["en"]))
        assert not words or HANGUL.search(told["ko"]) or told["en"] == told["ko"], key


def test_every_key_that_the_code_names_is_there():
    named = re.findall(r"""\bt(?:\.raw)?\("([a-z_]+\.[a-z_.()]+)["]""", SOURCES)
    assert len(named) > 100
    assert [key for key in named if key not in texts()] == []


def test_every_text_is_used():
    families = {*re.findall(r"""f["']([a-z_]+\.[a-z_]*)\{""", SOURCES), *re.findall(r'"([a-z_]+\.[a-z_]*)" ~', SOURCES)}
    families |= {f"{name}." for name in re.findall(r'reworded\("(\w+)"', SOURCES)}
    assert len(families) < 50
    assert [
        key for key in texts() if key not in SOURCES and not any(key.startswith(family) for family in families)
    ] == []


def test_there_are_words_for_every_reason_action_definition_and_mark():
    for key in (
        *(f"value.{name}" for name in reasons()),
        *(f"action.{name}" for name in ACTIONS),
        *(f"{kind}.{name}" for name in DEFINITIONS for kind in ("definition", "explain", "unit", "lack")),
        *(f"mark.{name}" for name in MARK_KINDS),
    ):
        assert key in texts()


def test_there_are_words_for_every_feature_and_unit_and_the_english_ones_are_the_definitions():
    for feature in features():
        assert texts()[f"feature.{feature.name}"]["en"] == f"{feature.label[:1].upper()}{feature.label[1:]}"
        assert f"measured.{feature.unit}" in texts()


def test_numbers_are_written_for_people():
    t = Text("en")
    assert [t.percent(0.5), t.percent(0.004), t.percent(float("nan"))] == ["50.0 %", "0.40 %", "–"]
    assert [t.points(0.012), t.points(-0.5), t.number(-1234.4)] == ["+1.2", "−50.0", "−1,234"]
    assert t.interval(0.1, 0.25) == "(10.0 to 25.0)"


def test_a_language_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="want one of en, ko"):
        Text("fr")
