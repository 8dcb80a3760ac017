"""The model card: what it says follows from the training, and the page needs nothing else to be read by anybody."""

import json
import shutil

import pytest

from training.card import card_html, card_summary, model_card
from training.compare import compare_slices
from training.gate import Verdict
from training.pages import render
from training.quality import slices_of
from training.reproduce import origin_of
from training.settings import TrainSettings

SUCCESS = {"success": {"amount": 0.7, "issuer": 0.3}}
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def card(trained):
    origin = origin_of("sqlite:///shop.db", "select 1", None, trained.data.table)
    return json.loads(json.dumps(model_card(trained, TrainSettings(), "0a1b", origin)))


@pytest.fixture(scope="module")
def verdict(trained):
    rows = trained.judged_rows
    slices = slices_of(trained.data.table, trained.data.encoder, rows)
    dull = 0.5 * trained.told + 0.5 * trained.told.mean(axis=0)
    found = compare_slices(trained.judged, dull, trained.told, slices, seed=1)
    return Verdict(False, "worse than the champion", {}, found).as_dict()


@pytest.fixture(scope="module")
def page(card, verdict):
    return card_html({**card, "version": "7", "verdict": verdict})


def test_the_card_lists_what_each_stage_looks_at(card):
    page = card_html(card)
    assert "whether the customer gives up" in page
    assert "whether it succeeds" not in page
    assert "whether it succeeds" in card_html({**card, "importances": SUCCESS})


def test_every_feature_that_counts_is_told_with_its_unit(card):
    used = {row["name"]: row for row in card["features_used"]}
    assert {name for told in card["importances"].values() for name, share in told.items() if share} - {*used} <= {
        "duration_s", "response_code", "advice_code", "trans_status", "trans_status_reason", "last_event",
    }  # fmt: skip
    assert all(row["unit"] and row["label"] for row in used.values())


def test_tenths_of_the_judged_attempts_are_told_for_every_outcome(card, trained):
    for points in card["reliability"].values():
        assert len(points) == 10
        assert all(point["low"] <= point["came"] <= point["high"] for point in points)
    assert sum(point["attempts"] for point in card["reliability"]["success"]) == len(trained.told)


def test_the_card_says_how_good_the_labels_are(card, trained):
    labels = card["label_quality"]
    assert labels["pending_share"] == pytest.approx((trained.data.rows.outcome < 0).mean())
    assert 0.0 <= labels["unexplained_share_of_failures"] < 0.2
    assert labels["delay_s"]["median"] < labels["delay_s"]["p95"]


def test_the_card_leads_to_what_it_was_made_of(card, page):
    for told in ("payrescue reproduce 0a1b", card["origin"]["sha256"], card["environment"]["commit"], "Apache-2.0"):
        assert told in page


def test_the_verdict_and_the_slices_stand_on_the_page_the_worst_first(page, verdict):
    assert "Not put in service." in page
    assert "Worse than the champion." in page
    names = [one["value"] for one in verdict["slices"]]
    where = page.index("for whom?")
    places = [page.index(f'<th scope="row">{name.replace("(", "(")}</th>', where) for name in names[:2]]
    assert places == sorted(places)


def test_a_model_that_beats_no_baseline_says_so_loudly(card):
    assert "Not better than a simpler rule" in card_html({**card, "not_beaten": ["success_log_loss of prior"]})


def test_names_that_look_like_markup_are_escaped(card):
    assert "<b>bold</b>" not in card_html({**card, "name": "<b>bold</b>"})


def test_the_page_needs_neither_network_nor_script(page):
    assert "<script" not in page
    assert "http" not in page
    assert "prefers-color-scheme: dark" in page


def test_the_summary_has_the_interval_and_the_sample(card):
    auc = card["quality"]["model"]["success_auc"]
    assert f"{auc['n']:,} later ones" in card_summary(card)
    assert f"[{auc['low']:.3f}, {auc['high']:.3f}]" in card_summary(card)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_and_fits_a_phone(page, tmp_path, scheme):
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    (tmp_path / "card.html").write_text(page, encoding="utf-8")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            tab = browser.new_page(viewport={"width": 375, "height": 800}, color_scheme=scheme)
            tab.goto((tmp_path / "card.html").as_uri())
            wide = tab.evaluate("document.documentElement.scrollWidth")
            found = Axe().run(tab)
        finally:
            browser.close()
    assert wide <= 375
    assert found.violations_count == 0, found.generate_report()


def test_a_page_that_is_told_too_little_fails_rather_than_leave_a_gap():
    with pytest.raises(Exception, match="undefined"):
        render("monitor.html", name="version 1")
