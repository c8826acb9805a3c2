"""HTTP/2 connection of a client: many concurrent exchanges over one socket.

What one read brings is read to its end before anything is started, so that a request and its body leave together, and
what one turn of the poller produces for all streams leaves in one write. Many small frames are read a few at a time:
others have their turn in between.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from h2.errors import ErrorCodes

from hotswap.core.errors import BadRequest
from hotswap.core.http.forwarding import Peer
from hotswap.core.room import Idle
from hotswap.edge.client.http2_backlog import Http2Backlog
from hotswap.edge.client.http2_stream import Http2Stream
from hotswap.edge.client.lingering_close import LingeringClose
from hotswap.edge.loop.poller import DEAD, GONE
from hotswap.edge.loop.stream import BLOCKED, HIGH_WATER, Stream
from hotswap.edge.loop.timers import NEVER
from hotswap.wire.http2.items import Answered, Begun, Body, Ended, Item, Opened, RequestRefused, Reset
from hotswap.wire.http2.reader import Http2Reader
from hotswap.wire.http2.session import MAX_STREAMS, Http2Session

if TYPE_CHECKING:
    from hotswap.edge.exchange.entrance import ClientConnection, Entrance
    from hotswap.edge.exchange.tunnel import ClientPlane

READ_BYTES: Final = 64 * 1024
"""Taken from the socket at a time: bounds what one client can make us do before others have their turn."""
READS_AT_A_TIME: Final = 4
ENDS_AT_A_TIME: Final = 16
STARTS_AT_A_TIME: Final = 16
"""Requests sent on their way before others have their turn: a client may begin a hundred with one packet."""
UNREAD_LIMIT: Final = 2 * HIGH_WATER
"""Unsent bytes above which nothing more is read: a client that makes us answer must take the answers (D12)."""
FLUSH_BYTES: Final = 64 * 1024
"""Of bodies, that are not kept back until the end of the turn."""
GOAWAY_SECONDS: Final = 1.0
"""How long the client has to answer the ping that goes with the first GOAWAY."""


class Http2Connection:
    """One client connection and its streams."""

    __slots__ = (
        "_closing",
        "_dirty",
        "_draining",
        "_goaway_at",
        "_head_by",
        "_idle_at",
        "_partial",
        "_requests_left",
        "_stall_at",
        "_starting",
        "armed",
        "backlog",
        "deadline",
        "listener",
        "peer",
        "plane",
        "reader",
        "session",
        "stream",
        "streams",
    )

    def __init__(self, plane: ClientPlane, listener: Entrance, stream: Stream, peer: Peer) -> None:
        self.plane = plane
        self.listener = listener
        self.stream = stream
        self.peer = peer
        self.deadline, self.armed = math.inf, NEVER
        self.streams: dict[int, Http2Stream] = {}
        now = plane.poller.now
        self.session = Http2Session(header_bytes=listener.header_bytes, now=now)
        self.reader = Http2Reader(self.session, header_bytes=listener.header_bytes, headers=listener.headers)
        self.backlog = Http2Backlog(stream, self.session)
        self._starting: list[Http2Stream] = []  # that have begun and are to be sent on their way
        self._dirty = False
        self._closing = False
        self._partial = 1  # the number of the head that the client owes the rest of
        # It stands for as many connections of HTTP/1.1; no number means no limit.
        self._requests_left: float = listener.requests * MAX_STREAMS or math.inf
        self._draining = 0  # 1: the first GOAWAY is out, 2: the second
        self._head_by = now + listener.header_timeout
        self._idle_at = now + listener.idle_timeout
        self._stall_at = math.inf
        self._goaway_at = math.inf

    def open(self, early: bytes = b"") -> None:
        """Start serving, with what has been read of the client already; the poller watches the stream."""
        if early:
            self._take(self.reader.feed(early, self.plane.poller.now))
        self.flush()
        self._rearm()
        self.pump()

    # Events.

    def on_ready(self, events: int) -> None:
        """The socket is ready."""
        stream = self.stream
        stream.readable = True
        if events & GONE:
            stream.hangup = True
            if events & DEAD:
                self._hang_up()
                return
        unsent = stream.unsent
        if unsent:
            if stream.flush_kept():
                self.on_drained()
            elif stream.unsent < unsent:
                self._stall_at = self.plane.poller.now + self.listener.idle_timeout
        self.pump()

    def on_drained(self) -> None:
        """The send buffer is empty again."""
        self._stall_at = math.inf
        self._rearm()
        self.backlog.on_drained()

    def on_deadline(self) -> None:
        """The client is idle, slow with a head, does not read, or did not answer the ping of a drain; or is gone."""
        now = self.plane.poller.now
        if now >= self._stall_at:
            self._stall_at = self.stream.stalled_at(self._patience())
        if now >= self._stall_at or self.stream.is_dead():
            self.close()
        elif now >= self._head_by:
            self.session.give_up(ErrorCodes.ENHANCE_YOUR_CALM, "the head came too slowly")
            self._fail(status=408)
        elif now >= self._goaway_at:
            self._finish_goaway()
        elif not self.streams and now >= self._idle_at:
            self._leave()
        else:
            self._rearm()

    def _patience(self) -> float:
        """Seconds in which the client may take nothing at all: of the listener, or longer for a stream's route."""
        timeouts = [stream.idle_timeout for stream in self.streams.values()]
        return max(self.listener.idle_timeout, *timeouts) if timeouts else self.listener.idle_timeout

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this connection."""
        self.plane.on_crash(error, "http2")
        self.close()

    # Reading.

    def pump(self) -> None:
        """Read and process frames."""
        stream = self.stream
        reader = self.reader
        buffer = self.plane.buffer
        for _ in range(READS_AT_A_TIME):
            if self._closing or stream.unsent > UNREAD_LIMIT:
                return
            filled = 0
            got = BLOCKED
            pending = reader.pending
            while stream.readable and filled < READ_BYTES and not pending:  # over TLS one read is one record
                got = stream.read_into(buffer[filled:READ_BYTES])
                if got <= 0:
                    break
                filled += got
            if filled or pending:
                self._take(reader.feed(buffer[:filled], self.plane.poller.now))
                if pending or reader.pending:
                    break
            if got == 0:
                self._hang_up()
                return
            if not stream.readable:
                return
        self.plane.poller.soon(self, self.pump)

    def _take(self, items: list[Item]) -> None:
        """Process the items of one read."""
        streams = self.streams
        opened = False
        for item in items:
            stream = streams.get(item.stream_id) if not isinstance(item, Answered) else None
            try:
                match item:
                    case Begun(stream_id=stream_id, head=head):
                        stream = streams[stream_id] = Http2Stream(self, stream_id)
                        stream.begin(head)
                        self._starting.append(stream)
                        self._requests_left -= 1
                    case RequestRefused(stream_id=stream_id):
                        stream = streams[stream_id] = Http2Stream(self, stream_id)
                        stream.refuse(item)
                    case Body(data=data):
                        if stream is not None:
                            stream.on_body(data)
                    case Ended(trailers=trailers):
                        if stream is not None:
                            stream.on_end(trailers)
                    case Opened(stream_id=0):
                        opened = True
                    case Opened():
                        if stream is not None:
                            stream.on_window()
                    case Reset(detail=detail, line=line):
                        if stream is not None:
                            stream.on_reset(detail)
                        else:
                            self.plane.ledger.refused(self.listener, self.peer, BadRequest(detail), line)
                    case Answered():
                        self._finish_goaway()
            except Exception as error:  # contained: one stream
                if stream is None:
                    raise
                stream.on_crash(error)
        if opened:
            self.backlog.on_window()
        reader = self.reader
        if self._starting and not reader.pending:
            self._start()
        session = self.session
        if session.error is not None:
            self._fail()
            return
        if self._requests_left <= 0:
            self.drain()  # what was sent before the client hears of it is served as well
        partial = reader.partial
        if partial != self._partial:
            self._partial = partial
            self._head_by = self.plane.poller.now + self.listener.header_timeout if partial else math.inf
        if session.has_output:
            self.mark()
        self._rearm()

    def _start(self) -> None:
        """Start queued requests in the order of arrival."""
        starting = self._starting
        self._starting = starting[STARTS_AT_A_TIME:]
        for stream in starting[:STARTS_AT_A_TIME]:
            try:
                stream.start()
            except Exception as error:  # contained: one stream
                stream.on_crash(error)
        if self._starting:
            self.plane.poller.soon(self, self._start)

    def _rearm(self) -> None:
        if self._closing:  # a place among the deadlines would keep what has ended
            return
        poller = self.plane.poller
        # With streams under way nothing may be due of the client: then it is looked whether it is there.
        look_at = poller.now + self.listener.idle_timeout if self.streams else self._idle_at
        poller.timers.set(self, min(self._head_by, self._stall_at, self._goaway_at, look_at))

    # For the streams; `StreamConnection` says what each is to do.

    def mark(self) -> None:
        if self.session.output_bytes > FLUSH_BYTES:
            self.flush()
        elif not self._dirty:
            self._dirty = True
            self.plane.poller.soon(self, self.flush)

    def credit(self, stream_id: int, size: int) -> None:
        session = self.session
        session.credit(stream_id, size)
        if session.has_output:
            self.mark()

    def flush(self) -> None:
        """Send the session's output."""
        self._dirty = False
        if self._closing:
            return
        out = self.session.take_output()
        stream = self.stream
        if out and not stream.closed:
            stream.write_all(out)
        if self.session.late and not stream.closed:
            stream.write(self.session.take_late())
        if stream.unsent and self._stall_at == math.inf:
            self._stall_at = self.plane.poller.now + self.listener.idle_timeout
            self._rearm()
        if stream.broken:
            self._hang_up()
        elif self._draining == 2 and not self.streams:
            self._linger()

    def release(self, stream: Http2Stream) -> None:
        self.session.release(stream.stream_id)
        self.streams.pop(stream.stream_id, None)
        self.backlog.forget(stream)
        if not self.streams and not self._closing:
            self._idle_at = self.plane.poller.now + self.listener.idle_timeout
            self._rearm()
            self.mark()

    # Ending.

    def idle(self) -> Idle[ClientConnection] | None:
        """When the last stream ended, or the connection was accepted; None with streams or an incomplete head."""
        if self.streams or self._closing or self._draining or self.stream.unsent or self._partial > 1:
            return None
        return Idle(self, self.peer.address, self._idle_at - self.listener.idle_timeout, asked=not self._partial)

    def leave_at_once(self) -> None:
        """Close now with GOAWAY, if no stream is open."""
        self.pump()
        if not self.streams and not self._closing:
            self.session.finish_goaway()
            self.stream.write_all(self.session.take_output())
            self.close()

    def drain(self) -> None:
        """Close gracefully: GOAWAY, a ping, then the streams that came until its answer."""
        if self._closing or self._draining:
            return
        self._draining = 1
        self._goaway_at = self.plane.poller.now + GOAWAY_SECONDS
        self.session.begin_goaway()
        self.mark()
        self._rearm()

    def _finish_goaway(self) -> None:
        if self._draining == 1:
            self._draining = 2
            self._goaway_at = math.inf
            self.session.finish_goaway()
            self.mark()
            self._rearm()

    def _leave(self) -> None:
        """Close after the last stream of a drain."""
        self.session.finish_goaway()
        self._draining = 2
        self.flush()

    def _fail(self, status: int = 400) -> None:
        """End the connection for a connection error: GOAWAY, and every exchange is aborted."""
        error = self.session.error or "the protocol was broken"
        self.plane.ledger.refused(self.listener, self.peer, BadRequest(error, status), (b"", b"", 20))
        self._give_up(error)
        out = self.session.take_output()
        if out and not self.stream.closed:
            self.stream.write_all(out)
        self._linger()

    def _linger(self) -> None:
        if not self._closing:
            self._closing = True
            self.plane.poller.timers.forget(self)
            self.session.close()
            LingeringClose(self.plane, self.listener, self.stream).begin(self)

    def _hang_up(self) -> None:
        """The client disconnected."""
        self._close_socket()
        self._give_up("the connection was closed")

    def _give_up(self, error: str) -> None:
        """Abort the streams, a few in each turn: each may close a backend connection."""
        self._starting.clear()
        for stream in tuple(islice(self.streams.values(), ENDS_AT_A_TIME)):
            try:
                stream.on_reset(error)
            except Exception as again:  # contained: the others are to be ended as well
                self.streams.pop(stream.stream_id, None)
                self.plane.on_crash(again, "http2 stream")
        if self.streams:
            self.plane.poller.soon(self, partial(self._give_up, error))

    def _close_socket(self) -> None:
        self.plane.poller.timers.forget(self)
        if not self._closing:
            self._closing = True
            self.session.close()
            self.listener.forget(self)
            self.stream.close()

    def close(self) -> None:
        """Close at once, aborting every exchange; idempotent."""
        self._close_socket()
        for stream in tuple(self.streams.values()):
            try:
                stream.close()
            except Exception as error:  # contained: the others are to be closed as well
                self.plane.on_crash(error, "http2 stream")
