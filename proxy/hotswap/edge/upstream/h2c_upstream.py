"""HTTP/2 connections to one backend: as few as its limit of concurrent streams allows.

A backend that is known to speak it is spoken to with prior knowledge (RFC 9113 3.3); there is no way to ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hotswap.core.errors import UpstreamBroken
from hotswap.edge.upstream.h2c_connection import H2cConnection
from hotswap.edge.upstream.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from hotswap.core.pool.candidate import Candidate
    from hotswap.edge.loop.plane import LoopPlane
    from hotswap.edge.upstream.h2c_stream import H2cStream

FIRST_STREAMS: Final = 32
"""Exchanges that wait for one connection, as long as the backend has never said how many it allows."""


class H2cUpstream(Upstream):
    """All connections to one backend that speaks HTTP/2."""

    __slots__ = ("allowed",)

    def __init__(self, plane: LoopPlane, backend: Candidate, on_unused: Callable[[Candidate], None]) -> None:
        super().__init__(plane, backend, on_unused)
        self.allowed = FIRST_STREAMS  # streams on one connection, as the backend said last

    @property
    def _open(self) -> tuple[H2cConnection, ...]:
        return tuple(connection for connection in self.connections if isinstance(connection, H2cConnection))

    def take(self, *, careful: bool) -> H2cStream | None:
        """A stream on a connection that has room for it."""
        for connection in self._open:
            if self.endpoints.is_left(connection.endpoint):
                connection.retire()
            elif connection.takes_more(careful=careful):
                return connection.open_stream()
        return None

    def connect(self) -> H2cStream:
        """A stream on a new connection.

        Raises:
            ConnectFailed: it failed at once.
        """
        return self._new_connection().open_stream()

    def find_room(self) -> H2cConnection:
        for connection in self._open:
            if connection.takes_more(careful=False):
                return connection
        return self._new_connection()

    def _new_connection(self) -> H2cConnection:
        connection = H2cConnection(self)
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        self.connections.add(connection)
        return connection

    def close_idle(self) -> int:
        """Close every connection without streams, and give their number; others close after their last."""
        return sum(connection.retire() for connection in self._open)

    def close(self) -> None:
        """Close everything, failing the exchanges inside."""
        for connection in self._open:
            connection.fail(UpstreamBroken("the backend was removed"))
            for stream in tuple(connection.streams):
                stream.fail(UpstreamBroken("the backend was removed"))
