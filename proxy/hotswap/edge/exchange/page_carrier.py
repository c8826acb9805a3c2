"""Sends a page that is larger than what may be kept for a client, at the pace of that client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hotswap.core.errors import ConnectFailed, UpstreamBroken, UpstreamTimedOut
    from hotswap.core.http.messages import RequestHead
    from hotswap.edge.loop.stream import Data
    from hotswap.edge.upstream.carrier import Carried
    from hotswap.edge.upstream.replay import Replay

PIECE_BYTES: Final = 16 * 1024
"""What is sent at a time; a smaller page at once, though a client may have a hundred streams that take nothing."""


class PageCarrier:
    """A `Carrier` whose response is a page in memory; the head of it has been sent.

    The page itself is shared by all who get it. What remains of the request has nowhere to go.
    """

    __slots__ = ("_page", "_place", "exchange", "paused")

    fresh = received = True
    connecting = backed_up = False

    def __init__(self, page: bytes) -> None:
        self.exchange: Carried | None = None
        self.paused = False
        self._page = page
        self._place = 0

    def carry(self, exchange: Carried, head: RequestHead) -> None:
        """Send the page to an exchange; it may have ended when this returns."""
        self.exchange = exchange
        self.pump()

    def pump(self) -> None:
        """Send as much as the client takes."""
        while (exchange := self.exchange) is not None and not self.paused:
            if exchange.responder.shut_out:
                self.paused = True
                return
            piece = self._page[self._place : self._place + PIECE_BYTES]
            self._place += len(piece)
            exchange.on_response_body(piece)
            if self._place >= len(self._page):
                exchange.on_response_end()
                return
            exchange.flush()
            if self.exchange is not None and exchange.downstream_backed_up:
                self.paused = True

    def send_request(self, exchange: Carried, request_id: bytes, replay: Replay | None) -> int:
        """Send nothing: there is no backend."""
        return 0

    def send_body(self, data: Data) -> None:
        """Drop it."""

    def send_end(self) -> None:
        """Nothing is to be ended."""

    def await_backend(self, seconds: float) -> None:
        """Nobody is waited for but the client."""

    def release(self, *, reusable: bool) -> None:
        """The page has been sent."""
        self.exchange = None

    def fail(self, error: UpstreamBroken | ConnectFailed | UpstreamTimedOut) -> None:
        """End; a page in memory does not fail."""
        self.exchange = None

    def close(self) -> None:
        """End without telling the exchange; idempotent."""
        self.exchange = None
