"""Imports large libraries without what they take only because it is installed: a start waits for it, and nobody uses it."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any

__all__ = ["import_mlflow", "importing_without"]


@contextlib.contextmanager
def importing_without(*names: str) -> Iterator[None]:
    """Whatever is imported within takes it that these modules are not installed; those that are there already stay."""
    withheld = [name for name in names if name not in sys.modules]
    for name in withheld:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's way to say that a module is not to be had
    try:
        yield
    finally:
        for name in withheld:
            del sys.modules[name]


def import_mlflow() -> Any:
    """MLflow, to ask a registry: as its small edition, mlflow-skinny, is, without the libraries that tables take.

    They would be a quarter of the time until its first answer, and 25 MB.
    """
    if "mlflow" not in sys.modules:
        with contextlib.suppress(ImportError), importing_without("numpy", "pandas", "scipy"):
            importlib.import_module("mlflow").MlflowClient()  # it imports the rest when the first is made
    return importlib.import_module("mlflow")
