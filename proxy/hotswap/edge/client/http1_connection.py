"""HTTP/1.x connection of a client: serves its requests one at a time, in order.

What was read beyond the running request waits in `_backlog`, one read at most: who pipelines slows himself down. What
is answered is gathered and leaves with `flush` in one system call.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from hotswap.core.errors import BadRequest, Side
from hotswap.core.http.error_page import page_answer
from hotswap.core.http.forwarding import Peer, error_head, write_response
from hotswap.core.http.html_preference import prefers_html
from hotswap.core.http.messages import Field, RequestHead, ResponseHead
from hotswap.core.room import Idle
from hotswap.edge.client.http1_request_body import Http1RequestBody
from hotswap.edge.client.http2_connection import Http2Connection
from hotswap.edge.client.lingering_close import LingeringClose
from hotswap.edge.exchange.exchange import Exchange
from hotswap.edge.exchange.repeats import KEPT_REQUEST_BYTES, Repeat, Repeats
from hotswap.edge.exchange.tunnel import Tunnel
from hotswap.edge.loop.poller import DEAD, GONE
from hotswap.edge.loop.stream import BLOCKED, TINY_PIECES_BYTES, Data, Stream
from hotswap.edge.loop.timers import NEVER
from hotswap.wire.http1.request_parser import END, HEAD_END, HTTP2_HEAD, RequestItem, RequestParser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hotswap.edge.exchange.entrance import ClientConnection, Entrance
    from hotswap.edge.exchange.tunnel import ClientPlane
    from hotswap.edge.upstream.upstream_connection import UpstreamConnection

READS_AT_A_TIME: Final = 8
HEAD_BYTES: Final = 16 * 1024
CHUNKED_BYTES: Final = 8 * 1024
"""Read at a time of what has to be parsed. It may be a request in every 28 bytes, and all other clients wait until they
are read."""
NO_LIMIT: Final = 1 << 62


class Http1Connection:
    """A client connection and the responder of its exchanges; two objects would cost a call for each piece."""

    __slots__ = (
        "_backlog",
        "_begun",
        "_bodiless",
        "_body",
        "_chunking",
        "_closing",
        "_last",
        "_out",
        "_parser",
        "_repeat",
        "_repeats",
        "_requests_left",
        "_silent",
        "armed",
        "deadline",
        "exchange",
        "listener",
        "peer",
        "plane",
        "stream",
    )

    request_trailers: Sequence[Field] = ()  # those of HTTP/1.1 are dropped (F15)
    in_turns = False
    shut_out = False  # a connection has one answer at a time, which is bounded by itself

    def __init__(self, plane: ClientPlane, listener: Entrance, stream: Stream, peer: Peer) -> None:
        self.plane = plane
        self.listener = listener
        self.stream = stream
        self.peer = peer
        self.exchange: Exchange | None = None
        self.deadline, self.armed = math.inf, NEVER
        self._parser = RequestParser(header_bytes=listener.header_bytes, headers=listener.headers)
        self._backlog: deque[RequestItem] | None = None
        self._closing = False  # nothing more is served; the stream is closed, or is another's
        self._silent = True
        self._begun = False  # a request has been
        self._requests_left = listener.requests or NO_LIMIT
        self._body: Http1RequestBody | None = None  # of the last request that had one
        # The response under way.
        self._out: list[Data] = []
        self._chunking = self._bodiless = False
        self._last = False  # it is the connection's last
        self._repeats = plane.repeats if plane.repeats.enabled else None
        self._repeat: Repeat | None = None  # the answer that was sent just now, if it is one

    def open(self) -> None:
        """Start serving; the poller watches the stream already."""
        self.plane.poller.timers.set(self, self.plane.poller.now + self.listener.idle_timeout)
        self.pump()

    # Events.

    def on_ready(self, events: int) -> None:
        """The socket is ready."""
        stream = self.stream
        stream.readable = True
        if events & GONE:
            stream.hangup = True
            exchange = self.exchange
            if events & DEAD:
                self._lose()
                return
            if exchange is not None and (
                exchange.request_done or (exchange.upstream is None and not exchange.gathering)
            ):
                # The client has gone, or says no more, while nothing is read of it: nginx takes both for the former.
                self._lose()
                return
        unsent = stream.unsent
        if unsent:
            if stream.flush_kept():
                self.on_drained()
            elif stream.unsent < unsent:
                self._await_client()
        self.pump()

    def on_drained(self) -> None:
        """The send buffer is empty again."""
        exchange = self.exchange
        if self.stream.broken:
            self._lose()
        elif exchange is not None:
            if not exchange.request_done:
                self._await_client()
            exchange.on_downstream_drained()

    def on_deadline(self) -> None:
        """The client is idle, too slow with a head or a body, or does not read; or its presence has to be checked."""
        exchange = self.exchange
        stream = self.stream
        if stream.unsent:
            patience = self.listener.idle_timeout if exchange is None else exchange.idle_timeout
            stalled_at = stream.stalled_at(patience)
            if stalled_at > self.plane.poller.now:
                self.plane.poller.timers.set(self, stalled_at)
                return
            if exchange is not None:
                exchange.cancel(error="the client does not read its answer")
            self.close()
        elif exchange is not None:
            if exchange.finished or stream.is_dead() or (stream.hangup and not exchange.request_done):
                self._lose()
            elif (
                exchange.request_done
                or not exchange.wants_body
                or (self._body is not None and self._body.is_answered(exchange))
            ):
                self._await_client()
            else:
                exchange.answer(408, side=Side.DOWNSTREAM, error="the body came too slowly")
        elif self._silent or not self._parser.partial:
            self.close()
        else:
            self._refuse(BadRequest("the head came too slowly", status=408))

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this connection."""
        self.plane.on_crash(error, "downstream")
        exchange = self.exchange
        if exchange is not None and not exchange.finished:
            try:
                exchange.answer(500, side=Side.INTERNAL, error="internal error")
            except Exception as again:  # the last resort is to close
                self.plane.on_crash(again, "downstream")
        self.close()

    def _await_client(self) -> None:
        """Set the deadline for the client's next progress, in either direction."""
        poller, exchange = self.plane.poller, self.exchange
        patience = self.listener.idle_timeout if exchange is None else exchange.idle_timeout
        poller.timers.set(self, poller.now + patience)

    # Reading.

    def pump(self) -> None:
        """Parse requests as far as they can be served."""
        stream = self.stream
        for _ in range(READS_AT_A_TIME):
            if not stream.readable or self._closing:
                return
            exchange = self.exchange
            if exchange is None:
                if self._backlog is not None:
                    return  # what was read before comes first
            elif exchange.request_done or not exchange.wants_body:
                return
            body = self._body
            if body is not None and body.left and exchange is not None:
                got = body.read(exchange, stream, self.plane, self.deadline)
                if got == BLOCKED:
                    return
                if body.left and not exchange.finished:
                    self.deadline = self.plane.poller.now + exchange.idle_timeout
            else:
                if exchange is None:
                    room = HEAD_BYTES
                else:
                    room = TINY_PIECES_BYTES if self._parser.tiny_pieces else CHUNKED_BYTES
                data = stream.read(room)
                if data is None:
                    return
                got = len(data)
                if got:
                    self._silent = False
                    if self._repeats is None:
                        self._take(self._parser.feed(data))
                    elif self._answer_again(self._repeats, data):
                        continue
                    exchange, body = self.exchange, self._body
                    if exchange is not None and not exchange.request_done and body is not None and not body.left:
                        break  # a body in chunks: others are to have their turn
            if not got:
                self._on_end()
                return
        self.plane.poller.soon(self, self.pump)

    def _answer_again(self, repeats: Repeats, data: bytes) -> bool:
        """Answer what was read as the same bytes were answered just now; else serve it, and learn how.

        Returns:
            Whether it was answered so.
        """
        plane, stream = self.plane, self.stream
        now = plane.poller.now
        repeat = repeats.get(data)
        if self.exchange is not None or self._parser.partial:
            self._take(self._parser.feed(data))
            return False
        if (
            repeat is None
            or now >= repeat.until
            or repeat.exchange.listener is not self.listener
            or plane.stopping
            or stream.unsent
            or stream.hangup
            or self._requests_left < 2
        ):
            self._forget_repeat()
            self._take(self._parser.feed(data))
            learnt = self._forget_repeat()
            if learnt is not None and len(data) <= KEPT_REQUEST_BYTES and data.find(HEAD_END) == len(data) - 4:
                del learnt.exchange.responder  # it has ended, and this connection is not to live as long as it is kept
                repeats.learn(data, learnt)
            return False
        self._begun = True
        self._requests_left -= 1
        exchange = repeat.exchange
        exchange.peer = self.peer
        exchange.started = now
        stream.write(repeat.data)
        plane.tally.static_responses[self.listener.name, exchange.status] += 1
        plane.record(exchange)
        if stream.broken:
            self._lose()
            return True
        self.deadline = deadline = now + self.listener.idle_timeout
        if deadline < self.armed[0]:
            plane.poller.timers.arm(self)
        return True

    def _forget_repeat(self) -> Repeat | None:
        """Give the answer that was sent last, if the same bytes may be sent again, and forget it."""
        repeat, self._repeat = self._repeat, None
        return repeat

    def _on_end(self) -> None:
        """The client shut down its writing half."""
        exchange = self.exchange
        if exchange is None:
            self._leave()  # what it asked for may still be on its way
        elif not exchange.request_done or self.stream.broken:
            self._lose()

    def _take(self, items: list[RequestItem]) -> None:
        """Serve parsed items, or queue them while an exchange is under way."""
        if self._parser.http2 is not None and not items and self._become_http2(self._parser.http2):
            return
        exchange = self.exchange
        if self._backlog is not None:
            self._backlog.extend(items)
            return
        if exchange is None:
            if len(items) == 1 and self._parser.error is None:
                item = items[0]
                if type(item) is RequestHead and item.complete:
                    self._begin(item, None)
                    return
            self._backlog = deque(items)
            self._next()
            return
        self._continue(exchange, deque(items))

    def _become_http2(self, rest: bytes) -> bool:
        """Switch to HTTP/2 for a client with prior knowledge (RFC 9113 3.3)."""
        if not self.listener.http2 or self.stream.scheme != b"http" or self._begun:
            return False
        self._end_reading()
        connection = Http2Connection(self.plane, self.listener, self.stream, self.peer)
        self.listener.replace(self, connection)
        self.stream.own(connection)
        connection.open(HTTP2_HEAD + rest)
        return True

    def _continue(self, exchange: Exchange, items: deque[RequestItem]) -> None:
        """Pass the next pieces of the body to the exchange under way."""
        body = self._body
        assert body is not None
        size = sum(len(item) for item in items if isinstance(item, bytes))
        if body.is_too_slow(exchange, size, self.plane.poller.now, self.deadline):
            return
        taker = exchange.request_body
        while items and not exchange.finished:
            assert taker is not None
            item = items.popleft()
            if item is END:
                taker.end()
                break
            assert isinstance(item, bytes)
            taker.take(item)
        if exchange.finished and not exchange.request_done:
            return
        if items:
            self._backlog = items if self._backlog is None else self._backlog
        elif not exchange.request_done:
            if self._parser.error is not None:
                exchange.answer(self._parser.error.status, side=Side.DOWNSTREAM, error=str(self._parser.error))
            else:
                self._await_client()

    def _next(self) -> None:
        """Start the next pipelined request, if there is one."""
        backlog = self._backlog
        if self.exchange is not None or self._closing:
            return
        if backlog:
            head = backlog.popleft()
            assert isinstance(head, RequestHead)
            self._begin(head, backlog)
            return
        self._backlog = None
        if self._parser.error is not None:
            self._refuse(self._parser.error)
        elif self._parser.partial:
            poller = self.plane.poller
            if self.deadline > poller.now + self.listener.header_timeout:
                poller.timers.set(self, poller.now + self.listener.header_timeout)

    def _begin(self, head: RequestHead, following: deque[RequestItem] | None) -> None:
        exchange = Exchange(self.plane, self.listener, self, head, self.peer)
        self.exchange = exchange
        self._begun = True
        self._requests_left -= 1
        if not head.complete:
            self._body = body = Http1RequestBody(self.listener)
            taker = exchange.request_body
            assert taker is not None
            # What has come of the body goes out with the head.
            while following and not exchange.request_done and not exchange.finished:
                item = following.popleft()
                if item is END:
                    exchange.request_done = True
                else:
                    assert isinstance(item, bytes)
                    taker.take(item)
            if exchange.finished:
                return
            if not exchange.request_done:
                parser = self._parser
                if parser.error is not None:
                    exchange.answer(parser.error.status, side=Side.DOWNSTREAM, error=str(parser.error))
                    return
                body.left = parser.detach()
        self._backlog = following or None
        exchange.start()
        if self.exchange is exchange and (not exchange.request_done or exchange.rules is not None):
            self._await_client()  # as long as its route says

    def _refuse(self, error: BadRequest) -> None:
        """Answer a request that could not be parsed, and close."""
        line = self._parser.refused_line()
        if prefers_html(self._parser.refused_accept()):
            head, body = page_answer(error.status)
        else:
            head, body = error_head(error.status)
        no_body = line[0] == b"HEAD"
        self.plane.date(head)
        if self.listener.hsts:
            head.lines.append(self.listener.hsts)
        answer = write_response(head, version=11, no_body=no_body, close=True)
        self.stream.write(answer if no_body else answer + body)
        self.plane.ledger.refused(self.listener, self.peer, error, line, 0 if no_body else len(body))
        self._linger()

    # The responder of the running exchange; `Responder` says what each is to do.

    @property
    def backed_up(self) -> bool:
        return self.stream.backed_up

    @property
    def behind(self) -> bool:
        return self.stream.unsent > 0

    def truncate(self, exchange: Exchange) -> None:
        """Close so that the client sees that the response is not whole."""
        self.exchange = None
        self._out.clear()
        if not self._chunking and self._last:
            self.stream.reset()
        self.close()

    def send_interim(self, exchange: Exchange, head: ResponseHead) -> None:
        self._out.append(write_response(head, version=11, no_body=True, close=False))

    def send_response(self, exchange: Exchange, head: ResponseHead) -> bool:
        """Send a complete response in one system call."""
        self._chunking = False
        self._bodiless = head.body is None
        data = self._write_head(exchange, head, no_body=head.body is None)
        if head.body is not None:
            data += head.body
        out = self._out
        stream = self.stream
        if head.same_until and not self._last and not out and exchange.head.complete:
            self._repeat = Repeat(data, exchange, head.same_until)
        if out:  # an informational response goes first
            out.append(data)
            stream.write_all(out)
            out.clear()
        else:
            stream.write(data)
        return not stream.broken

    def send_head(self, exchange: Exchange, head: ResponseHead) -> None:
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
        if self._chunking:
            if len(data):
                self._out += (b"%x\r\n" % len(data), data, b"\r\n")
        elif self._bodiless:
            self._last = True  # the client would take it for its next response: dropped, and nothing comes after it
        else:
            self._out.append(data)

    def splice_target(self) -> Stream | None:
        """The client's stream, if the body needs no framing and nothing is buffered before it; else None."""
        stream = self.stream
        return None if self._chunking or self._out or stream.unsent or stream.scheme != b"http" else stream

    def send_trailers(self, fields: Sequence[Field]) -> None:
        """Drop the trailers: few clients of HTTP/1.1 read them, and leaving them out is always allowed (F15)."""

    def send_end(self) -> None:
        if self._chunking:
            self._out.append(b"0\r\n\r\n")

    def flush(self) -> bool:
        out = self._out
        if out:
            self.stream.write_all(out)
            out.clear()
        return not self.stream.broken

    def done(self, exchange: Exchange) -> None:
        """The response is complete: start the next request, or close."""
        self.exchange = None
        if self._last or not exchange.request_done:
            if exchange.request_done and self._backlog is None and not self.stream.readable:
                self._leave()
            else:
                self._linger()
            return
        poller = self.plane.poller
        self.deadline = deadline = poller.now + self.listener.idle_timeout
        if deadline < self.armed[0]:
            poller.timers.arm(self)
        parser = self._parser
        if parser.upgraded is not None and not self._backlog:
            self._backlog = deque(parser.resume_http())
        if self._backlog is not None or parser.error is not None or self.stream.readable or parser.partial:
            poller.soon(self, self._resume)

    def _resume(self) -> None:
        self._next()
        self.pump()

    def read_on(self) -> None:
        self._await_client()  # until now it was not the client that was waited for
        if self.stream.readable:
            self.plane.poller.soon(self, self.pump)

    def tunnel(self, exchange: Exchange, head: ResponseHead, connection: UpstreamConnection) -> bool:
        """Become a tunnel: both sides agreed to another protocol."""
        self._out.append(write_response(head, version=11, no_body=True, close=False))
        early, self._parser.upgraded = self._parser.upgraded or b"", None
        self.flush()
        Tunnel(self.plane, exchange, self, connection).open(early)
        return True

    # Closing.

    def _end_reading(self) -> None:
        self._closing = True
        self._backlog = None
        self.plane.poller.timers.forget(self)

    def drain(self) -> None:
        """Close when idle, or after the response under way; a request that has arrived is still served."""
        if self.exchange is None and not self._closing:
            self.stream.readable = True
            self.pump()
            if self.exchange is None and not self._closing and not self._parser.partial:
                self._leave()

    def idle(self) -> Idle[ClientConnection] | None:
        """When the last response was sent, or the connection accepted; None while a request is under way or partial."""
        if self.exchange is not None or self._closing or self._backlog or self._parser.partial or self.stream.unsent:
            return None
        return Idle(self, self.peer.address, self.deadline - self.listener.idle_timeout, asked=self._begun)

    leave_at_once = drain

    def _leave(self) -> None:
        """Close once the send buffer is empty."""
        if self.stream.unsent and not self.stream.broken:
            self._linger()
        else:
            self.close()

    def _linger(self) -> None:
        """Serve nothing more, and close when the client has its answer."""
        if not self._closing:
            self._end_reading()
            LingeringClose(self.plane, self.listener, self.stream).begin(self)

    def give_stream(self) -> Stream:
        """Hand the stream over to a tunnel, which replaces this connection."""
        self._end_reading()
        self.exchange = None
        return self.stream

    def part(self, tunnel: ClientConnection) -> None:
        """Linger after the backend of a tunnel broke: input of the client must not reset what is on its way to it."""
        LingeringClose(self.plane, self.listener, self.stream).begin(tunnel)

    def _lose(self) -> None:
        """The client disconnected."""
        if self.exchange is not None:
            self.exchange.cancel()
        self.close()

    def close(self) -> None:
        """Close at once, aborting the exchange under way; idempotent."""
        exchange, self.exchange = self.exchange, None
        if not self._closing:
            self._end_reading()
            self.listener.forget(self)
            self.stream.close()
        if exchange is not None:
            exchange.cancel(error="the connection was closed")
