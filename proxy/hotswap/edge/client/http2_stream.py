"""One stream of an HTTP/2 client: the responder of one exchange, or one end of a tunnel.

What the client sends before the backend takes it waits in `_inbox`, at most a stream's window, because the window is
opened again only by what has gone on.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections import deque
from typing import TYPE_CHECKING, Final

from h2.errors import ErrorCodes

from hotswap.core.body_pace import is_too_slow
from hotswap.core.errors import Side
from hotswap.core.forwarding import error_head
from hotswap.edge.client.http2_channel import Http2Channel
from hotswap.edge.client.http2_responder import Http2Responder
from hotswap.edge.exchange.exchange import Exchange
from hotswap.edge.exchange.tunnel import Tunnel
from hotswap.edge.loop.timers import NEVER
from hotswap.wire.http2_fields import write_response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotswap.core.errors import BadRequest
    from hotswap.core.messages import Field, RequestHead, ResponseHead
    from hotswap.edge.exchange.entrance import ClientConnection
    from hotswap.edge.upstream.upstream_connection import UpstreamConnection

_OF_HANDSHAKE: Final = (b"sec-websocket-accept", b"content-length")
_WEBSOCKET_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Http2Stream(Http2Responder):
    """See the module. It is over, and released, when its exchange has ended and what is kept is out."""

    # As in Exchange: what has not happened yet is read from the class.
    exchange: Exchange | None = None
    channel: Http2Channel | None = None
    request_trailers: Sequence[Field] = ()
    _started = False
    _over = False
    _inbox: deque[bytes] | None = None
    _inbox_ended = False
    _uncredited = 0
    _asked_at = math.inf
    _waited = 0.0
    _answered = 0  # bytes of the answer when the client was given its time

    def begin(self, head: RequestHead) -> None:
        """A request came; `start` follows when everything that came with it has been read."""
        connection = self.connection
        self.exchange = Exchange(connection.plane, connection.listener, self, head, connection.peer)

    def start(self) -> None:
        """Send the request on its way, with what has come of its body."""
        self._started = True
        exchange = self.exchange
        if exchange is not None and not exchange.finished:
            if not exchange.request_done:
                self._await_body()
            exchange.start()

    def refuse(self, error: BadRequest, line: tuple[bytes, bytes, int]) -> None:
        """Answer a request that goes no further."""
        head, _ = error_head(error.status)
        head.content_length = 0  # whatever was asked for, HEAD perhaps
        connection = self.connection
        connection.plane.date(head)
        connection.plane.ledger.refused(connection.listener, connection.peer, error, line)
        self.session.send_head(self.stream_id, write_response(head), end=True)
        self._finish()

    # From the client.

    def on_body(self, data: bytes) -> None:
        """A piece of the request's body."""
        exchange = self.exchange
        if self.channel is not None or (exchange is not None and (self._started or exchange.upgrading)):
            if self._inbox is None:
                self._inbox = deque()
            self._inbox.append(data)
            if self.channel is not None:
                self.channel.on_data()
            else:
                self._deliver()
        elif exchange is not None and not exchange.finished:
            self._uncredited += len(data)
            exchange.on_request_body(data)

    def on_end(self, trailers: Sequence[Field] = ()) -> None:
        """The request is complete, or the client's side of a tunnel has ended."""
        exchange = self.exchange
        if trailers:
            self.request_trailers = trailers
        self._inbox_ended = True
        if self.channel is not None:
            self.channel.on_data()
        elif exchange is not None and not self._started:
            exchange.request_done = True
        elif not self._over:
            self._deliver()

    def on_reset(self, detail: str) -> None:
        """The client has given the stream up, or broke a rule and was told."""
        exchange = self.exchange
        if exchange is not None:
            exchange.cancel(error=detail)
        self._lose()

    def on_window(self) -> None:
        """The client takes more."""
        if self._kept:
            if self._send_kept():
                self.on_drained()
            else:
                self.connection.backlog.await_window(self)
        else:
            self.connection.backlog.on_stream_window(self)

    def on_drained(self) -> None:
        """What was kept is out, here or in the socket: go on with what has to wait for that."""
        if self._over or self._kept:
            return
        exchange = self.exchange
        if self.channel is not None:
            self.channel.on_drained()
        elif exchange is not None:
            self._await_body()
            exchange.on_downstream_drained()
        else:
            self._finish()

    def _deliver(self) -> None:
        """Give the exchange what has come, as far as it takes it."""
        exchange = self.exchange
        if exchange is None or exchange.upgrading:
            return
        inbox = self._inbox
        while inbox and exchange.wants_body:
            data = inbox.popleft()
            if self._too_slow(exchange, len(data)):
                return
            exchange.on_request_body(data)
            if exchange.finished:
                return
            self.connection.credit(self.stream_id, len(data))
        if not inbox and self._inbox_ended and not exchange.request_done:
            self._asked_at = math.inf
            if not self._kept:
                self.deadline = math.inf
            exchange.on_request_end()
        else:
            self._await_body()

    def _await_body(self) -> None:
        """The client has so long for the next piece of its body."""
        exchange = self.exchange
        if exchange is None or exchange.request_done or self._kept:
            return
        poller = self.plane.poller
        self._asked_at = math.inf if self._inbox else poller.now
        self._answered = exchange.response_bytes
        poller.timers.set(self, poller.now + self.connection.listener.idle_timeout)

    def _too_slow(self, exchange: Exchange, size: int) -> bool:
        """Count what was waited for a piece, and give up on a client that sends far too little (R4)."""
        rate = self.connection.listener.body_rate
        if rate:
            self._waited = waited = self._waited + max(0.0, self.plane.poller.now - self._asked_at)
            self._asked_at = math.inf
            if is_too_slow(received=exchange.request_bytes + size, waited=waited, rate=rate):
                exchange.answer(408, side=Side.DOWNSTREAM, error="the body came too slowly")
                return True
        return False

    def on_ready(self, events: int) -> None:
        """A stream has no socket."""

    def on_deadline(self) -> None:
        """The client is too slow with its body, or does not read its answer."""
        exchange = self.exchange
        if self._kept:
            if exchange is not None:
                exchange.cancel(error="the client does not read its answer")
            self.session.reset(self.stream_id, ErrorCodes.CANCEL)
            self._lose()
        elif exchange is not None and not exchange.request_done:
            # Who listens to an answer that flows need not say anything meanwhile.
            if exchange.wants_body and not self._inbox and exchange.response_bytes == self._answered:
                exchange.answer(408, side=Side.DOWNSTREAM, error="the body came too slowly")
            else:
                self._await_body()

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this stream."""
        self.plane.on_crash(error, "http2 stream")
        exchange = self.exchange
        try:
            if exchange is not None and not exchange.finished:
                exchange.answer(500, side=Side.INTERNAL, error="internal error")
        except Exception as again:  # the last resort is to let go of it
            self.plane.on_crash(again, "http2 stream")
        self._lose()

    # The responder of the exchange.

    def done(self, exchange: Exchange) -> None:
        """The exchange is over and its response whole."""
        self.exchange = None
        self._inbox = None
        if not self._kept:
            self._finish()

    def truncate(self, exchange: Exchange) -> None:
        """The response is not whole: reset the stream so that this shows."""
        self.session.reset(self.stream_id, ErrorCodes.INTERNAL_ERROR)
        self._lose()

    def read_on(self) -> None:
        """The exchange takes more of the body."""
        if self._uncredited:
            self.connection.credit(self.stream_id, self._uncredited)
            self._uncredited = 0
        if self._started:
            self.plane.poller.soon(self, self._deliver)

    # A tunnel (RFC 8441).

    def tunnel(self, exchange: Exchange, head: ResponseHead, connection: UpstreamConnection) -> bool:
        """The backend agreed to the WebSocket that this stream asked for."""
        key = exchange.head.field(b"sec-websocket-key") or b""
        accept = base64.b64encode(hashlib.sha1(key + _WEBSOCKET_GUID, usedforsecurity=False).digest())
        if head.field(b"sec-websocket-accept") != accept:
            return False
        exchange.status = 200
        # A length, which some backends add to their 101, would be one of the tunnel's (RFC 9110 9.3.6).
        fields = [field for field in write_response(head, status=200) if field[0] not in _OF_HANDSHAKE]
        self.session.send_head(self.stream_id, fields)
        self.exchange = None
        self.channel = Http2Channel(self)
        self.deadline = math.inf
        Tunnel(self.plane, exchange, self, connection).open(b"")
        self.connection.mark()
        return True

    def give_stream(self) -> Http2Channel:
        """Give what carries the bytes to a tunnel."""
        assert self.channel is not None
        return self.channel

    def take_inbox(self, buffer: memoryview) -> int:
        """Move what the client sent into a buffer, for the tunnel.

        Returns:
            How many bytes.
        """
        inbox = self._inbox
        filled = 0
        while inbox and filled < len(buffer):
            data = inbox.popleft()
            piece = data[: len(buffer) - filled]
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
            if len(piece) < len(data):
                inbox.appendleft(data[len(piece) :])
        if filled:
            self.connection.credit(self.stream_id, filled)
        return filled

    @property
    def inbox_ended(self) -> bool:
        """Whether the client has said all that it will."""
        return self._inbox_ended and not self._inbox

    def part(self, tunnel: ClientConnection) -> None:
        """The backend of a tunnel broke."""
        self.connection.listener.forget(tunnel)
        if self.channel is not None:
            self.channel.break_off()

    def end_tunnel(self, *, broken: bool) -> None:
        """The tunnel is over: what it said is out, or is not any more; when it broke off that shows (RFC 8441 5)."""
        if not self._over:
            if self._kept or self.connection.stream.broken or (broken and not self._ended):
                self.session.reset(self.stream_id, ErrorCodes.CANCEL)
            elif not self._ended:
                self.put(b"", end=True)
            self.connection.mark()
            self.drop_kept()
            self._finish()

    def drain(self) -> None:
        """The connection drains, not the stream."""

    def close(self) -> None:
        """The connection is closed."""
        exchange = self.exchange
        if exchange is not None:
            exchange.cancel(error="the connection was closed")
        self._lose()

    def _lose(self) -> None:
        """Nothing more can be said to the client."""
        self.drop_kept()
        self._held = self._inbox = None
        self._ended = True
        channel = self.channel
        self._finish()
        if channel is not None:
            channel.on_lost()

    def _finish(self) -> None:
        if not self._over:
            self._over = True
            self.exchange = None
            if self.armed is not NEVER:  # few have ever waited
                self.plane.poller.timers.forget(self)
            self.connection.release(self)
