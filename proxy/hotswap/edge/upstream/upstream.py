"""HTTP/1.1 connections to one backend: opened on demand, kept when idle, closed by us before the backend does.

The proxy owns the closing of idle connections: they are given up after a few seconds (`IDLE` of their protocol), before
any common server would, and all at once when a backend is retired. An idle connection that becomes readable is dead or
confused, and is dropped at that moment; one that is about to carry something that must not be sent twice is looked at
once more before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hotswap.core.errors import UpstreamBroken
from hotswap.edge.upstream.endpoints import BackendEndpoints
from hotswap.edge.upstream.upstream_connection import UpstreamConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hotswap.core.pool.candidate import Candidate
    from hotswap.edge.loop.plane import LoopPlane
    from hotswap.edge.upstream.carrier import Carried, Carrier
    from hotswap.edge.upstream.connector import Connector

QUIET: Final = 0.5
"""Seconds of idleness after which a connection is looked at before it is used, whatever it is to carry."""
REST: Final = 0.03
"""Seconds for which nothing is sent on a connection whose last response had no body by its status or method alone.

Some servers send one all the same (gunicorn does for an app that returns one with a 204, or for HEAD), and it may come
late: it would be taken for the next response. What comes within this time closes the connection and harms nobody.
"""
MAX_RESTING: Final = 64
"""Connections that rest at the same time, above which one more is closed: servers hold a hundred or so."""


class Upstream:
    """All connections to one backend.

    `on_unused` is called when the last of them to a backend that is not claimable has ended.
    """

    __slots__ = ("_on_unused", "backend", "connections", "endpoints", "idle", "plane")

    def __init__(self, plane: LoopPlane, backend: Candidate, on_unused: Callable[[Candidate], None]) -> None:
        self.plane = plane
        self.backend = backend
        self._on_unused = on_unused
        self.idle: list[UpstreamConnection] = []  # those that may rest first, of these the last to rest foremost
        self.connections: set[Connector] = set()
        self.endpoints = BackendEndpoints(plane.names, backend.address)

    def take(self, *, careful: bool) -> Carrier | None:
        """Take an idle connection that is fit for a request, the most recently used first.

        With `careful`, what it is to carry must not be sent twice, so a look at the socket is worth its price.
        """
        idle = self.idle
        now = self.plane.poller.now
        while idle:
            connection = idle.pop()
            if connection.rests_until > now:
                idle.append(connection)
                break  # it rests, and so do all before it
            stream = connection.stream
            if not stream.hangup and (not (careful or now - connection.idle_since > QUIET) or stream.peek_quiet()):
                return connection
            connection.close()
        return None

    def rest(self, connection: UpstreamConnection) -> None:
        idle, now = self.idle, connection.idle_since
        if len(idle) < MAX_RESTING or idle[MAX_RESTING - 1].rests_until <= now:
            connection.rests_until = now + REST
            idle.insert(0, connection)
        else:
            connection.close()

    def connect(self) -> Carrier:
        """Open a connection; the exchange that it is given to is told of success or failure.

        Raises:
            ConnectFailed: it failed at once; `NothingLeft` or `AddressUnknown` where the backend has no part in that.
        """
        most = self.backend.max_in_flight
        while most and self.idle and len(self.connections) >= most:
            self.idle.pop().close()  # who serves so many at a time may have a thread for each connection, and no more
        connection = UpstreamConnection(self)
        self.connections.add(connection)
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        return connection

    def exchanges(self) -> Iterator[Carried]:
        """Exchanges in flight, tunnels not included."""
        for connection in self.connections:
            yield from connection.exchanges()

    def forget(self, connection: Connector) -> None:
        self.connections.discard(connection)
        if not self.connections and not self.backend.claimable:
            self._on_unused(self.backend)

    def close_idle(self) -> int:
        """Close every idle connection; gives how many."""
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()
        return len(idle)

    def close(self) -> None:
        """Close everything, failing the exchanges inside."""
        self.close_idle()
        for connection in tuple(self.connections):
            connection.fail(UpstreamBroken("the backend was removed"))
