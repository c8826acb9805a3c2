"""HTTP/2 connection to a backend, with prior knowledge: many concurrent exchanges, each on its own stream.

Requests wait until the backend has said how many streams it allows (its SETTINGS), because what is above that number
would be refused; those for which there is no room then go to another connection. A backend that refuses a stream all
the same is believed to have room for those that it has, and for one more with each round of responses.

What one turn of the poller has to say for all streams leaves in one write.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

from hotswap.core.errors import ConnectFailed, UpstreamBroken, UpstreamTimedOut
from hotswap.edge.loop.containment import contain
from hotswap.edge.loop.poller import GONE
from hotswap.edge.loop.stream import BLOCKED
from hotswap.edge.upstream.connector import Connector
from hotswap.edge.upstream.h2c_stream import H2cStream
from hotswap.wire.http2.client_session import Http2ClientSession
from hotswap.wire.http2.items import BackendItem, BackendLeaving, Body, Ended, Lost, Opened, Responded, Trailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotswap.core.http.messages import Field
    from hotswap.core.pool.candidate import Candidate
    from hotswap.edge.loop.plane import LoopPlane
    from hotswap.edge.upstream.carrier import Carried
    from hotswap.edge.upstream.endpoints import BackendEndpoints

IDLE: Final = 4.0
"""Seconds a connection without streams is kept."""
QUIET: Final = 0.5
"""Seconds without streams after which the socket is looked at before it is used."""
READ_BYTES: Final = 64 * 1024
READS_AT_A_TIME: Final = 4
SETTINGS_TIMEOUT: Final = 15.0
"""Seconds from the connection to what the backend says it allows: one that is busy is not to be taken for one that is
gone, and nothing was sent yet, so that another can have the requests."""
ANSWERS_BYTES: Final = 64 * 1024
"""Answers to pings and settings that a backend may leave unread."""


class RoomFinder(Protocol):
    """Owner of all connections to one backend; see `hotswap.edge.upstream.h2c_upstream.H2cUpstream`."""

    plane: LoopPlane
    backend: Candidate
    endpoints: BackendEndpoints
    allowed: int

    def forget(self, connection: Connector) -> None:
        """Remove a connection that has ended; harmless when it has been."""

    def find_room(self) -> H2cConnection:
        """A connection that takes another stream, or a new one.

        Raises:
            ConnectFailed: there is none, and a new one failed at once.
        """


class H2cConnection(Connector):
    """One connection to a backend, with its streams."""

    __slots__ = (
        "_by_id",
        "_closed",
        "_dirty",
        "_idle_since",
        "_limit",
        "_retired",
        "_unsent",
        "_used",
        "ready",
        "session",
        "streams",
        "upstream",
    )

    def __init__(self, upstream: RoomFinder) -> None:
        super().__init__(upstream.plane, upstream.endpoints)
        self.upstream = upstream
        self.session = Http2ClientSession()
        self.ready = False  # the backend has said what it allows, and allows something
        self.streams: dict[H2cStream, None] = {}  # in the order in which they came
        self._limit = math.inf  # streams that it has room for, as what it refused tells
        self._by_id: dict[int, H2cStream] = {}
        self._unsent: set[H2cStream] = set()  # whose requests wait for the end of the turn
        self._dirty = False
        self._used = False
        self._retired = False
        self._closed = False
        self._idle_since = self.plane.poller.now

    # For the upstream.

    def exchanges(self) -> Iterator[Carried]:
        """The exchanges on its streams."""
        for stream in self.streams:
            if stream.exchange is not None:
                yield stream.exchange

    def connect(self) -> None:
        """Start to connect.

        Raises:
            ConnectFailed: it failed at once.
        """
        super().connect()
        if not self.connecting:
            self.on_connected()

    def open_stream(self) -> H2cStream:
        """A stream for one exchange, which is sent when the connection is ready."""
        stream = H2cStream(self, fresh=not self._used)
        self._used = self._used or self.ready
        self.streams[stream] = None
        return stream

    def adopt(self, stream: H2cStream) -> None:
        """Take over a stream that was not sent and for which its own connection has no room."""
        stream.connection = self
        stream.fresh = not self._used
        self.streams[stream] = None
        if self.ready:
            self._begin_exchange(stream)

    @property
    def _spent(self) -> bool:
        """Whether no further stream can be opened."""
        return self.ready and not self.session.room

    @property
    def _room(self) -> float:
        return min(self.session.room, self._limit) if self.ready else self.upstream.allowed

    def takes_more(self, *, careful: bool) -> bool:
        """Whether another stream can be opened; `careful` as of `Upstream.take`."""
        if self._closed or self._retired or self.stream.hangup or len(self.streams) >= self._room:
            return False
        if self.streams or not self.ready:
            return True
        idle = self.plane.poller.now - self._idle_since
        return not (careful or idle > QUIET) or self.stream.peek_quiet()

    def retire(self) -> bool:
        """Open no more streams, and close after the last; tells whether that was at once."""
        self._retired = True
        if not self.streams and not self._closed:
            self._leave()
            return True
        return False

    # For the streams; `Bearer` says what each is to do.

    def begin(self, stream: H2cStream, fields: list[Field], *, end: bool) -> int:
        if self._closed or self.stream.broken:
            raise UpstreamBroken("the connection is closed")
        stream_id = self.session.send_head(fields, end=end)
        self._by_id[stream_id] = stream
        self._unsent.add(stream)
        self.mark()
        return stream_id

    def credit(self, stream_id: int, size: int) -> None:
        self.session.credit(stream_id, size)
        self.mark()

    def mark(self) -> None:
        if not self._dirty and not self._closed:
            self._dirty = True
            self.plane.poller.soon(self, self.flush)

    def flush(self) -> None:
        """Send the session's output."""
        self._dirty = False
        if self._closed or self.connecting:
            return
        out = self.session.take_output()
        if out:
            self.stream.write(out)
        if self.stream.broken:
            for stream in self._unsent:
                if stream.exchange is not None:
                    stream.exchange.written = 0
            self.fail(UpstreamBroken("the connection takes nothing"))
            return
        self._unsent.clear()
        if not self.stream.unsent:
            self.session.answered = 0
        elif self.session.answered > ANSWERS_BYTES:
            self.fail(UpstreamBroken("the backend asks, and does not read the answers"))

    def forget(self, stream: H2cStream) -> None:
        self.streams.pop(stream, None)
        self._unsent.discard(stream)
        if stream.stream_id:
            self._by_id.pop(stream.stream_id, None)
            self.session.reset(stream.stream_id)
            self.mark()
            if stream.ended:
                self._limit += 1 / self._limit
        if not self.streams:
            self._on_empty()

    def _on_empty(self) -> None:
        """The last stream is over, or there was none."""
        if self._closed:
            self.upstream.forget(self)
        elif self._retired or self.stream.hangup or not self.upstream.backend.claimable or self._spent:
            self._leave()
        elif self.ready:
            poller = self.plane.poller
            self._idle_since = poller.now
            poller.timers.set(self, poller.now + IDLE)

    # Events.

    def on_connected(self) -> None:
        """The connection is established: send the preface, and wait for the backend's settings."""
        self.plane.poller.timers.set(self, self.plane.poller.now + SETTINGS_TIMEOUT)
        self.mark()

    def _on_settings(self) -> None:
        """The backend's settings arrived, for the first time or changed."""
        room = self.session.room
        if room:
            self.upstream.allowed = room
        if self.ready or not room:
            return
        self.ready = self._used = True
        self.plane.poller.timers.set(self, math.inf)
        for number, stream in enumerate(tuple(self.streams)):
            if number < room:
                self._begin_exchange(stream)
            else:
                self._send_elsewhere(stream)
        if not self.streams:
            self._on_empty()

    def _send_elsewhere(self, stream: H2cStream) -> None:
        try:
            other = self.upstream.find_room()
        except ConnectFailed as error:
            stream.fail(error)
        else:
            self.streams.pop(stream, None)
            other.adopt(stream)

    def _begin_exchange(self, stream: H2cStream) -> None:
        exchange = stream.exchange
        if exchange is not None:
            contain(stream, exchange.on_connected)

    def on_ready(self, events: int) -> None:
        """The socket is ready."""
        stream = self.stream
        if events & GONE:
            stream.hangup = True
        if self.connecting:
            self._end_connecting()
            return
        stream.readable = True
        if stream.unsent and stream.flush_kept():
            self._tell_all()
        self.pump()

    def _tell_all(self) -> None:
        for stream in tuple(self.streams):
            contain(stream, stream.on_window)

    def pump(self) -> None:
        """Read and process frames; windows bound them, so a slow client need not stop this."""
        stream = self.stream
        buffer = self.plane.buffer[:READ_BYTES]
        session = self.session
        for _ in range(READS_AT_A_TIME):
            if self._closed:
                return
            if session.more:
                items = session.feed()
            elif not stream.readable:
                return
            else:
                got = stream.read_into(buffer)
                if got == BLOCKED:
                    return
                if got == 0:
                    self.fail(UpstreamBroken("the backend closed the connection"))
                    return
                items = session.feed(buffer[:got])
            self._take(items)
            if session.more:
                break  # very many small frames: others are to have their turn
        self.plane.poller.soon(self, self.pump)

    def _take(self, items: list[BackendItem]) -> None:
        touched: dict[H2cStream, None] = {}
        opened = False
        for item in items:
            if isinstance(item, BackendLeaving):
                self._on_leaving(item.last)
                continue
            if isinstance(item, Opened) and not item.stream_id:
                opened = True
                continue
            stream = self._by_id.get(item.stream_id)
            if stream is None:
                continue
            touched[stream] = None
            try:
                match item:
                    case Responded(head=head):
                        stream.on_head(head)
                    case Body(data=data):
                        stream.on_body(data)
                    case Trailed(fields=fields):
                        stream.on_trailers(fields)
                    case Ended():
                        stream.on_end()
                    case Opened():
                        stream.on_window()
                    case Lost(detail=detail, processed=processed, answered=answered):
                        if not stream.ended:
                            if not processed:
                                self._limit = max(1, len(self.streams) - 1)
                            stream.received = stream.received or answered
                            stream.settle()
                            stream.fail(UpstreamBroken(detail, retry_safe=not processed))
            except Exception as error:  # contained: one exchange
                stream.on_crash(error)
        if opened:
            self._on_settings()
            self._tell_all()
        for stream in touched:
            try:
                stream.settle()
            except Exception as error:  # contained: one exchange
                stream.on_crash(error)
        if self.session.error is not None:
            self.flush()
            self.fail(UpstreamBroken(self.session.error))
        else:
            self.mark()

    def _on_leaving(self, last: int) -> None:
        """GOAWAY of the backend: what it did not process is sent elsewhere."""
        self._retired = True
        for stream in tuple(self.streams):
            if not stream.stream_id or stream.stream_id > last:
                error = UpstreamBroken("the backend did not begin with the request", retry_safe=True)
                contain(stream, stream.fail, error)
        if not self.streams:
            self._leave()

    def on_deadline(self) -> None:
        """The connect timeout or the idle timeout has passed."""
        if self.connecting:
            self._go_on_connecting()
        elif not self.streams:
            self._leave()
        elif not self.ready:
            self.fail(ConnectFailed(f"connect to {self.endpoints.address}: no room said in time"))

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this connection."""
        self.plane.on_crash(error, "upstream")
        self.fail(UpstreamBroken("internal error"))

    # Ending.

    def fail(self, error: UpstreamBroken | ConnectFailed | UpstreamTimedOut) -> None:
        """Close, failing every exchange whose response is incomplete."""
        self.close()
        for stream in tuple(self.streams):
            if not stream.ended:
                contain(stream, stream.fail, error)

    def _leave(self) -> None:
        """Close with GOAWAY: the connection is not needed any more."""
        if not self._closed and not self.connecting and not self.stream.broken:
            self.session.send_goaway()
            out = self.session.take_output()
            if out:
                self.stream.write(out)
        self.close()

    def close(self) -> None:
        """Close; idempotent. A complete response that is buffered here still goes to its client."""
        self.plane.poller.timers.forget(self)
        self._closed = True
        self.session.close()
        self.stream.close()
        if not self.streams:
            self.upstream.forget(self)
