"""Rate of requests of each client of a route (`rate`, `burst`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hotswap.core.errors import Side
from hotswap.core.http.client_address import client_key

if TYPE_CHECKING:
    from hotswap.core.http.rate_limiter import RateLimiter
    from hotswap.edge.rules.rule_step import Entering


class RateStep:
    """Answers 429 with Retry-After to clients above the rate; every request counts, each stream of HTTP/2 too.

    Args:
        limiter: of the route.
    """

    __slots__ = ("_limiter",)

    def __init__(self, limiter: RateLimiter) -> None:
        self._limiter = limiter

    def take(self, exchange: Entering) -> bool:
        """Count the request."""
        wait = self._limiter.take(client_key(exchange.peer.client_of(exchange.head)), exchange.plane.poller.now)
        if not wait:
            return True
        answer_too_many(exchange, wait, "more requests than the route's rate")
        return False


def answer_too_many(exchange: Entering, wait: float, why: str) -> None:
    """Answer 429 (RFC 6585 4), to be tried again after so many seconds."""
    fields = ((b"Retry-After", b"%d" % max(1, math.ceil(wait))),)
    exchange.answer(429, side=Side.DOWNSTREAM, error=why, fields=fields)
