"""Put what the benchmarks found last into the README: `python -m benchmarks.readme`.

The README has a place for each benchmark, between `<!-- figures:NAME -->` and `<!-- /figures -->`. A place whose
benchmark has not run here is left as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import FOLDER, Figure, told

__all__ = ["fill", "names", "table"]

README = Path("README.md")
_PLACE = re.compile(r"(<!-- figures:(?P<name>\w+) -->\n)(?P<body>.*?)(<!-- /figures -->)", re.DOTALL)


def names(readme: str) -> dict[str, str]:
    """What stands in each place now, by the benchmark's name."""
    return {found["name"]: found["body"] for found in _PLACE.finditer(readme)}


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table."""
    lines = ["| what | measured | promised | compare with |", "|---|---|---|---|"]
    for figure in figures:
        promised = f"{figure.target} ({figure.verdict})" if figure.target else ""
        cells = (figure.what, f"{told(figure.value)} {figure.unit}".strip(), promised, figure.baseline or "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def fill(readme: str, found: Mapping[str, Sequence[Figure]]) -> str:
    """The README with the figures that were found in their places."""
    return _PLACE.sub(lambda place: _filled(place, found), readme)


def _filled(place: re.Match[str], found: Mapping[str, Sequence[Figure]]) -> str:
    name = place["name"]
    return f"{place[1]}{table(found[name])}{place[4]}" if name in found else place[0]


def _read(folder: Path) -> dict[str, list[Figure]]:
    read: dict[str, Any] = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))
    }
    return {name: [Figure(**figure) for figure in figures] for name, figures in read.items()}


if __name__ == "__main__":
    README.write_text(fill(README.read_text(encoding="utf-8"), _read(FOLDER)), encoding="utf-8")
