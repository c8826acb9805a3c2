"""Selects the certificate of a listener for a name, and tells which hosts a connection with it may ask for.

A client may use one connection for every name that its certificate is for (RFC 9110 7.4, RFC 9113 9.1.1). For any other
name of ours it would have been shown another certificate, and what it asks for there is misdirected: 421 (L11). A
client that named nobody in its handshake has not been told one name from another, and is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from hotswap.core.http.routing import bare_host
from hotswap.core.memory import Memory

CACHE_ENTRIES: Final = 1024
"""How many answers are kept for each certificate."""


class CertificateNames:
    """Names of a listener's certificates; the first is the default.

    Args:
        names: for each certificate the DNS names that it is for; `*.` stands for one label (RFC 6125 6.4.3).
    """

    __slots__ = ("_first", "names")

    def __init__(self, names: Sequence[Sequence[str]]) -> None:
        self.names = tuple(frozenset(name.lower() for name in each) for each in names)
        self._first: dict[str, int] = {}
        for index, each in enumerate(self.names):
            for name in each:
                self._first.setdefault(name, index)

    def choose(self, name: str) -> int:
        """Index of the certificate for a name: by the name itself, else by a wildcard, else the first."""
        exact, wildcard = _spellings(name)
        return self._first.get(exact, self._first.get(wildcard, 0))

    def shown(self, index: int) -> Callable[[bytes], bool]:
        """Give the function that says whether requests for a host, with or without a port, may come over a connection.

        Args:
            index: of the certificate that its client was shown because of the name it asked for.
        """

        def may_ask_for(authority: bytes) -> bool:
            host = bare_host(authority).decode("ascii", "replace")
            return not host or not self.names[index].isdisjoint(_spellings(host)) or self.choose(host) == index

        return Memory(may_ask_for, entries=CACHE_ENTRIES, key_bytes=256).__getitem__


def _spellings(name: str) -> tuple[str, str]:
    """A name, and its wildcard: with a star for its first label."""
    name = name.lower().rstrip(".")
    return name, "*." + name.partition(".")[2]
