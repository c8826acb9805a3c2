"""Interface between an exchange and its backend connection: one of HTTP/1.1, or one stream of HTTP/2.

`Carrier` is what an exchange knows of the one, `Carried` what the other knows of an exchange.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotswap.core.errors import ConnectFailed, UpstreamBroken, UpstreamTimedOut
    from hotswap.core.http.forwarding import Peer
    from hotswap.core.http.messages import Field, RequestHead, ResponseHead
    from hotswap.edge.loop.stream import Data, Stream
    from hotswap.edge.upstream.replay import Replay


class Carrier(Protocol):
    """Backend side of one exchange.

    Attributes:
        exchange: whom it calls; None when it carries nothing (more).
        paused: the response waits for the client.
        fresh: its connection had carried nothing before.
        received: a byte of a response has come.
    """

    exchange: Carried | None
    paused: bool
    fresh: bool
    received: bool

    @property
    def connecting(self) -> bool:
        """Whether there is no connection yet; `Carried.on_connected` follows, or a failure."""

    @property
    def backed_up(self) -> bool:
        """Whether the backend takes no more of the body now; `Carried.on_upstream_drained` follows."""

    def carry(self, exchange: Carried, head: RequestHead) -> None:
        """Start to carry an exchange."""

    def send_request(self, exchange: Carried, request_id: bytes, replay: Replay | None) -> int:
        """Send the request head, and what has arrived of the body.

        Returns:
            How many bytes were written; 0 when the connection takes nothing.
        """

    def send_body(self, data: Data) -> None:
        """Send a piece of the body."""

    def send_end(self) -> None:
        """End the body."""

    def await_backend(self, seconds: float) -> None:
        """Set the timeout for the backend's next progress, in either direction; 0 is none."""

    def pump(self) -> None:
        """Resume the response: the client takes more."""

    def release(self, *, reusable: bool) -> None:
        """The exchange ended with a complete response."""

    def fail(self, error: UpstreamBroken | ConnectFailed | UpstreamTimedOut) -> None:
        """Close, and tell the exchange."""

    def close(self) -> None:
        """Close without telling the exchange; idempotent."""


class Answering(Protocol):
    """The part of a client's side that only backend connections use.

    `in_turns` says that a body is work: it is given in pieces of 64 KiB at most, between which others have their turn.
    """

    in_turns: bool

    @property
    def request_trailers(self) -> Sequence[Field]:
        """The fields that came behind the body of the request, once it is complete."""

    @property
    def shut_out(self) -> bool:
        """Whether the client's backlog is so large that this response must not be read.

        `Carrier.pump` follows when it is again.
        """

    def splice_target(self) -> Stream | None:
        """The stream that can take the next piece of the body in the kernel; None if it has to be framed."""

    def send_trailers(self, fields: Sequence[Field]) -> None:
        """Send the trailers that the protocol can carry; called before the end."""


class Carried(Protocol):
    """An exchange, as a backend connection sees it; see `hotswap.edge.exchange.exchange.Exchange`.

    Attributes:
        head: of the request.
        target: what the backend is asked for.
        prefix: what was taken off it, as `hotswap.core.http.routing.RouteMatch` has it.
        peer: who asks.
        request_sent: all of the request was passed to the connection, or is with its head.
        retries: how often it was tried again.
        written: bytes of the request that were written to the present backend.
        response_timeout: seconds to the first byte of the response.
        idle_timeout: seconds from one byte to the next.
    """

    head: RequestHead
    target: bytes
    prefix: bytes
    peer: Peer
    request_sent: bool
    retries: int
    written: int
    response_timeout: float
    idle_timeout: float

    @property
    def responder(self) -> Answering:
        """The client's side."""

    @property
    def downstream_backed_up(self) -> bool:
        """Whether the response has to wait for the client."""

    @property
    def held_back(self) -> bool:
        """Whether the response has to wait when the client's backlog shuts it out."""

    def on_connected(self) -> None:
        """The connection is established: send the request."""

    def on_upstream_drained(self) -> None:
        """The backend takes more of the request body."""

    def on_interim(self, head: ResponseHead) -> None:
        """An informational response arrived."""

    def on_response_head(self, head: ResponseHead) -> None:
        """The response head arrived."""

    def on_response_body(self, data: Data) -> None:
        """A piece of the response body arrived."""

    def on_response_moved(self, size: int) -> None:
        """A piece of the response body was moved to the client in the kernel."""

    def on_response(self, head: ResponseHead) -> None:
        """The complete response arrived in one read."""

    def on_response_end(self) -> None:
        """The response is complete."""

    def flush(self) -> None:
        """Send what is buffered for the client."""

    def on_upstream_failed(self, connection: Carrier, error: ConnectFailed | UpstreamBroken | UpstreamTimedOut) -> None:
        """The connection to the backend failed and is closed."""

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this exchange."""
