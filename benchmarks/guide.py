"""Run docs/guide.md and docs/notebook.ipynb as their readers would: `python -m benchmarks.guide` puts what they print into them.

A block of `sh` is run in one shell; a block of `yaml` whose first line is `# NAME` is written to that file. After a block,
`<!-- output -->` is followed by what it printed; with a number, by so many lines of it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbclient import NotebookClient

__all__ = ["DOCUMENT", "NOTEBOOK", "printed", "run_notebook", "with_output"]

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "guide.md"
NOTEBOOK = DOCUMENT.with_name("notebook.ipynb")
_STEP = re.compile(
    r"^```yaml\n# (?P<file>\S+)\n(?P<yaml>.*?)^```$"
    r"|^```sh\n(?P<sh>.*?)^```$(?P<between>\n+<!-- output(?:: (?P<lines>\d+))? -->\n)?(?P<output>```\n.*?^```$)?",
    re.DOTALL | re.MULTILINE,
)
_FOR_A_PERSON = ("mlflow ui", "payrescue serve")  # these go on until somebody stops them


def printed(guide: str, folder: Path) -> list[str]:
    """What each block of commands of the guide with an output prints, run in a folder that stands for the checkout."""
    (folder / "docs").symlink_to(DOCUMENT.parent)
    at, found = folder, []
    for step in _STEP.finditer(guide):
        if step["file"]:
            (at / step["file"]).write_text(step["yaml"], encoding="utf-8")
            continue
        if step["sh"].startswith(_FOR_A_PERSON):
            continue
        told = _run(step["sh"], at)
        if step["sh"].startswith("mkdir guide"):
            at = folder / "guide"
        if step["between"]:
            found.append(_shown(told, int(step["lines"]) if step["lines"] else None))
    return found


def with_output(guide: str, told: list[str]) -> str:
    """The guide with the outputs, in their order, in their places."""
    left = iter(told)
    filled: Callable[[re.Match[str]], str] = lambda step: (  # noqa: E731
        f"```sh\n{step['sh']}```{step['between']}```\n{next(left)}```" if step["between"] else step[0]
    )
    return _STEP.sub(filled, guide)


def _run(commands: str, folder: Path) -> str:
    """What a shell prints: standard output, and in its place what a command that was refused said of it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PAYRESCUE_", "MLFLOW_"))}
    done = subprocess.run(
        ["bash", "-c", commands],
        cwd=folder,
        env=kept
        | {"PATH": f"{Path(sys.executable).parent}:{kept['PATH']}", "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    refused = [line for line in done.stderr.splitlines() if line.startswith("payrescue: ")]
    if done.returncode and not refused:
        raise RuntimeError(f"{commands}\nended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout + "".join(f"{line}\n" for line in refused)


def _shown(told: str, lines: int | None) -> str:
    """As the guide shows it: nobody's name and host, and not more lines than it wants."""
    told = re.sub(r"\b[\w.-]+@[\w.-]+ *", lambda who: "you@desk".ljust(len(who[0])), told)
    every = [line.rstrip() for line in told.strip("\n").splitlines()]
    if lines is not None and lines < len(every):
        every = [*every[:lines], f"  … and {len(every) - lines} lines more"]
    return "".join(f"{line}\n" for line in every)


def run_notebook(path: Path) -> nbformat.NotebookNode:
    """The notebook with what its cells print and draw. Raises CellExecutionError for a cell that fails."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parents[1])}})
    client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran is nobody's
        if cell.cell_type == "code":
            cell.outputs = _joined([output for output in cell.outputs if output.get("name") != "stderr"])
    return notebook


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Text that came in pieces, as one."""
    joined: list[nbformat.NotebookNode] = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream":
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


if __name__ == "__main__":
    nbformat.write(run_notebook(NOTEBOOK), NOTEBOOK)
    guide = DOCUMENT.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        DOCUMENT.write_text(with_output(guide, printed(guide, Path(scratch))), encoding="utf-8")
