"""Redirect of a route to another scheme and host (`redirect`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotswap.core.http.redirects import location_at

if TYPE_CHECKING:
    from hotswap.edge.rules.rule_step import Entering


class RedirectStep:
    """Answers with a redirect: 301 to GET and HEAD, and 308 to all else, which keeps method and body.

    Args:
        origin: scheme and authority of where it leads; never anything that the client said.
    """

    __slots__ = ("_origin",)

    def __init__(self, origin: str) -> None:
        self._origin = origin.encode()

    def take(self, exchange: Entering) -> bool:
        """Redirect."""
        head = exchange.head
        status = 301 if head.method in (b"GET", b"HEAD") else 308
        exchange.answer(status, fields=((b"Location", location_at(self._origin, head.target)),))
        return False
