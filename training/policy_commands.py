"""`payrescue evaluate-policy`: what a policy would have earned, as a table for people and as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from training.console import progress
from training.own import read_for

__all__ = ["Asked", "evaluate_policy", "told"]


class Asked(NamedTuple):
    """The options of the command that say what is asked, as they were given."""

    policies: tuple[str, ...]
    chosen: str
    first: bool
    last: float | None
    propensity: str | None
    fees: str | None


def evaluate_policy(
    data: str,
    query: str | None,
    mapping: str | None,
    history: str | None,
    model: str | None,
    asked: Asked,
    output: Path | None,
) -> None:
    """`payrescue evaluate-policy`."""
    # As in training: LightGBM's threads wait in a loop unless told otherwise
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from features.cards import contains_card_number
    from features.errors import CardNumberFound
    from models.fees import read_fees
    from training.policy_evaluate import PolicyQuestion, evaluate_policies
    from training.policy_log import read_propensities

    if any(contains_card_number(given) for given in (*asked.policies, asked.chosen, asked.propensity or "")):
        raise CardNumberFound("evaluate-policy", message="an option holds a card number; want none")
    question = PolicyQuestion(
        chosen=tuple(name.strip() for name in asked.chosen.split(",")),
        first=asked.first,
        last=asked.last,
        propensities=read_propensities(asked.propensity) if asked.propensity else None,
        fees=read_fees(Path(asked.fees)) if asked.fees else None,
    )
    with progress("judging policies") as (tell, _):
        artefact = None
        if model is not None:
            from training import tracking

            tracking.store()
            artefact = tracking.fetch(model)[0]
        table, past = read_for([artefact] if artefact is not None else [], data, query, mapping, history, tell)
        found = evaluate_policies(table, asked.policies, question, past=past, artefact=artefact, tell=tell)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps({"data": data, "model": model, **found}, indent=1) + "\n", encoding="utf-8")
    print(told(found))  # noqa: T201


_COLUMNS = ("snips", "dr", "ips", "dm")
"""The estimators as they are shown, the one to trust first at the front."""


def told(found: Mapping[str, Any]) -> str:
    """The figures of `evaluate_policies` as a table."""
    by = ", ".join(found["logged_by"]) or "a policy that is not named"
    n, payments = f"{found['decisions']:,}", f"{found['payments']:,}"
    wide = max(len(name) for name in ("policy", *found["policies"])) + 2
    estimators = "".join(f"{name:<24}" for name in _COLUMNS)
    lines = [
        f"{n} decisions of {payments} payments, logged by {by}, which chose {', '.join(found['chosen'])}",
        f"{'policy':<{wide}}{'reward':<9}{estimators}{'ESS':>7}  overlap  max weight",
    ]
    for name, figures in found["policies"].items():
        if figures["refused"] is not None:
            lines.append(f"{name:<{wide}}no estimate: {figures['refused']}")
            continue
        carried = f"{figures['ess']:>7,.0f}  {figures['overlap']:>7.0%}  {figures['largest_weight']:>10.1f}"
        for place, reward in enumerate(reward for reward in ("success", "fee", "value") if reward in figures):
            cells = "".join(f"{_cell(figures[reward].get(one)):<24}" for one in _COLUMNS)
            lines.append(
                f"{name if place == 0 else '':<{wide}}{reward:<9}{cells}{carried if place == 0 else ''}".rstrip()
            )
        if "price" in figures:
            lines.append(f"{'':<{wide}}(serves as budget:price={figures['price']:.4g})")
        if name != "logged" and figures["as_logged"] > 0.0:
            lines.append(f"{'':<{wide}}(in {figures['as_logged']:.0%} of the decisions it can but do as logged)")
    lines.append("95 % intervals, bootstrap over payments; ESS: what the decisions are worth for this policy")
    if found["currency"] is not None:
        lines.append(f"fee and value in {found['currency']} per attempt")
    lines += [f"!! {warning}" for warning in found["warnings"]]
    return "\n".join(lines)


def _cell(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "-"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"
