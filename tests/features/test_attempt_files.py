"""Attempts from Parquet, CSV and SQL: the same table from each, and one refusal for what cannot be read."""

from __future__ import annotations

import gzip
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from features.attempts import check_attempts, read_attempts
from features.errors import BadInput, CardNumberFound

NOW = datetime(2026, 2, 1, tzinfo=UTC)
PAN = "4111111111111111"

HEADER = "attempt_id,payment_id,created_at,amount_minor,currency,country,method,response_code,"
HEADER += "network_rtt_ms,stored"
ROWS = [
    "a1,p1,2026-01-05T09:30:00Z,38000,KRW,KR,card,05,12.5,true",
    "a2,p1,2026-01-05T18:31:00.250+09:00,38000,KRW,KR,card,,,",
    '007,p2,2026-01-05T10:00:00Z,1999,EUR,DE,"bank ""transfer"", slow",51,80,false',
]


def write(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def refusal(source: Path | str, **options: str) -> str:
    with pytest.raises(BadInput) as caught:
        read_attempts(source, now=NOW, query=options.get("query"))
    assert PAN not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write(tmp_path / "shop.csv", *ROWS)


def test_codes_and_ids_in_a_csv_stay_text(shop: Path) -> None:
    frame = read_attempts(shop, now=NOW)
    assert frame["attempt_id"].tolist() == ["a1", "a2", "007"]
    assert frame["response_code"].astype(object).tolist()[::2] == ["05", "51"]


def test_times_in_a_csv_become_utc(shop: Path) -> None:
    assert read_attempts(shop, now=NOW)["created_at"].iloc[1] == pd.Timestamp("2026-01-05T09:31:00.250Z")


def test_empty_values_in_a_csv_are_missing(shop: Path) -> None:
    row = read_attempts(shop, now=NOW).iloc[1]
    assert row[["response_code", "network_rtt_ms", "stored"]].isna().all()


def test_quoted_values_in_a_csv_may_hold_delimiters_and_line_ends(tmp_path: Path) -> None:
    path = write(tmp_path / "shop.csv", *ROWS, header=HEADER.replace("stored", '"note, and\nmore"'))
    frame = read_attempts(path, now=NOW)
    assert frame["method"].iloc[2] == 'bank "transfer", slow'
    assert frame.attrs["ignored_columns"] == ["note, and\nmore"]


def test_namibia_is_a_country_and_not_a_missing_value(tmp_path: Path) -> None:
    path = write(tmp_path / "shop.csv", ROWS[0].replace("KRW,KR", "NAD,NA"))
    assert read_attempts(path, now=NOW)["country"].tolist() == ["NA"]


def test_a_compressed_csv_and_one_with_a_byte_order_mark_read_the_same(shop: Path) -> None:
    packed = shop.with_name("packed.csv.gz")
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + shop.read_bytes()))
    pd.testing.assert_frame_equal(read_attempts(packed, now=NOW), read_attempts(shop, now=NOW))


def test_parquet_csv_and_sql_give_the_same_table(shop: Path) -> None:
    frame = read_attempts(shop, now=NOW)
    parquet, database = shop.with_suffix(".parquet"), shop.with_suffix(".db")
    frame.to_parquet(parquet)
    texts = pd.read_csv(shop, dtype=str, keep_default_na=False)
    with closing(sqlite3.connect(database)) as connection:
        texts.to_sql("attempts", connection, index=False)
    pd.testing.assert_frame_equal(read_attempts(parquet, now=NOW), frame)
    from_sql = read_attempts(f"sqlite:///{database}", query="SELECT * FROM attempts", now=NOW)
    pd.testing.assert_frame_equal(from_sql, frame)


def test_a_folder_is_read_part_by_part_in_the_order_of_names(shop: Path) -> None:
    frame = read_attempts(shop, now=NOW)
    folder = shop.with_name("parts")
    (folder / "day=2").mkdir(parents=True)
    frame.iloc[:2].to_parquet(folder / "1.parquet")
    frame.iloc[2:].drop(columns="stored").to_parquet(folder / "day=2" / "2.parquet")
    read = read_attempts(folder, now=NOW)
    assert read["attempt_id"].tolist() == ["a1", "a2", "007"]
    assert read["stored"].isna().tolist() == [False, True, True]


def test_a_simulated_folder_stands_for_its_attempts(shop: Path) -> None:
    frame = read_attempts(shop, now=NOW)
    frame.to_parquet(shop.with_name("attempts.parquet"))
    pd.DataFrame({"attempt_id": ["a1"], "p_success": [0.5]}).to_parquet(shop.with_name("oracle.parquet"))
    assert len(read_attempts(shop.parent, now=NOW)) == 3


def test_an_integer_column_of_a_database_may_hold_missing_values(tmp_path: Path) -> None:
    database = tmp_path / "shop.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(
            "CREATE TABLE t (attempt_id, payment_id, created_at, amount_minor, currency, country,"
            " method, prior_payments INTEGER, note)"
        )
        connection.executemany(
            "INSERT INTO t VALUES (?, 'p', '2026-01-05T09:30:00Z', 5, 'EUR', 'DE', 'card', ?, ?)",
            [("a", None, 1), ("b", 3, "x")],
        )
        connection.commit()
    frame = read_attempts(f"sqlite:///{database}", query="SELECT * FROM t ORDER BY attempt_id", now=NOW)
    assert frame["prior_payments"].tolist() == [pd.NA, 3]


@pytest.mark.parametrize("row", ["a3,p3,2026-01-05T10:00:00Z", ROWS[0].replace("a1", "a9") + ",,,", f"{PAN},x"])
def test_a_broken_row_is_named(shop: Path, row: str) -> None:
    shop.write_text(shop.read_text() + row + "\n" + ROWS[0].replace("a1", "a4") + "\n")
    got = row.count(",") + 1
    assert refusal(shop) == f"{shop}: row 4, (the whole row) '{got} values': want 10 values, as the header has"


def test_a_number_that_is_none_is_named_with_its_row(shop: Path) -> None:
    shop.write_text(shop.read_text().replace("1999", "19,99".replace(",", "_")))
    assert refusal(shop) == f"{shop}: row 3, amount_minor '19_99': want a whole number"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty; want a header and at least one row"),
        ("a.parquet", b"", "is empty; want a header and at least one row"),
        ("a.csv", HEADER.encode() + b"\n", "holds no attempts, only a header; want at least one row"),
        ("a.csv", HEADER.encode(), "holds no attempts, only a header; want at least one row"),
        ("a.csv", b"\n\n", "has no header; want the names of the columns in the first line"),
        ("a.csv", HEADER.encode("utf-16"), "is not UTF-8 text; want a CSV file saved as UTF-8"),
        ("a.csv", f"{HEADER}\n{ROWS[0]}".replace("card", "càrd").encode("latin-1"), "is not UTF-8 text"),
        ("a.csv", HEADER.replace(",", ";").encode(), "columns are split by ';', not ','"),
        ("a.csv", f'{HEADER}\n"{ROWS[0]}'.encode(), "want 10 values, as the header has"),
        ("a.csv.gz", b"attempt_id,", "cannot be read as CSV"),
        ("a.parquet", b"attempt_id,payment_id\n", "is not a Parquet file, whatever its name says"),
        ("a.parquet", b"PAR1 and then nothing", "is a damaged Parquet file, or one cut short"),
        ("a.xlsx", b"PK\x03\x04", "want a Parquet file (.parquet) or a CSV file (.csv, .csv.gz)"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_one_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    text = refusal(path)
    assert text.startswith(f"{path}: ")
    assert message in text
    assert "\n" not in text


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.parquet")


def test_a_folder_without_parquet_is_refused(shop: Path) -> None:
    assert "is a folder without Parquet files" in refusal(shop.parent)


def test_a_folder_whose_files_disagree_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"amount_minor": [1]}).to_parquet(tmp_path / "1.parquet")
    pd.DataFrame({"amount_minor": ["x"]}).to_parquet(tmp_path / "2.parquet")
    assert "differ in the type of a column" in refusal(tmp_path)


def test_a_parquet_file_without_rows_is_refused(shop: Path) -> None:
    path = shop.with_suffix(".parquet")
    read_attempts(shop, now=NOW).head(0).to_parquet(path)
    assert "holds no attempts" in refusal(path)


def test_card_numbers_in_a_csv_are_refused_before_anything_else(shop: Path) -> None:
    shop.write_text(shop.read_text().replace(",51,", f",{PAN},"))
    with pytest.raises(CardNumberFound, match="row 3, response_code: want no card numbers"):
        read_attempts(shop, now=NOW)


def test_a_csv_whose_header_is_data_does_not_give_its_card_number_away(tmp_path: Path) -> None:
    path = write(tmp_path / "shop.csv", ROWS[0], header=ROWS[1].replace("a2", PAN))
    assert "the name of column 1" in refusal(path)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (None, "a database needs a query, such as SELECT * FROM attempts"),
        (f"SELECT {PAN} FROM missing", "the query failed: no such table: missing"),
        ("CREATE TABLE x (y)", "the query selects nothing; want a SELECT"),
        ("SELECT 1 AS attempt_id WHERE 1 = 0", "holds no attempts"),
    ],
)
def test_a_query_that_cannot_be_answered_is_refused(tmp_path: Path, query: str, message: str) -> None:
    database = tmp_path / "shop.db"
    sqlite3.connect(database).close()
    assert message in refusal(f"sqlite:///{database}", query=query)


def test_a_missing_sqlite_file_is_refused_and_not_made(tmp_path: Path) -> None:
    assert "no such file" in refusal(f"sqlite:///{tmp_path}/none.db", query="SELECT 1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["nosuch://reader:hunter2@host/shop", "mysql+nosuch://reader:hunter2@host/shop"])
def test_a_database_that_is_not_known_is_refused_without_its_password(url: str) -> None:
    assert "hunter2" not in refusal(url, query="SELECT 1")


def test_a_query_for_a_file_is_refused(shop: Path) -> None:
    assert "a query needs a database" in refusal(shop, query="SELECT 1")


def test_what_is_read_is_told(shop: Path) -> None:
    told: list[str] = []
    shop.write_text(shop.read_text().replace("stored", "note"))
    read_attempts(shop, now=NOW, progress=told.append)
    assert told == [
        f"{shop}: read 3 rows, 10 columns",
        f"{shop}: ignored columns that are not of the attempts table: note",
    ]


def test_a_file_and_its_frame_are_judged_alike(shop: Path) -> None:
    frame = pd.read_csv(shop, dtype=str)
    pd.testing.assert_frame_equal(check_attempts(frame, now=NOW), read_attempts(shop, now=NOW))
