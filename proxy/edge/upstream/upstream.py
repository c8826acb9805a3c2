"""Connections to backends: made when needed, kept when idle, closed by us and never by surprise.

The proxy owns the closing of idle connections (reference: never-fail rules 1): they are given up after `IDLE` seconds,
before any common server would, and all at once when a backend is retired. An idle connection that becomes readable is
dead or confused, and is dropped at that moment; one that is about to carry something that must not be sent twice is
looked at once more before.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from proxy.core.address import UnixAddress
from proxy.core.errors import ConnectFailed, NothingLeft, UpstreamBroken
from proxy.edge.loop import descriptors
from proxy.edge.upstream.upstream_connection import UpstreamConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.core.pool import Backend
    from proxy.edge.loop.surroundings import Surroundings
    from proxy.edge.upstream.carrier import Carried, Carrier
    from proxy.edge.upstream.connector import Connector

QUIET: Final = 0.5
"""Seconds of idleness after which a connection is looked at before it is used, whatever it is to carry."""
REST: Final = 0.1
"""Seconds for which nothing is sent on a connection whose last response had no body by its status or method alone.

Some servers send one all the same (gunicorn does for an app that returns one with a 204, or for HEAD), and it may come
late: it would be taken for the next response. What comes within this time closes the connection and harms nobody.
"""
MAX_RESTING: Final = 64
"""Idle connections above which one that would have to rest is closed."""


class Upstream:
    """All connections to one backend."""

    __slots__ = ("_address", "_family", "backend", "connections", "idle", "plane")

    def __init__(self, plane: Surroundings, backend: Backend) -> None:
        self.plane = plane
        self.backend = backend
        self.idle: list[UpstreamConnection] = []  # those that may rest first, of these the last to rest foremost
        self.connections: set[Connector] = set()
        self._family: int
        self._address: str | tuple[str, int]
        match backend.address:
            case UnixAddress(path):
                self._family, self._address = socket.AF_UNIX, path
            case address:
                self._family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
                self._address = (address.host, address.port)

    def take(self, *, careful: bool) -> Carrier | None:
        """Take an idle connection that is fit for a request, the most recently used first.

        Args:
            careful: what it is to carry must not be sent twice, so a look at the socket is worth its price.
        """
        idle = self.idle
        while idle:
            connection = idle[-1]
            if connection.rests_until > self.plane.poller.now:
                break  # and so do all before it
            idle.pop()
            stream = connection.stream
            if not stream.hangup and (
                not (careful or self.plane.poller.now - connection.idle_since > QUIET) or stream.peek_quiet()
            ):
                return connection
            connection.close()
        return None

    def rest(self, connection: UpstreamConnection) -> None:
        """Keep a connection for later than at once."""
        if len(self.idle) < MAX_RESTING:
            connection.rests_until = connection.idle_since + REST
            self.idle.insert(0, connection)
        else:
            connection.close()

    def connect(self) -> Carrier:
        """Begin a new connection; the exchange it is given to hears of its success or failure.

        Raises:
            ConnectFailed: it failed at once; `NothingLeft` where the backend has no part in that.
        """
        connection = UpstreamConnection(self, self._open_socket())
        try:
            connection.connect(self._address)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_socket(self) -> socket.socket:
        try:
            sock = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:
            kind = NothingLeft if error.errno in descriptors.OURS else ConnectFailed
            raise kind(f"no socket for {self.backend.address}: {error.strerror}") from error
        if not descriptors.for_upstream(sock.fileno()):
            sock.close()
            raise NothingLeft(f"no socket for {self.backend.address}: the last descriptors are kept for the operator")
        return sock

    def exchanges(self) -> Iterator[Carried]:
        """What is in flight, tunnels not included."""
        for connection in self.connections:
            yield from connection.exchanges()

    def close_idle(self) -> int:
        """Close every idle connection.

        Returns:
            How many were closed.
        """
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()
        return len(idle)

    def close(self) -> None:
        """Close everything; exchanges that are inside fail."""
        self.close_idle()
        for connection in tuple(self.connections):
            connection.fail(UpstreamBroken("the backend was removed"))
