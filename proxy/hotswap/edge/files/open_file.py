"""A regular file that is open for reading, and what its inode says."""

from __future__ import annotations

import errno
import os
import stat


class OpenFile:
    """A regular file, open until it is closed or nobody has it any more.

    A thread may read it while its exchange ends, and a number that was closed may be another file's the next moment: so
    whoever reads holds this, and whoever is last closes it.

    Attributes:
        fd: the descriptor.
        size: bytes, when it was opened.
        modified: nanoseconds since 1970 at which its content changed last.
        identity: device, inode, size and times: another one means that it is another file or was written.
    """

    __slots__ = ("fd", "identity", "modified", "size")

    def __init__(self, fd: int) -> None:
        """Take over a descriptor, which is closed if it is no regular file's.

        Raises:
            IsADirectoryError: it is a directory.
            FileNotFoundError: it is a FIFO, a device or a socket, which is nothing to a client.
        """
        self.fd = fd
        said = os.fstat(fd)
        if not stat.S_ISREG(said.st_mode):
            self.close()
            if stat.S_ISDIR(said.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            raise FileNotFoundError(errno.ENOENT, "no regular file")
        self.size = said.st_size
        self.modified = said.st_mtime_ns
        self.identity = (said.st_dev, said.st_ino, said.st_size, said.st_mtime_ns, said.st_ctime_ns)

    def close(self) -> None:
        """Close; idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close
