"""A call that waits for a disk on behalf of an exchange, in a thread and not for ever."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

import trio

from hotswap.edge.loop.plane import LoopPlane
from hotswap.edge.loop.timers import NEVER

if TYPE_CHECKING:
    from hotswap.core.tally import Tally
    from hotswap.edge.rules.rule_step import Entering

Found = TypeVar("Found")

DISK_SECONDS: Final = 10.0
"""Seconds that a disk may take, to find a file or to read ahead."""
DISK_JOBS: Final = 8
"""Calls that wait for disks at a time; a disk that hangs takes no more threads than these."""
DISK_QUEUE: Final = 512
"""Calls that wait for one of those threads; above that a request is answered 503 at once."""

disk_limiter: Final = trio.CapacityLimiter(DISK_JOBS)
"""Bounds the threads that wait for disks, of this process."""


class FilesPlane(LoopPlane, Protocol):
    """The data plane, as what answers files sees it; `tally` is what is counted."""

    tally: Tally

    def directories(self, pool: str) -> tuple[str, ...]:
        """Directories of the releases of a pool whose files are answered, in their order."""


def check_disk_queue() -> None:
    """See that one more call may wait for a disk.

    Raises:
        OSError: it may not, since so many do.
    """
    if disk_limiter.statistics().tasks_waiting >= DISK_QUEUE:
        raise OSError(errno.EBUSY, "too many requests wait for a disk")


class DiskCall(Generic[Found]):
    """One call; when it is over, in time or not, its exchange goes on, unless it has ended meanwhile.

    Args:
        plane: the data plane.
        entering: the exchange.
        work: the call, made in a thread.
        done: takes what it returns, in the loop.
        failed: takes its error; a `TimeoutError` if it takes longer than `DISK_SECONDS`.
    """

    __slots__ = ("_done", "_entering", "_failed", "_over", "_plane", "armed", "deadline")

    def __init__(
        self,
        plane: FilesPlane,
        entering: Entering,
        work: Callable[[], Found],
        done: Callable[[Found], None],
        failed: Callable[[OSError], None],
    ) -> None:
        self._plane = plane
        self._entering = entering
        self._done = done
        self._failed = failed
        self._over = False
        self.deadline, self.armed = math.inf, NEVER
        try:
            check_disk_queue()
        except OSError as error:
            self._over = True
            failed(error)
            return
        poller = plane.poller
        poller.timers.set(self, poller.now + DISK_SECONDS)
        plane.jobs.begin(self, work, self._on_done, self._on_failed, limiter=disk_limiter)

    def _on_done(self, found: Found) -> None:
        if self._end():
            self._done(found)

    def _on_failed(self, error: OSError) -> None:
        if self._end():
            self._failed(error)

    def on_deadline(self) -> None:
        """The disk took too long."""
        if self._end():
            self._failed(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))

    def _end(self) -> bool:
        """Whether the exchange still waits."""
        if self._over:
            return False
        self._over = True
        self._plane.poller.timers.forget(self)
        return not self._entering.finished

    def on_crash(self, error: Exception) -> None:
        """Contain a defect of ours to this exchange."""
        self._over = True
        self._plane.poller.timers.forget(self)
        self._entering.on_crash(error)
