"""Send backlog of an HTTP/2 connection: what its client has yet to take, and the streams that wait for that.

What is kept is bounded for each stream by not reading its backend, and for all of them together by `KEPT_LIMIT`: beyond
that no backend is read for a stream that has no room for what would come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from hotswap.edge.loop.containment import Contained, contain

if TYPE_CHECKING:
    from hotswap.edge.loop.stream import Stream
    from hotswap.wire.http2.session import Http2Session

KEPT_LIMIT: Final = 1024 * 1024
"""Bytes that are kept for a connection, for its windows or its socket, before backends are not read (R9)."""
READ_ROOM: Final = 256 * 1024
HEAD_ROOM: Final = 60 * 1024
"""What a read of a backend brings of a body at most, and with its head: the first window of most clients takes that."""


class Waiter(Contained, Protocol):
    """A stream that waits for its client."""

    stream_id: int

    def on_window(self) -> None:
        """A window opened."""

    def on_drained(self) -> None:
        """The socket or the backlog has room again: check whether to continue."""


class Http2Backlog:
    """Send backlog of one connection."""

    __slots__ = ("_session", "_shut_out", "_stream", "_waiting", "_windowless", "kept_bytes")

    def __init__(self, stream: Stream, session: Http2Session) -> None:
        self._stream = stream
        self._session = session
        self._waiting: set[Waiter] = set()  # for the socket to take more
        self._windowless: dict[Waiter, None] = {}  # for windows; who has just had some stands at the end
        self._shut_out: set[Waiter] = set()  # whose backends are not read
        self.kept_bytes = 0  # for windows, of all streams

    def keep(self, size: int) -> None:
        """Add to the count of buffered bytes; a negative number subtracts."""
        self.kept_bytes += size
        stream = self._stream
        if self._shut_out and self.kept_bytes <= KEPT_LIMIT and not stream.closed:
            stream.poller.soon(stream.owner, self._let_in)

    def is_backed_up(self, waiter: Waiter) -> bool:
        """Whether the socket's send buffer is full; the stream is called back when it drains."""
        if self._stream.backed_up:
            self._waiting.add(waiter)
            return True
        return False

    def await_window(self, waiter: Waiter) -> None:
        """Register a stream that has buffered data until a window opens."""
        self._windowless[waiter] = None

    def shuts_out(self, waiter: Waiter, *, headed: bool) -> bool:
        """Whether a stream must not read its backend now; the stream is called back when to check again.

        `headed` says that the head of its answer has been read.
        """
        if self._stream.unsent > KEPT_LIMIT:
            self._waiting.add(waiter)
            return True
        if self.kept_bytes > KEPT_LIMIT:
            room = self._session.room(waiter.stream_id)
            if room < (READ_ROOM if headed else HEAD_ROOM):
                self._shut_out.add(waiter)
                return True
        return False

    def on_window(self) -> None:
        """Share the connection's window, which has opened, among the streams in turn."""
        for waiter in tuple(self._windowless):
            if self._session.window <= 0:
                break
            del self._windowless[waiter]
            contain(waiter, waiter.on_window)
        self._let_in()

    def on_stream_window(self, waiter: Waiter) -> None:
        """The window of a stream without buffered data has opened."""
        if waiter in self._shut_out:
            self._shut_out.discard(waiter)
            waiter.on_drained()

    def _let_in(self) -> None:
        """Call back the streams that were kept from reading; each checks again."""
        shut_out, self._shut_out = self._shut_out, set()
        for waiter in shut_out:
            contain(waiter, waiter.on_drained)

    def on_drained(self) -> None:
        """The socket's send buffer is empty again."""
        waiting, self._waiting = self._waiting, set()
        for waiter in waiting:
            contain(waiter, waiter.on_drained)

    def forget(self, waiter: Waiter) -> None:
        """Unregister a stream that is over."""
        # Of most connections nobody waits for anything.
        if self._windowless:
            self._windowless.pop(waiter, None)
        if self._waiting:
            self._waiting.discard(waiter)
        if self._shut_out:
            self._shut_out.discard(waiter)
