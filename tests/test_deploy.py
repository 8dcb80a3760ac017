"""What is deployed: the Bento holds what it needs and nothing else, and the examples name what there is."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import payrescue
from models.engine import Engine
from serving.app import App
from serving.settings import ServiceSettings

ROOT = Path(payrescue.__file__).parent
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
KUBERNETES = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")))
CONTAINER = KUBERNETES[0]["spec"]["template"]["spec"]["containers"][0]


@pytest.fixture(scope="module")
def bento(tmp_path_factory):
    """The folder of a Bento, built from this checkout."""
    home = tmp_path_factory.mktemp("bento")
    environment = {**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "."],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = (home / "bentos" / "payrescue").glob("*/bento.yaml")
    return found.parent


def test_the_bento_holds_the_packages_that_serve_and_nothing_else(bento):
    held = {path.relative_to(bento / "src").as_posix() for path in (bento / "src").rglob("*") if path.is_file()}
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "features", "insights", "models", "serving"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("not a git checkout: which files are ours cannot be told")
    assert held - {"bentofile.yaml"} == {
        *listed.stdout.split(),
        "payrescue.py",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    }


def test_the_command_line_is_there_with_all_that_it_imports(bento):
    """Where the checkout is installed too, what is missing from the Bento would be found there."""
    told = (
        "import sys, payrescue; print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] in sys.argv[1:]))"
    )
    ours = ["payrescue", "features", "insights", "models", "serving", "training"]
    done = subprocess.run(
        [sys.executable, "-c", told, *ours], cwd=bento / "src", capture_output=True, text=True, check=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    assert {Path(file).relative_to(bento / "src").parts[0] for file in done.stdout.split()} >= {
        "payrescue.py",
        "insights",
    }


def test_the_bento_pins_its_packages_with_hashes(bento):
    pinned = (bento / "env" / "python" / "requirements.txt").read_text(encoding="utf-8")
    ours = (DEPLOY / "requirements.txt").read_text(encoding="utf-8")
    assert hashes(ours) - hashes(pinned) == set()
    assert "libgomp1" in (bento / "env" / "docker" / "Dockerfile").read_text(encoding="utf-8")


MISSES = """
import features.kernel, models.kernel, models.questions
from models.nothing import of_nothing
of_nothing()
compiled = [one for m in (features.kernel, models.kernel, models.questions) for one in vars(m).values() if hasattr(one, "stats")]
print(sum(sum(one.stats.cache_hits.values()) for one in compiled), sum(sum(one.stats.cache_misses.values()) for one in compiled))
"""


def test_an_image_has_compiled_what_a_first_start_would(bento, tmp_path):
    dockerfile = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    (command,) = re.findall(r"^RUN (.+)$", dockerfile, re.MULTILINE)
    shutil.copytree(bento / "src", tmp_path / "src")
    here = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "NUMBA_CACHE_DIR"}}
    here["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), here["PATH"]])
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env=here, check=True)
    started = subprocess.run(
        [sys.executable, "-c", MISSES], cwd=tmp_path / "src", env=here, capture_output=True, text=True, check=True
    )
    hits, misses = map(int, started.stdout.split())
    assert hits > 5
    assert misses == 0


def hashes(text):
    return set(re.findall(r"sha256:[0-9a-f]{64}", text))


def blocks(path):
    """Each package with its version and its hashes; for which Python it is wanted may differ by who else wants it."""
    found = re.split(r"\n(?=\S)", path.read_text(encoding="utf-8").strip())
    return {re.sub(r" ;[^\\]*\\", r" \\", block) for block in found}


def test_what_the_bento_pins_is_what_is_tested():
    served, tested = blocks(DEPLOY / "requirements.txt"), blocks(ROOT / "constraints.txt")
    assert served - tested == set()
    names = {re.split(r"[=\s]", block)[0] for block in served}
    assert {"bentoml", "mlflow", "numba", "redis", "psycopg"} <= names
    assert names & {"pytest", "hypothesis", "ruff", "mypy", "schemathesis"} == set()


def test_the_examples_set_what_can_be_set():
    known = {f"PAYRESCUE_{name.upper()}" for name in ServiceSettings.__dataclass_fields__} | {"MLFLOW_TRACKING_URI"}
    told = set(COMPOSE["services"]["payrescue"]["environment"]) | {entry["name"] for entry in CONTAINER["env"]}
    assert told - known == set()
    plain = {name: str(value) for name, value in COMPOSE["services"]["payrescue"]["environment"].items()}
    assert ServiceSettings.from_environment(plain).workers == 2


def test_whoever_listens_to_all_has_keys():
    for told in (
        COMPOSE["services"]["payrescue"]["environment"],
        {entry["name"]: entry.get("value") for entry in CONTAINER["env"]},
    ):
        assert told["PAYRESCUE_HOST"] == "0.0.0.0"
        assert told["PAYRESCUE_KEYS"]


def test_the_probes_ask_what_there_is():
    probes = {CONTAINER[kind]["httpGet"]["path"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probes == {"/livez", "/readyz"}
    assert probes <= set(App(Engine(None))._routes)


def test_it_is_drained_before_it_is_stopped():
    wait_s = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert wait_s + 30 < KUBERNETES[0]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]


def test_what_belongs_together_is_labelled_so():
    labels = KUBERNETES[0]["spec"]["template"]["metadata"]["labels"]
    assert KUBERNETES[0]["spec"]["selector"]["matchLabels"] == labels
    assert KUBERNETES[1]["spec"]["selector"] == labels
    assert KUBERNETES[2]["spec"]["selector"]["matchLabels"] == labels


def test_every_service_of_the_example_is_waited_for_by_name():
    services = COMPOSE["services"]
    assert set(services["payrescue"]["depends_on"]) == set(services) - {"payrescue"}
    for name, how in services["payrescue"]["depends_on"].items():
        assert how["condition"] == "service_started" or "healthcheck" in services[name]


def test_the_dashboard_s_panels_do_not_overlap():
    board = json.loads((DEPLOY / "grafana" / "payrescue.json").read_text(encoding="utf-8"))
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)


def test_the_script_is_one():
    script = DEPLOY / "check_bento.sh"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
