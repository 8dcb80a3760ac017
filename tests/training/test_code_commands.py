import csv

import pandas as pd
import pytest
from click.testing import CliRunner

import payrescue

CARD = "4111111111111111"


@pytest.fixture
def give(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def _give(*words):
        return CliRunner().invoke(payrescue.main, ["codes", "explain", *words])

    return _give


@pytest.fixture
def table(tmp_path):
    frame = pd.DataFrame(
        {
            "id": [1, 2, 3, 4, 5],
            "code_scheme": ["iso8583", "iso8583", "acme", "acme", None],
            "response_code": ["51", "82", "E-17", "17", None],
            "card_brand": ["jcb", "visa", None, "visa", None],
            "message": [None, "", "card has expired", None, None],
        }
    )
    frame.to_csv(tmp_path / "codes.csv", index=False)
    frame.to_parquet(tmp_path / "codes.parquet", index=False)
    return frame


def refused(done):
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_known_code_is_told_with_all_that_is_known_of_it(give):
    told = give("iso8583", "41").stdout
    assert told.splitlines()[0] == "iso8583 41: card reported lost or stolen"
    for part in (
        "the card is reported lost", "bank_decline", "lost_or_stolen", "hard", "issuer", "alternate_method",
        "rule never_retry_code", "rule never_the_same_card", "the table of iso8583", "ISO 8583:1987",
    ):  # fmt: skip
        assert part in told


def test_what_the_customer_reads_of_a_stolen_card_reveals_nothing(give):
    line = next(line for line in give("iso8583", "43").stdout.splitlines() if line.split()[0] == "customer")
    assert line.split(maxsplit=1)[1] == "Your bank did not approve the payment."


def test_the_network_s_table_is_named(give):
    assert "the card network's table of visa" in give("iso8583", "82", "--card-brand", "visa").stdout


def test_a_code_that_leaves_the_cause_open_says_so(give):
    assert "leaves the cause open" in give("iso8583", "05").stdout
    assert "leaves the cause open" not in give("iso8583", "51").stdout


def test_the_network_s_wait_is_told(give):
    assert "not before 1 hour from now" in give("mastercard_mac", "24").stdout


def test_a_new_code_is_told_by_its_text_with_its_likeness(give):
    told = give("acme", "E-17", "--message", "card has expired").stdout
    assert "the text model: bank_decline" in told
    assert "% sure" in told
    assert "most like" in told
    assert "expired" in told


def test_a_bare_number_of_nobody_known_cannot_be_told(give):
    done = give("acme", "17")
    assert done.exit_code == 0
    assert done.stdout.startswith("acme 17: cannot tell\n")
    assert "--message" in done.stdout


def test_a_text_that_resembles_nothing_says_how_unsure_it_is(give):
    assert "likeliest at" in give("acme", "x", "--message", "approved").stdout


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("stripe",),
        ("stripe", ""),
        ("--data", "codes.csv"),
        ("--output", "told.csv"),
        ("stripe", "expired_card", "--data", "codes.csv", "--output", "told.csv"),
        ("--message", "no funds", "--data", "codes.csv", "--output", "told.csv"),
    ],
)
def test_neither_a_code_nor_a_table_is_refused_in_one_line(give, words):
    assert "want SCHEME and CODE, or a table" in refused(give(*words))


@pytest.mark.parametrize(
    "words",
    [
        ("acme", CARD),
        ("acme", "1", "--message", f"card {CARD[:4]} {CARD[4:8]} {CARD[8:12]} {CARD[12:]} declined"),
        (CARD, "1"),
    ],
)
def test_a_card_number_is_refused_and_not_repeated(give, words):
    told = refused(give(*words))
    assert "no card numbers" in told
    assert CARD[-4:] not in told


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_gets_four_columns_and_keeps_its_own(give, table, tmp_path, kind):
    done = give("--data", f"codes.{kind}", "--output", f"told.{kind}")
    assert done.exit_code == 0, done.stderr
    told = pd.read_csv(tmp_path / "told.csv") if kind == "csv" else pd.read_parquet(tmp_path / "told.parquet")
    assert list(told.columns) == [*table.columns, "category", "reason", "confidence", "decided_by"]
    assert told["id"].astype(int).tolist() == [1, 2, 3, 4, 5]
    assert told["decided_by"].tolist() == ["table", "network_table", "text_model", "cannot_tell", "cannot_tell"]
    assert told["reason"].fillna("").tolist() == ["insufficient_funds", "incorrect_cvv", "card_data_invalid", "", ""]
    assert told["confidence"][:2].tolist() == [1.0, 1.0]
    assert 0.5 < told["confidence"][2] < 1.0
    assert told["confidence"][3:].isna().all()
    assert "5 rows explained (cannot_tell 2, table 1, network_table 1, text_model 1)" in done.stdout


def test_a_code_of_a_csv_stays_text(give, tmp_path):
    (tmp_path / "codes.csv").write_text("code_scheme,response_code\niso8583,05\n", encoding="utf-8")
    give("--data", "codes.csv", "--output", "told.csv")
    with (tmp_path / "told.csv").open(encoding="utf-8") as file:
        assert next(csv.DictReader(file))["response_code"] == "05"


def test_codes_that_are_numbers_are_read_as_codes(give, tmp_path):
    frame = pd.DataFrame({"code_scheme": ["iso8583"] * 3, "response_code": [51.0, 4.0, None]})
    frame.to_parquet(tmp_path / "codes.parquet")
    give("--data", "codes.parquet", "--output", "told.parquet")
    told = pd.read_parquet(tmp_path / "told.parquet")
    assert told["reason"].fillna("").tolist() == ["insufficient_funds", "lost_or_stolen", ""]


def test_whole_numbers_with_gaps_stay_whole_numbers(give, tmp_path):
    frame = pd.DataFrame({"code_scheme": ["adyen", "adyen"], "response_code": ["6", "2"]})
    frame["amount"] = pd.array([100, None], dtype="Int64")
    frame.to_parquet(tmp_path / "codes.parquet", index=False)
    give("--data", "codes.parquet", "--output", "told.csv")
    assert (tmp_path / "told.csv").read_text(encoding="utf-8").splitlines()[1].split(",")[2] == "100"


def test_a_column_that_has_the_name_of_an_added_one_is_kept_under_another(give, tmp_path):
    text = "code_scheme,response_code,reason\niso8583,51,what we thought\n"
    (tmp_path / "codes.csv").write_text(text, encoding="utf-8")
    done = give("--data", "codes.csv", "--output", "told.csv")
    told = pd.read_csv(tmp_path / "told.csv")
    assert told.loc[0, ["given_reason", "reason"]].tolist() == ["what we thought", "insufficient_funds"]
    assert "column reason kept as given_reason" in done.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("response_code\n51\n", "code_scheme: want a column of this name"),
        ("code_scheme,response_code\n", "only a header"),
        ("code_scheme,response_code,message,message\na,b,c,d\n", "message: want one column"),
        ("code_scheme,response_code,reason,given_reason\na,b,c,d\n", "given_reason: want no column"),
        (f"code_scheme,response_code,message\nacme,1,declined {CARD}\n", "message: want no card numbers"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_in_one_line(give, tmp_path, text, said):
    (tmp_path / "codes.csv").write_text(text, encoding="utf-8")
    told = refused(give("--data", "codes.csv", "--output", "told.csv"))
    assert said in told
    assert CARD not in told
    assert not (tmp_path / "told.csv").exists()


def test_an_output_of_no_known_form_is_refused_before_the_work(give, table, tmp_path):
    assert ".parquet or .csv" in refused(give("--data", "codes.csv", "--output", "told.xlsx"))
    assert "no such file" in refused(give("--data", "none.csv", "--output", "told.csv"))
