"""The answering half of a stream of HTTP/2: heads, bodies within the client's windows, trailers.

What the windows do not take is kept, at most one read of the backend, and the backend is not read meanwhile. Small
pieces that come together leave as one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from hotswap.core.errors import Side
from hotswap.core.forwarding import error_head
from hotswap.edge.client.http2_backlog import KEPT_LIMIT
from hotswap.edge.loop.timers import NEVER
from hotswap.wire.http2.fields import write_response, write_trailers
from hotswap.wire.http2.session import DATA_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotswap.core.messages import Field, ResponseHead
    from hotswap.edge.client.http2_connection import Http2Connection
    from hotswap.edge.exchange.exchange import Exchange
    from hotswap.edge.loop.stream import Data, Stream


class Http2Responder(ABC):
    """Says what an exchange answers; the stream is a subclass, as with HTTP/1.x."""

    # As in Exchange: what has not happened yet is read from the class.
    deadline = math.inf
    armed = NEVER
    _ended = False  # the last byte of the response has gone or is kept
    _held: Data | None = None
    _trailers: list[Field] | None = None
    _kept: list[Data] | None = None
    kept_bytes = 0  # that wait for the client's windows
    _headed = False  # the head has gone

    def __init__(self, connection: Http2Connection, stream_id: int) -> None:
        self.connection = connection
        self.plane = connection.plane
        self.session = connection.session
        self.stream_id = stream_id

    @abstractmethod
    def on_window(self) -> None:
        """The client takes more."""

    @abstractmethod
    def on_drained(self) -> None:
        """What was kept is out, here or in the socket."""

    @abstractmethod
    def on_deadline(self) -> None:
        """The client does not go on."""

    @abstractmethod
    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this stream."""

    @property
    def backed_up(self) -> bool:
        """Whether the client takes no more for now."""
        return bool(self._kept) or self.connection.backlog.is_backed_up(self)

    @property
    def shut_out(self) -> bool:
        """Whether the client keeps us from sending so much on other streams that its backend is not to be read."""
        connection = self.connection
        backlog = connection.backlog
        if connection.stream.unsent + backlog.kept_bytes <= KEPT_LIMIT:
            return False
        return backlog.shuts_out(self, headed=self._headed)

    def send_interim(self, exchange: Exchange, head: ResponseHead) -> None:
        """Pass on an informational response."""
        self.session.send_head(self.stream_id, write_response(head))

    def send_response(self, exchange: Exchange, head: ResponseHead) -> bool:
        """Send a response that is whole, its body with it."""
        self.send_head(exchange, head)
        if head.body:
            self.send_body(head.body)
        self.send_end()
        return self.flush()

    def send_head(self, exchange: Exchange, head: ResponseHead) -> None:
        """Begin the response."""
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
        """Go on with the response; the last piece is held so that the end can go with it."""
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
        """Everything is framed here."""
        return None

    def send_trailers(self, fields: Sequence[Field]) -> None:
        """Kept until what comes before them is out."""
        if not self._ended:
            self._trailers = write_trailers(fields)

    def send_end(self) -> None:
        """The response is whole."""
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
        """Send what has been said, with what other streams say in this turn."""
        held, self._held = self._held, None
        if held is not None:
            self.put(held)
        connection = self.connection
        connection.mark()
        return not connection.stream.broken

    def put(self, data: Data, *, end: bool = False) -> None:
        """Send a piece of the body, or keep what the windows do not take."""
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
            self.plane.poller.timers.set(self, self.plane.poller.now + self.connection.listener.idle_timeout)
        kept.append(bytes(data))
        self._keep(len(data))

    def _send_kept(self) -> bool:
        """Send what was kept.

        Returns:
            Whether nothing is kept any more.
        """
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
                poller.timers.set(self, poller.now + self.connection.listener.idle_timeout if kept else math.inf)
        return not kept

    def _keep(self, size: int) -> None:
        self.kept_bytes += size
        self.connection.backlog.keep(size)

    def drop_kept(self) -> None:
        """The client will not get what is kept."""
        self._kept = None
        if self.kept_bytes:
            self._keep(-self.kept_bytes)
