"""`payrescue experiment plan` and `payrescue experiment read`. What they work with is imported when they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["experiment_group"]

Arms = Callable[[Path, str], tuple[dict[str, float], Callable[[str], str | None]]]

_DATA = (
    click.option(
        "--data", required=True, metavar="FILE", help="Attempts: Parquet, CSV, a folder, or a SQLAlchemy URL."
    ),
    click.option("--query", metavar="SQL", help="What to ask, where --data is a database's URL."),
    click.option("--mapping", metavar="FILE", help="YAML that brings in other people's columns and values."),
)
_ABOUT = (
    click.option("--metric", default="paid", show_default=True, help="paid (in the end) or first_try."),
    click.option(
        "--minimum-effect", default=1.0, show_default=True, metavar="POINTS", help="Smallest rise worth finding."
    ),
    click.option(
        "--guardrail", "guardrails", multiple=True, metavar="NAME", help="What must not rise.  [default: all]"
    ),
    click.option("--output", metavar="FILE", help="Also write it as JSON."),
)


def experiment_group(guarded: Callable[..., Any], arms_in: Arms) -> click.Group:
    """The group. `guarded` ends a command on bad input; `arms_in` reads an experiments' file, as the service does."""

    @click.group()
    def experiment() -> None:
        """Experiments: how long one takes, and what came of it.

        \b
        Example:
          payrescue experiment plan --data attempts.parquet --minimum-effect 0.5
        """

    @experiment.command()
    @_with(_DATA)
    @click.option("--arms", default="control=0.5,challenger=0.5", show_default=True, help="Shares; the control first.")
    @click.option("--power", default=0.8, show_default=True, help="Chance to find the effect if it is there.")
    @click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Which payments; may be given again.")
    @_with(_ABOUT)
    @guarded
    def plan(**given: Any) -> None:
        """How many payments a test needs, and how many days of your traffic that is.

        \b
        Example:
          payrescue experiment plan --data attempts.parquet --minimum-effect 0.5 --where country=KR,TW
        """
        _plan(**given)

    @experiment.command()
    @click.option("--name", required=True, help="The experiment, as the attempts have it.")
    @_with(_DATA)
    @click.option(
        "--experiments", metavar="FILE", help="The service's experiments: shares, and who was assigned to which arm."
    )
    @click.option("--shares", metavar="ARM=SHARE,…", help="The arms' shares, without that file.  [default: equal]")
    @click.option("--control", metavar="ARM", help="The arm to compare with.  [default: control]")
    @click.option("--planned", type=int, metavar="PAYMENTS", help="The size that was planned, all arms together.")
    @_with(_ABOUT)
    @guarded
    def read(**given: Any) -> None:
        """What came of an experiment: may it be read, the effect, guardrails, segments, and a verdict.

        \b
        Example:
          payrescue experiment read --name fewer_challenges --data attempts.parquet --experiments experiments.yaml
        """
        _read(arms_in, **given)

    return experiment


def _with(options: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _plan(
    data: str, query: str | None, mapping: str | None, arms: str, power: float, where: Sequence[str], metric: str,
    minimum_effect: float, guardrails: Sequence[str], output: str | None,
) -> None:  # fmt: skip
    from features.errors import BadInput, Fault
    from insights.experiment_text import told_plan
    from insights.experiments import plan
    from insights.opportunities_sides import parsed

    segment, faults = parsed(where)
    if not 0.0 < power < 1.0:
        faults.append(Fault("--power", "above 0 and below 1", seen=f"{power:g}"))
    if faults:
        raise BadInput("experiment plan", faults)
    found = plan(
        _attempts(data, query, mapping), metric=metric, minimum_effect=minimum_effect / 100.0, power=power,
        arms=_shares("--arms", arms), segment=segment, guardrails=tuple(guardrails) or None,
    )  # fmt: skip
    _tell(told_plan(found), found.as_dict(), output)


def _read(
    arms_in: Arms, name: str, data: str, query: str | None, mapping: str | None, experiments: str | None,
    shares: str | None, control: str | None, planned: int | None, metric: str, minimum_effect: float,
    guardrails: Sequence[str], output: str | None,
) -> None:  # fmt: skip
    import numpy as np

    from features.errors import BadInput, Fault
    from insights.experiment_text import told_read
    from insights.experiments import read

    if planned is not None and planned < 1:
        raise BadInput("experiment read", [Fault("--planned", "1 payment or more", seen=str(planned))])
    told, assigned = _shares("--shares", shares) if shares else None, None
    if experiments is not None:
        told, assigned = arms_in(Path(experiments), name)
    found = read(
        _attempts(data, query, mapping), name, np.random.default_rng(7), metric=metric,
        minimum_effect=minimum_effect / 100.0, control=control, shares=told, assigned=assigned, planned=planned,
        guardrails=tuple(guardrails) or None,
    )  # fmt: skip
    _tell(told_read(found), found.as_dict(), output)


def _attempts(data: str, query: str | None, mapping: str | None) -> pd.DataFrame:
    import os
    from datetime import UTC, datetime
    from functools import partial

    # As in training: LightGBM's threads wait in a loop unless told otherwise
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from features.attempts import read_attempts

    say = partial(click.echo, err=True)
    return read_attempts(data, mapping or None, now=datetime.now(UTC), query=query or None, progress=say)


def _shares(option: str, text: str) -> Mapping[str, float]:
    """`NAME=SHARE,…`."""
    from features.errors import BadInput, Fault

    told: dict[str, float] = {}
    for pair in text.split(","):
        name, _, share = pair.partition("=")
        try:
            told[name.strip()] = float(share)
        except ValueError:
            raise BadInput("experiment", [Fault(option, "NAME=SHARE,NAME=SHARE", seen=text[:60])]) from None
    return told


def _tell(text: str, found: Mapping[str, Any], output: str | None) -> None:
    import json

    if output is not None:
        path = Path(output)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    click.echo(text)
