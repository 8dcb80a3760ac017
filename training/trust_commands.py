"""The commands that show whether a model is to be trusted: what made it, whether it still holds, who put it in service."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features.errors import ArtifactMismatch, BadInput
from training.console import progress
from training.own import read_for

__all__ = ["champions", "monitor", "reproduce"]


def champions(name: str, *, as_json: bool) -> None:
    """`payrescue champions`."""
    from training import promotion, tracking

    tracking.store()
    told = promotion.history(name)
    if as_json:
        print(json.dumps([vars(move) for move in told], ensure_ascii=False, indent=1))  # noqa: T201
        return
    lines = [f"{'when (UTC)':<21}{'who':<24}{'by':<10}{'from':>6}{'to':>6}  why"]
    lines += [
        f"{move.at[:19].replace('T', ' '):<21}{move.who or 'unknown':<24}{move.by:<10}{move.old or 'none':>6}{move.new:>6}"
        f"  {move.reason or 'no reason given'}"
        for move in told
    ]
    print("\n".join(lines) if told else f"{name} has had no champion yet")  # noqa: T201


def monitor(
    data: str,
    query: str | None,
    mapping: str | None,
    history: str | None,
    model: str,
    output: Path | None,
) -> None:
    """`payrescue monitor`."""
    with progress("monitoring") as (tell, _):
        from models.artefact import load
        from training import tracking
        from training.monitor import monitor as compare
        from training.monitor_output import lines, write
        from training.snapshot import FORMAT, SNAPSHOT

        tracking.store()
        folder, version = tracking.folder_of(model)
        artefact = load(folder)
        kept = _read(folder / SNAPSHOT) if (folder / SNAPSHOT).is_file() else {}
        if kept.get("format") != FORMAT:
            raise BadInput("model", message=f"{model}: holds no {SNAPSHOT} of this version; train again to have one")
        table, past = read_for([artefact], data, query, mapping, history, tell)
        name = f"version {version}" if version else model
        report = compare(artefact, kept, table, past=past)
        if output is not None:
            write(report, name, output)
    print("\n".join(lines(report, name)))  # noqa: T201
    if output is not None:
        print(f"{output}/: monitor.html to read, monitor.json, monitor.prom for Prometheus")  # noqa: T201


def reproduce(run_id: str, data: str | None, mapping: str | None) -> None:
    """`payrescue reproduce`; exits with 1 where another artefact comes out."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with progress("reproducing") as (tell, _):
        from models.artefact import save
        from training import tracking
        from training.engine import engine
        from training.reproduce import artefact_hash, differences, environment, origin_of, settings_of
        from training.snapshot import SNAPSHOT, snapshot_of
        from training.train import check_enough, learn

        tracking.store()
        then = tracking.recorded(run_id)
        origin, settings = then["origin"], settings_of(then["settings"])
        source, mapped = data or origin["data"], mapping or origin["mapping"]
        if ":***@" in source:
            raise BadInput("reproduce", message=f"{source}: its password was not kept; want it by --data URL")
        other = differences(then["environment"], environment())
        with engine("local", None, settings, tell) as work, tempfile.TemporaryDirectory() as temporary:
            table = work.read(source, origin["query"], mapped, now=datetime.now(UTC))
            check_enough(table, tracking.without_password(source))
            here = origin_of(source, origin["query"], mapped, table, settings.own)
            for name, was, now in (
                ("data", origin["sha256"], here.sha256),
                ("mapping", origin["mapping_sha256"], here.mapping_sha256),
            ):
                if was != now:
                    other.insert(0, f"{name}: sha256 {str(was)[:12]} then, {str(now)[:12]} now")
            trained = learn(work.prepare(table), settings, tell, fit=work.fit)
            folder = Path(temporary, "model")
            save(trained.artefact, folder)
            tracking.add_to(folder, SNAPSHOT, snapshot_of(trained))
            now = artefact_hash(folder)
            unlike = _unlike(then["artefact"]["files"], folder, run_id) if now != then["artefact"]["sha256"] else []
    lines = [f"run {run_id}, {here.attempts:,} attempts of {origin['data']}"]
    lines += [f"  differs: {one}" for one in other] or ["  the same data, settings, commit, packages and machine"]
    lines.append(f"artefact then  {then['artefact']['sha256']}")
    lines.append(f"artefact now   {now}")
    lines += [f"  another {one}" for one in unlike]
    lines.append("NOT reproduced" if unlike else "reproduced: every file of the artefact is the same")
    print("\n".join(lines))  # noqa: T201
    if unlike:
        sys.exit(1)


def _unlike(then: Mapping[str, str], folder: Path, run_id: str) -> list[str]:
    """The files that came out otherwise; of model.json, which of its parts, where the run's own can still be read."""
    files = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    now = {name: known["sha256"] for name, known in files.items()}
    names = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    told = []
    for name in names:
        parts = _parts(run_id, folder) if name == "model.json" else []
        told.append(f"{name} ({', '.join(parts)})" if parts else name)
    return told


def _parts(run_id: str, folder: Path) -> list[str]:
    from training import tracking

    try:
        there = tracking.folder_of(f"runs:/{run_id}/model")[0]
    except (BadInput, ArtifactMismatch):
        return []
    was, now = ({**_read(one / "model.json")} for one in (there, folder))
    return [name for name in sorted({*was, *now}) if was.get(name) != now.get(name)]


def _read(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read
