"""A directory beneath which files are opened, kept open."""

from __future__ import annotations

import os
from typing import Self

from hotswap.edge.files.open_file import OpenFile
from hotswap.edge.files.opening import open_beneath, open_directory


class Root:
    """A directory that is open until nobody has it any more: a thread may open a file beneath it meanwhile.

    Attributes:
        path: by which it was opened, links in it followed.
        identity: device and inode.
    """

    __slots__ = ("_fd", "identity", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd
        said = os.fstat(fd)
        self.identity = (said.st_dev, said.st_ino)

    def __del__(self) -> None:
        os.close(self._fd)

    @classmethod
    def at(cls, path: str, *, cached: bool = False) -> Self:
        """Open one.

        Args:
            path: absolute.
            cached: never wait for a disk, as a call in the loop must not.

        Raises:
            BlockingIOError: `cached`, and it cannot be told out of memory alone: have a job ask again without.
            OSError: it cannot be opened, or is no directory.
        """
        return cls(path, open_directory(path, cached=cached))

    def open(self, path: bytes, *, cached: bool = False) -> OpenFile:
        """Open a regular file beneath it.

        Args:
            path: relative, percent-decoded, of plain segments (no empty one, no `.`, no `..`).
            cached: never wait for a disk, as a call in the loop must not.

        Raises:
            BlockingIOError: `cached`, and it cannot be told out of memory alone: have a job ask again without.
            IsADirectoryError: it is a directory.
            FileNotFoundError: there is nothing, or something that is no regular file.
            OSError: it cannot be opened, or a link is in the way.
        """
        return OpenFile(open_beneath(self._fd, path, cached=cached))
