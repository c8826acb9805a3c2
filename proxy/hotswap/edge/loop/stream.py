"""Non-blocking stream socket, plain or TLS, with a send buffer.

Reading and writing never wait: what is not there is said so, what cannot be sent is kept and goes out when the
poller says that the socket takes it. Whoever writes looks at `backed_up` and stops its source above `HIGH_WATER`
bytes, so that memory stays bounded and backpressure reaches the other side; `on_drained` of the owner tells it to
go on.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
from typing import Final, Protocol

from hotswap.edge.loop.kept import Kept
from hotswap.edge.loop.pipe import Pipe
from hotswap.edge.loop.poller import READ, READ_WRITE, Handler, Poller
from hotswap.edge.loop.progress import PeerProgress

HIGH_WATER: Final = 256 * 1024
"""Unsent bytes above which a source is stopped."""
JOIN_LIMIT: Final = 64 * 1024
"""Pieces that are smaller than this together are joined for one send; larger ones are gathered by the kernel."""
GATHER_LIMIT: Final = 1024
"""Pieces that the kernel gathers for one send (IOV_MAX); it takes no more of them."""

KEPT_OF_FILE: Final = 16 * 1024
"""Bytes of a file that are buffered when the socket is full."""

TINY_PIECES_BYTES: Final = 4 * 1024
"""Read at a time of chunks or frames of a few bytes: all others wait until they are read."""
BLOCKED: Final = -1
"""Nothing to read now."""

Data = bytes | bytearray | memoryview


class Owner(Handler, Protocol):
    """Reader and writer of a stream."""

    def on_drained(self) -> None:
        """The send buffer is empty again."""


class Stream:
    """A plain stream socket.

    `readable` says that a read may give something; `hangup` that the other side has closed its half, or all; `unsent`
    is how many bytes were written and not yet taken by the kernel; `splices` that `move` costs less than copying.
    `moved_at` is when some of what is unsent was last known to have moved, in seconds of the poller's clock.
    After a failure `broken` is set, reading gives the end and writing is ignored.
    """

    __slots__ = (
        "_kept",
        "_progress",
        "_watches_write",
        "broken",
        "closed",
        "fd",
        "hangup",
        "moved_at",
        "owner",
        "poller",
        "readable",
        "sock",
        "splices",
        "unsent",
    )

    scheme = b"http"

    def __init__(self, sock: socket.socket, poller: Poller, owner: Owner) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.poller = poller
        self.owner = owner
        self.readable = True
        self.hangup = False
        self.broken = False
        self.closed = False
        self.unsent = 0
        self.splices = self.scheme == b"http" and sock.family != socket.AF_UNIX
        self.moved_at = 0.0
        self._kept = Kept()
        self._progress: PeerProgress | None = None
        self._watches_write = False

    @property
    def backed_up(self) -> bool:
        """Whether the send buffer is so full that its source should stop."""
        return self.unsent > HIGH_WATER

    def read(self, limit: int) -> bytes | None:
        """Read up to so many bytes of what is there, for a parser.

        An object of up to 64 KiB costs nothing to make; a larger one is mapped and unmapped by the allocator each time.

        Returns:
            The bytes, none of them at the end of the stream, or None when there is nothing now.
        """
        try:
            data = self.sock.recv(limit)
        except BlockingIOError:
            self.readable = False
            return None
        except OSError:
            self.broken = self.hangup = True
            return b""
        if not data:
            self.hangup = True
        elif len(data) < limit and not self.hangup:
            # A short read empties the socket (epoll(7)); an end that came with it shows as `hangup`.
            self.readable = False
        return data

    def read_into(self, buffer: memoryview) -> int:
        """Read what is there into a large buffer, for bodies of known length.

        Returns:
            The number of bytes, 0 at the end of the stream, `BLOCKED` when there is nothing now.
        """
        try:
            got = self.sock.recv_into(buffer)
        except BlockingIOError:
            self.readable = False
            return BLOCKED
        except OSError:
            self.broken = self.hangup = True
            return 0
        if not got:
            self.hangup = True
        elif got < len(buffer) and not self.hangup:
            self.readable = False
        return got

    def move(self, count: int, target: Stream, pipe: Pipe) -> int:
        """Splice up to `count` bytes to another plain stream, buffering what it does not take; as `read_into`."""
        try:
            got = left = pipe.fill(self.fd, count)
        except BlockingIOError:
            self.readable = False
            return BLOCKED
        except OSError:
            self.broken = self.hangup = True
            return 0
        if not got:
            self.hangup = True
        while left:
            try:
                left -= pipe.drain(target.fd, left)
            except BlockingIOError:
                target._keep(pipe.read(left))
                break
            except OSError:
                pipe.read(left)
                target._break()
                break
        return got

    def send_file(self, file: int, offset: int, count: int) -> int:
        """Send up to `count` bytes of a file in the kernel (sendfile(2)); nothing may be `unsent`, nor it be TLS.

        When the socket takes nothing, a little is read and buffered, so that `on_drained` follows.

        Returns:
            How many bytes of the file were taken, 0 at its end and when the connection broke.

        Raises:
            OSError: the file cannot be read.
        """
        try:
            return os.sendfile(self.fd, file, offset, count)
        except BlockingIOError:
            data = os.pread(file, min(count, KEPT_OF_FILE), offset)
            self._keep(data)
            return len(data)
        except (ConnectionError, TimeoutError):
            self._break()
            return 0

    def write(self, data: Data) -> None:
        """Send, and buffer what the socket does not take; a view is copied then."""
        if self.unsent:
            self._keep(data)
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._break()
            return
        if sent < len(data):
            self._keep(memoryview(data)[sent:])

    def write_all(self, pieces: list[Data]) -> None:
        """Send several pieces in one system call."""
        if len(pieces) == 1:
            self.write(pieces[0])
            return
        total = sum(map(len, pieces))
        if total <= JOIN_LIMIT or len(pieces) > GATHER_LIMIT:
            self.write(b"".join(pieces))
        elif self.unsent:
            for piece in pieces:
                self._keep(piece)
        else:
            self._gather(pieces, total)

    def _gather(self, pieces: list[Data], total: int) -> None:
        try:
            sent = self.sock.sendmsg(pieces)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._break()
            return
        if sent < total:
            for piece in pieces:
                if sent >= len(piece):
                    sent -= len(piece)
                else:
                    self._keep(memoryview(piece)[sent:])
                    sent = 0

    def flush_kept(self) -> bool:
        """Send what is buffered, when the socket is writable; tells whether everything is out."""
        kept = self._kept
        while self.unsent:
            try:
                sent = self._send_kept(kept)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return False
            except OSError:
                self._break()
                return True
            kept.drop(sent)
            self.unsent = kept.size
            self._note_move()
        if self._watches_write:
            self._watches_write = False
            self.poller.rewatch(self.fd, self.owner, READ)
        return True

    def _send_kept(self, kept: Kept) -> int:
        """Send some of what is buffered; gives the number of bytes, or raises the socket's error."""
        return self.sock.sendmsg(kept.pieces)

    def _keep(self, data: Data) -> None:
        if self.broken:
            return
        kept = self._kept
        if not kept.size:
            self._note_move()
        kept.add(data)
        self.unsent = kept.size
        if not self._watches_write:
            self._watches_write = True
            self.poller.rewatch(self.fd, self.owner, READ_WRITE)

    def _break(self) -> None:
        self.broken = self.hangup = True
        self._kept.clear()
        self.unsent = 0

    # Whether the other side is there, and takes what it is owed.

    def is_dead(self) -> bool:
        """Whether the connection is known to be closed in both directions, as after a reset."""
        poll = select.poll()
        poll.register(self.fd, 0)
        return bool(poll.poll(0))

    def stalled_at(self, seconds: float) -> float:
        """When the other side has, or will have, taken nothing of the send buffer for so long."""
        now = self.poller.now
        if self._progress is not None and now >= self.moved_at + seconds:
            with contextlib.suppress(OSError):
                self.moved_at = min(now, self.moved_at + self._progress.went_on_for(self.sock))
        return self.moved_at + seconds

    def _note_move(self) -> None:
        """Record that some of the send buffer was taken now."""
        self.moved_at = self.poller.now
        if self._progress is None:
            self._progress = PeerProgress()
        with contextlib.suppress(OSError):
            self._progress.note(self.sock)

    def own(self, owner: Owner) -> None:
        """Set the owner."""
        self.owner = owner
        self.poller.hand_over(self.fd, owner)

    def end_writes(self) -> None:
        """Shut down the writing half."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def peek_quiet(self) -> bool:
        """Whether the connection is alive and has nothing to read: fit to carry a new request."""
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close, discarding the send buffer; idempotent."""
        if not self.closed:
            self.closed = True
            self.broken = self.hangup = True
            self._kept.clear()
            self.unsent = 0
            self.poller.forget(self.fd)
            self.sock.close()
            self._watches_write = False
            del self.owner  # it has us: apart, both go at once, and not when garbage is looked for

    def reset(self) -> None:
        """Close with a reset, so that the other side sees that what it got is not whole."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.close()
