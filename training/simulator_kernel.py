"""The simulator's clock: payments arrive, attempts meet their hurdles, failures are seen and tried again.

An attempt passes six hurdles in turn: its route, its issuer, the customer staying, authentication, funds, the bank's
view of risk. Falling at one ends it. The logit of falling is a sum of effects of what can be seen, plus one hidden
thing of that hurdle's own: the route's health, the issuer's health, the customer's patience, skill, means; nothing for
risk. As every hurdle has its own hidden thing, and a failure says at which hurdle it fell, what is known of the hidden
things never becomes entangled: the posterior over a customer's 27 types is the product of three posteriors over three
levels, exactly, and so is that over the two healths. `p` mixes over these, `full` takes the hidden things as they are.

Health is known from outcomes as they resolve, by a filter of the two-state chain. An outcome that resolves late speaks
of the health at its attempt's creation; it is carried to now by the (reversible) chain's own transition, which neglects
only what other outcomes said of the moments between.

All jitted code is in this one module: numba's cache notices a change of this file only. So every number that is a
choice comes in as a table, and this module owns the orders of the tables that it indexes by constants.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = [
    "ASKED", "ATTEMPT_FLOATS", "ATTEMPT_INTS", "BLOCKS", "CANDIDATE_INTS", "CONTEXTS", "HURDLES", "KINDS", "MAX_ATTEMPTS",
    "NUMBERS", "PAYMENT_ROW", "PERSON_ROW", "Market", "Run", "run",
]  # fmt: skip

F = npt.NDArray[np.float64]
I = npt.NDArray[np.int64]  # noqa: E741
B = npt.NDArray[np.bool_]

MAX_ATTEMPTS = 6
"""Attempts of one payment, at most."""

HURDLES = ("route", "issuer", "leave", "auth", "funds", "risk")
ROUTE, ISSUER, LEAVE, AUTH, FUNDS, RISK = range(6)

NUMBERS = (
    "ln_steps", "ln_rtt", "ln_form", "form_errors", "amount", "first", "ln_prior", "ln_tenure", "payday", "weekend",
    "stored", "token", "cross_border", "expired", "debit", "prepaid", "earlier", "recurring",
)  # fmt: skip
"""What counts by how much there is of it, in the order of the block "numbers"."""

BLOCKS = (
    "numbers", "country", "method", "route", "flow", "channel", "category", "issuer",
    "flow_channel", "first_method", "amount_method", "amount_flow", "night_country", "maintenance_method",
    "issuer_flow", "issuer_route",
)  # fmt: skip
"""The blocks of `Market.effects`, in order; a block named by two things has a row for each pair."""
_N = len(NUMBERS)
_TERMS = _N + len(BLOCKS) - 1

CONTEXTS = (
    "route_3ds", "route_plain", "issuer", "leave_auth", "leave_plain", "auth_none", "auth_frictionless",
    "auth_active_card", "auth_active_other", "funds_usual", "funds_large", "risk_expired", "risk_typed", "risk_stored",
    "risk_recurring", "risk_other",
)  # fmt: skip
"""Situations of a fall, in the order of `Market.reason_odds`: each has its own mix of reasons."""

KINDS = ("same", "later", "other_route", "step_up", "ease", "resume", "other_method")
"""What a candidate does with respect to the attempt that failed, in the order of `Market.advice`."""
SAME, LATER, OTHER_ROUTE, STEP_UP, EASE, RESUME, OTHER_METHOD = range(7)

ATTEMPT_INTS = (
    "payment", "method", "route", "flow", "steps", "stored", "token", "previous", "number", "prior", "hurdle", "reason",
)  # fmt: skip
PAYMENT, METHOD, ROUTE_USED, FLOW, STEPS, STORED, TOKEN, PREVIOUS, NUMBER, PRIOR, HURDLE, REASON = range(12)

ATTEMPT_FLOATS = (
    "created", "duration", "resolved", "propensity",
    "p_success", "p_authentication", "p_bank_decline", "p_user_abandonment", "p_technical",
    "full_success", "full_authentication", "full_bank_decline", "full_user_abandonment", "full_technical",
    "route_well", "route_ill", "issuer_well", "issuer_ill",
)  # fmt: skip
CREATED, DURATION, RESOLVED, PROPENSITY, P, FULL, ROUTE_WELL = 0, 1, 2, 3, 4, 9, 14

ASKED = ("method", "route", "flow", "stored", "token", "form_errors", "ln_form", "ln_rtt")
"""What a change can ask of a first attempt; NaN leaves it as it was."""
A_METHOD, A_ROUTE, A_FLOW, A_STORED, A_TOKEN, A_ERRORS, A_LN_FORM, A_LN_RTT = range(8)

CANDIDATE_INTS = ("attempt", "method", "route", "flow", "steps", "stored", "token", "wait")
C_ATTEMPT, C_WAIT = 0, 7

PERSON_ROW = np.dtype(
    [
        ("country", "i8"), ("issuer", "i8"), ("issuer_country", "i8"),
        ("debit", "i8"), ("prepaid", "i8"),
        ("expiry", "f8"),  # months to expiry at the start
        ("tenure", "f8"),  # days at the start; negative for those who come later
        ("prior", "i8"), ("saves", "i8"), ("tokens", "i8"), ("agreement", "i8"), ("bank_steps", "i8"),
        ("likes", "i8"),  # method
        ("methods", "i8"),  # a bit for each method that they have
        ("patience", "i8"), ("skill", "i8"), ("means", "i8"),  # hidden levels
    ]
)  # fmt: skip
"""A customer."""

PAYMENT_ROW = np.dtype(
    [
        ("at", "f8"),  # seconds since the start
        ("customer", "i8"), ("method", "i8"),
        ("amount", "f8"),  # ln of the amount over the usual amount of its country
        ("category", "i8"), ("channel", "i8"), ("ln_rtt", "f8"), ("ln_form", "f8"), ("form_errors", "f8"),
        ("merchant_country", "i8"), ("recurring", "i8"),
    ]
)  # fmt: skip
"""A payment."""

M_USUAL, M_STRONGER, M_EASIER, M_CARD, M_STORABLE = range(5)
F_ACTIVE, F_3DS = range(2)
E_SHARE, E_FADING = range(2)
R_SAME, R_FLOW, R_ROUTE, R_METHOD, R_HALF_LIFE, R_HURDLE, R_TIMEOUT = range(7)
_MONTH_S = 2_629_800.0
_EXPLORED = 0.1  # share of first attempts whose route and authentication are drawn evenly
_ARRIVE, _RESOLVE, _DECIDE, _RETRY = range(4)
_MATURE_S = 1800.0  # an attempt walked away from counts as abandoned after half an hour


_inner = njit(cache=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""For what only the kernel calls: without the wrappers that Python would need, it compiles in a third of the time."""


class Market(NamedTuple):
    """What is the same for everyone, as tables."""

    effects: F  # [row, hurdle]: what a thing adds to the logit of falling there
    block: I  # [BLOCKS]: the first row of each
    calendar: F  # [country, hour since start, (night, maintenance, payday, weekend)]
    hidden: F  # [hurdle, 3]: what each level of the hurdle's hidden thing adds
    priors: F  # [country, (patience, skill, means), 3]
    health: F  # [(route, issuer), (share ill, fading per second)]
    retry_patience: F  # [3]
    retry_hurdle: F  # [hurdle]
    reason_odds: F  # [CONTEXTS, reason], cumulative
    reasons: F  # [reason, (same, other flow, other route, other method, half-life in s, hurdle, seconds to time out)]
    advice: F  # [reason, KINDS]: what the logged policy leans to
    duration: F  # [6 hurdles and success, (ln seconds, ln seconds per step, spread)]
    routes: B  # [country, method, route]
    flows: B  # [method, flow]
    methods: B  # [country, method]
    route_lean: F  # [country, route]
    flow_lean: F  # [flow, (constant, amount, first, stored)]
    steps: I  # [country, method, flow]
    issuer_steps: I  # [issuer]
    method_facts: I  # [method, (usual flow, stronger flow or -1, easier flow or -1, is a card, can be stored)]
    flow_facts: I  # [flow, (the customer is asked, 3-D Secure)]
    gateway: I  # [country]: 1 where first-time payers go through a bank gateway
    gateway_method: I  # [2]: without an agreement, with one


class Run(NamedTuple):
    """What happened."""

    ints: I  # [attempt, ATTEMPT_INTS]
    floats: F  # [attempt, ATTEMPT_FLOATS]
    candidates: I  # [candidate, CANDIDATE_INTS]
    chances: F  # [candidate, (success, the policy's probability where it was chosen)]
    would: F  # [payment, change, (success given what can be observed, and given all)], NaN where it was not to be had


class Entities(NamedTuple):
    """Routes, or issuers: their hidden health, and what is known of it."""

    switches: F  # [entity, n]: moments of falling ill and of recovery, in turn, ended by infinity
    passed: I  # [entity]: how many of them are past
    ill: F  # [entity]: believed probability of being ill, at `since`
    since: F


class Scratch(NamedTuple):
    """Room to work in, so that nothing is allocated per attempt."""

    base: F  # [hurdle]: logits of falling, hidden things apart
    scale: F  # [hurdle]: how strongly the hidden thing speaks
    belief: F  # [hurdle, 3]: of its levels
    falls: F  # [hurdle]: probability of falling, once there
    row: I  # [_TERMS]: rows of the effects that count
    weight: F  # [_TERMS]: by how much


@_inner
def _terms(m, person, payment, prior, act, t, earlier, work):
    """Write which rows of the effects count, and by how much; how many they are."""
    country, method, route, flow, amount = person.country, act[0], act[1], act[2], payment.amount
    first = 1.0 if prior == 0 else 0.0
    card = m.method_facts[method, M_CARD]
    night, maintenance, payday, weekend = m.calendar[country, min(int(t / 3600.0), m.calendar.shape[1] - 1)]
    numbers = (
        np.log1p(act[3]), payment.ln_rtt, payment.ln_form, payment.form_errors, amount, first, np.log1p(prior),
        np.log1p(max(person.tenure + t / 86400.0, 0.0)), payday, weekend, float(act[4]), float(act[5]),
        float(card * (person.issuer_country != payment.merchant_country)), float(card * (person.expiry < t / _MONTH_S)),
        float(card * person.debit), float(card * person.prepaid), float(earlier), float(payment.recurring),
    )  # fmt: skip
    members = (
        country, method, route, flow, payment.channel, payment.category, person.issuer,
        flow * (m.block[6] - m.block[5]) + payment.channel, method, method, flow, country, method,
        person.issuer * m.flow_facts.shape[0] + flow, person.issuer * m.route_lean.shape[1] + route,
    )  # fmt: skip
    counts = (
        1.0, 1.0, 1.0, 1.0, 1.0, 1.0, float(card),
        1.0, first, amount, amount, night, maintenance,
        1.0, 1.0,
    )  # fmt: skip
    for k in range(len(numbers)):
        work.row[k], work.weight[k] = k, numbers[k]
    for k in range(len(members)):
        work.row[_N + k], work.weight[_N + k] = m.block[k + 1] + members[k], counts[k]
    return _TERMS if card else _TERMS - 2


@_inner
def _describe(m, person, payment, prior, act, t, last, ints, floats, work):
    """Write the logits of falling, and how strongly each hidden thing speaks.

    `act` is (method, route, flow, steps, stored, token); `last` is the payment's attempt before, or -1.
    """
    base, scale = work.base, work.scale
    terms = _terms(m, person, payment, prior, act, t, 0 if last < 0 else ints[last, NUMBER], work)
    for k in range(6):
        base[k], scale[k] = 0.0, 1.0
    for j in range(terms):
        for k in range(6):
            base[k] += work.weight[j] * m.effects[work.row[j], k]
    if not m.method_facts[act[0], M_CARD]:
        base[ISSUER] = -40.0
    _remember(m, act, t, last, ints, floats, base)
    scale[LEAVE] = 0.8 + 0.1 * act[3]
    scale[AUTH] = 1.0 if act[3] > 0 else 0.4
    scale[FUNDS] = min(max(1.0 + 0.35 * payment.amount, 0.5), 2.0)


@_inner
def _remember(m, act, t, last, ints, floats, base):
    """Add what the payment's earlier failures still do: the worst per hurdle, by how much of the means is the same."""
    worst = np.zeros(6)
    while last >= 0:
        reason, kept = ints[last, REASON], R_SAME
        if ints[last, METHOD] != act[0]:
            kept = R_METHOD
        elif ints[last, ROUTE_USED] != act[1]:
            kept = R_ROUTE
        elif ints[last, FLOW] != act[2]:
            kept = R_FLOW
        gap = t - floats[last, CREATED] - floats[last, DURATION]
        weight = m.reasons[reason, kept] * 2.0 ** (-gap / m.reasons[reason, R_HALF_LIFE])
        k = int(m.reasons[reason, R_HURDLE])
        worst[k] = max(worst[k], weight)
        last = ints[last, PREVIOUS]
    for k in range(6):
        base[k] += worst[k]


@_inner
def _fall(m, work, k, level):
    """The probability of falling at hurdle `k` when its hidden thing is at that level."""
    return 1.0 / (1.0 + np.exp(-work.base[k] - work.scale[k] * m.hidden[k, level]))


@_inner
def _judge(m, work, out):
    """Write the probabilities of success, authentication, bank decline, abandonment, technical, by what is believed."""
    falls = work.falls
    for k in range(6):
        falls[k] = 0.0
        for level in range(3):
            if work.belief[k, level] > 0.0:
                falls[k] += work.belief[k, level] * _fall(m, work, k, level)
    well = (1.0 - falls[ROUTE]) * (1.0 - falls[ISSUER])
    stays = well * (1.0 - falls[LEAVE])
    known = stays * (1.0 - falls[AUTH])
    out[0] = known * (1.0 - falls[FUNDS]) * (1.0 - falls[RISK])
    out[1] = stays * falls[AUTH]
    out[2] = known - out[0]
    out[3] = well * falls[LEAVE]
    out[4] = 1.0 - well


@_inner
def _ill(m, which, entities, e, t):
    """The believed probability that entity `e` is ill at `t`, no earlier than it was last heard of."""
    share = m.health[which, E_SHARE]
    return share + (entities.ill[e] - share) * np.exp(-m.health[which, E_FADING] * (t - entities.since[e]))


@_inner
def _learn(m, which, entities, e, t, delay, if_well, if_ill):
    """Update the belief that entity `e` is ill by an outcome `delay` seconds old, given its likelihoods then."""
    share, now = m.health[which, E_SHARE], _ill(m, which, entities, e, t)
    kept = np.exp(-m.health[which, E_FADING] * delay)
    ill_then_if_ill = share + (1.0 - share) * kept
    ill_then_if_well = share - share * kept
    like_ill = ill_then_if_ill * if_ill + (1.0 - ill_then_if_ill) * if_well
    like_well = ill_then_if_well * if_ill + (1.0 - ill_then_if_well) * if_well
    entities.ill[e] = now * like_ill / (now * like_ill + (1.0 - now) * like_well)
    entities.since[e] = t


@_inner
def _health(entities, e, t):
    """1 if entity `e` is ill at `t`, else 0. Time never runs back."""
    while entities.switches[e, entities.passed[e]] <= t:
        entities.passed[e] += 1
    return entities.passed[e] % 2


@_inner
def _believe(m, known, route, issuer, t, routes, issuers, work):
    """Write what is believed of the hidden things at `t`: the two healths, and the customer's three, `known`."""
    ill = _ill(m, 0, routes, route, t)
    work.belief[ROUTE, 0], work.belief[ROUTE, 1] = 1.0 - ill, ill
    ill = _ill(m, 1, issuers, issuer, t)
    work.belief[ISSUER, 0], work.belief[ISSUER, 1] = 1.0 - ill, ill
    for k in range(3):
        for level in range(3):
            work.belief[LEAVE + k, level] = known[k, level]


@_inner
def _reveal(person, route, t, routes, issuers, work):
    """Write the hidden things as they are, as a belief."""
    levels = (
        _health(routes, route, t), _health(issuers, person.issuer, t), person.patience, person.skill, person.means
    )  # fmt: skip
    for k in range(RISK):
        for level in range(3):
            work.belief[k, level] = 1.0 if level == levels[k] else 0.0


@_inner
def _context(m, payment, act, hurdle, expired):
    card, active, three_ds = m.method_facts[act[0], M_CARD], m.flow_facts[act[2], F_ACTIVE], m.flow_facts[act[2], F_3DS]
    if hurdle == ROUTE:
        return 0 if card and three_ds else 1
    if hurdle == ISSUER:
        return 2
    if hurdle == LEAVE:
        return 3 if active else 4
    if hurdle == AUTH:
        if active:
            return 7 if card else 8
        return 6 if three_ds else 5
    if hurdle == FUNDS:
        return 10 if payment.amount > 0.7 else 9
    if not card:
        return 15
    if expired:
        return 11
    if payment.recurring:
        return 14
    return 13 if act[4] else 12


@_inner
def _pick(cumulative, u):
    k = 0
    while cumulative[k] <= u:
        k += 1
    return k


@_inner
def _choose(score, n, explore, u):
    """One of `n` by softmax of `score` with a share `explore` at random; its number and its probability."""
    total = 0.0
    for k in range(n):
        total += np.exp(score[k])
    chance = 0.0
    for k in range(n):
        chance = (1.0 - explore) * np.exp(score[k]) / total + explore / n
        if u < chance:
            break
        u -= chance
    return k, min(chance, 1.0)


@_inner
def _act(m, person, prior, recurring, method, route, flow):
    """(method, route, flow, steps, stored, token) as they are for this customer."""
    card = m.method_facts[method, M_CARD]
    steps = m.steps[person.country, method, flow]
    if m.flow_facts[flow, F_ACTIVE] and card:
        steps += m.issuer_steps[person.issuer]
    if m.gateway[person.country] and prior == 0 and method == m.gateway_method[0]:
        steps = 5 + person.bank_steps
    returns = prior > 0 and person.saves and m.method_facts[method, M_STORABLE] and method == person.likes
    stored = 1 if recurring or returns else 0
    return method, route, flow, steps, stored, stored * card * person.tokens


@_inner
def _first_options(m, person, payment, prior, method, score, option):
    """Write what the logged policy may choose for a first attempt by a method, with its scores; how many there are."""
    country, recurring, n = person.country, payment.recurring, 0
    n_routes, n_flows = m.route_lean.shape[1], m.flow_facts.shape[0]
    for route in range(n_routes):
        for flow in range(n_flows):
            if m.routes[country, method, route] and m.flows[method, flow] and not (recurring and flow > 0):
                score[n] = m.route_lean[country, route] + m.flow_lean[flow, 0] + m.flow_lean[flow, 1] * payment.amount
                score[n] += m.flow_lean[flow, 2] * (prior == 0) + m.flow_lean[flow, 3] * (prior > 0) * person.saves
                option[n] = route * n_flows + flow
                n += 1
    return n


@_inner
def _first_act(m, person, payment, prior, u):
    """The customer's method, with route and authentication by the logged policy; and its propensity."""
    country, recurring, method = person.country, payment.recurring, payment.method
    if m.gateway[country] and prior == 0 and not recurring:
        method = m.gateway_method[person.agreement]
    n_flows = m.flow_facts.shape[0]
    most = m.route_lean.shape[1] * n_flows
    score, option = np.empty(most), np.empty(most, np.int64)
    n = _first_options(m, person, payment, prior, method, score, option)
    k, chance = _choose(score, n, _EXPLORED, u)
    return _act(m, person, prior, recurring, method, option[k] // n_flows, option[k] % n_flows), chance


@_inner
def _changed(m, person, payment, prior, act, asked, chances, option):
    """Write the ways in which a first attempt would be made under a change, and how likely each is; how many there are.

    With another method, route and authentication are the logged policy's choice among what is asked for; without, they
    stay. None where the market does not offer it.
    """
    n_flows, method, n = m.flow_facts.shape[0], act[0], 0
    if asked[A_METHOD] >= 0.0 and asked[A_METHOD] != method:
        n = _first_options(m, person, payment, prior, int(asked[A_METHOD]), chances, option)
        total, kept, asked_for = 0.0, 0, 0.0
        for k in range(n):
            total += np.exp(chances[k])
        for k in range(n):
            route, flow = option[k] // n_flows, option[k] % n_flows
            if asked[A_ROUTE] >= 0.0 and asked[A_ROUTE] != route:
                continue
            if not (asked[A_FLOW] >= 0.0 and asked[A_FLOW] != flow):
                chances[kept] = (1.0 - _EXPLORED) * np.exp(chances[k]) / total + _EXPLORED / n
                option[kept] = option[k]
                asked_for += chances[kept]
                kept += 1
        for k in range(kept):
            chances[k] /= asked_for
        return kept
    route = int(asked[A_ROUTE]) if asked[A_ROUTE] >= 0.0 else act[1]
    flow = int(asked[A_FLOW]) if asked[A_FLOW] >= 0.0 else act[2]
    if not (m.routes[person.country, method, route] and m.flows[method, flow]):
        return 0
    chances[0], option[0] = 1.0, route * n_flows + flow
    return 1


@_inner
def _would(m, person, payment, prior, act, t, asked, known, ints, floats, routes, issuers, work, altered, out, told):
    """Write P(success) of a first attempt under a change: given what can be observed, and given the hidden state too."""
    most = m.route_lean.shape[1] * m.flow_facts.shape[0]
    chances, option = np.empty(most), np.empty(most, np.int64)
    altered[0] = payment
    if asked[A_ERRORS] >= 0.0:
        altered[0].form_errors = asked[A_ERRORS]
    if asked[A_LN_FORM] == asked[A_LN_FORM]:
        altered[0].ln_form = asked[A_LN_FORM]
    if asked[A_LN_RTT] == asked[A_LN_RTT]:
        altered[0].ln_rtt = asked[A_LN_RTT]
    method = int(asked[A_METHOD]) if asked[A_METHOD] >= 0.0 else act[0]
    n = _changed(m, person, payment, prior, act, asked, chances, option)
    told[0], told[1] = (0.0, 0.0) if n else (np.nan, np.nan)
    for k in range(n):
        route, flow = option[k] // m.flow_facts.shape[0], option[k] % m.flow_facts.shape[0]
        made = _act(m, person, prior, payment.recurring, method, route, flow)
        stored, token = made[4], made[5]
        if asked[A_STORED] >= 0.0:
            stored = int(asked[A_STORED])
            token = stored * m.method_facts[method, M_CARD] * person.tokens
        if asked[A_TOKEN] >= 0.0:
            token = int(asked[A_TOKEN])
        made = (method, route, flow, made[3], stored, token)
        _describe(m, person, altered[0], prior, made, t, -1, ints, floats, work)
        _believe(m, known, route, person.issuer, t, routes, issuers, work)
        _judge(m, work, out)
        told[0] += chances[k] * out[0]
        _reveal(person, route, t, routes, issuers, work)
        _judge(m, work, out)
        told[1] += chances[k] * out[0]


@_inner
def _usual_route(m, country, method):
    best = -1
    for route in range(m.routes.shape[2]):
        if m.routes[country, method, route] and (
            best < 0 or m.route_lean[country, route] > m.route_lean[country, best]
        ):
            best = route
    return best


@_inner
def _put(options, n, act, wait, kind):
    """Write one candidate as row `n`: what is done, the wait, the kind; the number of rows then."""
    options[n, 0], options[n, 1], options[n, 2], options[n, 3], options[n, 4], options[n, 5] = act
    options[n, 6], options[n, 7] = wait, kind
    return n + 1


@_inner
def _what_next(m, person, payment, prior, failed, options):
    """Write what checkout can do after the failed attempt, a row of ints; how many there are, at most eight."""
    country, recurring = person.country, payment.recurring
    method, route, flow = failed[METHOD], failed[ROUTE_USED], failed[FLOW]
    same = _act(m, person, prior, recurring, method, route, flow)
    n = _put(options, 0, same, 0, SAME)
    n = _put(options, n, same, 86400 if recurring else 3600, LATER)
    for other in range(m.routes.shape[2]):
        if other != route and m.routes[country, method, other] and n < 4:
            n = _put(options, n, _act(m, person, prior, recurring, method, other, flow), 0, OTHER_ROUTE)
    if recurring:
        return n
    for kind, other in ((STEP_UP, m.method_facts[method, M_STRONGER]), (EASE, m.method_facts[method, M_EASIER])):
        if other >= 0 and other != flow:
            n = _put(options, n, _act(m, person, prior, recurring, method, route, other), 0, kind)
    if failed[HURDLE] == LEAVE and failed[STEPS] >= 2:
        n = _put(options, n, (method, route, flow, failed[STEPS] // 2, same[4], same[5]), 0, RESUME)
    for other in range(m.methods.shape[1]):
        if other != method and m.methods[country, other] and (person.methods >> other) & 1 and n < 8:
            way = _usual_route(m, country, other)
            act = _act(m, person, prior, recurring, other, way, m.method_facts[other, M_USUAL])
            n = _put(options, n, act, 0, OTHER_METHOD)
    return n


@_inner
def _longer(array, n):
    """The first `n` rows in an array with room for more."""
    out = np.empty((n * 3 // 2 + 64, array.shape[1]), array.dtype)
    for i in range(n):
        for k in range(array.shape[1]):
            out[i, k] = array[i, k]
    return out


@_inner
def _reweigh(belief, like, goes):
    """Update three levels by whether the customer went on, given how likely each level is to."""
    total = 0.0
    for level in range(3):
        belief[level] *= like[level] if goes else 1.0 - like[level]
        total += belief[level]
    for level in range(3):
        belief[level] /= total


@_inner
def _learn_person(m, work, hurdle, known):
    """Update what is known of a customer by how far an attempt came."""
    for k in range(LEAVE, min(hurdle, FUNDS) + 1):
        total = 0.0
        for level in range(3):
            fall = _fall(m, work, k, level)
            known[k - LEAVE, level] *= fall if k == hurdle else 1.0 - fall
            total += known[k - LEAVE, level]
        for level in range(3):
            known[k - LEAVE, level] /= total


@_inner
def _learn_entities(m, ints, floats, a, issuer, t, routes, issuers):
    """Update what is known of route and issuer by attempt `a`, whose outcome has just become known."""
    hurdle, delay = ints[a, HURDLE], t - floats[a, CREATED]
    well, ill, fell = floats[a, ROUTE_WELL], floats[a, ROUTE_WELL + 1], hurdle == ROUTE
    like_well, like_ill = (well, ill) if fell else (1.0 - well, 1.0 - ill)
    _learn(m, 0, routes, ints[a, ROUTE_USED], t, delay, like_well, like_ill)
    if not fell and m.method_facts[ints[a, METHOD], M_CARD]:
        well, ill = floats[a, ROUTE_WELL + 2], floats[a, ROUTE_WELL + 3]
        like_well, like_ill = (well, ill) if hurdle == ISSUER else (1.0 - well, 1.0 - ill)
        _learn(m, 1, issuers, issuer, t, delay, like_well, like_ill)


@_inner
def _willing(m, recurring, number, hurdle, goes_on):
    """Write how likely each level of patience is to go on after a failure; a merchant's own retries know no patience."""
    for level in range(3):
        lean = m.retry_hurdle[hurdle] - 0.45 * (number - 1) + m.retry_patience[level]
        goes_on[level] = 0.6 if recurring else 1.0 / (1.0 + np.exp(-lean))


@_inner
def _offer(
    m, person, payment, prior, last, t, known, goes_on, ints, floats, routes, issuers, work, options, out, rows, odds
):
    """Write what checkout can do after attempt `last` and how likely each is to succeed, if the customer goes on."""
    n = _what_next(m, person, payment, prior, ints[last], options)
    for k in range(n):
        act = (options[k, 0], options[k, 1], options[k, 2], options[k, 3], options[k, 4], options[k, 5])
        when = t + options[k, 6]
        _describe(m, person, payment, prior, act, when, last, ints, floats, work)
        _believe(m, known, act[1], person.issuer, when, routes, issuers, work)
        _reweigh(work.belief[LEAVE], goes_on, True)
        _judge(m, work, out)
        rows[k, C_ATTEMPT], rows[k, C_WAIT] = last, options[k, 6]
        for j in range(6):
            rows[k, METHOD + j] = options[k, j]
        odds[k, 0], odds[k, 1] = out[0], 0.0
    return n


@_inner
def _attempt(m, person, payment, prior, act, t, a, last, known, ints, floats, routes, issuers, work, rng):
    """Write attempt `a` as it happens, row by row; the moment at which a customer is ready to go on after it."""
    _describe(m, person, payment, prior, act, t, last, ints, floats, work)
    _believe(m, known, act[1], person.issuer, t, routes, issuers, work)
    _judge(m, work, floats[a, P : P + 5])
    _reveal(person, act[1], t, routes, issuers, work)
    _judge(m, work, floats[a, FULL : FULL + 5])
    for k in range(2):
        floats[a, ROUTE_WELL + 2 * k], floats[a, ROUTE_WELL + 2 * k + 1] = _fall(m, work, k, 0), _fall(m, work, k, 1)

    hurdle, reason = 0, -1
    while hurdle < 6 and rng.random() >= work.falls[hurdle]:
        hurdle += 1
    lasts = m.duration[hurdle]
    duration = np.exp(lasts[0] + lasts[1] * act[3] + lasts[2] * rng.standard_normal())
    if hurdle < 6:
        situation = _context(m, payment, act, hurdle, person.expiry < t / _MONTH_S)
        reason = _pick(m.reason_odds[situation], rng.random())
        if m.reasons[reason, R_TIMEOUT] > 0.0:
            duration = m.reasons[reason, R_TIMEOUT] * (1.0 if rng.random() < 0.7 else 2.0)
    _learn_person(m, work, hurdle, known)  # no other attempt of theirs comes before this one's outcome is known

    ints[a, PREVIOUS], ints[a, PRIOR], ints[a, HURDLE], ints[a, REASON] = last, prior, hurdle, reason
    ints[a, METHOD], ints[a, ROUTE_USED], ints[a, FLOW], ints[a, STEPS], ints[a, STORED], ints[a, TOKEN] = act
    ints[a, NUMBER] = 1 if last < 0 else ints[last, NUMBER] + 1
    floats[a, CREATED], floats[a, DURATION] = t, duration
    floats[a, RESOLVED] = t + (max(duration, _MATURE_S) if hurdle == LEAVE else duration)
    return t + duration + np.exp((4.8 if hurdle == LEAVE else 2.9) + 0.8 * rng.standard_normal())


@_inner
def _settled(ints, floats, a):
    """The moment at which the outcomes of attempt `a` and of all before it in its payment are known."""
    latest = 0.0
    while a >= 0:
        latest = max(latest, floats[a, RESOLVED])
        a = ints[a, PREVIOUS]
    return latest


@_inner
def _entities(switches, share):
    n = len(switches)
    return Entities(switches, np.zeros(n, np.int64), np.full(n, share), np.zeros(n))


@njit(cache=True, error_model="numpy", no_cfunc_wrapper=True)
def run(m, people, payments, route_switches, issuer_switches, end, asked, rng):
    """Let all payments happen. Times are seconds since the start.

    `people` are PERSON_ROW, `payments` PAYMENT_ROW in order of arrival. `route_switches` and `issuer_switches`
    [entity, n] are the moments of falling ill and of recovery, in turn, ended by infinity. Retries later than `end` are
    not made. `asked` [payment, change, ASKED] are changes to judge each first attempt under; what happens is as if none
    were asked about. Returns the fields of `Run`: the attempts in order of creation, and the candidates.
    """
    n_people, n_payments = len(people), len(payments)
    ints = np.empty((n_payments * 3 // 2 + 64, len(ATTEMPT_INTS)), np.int64)
    floats = np.empty((n_payments * 3 // 2 + 64, len(ATTEMPT_FLOATS)))
    cand = np.empty((n_payments * 2 + 64, len(CANDIDATE_INTS)), np.int64)
    cand_p = np.empty((n_payments * 2 + 64, 2))
    n_attempts, n_cand, arrived = 0, 0, 0

    knows = np.empty((n_people, 3, 3))
    prior = np.empty(n_people, np.int64)
    for c in range(n_people):
        prior[c] = people[c].prior
        for k in range(3):
            for level in range(3):
                knows[c, k, level] = m.priors[people[c].country, k, level]
    busy = np.zeros(n_people)  # a customer's next payment starts after this moment
    routes, issuers = _entities(route_switches, m.health[0, E_SHARE]), _entities(issuer_switches, m.health[1, E_SHARE])
    work = Scratch(
        np.empty(6), np.empty(6), np.zeros((6, 3)), np.empty(6), np.empty(_TERMS, np.int64), np.empty(_TERMS)
    )  # fmt: skip
    work.belief[RISK, 0] = 1.0
    would, altered = np.full((n_payments, asked.shape[1], 2), np.nan), payments[:1].copy()
    options, scores, goes_on, out = np.empty((12, 8), np.int64), np.empty(12), np.empty(3), np.empty(5)

    heap = [(np.inf, np.int64(0))]
    while arrived < n_payments or len(heap) > 1:
        if arrived < n_payments and payments[arrived].at <= heap[0][0]:
            t, event, x = payments[arrived].at, _ARRIVE, arrived
            arrived += 1
        else:
            t, code = heapq.heappop(heap)
            event, x = code % 4, code // 4

        last, chosen = -1, x
        if event in (_RESOLVE, _DECIDE):
            last = x
        elif event == _RETRY:
            last = cand[x, C_ATTEMPT]
        i = x if last < 0 else ints[last, PAYMENT]
        payment = payments[i]
        c = payment.customer
        person = people[c]

        if event == _RESOLVE:
            _learn_entities(m, ints, floats, last, person.issuer, t, routes, issuers)
            continue

        if event == _ARRIVE and t < busy[c]:  # one payment at a time: wait until the open one is over
            again = t + 300.0 if busy[c] == np.inf else busy[c] + 1.0
            heapq.heappush(heap, (again, np.int64(i * 4 + _ARRIVE)))
            continue

        if event == _DECIDE:
            number = ints[last, NUMBER]
            if len(cand) < n_cand + len(options):
                cand, cand_p = _longer(cand, n_cand), _longer(cand_p, n_cand)
            _willing(m, payment.recurring, number, ints[last, HURDLE], goes_on)
            n = _offer(
                m, person, payment, prior[c], last, t, knows[c], goes_on, ints, floats, routes, issuers, work,
                options, out, cand[n_cand:], cand_p[n_cand:],
            )  # fmt: skip
            for k in range(n):
                scores[k] = m.advice[ints[last, REASON], options[k, 7]]
            n_cand += n
            if number >= MAX_ATTEMPTS:
                busy[c] = _settled(ints, floats, last)
                continue
            goes = rng.random() < goes_on[person.patience]
            _reweigh(knows[c, 0], goes_on, goes)
            if not goes:
                busy[c] = max(_settled(ints, floats, last), t)
                continue
            k, chance = _choose(scores, n, 0.15, rng.random())
            chosen = n_cand - n + k
            cand_p[chosen, 1] = chance
            if options[k, 6] > 0:
                heapq.heappush(heap, (t + options[k, 6], np.int64(chosen * 4 + _RETRY)))
                continue

        if event == _ARRIVE:
            act, chance = _first_act(m, person, payment, prior[c], rng.random())
            for k in range(asked.shape[1]):
                _would(
                    m, person, payment, prior[c], act, t, asked[i, k], knows[c], ints, floats, routes, issuers, work,
                    altered, out, would[i, k],
                )  # fmt: skip
        else:
            if t > end:
                busy[c] = max(_settled(ints, floats, last), t)
                continue
            act = (
                cand[chosen, 1], cand[chosen, 2], cand[chosen, 3], cand[chosen, 4], cand[chosen, 5], cand[chosen, 6]
            )  # fmt: skip
            chance = cand_p[chosen, 1]

        if len(ints) == n_attempts:
            ints, floats = _longer(ints, n_attempts), _longer(floats, n_attempts)
        a = n_attempts
        n_attempts += 1
        ints[a, PAYMENT], floats[a, PROPENSITY] = i, chance
        ready = _attempt(
            m, person, payment, prior[c], act, t, a, last, knows[c], ints, floats, routes, issuers, work, rng
        )  # fmt: skip
        heapq.heappush(heap, (floats[a, RESOLVED], np.int64(a * 4 + _RESOLVE)))
        if ints[a, HURDLE] == len(HURDLES):
            prior[c] += 1
            busy[c] = _settled(ints, floats, a)
        else:
            busy[c] = np.inf
            heapq.heappush(heap, (ready, np.int64(a * 4 + _DECIDE)))

    return ints[:n_attempts], floats[:n_attempts], cand[:n_cand], cand_p[:n_cand], would
