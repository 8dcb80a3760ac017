import json
import logging
import math
import multiprocessing
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

import payrescue
from models.actions import ACTIONS
from models.engine import Engine
from serving.app import App
from serving.cells import LABEL_BYTES, Cells
from serving.metrics import CAUSES, CODES, ROUTES, Meters

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


class Model:
    """A model that says the same of everything, or fails."""

    fingerprint, code_text, plausible = "sha256:0", None, None

    def __init__(self, *, fails=False):
        self.fails = fails

    def ways_to_pay(self, country):
        return []

    def outcome(self, attempt, previous):
        return [0.6, 0.1, 0.1, 0.1, 1 / 0 if self.fails else 0.1]

    def candidate_success(self, attempt, previous, candidates):
        return [0.5 for _ in candidates]

    def reasons(self, attempt, previous, evidence):
        return {"generic_decline": 1.0}


@pytest.mark.parametrize(
    ("model", "deadline", "cause"),
    [
        (None, "900", "no_model"),
        (Model(), "0", "deadline"),
        (Model(fails=True), "60000", "error"),
        (Model(), "60000", None),
    ],
)
def test_suggestions_and_what_degraded_them_are_counted(send, question, model, deadline, cause, caplog):
    meters = Meters()
    app = App(Engine(model), meters=meters, clock=lambda: NOW)
    headers = {"x-deadline-ms": deadline}
    with caplog.at_level(logging.CRITICAL):
        send(app, "POST", "/v1/score", question, headers=dict(headers))
        send(app, "POST", "/v1/score/batch", [question, question], headers=dict(headers))
    found = samples(meters)
    assert sum(found["payrescue_suggestions_total", action] for action in ACTIONS) == 3
    assert {why: found["payrescue_degraded_total", why] for why in CAUSES} == dict.fromkeys(CAUSES, 0) | (
        {cause: 3} if cause else {}
    )


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
    labels = {"status": {"2xx", "4xx", "5xx"}, "cause": set(CAUSES), "code": set(CODES), "route": set(ROUTES)}
    for label, value in re.findall(r'(status|cause|code|route)[!=]?[=~]"([^"]+)"', text):
        assert set(value.split("|")) <= labels[label]


def test_prometheus_takes_the_alerts():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here: it comes with Prometheus")
    path = ROOT / "deploy" / "prometheus" / "alerts.yaml"
    done = subprocess.run([promtool, "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
