"""The connections of HTTP/2 to one backend: as few as its limit of concurrent streams allows.

A backend that is known to speak it is spoken to with prior knowledge (RFC 9113 3.3); there is no way to ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.core.errors import UpstreamBroken
from proxy.edge.upstream.h2c_connection import H2cConnection
from proxy.edge.upstream.upstream import Upstream

if TYPE_CHECKING:
    from proxy.edge.upstream.h2c_stream import H2cStream


class H2cUpstream(Upstream):
    """All connections to one backend that speaks HTTP/2."""

    __slots__ = ()

    @property
    def _open(self) -> tuple[H2cConnection, ...]:
        return tuple(connection for connection in self.connections if isinstance(connection, H2cConnection))

    def take(self, *, careful: bool) -> H2cStream | None:
        """A stream on a connection that has room for it."""
        for connection in self._open:
            if connection.takes_more(careful=careful):
                return connection.open_stream()
        return None

    def connect(self) -> H2cStream:
        """A stream on a new connection.

        Raises:
            ConnectFailed: it failed at once.
        """
        connection = H2cConnection(self, self._open_socket())
        try:
            connection.connect(self._address)
        except BaseException:
            connection.close()
            raise
        self.connections.add(connection)
        if not connection.connecting:
            connection.mark()
        return connection.open_stream()

    def close_idle(self) -> int:
        """Close every connection that carries nothing; others close when they have carried their last.

        Returns:
            How many were closed.
        """
        return sum(connection.retire() for connection in self._open)

    def close(self) -> None:
        """Close everything; exchanges that are inside fail."""
        for connection in self._open:
            connection.fail(UpstreamBroken("the backend was removed"))
            for stream in tuple(connection.streams):
                stream.fail(UpstreamBroken("the backend was removed"))
