"""Output of a backend: read from one pipe, relayed line by line, the last lines kept for failure reports.

Nothing a backend writes can hurt the proxy: a line is bounded, so is what is passed on in a second, bytes
that are no UTF-8 and control characters are written as escapes, and a sink that raises is ignored. Nor does
the relay hold the backend up: it reads whatever is there, and under a flood it drops lines (counted, and told
in their place) instead of making the backend wait.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

LineSink = Callable[[str], None]
"""Takes one line, without its end."""

TAIL_LINES: Final = 50
"""So many last lines are kept."""

MAX_LINE_BYTES: Final = 8192
"""Longer lines are cut. journald cuts at 48 KiB, Docker at 16 KiB; a log line that long is a dump."""

MAX_LINES_A_SECOND: Final = 5000
MAX_BYTES_A_SECOND: Final = 4 * 1024 * 1024
"""What is passed on; relaying more would take the processor from the exchanges."""

LINES_A_TURN: Final = 64
"""Passed on before others on the loop get their turn: a line of the log costs some 20 microseconds."""

_READ_BYTES: Final = 16 * 1024
"""Read at a time of what is passed on; the worst of it, bytes that are no text, takes 2 ms to be written as escapes."""
_FLOOD_BYTES: Final = 64 * 1024
"""The same of what is dropped."""
_FLOOD_PAUSE: Final = 0.002
"""Seconds between two reads under a flood: 32 MB a second still flow, for a few percent of the processor."""

_ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))}
"""Control characters but tab: a terminal that shows the log must not obey a backend."""


class LineSplitter:
    """Splits bytes into lines; buffers at most one line of `MAX_LINE_BYTES`."""

    __slots__ = ("_cut", "_partial")

    def __init__(self) -> None:
        self._partial = bytearray()
        self._cut = 0

    def feed(self, data: bytes) -> list[str]:
        """Add bytes, and give the lines that are complete."""
        *ended, rest = data.split(b"\n")
        lines = []
        for piece in ended:
            self._append(piece)
            lines.append(self._take())
        self._append(rest)
        return lines

    def skip(self, data: bytes, *, keep: int) -> tuple[int, list[str]]:
        """Like `feed`, but decode only the last `keep` lines; cheap however many there are.

        Returns:
            How many lines there were, and the last of them.
        """
        count = data.count(b"\n")
        if count <= keep:
            return count, self.feed(data)
        self._partial.clear()
        self._cut = 0
        _, *last = data.rsplit(b"\n", keep + 1)
        return count, self.feed(b"\n".join(last))

    def flush(self) -> list[str]:
        """Give the unfinished last line, at the end of the output."""
        return [self._take()] if self._partial else []

    def _append(self, piece: bytes) -> None:
        room = MAX_LINE_BYTES - len(self._partial)
        if len(piece) > room:
            self._cut += len(piece) - room
            piece = piece[:room]
        self._partial += piece

    def _take(self) -> str:
        text = self._partial.removesuffix(b"\r").decode("utf-8", "backslashreplace").translate(_ESCAPES)
        if self._cut:
            text = f"{text} … [{self._cut} bytes cut]"
        self._partial.clear()
        self._cut = 0
        return text


class OutputRelay:
    """Reads the pipe of one backend; owns the file descriptor until `close`.

    Attributes:
        tail: the last lines, oldest first.
    """

    __slots__ = ("_bytes", "_dropped", "_fd", "_lines", "_relay", "_second", "_splitter", "_waiting", "tail")

    def __init__(self, fd: int, relay: LineSink, *, tail: deque[str] | None = None) -> None:
        """Take over the reading end of a pipe.

        Args:
            fd: becomes non-blocking, which the backend's end does not notice.
            relay: takes each line; what it raises is ignored.
            tail: where the last lines are kept, `TAIL_LINES` of them.
        """
        os.set_blocking(fd, False)
        self._fd: int | None = fd
        self._relay = relay
        self._splitter = LineSplitter()
        self._waiting: deque[str] = deque()  # lines of the last read that are not passed on yet
        self._second = 0.0
        self._lines = 0
        self._bytes = 0
        self._dropped = 0
        self.tail: deque[str] = deque(maxlen=TAIL_LINES) if tail is None else tail

    @property
    def fd(self) -> int | None:
        """The reading end, to hand it over; None when closed."""
        return self._fd

    async def serve(self) -> None:
        """Relay until every process that holds the other end has closed it.

        **Cancellation**: nothing that was read is lost; call again to go on.
        """
        size = _READ_BYTES
        while self._fd is not None:
            while self._waiting:
                self._pass_waiting(LINES_A_TURN)
                await trio.lowlevel.checkpoint()
            try:
                data = os.read(self._fd, size)
            except BlockingIOError:
                self._tell_dropped()
                await trio.lowlevel.wait_readable(self._fd)
                continue
            if not data:
                break
            if self._take(data, now=trio.current_time()):
                size = _READ_BYTES
                await trio.lowlevel.checkpoint()
            else:
                size = _FLOOD_BYTES
                await trio.sleep(_FLOOD_PAUSE)
        self.finish()

    def finish(self) -> None:
        """Relay the unfinished last line; call it when no more output follows."""
        self._waiting += self._splitter.flush()
        self._pass_waiting(len(self._waiting))
        self._tell_dropped()

    def close(self) -> None:
        """Close the pipe: the backend gets EPIPE when it writes again. Idempotent."""
        if self._fd is not None:
            self._pass_waiting(len(self._waiting))
            fd, self._fd = self._fd, None
            trio.lowlevel.notify_closing(fd)
            os.close(fd)

    def _take(self, data: bytes, *, now: float) -> bool:
        """Relay a read's lines; False when the rate limit of this second is reached."""
        if now - self._second >= 1.0:
            self._tell_dropped()
            self._second, self._lines, self._bytes = now, 0, 0
        self._bytes += len(data)
        self._lines += data.count(b"\n")
        if self._lines <= MAX_LINES_A_SECOND and self._bytes <= MAX_BYTES_A_SECOND:
            self._waiting += self._splitter.feed(data)
            return True
        count, last = self._splitter.skip(data, keep=TAIL_LINES)
        self._dropped += count
        self.tail += last
        return False

    def _pass_waiting(self, most: int) -> None:
        for _ in range(min(most, len(self._waiting))):
            line = self._waiting.popleft()
            self.tail.append(line)
            with suppress(Exception):
                self._relay(line)

    def _tell_dropped(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            with suppress(Exception):
                self._relay(f"[{dropped} lines not shown: more than {MAX_LINES_A_SECOND} lines or 4 MiB a second]")
