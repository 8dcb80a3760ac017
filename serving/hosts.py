"""Under which names a service without keys answers its own machine.

A website may give its own name this machine's address (DNS rebinding), and have a browser here ask the service as if it were
the website: what came back, the website would read. Such a request still carries the website's name, as `Host`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

__all__ = ["ANY", "Hosts", "is_loopback"]

ANY = "*"
"""Every name."""

_MOST_KNOWN = 1_000  # with their ports


def is_loopback(host: str) -> bool:
    """Whether a name or an address can be no other machine's.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "shop.localhost", "localhost.example", "10.0.0.1")]
    [True, True, True, True, False, False]
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


class Hosts:
    """Loopback names and addresses, and those of `more`; a port is of no account.

    >>> Hosts(["payrescue.internal"]).has(b"payrescue.internal:3000"), Hosts().has(b"payrescue.internal:3000")
    (True, False)
    """

    def __init__(self, more: Iterable[str] = ()) -> None:
        self._more = frozenset(name.lower() for name in more)
        self._known: set[bytes] = set()

    def has(self, told: bytes) -> bool:
        """Whether what a header `Host` tells is one of them."""
        if told in self._known:
            return True
        host = _without_port(str(told, "latin-1")).lower()
        if not (ANY in self._more or host in self._more or is_loopback(host)):
            return False
        if len(self._known) < _MOST_KNOWN:
            self._known.add(told)
        return True


def _without_port(told: str) -> str:
    if told.startswith("["):  # of IPv6
        return told[1:].partition("]")[0]
    return told.partition(":")[0].removesuffix(".")
