"""Progress of a slow reader, as the kernel counts it: bytes that could be sent to it (TCP_INFO, TIOCOUTQ).

The kernel says that a socket takes more only when a good part of its buffer is free again, and a slow reader may need
minutes for that. What could be sent to him tells before whether he reads at all.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Final

_TCP_INFO: Final = struct.Struct("=44xI152xQQ")
"""Of struct tcp_info (linux/tcp.h): milliseconds since data was last sent, bytes sent, and how many of them again."""
_UNTOLD: Final = bytes(4)


class PeerProgress:
    """The last known progress of one peer, and its time.

    Moments are of the kernel's monotonic clock, so that only spans of it are told.
    """

    __slots__ = ("_moment", "_taken")

    def __init__(self) -> None:
        self._moment = 0.0
        self._taken = 0

    def note(self, sock: socket.socket) -> None:
        """Record progress now.

        Raises:
            OSError: the socket is closed.
        """
        self._moment = time.monotonic()
        self._taken, _ = _ask(sock)

    def went_on_for(self, sock: socket.socket) -> float:
        """Seconds between the progress known last and that made since; 0 when there was none.

        Raises:
            OSError: the socket is closed.
        """
        before, last = self._taken, self._moment
        self._taken, ago = _ask(sock)
        if self._taken == before:
            return 0.0
        self._moment = max(last, time.monotonic() - ago)
        return self._moment - last


def _ask(sock: socket.socket) -> tuple[int, float]:
    """A number that changes when the other side takes something, and how many seconds ago it last made room."""
    if sock.family == socket.AF_UNIX:
        return int.from_bytes(ioctl(sock.fileno(), TIOCOUTQ, _UNTOLD), sys.byteorder), 0.0
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
    if len(info) < _TCP_INFO.size:
        return 0, 0.0  # a kernel from before 4.19
    milliseconds, sent, again = _TCP_INFO.unpack(info)
    return sent - again, milliseconds / 1000
