"""One stream of an HTTP/2 client: the responder of one exchange, or one end of a tunnel.

What the client sends before the backend takes it waits in `_inbox`, at most a stream's window, because the window is
opened again only by what has gone on. Of the answer, what the client's windows do not take is kept, at most one read of
the backend, and the backend is not read meanwhile. Small pieces that come together leave as one.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from h2.errors import ErrorCodes

from hotswap.core.errors import Side
from hotswap.core.http.body_pace import is_too_slow
from hotswap.core.http.error_page import page_answer
from hotswap.core.http.forwarding import error_head
from hotswap.core.http.html_preference import prefers_html
from hotswap.edge.client.http2_backlog import KEPT_LIMIT
from hotswap.edge.client.http2_channel import Http2Channel
from hotswap.edge.exchange.exchange import Exchange
from hotswap.edge.exchange.tunnel import Tunnel
from hotswap.edge.loop.timers import NEVER
from hotswap.wire.http2.fields import write_response, write_trailers
from hotswap.wire.http2.session import DATA_BYTES
from hotswap.wire.websocket import accept_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotswap.core.http.forwarding import Peer
    from hotswap.core.http.messages import Field, RequestHead, ResponseHead
    from hotswap.edge.client.http2_backlog import Http2Backlog
    from hotswap.edge.exchange.entrance import ClientConnection, Entrance
    from hotswap.edge.exchange.tunnel import ClientPlane
    from hotswap.edge.loop.stream import Data, Stream
    from hotswap.edge.upstream.upstream_connection import UpstreamConnection
    from hotswap.wire.http2.items import RequestRefused
    from hotswap.wire.http2.session import Http2Session

_OF_HANDSHAKE: Final = (b"sec-websocket-accept", b"content-length")


class StreamConnection(Protocol):
    """The connection of a stream; see `hotswap.edge.client.http2_connection`."""

    plane: ClientPlane
    listener: Entrance
    peer: Peer
    stream: Stream
    session: Http2Session
    backlog: Http2Backlog

    def mark(self) -> None:
        """Schedule one flush at the end of this turn."""

    def credit(self, stream_id: int, size: int) -> None:
        """Credit bytes of a request body that were forwarded."""

    def release(self, stream: Http2Stream) -> None:
        """Forget a stream that is over."""


class Http2Stream:
    """A stream, released when its exchange has ended and its buffer is empty."""

    # As in Exchange: what has not happened yet is read from the class.
    deadline = math.inf
    armed = NEVER
    exchange: Exchange | None = None
    channel: Http2Channel | None = None
    request_trailers: Sequence[Field] = ()
    in_turns = False
    _started = False
    _over = False
    _inbox: deque[bytes] | None = None
    _inbox_ended = False
    _uncredited = 0
    _asked_at = math.inf
    _waited = 0.0
    _patience = 0.0  # seconds that the client has for what is kept, where the exchange is over or a tunnel
    _answered = 0  # bytes of the answer when the client was given its time
    _headed = False  # the head of the answer has gone
    _ended = False  # the last byte of the answer has gone or is kept
    _held: Data | None = None
    _trailers: list[Field] | None = None
    _kept: list[Data] | None = None
    kept_bytes = 0  # that wait for the client's windows

    def __init__(self, connection: StreamConnection, stream_id: int) -> None:
        self.connection = connection
        self.plane = connection.plane
        self.session = connection.session
        self.stream_id = stream_id

    def begin(self, head: RequestHead) -> None:
        """Take a request head; `start` follows once everything that arrived with it has been read."""
        connection = self.connection
        self.exchange = Exchange(connection.plane, connection.listener, self, head, connection.peer)

    def start(self) -> None:
        """Start the exchange, with what has arrived of its body."""
        self._started = True
        exchange = self.exchange
        if exchange is not None and not exchange.finished:
            if not exchange.request_done:
                self._await_body()
            exchange.start()

    def refuse(self, refused: RequestRefused) -> None:
        """Answer a request that is not forwarded: with a page for browsers, and for all others without a body."""
        error, line = refused.error, refused.line
        if prefers_html(refused.accept):
            head, body = page_answer(error.status)
        else:
            head, _ = error_head(error.status)
            head.content_length, body = 0, b""
        no_body = not body or line[0] == b"HEAD"
        connection = self.connection
        connection.plane.date(head)
        if connection.listener.hsts:
            head.lines.append(connection.listener.hsts)
        connection.plane.ledger.refused(connection.listener, connection.peer, error, line, 0 if no_body else len(body))
        self.session.send_head(self.stream_id, write_response(head), end=no_body)
        if not no_body:
            self.put(body, end=True)
        if not self._kept:
            self._finish()

    # From the client.

    def on_body(self, data: bytes) -> None:
        """A piece of the request body arrived."""
        exchange = self.exchange
        if self.channel is not None:
            self.channel.on_data(data)
        elif exchange is not None and (self._started or exchange.upgrading):
            if self._inbox is None:
                self._inbox = deque()
            self._inbox.append(data)
            self._deliver()
        elif exchange is not None and exchange.request_body is not None:
            self._uncredited += len(data)
            exchange.request_body.take(data)

    def on_end(self, trailers: Sequence[Field] = ()) -> None:
        """The request is complete, or the client ended its half of a tunnel."""
        exchange = self.exchange
        if trailers:
            self.request_trailers = trailers
        self._inbox_ended = True
        if self.channel is not None:
            self.channel.on_end()
        elif exchange is not None and not self._started:
            exchange.request_done = True
        elif not self._over:
            self._deliver()

    def on_reset(self, detail: str) -> None:
        """The client reset the stream, or broke a rule and the stream was reset."""
        exchange = self.exchange
        if exchange is not None:
            exchange.cancel(error=detail)
        self._lose()

    def on_window(self) -> None:
        """The client's window opened."""
        if self._kept:
            if self._send_kept():
                self.on_drained()
            else:
                self.connection.backlog.await_window(self)
        else:
            self.connection.backlog.on_stream_window(self)

    def on_drained(self) -> None:
        """A buffer, of the stream or of the socket, is empty again: continue what waited for it."""
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
        """Pass the buffered body to the exchange, as far as it takes it."""
        exchange = self.exchange
        if exchange is None or exchange.upgrading:
            return
        inbox = self._inbox
        body = exchange.request_body
        if body is None:
            return
        while inbox and body.wants_more:
            data = inbox.popleft()
            if self._too_slow(exchange, len(data)):
                return
            body.take(data)
            if exchange.finished:
                return
            self.connection.credit(self.stream_id, len(data))
        if not inbox and self._inbox_ended and not exchange.request_done:
            self._asked_at = math.inf
            if not self._kept:
                self.deadline = math.inf
            body.end()
        else:
            self._await_body()

    def _await_body(self) -> None:
        """Set the deadline for the next piece of the request body."""
        exchange = self.exchange
        if exchange is None or exchange.request_done or self._kept:
            return
        poller = self.plane.poller
        self._asked_at = math.inf if self._inbox else poller.now
        self._answered = exchange.response_bytes
        poller.timers.set(self, poller.now + exchange.idle_timeout)

    def _too_slow(self, exchange: Exchange, size: int) -> bool:
        """Account for the wait for a piece, and give up on a client below the minimum rate (R4)."""
        rate = self.connection.listener.body_rate
        if rate:
            self._waited = waited = self._waited + max(0.0, self.plane.poller.now - self._asked_at)
            self._asked_at = math.inf
            if is_too_slow(received=exchange.request_bytes + size, waited=waited, rate=rate):
                exchange.answer(408, side=Side.DOWNSTREAM, error="the body came too slowly")
                return True
        return False

    def on_deadline(self) -> None:
        """The client is too slow with its body, or does not read its response."""
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

    # The responder of the exchange; `Responder` says what each is to do.

    @property
    def backed_up(self) -> bool:
        return bool(self._kept) or self.connection.backlog.is_backed_up(self)

    behind = backed_up

    @property
    def shut_out(self) -> bool:
        """Whether the connection's backlog is so large that this stream's backend must not be read."""
        connection = self.connection
        backlog = connection.backlog
        if connection.stream.unsent + backlog.kept_bytes <= KEPT_LIMIT:
            return False
        return backlog.shuts_out(self, headed=self._headed)

    def send_interim(self, exchange: Exchange, head: ResponseHead) -> None:
        self.session.send_head(self.stream_id, write_response(head))

    def send_response(self, exchange: Exchange, head: ResponseHead) -> bool:
        self.send_head(exchange, head)
        if head.body:
            self.send_body(head.body)
        self.send_end()
        return self.flush()

    def send_head(self, exchange: Exchange, head: ResponseHead) -> None:
        self._headed = True
        status = head.status
        if exchange.upgrading and 200 <= status < 300:
            # To an extended CONNECT it would say that the tunnel is open (RFC 8441 5).
            exchange.status = 502
            exchange.error = "the backend did not switch to WebSocket"
            exchange.side = Side.UPSTREAM
            head, body = error_head(502)
            exchange.plane.date(head)
            self.session.send_head(self.stream_id, write_response(head))
            self.session.send_body(self.stream_id, body, end=True)
            self._ended = True  # what comes of the backend is dropped
            return
        no_body = status == 204 or status == 304 or exchange.head.method == b"HEAD"
        if head.content_length == 0 and head.complete:  # else trailers may come behind an empty body
            no_body = True
        self._ended = no_body
        self.session.send_head(self.stream_id, write_response(head), end=no_body)

    def send_body(self, data: Data) -> None:
        """Send a piece of the response body; the last one is held back so that END_STREAM can go with it."""
        if not self._ended:
            held = self._held
            if held is None:
                self._held = data
            elif len(held) + len(data) > DATA_BYTES:
                self.put(held)
                self._held = data
            elif type(held) is bytearray:
                held += data
            else:
                self._held = bytearray(held) + data

    def splice_target(self) -> Stream | None:
        """None: every body is framed."""
        return None

    def send_trailers(self, fields: Sequence[Field]) -> None:
        """Buffer the trailers until the body before them is sent."""
        if not self._ended:
            self._trailers = write_trailers(fields)

    def send_end(self) -> None:
        if not self._ended:
            held, self._held = self._held, None
            if not self._trailers:
                self.put(b"" if held is None else held, end=True)
                return
            if held is not None:
                self.put(held)
            self._ended = True
            if not self._kept:
                self.session.send_head(self.stream_id, self._trailers, end=True)

    def flush(self) -> bool:
        """Send what is buffered, together with other streams' output of this turn."""
        held, self._held = self._held, None
        if held is not None:
            self.put(held)
        connection = self.connection
        connection.mark()
        return not connection.stream.broken

    def done(self, exchange: Exchange) -> None:
        self.exchange = None
        self._inbox = None
        if self._kept:
            self._patience = exchange.idle_timeout
        else:
            self._finish()

    def truncate(self, exchange: Exchange) -> None:
        """Reset the stream, so that the client sees that the response is not whole."""
        self.session.reset(self.stream_id, ErrorCodes.INTERNAL_ERROR)
        self._lose()

    def read_on(self) -> None:
        if self._uncredited:
            self.connection.credit(self.stream_id, self._uncredited)
            self._uncredited = 0
        if self._started:
            self.plane.poller.soon(self, self._deliver)

    def put(self, data: Data, *, end: bool = False) -> None:
        if end:
            self._ended = True
        kept = self._kept
        if not kept:
            sent = self.session.send_body(self.stream_id, data, end=end)
            if sent == len(data) and (sent or end):
                return
            data = memoryview(data)[sent:]
            if kept is None:
                kept = self._kept = []
            self.connection.backlog.await_window(self)
            self.plane.poller.timers.set(self, self.plane.poller.now + self.idle_timeout)
        kept.append(bytes(data))
        self._keep(len(data))

    def _send_kept(self) -> bool:
        """Send what is buffered; tells whether nothing is any more."""
        kept = self._kept
        if kept:
            data = kept[0] if len(kept) == 1 else b"".join(kept)
            sent = self.session.send_body(self.stream_id, data, end=self._ended and not self._trailers)
            if sent < len(data):
                kept[:] = (memoryview(data)[sent:],)
            else:
                kept.clear()
                if self._trailers:
                    self.session.send_head(self.stream_id, self._trailers, end=True)
            if sent or not kept:
                self._keep(-sent)
                self.connection.mark()
                poller = self.plane.poller
                poller.timers.set(self, poller.now + self.idle_timeout if kept else math.inf)
        return not kept

    @property
    def idle_timeout(self) -> float:
        """Seconds in which nothing may move, as the route has it."""
        exchange = self.exchange
        return self._patience if exchange is None else exchange.idle_timeout

    def _keep(self, size: int) -> None:
        self.kept_bytes += size
        self.connection.backlog.keep(size)

    def drop_kept(self) -> None:
        """Discard what is buffered."""
        self._kept = None
        if self.kept_bytes:
            self._keep(-self.kept_bytes)

    # A tunnel (RFC 8441); `TunnelledStream` says what its channel wants.

    def tunnel(self, exchange: Exchange, head: ResponseHead, connection: UpstreamConnection) -> bool:
        """Become one end of a tunnel: the backend accepted the WebSocket."""
        if head.field(b"sec-websocket-accept") != accept_of(exchange.head.field(b"sec-websocket-key") or b""):
            return False
        exchange.status = 200
        # A length, which some backends add to their 101, would be one of the tunnel's (RFC 9110 9.3.6).
        fields = [field for field in write_response(head, status=200) if field[0] not in _OF_HANDSHAKE]
        self.session.send_head(self.stream_id, fields)
        self.exchange = None
        self._patience = exchange.idle_timeout
        self.channel = Http2Channel(self, self._inbox or (), ended=self._inbox_ended)
        self._inbox = None
        self.deadline = math.inf
        Tunnel(self.plane, exchange, self, connection).open(b"")
        self.connection.mark()
        return True

    def give_stream(self) -> Http2Channel:
        """Hand the channel over to a tunnel."""
        assert self.channel is not None
        return self.channel

    def credit(self, size: int) -> None:
        self.connection.credit(self.stream_id, size)

    def part(self, tunnel: ClientConnection) -> None:
        """The backend of a tunnel broke."""
        self.connection.listener.forget(tunnel)
        if self.channel is not None:
            self.channel.break_off()

    def end_tunnel(self, *, broken: bool) -> None:
        """End the stream of a tunnel; a reset shows that it broke off (RFC 8441 5)."""
        if not self._over:
            if self._kept or self.connection.stream.broken or (broken and not self._ended):
                self.session.reset(self.stream_id, ErrorCodes.CANCEL)
            elif not self._ended:
                self.put(b"", end=True)
            self.connection.mark()
            self.drop_kept()
            self._finish()

    def close(self) -> None:
        """Abort the exchange: the connection is closed."""
        exchange = self.exchange
        if exchange is not None:
            exchange.cancel(error="the connection was closed")
        self._lose()

    def _lose(self) -> None:
        """Nothing can be sent to the client any more."""
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
