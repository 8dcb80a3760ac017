"""docs/extend.md keeps its word: each of its changes is made in a copy of the project, and seen to work."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", GUIDE, flags=re.DOTALL | re.MULTILINE))
TEN = 10

FEATURE = """
from datetime import UTC, datetime

import numpy as np

from features.attempts import check_attempts
from features.definitions import feature_names
from features.history import History, features_in_passing
from features.rows import Encoder
from training.simulator import simulate

table = check_attempts(simulate(300, seed=1).attempts, now=datetime(2026, 6, 1, tzinfo=UTC))
matrix = features_in_passing(Encoder.fit(table).from_table(table), History())
told = dict(zip(feature_names(), matrix.T, strict=True))
assert np.array_equal(told["amount_ending"], told["amount"] % np.float32(10.0)), told["amount_ending"]
assert told["amount_ending"].any()
"""

REASON = """
from features.taxonomy import reasons
from training.code_text import fit_code_text

assert reasons()["agreement_pending"].who_can_act == "customer"
reading = fit_code_text().read("X1", "agreement pending, not confirmed")
assert reading.reason == "agreement_pending", reading
"""

CODES = """
from models.engine import Engine, ScoreRequest

attempt = {"attempt_id": "a1", "payment_id": "p1", "created_at": 0, "amount_minor": 100, "currency": "KRW", "country": "KR",
           "method": "card"}
for code, reason in (("N-100", "insufficient_funds"), ("N-205", "generic_decline"), ("N-310", "processor_error")):
    failed = ScoreRequest(attempt, evidence={"code_scheme": "newpay", "response_code": code})
    told = Engine(None).score(failed, request_id="r1")["diagnosis"]
    assert told["reason"] == reason, told
"""

METHOD = """
import sys
from datetime import UTC, datetime
from pathlib import Path

from features.attempts import check_attempts
from models.artefact import save
from models.engine import Engine, ScoreRequest
from models.fees import read_fees
from models.predictor import Predictor
from models.value import Worth
from training.settings import TrainSettings
from training.simulator import simulate
from training.train import train

made = simulate(1500, seed=1).attempts.astype({"method": "str"})
some = (made["method"] == "wallet") & (made["payment_id"].map(hash) % 2 == 0)
made.loc[some, "method"] = "gift_card"
settings = TrainSettings(max_rounds=15, early_stopping_rounds=5, resamples=20, select_below_rows=0, threads=1)
folder = Path(sys.argv[1])
save(train(check_attempts(made, now=datetime(2026, 6, 1, tzinfo=UTC), for_training=True), settings).artefact, folder / "model")
attempt = {"attempt_id": "a1", "payment_id": "p1", "created_at": 1_769_000_000_000_000, "amount_minor": 10_000,
           "currency": "KRW", "country": "KR", "method": "card"}
offered = ({"candidate_id": "c1", "method": "gift_card"}, {"candidate_id": "c2", "method": "never_seen"})
failed = ScoreRequest(attempt, evidence={"code_scheme": "iso8583", "response_code": "51"}, candidates=offered)
worth = [None, Worth(read_fees(folder / "fees.yaml"))]
told = [Engine(Predictor.load(folder / "model"), worth=way).score(failed, request_id="r1")["ranking"] for way in worth]
plain, with_effort = ({one["candidate_id"]: one for one in ranking} for ranking in told)
assert 0.0 < plain["c1"]["success_probability"] < 1.0
assert 0.0 < plain["c2"]["success_probability"] < 1.0
assert plain["c1"]["expected_value"] - with_effort["c1"]["expected_value"] > 0.0, (plain, with_effort)
"""


@pytest.fixture
def copy(tmp_path):
    """The project's packages and their tests, to be changed."""
    for name in ("features", "models", "training"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests" / "features", tmp_path / "tests" / "features")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def apply(section, folder):
    """Make the section's changes; how many lines they add or take away."""
    text, lines = SECTIONS[section], 0
    for diff in re.findall(r"```diff\n(.*?)```", text, flags=re.DOTALL):
        done = subprocess.run(["git", "apply"], input=diff, cwd=folder, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        lines += len(re.findall(r"^[+-](?![+-])", diff, flags=re.MULTILINE))
    for path, rows in re.findall(r"To the end of `([^`]+)`.*?```csv\n(.*?)```", text, flags=re.DOTALL):
        with (folder / path).open("a", encoding="utf-8") as file:
            file.write(rows)
        lines += rows.count("\n")
    return lines


def run(folder, *command):
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_feature_takes_a_line_and_serves_as_it_trains(copy):
    assert 0 < apply("A feature", copy) < TEN
    run(copy, "-c", FEATURE)
    run(copy, "-m", "pytest", "tests/features/test_definitions.py", "tests/features/test_fingerprint.py",
        "tests/features/test_history.py", "-p", "no:cacheprovider")  # fmt: skip


def test_a_reason_is_read_from_what_processors_say_of_it(copy):
    assert 0 < apply("A reason", copy) < TEN
    run(copy, "-c", REASON)


def test_a_processor_s_codes_are_understood(copy):
    assert 0 < apply("A processor's codes", copy) < TEN
    run(copy, "-c", CODES)


def test_a_method_is_learnt_from_its_attempts_and_weighed_by_its_effort(tmp_path):
    (fees,) = re.findall(r"```yaml\n(.*?)```", SECTIONS["A method"], flags=re.DOTALL)
    (tmp_path / "fees.yaml").write_text(fees, encoding="utf-8")
    run(ROOT, "-c", METHOD, str(tmp_path))
