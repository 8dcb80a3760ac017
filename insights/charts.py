"""Charts as data: what Plotly draws in the browser, with the same figures as a table for who cannot see it.

A colour is a name (`--ok`, say) that the page's style sheet has a value for, in light and in dark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

__all__ = ["Chart", "bars", "lines", "stamp"]

Trace = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """One chart: `summary` says in a sentence what it shows, `columns` and `rows` are its table, `note` stands beneath it.

    `kinds` has a letter for each column: t text, n count, s share, p difference of shares (points), f other number.
    """

    id: str
    title: str
    summary: str
    traces: Sequence[Trace]
    columns: Sequence[str]
    kinds: str
    rows: Sequence[Sequence[Any]]
    layout: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    height: int = 340

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in (self.kinds, *self.rows)):
            raise ValueError(
                f"chart {self.id!r}: want a kind and a cell in each row for each of {len(self.columns)} columns"
            )

    def drawn(self) -> dict[str, Any]:
        """What the page's script is told: plain JSON."""
        return {"traces": _plain(self.traces), "layout": _plain(self.layout), "height": self.height}


def _plain(value: Any) -> Any:
    """A copy in which what is not a finite number is null, as JSON wants it."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def stamp(at: int) -> str:
    """Microseconds since 1970 as Plotly reads a time."""
    return datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%d %H:%M")


def lines(
    x: Sequence[Any], value: Sequence[float], low: Sequence[float], high: Sequence[float], name: str, colour: str,
    hover: Sequence[str],
) -> list[Trace]:  # fmt: skip
    """A line with its interval as a band around it."""
    band = {"x": [*x, *reversed(x)], "y": [*high, *reversed(low)], "fill": "toself", "mode": "lines"}
    return [
        {**band, "line": {"width": 0}, "fillcolor": f"{colour}-band", "hoverinfo": "skip", "showlegend": False},
        {
            "x": list(x), "y": list(value), "mode": "lines+markers", "name": name, "line": {"color": colour, "width": 2},
            "marker": {"color": colour, "size": 5}, "text": list(hover), "hoverinfo": "text",
        },
    ]  # fmt: skip


def bars(
    labels: Sequence[str], value: Sequence[float], low: Sequence[float], high: Sequence[float], name: str,
    colour: str | Sequence[str], hover: Sequence[str], *, data: Sequence[str] | None = None,
) -> Trace:  # fmt: skip
    """Horizontal bars with their intervals. `data` is what a click on each leads to."""
    return {
        "type": "bar", "orientation": "h", "y": list(labels), "x": list(value), "name": name,
        "marker": {"color": colour if isinstance(colour, str) else list(colour)}, "text": list(hover),
        "textposition": "none", "hoverinfo": "text",
        "error_x": {
            "type": "data", "symmetric": False, "array": [h - v for v, h in zip(value, high, strict=True)],
            "arrayminus": [v - lo for v, lo in zip(value, low, strict=True)], "color": "--text", "thickness": 1.2, "width": 3,
        },
        **({"customdata": list(data)} if data is not None else {}),
    }  # fmt: skip
