import csv
from pathlib import Path

import numpy as np
import pytest

import training
from features.taxonomy import codes, processor_of, reasons, sub_reasons
from models.code_text import NO_FAILURE
from training.code_text import Text, fit_code_text, left_out_scores

OTHERS = Path(training.__file__).parents[2] / "shared" / "data" / "response_codes.csv"


@pytest.fixture(scope="module")
def model():
    return fit_code_text()


@pytest.fixture(scope="module")
def others():
    """Messages of processors, which are not ours to ship."""
    if not OTHERS.is_file():
        pytest.skip("the collected response codes are not beside this checkout")
    with OTHERS.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_it_can_answer_with_every_sub_reason(model):
    assert model.sub_reasons == (*sub_reasons(), NO_FAILURE)


def test_fitting_again_gives_the_same_model(model):
    again = fit_code_text()
    assert again.vocabulary == model.vocabulary
    assert np.array_equal(again.weights, model.weights)
    assert again.temperature == model.temperature


def test_what_is_left_out_is_not_learnt(model):
    razorpay = {c.meaning for c in codes() if processor_of(c.scheme) == "razorpay"}
    assert any("abroad" in meaning for meaning in razorpay)
    assert "=abroad" in model.vocabulary
    assert "=abroad" not in fit_code_text({"razorpay"}).vocabulary


def test_it_knows_what_it_learnt(model):
    right = [model.read(c.code, c.meaning).category == c.category for c in codes()]
    assert np.mean(right) > 0.97


@pytest.mark.parametrize(
    ("code", "message", "reason"),
    [
        ("E-17", "Not enough balance", "insufficient_funds"),
        ("CARD_EXPIRED", "", "card_data_invalid"),
        ("cvvFailure", "", "incorrect_cvv"),
        ("P001", "Card reported as stolen", "lost_or_stolen"),
        ("9", "The shopper cancelled the payment", "user_cancelled"),
        ("9", "Issuer is down for maintenance", "issuer_unavailable"),
        ("9", "challenge window was closed by the cardholder", "challenge_abandoned"),
        ("3011", "카드번호 오류", "card_data_invalid"),
        ("G02", "残高不足です", "insufficient_funds"),
        ("10", "卡片已過期", "card_data_invalid"),
    ],
)
def test_codes_of_processors_that_no_table_has_are_read_by_their_text(model, code, message, reason):
    told = model.explain("acme", code, message)
    assert (told.decided_by, told.reason) == ("text_model", reason)
    assert told.category == reasons()[reason].category


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("17", ""),
        ("", ""),
        ("00", "Approved"),
        ("0", "Transaction was successful"),
        ("8812", "1234"),
        ("7", "xyzzy plugh"),
    ],
)
def test_what_says_nothing_of_a_failure_cannot_be_told(model, code, message):
    assert model.explain("acme", code, message).decided_by == "cannot_tell"


@pytest.mark.parametrize("processor", ["braintree", "visa"])
def test_a_processor_that_it_never_saw_is_read_and_sureness_is_deserved(others, processor):
    model = fit_code_text({processor})
    rows = [row for row in others if processor_of(row["scheme"]) == processor]
    told = [model.read(row["code"], row["meaning"]) for row in rows]
    right = [t is not None and t.category == row["category"] for t, row in zip(told, rows, strict=True)]
    sure = [ok for ok, t in zip(right, told, strict=True) if t and t.category_probability[t.category] >= 0.9]
    assert np.mean(right) >= 0.85
    assert len(sure) >= len(rows) / 2
    assert np.mean(sure) >= 0.95


def test_scores_of_a_processor_left_out_are_those_of_a_fit_without_it():
    texts = [Text((word,), name, owner) for word, name, owner in zip("abcdef", "xyxyxy", "ppqqrr", strict=True)]
    points = np.random.default_rng(3).normal(size=(6, 4))
    kernel, wanted = points @ points.T, np.eye(2)[[0, 1, 0, 1, 0, 1]]
    ridge = 0.2 * np.eye(6)
    scores, judged = left_out_scores(texts, kernel, np.linalg.solve(kernel + ridge, wanted), 0.2)
    for owner in "pqr":
        out = np.array([text.processor == owner for text in texts])
        kept = ~out
        dual = np.linalg.solve((kernel + ridge)[np.ix_(kept, kept)], wanted[kept])
        assert scores[out[judged]] == pytest.approx(kernel[np.ix_(out, kept)] @ dual)


def test_a_text_that_another_processor_has_word_for_word_is_not_judged_by():
    texts = [Text(("a",), "x", "p"), Text(("b",), "y", "p"), Text(("a",), "x", "q"), Text(("b",), "y", None)]
    _, judged = left_out_scores(texts, np.eye(4), np.eye(4)[:, :2], 0.2)
    assert judged.tolist() == []
