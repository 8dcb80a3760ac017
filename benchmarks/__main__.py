"""Run the benchmarks that are named, or all of them: `python -m benchmarks [NAME…]`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

from benchmarks.report import Figure, publish

BENCHMARKS = {
    "features": "benchmarks.features",
    "training": "benchmarks.training",
    "engine": "benchmarks.engine",
    "state": "benchmarks.state",
    "quality": "benchmarks.quality",
    "rules": "benchmarks.rules",
    "codes": "benchmarks.codes",
    "diagnosis": "benchmarks.diagnosis",
    "policies": "benchmarks.policies",
    "decisions": "benchmarks.decisions",
    "opportunities": "benchmarks.opportunities",
    "experiments": "benchmarks.experiments",
    "report": "benchmarks.pages",
    "serving": "benchmarks.serving",
    "anatomy": "benchmarks.anatomy",
}
"""Module by name, in the order in which they run; each has `figures()`."""


def main(names: Sequence[str]) -> int:
    """Exit code: 0 whatever the figures are, 2 for a name that is none."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the commands do: spinning threads would measure each other
    there = {name: module for name, module in BENCHMARKS.items() if find_spec(module) is not None}
    unknown = [name for name in names if name not in there]
    if unknown:
        print(f"benchmarks: {', '.join(unknown)}: want of {', '.join(there)}", file=sys.stderr)
        return 2
    missed: list[tuple[str, Figure]] = []
    for name in names or there:
        figures = import_module(there[name]).figures()
        publish(name, figures)
        missed += [(name, figure) for figure in figures if figure.holds is False]
    for name, figure in missed:
        print(f"MISSED {name}: {figure.what} is {figure.value:.4g} {figure.unit}, want {figure.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
