"""`payrescue codes explain`: what a response code means and who says so, for one code or for a table of them."""

from __future__ import annotations

from collections import Counter
from functools import cache
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import BadInput, CardNumberFound, Fault
from features.taxonomy import CODES_EDITION, reasons
from models.actions import Plan, decision_table
from models.code_answer import LEAST, CodeAnswer, by_table
from models.messages import messages
from training.console import progress
from training.output import want_table, write_table

if TYPE_CHECKING:
    import pyarrow as pa

    from models.code_text import CodeText

__all__ = ["describe", "explain", "explain_table"]

_NO_CARDS = "no card numbers: leave them out"
_ADDED = ("category", "reason", "confidence", "decided_by")
_WIDTH = 13


def explain(
    scheme: str | None,
    code: str | None,
    message: str | None,
    card_brand: str | None,
    data: str | None,
    output: Path | None,
) -> None:
    """`payrescue codes explain`. Raises BadInput unless it is given one code, or a table and where to write."""
    if data is None and output is None and scheme is not None and (code or message):
        print(explain_one(scheme, code or "", message or "", card_brand))  # noqa: T201
    elif data is not None and output is not None and scheme is None and message is None and card_brand is None:
        print(explain_table(data, output))  # noqa: T201
    else:
        raise BadInput("codes explain", message="want SCHEME and CODE, or a table by --data and --output")


def explain_one(scheme: str, code: str, message: str = "", card_brand: str | None = None) -> str:
    """What one code means, for a person to read. Raises CardNumberFound if there is a card number in what is given."""
    from features.cards import contains_card_number

    given = {"SCHEME": scheme, "CODE": code, "--message": message, "--card-brand": card_brand or ""}
    guilty = [name for name, text in given.items() if contains_card_number(text)]
    if guilty:
        raise CardNumberFound("codes explain", [Fault(name, _NO_CARDS) for name in guilty])
    told = by_table(scheme, code, card_brand) or _text_model().explain(scheme, code, message, card_brand)
    return describe(f"{scheme} {code}".strip(), told)


@cache
def _text_model() -> CodeText:
    from training.code_text import fit_code_text

    return fit_code_text()


def describe(asked: str, told: CodeAnswer) -> str:
    """An answer as lines of text, each with its name in front."""
    sub_reason = told.sub_reason
    if sub_reason is None:
        return "\n".join([f"{asked}: cannot tell", *_lines("decided by", _why_not(told)), *_like(told)])
    reason = reasons()[sub_reason.reason]
    finer = f", finer: {sub_reason.sub_reason}" if sub_reason.sub_reason != reason.reason else ""
    kind = (told.known or sub_reason).soft_hard
    plan = decision_table().plan(reason.reason, sub_reason.sub_reason)
    lines = [
        f"{asked}: {reason.title}",
        *_lines("means", told.known.meaning if told.known else reason.meaning),
        *_lines("category", reason.category),
        *_lines("reason", reason.reason + finer),
        *_lines("kind", "soft: may work another time" if kind == "soft" else "hard: will not work as it is"),
        *_lines("who can act", reason.who_can_act),
        *_lines("what suits", *_what_suits(plan, told)),
        *_lines("never", *_never(plan, told)),
        *_lines("customer", (messages("en") or ("", {}))[1][reason.message_key]),
        *_lines("decided by", *_why(told)),
    ]
    return "\n".join(lines + _like(told))


def _lines(name: str, *texts: str) -> list[str]:
    """Texts under one name, the name before the first."""
    return [f"  {name if place == 0 else '':<{_WIDTH}}{text}" for place, text in enumerate(texts)]


def _what_suits(plan: Plan, told: CodeAnswer) -> list[str]:
    steps = ([plan.always] if plan.always else []) + list(plan.steps)
    wait_s = told.known.wait_s if told.known else None
    said = [f"not before {_time(wait_s)} from now, the network says"] if wait_s else []
    return said + [
        f"{step.action}{f' after {_time(step.wait_s)}' if step.wait_s else ''}: {step.because}" for step in steps
    ]


def _time(seconds: int) -> str:
    unit, name = (3600, "hour") if seconds >= 3600 else (60, "minute")
    count = seconds / unit
    return f"{count:g} {name}{'' if count == 1 else 's'}"


def _never(plan: Plan, told: CodeAnswer) -> list[str]:
    rule = told.known.rule if told.known else None
    said = [f"the same means again, in any way (rule {rule})"] if rule else []
    return said + [f"{action}: {ban.because} (rule {ban.rule})" for action, ban in plan.never.items()]


def _why(told: CodeAnswer) -> list[str]:
    if told.known is not None:
        whose = "the card network's table" if told.decided_by == "network_table" else "the table"
        open_ = [] if told.known.decides else ["the code leaves the cause open: this is its usual reading"]
        return [f"{whose} of {told.known.scheme}, edition {CODES_EDITION}; source: {told.known.source}", *open_]
    reading = told.reading
    assert reading is not None  # noqa: S101  what has neither a row nor a reading cannot tell
    category = reading.category_probability[reading.category]
    return [f"the text model: {reading.category} {_sure(category)}, {reading.reason} {_sure(reading.confidence)}"]


def _sure(probability: float) -> str:
    """Never 100 %: that is for tables."""
    return f"{min(floor(probability * 100), 99)}% sure"


def _why_not(told: CodeAnswer) -> str:
    reading = told.reading
    if reading is None:
        return "nobody: no table has it, and no word of it is known; a text helps, by --message"
    sure = reading.category_probability[reading.category]
    return f"nobody: no table has it, and by its text {reading.category} is likeliest at {sure:.0%}, under {LEAST:.0%}"


def _like(told: CodeAnswer) -> list[str]:
    near = [
        f"{known.code.scheme} {known.code.code} ({known.likeness:.0%}): {known.code.meaning} → {known.code.reason}"
        for known in told.near
    ]
    return _lines("most like", *near)


def explain_table(data: str, output: Path) -> str:
    """Write the table in `data` with category, reason, confidence and decided_by added; what was done, in a line.

    Columns code_scheme and response_code are wanted, message and card_brand may be there; all columns are kept. One
    that has the name of an added one is kept as given_<name>. Raises BadInput if columns are missing or double,
    CardNumberFound if there are card numbers.
    """
    from features.attempt_files import read_table
    from features.card_columns import find_card_numbers

    want_table(output)
    with progress("explaining codes") as (tell, _):
        table, name = read_table(data)
        faults = find_card_numbers(table)
        if faults:
            raise CardNumberFound(name, faults[:20])
        _want_columns(table, name)
        tell(f"{table.num_rows:,} rows read")
        answers = _answers(table)
        renamed = [f"given_{column}" if column in _ADDED else column for column in table.column_names]
        _write(table.rename_columns(renamed), answers, output)
    by = Counter(told.decided_by for told in answers)
    said = ", ".join(f"{decided_by} {count:,}" for decided_by, count in by.most_common())
    kept = [
        f"column {new[6:]} kept as {new}" for new, old in zip(renamed, table.column_names, strict=True) if new != old
    ]
    return "; ".join([f"{table.num_rows:,} rows explained ({said}) in {output}", *kept])


def _want_columns(table: pa.Table, name: str) -> None:
    there = Counter(table.column_names)
    faults = [
        Fault(column, "a column of this name in the table")
        for column in ("code_scheme", "response_code")
        if column not in there
    ]
    faults += [Fault(column, "one column of this name, not more") for column, count in there.items() if count > 1]
    faults += [
        Fault(f"given_{column}", "no column of this name where there is one that it would replace")
        for column in _ADDED
        if column in there and f"given_{column}" in there
    ]
    if faults:
        raise BadInput(name, faults)


def _answers(table: pa.Table) -> list[CodeAnswer]:
    """An answer for each row; each combination of scheme, code, message and brand is asked for once."""

    def column(name: str) -> list[str]:
        values = table.column(name).to_pylist() if name in table.column_names else [None] * table.num_rows
        return [_text(value) for value in values]

    known: dict[tuple[str, str, str, str], CodeAnswer] = {}
    answers = []
    asked = (column(name) for name in ("code_scheme", "response_code", "message", "card_brand"))
    for key in zip(*asked, strict=True):
        told = known.get(key)
        if told is None:
            scheme, code, message, brand = key
            told = by_table(scheme, code, brand or None)
            told = known[key] = told or _text_model().explain(scheme, code, message, brand or None, near=0)
        answers.append(told)
    return answers


def _text(value: Any) -> str:
    """A cell as text: a code that was read as a number is one without a fraction."""
    if value is None or value != value:  # NaN is no number, not even itself
        return ""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def _write(table: pa.Table, answers: list[CodeAnswer], output: Path) -> None:
    import pandas as pd
    import pyarrow as pa

    # Whole numbers with gaps stay whole numbers in Arrow's types; pandas cannot name its nested ones in a file.
    frame = table.replace_schema_metadata(None).to_pandas(
        types_mapper=lambda kind: (
            None if pa.types.is_nested(kind) or pa.types.is_dictionary(kind) else pd.ArrowDtype(kind)
        )
    )
    frame["category"] = pd.array([told.category for told in answers], dtype="string")
    frame["reason"] = pd.array([told.reason for told in answers], dtype="string")
    frame["confidence"] = pd.array([told.confidence for told in answers], dtype="Float64")
    frame["decided_by"] = pd.array([told.decided_by for told in answers], dtype="string")
    write_table(frame, output)
