"""From the kernel's numbers to the tables of the contract, a whole column at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.columns import OUTCOMES
from features.columns import columns as contract_columns
from training.simulator_evidence import Coded, Ended, evidence
from training.simulator_kernel import ATTEMPT_FLOATS, ATTEMPT_INTS, CANDIDATE_INTS, Run
from training.simulator_market import (
    BRANDS,
    CHANNELS,
    COUNTRIES,
    CURRENCIES,
    FLOWS,
    FUNDINGS,
    ISSUERS,
    MERCHANT_CATEGORIES,
    METHODS,
    ROUTES,
)
from training.simulator_people import Details

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["POLICY", "attempts_table", "candidate_tables", "oracle_table", "pending"]

POLICY = "logged_mix"
"""The name of the policy that the simulated checkout follows."""

_EXEMPTIONS = ("none", "low_value", "risk_analysis", "recurring", "trusted_merchant")
_MONTH_S = 2_629_800.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_I = npt.NDArray[np.int64]
_F = npt.NDArray[np.float64]
_B = npt.NDArray[np.bool_]


def _ids(letter: str, numbers: _I) -> pd.api.extensions.ExtensionArray:
    """Short identifiers such as a-00000007; too short to be taken for card numbers."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    digits = pc.utf8_lpad(pc.cast(pa.array(numbers), pa.large_string()), 8, "0")
    text = pc.binary_join_element_wise(pa.scalar(letter, pa.large_string()), digits, pa.scalar("-", pa.large_string()))
    ids: pd.api.extensions.ExtensionArray = pd.array(text, dtype="str")
    return ids


def _category(codes: _I, names: tuple[str, ...]) -> pd.Categorical:
    import pandas as pd

    dtype = pd.CategoricalDtype(pd.Index(names, dtype="str"))
    column: pd.Categorical = pd.Categorical.from_codes(codes, dtype=dtype)
    return column


def _times(seconds: _F, start: datetime, missing: _B | None = None) -> pd.DatetimeIndex:
    import pandas as pd

    zero = (start - _EPOCH) // timedelta(microseconds=1)
    stamps = (np.rint(seconds * 1e3).astype(np.int64) * 1000 + zero).view("datetime64[us]")
    if missing is not None:
        stamps = np.where(missing, np.datetime64("NaT", "us"), stamps)
    return pd.DatetimeIndex(stamps).tz_localize("UTC")


def _flags(values: npt.NDArray[Any], missing: _B | None = None) -> pd.arrays.BooleanArray:
    import pandas as pd

    return pd.arrays.BooleanArray(values.astype(bool), np.zeros(len(values), bool) if missing is None else missing)


def _counts(values: _I, missing: _B) -> pd.arrays.IntegerArray:
    import pandas as pd

    return pd.arrays.IntegerArray(values.astype(np.int64), missing)


def _columns(run: Run) -> tuple[dict[str, _I], dict[str, _F]]:
    ints = {name: np.ascontiguousarray(run.ints[:, k]) for k, name in enumerate(ATTEMPT_INTS)}
    floats = {name: np.ascontiguousarray(run.floats[:, k]) for k, name in enumerate(ATTEMPT_FLOATS)}
    return ints, floats


def pending(run: Run, end_s: float) -> _B:
    """Which attempts had not resolved when the clock stopped."""
    return np.asarray(run.floats[:, ATTEMPT_FLOATS.index("resolved")] > end_s)


def _exemption(flow: _I, card: _B, recurring: _B, amount: _F, trusted: _B) -> _I:
    """A function of what is seen, so no cause of its own: why there is no authentication, where there is none."""
    return np.select(
        [~card | (flow != FLOWS.index("none")), recurring, amount < -0.7, trusted],
        [_EXEMPTIONS.index(name) for name in ("none", "recurring", "low_value", "trusted_merchant")],
        _EXEMPTIONS.index("risk_analysis"),
    )


def attempts_table(
    run: Run,
    people: npt.NDArray[np.void],
    payments: npt.NDArray[np.void],
    details: Details,
    start: datetime,
    end_s: float,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """The attempts in order of creation, in the contract's columns."""
    import pandas as pd

    ints, floats = _columns(run)
    payment = ints["payment"]
    customer = payments["customer"][payment]
    country, created = people["country"][customer], floats["created"]
    recurring, channel = payments["recurring"][payment] > 0, payments["channel"][payment]
    server = channel == CHANNELS.index("server")
    card = ints["method"] == METHODS.index("card")

    def of_card(codes: npt.NDArray[Any]) -> _I:
        return np.where(card, codes[customer], -1)

    waits = pending(run, end_s)
    ended = evidence(
        Ended(
            hurdle=ints["hurdle"],
            reason=ints["reason"],
            route=ints["route"],
            flow=ints["flow"],
            issuer=of_card(people["issuer"]),
            brand=of_card(details.brand),
            server=server,
        ),
        OUTCOMES,
        rng,
    )
    duration = np.round(floats["duration"], 3)
    table: dict[str, object] = {
        "attempt_id": _ids("a", np.arange(len(payment))),
        "payment_id": _ids("p", payment),
        "customer_id": _ids("c", customer),
        "created_at": _times(created, start),
        "amount_minor": details.amount_minor[payment],
        "currency": _category(country, tuple(CURRENCIES[name] for name in COUNTRIES)),
        "country": _category(country, COUNTRIES),
        "merchant_country": _category(payments["merchant_country"][payment], COUNTRIES),
        "merchant_category": _category(payments["category"][payment], MERCHANT_CATEGORIES),
        "recurring": _flags(recurring),
        "customer_tenure_days": np.round(np.maximum(people["tenure"][customer] + created / 86400.0, 0.0), 2),
        "prior_payments": ints["prior"],
        "channel": _category(channel, CHANNELS),
        "network_rtt_ms": details.rtt_ms[payment],
        "form_seconds": details.form_seconds[payment],
        "form_errors": _counts(details.form_errors[payment], server),
        "method": _category(ints["method"], METHODS),
        "stored": _flags(ints["stored"]),
        "network_token": _flags(ints["token"], ~card),
        "card_brand": _category(of_card(details.brand), BRANDS),
        "card_funding": _category(of_card(details.funding), FUNDINGS),
        "issuer": _category(of_card(people["issuer"]), ISSUERS),
        "issuer_country": _category(of_card(people["issuer_country"]), COUNTRIES),
        "card_months_to_expiry": np.where(
            card, np.floor((people["expiry"][customer] - created / _MONTH_S) * 100.0) / 100.0, np.nan
        ),
        "route": _category(ints["route"], ROUTES),
        "auth_flow": _category(ints["flow"], FLOWS),
        "auth_steps": ints["steps"],
        "auth_exemption": _category(
            _exemption(ints["flow"], card, recurring, payments["amount"][payment], ints["stored"] > 0), _EXEMPTIONS
        ),
        "policy": _category(np.zeros(len(payment), np.int64), (POLICY,)),
        "propensity": floats["propensity"],
        "experiment": _category(np.full(len(payment), -1), ()),
        "variant": _category(np.full(len(payment), -1), ()),
        "resolved_at": _times(floats["resolved"], start, waits),
        "duration_s": np.where(waits, np.nan, duration),
    }
    hidden = {name: Coded(np.where(waits, -1, column.codes), column.names) for name, column in ended.items()}
    table |= {name: _category(*column) for name, column in hidden.items()}
    return pd.DataFrame({name: table[name] for name in contract_columns()})


def oracle_table(run: Run) -> pd.DataFrame:
    """True probabilities of every attempt: p_<outcome> given what can be observed, full_<outcome> given all."""
    import pandas as pd

    _, floats = _columns(run)
    names = [f"{kind}_{outcome}" for kind in ("p", "full") for outcome in OUTCOMES]
    return pd.DataFrame({"attempt_id": _ids("a", np.arange(len(run.ints))), **{name: floats[name] for name in names}})


def candidate_tables(run: Run, waits: _B) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What could be done after each failed attempt that is known to have failed, and its true chance of success."""
    import pandas as pd

    known = ~waits[run.candidates[:, 0]]
    rows = {name: run.candidates[known, k] for k, name in enumerate(CANDIDATE_INTS)}
    ids = _ids("k", np.flatnonzero(known))
    card = rows["method"] == METHODS.index("card")
    candidates = pd.DataFrame(
        {
            "attempt_id": _ids("a", rows["attempt"]),
            "candidate_id": ids,
            "method": _category(rows["method"], METHODS),
            "route": _category(rows["route"], ROUTES),
            "auth_flow": _category(rows["flow"], FLOWS),
            "auth_steps": rows["steps"],
            "stored": _flags(rows["stored"]),
            "network_token": _flags(rows["token"], ~card),
            "wait_s": rows["wait"].astype(np.float64),
        }
    )
    return candidates, pd.DataFrame({"candidate_id": ids, "p_success": run.chances[known, 0]})
