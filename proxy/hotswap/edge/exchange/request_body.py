"""Body of one request: passed to the backend as it comes, or gathered first where the pool buffers.

What was passed on is kept for a retry while it is short (`Replay`). What is gathered waits in a spool until it is
whole, and only then is a backend claimed, which is told its length; without room for it, it is passed on as it comes.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, Final, Protocol

from hotswap.core.errors import Side
from hotswap.core.http.messages import ResponseHead
from hotswap.edge.exchange.gate import Unclaimed
from hotswap.edge.upstream.replay import Replay
from hotswap.edge.upstream.upstream_connection import UpstreamConnection

if TYPE_CHECKING:
    from hotswap.core.http.messages import Field, RequestHead
    from hotswap.core.http.spool import Spool
    from hotswap.edge.exchange.gate import Gate
    from hotswap.edge.loop.plane import LoopPlane
    from hotswap.edge.loop.stream import Data, Stream
    from hotswap.edge.upstream.carrier import Carrier

PIECES_AT_A_TIME: Final = 8
"""Of what waits, given to one backend before others get their turn."""


class BodyReader(Protocol):
    """Client side of one exchange, as the body sees it."""

    def read_on(self) -> None:
        """Resume reading the request body."""

    def send_interim(self, exchange: Any, head: ResponseHead) -> None:
        """Forward an informational response."""


class Bodied(Unclaimed, Protocol):
    """An exchange, as the body of its request sees it; see `hotswap.edge.exchange.exchange.Exchange`.

    Attributes:
        began: the response has begun.
        finished: it is over.
        head: of the request.
        connection: to the backend, or None.
        body_bytes: the limit; None means there is none.
        request_bytes: of the body, that have come.
        request_done: the whole request has come.
        request_sent: all of it was passed to the present backend, or is with its head.
        response_timeout: seconds that the backend may take nothing.
        written: bytes of the request that were written to the present backend.
    """

    began: bool
    finished: bool
    head: RequestHead
    connection: Carrier | None
    body_bytes: float | None
    request_bytes: int
    request_done: bool
    request_sent: bool
    response_timeout: float
    written: int

    @property
    def plane(self) -> LoopPlane:
        """The data plane."""

    @property
    def responder(self) -> BodyReader:
        """The client's side."""

    def flush(self) -> None:
        """Send what is buffered for the client; ends the exchange if the client is gone."""

    def admit(self, gate: Gate) -> None:
        """Claim a backend, or be held until there is one."""

    def answer(self, status: int, *, side: Side | None = None, error: str = "", fields: tuple[Field, ...] = ()) -> None:
        """End with an answer of the proxy's own."""


class RequestBody:
    """Body of one request, from the client to the backend.

    `sending` says that the present backend has the head, so that pieces go on to it as they come; `gathering` that
    no backend is claimed until there is more.
    """

    __slots__ = ("_exchange", "_gate", "_spool", "gathering", "replay", "sending")

    def __init__(self, exchange: Bodied) -> None:
        self._exchange = exchange
        self._gate: Gate | None = None
        self._spool: Spool | None = None
        self.replay: Replay | None = None
        self.sending = self.gathering = False

    # From the client.

    def take(self, data: Data) -> None:
        """A piece arrived; `wants_more` tells whether to read on."""
        exchange = self._exchange
        size = len(data)
        exchange.request_bytes += size
        limit = exchange.body_bytes
        if limit is not None and exchange.request_bytes > limit:
            exchange.answer(413, side=Side.DOWNSTREAM, error="the body is too large")
            return
        spool = self._spool
        if spool is not None:
            spool.add(data)
            if spool.full or self.sending:
                self.go_on()
            return
        replay = self.replay
        if replay is None:
            replay = self.replay = Replay()
        if not self.sending:
            replay.add(data)
            return
        connection = exchange.connection
        assert connection is not None
        exchange.written += size
        connection.send_body(data)
        replay.add_sent(data)
        if connection.backed_up:
            connection.await_backend(exchange.response_timeout)

    def splice_target(self) -> Stream | None:
        """The stream that can take the next piece in the kernel; None if it is kept, counted or framed."""
        exchange = self._exchange
        connection = exchange.connection
        replay = self.replay
        if (
            type(connection) is UpstreamConnection
            and self.sending
            and replay is not None
            and not replay.whole
            and not exchange.head.chunked
            and not connection.stream.unsent
        ):
            return connection.stream
        return None

    def moved(self, size: int) -> None:
        """A piece was moved to the `splice_target`."""
        exchange = self._exchange
        exchange.request_bytes += size
        exchange.written += size
        connection = exchange.connection
        if connection is not None and connection.backed_up:
            connection.await_backend(exchange.response_timeout)

    def end(self) -> None:
        """The body is complete."""
        exchange = self._exchange
        exchange.request_done = True
        if self._spool is not None:
            self.go_on()
        elif self.sending:
            self._send_end()

    def _send_end(self) -> None:
        exchange = self._exchange
        connection = exchange.connection
        if connection is not None:
            connection.send_end()
            exchange.request_sent = True
            if not exchange.began:
                connection.await_backend(exchange.response_timeout)

    @property
    def wants_more(self) -> bool:
        """Whether more can be taken now; `Responder.read_on` follows when it can again."""
        spool = self._spool
        if spool is not None:
            return not spool.saturated
        if self.sending:
            connection = self._exchange.connection
            return connection is not None and not connection.backed_up
        return False

    # Gathering.

    def gather(self, gate: Gate) -> None:
        """Take what comes, until it is whole or there is no room for more: then a backend is claimed at a gate."""
        exchange = self._exchange
        self._gate = gate
        if exchange.request_done:
            self._claim()
            return
        if exchange.head.expect_continue and exchange.head.version > 10 and not exchange.request_bytes:
            exchange.responder.send_interim(exchange, continue_head())
            exchange.flush()
            if exchange.finished:
                return
        gate.apart.add(exchange)
        replay, self.replay = self.replay, None
        spool = self._spool = gate.make_spool(exchange, self.go_on, keeps=True)
        self.gathering = True
        if replay is not None:
            for piece in replay.pieces:
                spool.add(piece)
        self.go_on()

    def go_on(self) -> None:
        """Do what can be done now: there is more of the body, or its file has done something."""
        exchange, spool = self._exchange, self._spool
        if spool is None:
            return
        if self.gathering:
            if spool.full:
                self._claim()  # for what there is, and the rest is passed on as it comes
            elif not exchange.request_done:
                if not spool.saturated:
                    exchange.responder.read_on()
            elif not spool.writing:
                self._begin_whole(spool)
        elif self.sending:
            self._pump()

    def _begin_whole(self, spool: Spool) -> None:
        """Have a backend claimed for the whole body."""
        if spool.in_memory:
            replay = self.replay = Replay()
            if spool.left:
                replay.add(spool.take_all())
            self._spool = None
            spool.close()
        self._claim()

    def _claim(self) -> None:
        """Nothing more is gathered."""
        exchange, gate = self._exchange, self._gate
        assert gate is not None
        self.gathering = False
        gate.apart.discard(exchange)
        exchange.head = counted(exchange.head, exchange.request_bytes if exchange.request_done else None)
        exchange.admit(gate)

    # To a backend.

    def begin(self) -> Replay | None:
        """Give what the present backend gets with the head; `on_head_sent` follows."""
        exchange = self._exchange
        spool = self._spool
        exchange.request_sent = exchange.request_done and spool is None
        if spool is not None:
            spool.rewind()
            if not exchange.request_done:
                spool.let_go()
        return self.replay

    def on_head_sent(self) -> None:
        """The present backend was sent the head, and what had come of the body."""
        self.sending = True
        if self.replay is not None:
            self.replay.trim()
        if self._spool is not None:
            self._pump()

    def on_upstream_drained(self) -> None:
        """The backend takes more."""
        if self._spool is not None:
            self._pump()
        elif not self._exchange.request_done:
            self._exchange.responder.read_on()

    def _pump(self) -> None:
        """Give the backend what it takes of what waits."""
        exchange, spool = self._exchange, self._spool
        connection = exchange.connection
        if spool is None or connection is None or not self.sending or exchange.request_sent:
            return
        for _ in range(PIECES_AT_A_TIME):
            if connection.backed_up:
                connection.await_backend(exchange.response_timeout)
                break
            data = spool.take()
            if not data:
                break
            exchange.written += len(data)
            connection.send_body(data)
        else:
            exchange.plane.poller.soon(exchange, self.go_on)
        if spool.error is not None:
            exchange.answer(500, side=Side.INTERNAL, error=f"the body cannot be read again: {spool.error}")
        elif exchange.request_done:
            if not spool.left:
                self._send_end()
                self._drop_what_is_answered()
        elif not spool.saturated:
            exchange.responder.read_on()

    @property
    def replayable(self) -> bool:
        """Whether everything that came can be sent to another backend."""
        if self._spool is not None:
            return self._spool.replayable
        return not self._exchange.request_bytes or (self.replay is not None and self.replay.whole)

    def on_response(self) -> None:
        """A response has begun: nothing that is complete is sent again."""
        if self._exchange.request_done:
            self.replay = None
        if self._spool is not None:
            self._spool.let_go()
            self._drop_what_is_answered()

    def _drop_what_is_answered(self) -> None:
        """Discard a body that is neither to be sent nor to be sent again."""
        exchange, spool = self._exchange, self._spool
        if spool is not None and exchange.request_sent and exchange.began:
            self._spool = None
            spool.close()

    def close(self) -> None:
        """Discard it; idempotent."""
        self.sending = self.gathering = False
        self.replay = None
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.close()


def counted(head: RequestHead, size: int | None) -> RequestHead:
    """The head of a request that was gathered: counted, if it is whole, and without an expectation that was met.

    Args:
        head: the client's; heads are values, so it stays as it is.
        size: bytes of the whole body; None: it is not whole, and framed as before.
    """
    told = copy(head)
    told.expect_continue = False
    if size is not None:
        told.chunked = False
        told.content_length = size
    return told


def continue_head() -> ResponseHead:
    """The head that a client waits for before it sends its body (RFC 9110 15.2.1)."""
    head = ResponseHead()
    head.status = 100
    head.reason = b"Continue"
    head.lines = []
    return head
