"""The body of the request under way on an HTTP/1.x connection, where its length is known: moved, never parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotswap.core.body_pace import is_too_slow
from hotswap.core.errors import Side
from hotswap.edge.client.http1_responder import Http1Responder
from hotswap.edge.loop.pipe import WORTHWHILE
from hotswap.edge.loop.stream import Stream

if TYPE_CHECKING:
    from hotswap.edge.client.listener import Listener
    from hotswap.edge.exchange.exchange import Exchange
    from hotswap.edge.exchange.plane import Plane


class Http1RequestBody(Http1Responder):
    """What a connection knows of a body on its way up; the connection is a subclass.

    `_body_left` are the bytes that the parser will not see.
    """

    __slots__ = ("_answered", "_body_left", "_waited")

    def __init__(self, plane: Plane, listener: Listener, stream: Stream) -> None:
        super().__init__(plane, listener, stream)
        self._body_left = 0
        self._answered = 0  # bytes of the answer when the client was last found silent
        self._waited = 0.0  # seconds that the client took for pieces of the body under way

    def _read_body(self, exchange: Exchange, left: int) -> int:
        """Pass on a piece of a body whose end needs no parser; returns as `Stream.read_into`."""
        plane, stream = self.plane, self.stream
        target = exchange.splice_target() if stream.splices and left > WORTHWHILE else None
        if target is not None:
            got = stream.move(left, target, plane.pipe)
            if got > 0:
                exchange.on_request_moved(got)
                self._too_slow(exchange, 0)
        else:
            buffer = plane.buffer
            got = stream.read_into(buffer if left >= len(buffer) else buffer[:left])
            if got > 0 and not self._too_slow(exchange, got):
                exchange.on_request_body(buffer[:got])
        if got > 0:
            self._body_left = left = left - got
            if exchange.finished:
                pass
            elif left:
                self.deadline = plane.poller.now + self.listener.idle_timeout
            else:
                exchange.on_request_end()
        return got

    def _too_slow(self, exchange: Exchange, size: int) -> bool:
        """Count what was waited for a piece of the body, and give up on a client that sends far too little (R4)."""
        rate = self.listener.body_rate
        if rate:
            idle_timeout = self.listener.idle_timeout
            # The deadline was set when the client was asked for this piece.
            self._waited = waited = self._waited + max(0.0, self.plane.poller.now - (self.deadline - idle_timeout))
            if is_too_slow(received=exchange.request_bytes + size, waited=waited, rate=rate):
                exchange.answer(408, side=Side.DOWNSTREAM, error="the body came too slowly")
                return True
        return False
