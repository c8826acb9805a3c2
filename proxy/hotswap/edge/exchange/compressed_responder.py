"""Compresses the body of one response on its way from the exchange to the client's side.

It stands between the two only where a body is compressed while it comes. Each piece of the backend that is flushed goes
on as what a client can decode without waiting for the next one, so that a page that is streamed stays so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotswap.core.http.messages import Field, ResponseHead
    from hotswap.edge.exchange.surroundings import Responder
    from hotswap.edge.loop.stream import Data, Stream
    from hotswap.edge.upstream.upstream_connection import UpstreamConnection


class Encoder(Protocol):
    """Encoder of one body."""

    def encode(self, data: Data) -> bytes:
        """Take a piece; gives what can be sent already, which may be nothing."""

    def flush(self) -> bytes:
        """Give all of what was taken, so that the other side can decode it."""

    def end(self) -> bytes:
        """Give the rest; nothing may follow."""


class EncoderCount(Protocol):
    """Who counts encoders.

    Attributes:
        encoders: how many there are.
    """

    encoders: int


class CompressedResponder:
    """A responder that compresses the body for another one, to which it leaves all else.

    Args:
        responder: the client's side.
        encoder: of the body.
        count: counts it for as long as it is needed, which is until the body has ended.

    Attributes:
        responder: the next one; the spool of a slow client is put in its place.
        sent_bytes: of the compressed body.
    """

    __slots__ = ("_count", "_encoder", "_unflushed", "responder", "sent_bytes")

    in_turns = True

    def __init__(self, responder: Responder[Any], encoder: Encoder, count: EncoderCount) -> None:
        self.responder = responder
        self._encoder: Encoder | None = encoder
        self._count = count
        self._unflushed = False
        self.sent_bytes = 0

    def close(self) -> None:
        """Let go of the encoder and its memory: the body or the exchange has ended; idempotent."""
        if self._encoder is not None:
            self._encoder = None
            self._count.encoders -= 1

    # `Responder` says what each is to do.

    def send_body(self, data: Data) -> None:
        encoder = self._encoder
        if encoder is not None and len(data):
            self._unflushed = True
            self._send(encoder.encode(data))

    def flush(self) -> bool:
        if self._unflushed and self._encoder is not None:
            self._unflushed = False
            self._send(self._encoder.flush())
        return self.responder.flush()

    def send_end(self) -> None:
        encoder = self._encoder
        if encoder is not None:
            self.close()
            self._send(encoder.end())
        self.responder.send_end()

    def _send(self, data: bytes) -> None:
        if data:
            self.sent_bytes += len(data)
            self.responder.send_body(data)

    @property
    def backed_up(self) -> bool:
        return self.responder.backed_up

    @property
    def behind(self) -> bool:
        return self.responder.behind

    @property
    def shut_out(self) -> bool:
        return self.responder.shut_out

    @property
    def request_trailers(self) -> Sequence[Field]:
        return self.responder.request_trailers

    def splice_target(self) -> Stream | None:
        """None: every piece is compressed."""
        return None

    def send_head(self, exchange: Any, head: ResponseHead) -> None:
        self.responder.send_head(exchange, head)

    def send_response(self, exchange: Any, head: ResponseHead) -> bool:
        return self.responder.send_response(exchange, head)

    def send_interim(self, exchange: Any, head: ResponseHead) -> None:
        self.responder.send_interim(exchange, head)

    def send_trailers(self, fields: Sequence[Field]) -> None:
        self.responder.send_trailers(fields)

    def done(self, exchange: Any) -> None:
        self.responder.done(exchange)

    def truncate(self, exchange: Any) -> None:
        self.responder.truncate(exchange)

    def read_on(self) -> None:
        self.responder.read_on()

    def tunnel(self, exchange: Any, head: ResponseHead, connection: UpstreamConnection) -> bool:
        return self.responder.tunnel(exchange, head, connection)
