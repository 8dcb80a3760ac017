"""What the features are, in one hash: it changes when a definition or the arithmetic does, and not when a comment does."""

from __future__ import annotations

import hashlib
import json
from functools import cache

import numpy as np

from features import kernel
from features.definitions import EVIDENCE_CODES, EVIDENCE_NUMBERS, KEYS, RAW_CODES, RAW_NUMBERS, features
from features.own import OwnColumn
from features.rows import Rows

__all__ = ["fingerprint", "fingerprint_with", "golden_rows"]

_N = 120


def golden_rows() -> tuple[Rows, np.ndarray]:
    """Made-up attempts, always the same, that reach every branch of the kernel; and their slots, shape (120, 8)."""
    rng = np.random.default_rng(20_260_105)
    created = np.sort(rng.integers(1_767_571_200_000_000, 1_772_668_800_000_000, _N))
    resolved = created + rng.integers(0, 7_200_000_000, _N)
    resolved[rng.random(_N) < 0.1] = kernel.PENDING
    numbers = np.abs(rng.normal(50.0, 40.0, (_N, len(RAW_NUMBERS)))).round(2)
    numbers[:, 3] = rng.integers(0, 3, _N)
    numbers[:, 1:][rng.random((_N, len(RAW_NUMBERS) - 1)) < 0.2] = np.nan
    keys = rng.integers(-1, 6, (_N, len(KEYS))) + 8 * np.arange(len(KEYS))
    keys[keys % 8 == 7] = -1
    keys[:, [0, 3, 7]] = np.abs(keys[:, [0, 3, 7]])
    previous = np.where(rng.random(_N) < 0.4, np.arange(_N) - 1, -1)
    previous[60:] = np.arange(59, _N - 1)  # one payment with more attempts than are looked at
    resolved[40:50] = created[41:51]  # known at the very moment of the next
    created[80] = resolved[80] = resolved[79] = created[79]  # two of one moment
    reference = np.column_stack([np.full(_N, 100.0), np.full(_N, 5.0), rng.integers(-12, 15, _N) * 3.6e9])
    reference[rng.random(_N) < 0.1, 1:] = np.nan
    rows = Rows(
        created=created,
        resolved=resolved,
        outcome=rng.integers(0, 6, _N),
        reason=rng.integers(-1, 9, _N),
        duration=rng.random(_N).round(3) * 60.0,
        numbers=numbers,
        codes=rng.integers(-1, 5, (_N, len(RAW_CODES))).astype(np.int32),
        reference=reference,
        previous=previous,
        position=np.arange(_N),
    )
    return rows, keys.astype(np.int32)


def fingerprint_with(own: tuple[OwnColumn, ...]) -> str:
    """The fingerprint of the features that everybody has together with a merchant's own; without any, that of the others."""
    if not own:
        return fingerprint()
    said = [fingerprint(), [(column.name, column.unit, column.group, column.kind) for column in own]]
    return "sha256:" + hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).hexdigest()


@cache
def fingerprint() -> str:
    """sha256 over the definitions and over what the kernel makes of the golden rows, to four significant digits."""
    rows, keys = golden_rows()
    slots = 8 * len(KEYS)
    sums = np.zeros((slots, kernel.PLANES, kernel.OUTCOME_SLOTS))
    times = np.zeros(slots, np.int64)
    times[::3] = rows.created[_N // 2]  # for these the first outcomes come late
    out = np.empty((_N, kernel.N_FEATURES), np.float32)
    order = np.arange(_N)
    kernel.sweep(
        order,
        order,
        rows.by_resolution(),
        *rows.arrays(),
        keys,
        sums,
        times,
        np.zeros(slots, np.int32),
        out,
    )
    said = {
        "features": [(f.name, f.unit, f.categories) for f in features()],
        "evidence": [EVIDENCE_NUMBERS, EVIDENCE_CODES],
        "keys": [(key.name, key.parts, key.needed) for key in KEYS],
        "values": [[f"{value:.3e}" for value in row] for row in out.tolist()],
    }
    return "sha256:" + hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).hexdigest()
