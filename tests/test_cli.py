"""The command line on good and on bad input: what it says, and with which exit code it ends."""

import csv
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

import payrescue

START = datetime(2026, 1, 5, tzinfo=UTC)
CARD_NUMBERS = ("4111111111111111", "5555555555554444", "4012888888881881", "378282246310005")
HEAVY = ("bentoml", "lightgbm", "matplotlib", "mlflow", "numba", "numpy", "pandas", "pyarrow", "sklearn")


def attempts(count=300, **columns):
    """Rows of an attempts table; `columns` replaces a column by a function of the row's number."""
    rows = []
    for i in range(count):
        created = START + timedelta(minutes=i)
        row = {
            "attempt_id": f"a{i}",
            "payment_id": f"p{i}",
            "created_at": created.isoformat(),
            "amount_minor": 1000 + i,
            "currency": "KRW",
            "country": "KR",
            "method": "card",
            "resolved_at": (created + timedelta(seconds=9)).isoformat(),
            "outcome": "success" if i % 3 else "unclassified",
        }
        rows.append(row | {name: of(i) for name, of in columns.items()})
    return rows


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder, so that nothing is written elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


@pytest.fixture
def write(folder):
    def _write(rows, name="attempts.csv"):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(attempts(1)[0]) if not rows else list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return name

    return _write


@pytest.fixture
def give():
    """Gives a command, and returns its exit code and what it said, without the lines of progress."""

    def _give(*words):
        result = CliRunner().invoke(payrescue.main, list(words), prog_name="payrescue")
        said = [line for line in result.stderr.splitlines() if not line[:7].strip().replace(".", "").isdigit()]
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, said, result.stdout

    return _give


@pytest.fixture
def refused(give, folder):
    """Gives a command that has to be refused: exit code 2, one line. Returns the line."""

    def _refused(*words):
        before = sorted(folder.iterdir())
        code, said, out = give(*words)
        assert code == 2
        assert out == ""
        assert len(said) == 1
        assert [path for path in folder.iterdir() if path not in before and path.name != "mlflow.db"] == []
        return said[0]

    return _refused


def test_a_missing_file_is_told_by_name(refused):
    assert refused("train", "--data", "none.csv") == (
        "payrescue: none.csv: no such file; want a Parquet or CSV file, or a folder of Parquet files"
    )


def test_an_empty_file_is_told(refused, folder):
    (folder / "empty.csv").touch()
    assert "empty.csv: is empty" in refused("train", "--data", "empty.csv")


def test_a_header_alone_is_told(refused, write):
    assert "holds no attempts, only a header" in refused("train", "--data", write([]))


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own store
def test_ten_rows_are_too_few_to_learn_from(refused, write):
    said = refused("train", "--data", write(attempts(10)))
    assert "10 attempts" in said
    assert "want 200 or more" in said


@pytest.mark.parametrize("outcome", ["success", "unclassified"])
def test_one_outcome_alone_teaches_nothing(refused, write, outcome):
    said = refused("train", "--data", write(attempts(outcome=lambda i: outcome)))
    assert "want both successes and failures" in said


def test_a_broken_row_is_told_by_its_number(refused, write, folder):
    lines = (folder / write(attempts())).read_text().splitlines()
    lines[5] += ",one,two"
    (folder / "broken.csv").write_text("\n".join(lines))
    said = refused("train", "--data", "broken.csv")
    assert "row 5" in said
    assert "want 9 values" in said


@pytest.mark.parametrize("command", ["train", "score"])
def test_card_numbers_are_refused_and_never_said(refused, write, command):
    data = write(attempts(customer_id=lambda i: CARD_NUMBERS[i % 4]))
    more = ("--output", "scores.csv") if command == "score" else ()
    said = refused(command, "--data", data, *more)
    assert "customer_id: want no card numbers" in said
    assert not [number for number in CARD_NUMBERS if number in said]


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("amount_minor", "12x", "amount_minor '12x': want a whole number"),
        ("amount_minor", "-5", "amount_minor '-5': want at least 0"),
        ("currency", "EU", "currency 'EU': want"),
        ("country", "Korea", "country 'Korea': want"),
        ("created_at", "2026-01-05 09:30:00", "want a time with its zone"),
        ("created_at", "2999-01-05T09:30:00Z", "want a time not in the future"),
        ("outcome", "fine", "outcome 'fine': want"),
    ],
)
def test_a_value_that_cannot_be_is_told_with_its_row_and_what_is_allowed(refused, write, column, value, told):
    data = write(
        attempts(**{column: lambda i: value if i == 7 else attempts(8)[i % 8][column]}, resolved_at=lambda i: "")
    )
    said = refused("train", "--data", data)
    assert said.startswith("payrescue: attempts.csv: ")
    assert "row 8, " in said
    assert told in said


def test_all_faults_are_told_at_once(refused, write):
    said = refused("train", "--data", write(attempts(amount_minor=lambda i: -1, currency=lambda i: "EU")))
    assert "amount_minor" in said
    assert "currency" in said
    assert "(300 rows)" in said


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        ("num_leafs=3", "num_leafs"),
        ("num_leaves", "want NAME=VALUE"),
        ("num_leaves=many", "num_leaves 'many'"),
        ("num_leaves=1", "want 2 to 1024 (leaves)"),
        ("test_share=0.9", "want 0.05 to 0.5"),
    ],
)
def test_a_setting_that_cannot_be_is_told(refused, write, pair, told):
    assert told in refused("train", "--data", write(attempts(10)), "--set", pair)


@pytest.mark.parametrize(
    ("text", "told"),
    [("leaves: 3", "want one of experiment"), ("[1", "is no YAML"), ("- 1", "want settings by name")],
)
def test_a_settings_file_that_cannot_be_read_as_one_is_told(refused, write, folder, text, told):
    (folder / "settings.yaml").write_text(text)
    said = refused("train", "--data", write(attempts(10)), "--config", "settings.yaml")
    assert said.startswith("payrescue: settings.yaml: ")
    assert told in said


def test_an_unknown_story_is_told_with_those_there_are(refused):
    said = refused("simulate", "--out", "out", "--payments", "10", "--seed", "1", "--story", "fairy")
    assert said == "payrescue: simulate: story 'fairy': want base, gateway, outage"


def test_an_output_that_names_no_format_is_refused_before_any_work(refused):
    assert "want a name that ends in .parquet or .csv" in refused("score", "--data", "none", "--output", "scores.txt")


def test_a_folder_that_cannot_be_made_is_told(refused, write):
    taken = write(attempts(1))
    assert refused("simulate", "--out", taken, "--payments", "5", "--seed", "1") == f"payrescue: {taken}: File exists"


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
def test_a_champion_is_asked_for_where_there_is_none_yet(refused, write):
    said = refused("score", "--data", write(attempts()), "--output", "scores.csv")
    assert "the registry has no models:/payrescue@champion; `payrescue train` makes one" in said


def test_a_model_that_is_none_is_told(refused, write):
    said = refused("score", "--data", write(attempts()), "--output", "scores.csv", "--model", "the-best")
    assert "model: 'the-best': want a folder, models:/NAME@ALIAS" in said


def test_the_same_seed_simulates_the_same_files(give, folder):
    for name in ("one", "two"):
        assert give("simulate", "--out", name, "--payments", "20", "--seed", "3")[0] == 0
    names = sorted(path.name for path in (folder / "one").iterdir())
    assert {"attempts.parquet", "oracle.parquet", "candidates.parquet", "candidate_oracle.parquet"} <= set(names)
    assert [(folder / "one" / name).read_bytes() for name in names] == [
        (folder / "two" / name).read_bytes() for name in names
    ]


@pytest.mark.parametrize("command", [None, *payrescue.main.commands])
def test_help_imports_nothing_heavy(command):
    words = ["payrescue", *([command] if command else []), "--help"]
    script = (
        "import sys, payrescue\n"
        f"sys.argv = {words!r}\n"
        "try:\n    payrescue.main()\n"
        "except SystemExit as end:\n    code = end.code\n"
        f"sys.stderr.write(repr((code, [name for name in {HEAVY!r} if name in sys.modules])))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "(0, [])"
    assert "Usage: payrescue" in done.stdout


def test_the_version_is_that_of_the_package(give):
    assert give("--version")[2].strip() == f"payrescue, version {_declared_version()}"


def _declared_version():
    text = (Path(payrescue.__file__).parent / "pyproject.toml").read_text(encoding="utf-8")
    return next(line.split('"')[1] for line in text.splitlines() if line.startswith("version = "))


def test_the_rules_are_listed_with_their_editions(give):
    code, said, out = give("rules", "list", "--network", "visa")
    assert (code, said) == (0, [])
    assert "visa_category_1  (visa)" in out
    assert "edition 2026-04" in out


@pytest.mark.parametrize(
    "command",
    [
        ("rules", "list"),
        ("recommend", "--data", "none.csv", "--candidates", "none.csv", "--output", "next.csv"),
        ("serve", "--model", "none"),
    ],
)
def test_rules_that_cannot_be_used_are_told(refused, folder, command):
    (folder / "ours.csv").write_text("rule,limit\nvisa_declines_30_days,20\n")
    said = refused(*command, "--rules", "ours.csv")
    assert said.startswith("payrescue: ours.csv: kind: want exactly the columns rule, kind, network")
