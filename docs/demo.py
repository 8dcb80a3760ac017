"""`make demo`: the main job on made-up payments, in a folder of its own, by the same commands that you would give.

Simulates payments, trains, serves, asks about one attempt before it is made and again after it has failed, says what
the answers mean and where the pages for product owners are, and stops what it started. Only `build/demo` is written; the
next demo replaces it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["about_attempt", "about_failure", "main", "questions", "service"]

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "demo"
PAYRESCUE = Path(sys.executable).with_name("payrescue")
PAYMENTS = 50_000
_OURS = ("data", "pages", "mlruns", "mlflow.db", "attempt.json", "failed.json", "service.log")
_READY_S = 120.0
_STOP_S = 15.0
_EVIDENCE = {
    "duration_s": "seconds that it took",
    "code_scheme": "whose code it is",
    "response_code": "the code",
    "advice_code": "the card network's advice",
    "trans_status": "3-D Secure status",
    "trans_status_reason": "and its reason",
    "last_event": "last thing the client saw",
}
_UNASKED = ("attempt_id", "payment_id", "created_at", "policy", "propensity", "experiment", "variant")
_OUTCOMES = {
    "success": "it succeeds",
    "authentication": "the bank cannot tell that it is the customer",
    "bank_decline": "the bank declines",
    "user_abandonment": "the customer gives up",
    "technical": "something breaks on the way",
}
_ACTIONS = {
    "proceed": "go on as it is",
    "retry_same": "try the same again",
    "retry_other_route": "try again by another route",
    "step_up": "try again, with authentication",
    "retry_later": "try again later",
    "fix_details": "have the customer correct the details",
    "alternate_method": "offer another way to pay",
    "resume_session": "bring the customer back to where they left",
    "check_status_first": "ask whether it went through before paying twice",
    "contact_bank": "have the customer ask their bank",
    "stop": "stop: another attempt would not help",
}
_SHOWN = 5
_WIDTH = 100


def say(text: str = "") -> None:
    """One line for the person who watches, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def percent(share: float | None) -> str:
    """A probability as people read it, six characters wide.

    >>> percent(0.724), percent(0.002), percent(None)
    ('  72 %', ' < 1 %', '     ?')
    """
    if share is None:
        return "     ?"
    return " < 1 %" if share < 0.01 else f"{100 * share:4.0f} %"


def way(method: str | None, route: str | None) -> str:
    """A way to pay in words.

    >>> way("quick_pay", "direct"), way("card", None)
    ('quick pay over direct', 'card')
    """
    words = (method or "the same method").replace("_", " ")
    return f"{words} over {route}" if route else words


def questions(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What to ask, as the service takes it: an attempt that is to be made, and the same after the bank said "05".

    Both are a card payment of the simulated market that failed with that code, made once more by the same customer
    ten minutes after the last attempt that the model has learnt from.
    """
    import pyarrow.parquet as pq

    card = [("country", "==", "KR"), ("method", "==", "card"), ("response_code", "==", "05")]
    found = pq.read_table(folder / "attempts.parquet", filters=card).to_pylist()
    firsts: dict[str, dict[str, Any]] = {}
    for row in found:
        firsts.setdefault(row["payment_id"], row)
    model = list(firsts.values())[-1]
    last = max(pq.read_table(folder / "attempts.parquet", columns=["created_at"])["created_at"].to_pylist())
    begin: datetime = last + timedelta(minutes=10)
    before = list(model)[: list(model).index("resolved_at")]
    attempt = {"attempt_id": "demo-a1", "payment_id": "demo-p1", "created_at": begin.isoformat()} | {
        name: model[name] for name in before if name not in _UNASKED and model[name] is not None
    }
    evidence = {name: model[name] for name in _EVIDENCE if model[name] is not None}
    candidates = pq.read_table(
        folder / "candidates.parquet", filters=[("attempt_id", "==", model["attempt_id"])]
    ).to_pylist()
    able = [
        {name: value for name, value in row.items() if name != "attempt_id" and value is not None} for row in candidates
    ]
    return {"attempt": attempt}, {"attempt": attempt, "evidence": evidence, "candidates": able}


def about_attempt(question: Mapping[str, Any], answer: Mapping[str, Any], texts: Mapping[str, str]) -> list[str]:
    """The answer before an attempt, in plain words."""
    attempt = question["attempt"]
    what = f"{attempt['amount_minor']:,} {attempt['currency']} by {way(attempt['method'], attempt.get('route'))}"
    lines = [f"A customer in {attempt['country']} is about to pay {what}. What will become of it:", ""]
    lines += [f"  {percent(p)}  {_OUTCOMES[name]}" for name, p in answer["outcome"].items()]
    return [*lines, *_advice(answer, texts), *_ranking(answer, {})]


def about_failure(question: Mapping[str, Any], answer: Mapping[str, Any], texts: Mapping[str, str]) -> list[str]:
    """The answer after a failure, in plain words."""
    evidence, found = question["evidence"], answer["diagnosis"]
    sure = f"{percent(found['confidence']).strip()} sure, decided by the {found['decided_by']}"
    lines = [
        f"The bank answered {evidence['response_code']}, which may mean almost anything. All that the attempt left behind:",
        *(f"  {_EVIDENCE[name]:<26} {value}" for name, value in evidence.items()),
        "",
        f"Why it failed, most likely: {found['reason'].replace('_', ' ')} ({sure}).",
    ]
    lines += [f"  {percent(p)}  {_OUTCOMES[name]}" for name, p in found["category_probability"].items()]
    others = [name.replace("_", " ") for name in found["plausible"] if name != found["reason"]]
    if others:
        told = f"Not ruled out, at 90 %: {', '.join(others)}."
        lines += textwrap.wrap(told, _WIDTH, initial_indent="  ", subsequent_indent="    ")
    asked = {candidate["candidate_id"]: candidate for candidate in question["candidates"]}
    return [*lines, *_advice(answer, texts), *_ranking(answer, asked)]


def _advice(answer: Mapping[str, Any], texts: Mapping[str, str]) -> list[str]:
    advice = answer["suggestion"]
    chance = percent(advice["success_probability"]).strip()
    what = _ACTIONS[advice["action"]]
    named = f": {way(advice['method'], advice['route'])}" if advice["method"] else ""
    return [
        "",
        f"What to do: {what}{named} ({chance} likely to succeed).",
        *(f"  because {reason}" for reason in advice["because"]),
        f'  and the customer reads: "{texts[advice["message_key"]]}"',
    ]


def _ranking(answer: Mapping[str, Any], asked: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What else checkout could do, best first; `asked` are the candidates of the request by id."""
    if not answer["ranking"]:
        return []
    lines = ["", "What checkout could do, best first:"]
    for row in answer["ranking"][:_SHOWN]:
        named = asked.get(row["candidate_id"])
        if named is None:
            method, _, route = row["candidate_id"].partition("/")
            words = way(method, route)
        else:
            words = way(named["method"], named.get("route"))
            if named.get("wait_s"):
                words += f", {named['wait_s'] / 60:.0f} minutes later"
            if named.get("auth_flow") not in (None, "none"):
                words += f", {named['auth_flow']}"
        lines.append(f"  {percent(row['success_probability'])}  {words:<50} {_ACTIONS[row['action']]}")
    left = len(answer["ranking"]) - _SHOWN
    if left > 0:
        lines.append(f"          and {left} more")
    lines += [f"  never   {block['candidate_id']}: rule {block['rule']}" for block in answer["blocked"]]
    return lines


def run(*words: str) -> None:
    """Give a `payrescue` command in the demo's folder. Raises CalledProcessError if it fails."""
    say(f"$ payrescue {' '.join(words)}")
    subprocess.run([PAYRESCUE, *words], cwd=FOLDER, env=_environment(), stdin=subprocess.DEVNULL, check=True)  # noqa: S603


def pages_of_the_run(folder: Path) -> None:
    """Take the pages that the training logged out of MLflow's store. Raises CalledProcessError if that fails."""
    script = (
        "import mlflow, sys\n"
        "client = mlflow.MlflowClient()\n"
        "run = client.get_model_version_by_alias('payrescue', 'champion').run_id\n"
        "mlflow.artifacts.download_artifacts(run_id=run, artifact_path='insights', dst_path=sys.argv[1])\n"
    )
    environment = _environment() | {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    with tempfile.TemporaryDirectory(dir=FOLDER) as beside:
        subprocess.run([sys.executable, "-c", script, beside], cwd=FOLDER, env=environment, check=True)  # noqa: S603
        Path(beside, "insights").rename(folder)


def _environment() -> dict[str, str]:
    """The user's, with an MLflow store in the demo's folder, and nothing that would change what is served."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PAYRESCUE_", "MLFLOW_"))}
    return kept | {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def service(command: list[str | Path], log: Path, port: int) -> Iterator[str]:
    """The service while it is needed: its address once it is ready. Stopped whatever happens, its workers too."""
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603
            command, cwd=log.parent, env=_environment(), stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        _wait(process, url, log)
        yield url
    finally:
        _stop(process)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        if process.poll() is not None:
            said = log.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
            raise RuntimeError(f"the service ended as it started; it said:\n{said}")
        try:
            ask(f"{url}/readyz")
        except (OSError, ValueError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"the service was not ready within {_READY_S:.0f} s; see {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)


def ask(url: str, body: Mapping[str, Any] | None = None) -> Any:
    """What the service answers to a GET, or to a POST of `body`."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})  # noqa: S310  our own address
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)


def _clear() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in _OURS:
        path = FOLDER / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _end(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> int:
    """The demo. 0 if all went well."""
    signal.signal(signal.SIGTERM, _end)
    began = time.monotonic()
    _clear()
    say(f"1. {PAYMENTS:,} payments of a made-up market, whose truth is known (in {FOLDER.relative_to(ROOT)})")
    run("simulate", "--out", "data", "--payments", str(PAYMENTS), "--seed", "1")
    say("\n2. A model of why they fail: checked, trained, judged against simpler ones, logged and registered")
    run("train", "--data", "data/attempts.parquet")
    port = _free_port()
    say(f"\n3. The service that checkout asks\n$ payrescue serve --port {port}")
    before, after = questions(FOLDER / "data")
    (FOLDER / "attempt.json").write_text(json.dumps(before, indent=1), encoding="utf-8")
    (FOLDER / "failed.json").write_text(json.dumps(after, indent=1), encoding="utf-8")
    with service([PAYRESCUE, "serve", "--port", str(port)], FOLDER / "service.log", port) as url:
        say(f"ready: version {ask(f'{url}/readyz')['version']} of the model answers")
        texts = ask(f"{url}/v1/messages/en")["messages"]
        say("\n4. Before the attempt: POST /v1/score with attempt.json\n")
        say("\n".join(about_attempt(before, ask(f"{url}/v1/score", before), texts)))
        say("\n5. After it has failed: POST /v1/score with failed.json, which adds what it left behind\n")
        say("\n".join(about_failure(after, ask(f"{url}/v1/score", after), texts)))
    say("\n6. The pages for product owners, in English and Korean")
    pages_of_the_run(FOLDER / "pages")
    say(
        f"open {FOLDER.relative_to(ROOT) / 'pages' / 'index.html'} in a browser: where payments fail, why, and what to change"
    )
    say(f"\nThe service is stopped. That was all of it, in {time.monotonic() - began:.0f} s. What to try next:")
    say(
        "  . .venv/bin/activate && cd build/demo    # where the demo's model and data are\n"
        "  payrescue serve --insights pages         # http://localhost:3000/insights; in another terminal, in the same folder:\n"
        "  curl -s localhost:3000/v1/score -H 'content-type: application/json' -d @failed.json\n"
        "  mlflow ui --backend-store-uri sqlite:///mlflow.db     # the training, its figures and pictures\n"
        "  payrescue train --data YOURS.csv --mapping YOURS.yaml  # your own attempts: see README.md"
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("\nstopped; nothing is left running")
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        say(f"\nthe demo ends here: the command above exited with {error.returncode}")
        sys.exit(1)
    except (RuntimeError, urllib.error.URLError) as error:
        say(f"\nthe demo ends here: {error}")
        sys.exit(1)
