"""The pages as files: whole, small, safe, and honest about what is missing."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from features.attempts import check_attempts
from insights.commands import ReportAsked, write_report
from insights.model_told import ModelTold
from insights.pages import MOST_BYTES, PAGES, file_of
from insights.texts import LANGUAGES, Text

NOW = pd.Timestamp("2026-11-01", tz="UTC").to_pydatetime()

EVERY = [file_of(page, language) for page in PAGES for language in LANGUAGES]


class Reader(HTMLParser):
    """Tags, ids, texts and addresses of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.ids, self.links, self.text, self._quiet = [], [], [], [], None

    def handle_starttag(self, tag, attributes):
        told = dict(attributes)
        self.tags.append((tag, told))
        self.ids += [told["id"]] if "id" in told else []
        self.links += [told[name] for name in ("href", "src") if name in told]
        self._quiet = tag if tag in {"script", "style"} else self._quiet

    def handle_endtag(self, tag):
        self._quiet = None if tag == self._quiet else self._quiet

    def handle_data(self, data):
        if self._quiet is None:
            self.text.append(data)


def read(path):
    reader = Reader()
    reader.feed(path.read_text("utf-8"))
    return reader


def said(folder, page, language="en"):
    return " ".join("".join(read(folder / file_of(page, language)).text).split())


@pytest.mark.parametrize("name", EVERY)
def test_a_page_is_whole_small_and_needs_nothing_from_elsewhere(pages, name):
    path = pages / name
    found = read(path)
    assert path.stat().st_size <= MOST_BYTES
    assert len(found.ids) == len(set(found.ids))
    for link in found.links:
        assert link == "data:," or link.startswith("#") or (pages / link).is_file(), link
    for block in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', path.read_text("utf-8"), re.DOTALL):
        json.loads(block, parse_constant=pytest.fail)
    assert [tag for tag, told in found.tags if tag == "html" and told["lang"] == ("ko" if ".ko." in name else "en")]
    text = " ".join("".join(found.text).split())
    assert "2026-01-05" in text
    assert "payrescue 2 (2026-10-19)" in text
    assert not re.search(r"\bnan\b|None|Undefined", text)


def test_the_library_is_there_once(pages):
    assert len([path for path in pages.iterdir() if path.stat().st_size > MOST_BYTES]) == 1


def test_korean_pages_are_korean(pages):
    for page in PAGES:
        text = said(pages, page, "ko")
        assert Text("ko")(f"lead.{page}") in text
        assert Text("en")(f"lead.{page}") not in text


def rows(count, **columns):
    start = pd.Timestamp("2026-01-05", tz="UTC")
    table = pd.DataFrame(
        {
            "attempt_id": [f"a{i}" for i in range(count)], "payment_id": [f"p{i}" for i in range(count)],
            "created_at": [start + pd.Timedelta(minutes=37 * i) for i in range(count)], "amount_minor": 1000,
            "currency": "EUR", "country": "DE", "method": "card",
            "resolved_at": [start + pd.Timedelta(minutes=37 * i, seconds=9) for i in range(count)],
            "outcome": ["success" if i % 4 else "bank_decline" for i in range(count)],
        }
        | columns
    )  # fmt: skip
    for name in ("created_at", "resolved_at"):
        table[name] = pd.to_datetime(table[name], utc=True)
    return check_attempts(table, now=NOW)


def test_nothing_at_all_says_what_is_missing(made):
    folder = made(rows(1).iloc[:0])
    t = Text("en")
    for page in PAGES:
        assert t("base.no_attempts") in said(folder, page)
    assert t("lack.outcomes_fill") in said(folder, "overview")
    assert t("lack.failures_fill") in said(folder, "reasons")
    assert t("lack.decisions_fill") in said(folder, "recommendations")
    assert t("lack.model_fill") in said(folder, "model")
    assert pd.read_csv(folder / "reasons.csv").empty


def test_attempts_that_are_all_pending_say_so(made):
    folder = made(rows(8, outcome=None, resolved_at=pd.NaT))
    assert Text("en")("lack.outcomes") in said(folder, "overview")
    assert "8 attempts of 8 payments" in said(folder, "overview")


@pytest.mark.parametrize("outcome", ["success", "bank_decline"])
def test_one_class_is_shown_as_it_is(made, outcome):
    folder = made(rows(30, outcome=outcome))
    text = said(folder, "overview")
    assert ("100.0 %" if outcome == "success" else "0.0 %") in text
    assert (Text("en")("lack.failures") in said(folder, "reasons")) is (outcome == "success")


def test_ten_rows_have_wide_intervals_and_no_comparison(made):
    folder = made(rows(10))
    text = said(folder, "overview")
    low, high = re.search(r"70\.0 % \((\S+) to (\S+)\) · 10 payments", text).groups()
    assert float(high) - float(low) > 45.0
    assert Text("en")("lack.periods_fill") in text
    assert Text("en")("lack.first_time") in text
    assert Text("en")("lack.marks") in text


def test_one_country_is_no_segment_to_move(made):
    page = (made(rows(300)) / "index.html").read_text("utf-8")
    assert 'value="amount_band"' in page or Text("en")("lack.periods") in page
    assert '<option value="country"' not in page


def test_attempts_without_propensities_say_what_logs_them(made):
    text = said(made(rows(40), judge=lambda table: None), "recommendations")
    assert Text("en")("recs.lack_propensity") in text


def test_names_in_the_data_cannot_be_markup(made):
    nasty = '</script><script>alert("x")</script><img src=x onerror=alert(1)>'
    folder = made(rows(60, route=[nasty if i % 2 else "north" for i in range(60)]))
    for path in folder.glob("*.html"):
        text = path.read_text("utf-8")
        assert "<script>alert" not in text
        assert "<img" not in text


def test_the_same_attempts_give_the_same_pages(made):
    table = rows(50)
    first = {path.name: path.read_bytes() for path in made(table).iterdir() if path.suffix != ".js"}
    assert first == {path.name: path.read_bytes() for path in made(table).iterdir() if path.suffix != ".js"}


def test_the_report_changes_nothing_that_it_was_given(made, table):
    few = table.head(300)
    before = few.copy(deep=True)
    made(few)
    pd.testing.assert_frame_equal(few, before)


def test_amounts_in_one_currency_where_the_rates_are_told(table, frame):
    from insights.frame import frame_of
    from insights.settings import InsightSettings

    rates = {"USD": 1380.0, "JPY": 9.1, "TWD": 42.0}
    told = frame_of(table, InsightSettings(currency="KRW", rates=rates))
    assert told.currencies == ("KRW",)
    assert set(frame.currencies) == {"KRW", "USD", "JPY", "TWD"}
    at = int((frame.currency == frame.currencies.index("USD")).argmax())
    assert told.money[at] == pytest.approx(frame.money[at] * 1380.0)


def test_paths_of_templates_are_packaged():
    import tomllib

    import insights

    root = Path(insights.__file__).parent
    told = tomllib.loads((root.parent / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    kinds = {path.suffix for path in root.iterdir() if path.is_file() and path.suffix not in {".py", ""}}
    assert {f"*{kind}" for kind in kinds - {".typed"}} <= set(told["insights"])


def test_no_cell_for_machines_is_a_formula(made):
    names = ["=cmd|'/C calc'!A0", "+1", "-1", "@SUM(A1)", "a=b", "plain"]
    told = pd.read_csv(
        made(rows(240, route=[names[i % 6] for i in range(240)], outcome="bank_decline")) / "reasons.csv"
    )
    routes = set(told["value"][told["segment"] == "route"])
    assert {f"'{name}" for name in names[:4]} | set(names[4:]) <= routes
    assert told["share_of_attempts"].dtype == float


def test_a_report_reads_the_own_columns_of_its_model(with_own, own_artefact, tmp_path):
    with_own.to_parquet(tmp_path / "attempts.parquet")
    asked = ReportAsked(str(tmp_path / "attempts.parquet"), tmp_path / "pages")
    write_report(asked, lambda: ModelTold("payrescue", "2", own_artefact))
    told = pd.read_csv(tmp_path / "pages" / "drivers.csv")
    assert "a number that success rises with" in set(told["label"])
    assert "A number that success rises with" in said(tmp_path / "pages", "drivers")
