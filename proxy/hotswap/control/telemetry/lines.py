"""Lines on their way to a file: handed over without waiting, written in batches by one thread.

Theory: whoever writes a line runs on the loop that relays traffic, and a disk or a pipe may stall for
seconds. So a line is appended to a bounded queue and a thread writes what has gathered, one system call a
batch. When the other end is slow, lines beyond the bound are dropped and counted, and the count is reported
once it flows again: a record with a known hole is better than a proxy that stands still.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections import deque
from pathlib import Path

import structlog
from structlog.typing import FilteringBoundLogger

QUEUE_BYTES = 8 * 1024 * 1024
"""How many bytes may wait for the thread; about half a minute of access lines at 2,000 requests a second."""

BATCH_LINES = 1024
"""How many lines are joined for one write."""

CLOSE_TIMEOUT = 5.0
"""Seconds that closing waits for the thread to write what is left."""


class LineWriter:
    """One thread, one open file, one bounded queue between it and the loop.

    Attributes:
        dropped: how many lines were lost since the start, for any reason.
    """

    def __init__(
        self,
        target: Path | int,
        *,
        name: str,
        linger: float = 0.0,
        queue_bytes: int = QUEUE_BYTES,
        kept: int | None = None,
    ) -> None:
        """Open the file; the thread starts with the first line.

        Args:
            target: a path, opened for appending, or a file descriptor that stays the caller's.
            name: what this is in the log, such as `access_log`: `<name>.dropped` and `<name>.failed` are told there.
            linger: seconds for which lines gather before a write, so that a busy loop is not
                interrupted by the thread for every line.
            queue_bytes: how much may wait.
            kept: descriptor of a file that was opened earlier, written to as long as the path cannot be opened; taken
                over.

        Raises:
            OSError: the path cannot be opened, and no file was kept.
        """
        self.dropped = 0
        self._path = target if isinstance(target, Path) else None
        self._failures: deque[str] = deque(maxlen=8)  # those not reported yet
        self._fd = self._open_first(target, kept) if isinstance(target, Path) else target
        self._name = name
        self._linger = linger
        self._limit = queue_bytes
        self._pending: deque[bytes | None] = deque()  # None: from here on into the file that has the name then
        self._offered = 0  # bytes ever queued: written by the producer alone
        self._taken = 0  # bytes ever taken from the queue: written by the thread alone
        self._reported = 0  # of `dropped`
        self._lost = 0  # lines the thread could not write
        self._lost_seen = 0
        self._failing: str | None = None  # the thread's own: why the last write failed
        self._awake = False
        self._telling = False
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def fd(self) -> int | None:
        """The descriptor of the file that the path was opened for; None for one that is the caller's."""
        return None if self._path is None else self._fd

    def write(self, line: bytes) -> None:
        """Queue one line or several, their newlines included; never waits."""
        if self._closed or self._offered - self._taken > self._limit:
            self.dropped += line.count(b"\n")
            return
        self._pending.append(line)
        self._offered += len(line)
        if not self._awake:
            # Before the wake-up, or the thread could clear a flag that was not raised yet.
            self._awake = True
            if self._thread is None:
                self._start()
            self._wake.set()
            self._tell()

    def reopen(self) -> None:
        """Have every later line written to what has the path then, as log rotation asks; no effect on a descriptor."""
        if self._path is None or self._closed:
            return
        self._pending.append(None)
        if self._thread is None:
            self._start()
        self._wake.set()

    def close(self) -> None:
        """Write what is left and stop; waits for the thread, at most `CLOSE_TIMEOUT` seconds."""
        if self._closed:
            return
        self._closed = True
        self._hurry.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT)
            if self._thread.is_alive():
                self.dropped += sum(line.count(b"\n") for line in tuple(self._pending) if line)
                self._tell()
                return  # it is stuck in a write; the descriptor stays with it
        self._tell()
        if self._path is not None:
            os.close(self._fd)

    def _tell(self) -> None:
        """Report what was lost since the last report, on the producer's thread."""
        self.dropped += self._lost - self._lost_seen
        self._lost_seen = self._lost
        if self._telling:
            return  # the report of a log is a line of that log, and may be lost as well: it is told with the next
        self._telling = True
        log: FilteringBoundLogger = structlog.get_logger()
        try:
            while self._failures:
                log.warning(f"{self._name}.failed", error=self._failures.popleft())
            if self.dropped > self._reported:
                lines, self._reported = self.dropped - self._reported, self.dropped
                log.warning(f"{self._name}.dropped", lines=lines, total=self.dropped)
        finally:
            self._telling = False

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not (self._closed and not self._pending):
            self._wake.wait()
            self._wake.clear()
            if self._linger:
                self._hurry.wait(self._linger)
            # In this order: a line queued after the flag fell raises the event again.
            self._awake = False
            while self._pending:
                self._write_batch()

    def _write_batch(self) -> None:
        batch: list[bytes] = []
        while self._pending and len(batch) < BATCH_LINES:
            line = self._pending.popleft()
            if line is None:
                self._write_out(b"".join(batch))
                self._open_again()
                return
            batch.append(line)
        self._write_out(b"".join(batch))

    def _write_out(self, data: bytes) -> None:
        try:
            self._write_all(data)
        except OSError as error:
            self._lost += data.count(b"\n")
            self._failed(str(error))
        else:
            self._failing = None
        self._taken += len(data)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                # A terminal or pipe that somebody else made non-blocking. Not by select(2), which takes no descriptor
                # from 1,024 on.
                waiting = select.poll()
                waiting.register(self._fd, select.POLLOUT)
                waiting.poll(1000)

    def _failed(self, why: str) -> None:
        if why != self._failing:  # a full disk is said once, not for every batch
            self._failures.append(why)
        self._failing = why

    def _open_again(self) -> None:
        assert self._path is not None
        try:
            fresh = self._open(self._path)
        except OSError as error:
            self._failures.append(f"not reopened: {error}")  # and on with the old file
            return
        before, self._fd = self._fd, fresh
        with contextlib.suppress(OSError):
            os.close(before)

    def _open_first(self, path: Path, kept: int | None) -> int:
        try:
            opened = self._open(path)
        except OSError as error:
            if kept is None:
                raise
            self._failures.append(f"not opened, so it goes on in the file of before: {error}")
            return kept
        if kept is not None:
            os.close(kept)
        return opened

    @staticmethod
    def _open(path: Path) -> int:
        # Only to write, a named pipe would be waited for until somebody reads it (fifo(7)).
        way = os.O_RDWR if path.is_fifo() else os.O_WRONLY | os.O_APPEND | os.O_CREAT
        return os.open(path, way | os.O_CLOEXEC, 0o640)
