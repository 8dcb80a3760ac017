"""What the pages say, in English and Korean (texts.json), and how they write numbers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

from insights.rates import Rate

__all__ = ["LANGUAGES", "Text", "texts"]

LANGUAGES: Mapping[str, str] = {"en": "English", "ko": "한국어"}
"""The languages of the pages, each in its own."""


@cache
def texts() -> Mapping[str, Mapping[str, str]]:
    """Every text by key, in each language."""
    found: dict[str, dict[str, str]] = json.loads(files("insights").joinpath("texts.json").read_text(encoding="utf-8"))
    return found


@cache
def _form(template: str) -> re.Pattern[str]:
    """What matches any text that a template gives."""
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(template)))


class Text:
    """The texts of one language.

    >>> t = Text("en")
    >>> t("unit.attempts", n=t.number(1200)), t.percent(0.7375), t.points(-0.0134)
    ('1,200 attempts', '73.8 %', '−1.3')
    """

    def __init__(self, language: str) -> None:
        if language not in LANGUAGES:
            raise ValueError(f"language {language!r}: want one of {', '.join(LANGUAGES)}")
        self.language = language

    def __call__(self, key: str, **fields: object) -> str:
        """The text of a key, with its fields filled in. Raises KeyError for a key that there is not."""
        return texts()[key][self.language].format(**fields)

    def raw(self, key: str) -> str:
        """The text of a key, its fields still open: for the page's script to fill in."""
        return texts()[key][self.language]

    def name(self, value: str) -> str:
        """A value of the data in words: its text where there is one, else as it is, underscores apart.

        >>> Text("en").name("bank_decline"), Text("en").name("kr_hanul")
        ('Bank declines', 'kr hanul')
        """
        key = f"value.{value}"
        return self(key) if key in texts() else value.replace("_", " ")

    def feature(self, name: str, label: str) -> str:
        """A feature in words: its text where there is one, else the label of its definition, which is English."""
        key = f"feature.{name}"
        return self(key) if key in texts() else f"{label[:1].upper()}{label[1:]}"

    def unit(self, unit: str) -> str:
        """A feature's unit in words."""
        key = f"measured.{unit}"
        return self(key) if key in texts() else unit

    def segment(self, column: str) -> str:
        """What a column tells attempts apart by."""
        key = f"segment.{column}"
        return self(key) if key in texts() else column.replace("_", " ")

    def reworded(self, family: str, said: str) -> str:
        """An English sentence of a known form in this language; as it was said where its form is not among the texts.

        >>> Text("ko").reworded("change", "Send it over north instead of delta")
        'delta 대신 north 경로로 보내기'
        """
        for key, told in texts().items():
            if key.startswith(f"{family}."):
                found = _form(told["en"]).fullmatch(said)
                if found is not None:
                    return told[self.language].format(**found.groupdict())
        return said

    def number(self, value: float) -> str:
        """A count, with commas; a dash where it is not known."""
        return "–" if not math.isfinite(value) else f"{value:,.0f}".replace("-", "−")

    def figure(self, value: float, digits: int = 3) -> str:
        """A number with so many digits behind the point."""
        return "–" if not math.isfinite(value) else f"{value:,.{digits}f}".replace("-", "−")

    def percent(self, share: float, digits: int = 1) -> str:
        """A share; more digits where it is small."""
        if not math.isfinite(share):
            return "–"
        digits = max(digits, 2) if 0.0 < abs(share) < 0.01 else digits
        return self("format.percent", value=f"{100 * share:,.{digits}f}".replace("-", "−"))

    def points(self, share: float, digits: int = 1) -> str:
        """A difference of shares, in points, with its sign."""
        if not math.isfinite(share):
            return "–"
        told = f"{100 * share:+.{digits}f}"
        return told.replace("-", "−")

    def interval(self, low: float, high: float, digits: int = 1) -> str:
        """The bounds of a share's interval."""
        if not (math.isfinite(low) and math.isfinite(high)):
            return "–"
        return self("format.interval", low=f"{100 * low:.{digits}f}", high=f"{100 * high:.{digits}f}").replace("-", "−")

    def rate(self, rate: Rate, digits: int = 1) -> str:
        """A rate with its interval; more digits where it is small."""
        digits = max(digits, 2) if 0.0 < rate.value < 0.01 else digits
        return f"{self.percent(rate.value, digits)} {self.interval(rate.low, rate.high, digits)}"

    def spread(self, figure: tuple[float, float, float], digits: int = 2) -> str:
        """An effect in points with its interval."""
        value, low, high = figure
        if not math.isfinite(value):
            return "–"
        bounds = self("format.interval", low=self.points(low, digits), high=self.points(high, digits))
        return f"{self.points(value, digits)} {bounds}"

    def cell(self, value: str | float | int, kind: str) -> str:
        """A cell of a chart's table, by the kind of its column."""
        if isinstance(value, str):
            return value
        if kind == "s":
            return self.percent(value)
        if kind == "p":
            return self.points(value, 2)
        return self.number(value) if kind == "n" else self.figure(value)

    def date(self, at: int) -> str:
        """A day of UTC, of microseconds since 1970.

        >>> Text("ko").date(1_767_571_200_000_000)
        '2026-01-05'
        """
        return datetime.fromtimestamp(at / 1e6, UTC).date().isoformat()

    def moment(self, at: int) -> str:
        """A minute of UTC, of microseconds since 1970."""
        return f"{datetime.fromtimestamp(at / 1e6, UTC):%Y-%m-%d %H:%M}"
