"""Pages for people: Jinja2 templates that need nothing else when they are open, neither a network nor a script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2

__all__ = ["render", "ticks"]


def render(template: str, **told: Any) -> str:
    """The page of a template in `training/templates`; all that is told is escaped."""
    page: str = _templates().get_template(template).render(**told)
    return page


def ticks(low: float, high: float, most: int = 6) -> Sequence[float]:
    """Round numbers from `low` to `high`, at most so many.

    >>> ticks(0.31, 0.58)
    [0.35, 0.4, 0.45, 0.5, 0.55]
    """
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [round(place * step, 10) for place in range(first, last + 1)]


@cache
def _templates() -> jinja2.Environment:
    from importlib.resources import files

    from jinja2 import DictLoader, Environment, StrictUndefined

    folder = files("training").joinpath("templates")
    sources = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir() if file.is_file()}
    environment = Environment(loader=DictLoader(sources), autoescape=True, undefined=StrictUndefined)
    environment.globals["css"] = environment.filters["safe"](sources["page.css"])
    environment.filters |= {"round_to": _round_to, "share": _share, "sentence": _sentence}
    return environment


def _round_to(value: float | None, digits: int) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def _share(value: float) -> str:
    """Percent, with a digit more where it is small.

    >>> _share(0.5), _share(0.0123), _share(0.0)
    ('50 %', '1.2 %', '0 %')
    """
    percent = 100.0 * value
    return f"{percent:.1f} %" if 0.0 < abs(percent) < 20.0 else f"{percent:.0f} %"


def _sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "!")) else ".")
