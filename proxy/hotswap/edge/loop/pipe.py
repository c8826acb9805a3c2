"""Pipe for splice(2), which moves bytes between two sockets inside of the kernel.

Out of a TCP socket this costs half of what copying costs, out of a Unix socket more than copying: see
docs/explanation/performance.md. The pipe is empty between two moves: what the other socket does not take is read back
and kept by its stream as everything else that waits, so one pipe serves all connections.
"""

from __future__ import annotations

import fcntl
import os
from typing import Final

PIPE_BYTES: Final = 256 * 1024
"""As much as is read at once of a body that is copied; what any user may ask for (pipe(7) allows 1 MiB)."""
WORTHWHILE: Final = 128 * 1024
"""Bytes still to come below which a body is copied: two system calls more cost as much as copying this."""
_FLAGS: Final = 0x01 | 0x02
"""SPLICE_F_MOVE and SPLICE_F_NONBLOCK; `os` has no names for them."""


class Pipe:
    """A pipe; whoever made it closes it."""

    __slots__ = ("_into", "_out")

    def __init__(self) -> None:
        self._out, self._into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.fcntl(self._into, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except PermissionError:
            pass  # a user with very many pipes gets small ones, which work as well

    def fill(self, fd: int, count: int) -> int:
        """Splice up to `count` bytes from a socket into the pipe; gives how many, 0 at the end of the stream.

        Raises:
            BlockingIOError: there is nothing now.
            OSError: the connection broke.
        """
        return os.splice(fd, self._into, min(count, PIPE_BYTES), flags=_FLAGS)

    def drain(self, fd: int, count: int) -> int:
        """Splice up to `count` bytes from the pipe into a socket; gives how many.

        Raises:
            BlockingIOError: the socket takes nothing now.
            OSError: the connection broke.
        """
        return os.splice(self._out, fd, count, flags=_FLAGS)

    def read(self, count: int) -> bytes:
        """Read back what the socket did not take."""
        return os.read(self._out, count)

    def close(self) -> None:
        """Close both ends."""
        os.close(self._out)
        os.close(self._into)
