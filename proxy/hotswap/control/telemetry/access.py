"""Where access lines go: standard output, a file, or nowhere."""

from __future__ import annotations

from pathlib import Path

from hotswap.control.telemetry.lines import LineWriter

STDOUT = 1

LINGER = 0.05
"""Seconds for which access lines gather, so that the thread wakes at most twenty times a second."""


def open_access_log(target: str, *, kept: int | None = None, linger: float = LINGER) -> LineWriter | None:
    """Open the access log; None when it is off, and building a line is a waste.

    Args:
        target: a path, `-` for standard output, or `off`.
        kept: the file of the process before this one, in which it goes on if the path cannot be opened; taken over.
        linger: seconds for which lines gather.

    Raises:
        OSError: the path cannot be opened for appending, and no file was kept.
    """
    if target == "off":
        return None
    return LineWriter(STDOUT if target == "-" else Path(target), name="access_log", linger=linger, kept=kept)
