"""Body of one request: what has come of it is passed to the backend, and kept for a retry while it is short."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hotswap.core.errors import Side
from hotswap.edge.upstream.replay import Replay
from hotswap.edge.upstream.upstream_connection import UpstreamConnection

if TYPE_CHECKING:
    from hotswap.core.http.messages import Field, RequestHead
    from hotswap.edge.loop.stream import Data, Stream
    from hotswap.edge.upstream.carrier import Carrier


class Bodied(Protocol):
    """An exchange, as the body of its request sees it; see `hotswap.edge.exchange.exchange.Exchange`.

    Attributes:
        head: of the request.
        connection: to the backend, or None.
        body_bytes: the limit; None means there is none.
        request_bytes: of the body, that have come.
        request_done: the whole request has come.
        response_timeout: seconds that the backend may take nothing.
        written: bytes of the request that were written to the present backend.
    """

    head: RequestHead
    connection: Carrier | None
    body_bytes: float | None
    request_bytes: int
    request_done: bool
    response_timeout: float
    written: int

    @property
    def answering(self) -> bool:
        """Whether the response has begun."""

    def answer(self, status: int, *, side: Side | None = None, error: str = "", fields: tuple[Field, ...] = ()) -> None:
        """End with an answer of the proxy's own."""


class RequestBody:
    """Body of one request, from the client to the backend.

    `sending` says that the present backend has the head, so that pieces go on to it as they come.
    """

    __slots__ = ("_exchange", "replay", "sending")

    def __init__(self, exchange: Bodied) -> None:
        self._exchange = exchange
        self.replay: Replay | None = None
        self.sending = False

    # From the client.

    def take(self, data: Data) -> None:
        """A piece arrived; `wants_more` tells whether to read on."""
        exchange = self._exchange
        size = len(data)
        exchange.request_bytes += size
        limit = exchange.body_bytes
        if limit is not None and exchange.request_bytes > limit:
            exchange.answer(413, side=Side.DOWNSTREAM, error="the body is too large")
            return
        replay = self.replay
        if replay is None:
            replay = self.replay = Replay()
        if not self.sending:
            replay.add(data)
            return
        connection = exchange.connection
        assert connection is not None
        exchange.written += size
        connection.send_body(data)
        replay.add_sent(data)
        if connection.backed_up:
            connection.await_backend(exchange.response_timeout)

    def splice_target(self) -> Stream | None:
        """The stream that can take the next piece in the kernel; None if it is kept, counted or framed."""
        exchange = self._exchange
        connection = exchange.connection
        replay = self.replay
        if (
            type(connection) is UpstreamConnection
            and self.sending
            and replay is not None
            and not replay.whole
            and not exchange.head.chunked
            and not connection.stream.unsent
        ):
            return connection.stream
        return None

    def moved(self, size: int) -> None:
        """A piece was moved to the `splice_target`."""
        exchange = self._exchange
        exchange.request_bytes += size
        exchange.written += size
        connection = exchange.connection
        if connection is not None and connection.backed_up:
            connection.await_backend(exchange.response_timeout)

    def end(self) -> None:
        """The body is complete."""
        exchange = self._exchange
        exchange.request_done = True
        if self.sending and exchange.connection is not None:
            exchange.connection.send_end()
            if not exchange.answering:
                exchange.connection.await_backend(exchange.response_timeout)

    @property
    def wants_more(self) -> bool:
        """Whether more can be taken now; `Responder.read_on` follows when it can again."""
        if self.sending:
            connection = self._exchange.connection
            return connection is not None and not connection.backed_up
        return False

    # To a backend.

    def on_head_sent(self) -> None:
        """The present backend was sent the head, and what had come of the body."""
        self.sending = True
        if self.replay is not None:
            self.replay.trim()

    @property
    def replayable(self) -> bool:
        """Whether everything that came can be sent to another backend."""
        return not self._exchange.request_bytes or (self.replay is not None and self.replay.whole)

    def on_response(self) -> None:
        """A response has begun: nothing that is complete is sent again."""
        if self._exchange.request_done:
            self.replay = None
