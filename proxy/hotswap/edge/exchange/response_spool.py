"""Response on its way to a client that is slower than its backend: kept for it, so that the backend can be let go.

Nothing is made for a client that keeps pace. Once something that was sent to a client has not all been taken, what
comes of the response goes into a spool, and to the client as it takes it; the backend is read at its own speed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from hotswap.edge.loop.containment import Contained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotswap.core.http.messages import Field, ResponseHead
    from hotswap.core.http.spool import Spool
    from hotswap.edge.exchange.surroundings import Responder
    from hotswap.edge.loop.plane import LoopPlane
    from hotswap.edge.loop.stream import Data, Stream
    from hotswap.edge.upstream.upstream_connection import UpstreamConnection

PIECES_AT_A_TIME: Final = 8
"""Given to one client before the others get their turn."""

EVENT_STREAM: Final = b"text/event-stream"


def may_be_spooled(head: ResponseHead, *, buffers: bool) -> bool:
    """Whether a response may wait for its client.

    As nginx has it, `X-Accel-Buffering` decides where it is, `no` or `yes`, whatever the pool does. Events are worth
    nothing late, so their backend feels it when nobody takes them.

    Args:
        head: of the response.
        buffers: whether its pool does that.
    """
    if not (buffers if head.buffering is None else head.buffering):
        return False
    kind = head.field(b"content-type")
    return kind is None or kind[: len(EVENT_STREAM)].lower() != EVENT_STREAM


class Delivering(Contained, Protocol):
    """An exchange, as the spool of its response sees it; see `hotswap.edge.exchange.exchange.Exchange`.

    `finished` says that it is over.
    """

    finished: bool

    @property
    def plane(self) -> LoopPlane:
        """The data plane."""

    def flush(self) -> None:
        """Send what is buffered for the client; ends the exchange if the client is gone."""

    def resume_backend(self) -> None:
        """There is room for more of the response."""

    def end(self, *, alive: bool) -> None:
        """The whole response has been sent, to a client that may have left."""

    def truncate(self) -> None:
        """End here, visibly for the client."""


class ResponseSpool:
    """The responder of a slow client, between its exchange and the client's own responder.

    It takes the place of that one behind the head of the response. `ended` says that the whole response is here.
    """

    __slots__ = ("_broken", "_client", "_exchange", "_spool", "_trailers", "ended")

    in_turns = False
    shut_out = False  # what the client's connection has no room for waits here

    def __init__(self, exchange: Delivering, client: Responder[Any], spool: Spool) -> None:
        self._exchange: Delivering | None = exchange
        self._client = client
        self._spool = spool
        self._trailers: Sequence[Field] = ()
        self._broken = False
        self.ended = False

    # The responder of the exchange; `Responder` says what each is to do.

    @property
    def request_trailers(self) -> Sequence[Field]:
        """Of the client's request."""
        return self._client.request_trailers

    @property
    def backed_up(self) -> bool:
        return self._spool.saturated

    @property
    def behind(self) -> bool:
        return self._spool.left > 0 or self._client.behind or self._client.shut_out

    def send_interim(self, exchange: object, head: ResponseHead) -> None:
        self._client.send_interim(exchange, head)

    def send_response(self, exchange: object, head: ResponseHead) -> bool:
        return self._client.send_response(exchange, head)

    def send_head(self, exchange: object, head: ResponseHead) -> None:
        self._client.send_head(exchange, head)

    def send_body(self, data: Data) -> None:
        if self.behind:
            self._spool.add(data)
        else:
            self._client.send_body(data)

    def splice_target(self) -> Stream | None:
        return None if self.behind else self._client.splice_target()

    def send_trailers(self, fields: Sequence[Field]) -> None:
        self._trailers = fields

    def send_end(self) -> None:
        self.ended = True
        if not self._spool.left:
            self._send_end()

    def _send_end(self) -> None:
        if self._trailers:
            self._client.send_trailers(self._trailers)
        self._client.send_end()

    def flush(self) -> bool:
        return self._client.flush()

    def done(self, exchange: object) -> None:
        self._client.done(exchange)

    def truncate(self, exchange: object) -> None:
        self._client.truncate(exchange)

    def read_on(self) -> None:
        self._client.read_on()

    def tunnel(self, exchange: object, head: ResponseHead, connection: UpstreamConnection) -> bool:
        return self._client.tunnel(exchange, head, connection)

    # Delivery.

    @property
    def left(self) -> int:
        """Bytes that have not been given to the client."""
        return self._spool.left

    def break_off(self) -> None:
        """No more comes of the response: give the client what there is, and then the exchange ends."""
        self._broken = True
        self.feed()

    def feed(self) -> None:
        """Give the client what it takes."""
        exchange, client, spool = self._exchange, self._client, self._spool
        if exchange is None:
            return
        for _ in range(PIECES_AT_A_TIME):
            if client.behind or client.shut_out:
                break  # `on_downstream_drained` of the exchange follows
            data = spool.take()
            if not data:
                break
            client.send_body(data)
            exchange.flush()
            if exchange.finished:
                return
        else:
            exchange.plane.poller.soon(exchange, self.feed)
        if spool.error is not None or (self._broken and not spool.left and not client.behind):
            exchange.truncate()
        elif self.ended and not spool.left:
            self._send_end()
            exchange.end(alive=client.flush())
        elif not spool.saturated:
            exchange.resume_backend()

    def close(self) -> None:
        """Discard what is here; idempotent."""
        self._spool.close()
        self._exchange = None
