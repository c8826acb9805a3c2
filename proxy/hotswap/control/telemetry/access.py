"""Where access lines go: standard output, a file, or nowhere."""

from __future__ import annotations

from pathlib import Path

from hotswap.control.telemetry.lines import LineWriter

STDOUT = 1

LINGER = 0.05
"""Seconds for which access lines gather, so that the thread wakes at most twenty times a second."""


class AccessLog:
    """The access log; `write` takes finished lines and never waits."""

    def __init__(self, target: str, *, linger: float = LINGER, kept: int | None = None) -> None:
        """Open it.

        Args:
            target: a path, `-` for standard output, or `off`.
            linger: seconds for which lines gather.
            kept: the file of the process before this one, in which it goes on if the path cannot be opened; taken over.

        Raises:
            OSError: the path cannot be opened for appending, and no file was kept.
        """
        self._lines: LineWriter | None = None
        if target != "off":
            path = STDOUT if target == "-" else Path(target)
            self._lines = LineWriter(path, name="access_log", linger=linger, kept=kept)

    @property
    def enabled(self) -> bool:
        """False when it is off, and building a line is a waste."""
        return self._lines is not None

    @property
    def fd(self) -> int | None:
        """The descriptor of its file as of now; None for standard output, and when it is off."""
        return None if self._lines is None else self._lines.fd

    def write(self, line: bytes) -> None:
        """Queue one line or several, their newlines included; dropped and counted when the disk cannot keep up."""
        if self._lines is not None:
            self._lines.write(line)

    def reopen(self) -> None:
        """Open the path anew, after a rotation; nothing for standard output."""
        if self._lines is not None:
            self._lines.reopen()

    def close(self) -> None:
        """Write what is left; waits at most five seconds."""
        if self._lines is not None:
            self._lines.close()
