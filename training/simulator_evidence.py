"""What is seen of an attempt once it has ended: codes masked as banks mask them, 3-D Secure status, lossy telemetry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from training.simulator_codes import (
    CATEGORY_OF,
    CODES,
    GENERIC_CODE,
    MASTERCARD_ADVICE,
    REASONS,
    ROUTE_SCHEME,
    SHARED_CODE,
    THREE_DS,
)
from training.simulator_kernel import HURDLES
from training.simulator_market import BRANDS, FLOWS, ROUTES, issuer_masking

__all__ = ["Coded", "Ended", "evidence"]

_B = npt.NDArray[np.bool_]
_I = npt.NDArray[np.int64]

_OTHER_MASKING = 0.4  # of declines by what is no card issuer
_LOST_CODE = 0.08
_LOST_STATUS = 0.08
_NO_STATUS_YET = 0.4  # of closed challenges, no result ever comes back
_ADVISED = 0.35
_UNCLASSIFIED = 0.03
_LOST_EVENT = 0.07
_STALE_EVENT = 0.07

_EVENTS = (
    "submitted", "challenge_shown", "challenge_closed", "redirected", "returned", "page_closed", "timed_out",
)  # fmt: skip
_LAST: Mapping[str, Mapping[str, float]] = {
    "done_plain": {"submitted": 1.0},
    "done_active": {"returned": 1.0},
    "auth_active": {"returned": 0.86, "challenge_closed": 0.06, "timed_out": 0.08},
    "leave_plain": {"page_closed": 0.7, "timed_out": 0.3},
    "leave_challenge": {"challenge_closed": 0.58, "page_closed": 0.27, "timed_out": 0.15},
    "leave_redirect": {"redirected": 0.5, "page_closed": 0.35, "timed_out": 0.15},
    "technical": {"submitted": 0.85, "timed_out": 0.15},
    "silent": {"timed_out": 0.8, "submitted": 0.2},
}


class Coded(NamedTuple):
    """A column of categories: whole numbers into `names`, -1 where missing."""

    codes: _I
    names: tuple[str, ...]


class Ended(NamedTuple):
    """Attempts as they ended; one row each. `reason` is -1 for a success, `issuer` and `brand` -1 without a card."""

    hurdle: _I
    reason: _I
    route: _I
    flow: _I
    issuer: _I
    brand: _I
    server: _B


def _options(table: Mapping[str, Sequence[str]], names: tuple[str, ...]) -> tuple[_I, _I]:
    """Per reason, the numbers of its names [REASONS, 4] and how many they are."""
    out = np.full((len(REASONS), 4), -1)
    for reason, row in table.items():
        out[REASONS.index(reason), : len(row)] = [names.index(name) if name else -1 for name in row]
    return out, np.array([len(table.get(reason, ())) for reason in REASONS])


def _pick(options: _I, counts: _I, reason: _I, rng: np.random.Generator) -> _I:
    """One of each attempt's options, the first being likeliest; -1 where there is none, or no failure."""
    count = np.where(reason >= 0, counts[reason], 0)
    which = np.floor(rng.random(len(reason)) ** 1.6 * count).astype(np.int64)
    return np.where(count > 0, options[reason, which], -1)


def _in(reason: _I, names: Sequence[str]) -> _B:
    return np.isin(reason, [REASONS.index(name) for name in names])


def _codes(seen: Ended, leaves: _B, declined: _B, rng: np.random.Generator) -> tuple[Coded, Coded]:
    """The scheme and the code that the processor sent, masked, shared or lost."""
    n = len(seen.reason)
    schemes = tuple(CODES)
    names = tuple(sorted({code for table in CODES.values() for row in table.values() for code in row}
                         | set(GENERIC_CODE.values()) | set(SHARED_CODE.values())))  # fmt: skip
    scheme = np.array([schemes.index(ROUTE_SCHEME[r]) if r in ROUTE_SCHEME else -1 for r in ROUTES])[seen.route]
    generic = np.array([names.index(GENERIC_CODE[name]) for name in schemes])
    shared = np.array([names.index(SHARED_CODE[name]) if name in SHARED_CODE else -1 for name in schemes])
    code = np.full(n, -1)
    for s, name in enumerate(schemes):
        code = np.where(scheme == s, _pick(*_options(CODES[name], names), seen.reason, rng), code)
    masking = np.where(seen.issuer >= 0, issuer_masking()[seen.issuer], _OTHER_MASKING)
    masked = declined & ~_in(seen.reason, ["risk_block"]) & (rng.random(n) < masking)
    code = np.where(masked, generic[scheme], code)
    checked = seen.hurdle == HURDLES.index("auth")
    ambiguous = (leaves | checked) & (seen.flow >= FLOWS.index("challenge")) & (rng.random(n) < 0.45)
    code = np.where(ambiguous, shared[scheme], code)
    code = np.where((scheme < 0) | (rng.random(n) < _LOST_CODE), -1, code)
    return Coded(np.where(code < 0, -1, scheme), schemes), Coded(code, names)


def _three_ds(seen: Ended, leaves: _B, rng: np.random.Generator) -> tuple[Coded, Coded]:
    """3-D Secure status and its reason, where there was 3-D Secure and its message arrived."""
    n = len(seen.reason)
    statuses = ("Y", "A", "N", "C", "U")
    reasons = tuple(sorted({name for _, row in THREE_DS.values() for name in row} - {""}))
    by_reason = np.full(len(REASONS) + 1, 0)  # last: success
    for k, name in enumerate(REASONS):
        by_reason[k] = statuses.index(THREE_DS[name][0]) if name in THREE_DS else 0
    status = by_reason[seen.reason]
    attempted = (status == 0) & (seen.flow == FLOWS.index("frictionless")) & (rng.random(n) < 0.08)
    status = np.where(attempted, 1, status)
    silent = leaves & ((seen.flow != FLOWS.index("challenge")) | (rng.random(n) < _NO_STATUS_YET))
    before = (seen.hurdle <= HURDLES.index("issuer")) & ~_in(seen.reason, ["three_ds_unavailable"])
    secure = (seen.brand >= 0) & np.isin(seen.flow, [FLOWS.index("frictionless"), FLOWS.index("challenge")])
    gone = ~secure | silent | before | seen.server | (rng.random(n) < _LOST_STATUS)
    why = _pick(*_options({name: row for name, (_, row) in THREE_DS.items()}, reasons), seen.reason, rng)
    return Coded(np.where(gone, -1, status), statuses), Coded(np.where(gone, -1, why), reasons)


def _last_event(seen: Ended, leaves: _B, rng: np.random.Generator) -> Coded:
    """The last thing that the client reported: sometimes the thing before, sometimes nothing."""
    n = len(seen.reason)
    challenge, redirect = seen.flow == FLOWS.index("challenge"), seen.flow == FLOWS.index("redirect")
    active = challenge | redirect
    situations = list(_LAST)
    where = np.select(
        [
            leaves & challenge,
            leaves & redirect,
            leaves,
            _in(seen.reason, ["network_timeout", "three_ds_unavailable"]),
            seen.hurdle <= HURDLES.index("issuer"),
            (seen.hurdle == HURDLES.index("auth")) & active,
            active,
        ],
        [situations.index(name) for name in
         ("leave_challenge", "leave_redirect", "leave_plain", "silent", "technical", "auth_active", "done_active")],
        situations.index("done_plain"),
    )  # fmt: skip
    odds = np.cumsum([[row.get(event, 0.0) for event in _EVENTS] for row in _LAST.values()], axis=1)
    event = (rng.random(n)[:, None] * 0.999999 >= odds[where]).sum(axis=1)
    earlier = np.select([challenge, redirect], [_EVENTS.index("challenge_shown"), _EVENTS.index("redirected")], 0)
    event = np.where(rng.random(n) < _STALE_EVENT, earlier, event)
    return Coded(np.where(seen.server | (rng.random(n) < _LOST_EVENT), -1, event), _EVENTS)


def evidence(seen: Ended, outcomes: tuple[str, ...], rng: np.random.Generator) -> dict[str, Coded]:
    """The columns known after the attempt, times apart, by name. `outcomes` begins with success."""
    n = len(seen.reason)
    category = np.array([outcomes.index(CATEGORY_OF[reason]) for reason in REASONS] + [0])[seen.reason]
    leaves = category == outcomes.index("user_abandonment")
    declined = category == outcomes.index("bank_decline")
    unclassified = (category > 0) & (rng.random(n) < _UNCLASSIFIED)
    scheme, code = _codes(seen, leaves, declined, rng)
    mute = unclassified & (rng.random(n) < 0.7)
    status, why = _three_ds(seen, leaves, rng)
    advices = tuple(sorted({name for row in MASTERCARD_ADVICE.values() for name in row}))
    advised = (seen.brand == BRANDS.index("mastercard")) & declined & (rng.random(n) < _ADVISED)
    advice = np.where(advised, _pick(*_options(MASTERCARD_ADVICE, advices), seen.reason, rng), -1)
    return {
        "code_scheme": Coded(np.where(mute, -1, scheme.codes), scheme.names),
        "response_code": Coded(np.where(mute, -1, code.codes), code.names),
        "advice_code": Coded(np.where(mute, -1, advice), advices),
        "trans_status": status,
        "trans_status_reason": why,
        "last_event": _last_event(seen, leaves, rng),
        "outcome": Coded(np.where(unclassified, len(outcomes), category), (*outcomes, "unclassified")),
        "reason": Coded(np.where(unclassified, -1, seen.reason), REASONS),
    }
