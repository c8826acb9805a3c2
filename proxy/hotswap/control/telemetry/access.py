"""Where access lines go: standard output, a file, or nowhere."""

from __future__ import annotations

from pathlib import Path

import structlog
from structlog.typing import FilteringBoundLogger

from hotswap.control.telemetry.lines import QUEUE_BYTES, LineWriter

STDOUT = 1

LINGER = 0.05
"""Seconds for which access lines gather, so that the thread wakes at most twenty times a second."""


class AccessLog:
    """The access log; `write` takes finished lines and never waits."""

    def __init__(
        self, target: str, *, queue_bytes: int = QUEUE_BYTES, linger: float = LINGER, kept: int | None = None
    ) -> None:
        """Open it.

        Args:
            target: a path, `-` for standard output, or `off`.
            queue_bytes: how much may wait for a slow disk before lines are dropped.
            linger: seconds for which lines gather.
            kept: the file of the process before this one, in which it goes on if the path cannot be opened; taken over.

        Raises:
            OSError: the path cannot be opened for appending, and no file was kept.
        """
        self._lines: LineWriter | None = None
        if target != "off":
            self._lines = LineWriter(
                STDOUT if target == "-" else Path(target),
                name="access_log",
                linger=linger,
                queue_bytes=queue_bytes,
                report=self._report,
                kept=kept,
            )

    @property
    def enabled(self) -> bool:
        """False when it is off, and building a line is a waste."""
        return self._lines is not None

    @property
    def fd(self) -> int | None:
        """The descriptor of its file as of now; None for standard output, and when it is off."""
        return None if self._lines is None else self._lines.fd

    @property
    def dropped(self) -> int:
        """How many lines were lost since the start."""
        return 0 if self._lines is None else self._lines.dropped

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

    @staticmethod
    def _report(event: str, fields: dict[str, object]) -> None:
        log: FilteringBoundLogger = structlog.get_logger()
        log.warning(event, **fields)
