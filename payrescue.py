"""The command line, `payrescue`. Each command imports what it needs when it runs, so that help is quick."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from insights.experiment_commands import experiment_group

__all__ = ["main"]


def _blank_is_none(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """MLproject hands on what was not given as an empty text."""
    return value or None


def _seconds(text: str) -> float | None:
    """A number, or what was not given."""
    return float(text) if text else None


_DATA = click.option(
    "--data", "data", required=True, metavar="FILE", help="Attempts: Parquet, CSV, a folder, or a SQLAlchemy URL."
)
_QUERY = click.option(
    "--query", metavar="SQL", callback=_blank_is_none, help="What to ask, where --data is a database's URL."
)
_MAPPING = click.option(
    "--mapping", metavar="FILE", callback=_blank_is_none, help="YAML that brings in other people's columns and values."
)
_HISTORY = click.option(
    "--history", metavar="FILE", callback=_blank_is_none, help="Past attempts that the rows of --data may look back on."
)
_MODEL = click.option(
    "--model", metavar="URI", default="models:/payrescue@champion", show_default=True,
    help="The model: from the registry, or an artefact's folder.",
)  # fmt: skip
_RULES = click.option(
    "--rules",
    metavar="FILE",
    callback=_blank_is_none,
    help="CSV with your own limits, in place of or beside the networks'.",
)
_FEES = click.option(
    "--fees",
    metavar="FILE",
    callback=_blank_is_none,
    help="YAML with fees by route or method, the margin, and what effort costs.",
)
_ENGINE = click.option(
    "--engine", default="local", show_default=True, type=click.Choice(["local", "dask"]),
    help="local: this process; dask: the workers of a cluster, which read Parquet.",
)  # fmt: skip
_SCHEDULER = click.option(
    "--scheduler", metavar="ADDRESS", callback=_blank_is_none,
    help="The cluster's scheduler, such as tcp://host:8786; without it, a cluster is made on this machine.",
)  # fmt: skip
_OUTPUT = click.option("--output", required=True, metavar="FILE", help="Where to write: .parquet or .csv.")


_CONFIG = click.option("--config", metavar="FILE", help="YAML with settings; `payrescue train --settings` lists them.")
_SETS = click.option("--set", "sets", multiple=True, metavar="NAME=VALUE", help="One setting; may be given again.")


class _Ordered(click.Group):
    """Commands in the order of the work, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(self.commands)


def _told(command: Callable[..., Any]) -> Callable[..., Any]:
    """Bad input, and a file or folder that cannot be had, end a command with one clear message and exit code 2."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from features.errors import PayrescueError

        try:
            return command(*args, **kwargs)
        except PayrescueError as error:
            click.echo(f"payrescue: {error}", err=True)
            sys.exit(2)
        except OSError as error:
            if error.filename is None:
                raise
            click.echo(f"payrescue: {error.filename}: {error.strerror}", err=True)
            sys.exit(2)

    return wrapped


def _settings(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        from training.commands import describe_settings

        click.echo(describe_settings())
        context.exit()


@click.group(cls=_Ordered, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="payrescue")
def main() -> None:
    """Knows why payments fail, before and after, and tells checkout what to do next.

    \b
    A first tour:
      payrescue simulate --out demo --payments 50000 --seed 1
      payrescue train --data demo/attempts.parquet
      payrescue serve
    """


@main.command()
@click.option("--out", required=True, metavar="DIR", help="Folder for the four files.")
@click.option("--payments", required=True, type=int, help="How many payments; retries make for more attempts.")
@click.option("--seed", required=True, type=int, help="The same seed gives the same files.")
@click.option("--story", default="base", show_default=True, help="base, gateway or outage.")
@click.option("--days", type=float, help="Days that the payments spread over.  [default: 28]")
@_told
def simulate(out: str, payments: int, seed: int, story: str, days: float | None) -> None:
    """Make up payments whose true probabilities are known.

    Writes attempts.parquet, oracle.parquet, candidates.parquet and candidate_oracle.parquet.

    \b
    Example:
      payrescue simulate --out demo --payments 50000 --seed 1 --story outage
    """
    from training.commands import simulate

    simulate(Path(out), payments, seed, story, days)


@main.command()
@_DATA
@_QUERY
@_MAPPING
@_CONFIG
@_SETS
@click.option(
    "--settings", is_flag=True, is_eager=True, expose_value=False, callback=_settings, help="List every setting."
)
@_ENGINE
@_SCHEDULER
@click.option("--dry-run", is_flag=True, help="Say what would be done, and how long it would take; train nothing.")
@_told
def train(
    data: str,
    query: str | None,
    mapping: str | None,
    config: str | None,
    sets: tuple[str, ...],
    engine: str,
    scheduler: str | None,
    dry_run: bool,
) -> None:
    """Train, judge, log to MLflow and register a model; promote it if it beats the champion.

    \b
    Example:
      payrescue train --data demo/attempts.parquet --set num_leaves=31
    """
    from training.commands import train
    from training.retrain_commands import Source
    from training.retrain_commands import dry_run as look

    source = Source(data, query, mapping, Path(config) if config else None, sets)
    look(source) if dry_run else train(*source, engine, scheduler, pages=_pages)


def _pages(table: Any, uri: str, folder: Path, tell: Callable[[str], None]) -> None:
    """The product owners' pages of what a training has learnt from."""
    from insights.commands import write_pages_of

    write_pages_of(table, _model_told(uri), folder, tell)


@main.command()
@_DATA
@_QUERY
@_MAPPING
@_CONFIG
@_SETS
@click.option(
    "--trials", type=int, default=30, show_default=True, help="Trials of the study, those made before included."
)
@click.option("--timeout", type=_seconds, metavar="S", help="Seconds after which no further trial begins.")
@click.option(
    "--storage", metavar="URL", help="Where the study is kept.  [default: optuna.db beside MLflow's SQLite file]"
)
@click.option(
    "--output", metavar="FILE", default="tuned.yaml", show_default=True, help="Where to write the settings found."
)
@_told
def tune(
    data: str,
    query: str | None,
    mapping: str | None,
    config: str | None,
    sets: tuple[str, ...],
    trials: int,
    timeout: float | None,
    storage: str | None,
    output: str,
) -> None:
    """Search for better settings of the trees, on blocks of time that end before the slice that judges.

    Goes on where it was stopped (Ctrl-C keeps what was done), and ends by saying how much of the gain is beyond noise.

    \b
    Example:
      payrescue tune --data demo/attempts.parquet --trials 20 --timeout 1800
    """
    from training.retrain_commands import Source, tune

    source = Source(data, query, mapping, Path(config) if config else None, sets)
    tune(source, trials, timeout, storage, Path(output))


@main.command()
@_DATA
@_QUERY
@_MAPPING
@_CONFIG
@_SETS
@click.option("--against", metavar="FILE", callback=_blank_is_none, help="Other settings, compared on the same blocks.")
@click.option("--output", metavar="FILE", help="Also write the figures as JSON.")
@_told
def backtest(
    data: str,
    query: str | None,
    mapping: str | None,
    config: str | None,
    sets: tuple[str, ...],
    against: str | None,
    output: str | None,
) -> None:
    """How good models of these settings were, block after block of time, and whether they beat other settings.

    \b
    Example:
      payrescue backtest --data demo/attempts.parquet --config tuned.yaml --against now.yaml
    """
    from training.retrain_commands import Source, backtest

    source = Source(data, query, mapping, Path(config) if config else None, sets)
    backtest(source, Path(against) if against else None, Path(output) if output else None)


@main.command()
@_DATA
@_QUERY
@_MAPPING
@_CONFIG
@_SETS
@click.option(
    "--groups", metavar="NAMES", callback=_blank_is_none, help="Groups of features, by comma.  [default: all]"
)
@click.option("--output", metavar="FILE", help="Also write the figures as JSON.")
@_told
def ablate(
    data: str,
    query: str | None,
    mapping: str | None,
    config: str | None,
    sets: tuple[str, ...],
    groups: str | None,
    output: str | None,
) -> None:
    """What each group of features is worth: how much worse models are that go without it.

    \b
    Example:
      payrescue ablate --data demo/attempts.parquet --groups history,issuer
    """
    from training.retrain_commands import Source, ablate

    source = Source(data, query, mapping, Path(config) if config else None, sets)
    ablate(source, groups, Path(output) if output else None)


@main.command()
@_DATA
@_QUERY
@_MAPPING
@_OUTPUT
@_HISTORY
@_MODEL
@_ENGINE
@_SCHEDULER
@_told
def score(
    data: str,
    query: str | None,
    mapping: str | None,
    output: str,
    history: str | None,
    model: str,
    engine: str,
    scheduler: str | None,
) -> None:
    """What will become of each attempt: attempt_id and five probabilities.

    Nothing of a row's `after` columns is used for that row.

    \b
    Example:
      payrescue score --data demo/attempts.parquet --output scores.parquet
    """
    from training.commands import score

    score(data, query, mapping, Path(output), history, model, engine, scheduler)


@main.command()
@_DATA
@_QUERY
@_MAPPING
@_OUTPUT
@_HISTORY
@_MODEL
@_told
def diagnose(data: str, query: str | None, mapping: str | None, output: str, history: str | None, model: str) -> None:
    """Why each failed attempt failed, from what it left behind.

    \b
    Example:
      payrescue diagnose --data demo/attempts.parquet --output reasons.csv
    """
    from training.commands import diagnose

    diagnose(data, query, mapping, Path(output), history, model)


@main.command()
@_DATA
@_QUERY
@_MAPPING
@click.option("--candidates", required=True, metavar="FILE", help="What checkout could do next after each attempt.")
@_OUTPUT
@_HISTORY
@_MODEL
@_RULES
@_FEES
@_ENGINE
@_SCHEDULER
@_told
def recommend(
    data: str,
    query: str | None,
    mapping: str | None,
    candidates: str,
    output: str,
    history: str | None,
    model: str,
    rules: str | None,
    fees: str | None,
    engine: str,
    scheduler: str | None,
) -> None:
    """What to do next: every candidate with its rank, action, success probability and expected value.

    \b
    Example:
      payrescue recommend --data demo/attempts.parquet --candidates demo/candidates.parquet --output next.parquet
    """
    from training.commands import recommend

    own = Path(rules) if rules else None, Path(fees) if fees else None
    recommend(data, query, mapping, candidates, Path(output), history, model, *own, engine, scheduler)


@main.command()
@_DATA
@_QUERY
@_MAPPING
@_HISTORY
@_MODEL
@click.option(
    "--against", metavar="URI", callback=_blank_is_none, help="Another model, to compare with on the same attempts."
)
@click.option("--output", metavar="FILE", help="Also write the figures as JSON.")
@_told
def evaluate(
    data: str,
    query: str | None,
    mapping: str | None,
    history: str | None,
    model: str,
    against: str | None,
    output: str | None,
) -> None:
    """How good a model is on attempts with known outcomes, with intervals.

    With --against, how two models differ on the same attempts, in all and by slice, what got worse first.

    \b
    Example:
      payrescue evaluate --data march.parquet --history february.parquet --against models:/payrescue/1
    """
    from training.commands import evaluate

    evaluate(data, query, mapping, history, model, against, Path(output) if output else None)


@main.command()
@_DATA
@_QUERY
@_MAPPING
@_HISTORY
@_MODEL
@click.option("--output", metavar="DIR", help="Folder for monitor.json, monitor.prom and monitor.html.")
@_told
def monitor(
    data: str, query: str | None, mapping: str | None, history: str | None, model: str, output: str | None
) -> None:
    """Whether attempts are still those that a model was made for: drift, calibration, delays, unknown values and codes.

    Says whether to train again, and why. In 19 of 20 weeks in which nothing has changed, it raises no alarm.

    \b
    Example:
      payrescue monitor --data this_week.parquet --history attempts.parquet --output monitor
    """
    from training.trust_commands import monitor

    monitor(data, query, mapping, history, model, Path(output) if output else None)


@main.command()
@click.argument("run_id")
@click.option("--data", metavar="FILE", callback=_blank_is_none, help="Where the attempts are now, if they have moved.")
@click.option("--mapping", metavar="FILE", callback=_blank_is_none, help="Where the mapping is now, if it has moved.")
@_told
def reproduce(run_id: str, data: str | None, mapping: str | None) -> None:
    """Train again as an MLflow run did, and see whether the same artefact comes out, hash for hash.

    Says what differs: data, settings, commit, packages, machine. Exits with 1 if another artefact comes out. Nothing is
    registered.

    \b
    Example:
      payrescue reproduce 0a1b2c3d4e5f60718293a4b5c6d7e8f9
    """
    from training.trust_commands import reproduce

    reproduce(run_id, data, mapping)


@main.command("evaluate-policy")
@_DATA
@_QUERY
@_MAPPING
@click.option(
    "--policy",
    "policies",
    required=True,
    multiple=True,
    metavar="POLICY",
    help="rules, success_rate, greedy, explore, always:route=NAME, budget:fee=LIMIT, budget:success=SHARE, or your own; "
    "may be given again.",
)
@_HISTORY
@click.option(
    "--model",
    metavar="URI",
    callback=_blank_is_none,
    help="The model that greedy and explore go by; without it, one is learnt from the earlier attempts.",
)
@click.option(
    "--chosen",
    default="method,route,auth_flow",
    show_default=True,
    metavar="NAMES",
    help="What of these the logged policy chose, with the logged propensity.",
)
@click.option("--first", is_flag=True, help="Judge by payments' first attempts alone.")
@click.option(
    "--last",
    type=float,
    metavar="SHARE",
    help="Judge by this share of the payments, the latest; learn from the others.",
)
@click.option(
    "--propensity",
    metavar="COLUMN=VALUE:P,…",
    callback=_blank_is_none,
    help="Propensities by a column's values, where the attempts have none: route=north:0.7,harbor:0.3.",
)
@click.option(
    "--fees", metavar="FILE", callback=_blank_is_none, help="YAML with fees by route or method, and the margin."
)
@click.option("--output", metavar="FILE", help="Also write the figures as JSON.")
@_told
def evaluate_policy(
    data: str,
    query: str | None,
    mapping: str | None,
    policies: tuple[str, ...],
    history: str | None,
    model: str | None,
    chosen: str,
    first: bool,
    last: float | None,
    propensity: str | None,
    fees: str | None,
    output: str | None,
) -> None:
    """What a policy would have earned, from attempts logged with propensities, with intervals.

    Says what data would do where the log cannot tell.

    \b
    Example:
      payrescue evaluate-policy --data march.parquet --history february.parquet --policy greedy --chosen route
    """
    from training.policy_commands import Asked, evaluate_policy

    asked = Asked(policies, chosen, first, last, propensity, fees)
    evaluate_policy(data, query, mapping, history, model, asked, Path(output) if output else None)


def _arms_in(path: Path, name: str) -> Any:
    from serving.experiment_arms import arms_in

    return arms_in(path, name)


main.add_command(experiment_group(_told, _arms_in))


@main.group(cls=_Ordered)
def codes() -> None:
    """What processors' response codes mean.

    \b
    Example:
      payrescue codes explain stripe insufficient_funds
    """


@codes.command("explain")
@click.argument("scheme", required=False)
@click.argument("code", required=False)
@click.option("--message", metavar="TEXT", help="What the processor said beside the code.")
@click.option("--card-brand", metavar="BRAND", help="visa, mastercard, …: networks have codes of their own.")
@click.option(
    "--data", metavar="FILE", help="A table instead: code_scheme, response_code, and message if there is one."
)
@click.option("--output", metavar="FILE", help="Where to write the table: .parquet or .csv.")
@_told
def codes_explain(
    scheme: str | None,
    code: str | None,
    message: str | None,
    card_brand: str | None,
    data: str | None,
    output: str | None,
) -> None:
    """What a code means, why, and what suits; a code that no table has is read by its text.

    SCHEME says whose code it is: iso8583, visa, mastercard_mac, 3ds_challenge_cancel, stripe, adyen, … With --data,
    category, reason, confidence and decided_by are added to a table.

    \b
    Example:
      payrescue codes explain acme E-17 --message "not enough balance on the card"
    """
    from training.code_commands import explain

    explain(scheme, code, message, card_brand, data, Path(output) if output else None)


@main.command()
@click.argument("what", type=click.Choice(["list"]))
@click.option("--network", metavar="NAME", help="Only the rules that hold for this card brand, such as visa.")
@_RULES
@_told
def rules(what: str, network: str | None, rules: str | None) -> None:  # noqa: ARG001  there is one thing to do so far
    """List the rules above the model: what must not be tried again, how often, and by which edition.

    \b
    Example:
      payrescue rules list --network visa
    """
    from models.actions import decision_table
    from models.rules import network_rules, read_rules
    from models.rules_list import told

    book = read_rules(Path(rules)) if rules else network_rules()
    click.echo(told(book, decision_table(), network))


@main.command()
@_DATA
@_QUERY
@_MAPPING
@click.option(
    "--model", metavar="URI", callback=_blank_is_none, help="The model.  [default: models:/payrescue@champion, if any]"
)
@click.option("--config", metavar="FILE", callback=_blank_is_none, help="YAML with targets, marks in time, currencies.")
@click.option(
    "--decisions",
    metavar="FILE",
    callback=_blank_is_none,
    help="What the service suggested: `payrescue export-log --decisions` writes it.",
)
@click.option("--output", required=True, metavar="DIR", help="Folder for the pages.")
@_told
def report(
    data: str,
    query: str | None,
    mapping: str | None,
    model: str | None,
    config: str | None,
    decisions: str | None,
    output: str,
) -> None:
    """Write the product owners' pages: where payments fail and why, what was suggested, how good the model is.

    Static files, in English and Korean, that need no server: open index.html.

    \b
    Example:
      payrescue report --data demo/attempts.parquet --output pages
    """
    from insights.commands import ReportAsked, write_report
    from training.console import progress
    from training.policy_report import policies_judged

    paths = (Path(path) if path else None for path in (config, decisions))
    asked = ReportAsked(data, Path(output), query, mapping, *paths)
    with progress("reporting") as (tell, _):
        said = write_report(asked, lambda: _model_told(model), policies_judged, tell=tell)
    click.echo(said)


def _model_told(uri: str | None) -> Any:
    """What the pages say of a model: the one named, else the champion, else None."""
    from features.errors import BadInput
    from insights.model_told import ModelTold
    from training import tracking
    from training.model_history import version_told
    from training.own import store_is_there

    if uri is None and not store_is_there():
        return None  # and no store is made before the attempts are known to be good
    tracking.store()
    try:
        return ModelTold(**vars(version_told(uri or "models:/payrescue@champion")))
    except BadInput:
        if uri is not None:
            raise
        return None


_REASON = click.option("--reason", default="", metavar="TEXT", help="Why; written down with the move.")
_NAME = click.option("--name", default="payrescue", show_default=True, help="The registered model.")


@main.command()
@click.option("--version", metavar="N", help="The version to make champion.  [default: the challenger]")
@_REASON
@_NAME
@_told
def promote(version: str | None, reason: str, name: str) -> None:
    """Make a version the champion, which is what serves; services take it up within seconds.

    It is loaded first, as a service would: a version that cannot be served is refused. Old, new, time and reason are written
    into the registry's tags.

    \b
    Example:
      payrescue promote --version 7 --reason "better on March"
    """
    from training.commands import promote

    promote(name, version, reason)


@main.command()
@_REASON
@_NAME
@_told
def rollback(reason: str, name: str) -> None:
    """Make the version champion that was champion before; services take it up within seconds.

    Each rollback goes one champion further back: a second one never returns to what the first one left. To go forward again,
    promote.

    \b
    Example:
      payrescue rollback --reason "declines in JP doubled"
    """
    from training.commands import rollback

    rollback(name, reason)


@main.command()
@_NAME
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@_told
def champions(name: str, as_json: bool) -> None:
    """Who was champion when: every move, who made it, and why.

    \b
    Example:
      payrescue champions
    """
    from training.trust_commands import champions

    champions(name, as_json=as_json)


@main.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on.  [default: 3000]")
@click.option("--workers", type=int, help="Worker processes.  [default: 1]")
@click.option(
    "--model", metavar="URI", help="The model; `none` for the rules alone.  [default: models:/payrescue@champion]"
)
@_RULES
@_FEES
@click.option(
    "--log",
    metavar="URL",
    help="Where decisions and outcomes are kept: SQLite or PostgreSQL; `none` for nowhere."
    "  [default: sqlite:///payrescue-log.db]",
)
@click.option("--state", metavar="URL", help="What outcomes tell: `memory`, or the URL of a Redis.  [default: memory]")
@click.option(
    "--experiments",
    metavar="FILE",
    callback=_blank_is_none,
    help="YAML with shadows, canaries and A/B tests; read anew.",
)
@click.option(
    "--keys",
    metavar="FILE",
    callback=_blank_is_none,
    help="API keys, as `payrescue keys add` makes them; needed off loopback.",
)
@click.option(
    "--access-log", metavar="SHARE", help="Requests that get a line of JSON: on, off or a share.  [default: on]"
)
@click.option("--insights", metavar="DIR", help="Pages for product owners, as `payrescue report` writes them.")
@click.option(
    "--policy",
    metavar="NAME",
    help="What chooses: greedy, explore, success_rate, rules, always:route=NAME, budget:price=NUMBER, or your own.  "
    "[default: greedy]",
)
@_told
def serve(**given: Any) -> None:
    """Answer checkout over HTTP: on the champion; with no model yet, on the rules.

    \b
    Example:
      payrescue serve --port 3000
    """
    from serving.commands import serve

    serve(given)


@main.command("export-log")
@click.option(
    "--log",
    metavar="URL",
    callback=_blank_is_none,
    help="The service's log.  [default: PAYRESCUE_LOG, else sqlite:///payrescue-log.db]",
)
@_OUTPUT
@click.option(
    "--decisions", metavar="FILE", callback=_blank_is_none, help="Where to write what was suggested, for the pages."
)
@_told
def export_log(log: str | None, output: str, decisions: str | None) -> None:
    """Give back the attempts that the service was asked about, with their outcomes, to train on.

    \b
    Example:
      payrescue export-log --log sqlite:///payrescue-log.db --output attempts.parquet
    """
    from serving.log_commands import export_log

    export_log(log, Path(output), decisions=Path(decisions) if decisions else None, say=click.echo)


@main.command("prune-log")
@click.option(
    "--log",
    metavar="URL",
    callback=_blank_is_none,
    help="The service's log.  [default: PAYRESCUE_LOG, else sqlite:///payrescue-log.db]",
)
@click.option("--older-than", required=True, type=float, metavar="DAYS", help="What is older goes; from 31.")
@click.option(
    "--model", "models", metavar="URI", multiple=True,
    help="A model that serves from this log; may be given again.  [default: PAYRESCUE_MODEL, else the champion]",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@_told
def prune_log(log: str | None, older_than: float, models: tuple[str, ...], dry_run: bool) -> None:
    """Take old decisions and outcomes out of the service's log; export them before, if they are to be trained on.

    What a model that serves has not learnt from stays, and with it the past that it looks back on.

    \b
    Example:
      payrescue prune-log --older-than 400 --dry-run
    """
    import time

    from serving.log_commands import prune_log

    prune_log(log, older_than, models, now=time.time_ns() // 1_000, dry=dry_run, say=click.echo)


_KEYS = click.option("--file", "file", required=True, metavar="FILE", help="Where the keys are kept, as hashes.")


@main.group(cls=_Ordered)
def keys() -> None:
    """API keys of the service: a file of names, scopes and hashes.

    \b
    Example:
      payrescue keys list --file keys.yaml
    """


@keys.command("add")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    metavar="SCOPE",
    help="score, outcomes, read or admin; may be given again.",
)
@_KEYS
@_told
def keys_add(name: str, scopes: tuple[str, ...], file: str) -> None:
    """Make a key and print it, this once: only its hash is kept.

    A service that uses the file takes the key within two seconds.

    \b
    Example:
      payrescue keys add checkout --scope score --scope outcomes --file keys.yaml
    """
    from serving.key_commands import add

    click.echo(add(Path(file), name, scopes))


@keys.command("list")
@_KEYS
@_told
def keys_list(file: str) -> None:
    """Each key's name, date and scopes.

    \b
    Example:
      payrescue keys list --file keys.yaml
    """
    from serving.key_commands import listed

    click.echo(listed(Path(file)))


@keys.command("revoke")
@click.argument("name")
@_KEYS
@_told
def keys_revoke(name: str, file: str) -> None:
    """Take a key out: it is refused within two seconds.

    \b
    Example:
      payrescue keys revoke checkout --file keys.yaml
    """
    from serving.key_commands import revoke

    click.echo(revoke(Path(file), name))


if __name__ == "__main__":
    main()
