"""What a person sees while a command works: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

__all__ = ["progress"]

Tell = Callable[[str], None]


@contextlib.contextmanager
def progress(what: str) -> Iterator[tuple[Tell, Callable[[float], None]]]:
    """`tell` a step's result, and how far the work is (0 to 1); to standard error, so that output stays output."""
    began = time.perf_counter()
    if not sys.stderr.isatty():
        last = [-1]

        def line(text: str) -> None:
            sys.stderr.write(f"{time.perf_counter() - began:7.1f} s  {text}\n")
            sys.stderr.flush()

        def quarter(done: float) -> None:
            if int(done * 4) > last[0]:
                last[0] = int(done * 4)
                line(f"{what}: {done:.0%}")

        yield line, quarter
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task(what, total=None)
        yield bar.console.print, lambda done: bar.update(task, total=1.0, completed=done)
