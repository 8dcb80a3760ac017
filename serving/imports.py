"""Imports large libraries without what they take only because it is installed: a start waits for it, and nobody uses it."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

__all__ = ["import_mlflow", "importing_without"]

_WHOLE = "PAYRESCUE_WHOLE_MLFLOW"
_log = logging.getLogger("bentoml.payrescue")
_NOT_ADDED = "Failure attempting to register"  # MLflow says so of what it could not import, and goes on


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
    """MLflow, for a process that only asks a registry: as its small edition, mlflow-skinny, is, without what tables take.

    That would be a fifth of the time until its first answer, and 60 MB. What was imported without it stays so: where MLflow
    or something that was added to it cannot do without, the process begins anew, and imports everything.
    """
    if "mlflow" not in sys.modules and _WHOLE not in os.environ and not _can_do_without("numpy", "pandas", "scipy"):
        os.environ[_WHOLE] = "yes"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  itself; its standard input stays
    return importlib.import_module("mlflow")


def _can_do_without(*names: str) -> bool:
    """Import MLflow; whether neither it nor what was added to it (stores of others, by entry points) misses these modules."""
    with warnings.catch_warnings(record=True) as told, importing_without(*names):
        warnings.simplefilter("always")
        try:
            importlib.import_module("mlflow").MlflowClient()  # which imports the rest
        except ImportError:
            return False
        except Exception as error:
            _log.debug("MLflow's client cannot be made (%s); whoever asks it is told", type(error).__name__)
    return not any(_NOT_ADDED in str(one.message) for one in told)
