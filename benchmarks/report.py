"""What a benchmark found, as a table for people and a JSON file for whatever compares runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["FOLDER", "Figure", "at_least", "at_most", "publish", "told"]

FOLDER = Path("build", "bench")


@dataclass(frozen=True)
class Figure:
    """One measure. `target` is in words ("≤ 30"), `holds` whether it was met; both None where nothing was promised.

    `baseline` names what the value is to be compared with, and that one's figure.
    """

    what: str
    value: float
    unit: str
    target: str | None = None
    holds: bool | None = None
    baseline: str | None = None

    @property
    def verdict(self) -> str:
        """How it stands against its target, in a word."""
        return {True: "holds", False: "MISSED", None: ""}[self.holds]


def at_most(what: str, value: float, unit: str, limit: float, baseline: str | None = None) -> Figure:
    """A measure that is to be no larger than a limit."""
    return Figure(what, value, unit, f"≤ {told(limit)}", value <= limit, baseline)


def at_least(what: str, value: float, unit: str, limit: float, baseline: str | None = None) -> Figure:
    """A measure that is to be no smaller than a limit."""
    return Figure(what, value, unit, f"≥ {told(limit)}", value >= limit, baseline)


def publish(name: str, figures: Sequence[Figure], folder: Path = FOLDER) -> None:
    """Print the figures as a table, and write them to `folder`/`name`.json, a list with an object for each."""
    header = ("what", "value", "unit", "target", "", "compare with")
    lines = [
        header,
        *((f.what, told(f.value), f.unit, f.target or "", f.verdict, f.baseline or "") for f in figures),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    print(f"\n{name}")
    for line in lines:
        cells = [
            cell.rjust(width) if column == 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  " + "  ".join(cells).rstrip())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps([asdict(figure) for figure in figures], indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"  written to {path}")


def told(value: float) -> str:
    """A number with as many digits as anyone will read."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
