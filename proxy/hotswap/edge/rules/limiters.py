"""Rate limiters of all routes, which outlive a reload that leaves their routes as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotswap.core.http.rate_limiter import RateLimiter

if TYPE_CHECKING:
    from hotswap.core.config.routes import RouteTable
    from hotswap.core.http.rate import RequestRate


class Limiters:
    """Gives each route its limiter, with what it has counted if the route is as it was."""

    def __init__(self) -> None:
        self._known: dict[object, RateLimiter] = {}
        self._asked: dict[object, RateLimiter] = {}

    def of(self, route: RouteTable, rate: RequestRate) -> RateLimiter:
        """Give the limiter of a route; one of other hosts, path, rate or burst is another route."""
        key = (route.hosts, route.path, rate, route.burst)
        limiter = self._known.get(key)
        if limiter is None:  # an empty one has a length of 0
            limiter = RateLimiter(rate, route.burst)
        self._asked[key] = limiter
        return limiter

    def settle(self) -> None:
        """Forget those that were not asked for since the last time: all routes of now have asked."""
        self._known, self._asked = self._asked, {}
