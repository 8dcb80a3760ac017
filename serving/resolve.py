"""Asks the MLflow registry where a model is: `python -m serving.resolve models:/payrescue@champion`.

Run as a process of its own, so that the service never imports MLflow: that costs seconds and 150 MB. Prints
one line of JSON: `{"folder": …, "version": …}`, or `null` where the registry has no such model.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout

from serving.found import MODEL_URI
from serving.imports import import_mlflow

__all__ = ["main", "resolve"]


def resolve(uri: str) -> dict[str, str] | None:
    """The folder and version of `models:/NAME@ALIAS` or `models:/NAME/VERSION`; None where there is none.

    Raises ValueError for another form, and MLflow's errors where the registry cannot be asked.
    """
    told = MODEL_URI.fullmatch(uri)
    if told is None:
        raise ValueError("a model URI is models:/NAME@ALIAS or models:/NAME/VERSION")
    mlflow = import_mlflow()
    from mlflow.exceptions import MlflowException

    name, version = told["name"], told["version"]
    try:
        if version is None:
            version = str(mlflow.MlflowClient().get_model_version_by_alias(name, told["alias"]).version)
        folder = mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{name}/{version}")
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise
    return {"folder": str(folder), "version": version}


def main(arguments: list[str]) -> int:
    """Prints the answer for the one argument; MLflow's own words go to standard error. 1 if it failed."""
    with redirect_stdout(sys.stderr):
        try:
            answer = resolve(arguments[0])
        except Exception as error:
            # The error's text may name a server with its password.
            sys.stderr.write(f"{type(error).__name__}\n")
            return 1
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
