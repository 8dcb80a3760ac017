"""The documents say what is: commands, options, settings, addresses, answers, examples and links."""

import contextlib
import importlib.util
import json
import re
import shlex
import socket
import sys
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import payrescue
from benchmarks.__main__ import BENCHMARKS
from benchmarks.readme import fill, names, table
from benchmarks.report import at_most
from features.attempts import read_attempts
from features.columns import OUTCOMES
from features.mapping import read_mapping
from features.taxonomy import codes
from models.actions import ACTIONS
from models.engine import Engine
from models.fees import Effort, read_fees
from models.messages import messages
from models.rules import read_rules
from serving.app import App
from serving.experiments import read_experiments
from serving.requests import RequestReader
from training.settings import TrainSettings

ROOT = Path(payrescue.__file__).parent
DOCUMENTS = sorted(path.name for path in ROOT.glob("*.md"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = payrescue.main.commands


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands_in(text):
    """The words of every `payrescue …` that a text tells to give, in blocks and between backticks."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    lines += re.findall(r"`(payrescue [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    given = [shlex.split(" ".join(line.split()), comments=True) for line in lines if line.startswith("payrescue ")]
    return [words[1:] for words in given]


def parsed(words):
    """The command, once its options are understood; nothing is run."""
    command, rest = found(words)
    command.make_context(words[0], rest)
    return command


def found(words):
    """The command that words name, within its group if it is in one, and the words that are for it."""
    command, rest = COMMANDS[words[0]], list(words[1:])
    while isinstance(command, click.Group) and rest:
        command = command.commands[rest.pop(0)]
    return command, rest


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_that_a_document_gives_is_understood(document):
    for words in commands_in((ROOT / document).read_text(encoding="utf-8")):
        if words[0] not in COMMANDS:
            assert words == ["--help"]
        elif len(words) > 1:
            command, rest = found(words)
            options = {option for parameter in command.params for option in (*parameter.opts, "--help")}
            assert {word for word in rest if word.startswith("--")} <= options


def test_the_readme_s_table_has_every_command():
    assert re.findall(r"^\| `payrescue ([\w-]+)` \|", README, re.MULTILINE) == list(COMMANDS)


def every_command():
    for name, command in COMMANDS.items():
        yield (name,)
        yield from ((name, inner) for inner in getattr(command, "commands", ()))


@pytest.mark.parametrize("name", list(every_command()), ids=" ".join)
def test_help_of_a_command_ends_in_an_example_that_it_understands(name):
    done = CliRunner().invoke(payrescue.main, [*name, "--help"])
    example = re.search(r"Example:\n\s+payrescue (.+)", done.stdout)
    assert example is not None
    words = shlex.split(example[1])
    assert tuple(words[: len(name)]) == name
    assert parsed(words) is not None


def test_the_readme_s_explanation_of_a_code_is_what_the_command_says():
    words = next(words for words in commands_in(README) if words[:2] == ["codes", "explain"] and "--message" in words)
    shown = re.search(r"<!-- explained -->\n```\n(.*?)```\n<!-- /explained -->", README, re.DOTALL)[1]
    assert shown == CliRunner().invoke(payrescue.main, words).stdout


def test_the_readme_counts_the_codes_and_schemes():
    told = re.search(r"knows ([\d,]+) codes of (\d+) schemes", README)
    assert told is not None
    assert (int(told[1]), int(told[2])) == (len(codes()), len({code.scheme for code in codes()}))


def test_the_first_tour_is_understood():
    tour = re.findall(r"^  +payrescue (.+--.+)$", CliRunner().invoke(payrescue.main, ["--help"]).stdout, re.MULTILINE)
    assert [parsed(shlex.split(line)).name for line in tour] == ["simulate", "train"]


def test_every_setting_is_told_with_its_default_unit_and_meaning():
    told = CliRunner().invoke(payrescue.main, ["train", "--settings"]).stdout
    for known in fields(TrainSettings):
        unit, meaning = known.metadata["unit"], known.metadata["meaning"]
        assert unit
        assert f"{known.name} = {known.default}  ({unit})\n    {meaning}\n" in told


def test_every_target_of_make_that_is_told_is_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        assert set(re.findall(r"(?:^|`)make ([a-z-]+)\b", text, re.MULTILINE)) <= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    local = [link for link in re.findall(r"\]\(([^)#]+)", text) if not link.startswith("https://")]
    assert [link for link in local if not (ROOT / link).exists()] == []


def test_files_that_the_architecture_names_are_there():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:features|models|training|serving|benchmarks)/[\w/.]+\.\w+)`", text)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).is_file() and "NAME" not in name] == []


def test_the_readme_s_answer_is_what_the_service_says():
    question = json.loads(re.search(r"-d '(\{.*?\})'", README, re.DOTALL)[1])
    told = json.loads(blocks(README, "json")[0])
    answer = Engine(None).score(RequestReader().read(question, now=2**62), request_id="r")
    del answer["request_id"]
    assert answer == told


def test_the_readme_has_every_address_of_the_service():
    told = set(re.findall(r"`(?:GET|POST) (/[\w/.]+)", README.replace("{locale}", "")))
    bentoml_s_own_names = {"/healthz", "/docs.json", "/schema.json"}
    assert told == set(App(Engine(None))._routes) - bentoml_s_own_names


def test_the_readme_s_export_is_read_by_its_mapping(tmp_path):
    (tmp_path / "export.csv").write_text(blocks(README, "csv")[0], encoding="utf-8")
    (tmp_path / "export.yaml").write_text(blocks(README, "yaml")[0], encoding="utf-8")
    now = datetime(2026, 2, 1, tzinfo=UTC)
    found = read_attempts(tmp_path / "export.csv", tmp_path / "export.yaml", now=now, for_training=True)
    assert found["amount_minor"].tolist() == [5240, 999, 999]
    assert found["payment_id"].tolist() == ["o-1", "o-2", "o-2"]
    assert found["outcome"].tolist() == ["success", "unclassified", "success"]
    assert found["created_at"].iloc[0] == datetime(2026, 1, 5, 8, 30, tzinfo=UTC)


def test_the_readme_s_rules_are_read(tmp_path):
    path = tmp_path / "ours.csv"
    path.write_text(next(block for block in blocks(README, "csv") if block.startswith("rule,")), encoding="utf-8")
    (limit,) = read_rules(path).limits("visa", "KR", 1_767_605_400_000_000)
    assert (limit.limit, limit.edition) == (20, "2025-05")


def test_the_readme_s_fees_are_read(tmp_path):
    path = tmp_path / "fees.yaml"
    path.write_text(next(block for block in blocks(README, "yaml") if "fees:" in block), encoding="utf-8")
    fees = read_fees(path)
    assert (fees.margin, set(fees.fees), fees.retries) == (0.2, {"north", "harbor"}, {"visa": 0.1})
    assert fees.effort == Effort(methods={"bank_transfer": 0.001})


def test_the_readme_s_experiments_are_read(tmp_path):
    path = tmp_path / "experiments.yaml"
    path.write_text(next(block for block in blocks(README, "yaml") if "experiments:" in block), encoding="utf-8")
    found = read_experiments(path)
    assert [experiment.mode for experiment in found] == ["shadow", "ab", "canary"]
    assert [arm.name for arm in found[2].arms] == ["seven", "control"]


def test_the_shop_s_fees_are_of_each_of_its_processors():
    fees = read_fees(ROOT / "examples" / "shop_fees.yaml")
    processors = read_mapping(ROOT / "examples" / "shop_attempts.yaml").rules["propensity"].first.values
    assert set(fees.fees) == set(processors)


def test_the_shop_s_mapping_is_one():
    assert read_mapping(ROOT / "examples" / "shop_attempts.yaml").payments.within_s == 60


def test_the_shop_s_attempts_are_read_by_the_mapping():
    data = ROOT.parent / "shared" / "data" / "shop_attempts.csv"
    if not data.is_file():
        pytest.skip("the shop's attempts may not ship; they are not beside this checkout")
    found = read_attempts(data, ROOT / "examples" / "shop_attempts.yaml", now=datetime(2026, 1, 1, tzinfo=UTC))
    assert len(found) == 26_304
    assert found["attempt_id"].is_unique
    assert set(found["outcome"].cat.categories) == {"success", "unclassified"}


def test_the_readme_has_a_place_for_the_figures_of_every_benchmark():
    places = names(README)
    assert set(places) == set(BENCHMARKS)
    assert all(body.strip() for body in places.values())


def test_figures_go_to_their_places_and_nowhere_else():
    readme = "a\n<!-- figures:one -->\nold\n<!-- /figures -->\nb\n<!-- figures:two -->\nkept\n<!-- /figures -->\n"
    filled = fill(readme, {"one": [at_most("time", 2.0, "ms", 1.0, "pandas: 9 ms")]})
    assert names(filled)["one"].splitlines()[-1] == "| time | 2 ms | ≤ 1 (MISSED) | pandas: 9 ms |"
    assert names(filled)["two"] == "kept\n"
    assert filled.replace(names(filled)["one"], "old\n") == readme


def test_a_table_of_figures_survives_a_bar_in_a_name():
    assert table([at_most("a|b", 1.0, "s", 2.0)]).splitlines()[-1].startswith("| a\\|b | 1 s |")


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", ROOT / "docs" / "demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Even:
    """A model to which everything is as likely."""

    fingerprint = "sha256:0"
    code_text = None
    plausible = None

    def ways_to_pay(self, country: str):
        return [("card", "north"), ("quick_pay", None)]

    def outcome(self, attempt, previous):
        return [0.6, 0.1, 0.1, 0.1, 0.1]

    def candidate_success(self, attempt, previous, candidates):
        return [0.5 + 0.1 * place for place in range(len(candidates))]

    def reasons(self, attempt, previous, evidence) -> Mapping[str, float]:
        return {"insufficient_funds": 0.6, "generic_decline": 0.4}


@pytest.fixture
def asked():
    question = json.loads(re.search(r"-d '(\{.*?\})'", README, re.DOTALL)[1])
    question["evidence"]["response_code"] = "05"
    return question


def answered(question):
    return Engine(Even(), version="1").score(RequestReader().read(question, now=2**62), request_id="r")


def test_the_demo_has_words_for_every_outcome_and_action(demo):
    assert set(demo._OUTCOMES) == set(OUTCOMES)
    assert set(demo._ACTIONS) == set(ACTIONS)


def test_the_demo_tells_what_will_become_of_an_attempt(demo, asked):
    before = {"attempt": asked["attempt"]}
    text = "\n".join(demo.about_attempt(before, answered(before), messages("en")[1]))
    assert "about to pay 38,000 KRW by card over north" in text
    assert "  60 %  it succeeds" in text
    assert "What to do: go on as it is" in text or "What to do: offer another way to pay: quick pay" in text
    assert 'the customer reads: "Please' in text


def test_the_demo_tells_why_an_attempt_failed_and_what_next(demo, asked):
    text = "\n".join(demo.about_failure(asked, answered(asked), messages("en")[1]))
    assert "most likely: insufficient funds (60 % sure, decided by the model)" in text
    assert "Not ruled out, at 90 %: generic decline." in text
    assert "What to do: offer another way to pay: quick pay" in text


SERVER = """
import http.server, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'{}')
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""


def test_the_demo_stops_its_service_when_something_fails(demo, tmp_path):
    port = demo._free_port()
    command = [sys.executable, "-c", SERVER, str(port)]
    with contextlib.suppress(ZeroDivisionError), demo.service(command, tmp_path / "log", port) as url:
        assert demo.ask(f"{url}/readyz") == {}
        raise ZeroDivisionError
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_the_demo_tells_what_a_service_said_that_does_not_start(demo, tmp_path):
    command = [sys.executable, "-c", "print('no port'); raise SystemExit(3)"]
    with pytest.raises(RuntimeError, match="no port"), demo.service(command, tmp_path / "log", demo._free_port()):
        pass
