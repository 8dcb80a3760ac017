"""The attempts table, as columns.csv has it: each column's type, unit, and when it is known."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

__all__ = ["CATEGORIES", "OUTCOMES", "Column", "Known", "after_columns", "before_columns", "columns"]

Known = Literal["before", "after"]

OUTCOMES = ("success", "authentication", "bank_decline", "user_abandonment", "technical")
"""What can become of an attempt, in the order of every probability vector."""

CATEGORIES = OUTCOMES[1:]
"""Why an attempt can fail."""


@dataclass(frozen=True)
class Column:
    """One column of the attempts table.

    >>> columns()["amount_minor"].unit
    'minor units of currency'
    """

    name: str
    type: str  # string | timestamp | int64 | float64 | bool | category
    unit: str
    required: bool
    for_training: bool
    known: Known
    meaning: str


@cache
def columns() -> dict[str, Column]:
    """Every column by name, in the table's order."""
    with files("features").joinpath("columns.csv").open(encoding="utf-8") as file:
        return {
            row["name"]: Column(
                name=row["name"],
                type=row["type"],
                unit=row["unit"],
                required=row["required"] == "yes",
                for_training=row["required"] in {"yes", "for training"},
                known="before" if row["known"] == "before" else "after",
                meaning=row["meaning"],
            )
            for row in csv.DictReader(file)
        }


def before_columns() -> list[str]:
    """Names of what is known when an attempt is submitted."""
    return [name for name, column in columns().items() if column.known == "before"]


def after_columns() -> list[str]:
    """Names of what is known only once an attempt has ended."""
    return [name for name, column in columns().items() if column.known == "after"]
