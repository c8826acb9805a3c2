"""TLS stream on a non-blocking socket."""

from __future__ import annotations

import contextlib
import socket
import ssl
from fcntl import ioctl
from termios import FIONREAD
from typing import TYPE_CHECKING, Final

from hotswap.edge.loop.poller import READ_WRITE
from hotswap.edge.loop.stream import BLOCKED, Data, Stream

if TYPE_CHECKING:
    from hotswap.edge.loop.kept import Kept

RECORD_BYTES: Final = 16 * 1024
"""The most that one record of TLS carries (RFC 8446 5.1). What is sent is given to `ssl` in such pieces, since it says
only of a whole piece that it is out."""

_NOTHING: Final = bytes(4)
"""What FIONREAD says when the kernel has no byte for us."""


class TlsStream(Stream):
    """A TLS stream; `handshake` is called until the handshake is complete."""

    __slots__ = ()

    sock: ssl.SSLSocket
    scheme = b"https"

    def handshake(self) -> bool:
        """Continue the handshake; tells whether it is complete.

        Raises:
            OSError: it failed (`ssl.SSLError`), or the connection broke.
        """
        try:
            self.sock.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLWantWriteError:
            if not self._watches_write:
                self._watches_write = True
                self.poller.rewatch(self.fd, self.owner, READ_WRITE)
            return False
        return True

    def read(self, limit: int) -> bytes | None:
        """As `Stream.read`; one read gives one record, of at most 16 KiB.

        A refused read costs more than all the rest of a request's reading, so the kernel is asked instead whether there
        is another record. What comes later is told by the poller.
        """
        sock = self.sock
        try:
            data = sock.recv(limit)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self.readable = False
            return None
        except OSError:
            self.broken = self.hangup = True
            return b""
        if not data:
            self.hangup = True
        elif not self.hangup and not sock.pending() and ioctl(self.fd, FIONREAD, _NOTHING) == _NOTHING:
            self.readable = False
        return data

    def read_into(self, buffer: memoryview) -> int:
        """As `Stream.read_into`; a record is at most 16 KiB, so only a refused read says that nothing is left."""
        try:
            got = self.sock.recv_into(buffer)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self.readable = False
            return BLOCKED
        except OSError:
            self.broken = self.hangup = True
            return 0
        if not got:
            self.hangup = True
        return got

    def write(self, data: Data) -> None:
        """As `Stream.write`."""
        if self.unsent:
            self._keep(data)
            return
        if not len(data):
            return
        size = len(data)
        sent = 0
        try:
            if size <= RECORD_BYTES:
                sent = self.sock.send(data)
            else:
                view = memoryview(data)
                while sent < size:
                    sent += self.sock.send(view[sent : sent + RECORD_BYTES])
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except OSError:
            self._break()
            return
        if sent < size:
            self._keep(memoryview(data)[sent:])

    def _gather(self, pieces: list[Data], total: int) -> None:
        self.write(b"".join(pieces))  # each would be a record of its own

    def _send_kept(self, kept: Kept) -> int:
        with kept.first(RECORD_BYTES) as piece:  # a record that was refused is offered again, at least as long
            return self.sock.send(piece)

    def peek_quiet(self) -> bool:
        """Not needed: connections to backends are plain."""
        return not self.readable

    def end_writes(self) -> None:
        """Send close_notify and end the writing half."""
        with contextlib.suppress(OSError, ValueError):
            self.sock.unwrap()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_WR)
