import pytest

from models.code_answer import CodeAnswer, TextReading, by_table


def reading(**probability):
    return TextReading(
        "expired_card", "card_data_invalid", "bank_decline", probability, {"bank_decline": sum(probability.values())}
    )


def test_a_table_s_answer_is_certain():
    told = by_table("stripe", "expired_card")
    assert (told.category, told.reason, told.sub_reason.sub_reason) == (
        "bank_decline",
        "card_data_invalid",
        "expired_card",
    )
    assert (told.decided_by, told.confidence) == ("table", 1.0)


def test_a_code_that_leaves_the_cause_open_has_a_reason_but_no_confidence():
    told = by_table("iso8583", "05")
    assert (told.reason, told.confidence) == ("generic_decline", None)


@pytest.mark.parametrize(
    ("scheme", "code", "brand", "decided_by"),
    [
        ("iso8583", "82", "visa", "network_table"),
        ("iso8583", "82", "VISA", "network_table"),
        ("iso8583", "51", "jcb", "table"),
        ("visa", "82", "visa", "table"),
        ("visa", "82", None, "table"),
        ("adyen", "6", "visa", "table"),
    ],
)
def test_the_network_s_table_is_named_where_it_speaks(scheme, code, brand, decided_by):
    assert by_table(scheme, code, brand).decided_by == decided_by


def test_what_no_table_has_gets_no_answer_from_tables():
    assert by_table("acme", "expired_card") is None


def test_a_text_s_answer_has_the_probability_of_its_reason():
    told = CodeAnswer("text_model", None, reading(card_data_invalid=0.7, incorrect_cvv=0.2))
    assert (told.category, told.reason, told.confidence) == ("bank_decline", "card_data_invalid", 0.7)


def test_who_cannot_tell_names_no_category_reason_or_confidence():
    told = CodeAnswer("cannot_tell", None, reading(card_data_invalid=0.3))
    assert (told.category, told.reason, told.sub_reason, told.confidence) == (None, None, None, None)


@pytest.mark.parametrize(("probability", "tells"), [(0.49, False), (0.5, True)])
def test_a_reading_tells_if_its_category_is_more_likely_than_not(probability, tells):
    assert reading(card_data_invalid=probability).tells is tells
