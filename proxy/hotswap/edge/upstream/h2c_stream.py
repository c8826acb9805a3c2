"""Exchange on one stream of an HTTP/2 connection to a backend.

Backpressure, both ways. What the backend's windows do not take of a request's body is kept, at most one read of the
client, and the client is not asked for more meanwhile. What comes of a response while the client takes nothing waits
here, at most a stream's window, because the window is opened again only by what has gone on.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from hotswap.core.errors import ConnectFailed, UpstreamBroken, UpstreamTimedOut
from hotswap.edge.loop.timers import NEVER
from hotswap.wire.http2.backend_fields import write_request
from hotswap.wire.http2.fields import write_trailers

if TYPE_CHECKING:
    from hotswap.core.http.messages import Field, RequestHead, ResponseHead
    from hotswap.edge.loop.plane import LoopPlane
    from hotswap.edge.loop.stream import Data, Stream
    from hotswap.edge.upstream.carrier import Carried
    from hotswap.edge.upstream.replay import Replay
    from hotswap.wire.http2.client_session import Http2ClientSession

PIECE_BYTES: Final = 64 * 1024
"""Of what waited for the client, given to it at a time."""


class Bearer(Protocol):
    """The connection of a stream; see `hotswap.edge.upstream.h2c_connection.H2cConnection`."""

    plane: LoopPlane
    ready: bool
    session: Http2ClientSession
    stream: Stream

    def begin(self, stream: H2cStream, fields: list[Field], *, end: bool) -> int:
        """Send a request head; gives the stream's number.

        Raises:
            UpstreamBroken: nothing was sent, and nothing can be.
        """

    def credit(self, stream_id: int, size: int) -> None:
        """Credit bytes of a response body that were forwarded."""

    def mark(self) -> None:
        """Schedule one flush at the end of this turn."""

    def forget(self, stream: H2cStream) -> None:
        """Forget a stream that is over."""


class H2cStream:
    """A stream to a backend; implements `Carrier`.

    `ended` says that the complete response is buffered here, so that the connection is not needed any more.
    """

    __slots__ = (
        "_ending",
        "_held_up",
        "_inbox",
        "_kept",
        "_over",
        "_responding",
        "_trailers",
        "armed",
        "connection",
        "deadline",
        "ended",
        "exchange",
        "fresh",
        "paused",
        "plane",
        "received",
        "stream_id",
    )

    def __init__(self, connection: Bearer, *, fresh: bool) -> None:
        self.connection = connection
        self.plane = connection.plane
        self.exchange: Carried | None = None
        self.fresh = fresh
        self.received = False
        self.paused = False
        self.stream_id = 0
        self.deadline, self.armed = math.inf, NEVER
        self._kept: deque[bytes | memoryview] = deque()
        self._ending = False  # the request ends behind what is kept
        self._held_up = False  # the exchange was told to wait
        self._inbox = bytearray()
        self._trailers: list[Field] | None = None
        self._responding = False
        self.ended = False
        self._over = False

    @property
    def connecting(self) -> bool:
        """Whether the connection is not ready for the request yet."""
        return not self.connection.ready

    # From the exchange; `Carrier` says what each is to do.

    def carry(self, exchange: Carried, head: RequestHead) -> None:
        self.exchange = exchange

    def send_request(self, exchange: Carried, request_id: bytes, replay: Replay | None) -> int:
        fields = write_request(
            exchange.head,
            exchange.peer,
            target=exchange.target,
            prefix=exchange.prefix,
            request_id=request_id,
            retried=exchange.retries > 0,
        )
        size = sum(len(name) + len(value) for name, value in fields)
        bodiless = (
            exchange.request_sent and (replay is None or not replay.size) and not exchange.responder.request_trailers
        )
        try:
            self.stream_id = self.connection.begin(self, fields, end=bodiless)
        except UpstreamBroken:
            return 0
        if not bodiless:
            if replay is not None:
                for piece in replay.pieces:
                    self.send_body(piece)
                size += replay.size
            if exchange.request_sent:
                self.send_end()
        return size

    def send_body(self, data: Data) -> None:
        if not self._kept:
            sent = self.connection.session.send_body(self.stream_id, data)
            self.connection.mark()
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
        self._kept.append(bytes(data))

    def send_end(self) -> None:
        if self._kept:
            self._ending = True
        else:
            self._send_end()

    def _send_end(self) -> None:
        exchange = self.exchange
        trailers = () if exchange is None else write_trailers(exchange.responder.request_trailers)
        self.connection.session.send_end(self.stream_id, trailers)
        self.connection.mark()

    @property
    def backed_up(self) -> bool:
        if self._kept or self.connection.stream.backed_up:
            self._held_up = True
            return True
        return False

    def await_backend(self, seconds: float) -> None:
        poller = self.plane.poller
        poller.timers.set(self, poller.now + seconds if seconds else math.inf)

    def pump(self) -> None:
        """Send what is buffered of the response: the client takes more."""
        inbox = self._inbox
        while inbox and not self.paused:
            exchange = self.exchange
            if exchange is None:
                return
            data = bytes(memoryview(inbox)[:PIECE_BYTES])
            del inbox[: len(data)]
            exchange.on_response_body(data)
            self.connection.credit(self.stream_id, len(data))
            if not inbox and self.ended:
                self._finish()
                return
            self.settle()

    def release(self, *, reusable: bool) -> None:
        """The exchange ended; an incomplete request is reset."""
        self.exchange = None
        self.close()

    def close(self) -> None:
        """Reset without telling the exchange; idempotent."""
        self.plane.poller.timers.forget(self)
        if not self._over:
            self._over = True
            self._kept.clear()
            self._inbox.clear()
            self.connection.forget(self)

    def fail(self, error: UpstreamBroken | ConnectFailed | UpstreamTimedOut) -> None:
        exchange, self.exchange = self.exchange, None
        self.close()
        if exchange is not None:
            exchange.on_upstream_failed(self, error)

    # From the backend.

    def on_head(self, head: ResponseHead) -> None:
        """A response head arrived, final or interim."""
        exchange = self.exchange
        if exchange is None:
            return
        self.received = True
        if head.status < 200:
            exchange.on_interim(head)
            return
        self._responding = True
        exchange.on_response_head(head)
        if head.complete:
            self.on_end()

    def on_body(self, data: bytes) -> None:
        """A piece of the response body arrived; `settle` follows."""
        if self.paused or self._inbox:
            self._inbox += data
        elif self.exchange is not None:
            self.exchange.on_response_body(data)
            self.connection.credit(self.stream_id, len(data))

    def on_trailers(self, fields: list[Field]) -> None:
        """The trailers arrived."""
        self._trailers = fields

    def on_end(self) -> None:
        """The response is complete."""
        if self.ended:
            return
        if not self._responding:
            self.fail(UpstreamBroken("the backend ended the stream before it answered"))
            return
        self.ended = True
        if not self._inbox:
            self._finish()

    def _finish(self) -> None:
        exchange = self.exchange
        if exchange is not None:
            if self._trailers:
                exchange.responder.send_trailers(self._trailers)
            exchange.on_response_end()

    def settle(self) -> None:
        """Forward what one read brought, and check whether the client takes more."""
        exchange = self.exchange
        if exchange is None:
            return
        if self._responding:
            self.await_backend(exchange.idle_timeout)
        elif exchange.request_sent and self.received:
            self.await_backend(exchange.response_timeout)  # after an interim response
        exchange.flush()
        if self.exchange is not None and (
            exchange.downstream_backed_up or (exchange.responder.shut_out and exchange.held_back)
        ):
            self.paused = True

    def on_window(self) -> None:
        """The backend's window opened, or the socket drained."""
        kept = self._kept
        session = self.connection.session
        progress = False
        while kept:
            data = kept[0]
            sent = session.send_body(self.stream_id, data)
            progress = progress or sent > 0
            if sent < len(data):
                kept[0] = memoryview(data)[sent:]
                break
            kept.popleft()
        if progress:
            self.connection.mark()
        exchange = self.exchange
        if kept:
            if progress and exchange is not None:
                self.await_backend(exchange.response_timeout)
            return
        if self._ending:
            self._ending = False
            self._send_end()
        if self._held_up and exchange is not None and not self.connection.stream.backed_up:
            self._held_up = False
            if not exchange.request_sent:
                self.plane.poller.timers.set(self, math.inf)  # now it is the client that is waited for
            exchange.on_upstream_drained()

    def on_deadline(self) -> None:
        """The backend's timeout has passed."""
        exchange = self.exchange
        if exchange is None:
            return
        if self._kept or self.connection.stream.unsent:
            self.fail(UpstreamTimedOut("the backend does not take the request"))
        elif self.paused or not exchange.request_sent:
            self.await_backend(exchange.idle_timeout)  # the client is slow, not the backend
        else:
            self.fail(UpstreamTimedOut("the backend took too long to go on"))

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this exchange."""
        exchange, self.exchange = self.exchange, None
        try:
            if exchange is None:
                self.plane.on_crash(error, "upstream")
            else:
                exchange.on_crash(error)
        finally:
            self.close()
