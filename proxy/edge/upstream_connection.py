"""One connection to a backend: connecting, sending a request, and relaying its response as it comes."""

from __future__ import annotations

import errno
import math
import os
import socket
from typing import TYPE_CHECKING, Final

from proxy.core.errors import ConnectFailed, UpstreamBroken, UpstreamTimedOut
from proxy.edge.poller import GONE, READ, READ_WRITE
from proxy.edge.stream import BLOCKED, Stream
from proxy.wire.http1 import End
from proxy.wire.http1_response import UNTIL_CLOSE, ResponseParser

if TYPE_CHECKING:
    from proxy.core.messages import RequestHead, ResponseHead
    from proxy.edge.exchange import Exchange
    from proxy.edge.upstream import Upstream

IDLE: Final = 4.0
"""Seconds an idle connection is kept: under the 5 s after which common servers close it themselves."""
CONNECT_TIMEOUT: Final = 5.0
READS_AT_A_TIME: Final = 8
"""Reads of one connection before the others get their turn: at most 2 MiB."""
FULL_BACKLOG_PAUSE: Final = 0.005
"""Seconds until a Unix connect is tried again whose listener's queue was full (EAGAIN, reference: takeover M21)."""


class UpstreamConnection:
    """One connection to a backend, carrying one exchange at a time."""

    __slots__ = (
        "_body_left",
        "_destination",
        "_parser",
        "_response",
        "_ruined",
        "armed",
        "connecting",
        "deadline",
        "exchange",
        "fresh",
        "give_up_at",
        "idle_since",
        "paused",
        "plane",
        "received",
        "stream",
        "upstream",
    )

    def __init__(self, upstream: Upstream, sock: socket.socket) -> None:
        self.upstream = upstream
        self.plane = upstream.plane
        self.stream = Stream(sock, upstream.plane.poller, self)
        self.exchange: Exchange | None = None
        self.connecting = False
        self.fresh = True
        self.received = False
        self.paused = False  # until the client takes more
        self.idle_since = 0.0
        self.give_up_at = math.inf
        self.deadline = self.armed = math.inf
        self._parser = ResponseParser()
        self._response: ResponseHead | None = None
        self._body_left = 0
        self._ruined = False
        self._destination: str | tuple[str, int] = ""

    # Connecting.

    def connect(self, address: str | tuple[str, int]) -> None:
        """Begin to connect.

        Raises:
            ConnectFailed: it failed at once.
        """
        self._destination = address
        self.give_up_at = self.plane.poller.now + CONNECT_TIMEOUT
        if self.stream.sock.family != socket.AF_UNIX:
            self.stream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.upstream.connections.add(self)
        self._try_to_connect(first=True)

    def _try_to_connect(self, *, first: bool) -> None:
        poller = self.plane.poller
        code = self.stream.sock.connect_ex(self._destination)
        if code == 0:
            poller.watch(self.stream.fd, self, READ)
            self.connecting = False
            self.stream.readable = False
        elif code == errno.EINPROGRESS:
            self.connecting = True
            poller.watch(self.stream.fd, self, READ_WRITE)
            poller.timers.set(self, self.give_up_at)
        elif code == errno.EAGAIN and poller.now < self.give_up_at:
            self.connecting = True
            poller.timers.set(self, poller.now + FULL_BACKLOG_PAUSE)
        else:
            raise ConnectFailed(f"connect to {self.upstream.backend.address}: {os.strerror(code)}")
        if not first and not self.connecting:
            self._connected()

    def _connected(self) -> None:
        self.connecting = False
        self.plane.poller.timers.set(self, math.inf)
        if self.exchange is not None:
            self.exchange.on_connected()

    # Carrying an exchange.

    def carry(self, exchange: Exchange, head: RequestHead) -> None:
        """Take an exchange; what it writes to `stream` is its request."""
        self.exchange = exchange
        self.received = False
        self.paused = False
        self._response = None
        self._body_left = 0
        self._parser.expect(no_body=head.method == b"HEAD")

    def await_backend(self, seconds: float) -> None:
        """Give the backend so long to take, or to send, its next byte; 0 is for ever."""
        poller = self.plane.poller
        poller.timers.set(self, poller.now + seconds if seconds else math.inf)

    def release(self, *, reusable: bool) -> None:
        """The exchange is over; keep the connection for the next one, or close it."""
        self.exchange = None
        stream = self.stream
        response = self._response
        if (
            reusable
            and response is not None
            and response.keep_alive
            and not self._ruined
            and not stream.hangup
            and not stream.unsent
            and self.upstream.backend.claimable
            # A body that ended exactly where a read ended: what is behind it would be taken for the next response.
            and (not stream.readable or stream.peek_quiet())
        ):
            self.fresh = False
            poller = self.plane.poller
            self.idle_since = poller.now
            poller.timers.set(self, poller.now + IDLE)
            self.upstream.idle.append(self)
        else:
            self.close()

    def take_stream(self) -> tuple[Stream, bytes]:
        """Give the stream and what was read past the response's head to a tunnel."""
        rest, self._parser.upgraded = self._parser.upgraded or b"", None
        self.plane.poller.timers.set(self, math.inf)
        return self.stream, rest

    def close(self) -> None:
        """Close; idempotent."""
        self.deadline = math.inf
        self.stream.close()
        self.upstream.connections.discard(self)

    def fail(self, error: UpstreamBroken | ConnectFailed | UpstreamTimedOut) -> None:
        """Close and tell the exchange."""
        exchange, self.exchange = self.exchange, None
        self.close()
        if exchange is not None:
            exchange.on_upstream_failed(self, error)

    # Events.

    def on_ready(self, events: int) -> None:
        """The socket is ready."""
        stream = self.stream
        if events & GONE:
            stream.hangup = True
        if self.connecting:
            code = stream.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self.fail(ConnectFailed(f"connect to {self.upstream.backend.address}: {os.strerror(code)}"))
                return
            self.plane.poller.rewatch(stream.fd, self, READ)
            self._connected()
            return
        stream.readable = True
        exchange = self.exchange
        unsent = stream.unsent
        if unsent and exchange is not None:
            if stream.flush_kept():
                if not exchange.request_done:
                    self.plane.poller.timers.set(self, math.inf)  # now it is the client that is waited for
                exchange.on_upstream_drained()
            elif stream.unsent < unsent:
                self.await_backend(exchange.response_timeout)
        if self.exchange is None:
            if not stream.closed and self in self.upstream.idle:
                self.upstream.idle.remove(self)
            self.close()
            return
        self.pump()

    def on_drained(self) -> None:
        """What was kept back has been sent."""

    def pump(self) -> None:
        """Read the response as far as it goes and the client takes it."""
        stream = self.stream
        buffer = self.plane.buffer
        for _ in range(READS_AT_A_TIME):
            exchange = self.exchange
            if exchange is None or not stream.readable or self.paused:
                return
            left = self._body_left
            if left:
                got = stream.read_into(buffer if left >= len(buffer) else buffer[:left])
                if got > 0:
                    self._relay_body(exchange, buffer[:got])
            else:
                got = stream.read_into(buffer)
                if got > 0:
                    self.received = True
                    self._read_items(exchange, buffer[:got])
            if got == BLOCKED:
                return
            if got == 0:
                self._on_end()
                return
            if self.exchange is not None and exchange.downstream_backed_up:
                self.paused = True
                return
        self.plane.poller.soon(self, self.pump)

    def _relay_body(self, exchange: Exchange, data: memoryview) -> None:
        """Pass on a piece of a body whose end needs no parser."""
        left = self._body_left
        if left != UNTIL_CLOSE:
            left -= len(data)
            self._body_left = left
        poller = self.plane.poller
        poller.timers.set(self, poller.now + exchange.idle_timeout)
        exchange.on_response_body(data)
        if not left:
            exchange.on_response_end()
        else:
            exchange.flush()

    def _read_items(self, exchange: Exchange, data: memoryview) -> None:
        parser = self._parser
        ended = False
        for item in parser.feed(data):
            if ended or self.exchange is not exchange:
                # More than the one response that was asked for: nothing on this connection can be believed.
                self._ruined = True
                break
            if isinstance(item, bytes):
                exchange.on_response_body(item)
            elif isinstance(item, End):
                ended = True
                if item.trailers:
                    exchange.responder.send_trailers(item.trailers)
            elif item.status < 200 and item.status != 101:
                exchange.on_interim(item)
            else:
                self._response = item
                ended = item.complete
                exchange.on_response_head(item)
        if self.exchange is not exchange:
            return  # it failed, was cancelled or became a tunnel meanwhile
        error = parser.error
        if error is not None:
            self._ruined = True
            if not ended:
                exchange.flush()  # what came before is good, and begins an answer that will visibly break off
                self.fail(error)
                return
        if ended:
            exchange.on_response_end()
            return
        if self._response is not None:
            self._body_left = parser.detach()
        if self._response is not None:
            self.await_backend(exchange.idle_timeout)
        elif exchange.request_done:
            self.await_backend(exchange.response_timeout)  # after an interim response
        exchange.flush()

    def _on_end(self) -> None:
        """The backend has closed its half."""
        exchange = self.exchange
        assert exchange is not None
        if self._body_left == UNTIL_CLOSE and not self.stream.broken:
            self._body_left = 0
            self._ruined = True
            exchange.on_response_end()
        elif self.received:
            self.fail(UpstreamBroken("the backend closed the connection in the middle of its response"))
        else:
            self.fail(UpstreamBroken("the backend closed the connection before it answered"))

    def on_deadline(self) -> None:
        """Idle for too long, or the backend took too long."""
        if self.connecting:
            if self.plane.poller.now < self.give_up_at:
                try:
                    self._try_to_connect(first=False)
                except ConnectFailed as error:
                    self.fail(error)
            else:
                self.fail(ConnectFailed(f"connect to {self.upstream.backend.address}: timed out"))
        elif self.exchange is None:
            if self in self.upstream.idle:
                self.upstream.idle.remove(self)
            self.close()
        elif self.stream.unsent:
            self.fail(UpstreamTimedOut("the backend does not take the request"))
        elif self.paused or not self.exchange.request_done:
            self.await_backend(self.exchange.idle_timeout)  # the client is slow, not the backend
        else:
            self.fail(UpstreamTimedOut("the backend took too long to go on"))

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this exchange: answered, never tried again."""
        exchange, self.exchange = self.exchange, None
        try:
            if exchange is None:
                self.plane.on_crash(error, "upstream")
            else:
                exchange.on_crash(error)
        finally:
            if self in self.upstream.idle:
                self.upstream.idle.remove(self)
            self.close()
