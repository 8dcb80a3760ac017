"""A plan and a read-out as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from insights.experiment_results import Plan, ReadOut
from insights.experiment_units import GUARDRAILS
from insights.measure import Measure

__all__ = ["told_plan", "told_read"]


def told_plan(plan: Plan) -> str:
    """What a test needs, in words."""
    arms = ", ".join(f"{name} {share:.0%}" for name, share in plan.arms.items())
    lines = [
        f"{plan.metric_label}: {_share(plan.baseline)} now ({plan.baseline.n:,} payments)",
        f"a rise of {100 * plan.minimum_effect:.2f} points is found {plan.power:.0%} of the time (arms {arms}) with",
        f"  read once, at the end      {plan.sample_size:>11,} payments   {_weeks(plan.days)}",
        f"  looked at on any day       {plan.sample_size_looking:>11,} payments   {_weeks(plan.days_looking)} at most",
        f"  there are                  {plan.payments_per_day:>11,.0f} payments a day that would take part",
        "what would be found in",
        *(
            f"  {weeks} week{'s' if weeks > 1 else ' '}   {100 * effect:+.2f} points"
            for weeks, effect in plan.smallest.items()
        ),
    ]
    if plan.guardrails:
        lines.append("guardrails, and the rise of each that such a test shows")
        rows = [
            (GUARDRAILS[name], f"{now.value:.4f}", f"+{plan.guardrail_effects[name]:.4f}")
            for name, now in plan.guardrails.items()
        ]
        lines += _table(rows)
    return "\n".join(lines)


def told_read(read: ReadOut) -> str:
    """What came of an experiment, in words; nothing of the effect where it is not to be read."""
    until = f" until {read.keep_until}" if read.keep_until else ""
    lines = [
        f"{read.experiment}: {read.verdict.upper()}{until}",
        f"  {read.why}",
        f"  {read.metric_label}; {read.since[:10]} to {read.until[:10]}",
        *(f"  !! {note}" for note in read.health.notes),
        "arms",
        *_table([(arm.name, f"{arm.payments:,}", _share(arm.metric)) for arm in read.arms]),
    ]
    health = read.health
    lines.append(
        f"  as uneven by chance: p = {health.sample_ratio_p:.2g}; in several arms: {health.multiple:.2%}; "
        f"not yet known: {health.unripe:,}"
    )
    if health.misassigned is not None:
        lines.append(f"  in another arm than the hash gives: {health.misassigned:.2%}")
    if health.faults:
        return "\n".join(lines)
    lines.append("effect, in points of payments (95 %)")
    for effect in read.effects:
        lines += _table(
            [
                (f"{effect.arm}, at the planned end", _points(effect.fixed), ""),
                (
                    f"{effect.arm}, with what was known before",
                    _points(effect.adjusted),
                    f"p = {effect.p_value:.3g}; {effect.saved:.0%} of the variance gone",
                ),
                (f"{effect.arm}, on any day", _points(effect.sequential), ""),
                (f"{effect.arm}, relative", _points(effect.relative), "%"),
                (f"{effect.arm}, if all got it", _counted(effect.per_month), "payments a month"),
            ]
        )
    if read.guardrails:
        lines.append("guardrails, difference to the control")
        lines += _table(
            [
                (
                    f"{guard.label}, {guard.arm}",
                    f"{guard.difference.value:+.4f} [{guard.difference.low:+.4f}, {guard.difference.high:+.4f}]",
                    "WORSE" if guard.broken else "",
                )
                for guard in read.guardrails
            ]
        )
    if read.segments:
        lines.append(f"segments, intervals and p-values for all {len(read.segments)} together")
        lines += _table(
            [
                (f"{one.column} {one.value}, {one.arm}", _points(one.effect), f"p = {one.p_value:.3g}")
                for one in read.segments
            ]
        )
    return "\n".join(lines)


def _share(rate: Measure) -> str:
    return f"{rate.value:.2%} [{rate.low:.2%}, {rate.high:.2%}]"


def _points(effect: Measure) -> str:
    return f"{100 * effect.value:+.2f} [{100 * effect.low:+.2f}, {100 * effect.high:+.2f}]"


def _counted(effect: Measure) -> str:
    return f"{effect.value:+,.0f} [{effect.low:+,.0f}, {effect.high:+,.0f}]"


def _weeks(days: int | None) -> str:
    return f"{days} days" if days is not None else "never: there are none"


def _table(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    wide = [max(len(row[place]) for row in rows) for place in range(2)]
    return [f"  {first:<{wide[0]}}  {second:>{wide[1]}}  {third}".rstrip() for first, second, third in rows]
