import json
import logging
import math
import multiprocessing
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

import payrescue
from models.actions import ACTIONS
from models.engine import Engine
from serving.app import App
from serving.assembly import meters_of
from serving.cells import LABEL_BYTES, Cells
from serving.experiments import Arm, Experiment
from serving.lineup import Fixed, Lineup
from serving.loading import Served
from serving.log import DecisionLog
from serving.metric_places import CAUSES, CODES, PARTS, ROUTES, SHADOWS
from serving.metrics import Meters
from serving.settings import ServiceSettings

ROOT = Path(payrescue.__file__).parent
NOW = 1_767_700_000_000_000


def samples(meters):
    """Every sample by its name and the values of its labels."""
    found = {}
    for family in text_string_to_metric_families(meters.text().decode()):
        for sample in family.samples:
            found[sample.name, *sample.labels.values()] = sample.value
    return found


@pytest.fixture
def clock():
    class Clock:
        now = 1_767_700_000.0

        def __call__(self):
            return self.now

    return Clock()


def test_a_request_is_counted_by_route_and_class_with_its_time():
    meters = Meters()
    meters.answered("/v1/score", 200, 0.0012)
    meters.answered("/v1/score", 200, 99.0)
    meters.answered("/v1/score", 422, 0.0001)
    meters.answered("/nowhere/4111111111111111", 404, 0.1)
    meters.answered("/healthz", 200, 0.1)
    found = samples(meters)
    assert found["payrescue_requests_total", "/v1/score", "2xx"] == 2
    assert found["payrescue_requests_total", "/v1/score", "4xx"] == 1
    assert found["payrescue_requests_total", "other", "4xx"] == 1
    assert found["payrescue_requests_total", "/livez", "2xx"] == 1
    bucket = "payrescue_request_seconds_bucket"
    by_bound = {bound: value for (name, *labels), value in found.items() if name == bucket for bound in labels}
    assert found[bucket, "0.001", "/v1/score"] == 1, by_bound
    assert found[bucket, "0.0015", "/v1/score"] == 2
    assert found[bucket, "2.5", "/v1/score"] == 2
    assert found["payrescue_request_seconds_count", "/v1/score"] == 3
    assert found["payrescue_request_seconds_sum", "/v1/score"] == pytest.approx(99.0013)


def test_the_labels_are_few_whatever_is_asked():
    meters = Meters()
    before = len(samples(meters))
    for i in range(500):
        meters.answered(f"/{i}", 200 + i % 300, 0.1)
        meters.problem(f"code_{i}")
    assert len(samples(meters)) == before
    assert before < 250


def test_suggestions_and_causes_are_counted(send, question, app, rules_app):
    for engine, deadline, cause in (
        (app._models.lineup().champion.engine, "0", "deadline"),
        (rules_app._models.lineup().champion.engine, "900", "no_model"),
    ):
        meters = Meters()
        counted = App(engine, meters=meters, clock=lambda: NOW)
        send(counted, "POST", "/v1/score", question, headers={"x-deadline-ms": deadline})
        send(counted, "POST", "/v1/score/batch", [question, question], headers={"x-deadline-ms": deadline})
        found = samples(meters)
        assert found["payrescue_degraded_total", cause] == 3
        assert sum(found["payrescue_suggestions_total", action] for action in ACTIONS) == 3


def test_a_model_that_fails_is_an_error(send, question, app, monkeypatch, caplog):
    meters = Meters()
    monkeypatch.setattr(type(app._models.lineup().champion.engine.predictor), "outcome", lambda *_: 1 / 0)
    with caplog.at_level(logging.CRITICAL):
        send(App(app._models.lineup().champion.engine, meters=meters, clock=lambda: NOW), "POST", "/v1/score", question)
    assert samples(meters)["payrescue_degraded_total", "error"] == 1


def test_problems_are_counted_by_code(send, question):
    meters = Meters()
    app = App(Engine(None), meters=meters, clock=lambda: NOW)
    send(app, "POST", "/v1/score", b"{")
    send(app, "POST", "/v1/score", question | {"cvv": 1})
    send(app, "GET", "/nowhere")
    found = samples(meters)
    assert {
        code: found["payrescue_problems_total", code] for code in CODES if found["payrescue_problems_total", code]
    } == {
        "malformed_json": 1,
        "security_code": 1,
        "not_found": 1,
    }


def test_calibration_is_of_the_last_hour(clock):
    meters = Meters(clock=clock)
    assert math.isnan(samples(meters)[("payrescue_calibration_observed",)])
    for p, succeeded in ((0.9, True), (0.5, False), (None, True)):
        meters.observe_outcome(p, succeeded, 3.0)
    clock.now += 1_800
    meters.observe_outcome(0.1, False, 30.0)
    found = samples(meters)
    assert found[("payrescue_calibration_outcomes",)] == 3
    assert found[("payrescue_calibration_predicted",)] == pytest.approx(0.5)
    assert found[("payrescue_calibration_observed",)] == pytest.approx(1 / 3)
    assert (found["payrescue_outcomes_total", "success"], found["payrescue_outcomes_total", "failure"]) == (2, 2)
    assert found["payrescue_outcome_delay_seconds_bucket", "5.0"] == 3
    clock.now += 1_900
    assert samples(meters)[("payrescue_calibration_outcomes",)] == 1
    clock.now += 365 * 86_400
    meters.observe_outcome(0.2, True, 1.0)
    assert samples(meters)[("payrescue_calibration_predicted",)] == pytest.approx(0.2)


def test_what_others_keep_is_asked_for():
    meters, kept = Meters(), {"waiting": 3, "lost": 1}
    meters.hook(log_backlog=lambda: kept["waiting"], log_dropped=lambda: kept["lost"])
    kept["waiting"] = 7
    meters.shed()
    meters.state_missed()
    found = samples(meters)
    names = ("log_backlog", "log_dropped_total", "shed_total", "state_misses_total", "access_log_dropped_total")
    assert [found[(f"payrescue_{name}",)] for name in names] == [7, 1, 1, 1, 0]


def test_the_model_is_named_with_its_age(clock):
    meters = Meters(clock=clock)
    meters.model("7", clock.now - 3_600)
    found = samples(meters)
    assert found["payrescue_model_info", "7"] == 1
    assert found[("payrescue_model_age_seconds",)] == 3_600


def count_elsewhere(folder):
    meters = Meters(Path(folder))
    meters.hook(log_backlog=lambda: 5)
    meters.model("8", 1_767_000_000.0)
    meters.answered("/v1/score", 200, 0.001)
    meters.observe_outcome(0.5, True, 1.0)
    meters.text()


def test_workers_are_summed_and_what_a_dead_one_counted_stays(tmp_path):
    ours = Meters(tmp_path)
    ours.answered("/v1/score", 200, 0.001)
    other = multiprocessing.get_context("spawn").Process(target=count_elsewhere, args=(str(tmp_path),))
    other.start()
    other.join()
    assert other.exitcode == 0
    found = samples(ours)
    assert found["payrescue_requests_total", "/v1/score", "2xx"] == 2
    assert found[("payrescue_workers",)] == 1
    assert found[("payrescue_log_backlog",)] == 0
    assert ("payrescue_model_info", "8") not in found


def test_cells_of_another_edition_or_half_made_are_left_alone(tmp_path):
    cells = Cells(3, tmp_path)
    (tmp_path / "1.cells").write_bytes(b"\0" * (LABEL_BYTES + 8))
    (tmp_path / "2.cells").write_bytes(b"")
    (tmp_path / "notes.txt").write_bytes(b"x")
    assert len(cells.read()) == 1


def test_a_label_that_is_too_long_is_cut_between_characters():
    cells = Cells(1)
    cells.name("é" * 200)
    assert cells.read()[0].label == "é" * (LABEL_BYTES // 2)


def test_every_route_of_the_service_is_counted_as_itself_or_as_other():
    named = set(App(Engine(None))._routes) - {"/healthz", "/openapi.json", "/docs.json", "/schema.json"}
    assert named <= set(ROUTES)


def test_without_meters_there_are_no_metrics(rules_app, send):
    assert send(rules_app, "GET", "/metrics").status_code == 404


def names_in(text):
    """The metrics that an expression names, as families: without what a histogram's samples add to its name."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"payrescue_\w+", text)}


@pytest.fixture
def exposed():
    return {name.removesuffix("_total") for name in re.findall(r"# TYPE (\w+)", Meters().text().decode())}


def without_total(names):
    return {name.removesuffix("_total") for name in names}


def test_every_metric_of_the_dashboard_is_there(exposed):
    board = json.loads((ROOT / "deploy" / "grafana" / "payrescue.json").read_text(encoding="utf-8"))
    named = without_total(
        names_in(" ".join(target["expr"] for panel in board["panels"] for target in panel["targets"]))
    )
    assert named - exposed == set()
    assert exposed - named == set(), "each metric has a panel"


def test_every_metric_of_the_alerts_is_there_and_so_are_its_labels(exposed):
    text = (ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text(encoding="utf-8")
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    for rule in rules:
        assert names_in(rule["expr"])
        assert without_total(names_in(rule["expr"])) - exposed == set()
        assert set(rule["annotations"]) == {"summary", "action"}
    labels = {"status": {"2xx", "3xx", "4xx", "5xx"}, "cause": set(CAUSES), "code": set(CODES), "route": set(ROUTES)}
    labels |= {"part": set(PARTS), "result": {*SHADOWS, "success", "failure"}}
    for label, value in re.findall(rf'({"|".join(labels)})[!=]?[=~]"([^"]+)"', text):
        assert set(value.split("|")) <= labels[label]


@pytest.mark.parametrize("words", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml")])
def test_prometheus_takes_the_alerts_and_they_fire_when_they_should(words):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here: it comes with Prometheus")
    folder = ROOT / "deploy" / "prometheus"
    done = subprocess.run([promtool, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not():
    folder = ROOT / "deploy" / "prometheus"
    groups = yaml.safe_load((folder / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    cases = yaml.safe_load((folder / "alerts_test.yaml").read_text(encoding="utf-8"))["tests"]
    told = [(test["alertname"], bool(test["exp_alerts"])) for case in cases for test in case["alert_rule_test"]]
    names = [rule["alert"] for group in groups for rule in group["rules"]]
    assert sorted(told) == sorted((name, fires) for name in names for fires in (True, False))


def test_what_others_stand_on_is_told_by_part_and_of_none_that_they_have_not():
    meters, up = Meters(), {"log": True, "state": False}
    assert [name for name in samples(meters) if name[0] == "payrescue_reachable"] == []
    meters.hook(reachable={part: lambda part=part: up[part] for part in up}, state_behind=lambda: 12)
    found = samples(meters)
    assert {part: value for (name, *parts), value in found.items() if name.endswith("reachable") for part in parts} == {
        "log": 1,
        "state": 0,
    }
    assert found[("payrescue_state_behind",)] == 12


def test_one_worker_that_does_not_reach_a_part_is_enough_as_long_as_it_lives(tmp_path):
    ours = Meters(tmp_path)
    ours.hook(reachable={"log": lambda: True}, state_behind=lambda: 3)
    code = "import sys; from pathlib import Path; from serving.metrics import Meters; m = Meters(Path(sys.argv[1]));"
    code += "m.hook(reachable={'log': lambda: False}, state_behind=lambda: 7); m.text(); print(flush=True); input()"
    words = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        found = samples(ours)
        other.communicate(b"\n")
    assert (found["payrescue_reachable", "log"], found[("payrescue_state_behind",)]) == (0, 7)
    found = samples(ours)
    assert (found["payrescue_reachable", "log"], found[("payrescue_state_behind",)]) == (1, 3)


def ask_and_tell(app, send, question, outcomes):
    """Asks about an attempt, and tells its outcome, `seconds` after it was known; for each of (outcome, seconds)."""
    for i, (outcome, seconds) in enumerate(outcomes):
        attempt = question["attempt"] | {"attempt_id": f"a{i}"}
        assert send(app, "POST", "/v1/score", {"attempt": attempt}).status_code == 200
        resolved = datetime.fromtimestamp(NOW / 1e6 - seconds, UTC).isoformat()
        told = {"attempt_id": f"a{i}", "resolved_at": resolved, "outcome": outcome}
        assert send(app, "POST", "/v1/outcomes", told).json()["accepted"] == 1


def test_calibration_delay_and_the_model_s_age_are_those_of_what_was_asked_and_told(app, send, question, tmp_path):
    engine = app._models.lineup().champion.engine  # says 0.6 of every attempt
    window = ["2026-01-01T00:00:00+00:00", "2026-01-04T11:46:40+00:00"]
    served = Served(engine, {"data": {"window": window}})
    log = DecisionLog(f"sqlite:///{tmp_path}/log.db", clock=lambda: NOW)
    meters = meters_of(ServiceSettings(), Fixed(served), log, None, clock=lambda: NOW / 1e6)
    counted = App(engine, models=Fixed(served), log=log, meters=meters, clock=lambda: NOW)
    told = [("success", 2), ("success", 40), ("success", 600), ("bank_decline", 2), ("technical", 90_000)]
    try:
        ask_and_tell(counted, send, question, told)
    finally:
        counted.close()
    found = samples(meters)
    names = ("calibration_outcomes", "calibration_predicted", "calibration_observed", "model_age_seconds")
    assert [found[(f"payrescue_{name}",)] for name in names] == pytest.approx([5, 0.6, 0.6, 172_800])
    bounds = ("1.0", "5.0", "60.0", "1800.0", "86400.0", "604800.0")
    assert [found["payrescue_outcome_delay_seconds_bucket", bound] for bound in bounds] == [0, 2, 3, 4, 4, 5]
    assert found[("payrescue_outcome_delay_seconds_sum",)] == pytest.approx(sum(seconds for _, seconds in told))
    assert found["payrescue_outcomes_total", "success"] == 3
    assert found["payrescue_model_info", "7"] == 1


class Challenger:
    """A model that fails at its second question."""

    def __init__(self, engine):
        self.engine, self.asked = engine, 0

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def score(self, *told, **options):
        self.asked += 1
        if self.asked == 2:
            raise ValueError
        return self.engine.score(*told, **options)


def test_what_becomes_of_shadows_is_counted(app, send, question):
    engine, seen, meters = app._models.lineup().champion.engine, [], Meters()
    arm = Arm("next", 1.0, model="models:/payrescue/8")
    shadow = (Experiment("e", "shadow", "s", (arm,)), {"next": Served(Challenger(engine))})

    class Models(Fixed):
        def lineup(self):
            return Lineup(Served(engine), shadows=(shadow,))

    counted = App(engine, models=Models(Served(engine)), meters=meters, on_shadow=seen.append, clock=lambda: NOW)
    for _ in range(3):
        send(counted, "POST", "/v1/score", question)
    until = time.monotonic() + 5
    while sum(count(samples(meters)).values()) < 3 and time.monotonic() < until:
        time.sleep(0.01)
    counted.close()
    assert count(samples(meters)) == {"scored": 2, "dropped": 0, "failed": 1}


def count(found):
    return {result: found["payrescue_shadows_total", result] for result in SHADOWS}
