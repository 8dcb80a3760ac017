from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.attempts import check_attempts
from features.columns import CATEGORIES
from features.definitions import EVIDENCE_CODES, feature_names, features
from features.history import History, features_in_passing
from features.rows import Encoder, Rows
from models.additive import Additive, Curve
from models.artefact import Artefact, HeadParts, save
from models.heads import STAGES, Blend, Calibration
from training.simulator import simulate


@pytest.fixture(scope="session")
def attempts() -> pd.DataFrame:
    """A small simulated market, checked."""
    return check_attempts(simulate(1_500, seed=6).attempts, now=datetime(2026, 6, 1, tzinfo=UTC))


@pytest.fixture(scope="session")
def encoder(attempts: pd.DataFrame) -> Encoder:
    return Encoder.fit(attempts)


@pytest.fixture(scope="session")
def rows(attempts: pd.DataFrame, encoder: Encoder) -> Rows:
    return encoder.from_table(attempts)


@pytest.fixture(scope="session")
def past(rows: Rows) -> History:
    """What is known once all of the attempts have ended."""
    history = History()
    history.record(rows)
    return history


@pytest.fixture(scope="session")
def matrix(rows: Rows) -> np.ndarray:
    return features_in_passing(rows, History())


def trained(matrix: np.ndarray, answer: np.ndarray, classes: tuple[str, ...], columns: list[int]) -> HeadParts:
    import lightgbm as lgb

    coded = {place for place, feature in enumerate(features()) if feature.categories}
    coded |= {len(features()) + 1 + place for place in range(len(EVIDENCE_CODES))}
    k = 1 if len(classes) == 2 else len(classes)
    parameters = {
        "objective": "binary" if k == 1 else "multiclass",
        "num_leaves": 8,
        "min_data_in_leaf": 5,
        "num_threads": 1,
        "verbose": -1,
        **({} if k == 1 else {"num_class": k}),
    }
    data = lgb.Dataset(
        np.ascontiguousarray(matrix[:, columns]),
        answer,
        categorical_feature=[place for place, column in enumerate(columns) if column in coded],
        params=parameters,
    )
    text = lgb.train(parameters, data, 12).model_to_string()
    rng = np.random.default_rng(k)
    calibration = Calibration(np.eye(k) * 0.9 + rng.normal(0, 0.02, (k, k)), rng.normal(0, 0.1, k))
    return HeadParts(text, tuple(columns), classes, calibration)


@pytest.fixture(scope="session")
def evidence(attempts: pd.DataFrame, encoder: Encoder) -> np.ndarray:
    return encoder.evidence_of_table(attempts)


@pytest.fixture(scope="session")
def heads(rows: Rows, encoder: Encoder, matrix: np.ndarray, evidence: np.ndarray) -> dict[str, HeadParts]:
    """Small heads, as a training gives them: each over columns of its own, and calibrated; one with curves beside it."""
    known = rows.outcome >= 0
    some, every = list(range(0, len(feature_names()), 2)), list(range(len(feature_names())))
    reasons = encoder.vocabularies["reason"][:4]
    told = (rows.outcome > 0) & (rows.outcome < 5) & (rows.reason >= 0) & (rows.reason < len(reasons))
    everything = np.hstack([matrix, evidence])
    stages = {}
    for name in STAGES:
        fell = rows.outcome[known] == 1 + CATEGORIES.index(name)
        stages[name] = trained(matrix[known], fell, (name, "passed"), every)
    curves = Additive(0.1, (Curve(0, (0.0, 10.0), (-0.2, 0.3), 0.1), Curve(12, (), (0.2, -0.1), 0.0)))
    stages["technical"] = replace(stages["technical"], additive=curves)
    return {
        "success": trained(matrix[known], rows.outcome[known] == 0, ("success", "failure"), some),
        **stages,
        "reason": trained(everything[told], rows.reason[told], reasons, list(range(40, everything.shape[1]))),
    }


@pytest.fixture(scope="session")
def artefact(encoder: Encoder, heads: dict[str, HeadParts], past: History) -> Artefact:
    return Artefact(
        encoder=encoder,
        heads=heads,
        validated={"success": heads["success"]},
        blend=Blend(0.1, 0.3, 0.6),
        category_shares=(0.2, 0.4, 0.3, 0.1),
        history=past,
        code_text=None,
        ways={"KR": [("card", "north"), ("wallet", None)]},
        window={"from": 1, "until": past.until, "judged_from": 2},
        about={"rows": 1_500, "note": "Zürich 서울"},
    )


@pytest.fixture
def folder(artefact: Artefact, tmp_path: Path) -> Path:
    """A fresh copy of the artefact on disk."""
    save(artefact, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(scope="session")
def every_field(attempts: pd.DataFrame) -> list[dict[str, Any]]:
    """Each attempt as the fields of a request: missing ones absent, times in microseconds."""
    plain = {}
    for name in attempts:
        values = attempts[name]
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            stamps = values.to_numpy("datetime64[us]").astype(np.int64)
            values = pd.Series(stamps, dtype="Int64").mask(values.isna().to_numpy())
        plain[name] = values.astype(object).where(values.notna(), None).to_list()
    return [{name: values[i] for name, values in plain.items() if values[i] is not None} for i in range(len(attempts))]
