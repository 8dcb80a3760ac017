"""What must hold of attempts whose types are right: values within their ranges, and columns that agree."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from features.allowed import COUNTRY_COLUMNS, EARLIEST, RANGES, TOLERANCE_AHEAD, VOCABULARIES
from features.columns import columns
from features.faults import Faults
from features.places import countries, currencies

__all__ = ["check_values", "check_whole_rows"]

_Mask = np.ndarray[Any, np.dtype[np.bool_]]


def check_values(frame: pd.DataFrame, faults: Faults, *, now: datetime) -> None:
    """Note values out of range, out of vocabulary, and required ones that are missing."""
    for name in frame.columns:
        column = columns().get(name)
        if column is None:
            continue
        if column.required and name not in faults.columns:
            faults.add(name, "a value in every row", frame[name].isna().to_numpy())
        if name in RANGES:
            _check_range(name, frame[name], faults)
        elif column.type == "timestamp":
            _check_time(name, frame[name], faults, now)
    for name, words in VOCABULARIES.items():
        _check_words(name, frame, words, " | ".join(words), faults)
    for name in COUNTRY_COLUMNS:
        allowed = "an ISO 3166-1 alpha-2 code in capitals, such as 'KR'"
        _check_words(name, frame, countries().keys(), allowed, faults)
    _check_words("currency", frame, currencies().keys(), "an ISO 4217 code, such as 'EUR'", faults)
    _check_no_prefix(frame, faults)


def check_whole_rows(frame: pd.DataFrame, faults: Faults) -> None:
    """Note attempts told twice, and those whose columns contradict each other."""
    _check_unique(frame, faults)
    _check_order(frame, faults)
    _check_outcome(frame, faults)


def _check_range(name: str, values: pd.Series[Any], faults: Faults) -> None:
    allowed = RANGES[name]
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = numbers <= allowed.low if allowed.above_low else numbers < allowed.low
    bad |= numbers > allowed.top
    faults.add(name, str(allowed), bad, lambda row: f"{numbers[row]:.15g}")


def _check_time(name: str, times: pd.Series[Any], faults: Faults, now: datetime) -> None:
    early = (times < pd.Timestamp(EARLIEST)).to_numpy()
    faults.add(name, f"a time since {EARLIEST:%Y}", early, lambda row: times.iloc[row].isoformat())
    late = (times > pd.Timestamp(now + TOLERANCE_AHEAD)).to_numpy()
    allowed = f"a time not in the future (now is {now:%Y-%m-%dT%H:%M:%SZ})"
    faults.add(name, allowed, late, lambda row: times.iloc[row].isoformat())


def _codes(frame: pd.DataFrame, name: str, words: Sequence[str]) -> _Mask:
    """Rows whose category is one of `words`."""
    category = frame[name].cat
    wanted = np.append(category.categories.isin(list(words)), False)
    return np.asarray(wanted[category.codes.to_numpy()], dtype=np.bool_)


def _check_words(name: str, frame: pd.DataFrame, words: Any, allowed: str, faults: Faults) -> None:
    if name not in frame:
        return
    unknown = [word for word in frame[name].cat.categories if word not in words]
    if unknown:
        bad = _codes(frame, name, unknown)
        faults.add(name, allowed, bad, lambda row: frame[name].iloc[row])


def _check_no_prefix(frame: pd.DataFrame, faults: Faults) -> None:
    """An issuer may be known by 8 digits of the card number; a longer number is too much of it."""
    if "issuer" in frame:
        names = frame["issuer"].cat.categories
        long = [name for name in names if name.isdigit() and len(name) > 8]
        if long:
            allowed = "a pseudonym, or at most the first 8 digits of the card number"
            faults.add("issuer", allowed, _codes(frame, "issuer", long))
    if "customer_id" in frame:
        mail = frame["customer_id"].str.contains("@", regex=False, na=False).to_numpy(dtype=np.bool_)
        faults.add("customer_id", "a pseudonym, not an e-mail address", mail)


def _check_unique(frame: pd.DataFrame, faults: Faults) -> None:
    if "attempt_id" not in frame or "attempt_id" in faults.columns:
        return
    ids = frame["attempt_id"]
    again = ids.duplicated().to_numpy()
    faults.add("attempt_id", "an id that no earlier row has", again, lambda row: ids.iloc[row])


def _check_order(frame: pd.DataFrame, faults: Faults) -> None:
    if "resolved_at" not in frame or "created_at" not in frame:
        return
    resolved = frame["resolved_at"]
    before = (resolved < frame["created_at"]).to_numpy()
    allowed = "a time not before the row's created_at"
    faults.add("resolved_at", allowed, before, lambda row: resolved.iloc[row].isoformat())


def _check_outcome(frame: pd.DataFrame, faults: Faults) -> None:
    """An outcome, its time and its reason go together; a column that is missing throughout says nothing."""
    told = {name for name in ("outcome", "resolved_at", "reason") if name in frame and frame[name].notna().any()}
    told -= faults.columns
    if {"outcome", "resolved_at"} <= told:
        has, resolved = frame["outcome"].notna().to_numpy(), frame["resolved_at"].notna().to_numpy()
        faults.add("resolved_at", "a time where the row has an outcome", has & ~resolved)
        faults.add("outcome", "an outcome where the row has a resolved_at", resolved & ~has)
    if {"outcome", "reason"} <= told:
        reason = frame["reason"]
        given = reason.notna().to_numpy()
        for outcomes, allowed in (
            (("success",), "no reason where the outcome is success"),
            (("unclassified",), "no reason where the outcome is unclassified"),
        ):
            bad = given & _codes(frame, "outcome", outcomes)
            faults.add("reason", allowed, bad, lambda row: reason.iloc[row])
        pending = given & frame["outcome"].isna().to_numpy()
        faults.add("reason", "no reason without an outcome", pending, lambda row: reason.iloc[row])
