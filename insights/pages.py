"""Writes the pages: every page in every language, with what they share, as static files that need no server.

One copy of Plotly stands beside the pages: it draws charts that can be zoomed, read out by hovering and saved as pictures,
is kept up by others, and comes with its Python package, so that nothing is fetched from elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from insights.texts import LANGUAGES, Text

__all__ = ["MOST_BYTES", "PAGES", "Head", "file_of", "write_file", "write_pages"]

PAGES = ("overview", "reasons", "drivers", "opportunities", "experiments", "recommendations", "model")
"""The pages, in the order of the menu."""

MOST_BYTES = 2_000_000
"""A page is no larger than this, beside the library."""

_SHARED = ("pages.css", "pages.js", "reasons.js")
_LIBRARY = "plotly.min.js"

Context = Callable[[Text], Mapping[str, Any]]


@dataclass(frozen=True)
class Head:
    """What stands on every page: the attempts' window (microseconds since 1970, None without attempts) and number, the
    model's name, and what is published beside the pages."""

    window: tuple[int, int] | None
    attempts: int
    payments: int
    model: str | None
    files: tuple[str, ...]


def file_of(page: str, language: str) -> str:
    """The name of a page's file.

    >>> file_of("overview", "en"), file_of("reasons", "ko")
    ('index.html', 'reasons.ko.html')
    """
    stem = "index" if page == "overview" else page
    return f"{stem}.html" if language == next(iter(LANGUAGES)) else f"{stem}.{language}.html"


def write_pages(folder: Path, head: Head, contexts: Mapping[str, Context]) -> list[Path]:
    """Write a page for each of `contexts` in each language, and what they share; folders that are missing are made."""
    import jinja2

    folder.mkdir(parents=True, exist_ok=True)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(files("insights"))),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    written = []
    for language in LANGUAGES:
        t = Text(language)
        for page, context in contexts.items():
            told = environment.get_template(f"{page}.html").render(
                t=t,
                page=page,
                pages=[(name, file_of(name, language)) for name in PAGES if name in contexts],
                languages=[(code, own, file_of(page, code)) for code, own in LANGUAGES.items()],
                head=head,
                said={name: t(f"js.{name}") for name in ("png", "csv")},
                **context(t),
            )
            written.append(write_file(folder / file_of(page, language), told.encode()))
    written += [write_file(folder / name, files("insights").joinpath(name).read_bytes()) for name in _SHARED]
    written.append(write_file(folder / _LIBRARY, _library().read_bytes()))
    return written


def _library() -> Path:
    """Where Plotly's script is, found without importing the package."""
    found = find_spec("plotly")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("plotly")
    return Path(found.submodule_search_locations[0], "package_data", _LIBRARY)


def write_file(path: Path, content: bytes) -> Path:
    """Write under another name first, so that who reads meanwhile sees a whole file."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
