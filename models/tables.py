"""Whole tables through a model: scores, diagnoses and recommendations, with the same arithmetic as a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.columns import CATEGORIES, OUTCOMES, after_columns
from features.errors import BadInput, Fault
from features.history import History, features_in_passing
from features.others import Apart
from features.rows import Rows
from models.artefact import Artefact
from models.diagnosis import by_code, by_model, by_rules, read_evidence
from models.engine import Engine, ScoreRequest
from models.predictor import Predictor
from models.rules import RuleBook
from models.value import Worth

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EVIDENCE", "check_candidates", "diagnose_table", "fields_of", "matrix_of", "recommend_table", "score_table"]

Array = npt.NDArray[Any]
Tell = Callable[[str], None]


def matrix_of(
    artefact: Artefact, table: pd.DataFrame, past: pd.DataFrame | None = None, apart: Apart | None = None
) -> Array:
    """Features of `table`'s attempts, shape (n, n_features), each as things stood at its `created_at`.

    The past is `past` and the table's own earlier attempts, as they resolve. Without `past` it begins with what the model
    carries from the end of its training, provided that the table begins later; else with nothing, since that would be
    knowledge from the future. `apart` says what else there is where this is a part of a larger table.
    """
    import pandas as pd

    everything = table if past is None else pd.concat([_without(past, table), table], ignore_index=True)
    for name in everything.columns:
        if name in table and isinstance(table[name].dtype, pd.CategoricalDtype):
            everything[name] = everything[name].astype("category")
    wanted = np.zeros(len(everything), bool)
    wanted[len(everything) - len(table) :] = True
    rows = artefact.encoder.from_table(everything)
    if apart is None:
        return features_in_passing(rows, _carried(artefact, rows) if past is None else History(), wanted)
    rows.position = apart.position
    history = _carried(artefact, rows, apart) if past is None else History()
    return features_in_passing(rows, history, wanted, others=apart.others)


def _carried(artefact: Artefact, rows: Rows, apart: Apart | None = None) -> History:
    """The past that the model carries, or none if these attempts begin before its end."""
    begun = apart.begun if apart is not None else int(rows.created.min()) if len(rows) else -1
    return artefact.history.copy() if begun >= artefact.history.until else History()


def _without(past: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The past attempts that are not also asked about."""
    kept: pd.DataFrame = past[~past["attempt_id"].isin(table["attempt_id"])]
    return kept


def score_table(
    artefact: Artefact, table: pd.DataFrame, past: pd.DataFrame | None = None, apart: Apart | None = None
) -> pd.DataFrame:
    """`attempt_id` and P(outcome) of each attempt, `p_success` and so on, in the table's order."""
    import pandas as pd

    told = artefact.outcome_model().outcome_probability(matrix_of(artefact, table, past, apart))
    scores = pd.DataFrame(told, columns=[f"p_{name}" for name in OUTCOMES])
    scores.insert(0, "attempt_id", table["attempt_id"].to_numpy())
    return scores


def diagnose_table(artefact: Artefact | None, table: pd.DataFrame, past: pd.DataFrame | None = None) -> pd.DataFrame:
    """Why each failed attempt failed, from what it left behind; its own `outcome` and `reason` are not looked at.

    One row per attempt that is not known to have succeeded and has ended: category, reason, who decided, confidence,
    P(category) and the reasons that cannot be ruled out, joined by `|`. Without a model the codes and rules speak alone.
    """
    import pandas as pd

    failed = np.ones(len(table), bool)
    if "outcome" in table:
        failed = (table["outcome"].notna() & (table["outcome"].astype(str) != "success")).to_numpy()
    asked = table[failed].reset_index(drop=True)
    probabilities: list[dict[str, float]] = [{}] * len(asked)
    if artefact is not None and len(asked):
        model = artefact.outcome_model()
        if model.reason is not None:
            matrix = matrix_of(artefact, table, past)[failed]
            names, told = model.reason_probability(matrix, artefact.encoder.evidence_of_table(asked))
            probabilities = [dict(zip(names, row, strict=True)) for row in told.tolist()]
    texts, least = (artefact.code_text, artefact.plausible) if artefact is not None else (None, {})
    evidence = fields_of(asked[[name for name in EVIDENCE if name in asked]])
    brands = asked["card_brand"].astype(object).to_list() if "card_brand" in asked else [None] * len(asked)
    out = []
    for attempt_id, left, brand, told_by_model in zip(
        asked["attempt_id"], evidence, brands, probabilities, strict=True
    ):
        codes = read_evidence(left, brand if isinstance(brand, str) else None, texts)
        found = by_code(codes) or (by_model(told_by_model, least) if told_by_model else None)
        found = found or by_rules(codes, left.get("last_event"))
        shares = found.category_probability if found else {}
        out.append(
            {
                "attempt_id": attempt_id,
                "category": found.category if found else None,
                "reason": found.reason if found else None,
                "decided_by": found.decided_by if found else None,
                "confidence": found.confidence if found else None,
                **{f"p_{name}": shares.get(name, 0.0 if shares else None) for name in CATEGORIES},
                "plausible": "|".join(found.plausible) if found else None,
            }
        )
    columns = [
        "attempt_id",
        "category",
        "reason",
        "decided_by",
        "confidence",
        *(f"p_{c}" for c in CATEGORIES),
        "plausible",
    ]
    return pd.DataFrame(out, columns=columns)


EVIDENCE = [name for name in after_columns() if name not in {"outcome", "reason", "resolved_at"}]
"""What an attempt leaves behind."""


def recommend_table(
    artefact: Artefact | None,
    table: pd.DataFrame,
    candidates: pd.DataFrame,
    past: pd.DataFrame | None = None,
    tell: Tell = lambda _: None,
    rules: RuleBook | None = None,
    worth: Worth | None = None,
    apart: Apart | None = None,
) -> pd.DataFrame:
    """What to do after each attempt that has candidates: every candidate with its rank, action, probability and expected value
    (minor units).

    A candidate that a rule forbids has no rank, and the rule in `blocked_by`. An attempt that failed is asked about with the
    evidence that it left; one without an outcome, before it is made. `rules` are the shipped ones if not given;
    `worth` weighs what can be done, by success alone if not given. `apart` says what else there is where this is a part of a
    larger table.
    """
    import pandas as pd

    check_candidates(candidates, table)
    everything = table if past is None else pd.concat([_without(past, table), table], ignore_index=True)
    order = everything["created_at"].argsort(kind="stable").to_numpy()
    fields = fields_of(everything)
    asked = _grouped(candidates)
    moving = _MovingPast(artefact, everything, fields, rules, worth, apart)
    out: list[dict[str, Any]] = []
    earlier: dict[str, list[int]] = {}
    begun = set(table["attempt_id"])
    done = 0
    for place in order.tolist():
        attempt = fields[place]
        mine = asked.get(attempt["attempt_id"]) if attempt["attempt_id"] in begun else None
        if mine:
            done += 1
            if done % 5000 == 0:
                tell(f"{done:,} of {len(asked):,} attempts")
            previous = [fields[j] for j in earlier.get(attempt["payment_id"], [])]
            out += _recommended(moving.engine_at(attempt), attempt, previous, mine)
        earlier.setdefault(attempt["payment_id"], []).append(place)
    columns = [
        "attempt_id", "candidate_id", "rank", "action", "success_probability", "expected_value", "blocked_by",
    ]  # fmt: skip
    result = pd.DataFrame(out, columns=columns)
    result["rank"] = result["rank"].astype("Int64")
    return result


class _MovingPast:
    """An engine whose past moves with the table: what was known when an attempt had ended."""

    def __init__(
        self,
        artefact: Artefact | None,
        table: pd.DataFrame,
        fields: list[dict[str, Any]],
        rules: RuleBook | None,
        worth: Worth | None,
        apart: Apart | None,
    ) -> None:
        self._engine = Engine(None, rules=rules)
        self._history: History | None = None
        if artefact is None:
            return
        self._rows = artefact.encoder.from_table(table)
        self._history = _carried(artefact, self._rows, apart)
        self._keys = self._history.keys_of(self._rows)
        if apart is not None:
            self._rows.position = apart.position
            self._rows, self._keys = apart.others.beside(self._rows, self._keys, self._history.slots_for)
        self._updates = self._rows.by_resolution()
        self._next = 0
        self._payments = [one["payment_id"] for one in fields]
        predictor = Predictor(
            artefact.encoder,
            artefact.outcome_model(),
            self._history,
            artefact.ways,
            artefact.code_text,
            artefact.plausible,
        )
        self._engine = Engine(predictor, rules=rules, worth=worth)

    def engine_at(self, attempt: dict[str, Any]) -> Engine:
        """The engine, knowing what other payments had shown when `attempt` was made."""
        if self._history is None:
            return self._engine
        resolved, first = self._rows.resolved, self._next
        while self._next < len(self._updates) and resolved[self._updates[self._next]] < attempt["created_at"]:
            self._next += 1
        self._history.enter(self._rows, self._updates[first : self._next], self._keys)
        return self._engine


def _recommended(
    engine: Engine, attempt: dict[str, Any], previous: list[dict[str, Any]], candidates: tuple[dict[str, Any], ...]
) -> list[dict[str, Any]]:
    before = {name: value for name, value in attempt.items() if name not in _AFTER}
    failed = attempt.get("outcome") not in {None, "success"}
    evidence = {name: attempt[name] for name in EVIDENCE if name in attempt} if failed else None
    answer = engine.score(ScoreRequest(before, evidence, tuple(previous), candidates), request_id="table")
    ranked: dict[str, tuple[int | None, dict[str, Any]]] = {
        row["candidate_id"]: (rank, row) for rank, row in enumerate(answer["ranking"], start=1)
    }
    blocked = {row["candidate_id"]: row["rule"] for row in answer["blocked"]}
    out = []
    for candidate in candidates:
        name = candidate["candidate_id"]
        rank, row = ranked.get(name, (None, {}))
        out.append(
            {
                "attempt_id": attempt["attempt_id"],
                "candidate_id": name,
                "rank": rank,
                "action": row.get("action"),
                "success_probability": row.get("success_probability"),
                "expected_value": row.get("expected_value"),
                "blocked_by": blocked.get(name),
            }
        )
    return sorted(out, key=lambda row: (row["rank"] is None, row["rank"] or 0))


_AFTER = frozenset(after_columns())
_CANDIDATE: dict[str, Callable[[Any], Any]] = {
    "method": str, "route": str, "auth_flow": str, "auth_steps": int, "stored": bool, "network_token": bool, "wait_s": float,
}  # fmt: skip


def check_candidates(candidates: pd.DataFrame, table: pd.DataFrame | None = None) -> None:
    """Raises BadInput for candidates that lack something, or are of no attempt of the table."""
    faults = [
        Fault(name, "this column, which is missing")
        for name in ("attempt_id", "candidate_id", "method")
        if name not in candidates
    ]
    if not faults:
        for name in ("attempt_id", "candidate_id", "method"):
            empty = np.flatnonzero(candidates[name].isna())
            if len(empty):
                faults.append(Fault(name, "a value in every row", row=int(empty[0]) + 1, count=len(empty)))
        twice = np.flatnonzero(candidates["candidate_id"].duplicated())
        if len(twice):
            faults.append(Fault("candidate_id", "each once", row=int(twice[0]) + 1, count=len(twice)))
        there = candidates["attempt_id"] if table is None else table["attempt_id"]
        unknown = np.flatnonzero(~candidates["attempt_id"].isin(there))
        if len(unknown):
            allowed = "an attempt_id of the attempts"
            faults.append(Fault("attempt_id", allowed, row=int(unknown[0]) + 1, count=len(unknown)))
    if faults:
        raise BadInput("candidates", faults)


def _grouped(candidates: pd.DataFrame) -> dict[str, tuple[dict[str, Any], ...]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    names = [name for name in ("candidate_id", *_CANDIDATE) if name in candidates]
    columns = [candidates[name].astype(object).where(candidates[name].notna(), None).to_list() for name in names]
    for attempt_id, *values in zip(candidates["attempt_id"], *columns, strict=True):
        one = {
            name: _CANDIDATE.get(name, str)(value)
            for name, value in zip(names, values, strict=True)
            if value is not None
        }
        grouped.setdefault(attempt_id, []).append(one)
    return {attempt_id: tuple(mine) for attempt_id, mine in grouped.items()}


def fields_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Each row as the fields of a request: plain values, missing ones left out, times in microseconds."""
    import pandas as pd

    columns = {}
    for name in table.columns:
        column = table[name]
        missing = column.isna().to_numpy()
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            values = column.to_numpy("datetime64[us]").astype(np.int64).tolist()
        else:
            values = column.astype(object).to_list()
        columns[name] = (values, missing.tolist())
    return [
        {name: values[i] for name, (values, missing) in columns.items() if not missing[i]} for i in range(len(table))
    ]
