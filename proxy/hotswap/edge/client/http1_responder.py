"""The answering half of an HTTP/1.x connection: heads and bodies in the framing that the client understands.

What is said is gathered and leaves with `flush` in one system call.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from hotswap.core.forwarding import write_response
from hotswap.core.messages import Field, ResponseHead
from hotswap.edge.loop.stream import Data, Stream
from hotswap.edge.loop.timers import NEVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotswap.edge.client.listener import Listener
    from hotswap.edge.exchange.exchange import Exchange
    from hotswap.edge.exchange.plane import Plane

NO_LIMIT: Final = 1 << 62


class Http1Responder:
    """Writes responses; the connection is a subclass, because an object of its own would cost a call for each word.

    Args:
        plane: the data plane.
        listener: whose client it is.
        stream: the client.
    """

    __slots__ = (
        "_bodiless",
        "_chunking",
        "_last",
        "_out",
        "_requests_left",
        "armed",
        "deadline",
        "exchange",
        "listener",
        "plane",
        "stream",
    )

    request_trailers: Sequence[Field] = ()  # those of HTTP/1.1 are dropped (F15)
    shut_out = False  # a connection has one answer at a time, which is bounded by itself

    def __init__(self, plane: Plane, listener: Listener, stream: Stream) -> None:
        self.plane = plane
        self.listener = listener
        self.stream = stream
        self.exchange: Exchange | None = None
        self.deadline, self.armed = math.inf, NEVER
        self._out: list[Data] = []
        self._chunking = self._bodiless = False
        self._last = False  # the response under way is the connection's last
        self._requests_left = listener.requests or NO_LIMIT

    def on_deadline(self) -> None:
        """The client took too long."""
        raise NotImplementedError

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this connection."""
        raise NotImplementedError

    def close(self) -> None:
        """Close at once, whatever is under way; idempotent."""
        raise NotImplementedError

    def _await_client(self) -> None:
        """The client has so long to take, or to send, its next byte."""
        poller = self.plane.poller
        poller.timers.set(self, poller.now + self.listener.idle_timeout)

    @property
    def backed_up(self) -> bool:
        """Whether the client takes no more for now."""
        return self.stream.backed_up

    def truncate(self, exchange: Exchange) -> None:
        """The response is not whole: end the connection so that this shows."""
        self.exchange = None
        self._out.clear()
        if not self._chunking and self._last:
            self.stream.reset()
        self.close()

    def send_interim(self, exchange: Exchange, head: ResponseHead) -> None:
        """Pass on an informational response."""
        self._out.append(write_response(head, version=11, no_body=True, close=False))

    def send_response(self, exchange: Exchange, head: ResponseHead) -> bool:
        """Send a response that is whole, its body with it, in one system call."""
        self._chunking = False
        self._bodiless = head.body is None
        data = self._write_head(exchange, head, no_body=head.body is None)
        if head.body is not None:
            data += head.body
        out = self._out
        stream = self.stream
        if out:  # an informational response goes first
            out.append(data)
            stream.write_all(out)
            out.clear()
        else:
            stream.write(data)
        return not stream.broken

    def send_head(self, exchange: Exchange, head: ResponseHead) -> None:
        """Begin the response."""
        no_body = exchange.head.method == b"HEAD" or head.status == 204 or head.status == 304
        self._chunking = head.content_length is None and not no_body and exchange.head.version == 11
        self._bodiless = no_body
        self._out.append(self._write_head(exchange, head, no_body=no_body))

    def _write_head(self, exchange: Exchange, head: ResponseHead, *, no_body: bool) -> bytes:
        request = exchange.head
        version = request.version
        self._last = close = (
            not request.keep_alive
            or not exchange.request_done
            or self.plane.stopping
            or self.stream.hangup
            or self._requests_left <= 0
            or (version == 10 and head.content_length is None and not no_body)
        )
        return write_response(
            head, version=version, no_body=no_body, close=close, keep_alive=version == 10 and not close
        )

    def send_body(self, data: Data) -> None:
        """Go on with the response."""
        if self._chunking:
            if len(data):
                self._out += (b"%x\r\n" % len(data), data, b"\r\n")
        elif self._bodiless:
            self._last = True  # the client would take it for its next response: dropped, and nothing comes after it
        else:
            self._out.append(data)

    def splice_target(self) -> Stream | None:
        """The client's stream, where a body passes as it is and nothing waits before it."""
        stream = self.stream
        return None if self._chunking or self._out or stream.unsent or stream.scheme != b"http" else stream

    def send_trailers(self, fields: Sequence[Field]) -> None:
        """Dropped: hardly a client of HTTP/1.1 looks for them, and leaving them out is always allowed (F15)."""

    def send_end(self) -> None:
        """The response is whole."""
        if self._chunking:
            self._out.append(b"0\r\n\r\n")

    def flush(self) -> bool:
        """Send what has been said."""
        out = self._out
        if out:
            self.stream.write_all(out)
            out.clear()
        return not self.stream.broken
