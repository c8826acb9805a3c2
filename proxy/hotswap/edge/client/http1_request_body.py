"""Body of the request under way on an HTTP/1.x connection, and the minimum rate at which it has to arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hotswap.core.errors import Side
from hotswap.core.http.body_pace import is_too_slow
from hotswap.edge.loop.pipe import WORTHWHILE

if TYPE_CHECKING:
    from hotswap.edge.exchange.entrance import Entrance
    from hotswap.edge.exchange.exchange import Exchange
    from hotswap.edge.loop.plane import LoopPlane
    from hotswap.edge.loop.stream import Stream


class Http1RequestBody:
    """State of a request body that did not arrive together with its head.

    Of its bytes, `left` need no parser: they are moved and never parsed.
    """

    __slots__ = ("_answered", "_listener", "_waited", "left")

    def __init__(self, listener: Entrance) -> None:
        self.left = 0
        self._listener = listener
        self._answered = 0  # bytes of the answer when the client was last found silent
        self._waited = 0.0  # seconds that the client took for its pieces

    def read(self, exchange: Exchange, stream: Stream, plane: LoopPlane, deadline: float) -> int:
        """Forward a piece of a counted body without the parser; returns as `Stream.read_into`.

        `deadline` is of the client, and was set when it was asked for this piece.
        """
        left = self.left
        now = plane.poller.now
        body = exchange.request_body
        assert body is not None
        target = body.splice_target() if stream.splices and left > WORTHWHILE else None
        if target is not None:
            got = stream.move(left, target, plane.pipe)
            if got > 0:
                body.moved(got)
                self.is_too_slow(exchange, 0, now, deadline)
        else:
            buffer = plane.buffer
            got = stream.read_into(buffer if left >= len(buffer) else buffer[:left])
            if got > 0 and not self.is_too_slow(exchange, got, now, deadline):
                body.take(buffer[:got])
        if got > 0:
            self.left = left = left - got
            if not left and not exchange.finished:
                body.end()
        return got

    def is_too_slow(self, exchange: Exchange, size: int, now: float, deadline: float) -> bool:
        """Account for the wait for a piece, and answer 408 to a client below the minimum rate.

        Args:
            exchange: whose body it is.
            size: bytes of the piece that the exchange does not count yet.
            now: seconds of the data plane's clock.
            deadline: as of `read`.
        """
        rate = self._listener.body_rate
        if rate:
            self._waited = waited = self._waited + max(0.0, now - (deadline - exchange.idle_timeout))
            if is_too_slow(received=exchange.request_bytes + size, waited=waited, rate=rate):
                exchange.answer(408, side=Side.DOWNSTREAM, error="the body came too slowly")
                return True
        return False

    def is_answered(self, exchange: Exchange) -> bool:
        """Whether the response has progressed since the last call: a client that reads it need not send."""
        before, self._answered = self._answered, exchange.response_bytes
        return self._answered != before
