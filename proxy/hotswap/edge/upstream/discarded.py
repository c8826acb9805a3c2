"""Rest of a response that nobody wants any more: read to its end, so that its connection can be used again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hotswap.core.errors import ConnectFailed, UpstreamBroken, UpstreamTimedOut
    from hotswap.core.http.forwarding import Peer
    from hotswap.core.http.messages import Field, RequestHead, ResponseHead
    from hotswap.edge.loop.plane import LoopPlane
    from hotswap.edge.loop.stream import Data, Stream
    from hotswap.edge.upstream.carrier import Carried, Carrier

DISCARDED_BYTES: Final = 64 * 1024
"""Bytes that are read of it; a connection that would give more is closed."""
DISCARDED_SECONDS: Final = 1.0
"""Seconds that it may take."""


class Discarded:
    """What a connection carries when its exchange is answered from elsewhere; implements `Carried` and `Answering`.

    Nothing is in flight any more, and no claim is held: a drain waits for it as for any open connection.

    Args:
        plane: the data plane.
        connection: carries this from now on.
        exchange: what it carried; its request is complete.
    """

    __slots__ = ("_connection", "_left", "_plane", "_until", "head", "peer")

    request_sent = True
    request_trailers: Sequence[Field] = ()
    retries = written = 0
    target = prefix = b""
    response_timeout = idle_timeout = DISCARDED_SECONDS
    downstream_backed_up = held_back = shut_out = in_turns = False

    head: RequestHead
    peer: Peer

    def __init__(self, plane: LoopPlane, connection: Carrier, exchange: Carried) -> None:
        self.head, self.peer = exchange.head, exchange.peer
        self._plane = plane
        self._connection = connection
        self._left = DISCARDED_BYTES
        self._until = plane.poller.now + DISCARDED_SECONDS
        connection.exchange = self
        connection.await_backend(DISCARDED_SECONDS)

    @property
    def responder(self) -> Discarded:
        """There is no client."""
        return self

    def on_response_body(self, data: Data) -> None:
        """Count it; `flush` follows."""
        self._left -= len(data)

    def flush(self) -> None:
        """Close the connection if it gives too much, or takes too long."""
        if self._left < 0 or self._plane.poller.now > self._until:
            connection = self._connection
            connection.exchange = None
            connection.close()

    def on_response_end(self) -> None:
        """Let the connection rest."""
        self._connection.release(reusable=True)

    def on_crash(self, error: Exception) -> None:
        """Log a defect of ours; the connection closes itself."""
        self._plane.on_crash(error, "discarded response")

    # What else a connection may tell changes nothing.

    def on_connected(self) -> None:
        """It was, long ago."""

    def on_upstream_drained(self) -> None:
        """The request is complete."""

    def on_interim(self, head: ResponseHead) -> None:
        """There is nobody to hear of it."""

    def on_response_head(self, head: ResponseHead) -> None:
        """There was one."""

    def on_response(self, head: ResponseHead) -> None:
        """There was one."""

    def on_response_moved(self, size: int) -> None:
        """Nothing moves in the kernel, as there is nowhere to go."""

    def on_upstream_failed(self, connection: Carrier, error: ConnectFailed | UpstreamBroken | UpstreamTimedOut) -> None:
        """The connection is closed, and nothing was wanted of it."""

    def splice_target(self) -> Stream | None:
        """Nowhere."""
        return None

    def send_trailers(self, fields: Sequence[Field]) -> None:
        """Drop them."""
