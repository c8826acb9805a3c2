"""HTTP/1.1 connection to a backend: connects, sends a request, and relays its response."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

from hotswap.core.errors import ConnectFailed, UpstreamBroken, UpstreamTimedOut
from hotswap.core.http.forwarding import write_request
from hotswap.core.http.messages import ResponseHead
from hotswap.edge.loop.pipe import WORTHWHILE
from hotswap.edge.loop.poller import GONE
from hotswap.edge.loop.stream import BLOCKED, TINY_PIECES_BYTES, Stream
from hotswap.edge.upstream.connector import Connector
from hotswap.wire.http1.request_parser import End
from hotswap.wire.http1.response_parser import UNTIL_CLOSE, ResponseParser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap.core.http.messages import RequestHead
    from hotswap.core.pool.candidate import Candidate
    from hotswap.edge.loop.plane import LoopPlane
    from hotswap.edge.loop.stream import Data
    from hotswap.edge.upstream.carrier import Carried
    from hotswap.edge.upstream.endpoints import BackendEndpoints
    from hotswap.edge.upstream.replay import Replay

IDLE: Final = 4.0
"""Seconds an idle connection is kept: under the 5 s after which common servers close it themselves."""
READS_AT_A_TIME: Final = 8
"""Reads of one connection before the others get their turn: at most 2 MiB."""
PARSED_BYTES: Final = 64 * 1024
"""Read at a time of what has to be parsed."""


class Keeper(Protocol):
    """Owner of all connections to one backend; see `hotswap.edge.upstream.upstream.Upstream`."""

    plane: LoopPlane
    backend: Candidate
    endpoints: BackendEndpoints
    idle: list[UpstreamConnection]

    def forget(self, connection: Connector) -> None:
        """Remove a connection that has ended; harmless when it has been."""

    def rest(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next request."""


class UpstreamConnection(Connector):
    """A connection to a backend, with one exchange at a time."""

    __slots__ = (
        "_body_left",
        "_parser",
        "_response",
        "_ruined",
        "exchange",
        "fresh",
        "idle_since",
        "paused",
        "received",
        "rests_until",
        "upstream",
    )

    def __init__(self, upstream: Keeper) -> None:
        super().__init__(upstream.plane, upstream.endpoints)
        self.upstream = upstream
        self.exchange: Carried | None = None
        self.fresh = True
        self.received = False
        self.paused = False  # until the client takes more
        self.idle_since = self.rests_until = 0.0
        self._parser = ResponseParser()
        self._response: ResponseHead | None = None
        self._body_left = 0
        self._ruined = False

    def exchanges(self) -> Iterator[Carried]:
        """The exchange that it carries, if any."""
        if self.exchange is not None:
            yield self.exchange

    def on_connected(self) -> None:
        """The connection is established: tell the exchange that waits for it."""
        if self.exchange is not None:
            self.exchange.on_connected()

    # Carrying an exchange; `Carrier` says what each is to do.

    def carry(self, exchange: Carried, head: RequestHead) -> None:
        self.exchange = exchange
        self.received = False
        self.paused = False
        self._response = None
        self._body_left = 0
        self._parser.expect(no_body=head.method == b"HEAD")

    @property
    def backed_up(self) -> bool:
        return self.stream.backed_up

    def send_request(self, exchange: Carried, request_id: bytes, replay: Replay | None) -> int:
        head = exchange.head
        data = write_request(
            head,
            exchange.peer,
            target=exchange.target,
            prefix=exchange.prefix,
            request_id=request_id,
            retried=exchange.retries > 0,
        )
        size = len(data)
        stream = self.stream
        if replay is None:
            if exchange.request_sent and head.chunked:
                data += b"0\r\n\r\n"
                size += 5
            stream.write(data)
        else:
            pieces: list[Data] = [data]
            if head.chunked:
                for piece in replay.pieces:
                    pieces += (b"%x\r\n" % len(piece), piece, b"\r\n")
                if exchange.request_sent:
                    pieces.append(b"0\r\n\r\n")
            else:
                pieces += replay.pieces
            stream.write_all(pieces)
            size += replay.size
        return 0 if stream.broken else size

    def send_body(self, data: Data) -> None:
        assert self.exchange is not None
        if self.exchange.head.chunked:
            self.stream.write_all([b"%x\r\n" % len(data), data, b"\r\n"])
        else:
            self.stream.write(data)

    def send_end(self) -> None:
        assert self.exchange is not None
        if self.exchange.head.chunked:
            self.stream.write(b"0\r\n\r\n")

    def await_backend(self, seconds: float) -> None:
        poller = self.plane.poller
        poller.timers.set(self, poller.now + seconds if seconds else math.inf)

    def release(self, *, reusable: bool) -> None:
        """The exchange ended: keep the connection for the next one, or close it."""
        self.exchange = None
        stream = self.stream
        response = self._response
        if (
            reusable
            and response is not None
            and response.keep_alive
            and not self._ruined
            and not stream.hangup
            and not stream.unsent
            and self.upstream.backend.claimable
            # A body that ended exactly where a read ended: what is behind it would be taken for the next response.
            and (not stream.readable or stream.peek_quiet())
        ):
            self.fresh = False
            poller = self.plane.poller
            self.idle_since = now = poller.now
            self.deadline = deadline = now + IDLE
            if deadline < self.armed[0]:
                poller.timers.arm(self)
            if response.body is None and response.complete and response.content_length != 0:
                self.upstream.rest(self)
            else:
                self.upstream.idle.append(self)
        else:
            self.close()

    def take_stream(self) -> tuple[Stream, bytes]:
        """Hand the stream, and what was read after the response head, over to a tunnel."""
        rest, self._parser.upgraded = self._parser.upgraded or b"", None
        self.plane.poller.timers.set(self, math.inf)
        return self.stream, rest

    def close(self) -> None:
        """Close; idempotent."""
        self.plane.poller.timers.forget(self)
        self.stream.close()
        self.upstream.forget(self)

    def fail(self, error: UpstreamBroken | ConnectFailed | UpstreamTimedOut) -> None:
        exchange, self.exchange = self.exchange, None
        self.close()
        if exchange is not None:
            exchange.on_upstream_failed(self, error)

    # Events.

    def on_ready(self, events: int) -> None:
        """The socket is ready."""
        stream = self.stream
        if events & GONE:
            stream.hangup = True
        if self.connecting:
            self._end_connecting()
            return
        stream.readable = True
        exchange = self.exchange
        unsent = stream.unsent
        if unsent and exchange is not None:
            if stream.flush_kept():
                if not exchange.request_sent:
                    self.plane.poller.timers.set(self, math.inf)  # now it is the client that is waited for
                exchange.on_upstream_drained()
            elif stream.unsent < unsent:
                self.await_backend(exchange.response_timeout)
        if self.exchange is None:
            if not stream.closed and self in self.upstream.idle:
                self.upstream.idle.remove(self)
            self.close()
            return
        self.pump()

    def pump(self) -> None:
        """Read and relay the response, as far as the client takes it."""
        stream = self.stream
        for _ in range(READS_AT_A_TIME):
            exchange = self.exchange
            if exchange is None or not stream.readable or self.paused:
                return
            if exchange.responder.shut_out and exchange.held_back:
                self.paused = True
                return
            left = self._body_left
            if left:
                got = self._read_body(exchange, left)
                if got == BLOCKED:
                    return
            else:
                data = stream.read(TINY_PIECES_BYTES if self._parser.tiny_pieces else PARSED_BYTES)
                if data is None:
                    return
                got = len(data)
                if got:
                    self.received = True
                    self._read_items(exchange, data)
            if not got:
                self._on_end()
                return
            exchange = self.exchange
            if exchange is not None:
                if exchange.downstream_backed_up:
                    self.paused = True
                    return
                if not self._body_left or exchange.responder.in_turns:
                    break  # a body in chunks, or one that is work: others are to have their turn
        self.plane.poller.soon(self, self.pump)

    def _read_body(self, exchange: Carried, left: int) -> int:
        """Pass on a piece of a body whose end needs no parser; returns as `Stream.read_into`."""
        plane, stream = self.plane, self.stream
        target = exchange.responder.splice_target() if stream.splices and left > WORTHWHILE else None
        if target is not None:
            got = stream.move(left, target, plane.pipe)
            if got > 0:
                exchange.on_response_moved(got)
        else:
            buffer = plane.buffer[:PARSED_BYTES] if exchange.responder.in_turns else plane.buffer
            got = stream.read_into(buffer if left >= len(buffer) else buffer[:left])
            if got > 0:
                exchange.on_response_body(buffer[:got])
        if got > 0:
            poller = plane.poller
            poller.timers.set(self, poller.now + exchange.idle_timeout)
            if left != UNTIL_CLOSE:
                self._body_left = left = left - got
            if left:
                exchange.flush()
            else:
                exchange.on_response_end()
        return got

    def _read_items(self, exchange: Carried, data: bytes) -> None:
        parser = self._parser
        items = parser.feed(data)
        if len(items) == 1 and parser.error is None:
            head = items[0]
            if type(head) is ResponseHead and head.complete:
                self._response = head
                exchange.on_response(head)
                return
        ended = False
        for item in items:
            if ended or self.exchange is not exchange:
                # More than the one response that was asked for: nothing on this connection can be believed.
                self._ruined = True
                break
            if isinstance(item, bytes):
                exchange.on_response_body(item)
            elif isinstance(item, End):
                ended = True
                if item.trailers:
                    exchange.responder.send_trailers(item.trailers)
            elif item.status < 200 and item.status != 101:
                exchange.on_interim(item)
            else:
                self._response = item
                ended = item.complete
                exchange.on_response_head(item)
                carried = next(self.exchanges(), None)
                if carried is None:
                    return  # it failed, or became a tunnel
                exchange = carried  # that, or what discards the rest
                if item.body is not None:
                    exchange.on_response_body(item.body)
        if self.exchange is not exchange:
            return  # it failed, was cancelled or became a tunnel meanwhile
        error = parser.error
        if error is not None:
            self._ruined = True
            if not ended:
                exchange.flush()  # what came before is good, and begins an answer that will visibly break off
                self.fail(error)
                return
        if ended:
            exchange.on_response_end()
            return
        if self._response is not None:
            self._body_left = parser.detach()
        if self._response is not None:
            self.await_backend(exchange.idle_timeout)
        elif exchange.request_sent:
            self.await_backend(exchange.response_timeout)  # after an interim response
        exchange.flush()

    def _on_end(self) -> None:
        """The backend shut down its writing half."""
        exchange = self.exchange
        assert exchange is not None
        if self._body_left == UNTIL_CLOSE and not self.stream.broken:
            self._body_left = 0
            self._ruined = True
            exchange.on_response_end()
        elif self.received:
            self.fail(UpstreamBroken("the backend closed the connection in the middle of its response"))
        else:
            self.fail(UpstreamBroken("the backend closed the connection before it answered"))

    def on_deadline(self) -> None:
        """The idle timeout or the backend's timeout has passed."""
        if self.connecting:
            self._go_on_connecting()
        elif self.exchange is None:
            if self in self.upstream.idle:
                self.upstream.idle.remove(self)
            self.close()
        elif self.stream.unsent:
            stalled_at = self.stream.stalled_at(self.exchange.response_timeout)
            if stalled_at > self.plane.poller.now:
                self.plane.poller.timers.set(self, stalled_at)  # it takes its time
                return
            self.fail(UpstreamTimedOut("the backend does not take the request"))
        elif self.paused or not self.exchange.request_sent:
            self.await_backend(self.exchange.idle_timeout)  # the client is slow, not the backend
        else:
            self.fail(UpstreamTimedOut("the backend took too long to go on"))

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this exchange: answered, never retried."""
        exchange, self.exchange = self.exchange, None
        try:
            if exchange is None:
                self.plane.on_crash(error, "upstream")
            else:
                exchange.on_crash(error)
        finally:
            if self in self.upstream.idle:
                self.upstream.idle.remove(self)
            self.close()
