"""Ends idle connections of all listeners when descriptors are short; `hotswap.core.room` decides who goes first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from hotswap.core.errors import NothingLeft
from hotswap.core.room import choose_to_end
from hotswap.edge.loop import descriptors
from hotswap.edge.loop.containment import contain

if TYPE_CHECKING:
    from hotswap.edge.exchange.entrance import ClientConnection, Entrance
    from hotswap.edge.exchange.gate import Gate
    from hotswap.edge.loop.plane import LoopPlane
    from hotswap.edge.upstream.carrier import Carrier
    from hotswap.edge.upstream.upstream import Upstream

SHORT_IDLE: Final = 1.0
"""Seconds that a connection may be idle when descriptors are short: who has just come, or has just been answered, is
about to ask."""
FRUITLESS: Final = 0.1
"""Seconds without another search for idle clients after one that found none."""
REMINDER: Final = 60.0
"""Seconds between two log records about connections that were ended."""


class RoomMaker:
    """Ends idle connections of a data plane, and logs that: at once, then at most once a minute.

    `listeners` gives all that have connections; `ended` is how many were ended since the start.
    """

    __slots__ = ("_fruitless_until", "_gates", "_listeners", "_plane", "_told_at", "ended")

    def __init__(
        self, plane: LoopPlane, gates: Mapping[str, Gate], listeners: Callable[[], Iterable[Entrance]]
    ) -> None:
        self.ended = 0
        self._plane = plane
        self._gates = gates
        self._listeners = listeners
        self._fruitless_until = self._told_at = -math.inf

    def held(self) -> int:
        """Number of descriptors in use for clients and backends."""
        upstream = sum(len(to.connections) for gate in self._gates.values() for to in gate.upstreams.values())
        return upstream + sum(len(listener.connections) for listener in self._listeners())

    def make(self, *, upstream: bool = False) -> bool:
        """End idle connections of clients; tells whether there were any.

        With `upstream` a connection to a backend wants in: idle ones to backends go where no client is idle.
        """
        now = self._plane.poller.now
        ended = self._end_clients(now) if now >= self._fruitless_until else 0
        if not ended:
            self._fruitless_until = max(self._fruitless_until, now + FRUITLESS)
            if upstream:
                ended = sum(to.close_idle() for gate in self._gates.values() for to in gate.upstreams.values())
        self.ended += ended
        if ended and now - self._told_at >= REMINDER:
            self._told_at = now
            self._plane.log.warning("descriptors.short", limit=descriptors.limit(), ended=self.ended)
        return bool(ended)

    def connect(self, upstream: Upstream) -> Carrier:
        """Open a connection to a backend, and make room for it where there is none.

        Raises:
            ConnectFailed: see `Upstream.connect`; `NothingLeft` if no room could be made.
        """
        try:
            return upstream.connect()
        except NothingLeft:
            if not self.make(upstream=True):
                raise
            return upstream.connect()

    def _end_clients(self, now: float) -> int:
        moment = now - SHORT_IDLE
        chosen = choose_to_end(idle for listener in self._listeners() for idle in listener.idle_since(moment))
        end_idle(chosen)
        return len(chosen)


def end_idle(connections: Iterable[ClientConnection]) -> None:
    """End idle connections of any listener; an exception in one of them does not spare the others."""
    for connection in connections:
        contain(connection, connection.leave_at_once)
