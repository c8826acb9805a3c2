"""File of a spool, without a name, written in threads and read in the loop where what is asked for is in memory.

A write may wait for the disk, and no file system says beforehand whether it will (RWF_NOWAIT is refused for writes by
ext4 and tmpfs), so each is a job. A read of what was written a moment ago finds it in the page cache: `preadv` with
RWF_NOWAIT does so in the loop for a twentieth of what a job costs, and says when it is not there.
"""

from __future__ import annotations

import errno
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import trio

    from hotswap.edge.loop.containment import Contained
    from hotswap.edge.loop.jobs import Jobs

_NO_TMPFILE: Final = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)
"""What a file system says that knows no O_TMPFILE, or a kernel."""
_NOT_NOW: Final = (errno.EAGAIN, errno.EOPNOTSUPP)
"""What a read says that would have to wait, or cannot tell."""


class FiledSpool(Protocol):
    """The spool of a file; see `hotswap.core.http.spool.Spool`."""

    def on_written(self) -> None:
        """A write has ended."""

    def on_write_failed(self, error: OSError) -> None:
        """A write has failed; what the file had before is there."""

    def on_read(self, data: bytes) -> None:
        """A read has ended."""

    def on_read_failed(self, error: OSError) -> None:
        """A read has failed."""


class SpoolFile:
    """An unlinked file, which is gone when it is closed, or when the process ends in whatever way.

    It is opened by its first write. `spool` takes what comes of the calls.
    """

    __slots__ = ("_busy", "_closed", "_directory", "_fds", "_jobs", "_limiter", "_owner", "spool")

    spool: FiledSpool

    def __init__(self, jobs: Jobs, owner: Contained, directory: Path | None, limiter: trio.CapacityLimiter) -> None:
        """Prepare one.

        Args:
            jobs: makes the calls that may block.
            owner: contains what goes wrong with them.
            directory: where; it is made when it is not there. None: nowhere, so that each write fails.
            limiter: bounds the calls that are made at a time.
        """
        self._jobs = jobs
        self._owner = owner
        self._directory = directory
        self._limiter = limiter
        self._fds: list[int] = []  # the one; who takes it out closes it, in whichever thread
        self._busy = 0  # calls under way
        self._closed = False

    def write(self, data: bytes | bytearray, at: int) -> None:
        self._busy += 1
        self._jobs.begin(
            self._owner, partial(self._write, data, at), self._on_written, self._on_write_failed, limiter=self._limiter
        )

    def _write(self, data: bytes | bytearray, at: int) -> None:
        """Write all of it, in a thread."""
        if not self._fds:
            self._fds.append(open_unlinked(self._directory))
        with memoryview(data) as view:
            done = 0
            while done < len(view):
                done += os.pwrite(self._fds[0], view[done:], at + done)
        if self._closed:
            self._close()  # nobody may be there any more to be told

    def _on_written(self, _: None) -> None:
        self._busy -= 1
        if self._closed:
            self._let_go()
        else:
            self.spool.on_written()

    def _on_write_failed(self, error: OSError) -> None:
        self._busy -= 1
        if self._closed:
            self._let_go()
        else:
            self.spool.on_write_failed(error)

    def read(self, at: int, count: int) -> bytes | None:
        buffer = bytearray(count)
        try:
            got = os.preadv(self._fds[0], [buffer], at, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno not in _NOT_NOW:
                raise
        else:
            if got:
                return bytes(buffer) if got == count else bytes(buffer[:got])
        self._busy += 1
        self._jobs.begin(
            self._owner, partial(self._fetch, at, count), self._on_read, self._on_read_failed, limiter=self._limiter
        )
        return None

    def _fetch(self, at: int, count: int) -> bytes:
        data = os.pread(self._fds[0], count, at)
        if not data:
            raise OSError(errno.EIO, "the file is shorter than what was written")
        return data

    def _on_read(self, data: bytes) -> None:
        self._busy -= 1
        if self._closed:
            self._let_go()
        else:
            self.spool.on_read(data)

    def _on_read_failed(self, error: OSError) -> None:
        self._busy -= 1
        if self._closed:
            self._let_go()
        else:
            self.spool.on_read_failed(error)

    def close(self) -> None:
        self._closed = True
        del self.spool  # it has us
        self._let_go()

    def _let_go(self) -> None:
        """Close it in a thread: the blocks of a large file are given back then, which takes its time."""
        if self._fds and not self._busy:
            self._jobs.begin(self._owner, self._close, _ignore, _ignore, limiter=self._limiter)

    def _close(self) -> None:
        if self._fds:
            os.close(self._fds.pop())


def _ignore(_: object) -> None:
    """There is nobody left to tell."""


def open_unlinked(directory: Path | None) -> int:
    """Open a new file without a name, for reading and writing.

    Raises:
        OSError: it cannot be made there.
    """
    if directory is None:
        raise FileNotFoundError(errno.ENOENT, "there is no directory for it")
    try:
        return _open(directory)
    except FileNotFoundError:
        for place in (directory.parent, directory):
            try:
                place.mkdir(mode=0o700)
            except FileExistsError:
                pass
        return _open(directory)


def _open(directory: Path) -> int:
    try:
        return os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno not in _NO_TMPFILE:
            raise
    fd, path = tempfile.mkstemp(dir=directory)
    os.unlink(path)
    return fd
