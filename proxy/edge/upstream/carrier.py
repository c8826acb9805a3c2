"""The seam between an exchange and what carries it to a backend: a connection of HTTP/1.1, or one stream of HTTP/2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from proxy.core.errors import ConnectFailed, UpstreamBroken, UpstreamTimedOut
    from proxy.core.messages import RequestHead
    from proxy.edge.exchange.exchange import Exchange
    from proxy.edge.loop.stream import Data
    from proxy.edge.upstream.replay import Replay


class Carrier(Protocol):
    """The backend's side of one exchange.

    Attributes:
        exchange: whom it calls; None when it carries nothing (more).
        paused: the response waits for the client.
    """

    exchange: Exchange | None
    paused: bool

    @property
    def connecting(self) -> bool:
        """Whether there is no connection yet; `Exchange.on_connected` follows, or a failure."""

    @property
    def fresh(self) -> bool:
        """Whether its connection had carried nothing before."""

    @property
    def received(self) -> bool:
        """Whether a byte of a response has come."""

    @property
    def backed_up(self) -> bool:
        """Whether the backend takes no more of the body for now; `Exchange.on_upstream_drained` follows."""

    def carry(self, exchange: Exchange, head: RequestHead) -> None:
        """Take an exchange."""

    def send_request(self, exchange: Exchange, request_id: bytes, replay: Replay | None) -> int:
        """Send the head, and what has come of the body.

        Returns:
            How many bytes were written; 0 when the connection takes nothing.
        """

    def send_body(self, data: Data) -> None:
        """Go on with the body."""

    def send_end(self) -> None:
        """The body is complete."""

    def await_backend(self, seconds: float) -> None:
        """Give the backend so long to take, or to send, its next byte; 0 is for ever."""

    def pump(self) -> None:
        """Go on with the response: the client takes more."""

    def release(self, *, reusable: bool) -> None:
        """The exchange is over, its response whole."""

    def fail(self, error: UpstreamBroken | ConnectFailed | UpstreamTimedOut) -> None:
        """Give up, and tell the exchange."""

    def close(self) -> None:
        """Give up; idempotent."""
