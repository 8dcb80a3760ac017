"""`payrescue experiment`: what it prints and writes, and what it says of bad input."""

import json

import pandas as pd
import pytest
from click.testing import CliRunner

import payrescue
from features.errors import BadInput
from serving.experiment_arms import arms_in
from training.simulator import simulate

FILE = """
experiments:
  - name: first
    mode: ab
    arms: [{name: control, share: 0.1}, {name: other, share: 0.1}]
  - name: second
    mode: ab
    arms: [{name: control, share: 0.5}, {name: challenger, share: 0.5}]
  - {name: dark, mode: shadow, arms: [{name: a, model: "models:/payrescue@challenger"}]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Attempts whose payments were in the experiment `second`, and the service's file."""
    there = tmp_path_factory.mktemp("experiment")
    (there / "experiments.yaml").write_text(FILE, encoding="utf-8")
    _, assigned = arms_in(there / "experiments.yaml", "second")
    table = simulate(3000, 2).attempts
    table["variant"] = table["payment_id"].map(assigned)
    table["experiment"] = table["variant"].map({"control": "second", "challenger": "second"})
    table.to_parquet(there / "attempts.parquet", index=False)
    return there


def give(*words):
    return CliRunner().invoke(payrescue.main, ["experiment", *map(str, words)])


def test_a_plan_is_told_and_written(folder):
    done = give(
        "plan", "--data", folder / "attempts.parquet", "--where", "country=KR", "--output", folder / "plan.json"
    )
    assert done.exit_code == 0
    assert "read once, at the end" in done.stdout
    told = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    assert f"{told['sample_size']:,} payments" in done.stdout


def test_a_read_out_is_told_and_written(folder):
    done = give(
        "read", "--name", "second", "--data", folder / "attempts.parquet", "--experiments", folder / "experiments.yaml",
        "--output", folder / "read.json",
    )  # fmt: skip
    assert done.exit_code == 0
    told = json.loads((folder / "read.json").read_text(encoding="utf-8"))
    assert done.stdout.startswith(f"second: {told['verdict'].upper()}")
    assert told["health"]["misassigned"] == 0.0
    assert [arm["name"] for arm in told["arms"]] == ["control", "challenger"]


def test_what_is_not_to_be_read_tells_no_effect(folder):
    table = pd.read_parquet(folder / "attempts.parquet")
    table[(table["variant"] != "challenger") | (table["outcome"] == "success")].to_parquet(folder / "uneven.parquet")
    done = give("read", "--name", "second", "--data", folder / "uneven.parquet")
    assert "BROKEN: DO NOT READ" in done.stdout
    assert "effect" not in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plan", "--where", "contry=KR"), "--where.contry: want a column known before the attempt"),
        (("plan", "--arms", "a=b"), "--arms 'a=b': want NAME=SHARE"),
        (("plan", "--power", "1.5"), "--power '1.5': want above 0 and below 1"),
        (("plan", "--minimum-effect", "0"), "effect '0': want above 0"),
        (("read", "--name", "third"), "experiment 'third': want one that the attempts were in: second"),
        (("read", "--name", "second", "--planned", "0"), "--planned '0': want 1 payment or more"),
        (("read", "--name", "second", "--shares", "control=1"), "want a share above 0 for each arm"),
    ],
)
def test_bad_input_ends_with_one_line_and_exit_code_2(folder, words, said):
    done = give(*words, "--data", folder / "attempts.parquet")
    assert done.exit_code == 2
    assert said in done.stderr


def test_a_payment_of_an_earlier_experiment_is_in_no_arm_of_a_later_one(folder):
    path = folder / "experiments.yaml"
    shares, later = arms_in(path, "second")
    _, earlier = arms_in(path, "first")
    payments = [f"p{k}" for k in range(300)]
    assert shares == {"control": 0.5, "challenger": 0.5}
    assert all((earlier(payment) is None) != (later(payment) is None) for payment in payments)
    with pytest.raises(BadInput, match="'dark': want first, second"):
        arms_in(path, "dark")
