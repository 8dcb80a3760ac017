"""BentoML's own page at `/`, which shows our OpenAPI document: the one thing that is left to BentoML to answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.transport import Scope, Send

__all__ = ["is_page", "only_from_here", "page_paths"]

_OURS_ONLY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)
_METHODS = frozenset({"GET", "HEAD"})


def page_paths(bentoml_folder: Path) -> frozenset[str]:
    """The page and the files that it loads, as BentoML has them."""
    files: Iterable[Path] = (bentoml_folder / "_internal" / "server" / "static_content").glob("*")
    return frozenset({"/", *(f"/static_content/{file.name}" for file in files)})


def is_page(scope: Scope, paths: frozenset[str]) -> bool:
    """Whether a request is for one of them, and nothing more."""
    return scope["path"] in paths and scope["method"] in _METHODS and not scope.get("query_string")


def only_from_here(send: Send) -> Callable[[MutableMapping[str, Any]], Any]:
    """Sends a page such that browsers load nothing for it from elsewhere: BentoML's would tell a third party of each visit."""

    async def _send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = [*message["headers"], (b"content-security-policy", _OURS_ONLY.encode())]
            message = {**message, "headers": headers}
        await send(message)

    return _send
