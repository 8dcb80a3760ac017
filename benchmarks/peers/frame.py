"""The same model behind FastAPI, through a DataFrame, as most would serve it: `uvicorn benchmarks.peers.frame:app`."""

import os
from typing import Any

import mlflow
import pandas as pd
from fastapi import FastAPI

model = mlflow.pyfunc.load_model(os.environ["PEER_MODEL"])
app = FastAPI()


@app.post("/score")
def score(attempts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Probabilities of each attempt."""
    frame = pd.DataFrame(attempts)
    frame["created_at"] = pd.to_datetime(frame["created_at"])
    numbers = frame.select_dtypes(["bool", "int64"]).columns.difference(["amount_minor"])
    frame = frame.astype(dict.fromkeys(numbers, "float64"))  # as the signature has them
    told: list[dict[str, Any]] = model.predict(frame).to_dict(orient="records")
    return told
