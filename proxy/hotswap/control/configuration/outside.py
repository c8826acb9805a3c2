"""Reads of the outside world with a deadline: files, names and sockets that may lie on a disk that went away.

Theory. A read of a dead network disk, or of a pipe that nobody writes to, blocks for ever, and nothing can break it
off. So each is done in a thread of its own that is left behind when its time is over; how many may be left behind is
bounded, for one file and for all together, and what is read later than that is refused at once. So a file that is dead
for ever is refused for ever, and everything else goes on. Whoever reads turns `ReadTooSlow` into an answer with a
reason, as it does for a file that is not there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, Final, TypeVar

READ_TIMEOUT: Final = 10.0
"""Seconds that one read may take."""

MOST_LEFT_BEHIND: Final = 64
"""Threads that may be stuck at a time; beyond that reads are refused without a try."""

MOST_IN_ONE: Final = 4
"""The same for reads of one thing."""

T = TypeVar("T")


class ReadTooSlow(OSError):
    """A read did not end within its time; `strerror` says so in words, as for every other way a read can fail."""

    def __init__(self, what: str, timeout: float) -> None:
        """Make it; without a time, because earlier reads still hang."""
        said = f"it could not be read within {timeout:g} s" if timeout else "earlier reads have not ended yet"
        super().__init__(0, said, what)


_stuck: Final[list[str]] = []
"""What each read was of that is left behind."""


def read_within(
    work: Callable[[], T], what: str, *, timeout: float = READ_TIMEOUT, late: Callable[[T], None] | None = None
) -> T:
    """Do something that may block for ever, and wait for it so long and no longer; blocks.

    Args:
        work: it; it must not care in which thread it is.
        what: what is read, for the error and to tell it from what else is read.
        timeout: seconds.
        late: called with what comes out when nobody waits for it any more, such as a socket to be closed.

    Raises:
        ReadTooSlow: it takes longer, or too many others do.
        OSError: the machine has no thread left.
        Exception: whatever the work raises.
    """
    if len(_stuck) >= MOST_LEFT_BEHIND or _stuck.count(what) >= MOST_IN_ONE:
        raise ReadTooSlow(what, 0.0)
    read: Future[T] = Future()

    def run() -> None:
        result: Any = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:
            failure = error
        if not read.set_running_or_notify_cancel():  # it was left behind
            _stuck.remove(what)
            if failure is None and late is not None:
                with contextlib.suppress(Exception):  # nobody is left to be told
                    late(result)
        elif failure is None:
            read.set_result(result)
        else:
            read.set_exception(failure)

    try:
        threading.Thread(target=run, name=f"read {what}"[:60], daemon=True).start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, f"no thread can be started: {error}", what) from error
    if not wait([read], timeout).done:
        _stuck.append(what)
        if read.cancel():
            raise ReadTooSlow(what, timeout)
        _stuck.remove(what)  # it has ended in this instant
    return read.result()


def is_barred(path: str) -> bool:
    """Tell whether a file is there, or may be, and this user may not read it; blocks."""
    try:
        os.stat(path)
    except OSError as error:
        return error.errno == errno.EACCES
    return not os.access(path, os.R_OK)


def read_file(path: str | os.PathLike[str], limit: int, *, timeout: float = READ_TIMEOUT) -> bytes:
    """Read so many bytes at most of a file, or of what is written to a pipe; blocks.

    A pipe that nobody opens for writing, or never closes, is given up in order: no thread stays in it, which would
    take away what is meant for the next reader.

    Raises:
        ReadTooSlow: it takes longer than the timeout, in seconds.
        OSError: it cannot be read.
    """
    # The pipe ends by itself a moment before its thread would be left behind.
    patience = timeout - min(0.5, timeout / 4)
    return read_within(lambda: _read_all(os.fspath(path), limit, patience), str(path), timeout=timeout)


def _read_all(path: str, limit: int, timeout: float) -> bytes:
    deadline = time.monotonic() + timeout
    content = bytearray()
    # Without O_NONBLOCK the open of a pipe would wait for somebody to write to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        waits = not stat.S_ISREG(os.fstat(descriptor).st_mode)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while len(content) < limit:
            if waits and not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise ReadTooSlow(path, timeout)
            try:
                piece = os.read(descriptor, min(65536, limit - len(content)))
            except BlockingIOError:
                continue
            if not piece:
                break
            content += piece
    finally:
        os.close(descriptor)
    return bytes(content)
